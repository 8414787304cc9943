//! How long does one decision take, and how does that grow with the rules? Beside casbin.

use crate::report::Report;
use crate::timing::{Stopwatch, percentile};
use crate::workload::{Active, Ask, LIMITS, MODEL, Workload};
use casbin::{CoreApi, DefaultModel, Enforcer, StringAdapter};
use std::collections::HashMap;
use std::time::Instant;
use tollgate_cells::HeapTable;
use tollgate_engine::cell::TableSecret;
use tollgate_engine::{Entity, Now, Request, Scratch, TenantState, Version};
use tollgate_proto::bundle::{File, Options, from_files};

/// As the sidecar keeps them.
type Tenants = HashMap<String, TenantState, foldhash::fast::RandomState>;

const SIZES: &[usize] = &[10, 100, 1_000, 10_000, 100_000];
const REQUESTS: usize = 200_000;
/// Ours and casbin in turn, and the median of the rounds is reported: the machine's own speed
/// changes by half between two seconds.
const ROUNDS: usize = 5;
/// casbin gets as many requests a round as fit into this time.
const CASBIN_SECONDS: f64 = 1.5;
/// Beyond this casbin does not load and answer in reasonable time.
const CASBIN_RULES_MAX: usize = 10_000;
const CHECKED: usize = 300;

pub(crate) fn measure(report: &mut Report) {
    let stopwatch = Stopwatch::calibrate();
    for rules in SIZES {
        let workload = Workload::new(*rules);
        let policy = workload.policy();
        let tenants = compile(&policy);
        let casbin = (*rules <= CASBIN_RULES_MAX).then(|| Casbin::load(&policy));
        if let Some(casbin) = &casbin {
            let share = check_answers(casbin, &workload, &tenants);
            report.put(format!("decide.U.{rules}.checked.allowed_share"), share);
        }
        for (name, active) in [("A", Active::Same), ("S", Active::Skewed), ("U", Active::Uniform)] {
            let requests = workload.requests(active, REQUESTS, 7);
            let mut rounds = Rounds::default();
            for _ in 0..ROUNDS {
                rounds.ours(&mut ours(&tenants, &requests, workload.counters(), &stopwatch));
                if let Some(casbin) = &casbin {
                    rounds.casbin(&mut casbin.time(&requests));
                }
            }
            rounds.put(report, &format!("decide.{name}.{rules}"));
        }
    }
    let get = |key: &str| report.get(key).unwrap_or(f64::NAN);
    let growth = get("decide.A.100000.tollgate.p50_ns") / get("decide.A.100.tollgate.p50_ns");
    report.put("decide.A.100_to_100000.tollgate.growth", growth);
    report.note(format!(
        "Decisions: medians of {ROUNDS} rounds, ours and casbin in turn; the request lies in a hot buffer, as after a read; the \
         table has four cells per counter. casbin up to {CASBIN_RULES_MAX} rules: each request walks every row."
    ));
}

/// Percentiles of each round.
#[derive(Default)]
struct Rounds {
    p50: Vec<f64>,
    p99: Vec<f64>,
    casbin_p50: Vec<f64>,
    casbin_p99: Vec<f64>,
    ratio: Vec<f64>,
}

impl Rounds {
    fn ours(&mut self, samples: &mut [f64]) {
        self.p50.push(percentile(samples, 0.5));
        self.p99.push(percentile(samples, 0.99));
    }

    fn casbin(&mut self, samples: &mut [f64]) {
        let p50 = percentile(samples, 0.5);
        self.ratio.extend(self.p50.last().map(|ours| p50 / ours));
        self.casbin_p50.push(p50);
        self.casbin_p99.push(percentile(samples, 0.99));
    }

    fn put(mut self, report: &mut Report, key: &str) {
        let lists = [
            ("tollgate.p50_ns", &mut self.p50),
            ("tollgate.p99_ns", &mut self.p99),
            ("casbin.p50_ns", &mut self.casbin_p50),
            ("casbin.p99_ns", &mut self.casbin_p99),
            ("casbin_over_tollgate", &mut self.ratio),
        ];
        for (figure, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
            report.put(format!("{key}.{figure}"), percentile(list, 0.5));
        }
    }
}

/// Only our decisions at 10 000 rules, for a profiler.
pub(crate) fn profile() {
    let workload = Workload::new(10_000);
    let tenants = compile(&workload.policy());
    let requests = workload.requests(Active::Same, REQUESTS, 7);
    let stopwatch = Stopwatch::calibrate();
    for _ in 0..4 * ROUNDS {
        let mut samples = ours(&tenants, &requests, workload.counters(), &stopwatch);
        println!("{:.1} ns", percentile(&mut samples, 0.5));
    }
}

fn compile(policy: &str) -> Tenants {
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
struct HotRequest {
    buffer: String,
    ends: [usize; 3],
    action: &'static str,
}

impl HotRequest {
    fn new() -> HotRequest {
        HotRequest { buffer: String::with_capacity(4096), ends: [0; 3], action: "" }
    }

    fn read(&mut self, ask: &Ask) {
        self.buffer.clear();
        for (end, text) in self.ends.iter_mut().zip([&ask.tenant, &ask.subject, &ask.resource]) {
            self.buffer.push_str(text);
            *end = self.buffer.len();
        }
        self.action = ask.action;
    }

    fn request(&self) -> Request<'_> {
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

struct Casbin(Enforcer);

impl Casbin {
    fn load(policy: &str) -> Casbin {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        Casbin(runtime.block_on(async {
            let model = DefaultModel::from_str(MODEL).await.expect("casbin reads the model");
            Enforcer::new(model, StringAdapter::new(policy)).await.expect("casbin reads the policy")
        }))
    }

    fn ask(&self, ask: &Ask) -> bool {
        let tuple = (ask.subject.as_str(), ask.tenant.as_str(), ask.resource.as_str(), ask.action);
        self.0.enforce(tuple).expect("casbin answers")
    }

    fn time(&self, requests: &[Ask]) -> Vec<f64> {
        let began = Instant::now();
        let mut samples = Vec::new();
        for ask in requests {
            let start = Instant::now();
            std::hint::black_box(self.ask(ask));
            samples.push(start.elapsed().as_nanos() as f64);
            if began.elapsed().as_secs_f64() > CASBIN_SECONDS {
                break;
            }
        }
        samples
    }
}

/// Both engines on the same requests: equal answers, and the share of allows.
fn check_answers(casbin: &Casbin, workload: &Workload, tenants: &Tenants) -> f64 {
    let table = HeapTable::new(workload.counters() * 4, TableSecret::new([1, 2]));
    let (mut hot, mut scratch, mut allowed) = (HotRequest::new(), Scratch::default(), 0);
    for ask in &workload.requests(Active::Uniform, CHECKED, 99) {
        hot.read(ask);
        let now = Now(1_000_000_000_000_000_000);
        let tenant = &tenants[&ask.tenant];
        let decision = tenant.decide(&table.cells(), &hot.request(), now, &mut scratch);
        assert_eq!(casbin.ask(ask), decision.is_allow(), "the engines disagree");
        allowed += usize::from(decision.is_allow());
    }
    f64::from(allowed as u32) / CHECKED as f64
}
