//! How long does one decision take, and how does that grow with the rules? Beside casbin.

use crate::report::Report;
use crate::timing::{Stopwatch, percentile};
use crate::workload::{Active, Ask, LIMITS, MODEL, Workload};
use casbin::{CoreApi, DefaultModel, Enforcer, StringAdapter};
use std::collections::HashMap;
use std::time::Instant;
use tollgate_cells::HeapTable;
use tollgate_engine::{Decision, Entity, Now, Request, Scratch, TenantState, Version};
use tollgate_proto::bundle::{File, Options, from_files};

/// As the sidecar keeps them.
type Tenants = HashMap<String, TenantState, foldhash::fast::RandomState>;

const SIZES: &[usize] = &[10, 100, 1_000, 10_000, 100_000];
const REQUESTS: usize = 200_000;
/// Of which the median is reported: the machine's own noise is larger than our differences.
const ROUNDS: usize = 5;
const CELLS: usize = 1 << 21;
/// casbin gets as many requests as fit into this time.
const CASBIN_SECONDS: f64 = 12.0;
/// Beyond this casbin does not load and answer in reasonable time.
const CASBIN_RULES_MAX: usize = 10_000;
const CHECKED: usize = 300;

pub(crate) fn measure(report: &mut Report) {
    let stopwatch = Stopwatch::calibrate();
    for rules in SIZES {
        let workload = Workload::new(*rules);
        let policy = workload.policy();
        let tenants = compile(&policy);
        for (name, active) in [("A", Active::Same), ("S", Active::Skewed), ("U", Active::Uniform)] {
            let requests = workload.requests(active, REQUESTS, 7);
            let (mut middle, mut tail) = (Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                let mut samples = ours(&tenants, &requests, &stopwatch);
                middle.push(percentile(&mut samples, 0.5));
                tail.push(percentile(&mut samples, 0.99));
            }
            let key = format!("decide.{name}.{rules}.tollgate");
            report.put(format!("{key}.p50_ns"), percentile(&mut middle, 0.5));
            report.put(format!("{key}.p99_ns"), percentile(&mut tail, 0.5));
        }
        if *rules <= CASBIN_RULES_MAX {
            casbin(report, &workload, &policy, &tenants);
        }
    }
    let get = |key: &str| report.get(key).unwrap_or(f64::NAN);
    let times = get("decide.A.10000.casbin.p50_ns") / get("decide.A.10000.tollgate.p50_ns");
    let growth = get("decide.A.100000.tollgate.p50_ns") / get("decide.A.100.tollgate.p50_ns");
    report.put("decide.A.10000.casbin_over_tollgate", times);
    report.put("decide.A.100_to_100000.tollgate.growth", growth);
    report.note(format!(
        "casbin is measured up to {CASBIN_RULES_MAX} rules: each request walks every row, so its time grows with them."
    ));
}

fn compile(policy: &str) -> Tenants {
    let files = [
        File { path: "model.conf", bytes: MODEL.as_bytes() },
        File { path: "policy.csv", bytes: policy.as_bytes() },
        File { path: "limits.toml", bytes: LIMITS.as_bytes() },
    ];
    let options = Options { seed: 42, version: Version { epoch: 1, seq: 1 } };
    let folder = from_files("w", &files, options).expect("workload W compiles");
    folder.tenants.into_iter().map(|state| (state.name().to_owned(), state)).collect()
}

fn request(ask: &Ask) -> Request<'_> {
    Request {
        tenant: &ask.tenant,
        subject: Entity { kind: "user", id: &ask.subject },
        resource: Entity { kind: "path", id: &ask.resource },
        action: ask.action,
        ..Request::default()
    }
}

fn ours(tenants: &Tenants, requests: &[Ask], stopwatch: &Stopwatch) -> Vec<f64> {
    let table = HeapTable::new(CELLS, [1, 2]);
    let cells = table.cells();
    let mut scratch = Scratch::default();
    let mut now = 1_000_000_000_000_000_000;
    let mut decide = |ask: &Ask| -> Option<Decision> {
        now += 1_000;
        Some(tenants.get(&ask.tenant)?.decide(&cells, &request(ask), Now(now), &mut scratch))
    };
    // Cells are known before the measurement: the first sight of a key takes a lock.
    for ask in requests {
        std::hint::black_box(decide(ask));
    }
    requests
        .iter()
        .map(|ask| {
            let (ns, decision) = stopwatch.time(|| std::hint::black_box(decide(ask)));
            assert!(decision.is_some_and(|d| d.binding.is_none()), "a limit refused");
            ns
        })
        .collect()
}

fn casbin(report: &mut Report, workload: &Workload, policy: &str, tenants: &Tenants) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let enforcer = runtime.block_on(async {
        let model = DefaultModel::from_str(MODEL).await.expect("casbin reads the model");
        Enforcer::new(model, StringAdapter::new(policy)).await.expect("casbin reads the policy")
    });
    let ask_casbin = |ask: &Ask| {
        let tuple = (ask.subject.as_str(), ask.tenant.as_str(), ask.resource.as_str(), ask.action);
        enforcer.enforce(tuple).expect("casbin answers")
    };
    let table = HeapTable::new(CELLS, [1, 2]);
    let requests = workload.requests(Active::Uniform, CHECKED, 99);
    let mut allowed = 0;
    for ask in &requests {
        let now = Now(1_000_000_000_000_000_000);
        let decision = tenants[&ask.tenant].decide(
            &table.cells(),
            &request(ask),
            now,
            &mut Scratch::default(),
        );
        assert_eq!(ask_casbin(ask), decision.is_allow(), "the engines disagree");
        allowed += usize::from(decision.is_allow());
    }
    let rules = workload.rules;
    for (name, active) in [("A", Active::Same), ("U", Active::Uniform)] {
        let mut samples = Vec::new();
        let began = Instant::now();
        for ask in &workload.requests(active, 20_000, 7) {
            let start = Instant::now();
            std::hint::black_box(ask_casbin(ask));
            samples.push(start.elapsed().as_nanos() as f64);
            if began.elapsed().as_secs_f64() > CASBIN_SECONDS / 2.0 {
                break;
            }
        }
        let key = format!("decide.{name}.{rules}.casbin");
        report.put(format!("{key}.p50_ns"), percentile(&mut samples, 0.5));
        report.put(format!("{key}.p99_ns"), percentile(&mut samples, 0.99));
    }
    report.put(format!("decide.U.{rules}.checked.allowed_share"), allowed as f64 / CHECKED as f64);
}
