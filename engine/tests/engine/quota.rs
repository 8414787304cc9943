//! Buckets against a naive twin, several limits against the rule "all or none".

use crate::table::{Table, tenant, tenant_called};
use std::collections::HashMap;
use tollgate_engine::{
    Amount, Bucket, Decision, Dimension, Entity, Limit, Mode, Now, Part, Reason, Request, Scratch,
    Stage, TenantState,
};

const OPEN: &str = "[request_definition]\nr = sub, obj, act\n[policy_definition]\np = act\n\
    [policy_effect]\ne = some(where (p.eft == allow))\n[matchers]\nm = r.act == p.act\n";
const START: u64 = 1_800_000_000_000_000_000;
const MS: u64 = 1_000_000;

fn limit(id: &str, (count, period_ns, burst): (u32, u64, u32), by_subject: bool) -> Limit {
    let subject = Dimension { part: Part::Subject, path: String::new() };
    Limit {
        id: id.to_owned(),
        meter: if id.starts_with("tokens") { "tokens" } else { "requests" }.to_owned(),
        bucket: Bucket { count, period_ns, burst },
        dimensions: if by_subject { vec![subject] } else { Vec::new() },
        when: None,
        mode: Mode::Hard,
        stage: Stage::AfterPolicy,
        default_amount: Some(1),
    }
}

fn ask(
    state: &TenantState,
    table: &Table,
    subject: &str,
    amounts: Option<&[Amount<'_>]>,
    now: u64,
) -> Decision {
    let request = request(subject, amounts);
    state.decide(&table.cells(), &request, Now(now), &mut Scratch::default())
}

fn request<'a>(subject: &'a str, amounts: Option<&'a [Amount<'a>]>) -> Request<'a> {
    Request {
        tenant: "acme",
        subject: Entity { kind: "", id: subject },
        resource: Entity { kind: "", id: "x" },
        action: "read",
        amounts,
        ..Request::default()
    }
}

/// A leaky bucket in plain integers: how full it is, in nanoseconds.
#[derive(Default, Clone)]
struct Twin {
    level: HashMap<(usize, String), (u128, u64)>,
}

impl Twin {
    fn level_at(&self, key: &(usize, String), now: u64) -> u128 {
        let (level, at) = self.level.get(key).copied().unwrap_or((0, now));
        level.saturating_sub(u128::from(now - at))
    }

    /// Takes from all limits or none.
    fn take(&mut self, limits: &[Limit], subject: &str, tokens: u32, now: u64) -> bool {
        let mut next = self.clone();
        for (index, limit) in limits.iter().enumerate() {
            let amount = if limit.meter == "tokens" { tokens } else { 1 };
            let who = if limit.dimensions.is_empty() { "" } else { subject };
            let key = (index, who.to_owned());
            let interval =
                u128::from(limit.bucket.period_ns.div_ceil(u64::from(limit.bucket.count)));
            let level = self.level_at(&key, now) + u128::from(amount) * interval;
            if level > u128::from(limit.bucket.burst) * interval {
                return false;
            }
            next.level.insert(key, (level, now));
        }
        *self = next;
        true
    }
}

#[test]
fn random_requests_get_the_naive_twins_answers() {
    let mut random = fastrand::Rng::with_seed(20_261_123);
    let (mut allowed, mut asked) = (0, 0);
    for _ in 0..60 {
        let count = random.usize(1..=5);
        let limits: Vec<Limit> = (0..count)
            .map(|i| {
                let name = if random.bool() { "tokens" } else { "requests" };
                let bucket = (random.u32(1..50), random.u64(1..5) * 1_000 * MS, random.u32(1..60));
                limit(&format!("{name}{i}"), bucket, random.bool())
            })
            .collect();
        let state = tenant(OPEN, "p, read\n", &limits, 1);
        let (table, mut twin, mut now) = (Table::new(64), Twin::default(), START);
        for _ in 0..400 {
            now += random.u64(0..400) * MS;
            let subject = ["a", "b", "c"][random.usize(..3)];
            let tokens = random.u32(1..20);
            let amounts = [Amount { meter: "tokens", amount: u64::from(tokens) }];
            let decision = ask(&state, &table, subject, Some(&amounts), now);
            let before = twin.clone();
            let expected = twin.take(&limits, subject, tokens, now);
            assert_eq!(decision.reason == Reason::Allow, expected, "{limits:?} {subject} {tokens}");
            asked += 1;
            allowed += usize::from(expected);
            if let Some(wait) = decision.retry_after_ms {
                // The wait is exact: not a millisecond before, but then.
                let at = |ms: u64| before.clone().take(&limits, subject, tokens, now + ms * MS);
                assert!(at(wait), "not allowed after {wait} ms");
                assert!(!at(wait - 1), "allowed before {wait} ms");
            }
            for limit_use in decision.limits.as_slice().iter().filter(|_| expected) {
                let limit = &limits[usize::from(limit_use.limit)];
                let who = if limit.dimensions.is_empty() { "" } else { subject };
                let key = (usize::from(limit_use.limit), who.to_owned());
                let interval =
                    u128::from(limit.bucket.period_ns.div_ceil(u64::from(limit.bucket.count)));
                let left = u128::from(limit.bucket.burst) * interval - twin.level_at(&key, now);
                assert_eq!(u128::from(limit_use.remaining), left / interval);
            }
        }
    }
    assert!(allowed * 10 > asked * 3 && allowed * 10 < asked * 9, "{allowed} of {asked}");
}

#[test]
fn a_refusal_writes_nothing() {
    let limits = [
        limit("requests-wide", (1, 1_000 * MS, 100), false),
        limit("requests-tight", (1, 1_000 * MS, 1), true),
    ];
    let state = tenant(OPEN, "p, read\n", &limits, 1);
    let table = Table::new(64);
    assert_eq!(ask(&state, &table, "a", None, START).reason, Reason::Allow);
    for _ in 0..50 {
        let refused = ask(&state, &table, "a", None, START);
        assert_eq!(refused.reason, Reason::QuotaExceeded);
        assert_eq!(refused.binding, Some(1));
    }
    // Fifty refusals took nothing from the wide limit: 98 are left after b's.
    let decision = ask(&state, &table, "b", None, START);
    assert_eq!(decision.limits.as_slice()[0].remaining, 98);
    assert_eq!(table.cells().occupied(), 3);
}

#[test]
fn amounts_are_taken_looked_at_or_refused_for_ever() {
    let limits = [limit("tokens", (10, 1_000 * MS, 50), false)];
    let state = tenant(OPEN, "p, read\n", &limits, 1);
    let table = Table::new(64);
    let tokens = |amount| [Amount { meter: "tokens", amount }];
    for (amounts, reason, retry, remaining) in [
        (Some(&tokens(20)[..]), Reason::Allow, None, 30),
        (Some(&[][..]), Reason::Allow, None, 30),
        (None, Reason::Allow, None, 29),
        (Some(&tokens(30)[..]), Reason::QuotaExceeded, Some(100), 29),
        (Some(&tokens(50)[..]), Reason::QuotaExceeded, Some(2_100), 29),
        (Some(&tokens(51)[..]), Reason::QuotaExceeded, None, 29),
        (Some(&tokens(u64::MAX)[..]), Reason::QuotaExceeded, None, 29),
    ] {
        let decision = ask(&state, &table, "a", amounts, START);
        assert_eq!((decision.reason, decision.retry_after_ms), (reason, retry), "{amounts:?}");
        assert_eq!(decision.limits.as_slice()[0].remaining, remaining, "{amounts:?}");
    }
}

#[test]
fn an_explanation_says_what_would_be_and_takes_nothing() {
    let mut early = limit("requests-early", (1, 1_000 * MS, 4), false);
    early.stage = Stage::BeforePolicy;
    let limits = [early, limit("tokens", (10, 1_000 * MS, 50), false)];
    let state = tenant(OPEN, "p, read\n", &limits, 1);
    let table = Table::new(64);
    for (tokens, reason, wait, left) in [
        (50, Reason::Allow, None, [4, 50]),
        (51, Reason::QuotaExceeded, None, [4, 50]),
        (20, Reason::Allow, None, [4, 50]),
    ] {
        let amounts = [Amount { meter: "tokens", amount: tokens }];
        let request = request("a", Some(&amounts));
        let said =
            state.explain(&table.cells(), &request, Now(START), &mut Scratch::default()).decision;
        assert_eq!((said.reason, said.retry_after_ms), (reason, wait), "{tokens}");
        let remaining: Vec<u64> =
            said.limits.as_slice().iter().map(|use_| use_.remaining).collect();
        assert_eq!(remaining, left, "{tokens}");
        assert_eq!(table.cells().occupied(), 0);
    }
    // What is used up is said as the request itself would hear it.
    let amounts = [Amount { meter: "tokens", amount: 50 }];
    assert_eq!(ask(&state, &table, "a", Some(&amounts), START).reason, Reason::Allow);
    let said =
        state.explain(&table.cells(), &request("a", None), Now(START), &mut Scratch::default());
    let heard = ask(&state, &table, "a", None, START);
    assert_eq!(said.decision.reason, Reason::QuotaExceeded);
    assert_eq!(
        (said.decision.reason, said.decision.retry_after_ms, said.decision.binding),
        (heard.reason, heard.retry_after_ms, heard.binding)
    );
}

#[test]
fn the_same_limit_of_two_tenants_has_two_counters() {
    for by_subject in [false, true] {
        let limits = [limit("requests", (1, 1_000 * MS, 1), by_subject)];
        let [acme, beta] =
            ["acme", "beta"].map(|name| tenant_called(name, OPEN, "p, read\n", &limits, 1));
        let table = Table::new(64);
        assert_eq!(ask(&acme, &table, "a", None, START).reason, Reason::Allow);
        assert_eq!(ask(&acme, &table, "a", None, START).reason, Reason::QuotaExceeded);
        assert_eq!(ask(&beta, &table, "a", None, START).reason, Reason::Allow);
        assert_eq!(table.cells().occupied(), 2);
    }
}

#[test]
fn soft_and_shadow_limits_never_refuse() {
    for mode in [Mode::Soft, Mode::Shadow] {
        let mut soft = limit("requests", (1, 1_000 * MS, 1), false);
        soft.mode = mode;
        let state = tenant(OPEN, "p, read\n", &[soft], 1);
        let table = Table::new(64);
        let first = ask(&state, &table, "a", None, START);
        let second = ask(&state, &table, "a", None, START);
        assert!(!first.limits.as_slice()[0].exceeded);
        assert_eq!(second.reason, Reason::Allow);
        assert!(second.limits.as_slice()[0].exceeded);
    }
}

#[test]
fn an_early_limit_counts_refused_requests() {
    let mut early = limit("requests", (1, 1_000 * MS, 2), false);
    early.stage = Stage::BeforePolicy;
    let state = tenant(OPEN, "p, write\n", &[early], 1);
    let table = Table::new(64);
    let reasons = [0; 3].map(|_| ask(&state, &table, "a", None, START).reason);
    assert_eq!(reasons, [Reason::NoRule, Reason::NoRule, Reason::QuotaExceeded]);
}

#[test]
fn a_changed_limit_keeps_what_was_used() {
    let table = Table::new(64);
    let version = |bucket, seq| tenant(OPEN, "p, read\n", &[limit("requests", bucket, false)], seq);
    let second = 1_000 * MS;
    let old = version((10, second, 10), 1);
    for _ in 0..6 {
        assert_eq!(ask(&old, &table, "a", None, START).reason, Reason::Allow);
    }
    let look = |state: &TenantState| {
        ask(state, &table, "a", Some(&[]), START).limits.as_slice()[0].remaining
    };
    // Raised: the six stay used. Lowered below them: nothing is left, nothing is negative.
    assert_eq!(look(&version((20, second, 20), 2)), 14);
    assert_eq!(look(&version((5, second, 5), 3)), 0);
    assert_eq!(
        ask(&version((5, second, 5), 3), &table, "a", None, START).reason,
        Reason::QuotaExceeded
    );
}

#[test]
fn threads_never_pass_a_limit() {
    let limits = [
        limit("requests-one", (1, 3_600 * 1_000 * MS, 500), false),
        limit("requests-two", (1, 3_600 * 1_000 * MS, 400), false),
    ];
    let state = tenant(OPEN, "p, read\n", &limits, 1);
    let table = Table::new(64);
    let allowed: usize = std::thread::scope(|scope| {
        let work = || {
            (0..1_000)
                .filter(|_| ask(&state, &table, "a", None, START).reason == Reason::Allow)
                .count()
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(allowed, 400);
    let left = ask(&state, &table, "a", Some(&[]), START);
    let left: Vec<u64> = left.limits.as_slice().iter().map(|limit| limit.remaining).collect();
    assert_eq!(left, [100, 0], "what lost a race was given back");
}
