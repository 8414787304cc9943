//! Other engines with an equivalent of workload W, asked the same.

mod casbin;
mod cedar;
mod regorus;

use crate::workload::{Ask, Workload};
use std::time::Instant;

/// A peer gets as many requests a round as fit into this time.
const SECONDS: f64 = 1.5;

/// Another engine, loaded.
pub(crate) trait Peer {
    /// Its name in keys.
    fn name(&self) -> &'static str;
    /// Whether the request is allowed, and how long the engine alone took in ns.
    fn ask(&mut self, ask: &Ask) -> (bool, f64);
}

/// The peers that load and answer this size in reasonable time.
pub(crate) fn load(workload: &Workload) -> Vec<Box<dyn Peer>> {
    let mut peers: Vec<Box<dyn Peer>> = Vec::new();
    if workload.rules <= casbin::RULES_MAX {
        peers.push(Box::new(casbin::Casbin::load(workload)));
    }
    if workload.rules <= cedar::RULES_MAX {
        peers.push(Box::new(cedar::Cedar::load(workload)));
    }
    if workload.rules <= regorus::RULES_MAX {
        peers.push(Box::new(regorus::Regorus::load(workload)));
    }
    peers
}

/// Times of single requests.
pub(crate) fn time(peer: &mut dyn Peer, requests: &[Ask]) -> Vec<f64> {
    let began = Instant::now();
    let mut samples = Vec::new();
    for ask in requests {
        samples.push(peer.ask(ask).1);
        if began.elapsed().as_secs_f64() > SECONDS {
            break;
        }
    }
    samples
}

fn timed<T>(call: impl FnOnce() -> T) -> (T, f64) {
    let start = Instant::now();
    let result = std::hint::black_box(call());
    (result, start.elapsed().as_nanos() as f64)
}
