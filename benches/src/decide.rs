//! How long does one decision take, and how does that grow with the rules? Beside casbin, Cedar and
//! regorus.

use crate::peers::{self, Peer};
use crate::report::Report;
use crate::timing::{Stopwatch, percentile};
use crate::workload::{Active, Ask, LIMITS, MODEL, Workload};
use std::collections::HashMap;
use std::time::Instant;

use tollgate_cells::HeapTable;
use tollgate_engine::cell::TableSecret;
use tollgate_engine::{Entity, Now, Request, Scratch, TenantState, Version};
use tollgate_proto::bundle::{File, Options, from_files};

/// As the sidecar keeps them.
pub(crate) type Tenants = HashMap<String, TenantState, foldhash::fast::RandomState>;

const SIZES: &[usize] = &[10, 100, 1_000, 10_000, 100_000, 1_000_000];
const REQUESTS: usize = 200_000;
/// Ours and each peer in turn, and the median of the rounds is reported: the machine's own speed
/// changes by half between two seconds.
const ROUNDS: usize = 5;

const CHECKED: usize = 300;

pub(crate) fn measure(report: &mut Report) {
    let stopwatch = Stopwatch::calibrate();
    for rules in SIZES {
        let workload = Workload::new(*rules);
        let policy = workload.policy();
        let began = Instant::now();
        let tenants = compile(&policy);
        report.put(format!("compile.{rules}.tollgate.ms"), began.elapsed().as_secs_f64() * 1e3);
        let mut peers = peers::load(&workload);
        for peer in &mut peers {
            let share = check_answers(peer.as_mut(), &workload, &tenants);
            let name = peer.name();
            report.put(format!("decide.U.{rules}.{name}.checked_allowed_share"), share);
        }
        for (name, active) in [("A", Active::Same), ("S", Active::Skewed), ("U", Active::Uniform)] {
            let requests = workload.requests(active, REQUESTS, 7);
            let mut rounds = Rounds::new(&peers);
            for _ in 0..ROUNDS {
                rounds.ours(&mut ours(&tenants, &requests, workload.counters(), &stopwatch));
                for (at, peer) in peers.iter_mut().enumerate() {
                    rounds.peer(at, &mut peers::time(peer.as_mut(), &requests));
                }
            }
            rounds.put(report, &format!("decide.{name}.{rules}"));
            put_lines(report, &format!("decide.{name}.{rules}"), &tenants, &requests);
        }
    }
    let small = report.get("decide.A.100.tollgate.p50_ns").unwrap_or(f64::NAN);
    for rules in [100_000, 1_000_000] {
        let large = report.get(&format!("decide.A.{rules}.tollgate.p50_ns")).unwrap_or(f64::NAN);
        report.put(format!("decide.A.100_to_{rules}.tollgate.growth"), large / small);
    }
    report.note(format!(
        "Decisions: medians of {ROUNDS} rounds, ours and each peer in turn; the request lies in a hot buffer, as after a read; the \
         table has four cells per counter. peers up to 10 000 rules, their limits left out."
    ));
}

/// Lines of memory that decisions read of the policy; each limit reads one more, its cell.
fn put_lines(report: &mut Report, key: &str, tenants: &Tenants, requests: &[Ask]) {
    let mut hot = HotRequest::new();
    let mut lines: Vec<f64> = Vec::new();
    for ask in requests.iter().take(CHECKED * 10) {
        hot.read(ask);
        lines.push(tenants[&ask.tenant].policy_lines(&hot.request()) as f64);
    }
    report.put(format!("{key}.tollgate.lines_p50"), percentile(&mut lines, 0.5));
    report.put(format!("{key}.tollgate.lines_p99"), percentile(&mut lines, 0.99));
}

/// Percentiles of each round.
struct Rounds {
    p50: Vec<f64>,
    p99: Vec<f64>,
    peers: Vec<PeerRounds>,
}

/// Those of one peer, and its median over ours of the same round.
struct PeerRounds {
    name: &'static str,
    p50: Vec<f64>,
    p99: Vec<f64>,
    ratio: Vec<f64>,
}

impl Rounds {
    fn new(peers: &[Box<dyn Peer>]) -> Rounds {
        let none = |peer: &Box<dyn Peer>| PeerRounds {
            name: peer.name(),
            p50: Vec::new(),
            p99: Vec::new(),
            ratio: Vec::new(),
        };
        Rounds { p50: Vec::new(), p99: Vec::new(), peers: peers.iter().map(none).collect() }
    }

    fn ours(&mut self, samples: &mut [f64]) {
        self.p50.push(percentile(samples, 0.5));
        self.p99.push(percentile(samples, 0.99));
    }

    fn peer(&mut self, at: usize, samples: &mut [f64]) {
        let p50 = percentile(samples, 0.5);
        let peer = &mut self.peers[at];
        peer.ratio.extend(self.p50.last().map(|ours| p50 / ours));
        peer.p50.push(p50);
        peer.p99.push(percentile(samples, 0.99));
    }

    fn put(mut self, report: &mut Report, key: &str) {
        report.put(format!("{key}.tollgate.p50_ns"), percentile(&mut self.p50, 0.5));
        report.put(format!("{key}.tollgate.p99_ns"), percentile(&mut self.p99, 0.5));
        for mut peer in self.peers {
            let name = peer.name;
            report.put(format!("{key}.{name}.p50_ns"), percentile(&mut peer.p50, 0.5));
            report.put(format!("{key}.{name}.p99_ns"), percentile(&mut peer.p99, 0.5));
            report.put(format!("{key}.{name}_over_tollgate"), percentile(&mut peer.ratio, 0.5));
        }
    }
}

/// Only our decisions, for a profiler.
pub(crate) fn profile(rules: usize, active: Active) {
    let workload = Workload::new(rules);
    let policy = workload.policy();
    let began = Instant::now();
    let tenants = compile(&policy);
    println!("compiled in {:.0} ms", began.elapsed().as_secs_f64() * 1e3);
    let requests = workload.requests(active, REQUESTS, 7);
    let stopwatch = Stopwatch::calibrate();
    for _ in 0..4 * ROUNDS {
        let mut samples = ours(&tenants, &requests, workload.counters(), &stopwatch);
        let (p50, p99) = (percentile(&mut samples, 0.5), percentile(&mut samples, 0.99));
        println!("{p50:.1} ns, {p99:.1} ns");
    }
}

pub(crate) fn compile(policy: &str) -> Tenants {
    let files = [
        File { path: "model.conf", bytes: MODEL.as_bytes() },
        File { path: "policy.csv", bytes: policy.as_bytes() },
        File { path: "limits.toml", bytes: LIMITS.as_bytes() },
    ];
    let options = Options::new(42, Version { epoch: 1, seq: 1 });
    let folder = from_files("w", &files, options).expect("workload W compiles");
    folder.tenants.into_iter().map(|state| (state.name().to_owned(), state)).collect()
}

/// A request in a buffer that was just written, as after a read from a socket.
pub(crate) struct HotRequest {
    buffer: String,
    ends: [usize; 3],
    action: &'static str,
}

impl HotRequest {
    pub(crate) fn new() -> HotRequest {
        HotRequest { buffer: String::with_capacity(4096), ends: [0; 3], action: "" }
    }

    pub(crate) fn read(&mut self, ask: &Ask) {
        self.buffer.clear();
        for (end, text) in self.ends.iter_mut().zip([&ask.tenant, &ask.subject, &ask.resource]) {
            self.buffer.push_str(text);
            *end = self.buffer.len();
        }
        self.action = ask.action;
    }

    pub(crate) fn request(&self) -> Request<'_> {
        let [tenant, subject, resource] = self.ends;
        Request {
            tenant: &self.buffer[..tenant],
            subject: Entity { kind: "user", id: &self.buffer[tenant..subject] },
            resource: Entity { kind: "path", id: &self.buffer[subject..resource] },
            action: self.action,
            ..Request::default()
        }
    }
}

fn ours(tenants: &Tenants, requests: &[Ask], counters: usize, stopwatch: &Stopwatch) -> Vec<f64> {
    let table = HeapTable::new(counters * 4, TableSecret::new([1, 2]));
    let cells = table.cells();
    let mut scratch = Scratch::default();
    let mut hot = HotRequest::new();
    let mut now = 1_000_000_000_000_000_000;
    let mut decide = |hot: &HotRequest| -> Option<u16> {
        now += 1_000;
        let request = hot.request();
        let tenant = tenants.get(request.tenant)?;
        let decision =
            std::hint::black_box(tenant.decide(&cells, &request, Now(now), &mut scratch));
        Some(decision.reason.number())
    };
    // Cells are known before the measurement: the first sight of a key takes a lock.
    for ask in requests {
        hot.read(ask);
        std::hint::black_box(decide(&hot));
    }
    let time = |ask: &Ask| {
        hot.read(ask);
        let (ns, reason) = stopwatch.time(|| decide(&hot));
        assert!(reason.is_some_and(|number| number < 2060), "a limit refused");
        ns
    };
    requests.iter().map(time).collect()
}

/// Both engines on the same requests: equal answers, and the share of allows.
fn check_answers(peer: &mut dyn Peer, workload: &Workload, tenants: &Tenants) -> f64 {
    let table = HeapTable::new(workload.counters() * 4, TableSecret::new([1, 2]));
    let (mut hot, mut scratch, mut allowed) = (HotRequest::new(), Scratch::default(), 0);
    for ask in &workload.requests(Active::Uniform, CHECKED, 99) {
        hot.read(ask);
        let now = Now(1_000_000_000_000_000_000);
        let tenant = &tenants[&ask.tenant];
        let decision = tenant.decide(&table.cells(), &hot.request(), now, &mut scratch);
        assert_eq!(peer.ask(ask).0, decision.is_allow(), "{} disagrees", peer.name());
        allowed += usize::from(decision.is_allow());
    }
    f64::from(allowed as u32) / CHECKED as f64
}

/// How long does an explanation of a refusal take at 10 000 rules?
pub(crate) fn explain(report: &mut Report) {
    let workload = Workload::new(10_000);
    let tenants = compile(&workload.policy());
    let table = HeapTable::new(workload.counters() * 4, TableSecret::new([1, 2]));
    let (cells, mut scratch, mut hot) = (table.cells(), Scratch::default(), HotRequest::new());
    let stopwatch = Stopwatch::calibrate();
    let (mut allow, mut deny) = (Vec::new(), Vec::new());
    for ask in &workload.requests(Active::Uniform, 20_000, 3) {
        hot.read(ask);
        let (tenant, now) = (&tenants[&ask.tenant], Now(1_000_000_000_000_000_000));
        let (ns, explained) =
            stopwatch.time(|| tenant.explain(&cells, &hot.request(), now, &mut scratch));
        let samples = if explained.decision.is_allow() { &mut allow } else { &mut deny };
        samples.push(ns);
    }
    report.put("explain.10000.allow.p50_ns", percentile(&mut allow, 0.5));
    report.put("explain.10000.deny.p50_ns", percentile(&mut deny, 0.5));
    report.put("explain.10000.deny.p99_ns", percentile(&mut deny, 0.99));
}
