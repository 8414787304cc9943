//! A million rows in one tenant, and ten thousand tenants of a hundred: how long to load, how much memory.

use crate::report::Report;
use std::time::Instant;
use tollgate_engine::Version;
use tollgate_proto::bundle::{File, Folder, Options, from_files};

const MODEL: &str = "[request_definition]
r = sub, obj, act
[policy_definition]
p = sub, obj, act, eft
[role_definition]
g = _, _
[policy_effect]
e = some(where (p.eft == allow)) && !some(where (p.eft == deny))
[matchers]
m = g(r.sub, p.sub) && keyMatch2(r.obj, p.obj) && r.act == p.act
";
const TENANTS_MODEL: &str = "[request_definition]
r = sub, dom, obj, act
[policy_definition]
p = sub, dom, obj, act
[role_definition]
g = _, _, _
[policy_effect]
e = some(where (p.eft == allow))
[matchers]
m = r.dom == p.dom && g(r.sub, p.sub, r.dom) && keyMatch2(r.obj, p.obj) && r.act == p.act
";
const ACTIONS: &[&str] = &["read", "create", "update", "delete"];

pub(crate) fn measure(report: &mut Report) {
    let rows = rows();
    let texts = distinct_bytes(&rows);
    let (bytes, state) = memory(|| load(report, "scale.rows_1000000.load_ms", MODEL, &rows));
    let per_row = (bytes - texts) / 1e6;
    report.put("scale.rows_1000000.bytes_per_row_beyond_texts", per_row);
    crate::change::measure(report, MODEL, &rows, 1_000_000, &state);
    drop(state);
    let rows = tenants();
    let (bytes, state) =
        memory(|| load(report, "scale.tenants_10000.load_ms", TENANTS_MODEL, &rows));
    assert_eq!(state.tenants.len(), 10_000);
    report.put("scale.tenants_10000.bytes_per_row", bytes / 1e6);
    report.note("Scale: a million rows in one tenant, and 10 000 tenants of 100 rows; files to tenants that answer, on all cores; bytes as they were asked of the allocator.");
}

fn load(report: &mut Report, key: &str, model: &str, rows: &str) -> Folder {
    let files = [
        File { path: "model.conf", bytes: model.as_bytes() },
        File { path: "policy.csv", bytes: rows.as_bytes() },
    ];
    let began = Instant::now();
    let options = Options::new(42, Version { epoch: 1, seq: 1 });
    let folder = from_files("w", &files, options).expect("it compiles");
    report.put(key, began.elapsed().as_secs_f64() * 1e3);
    folder
}

/// 100 000 roles of ten rules, a tenth of a million links.
fn rows() -> String {
    let mut rows = String::with_capacity(60 << 20);
    for number in 0..1_000_000 {
        let (role, action) = (number / 10, ACTIONS[number % ACTIONS.len()]);
        let effect = if number % 20 == 0 { "deny" } else { "allow" };
        rows.push_str(&format!(
            "p, role{role}, /api/s{}/r{number}/:id, {action}, {effect}\n",
            role % 1000
        ));
    }
    for subject in 0..100_000 {
        rows.push_str(&format!("g, user{subject}, role{subject}\n"));
    }
    rows
}

fn tenants() -> String {
    let mut rows = String::with_capacity(60 << 20);
    for tenant in 0..10_000 {
        for number in 0..100 {
            let (role, action) = (number / 10, ACTIONS[number % ACTIONS.len()]);
            rows.push_str(&format!("p, role{role}, t{tenant}, /api/r{number}/:id, {action}\n"));
        }
        for subject in 0..20 {
            rows.push_str(&format!("g, user{subject}, role{}, t{tenant}\n", subject % 10));
        }
    }
    rows
}

/// Bytes of the distinct cells.
fn distinct_bytes(rows: &str) -> f64 {
    let cells: std::collections::HashSet<&str> = rows.split(['\n', ',']).map(str::trim).collect();
    cells.iter().map(|cell| cell.len()).sum::<usize>() as f64
}

/// Bytes that are allocated afterwards and were not before.
fn memory<T>(make: impl FnOnce() -> T) -> (f64, T) {
    crate::counting::begin();
    let made = make();
    (crate::counting::end() as f64, made)
}
