//! What does a bucket cost beside governor alone and limitador?

use crate::quota::{KEYS, limitador, ours, p50};
use crate::report::Report;
use crate::timing::{Stopwatch, percentile};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use std::num::NonZeroU32;

const CHECKS: usize = 100_000;
const ROUNDS: usize = 5;

/// Ours is a whole decision whose policy allows everything: it cannot be asked for less.
pub(crate) fn measure(report: &mut Report) {
    let stopwatch = Stopwatch::calibrate();
    let subjects: Vec<String> = (0..KEYS).map(|key| format!("user{key}")).collect();
    let mut random = fastrand::Rng::with_seed(3);
    let asked: Vec<&str> = (0..CHECKS).map(|_| subjects[random.usize(..KEYS)].as_str()).collect();
    let mut lists: [Vec<f64>; 3] = Default::default();
    for _ in 0..ROUNDS {
        lists[0].push(ours(&stopwatch, &asked, 1));
        lists[1].push(governor(&stopwatch, &asked));
        lists[2].push(limitador(&stopwatch, &asked, 1));
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

/// governor's keyed limiter alone.
pub(crate) fn governor(stopwatch: &Stopwatch, asked: &[&str]) -> f64 {
    let most = NonZeroU32::new(1_000_000).expect("not zero");
    let limiter: DefaultKeyedRateLimiter<String> = RateLimiter::keyed(Quota::per_second(most));
    let mut check = |subject: &str| limiter.check_key(&subject.to_owned()).is_ok();
    p50(stopwatch, asked, &mut check)
}
