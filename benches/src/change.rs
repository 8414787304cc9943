//! One row of a million changes: how long until a decision knows, from the two files to its answer.
//!
//! The change is served beside what was compiled, as the sidecar serves it; compiling the folder whole is `scale`.

use crate::report::Report;
use crate::timing::percentile;
use std::time::Instant;
use tollgate_cells::HeapTable;
use tollgate_engine::cell::TableSecret;
use tollgate_engine::{Entity, Now, Request, Scratch};
use tollgate_proto::bundle::{File, Folder, changed};

const CHANGES: usize = 60;

/// `rows` holds `rules` rules of ten a role, then a link of a user to each role.
pub(crate) fn measure(report: &mut Report, model: &str, rows: &str, rules: usize, folder: &Folder) {
    let tenants: Vec<_> = folder.tenants.iter().cloned().map(std::sync::Arc::new).collect();
    let table = HeapTable::new(1 << 10, TableSecret::new([1, 2]));
    let (cells, mut scratch) = (table.cells(), Scratch::default());
    let starts: Vec<usize> =
        std::iter::once(0).chain(rows.match_indices('\n').map(|(at, _)| at + 1)).collect();
    let mut random = fastrand::Rng::with_seed(5);
    for (what, is_link) in [("rule", false), ("link", true)] {
        let mut times = Vec::with_capacity(CHANGES);
        for _ in 0..CHANGES {
            let number = random.usize(..rules);
            let role = number / 10;
            // Somebody whose name is known, and not for this.
            let subject = format!("user{}", (role + 1) % (rules / 10));
            let (line, new) = match is_link {
                true => {
                    (rules + role, format!("g, user{role}, role{role}\ng, {subject}, role{role}\n"))
                }
                false => (
                    number,
                    format!("p, {subject}, /api/s{}/r{number}/:id, read, allow\n", role % 1000),
                ),
            };
            let (start, end) = (starts[line], starts[line + 1]);
            let after = [&rows[..start], &new, &rows[end..]].concat();
            // A rule of the role that lets read.
            let reads = |number: &usize| number.is_multiple_of(4) && !number.is_multiple_of(20);
            let own =
                (role * 10..role * 10 + 10).find(reads).expect("each role may read something");
            let asked = if is_link { own } else { number };
            let resource = format!("/api/s{}/r{asked}/7", role % 1000);
            let request = Request {
                subject: Entity { id: &subject, ..Entity::default() },
                resource: Entity { id: &resource, ..Entity::default() },
                action: "read",
                ..Request::default()
            };
            let before = [
                File { path: "model.conf", bytes: model.as_bytes() },
                File { path: "policy.csv", bytes: rows.as_bytes() },
            ];
            let after = [before[0], File { path: "policy.csv", bytes: after.as_bytes() }];
            let began = Instant::now();
            let states = changed("w", &before, &after, &tenants).expect("it is one row");
            let state = states[0].as_ref().expect("it is this tenant's");
            let decision = state.decide(&cells, &request, Now(1), &mut scratch);
            times.push(began.elapsed().as_secs_f64() * 1e3);
            let was = tenants[0].decide(&cells, &request, Now(1), &mut scratch);
            assert!(decision.is_allow() && !was.is_allow(), "{request:?}: {decision:?}, {was:?}");
        }
        report.put(format!("change.one_{what}_of_1000000.p50_ms"), percentile(&mut times, 0.5));
        report.put(format!("change.one_{what}_of_1000000.p99_ms"), percentile(&mut times, 0.99));
    }
    report.note("Change: one row of a million, from the bytes of both files to a decision that knows it; the folder is compiled whole afterwards.");
}
