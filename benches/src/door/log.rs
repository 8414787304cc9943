//! What does noting decisions add to the slowest answers?

use super::client::{Bytes, Client};
use super::server::Folder;
use super::{HTTP_SOCKET, reply_bytes, request_http};
use crate::report::Report;
use crate::timing::percentile;
use std::time::{Duration, Instant};

const ROUNDS: usize = 9;
const SECONDS: f64 = 2.0;
/// Requests that one sidecar gets before the other has its turn.
const TURN: usize = 50;
/// Between two requests: a door that is busy, not one that is flooded.
const PAUSE: Duration = Duration::from_micros(100);

/// Names, and what their configuration says.
const LOGS: [(&str, &str); 2] =
    [("default", ""), ("file_all", "[decision_log]\nsink = \"file\"\nallow_percent = 100\n")];

pub(crate) fn measure(report: &mut Report, folder: &Folder) {
    let none = "[decision_log]\nallow_percent = 0\ndeny_percent = 0\nerror_percent = 0\n";
    for (name, configuration) in LOGS {
        let without = folder.configured("without", none, HTTP_SOCKET);
        let with = folder.configured(name, configuration, HTTP_SOCKET);
        let (mut p50s, mut p99s) = (Vec::new(), Vec::new());
        without.with(|without| {
            with.with(|with| {
                let request = request_http();
                let length = reply_bytes(without, &request);
                let connect = |socket| Bytes::connect(socket, &request, length);
                let mut clients = [connect(without), connect(with)];
                for _ in 0..ROUNDS {
                    let [mut without, mut with] = round(&mut clients);
                    let mut ratio = |at| percentile(&mut with, at) / percentile(&mut without, at);
                    p50s.push(ratio(0.5));
                    p99s.push(ratio(0.99));
                }
            });
        });
        report.put(format!("log.{name}.p50_over_none"), percentile(&mut p50s, 0.5));
        report.put(format!("log.{name}.p99_over_none"), percentile(&mut p99s, 0.5));
    }
    report.note(format!(
        "Decision log: two sidecars side by side, {TURN} requests of one and then of the other, one every {} µs; medians of {ROUNDS} \
         rounds. `default` notes one allowed decision in a hundred, `file_all` every one, and writes them to a file.",
        PAUSE.as_micros()
    ));
}

/// Latencies of both, in microseconds.
fn round(clients: &mut [Bytes; 2]) -> [Vec<f64>; 2] {
    let (began, mut samples) = (Instant::now(), [Vec::new(), Vec::new()]);
    while began.elapsed().as_secs_f64() < SECONDS {
        for (client, samples) in clients.iter_mut().zip(&mut samples) {
            for _ in 0..TURN {
                std::thread::sleep(PAUSE);
                let start = Instant::now();
                client.ask(1);
                samples.push(start.elapsed().as_nanos() as f64 / 1_000.0);
            }
        }
    }
    samples
}
