//! What does a bucket cost beside governor alone and limitador?

use crate::report::Report;
use crate::timing::{Stopwatch, percentile};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use limitador::limit::{Context, Limit};
use std::collections::HashMap;
use std::num::NonZeroU32;
use tollgate_cells::HeapTable;
use tollgate_engine::cell::TableSecret;
use tollgate_engine::{Entity, Now, Request, Scratch, Version};
use tollgate_proto::bundle::{File, Options, from_files};

const KEYS: usize = 10_000;
const CHECKS: usize = 100_000;
const ROUNDS: usize = 5;

const MODEL: &str = "[request_definition]\nr = sub\n[policy_definition]\np = sub\n\
    [policy_effect]\ne = !some(where (p.eft == deny))\n[matchers]\nm = r.sub == p.sub\n";
const LIMITS: &str = "[[limit]]\nid = \"subject\"\nmeter = \"requests\"\n\
    bucket = { rate = \"10_000_000/s\", burst = 1_000_000 }\ndimensions = [\"subject\"]\n";

/// Ours is a whole decision whose policy allows everything: it cannot be asked for less.
pub(crate) fn measure(report: &mut Report) {
    let stopwatch = Stopwatch::calibrate();
    let subjects: Vec<String> = (0..KEYS).map(|key| format!("user{key}")).collect();
    let mut random = fastrand::Rng::with_seed(3);
    let asked: Vec<&str> = (0..CHECKS).map(|_| subjects[random.usize(..KEYS)].as_str()).collect();
    let mut lists: [Vec<f64>; 3] = Default::default();
    for _ in 0..ROUNDS {
        lists[0].push(ours(&stopwatch, &asked));
        lists[1].push(governor(&stopwatch, &asked));
        lists[2].push(limitador(&stopwatch, &asked));
    }
    let [mut ours, mut governor, mut limitador] = lists;
    let ratio = |peer: &[f64]| {
        let mut ratios: Vec<f64> = peer.iter().zip(&ours).map(|(peer, ours)| peer / ours).collect();
        percentile(&mut ratios, 0.5)
    };
    let (over_governor, over_limitador) = (ratio(&governor), ratio(&limitador));
    report.put("bucket.10000.tollgate.p50_ns", percentile(&mut ours, 0.5));
    report.put("bucket.10000.governor.p50_ns", percentile(&mut governor, 0.5));
    report.put("bucket.10000.limitador.p50_ns", percentile(&mut limitador, 0.5));
    report.put("bucket.10000.governor_over_tollgate", over_governor);
    report.put("bucket.10000.limitador_over_tollgate", over_limitador);
    report.note(
        "Buckets: one limit per subject, 10 000 subjects. Ours is a whole decision (request, a policy of no rows, SipHash of the key); \
         governor is its keyed limiter alone with its own clock; limitador is `check_rate_limited_and_update` in memory.",
    );
}

fn ours(stopwatch: &Stopwatch, asked: &[&str]) -> f64 {
    let files = [
        File { path: "model.conf", bytes: MODEL.as_bytes() },
        File { path: "policy.csv", bytes: b"" },
        File { path: "limits.toml", bytes: LIMITS.as_bytes() },
    ];
    let options = Options::new(42, Version { epoch: 1, seq: 1 });
    let folder = from_files("b", &files, options).expect("it compiles");
    let tenant = &folder.tenants[0];
    let table = HeapTable::new(KEYS * 4, TableSecret::new([1, 2]));
    let (cells, mut scratch) = (table.cells(), Scratch::default());
    let mut now = 1_000_000_000_000_000_000;
    let mut check = |subject: &str| {
        now += 1_000;
        let request = Request {
            tenant: "b",
            subject: Entity { kind: "", id: subject },
            resource: Entity { kind: "", id: "x" },
            action: "a",
            ..Request::default()
        };
        tenant.decide(&cells, &request, Now(now), &mut scratch).is_allow()
    };
    p50(stopwatch, asked, &mut check)
}

pub(crate) fn governor(stopwatch: &Stopwatch, asked: &[&str]) -> f64 {
    let most = NonZeroU32::new(1_000_000).expect("not zero");
    let limiter: DefaultKeyedRateLimiter<String> = RateLimiter::keyed(Quota::per_second(most));
    let mut check = |subject: &str| limiter.check_key(&subject.to_owned()).is_ok();
    p50(stopwatch, asked, &mut check)
}

fn limitador(stopwatch: &Stopwatch, asked: &[&str]) -> f64 {
    let limiter = limitador::RateLimiter::new(KEYS as u64 * 4);
    let subject = "subject".try_into().expect("an expression");
    limiter.add_limit(Limit::new("b", u64::from(u32::MAX), 3600, vec![], vec![subject]));
    let namespace = "b".into();
    let mut check = |subject: &str| {
        let values = HashMap::from([("subject".to_owned(), subject.to_owned())]);
        let context = Context::from(values);
        let result = limiter.check_rate_limited_and_update(&namespace, &context, 1);
        result.is_ok_and(|result| !result.limited)
    };
    p50(stopwatch, asked, &mut check)
}

fn p50(stopwatch: &Stopwatch, asked: &[&str], check: &mut impl FnMut(&str) -> bool) -> f64 {
    for subject in asked {
        assert!(check(subject), "generous limits refuse nobody");
    }
    let mut samples: Vec<f64> =
        asked.iter().map(|subject| stopwatch.time(|| check(subject)).0).collect();
    percentile(&mut samples, 0.5)
}
