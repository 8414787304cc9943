//! A hospital's attributes: some 10 000 policies of mostly equality conditions, beside a scan of all of them.

use crate::report::Report;
use crate::timing::{Stopwatch, percentile};
use tollgate_engine::{Dialect, Now, PolicySet, Slot, Source, Value};

const MODEL: &str = "[request_definition]
r = sub, obj, act, env
[policy_definition]
p = department, role, kind, act, ward, condition
[policy_effect]
e = some(where (p.eft == allow))
[matchers]
m = r.sub.department == p.department && r.sub.role == p.role && r.obj.kind == p.kind && r.act == p.act && \\
    (r.obj.ward == p.ward || p.ward == \"*\") && eval(p.condition)
";

const DEPARTMENTS: usize = 50;
const ROLES: &[&str] = &["doctor", "nurse", "clerk", "pharmacist", "auditor"];
const KINDS: &[&str] = &[
    "record",
    "image",
    "lab-result",
    "prescription",
    "invoice",
    "appointment",
    "note",
    "consent",
    "referral",
    "device",
];
const ACTIONS: &[&str] = &["read", "write", "sign", "release"];
const REQUESTS: usize = 20_000;
/// The scan takes its time.
const SCANNED: usize = 300;

/// What a request reads.
struct Asked {
    department: String,
    role: &'static str,
    kind: &'static str,
    action: &'static str,
    ward: String,
    clearance: i64,
    hour: i64,
}

pub(crate) fn measure(report: &mut Report) {
    let rows = rows();
    let model = Source { file: "model.conf", text: MODEL };
    let source = Source { file: "policy.csv", text: &rows };
    let set = PolicySet::from_texts(model, source, Dialect::Strict, 1).expect("it compiles");
    report.put("workload.hospital.policies", set.rule_count() as f64);
    let mut random = fastrand::Rng::with_seed(9);
    let requests: Vec<Asked> = (0..REQUESTS).map(|_| asked(&mut random)).collect();
    let stopwatch = Stopwatch::calibrate();
    let (mut ours, mut scan, mut allowed) = (Vec::new(), Vec::new(), 0);
    for (at, request) in requests.iter().enumerate() {
        let tuple: Vec<Value<'_>> =
            set.slots().iter().map(|slot| request.value(&set, slot)).collect();
        let (ns, verdict) = stopwatch.time(|| set.evaluate(&tuple, Now(1)));
        ours.push(ns);
        allowed += usize::from(verdict.is_allow());
        if at < SCANNED {
            let (ns, scanned) = stopwatch.time(|| set.evaluate_by_scan(&tuple, Now(1)));
            scan.push(ns);
            assert_eq!(verdict, scanned);
        }
    }
    for (engine, samples) in [("tollgate", &mut ours), ("scan", &mut scan)] {
        report.put(format!("workload.hospital.{engine}.p50_ns"), percentile(samples, 0.5));
        report.put(format!("workload.hospital.{engine}.p99_ns"), percentile(samples, 0.99));
    }
    report.put("workload.hospital.allowed_share", allowed as f64 / REQUESTS as f64);
    report.note("Workload hospital: five equalities and a row's own condition a policy; `scan` asks every row, answers checked equal.");
}

fn rows() -> String {
    let mut random = fastrand::Rng::with_seed(8);
    let mut rows = String::new();
    for department in 0..DEPARTMENTS {
        for role in ROLES {
            for kind in KINDS {
                for action in ACTIONS {
                    let ward = match random.u8(..3) {
                        0 => "*".to_owned(),
                        _ => format!("ward-{}", random.u8(..8)),
                    };
                    let condition = match random.u8(..10) {
                        0 => format!("r.sub.clearance >= {}", random.u8(1..5)),
                        1 => "r.env.hour >= 7 && r.env.hour < 19".to_owned(),
                        _ => "true".to_owned(),
                    };
                    rows.push_str(&format!(
                        "p, department-{department}, {role}, {kind}, {action}, {ward}, {condition}\n"
                    ));
                }
            }
        }
    }
    rows
}

fn asked(random: &mut fastrand::Rng) -> Asked {
    Asked {
        department: format!("department-{}", random.usize(..DEPARTMENTS)),
        role: ROLES[random.usize(..ROLES.len())],
        kind: KINDS[random.usize(..KINDS.len())],
        action: ACTIONS[random.usize(..ACTIONS.len())],
        ward: format!("ward-{}", random.u8(..8)),
        clearance: random.i64(0..6),
        hour: random.i64(0..24),
    }
}

impl Asked {
    fn value<'a>(&'a self, set: &PolicySet, slot: &Slot) -> Value<'a> {
        let token = set.tokens().get(slot.token).map(String::as_str);
        match (token, slot.path.as_str()) {
            (Some("sub"), "department") => Value::Str(&self.department),
            (Some("sub"), "role") => Value::Str(self.role),
            (Some("sub"), "clearance") => Value::Int(self.clearance),
            (Some("obj"), "kind") => Value::Str(self.kind),
            (Some("obj"), "ward") => Value::Str(&self.ward),
            (Some("act"), "") => Value::Str(self.action),
            (Some("env"), "hour") => Value::Int(self.hour),
            _ => Value::Missing,
        }
    }
}
