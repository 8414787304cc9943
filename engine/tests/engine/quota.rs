//! Buckets and budgets against a naive twin, several limits against the rule "all or none".

use crate::table::{Table, tenant, tenant_called};
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use tollgate_engine::quota::window::{Period, Windows};
use tollgate_engine::{
    Amount, Bucket, Budget, Capacity, Decision, Dimension, Entity, FailureMode, Limit, Mode, Now,
    Part, Reason, Request, Scratch, Stage, TenantState,
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
        capacity: Capacity::Bucket(Bucket { count, period_ns, burst }),
        dimensions: if by_subject { vec![subject] } else { Vec::new() },
        when: None,
        mode: Mode::Hard,
        stage: Stage::AfterPolicy,
        default_amount: Some(1),
        overdraft: 0,
        warn_at: Vec::new(),
        failure_mode: FailureMode::default(),
        estimate: None,
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

/// A budget of so many units in each so many seconds.
fn budget(id: &str, amount: u64, seconds: u64, by_subject: bool) -> Limit {
    let windows = Windows::new(Period::Seconds(seconds), "UTC").unwrap();
    let capacity = Capacity::Budget(Budget { amount, windows });
    Limit { capacity, ..limit(id, (1, 1, 1), by_subject) }
}

/// A leaky bucket in plain integers: how full it is, in nanoseconds. A budget: what each of its windows used.
#[derive(Default, Clone)]
struct Twin {
    level: HashMap<(usize, String), (u128, u64)>,
    used: HashMap<(usize, String, u64), u64>,
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
            match &limit.capacity {
                Capacity::Bucket(bucket) => {
                    let key = (index, who.to_owned());
                    let interval = interval(bucket);
                    let level = self.level_at(&key, now) + u128::from(amount) * interval;
                    if level > u128::from(bucket.burst) * interval {
                        return false;
                    }
                    next.level.insert(key, (level, now));
                }
                Capacity::Budget(budget) => {
                    let used = next.used.entry(window(index, who, budget, now)).or_default();
                    *used += u64::from(amount);
                    if *used > budget.amount {
                        return false;
                    }
                }
            }
        }
        *self = next;
        true
    }

    fn left(&self, index: usize, limit: &Limit, who: &str, now: u64) -> u64 {
        match &limit.capacity {
            Capacity::Bucket(bucket) => {
                let full = u128::from(bucket.burst) * interval(bucket);
                let left = full - self.level_at(&(index, who.to_owned()), now);
                u64::try_from(left / interval(bucket)).unwrap()
            }
            Capacity::Budget(budget) => {
                let used = self.used.get(&window(index, who, budget, now));
                budget.amount - used.copied().unwrap_or(0)
            }
        }
    }
}

fn interval(bucket: &Bucket) -> u128 {
    u128::from(bucket.period_ns.div_ceil(u64::from(bucket.count)))
}

fn window(index: usize, who: &str, budget: &Budget, now: u64) -> (usize, String, u64) {
    let window = budget.windows.at(Now(now)).unwrap();
    (index, who.to_owned(), window.start_ns)
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
                let (id, by_subject) = (format!("{name}{i}"), random.bool());
                match random.bool() {
                    true => limit(&id, bucket, by_subject),
                    false => budget(&id, random.u64(1..400), random.u64(1..40), by_subject),
                }
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
                let left = twin.left(usize::from(limit_use.limit), limit, who, now);
                assert_eq!(limit_use.remaining, left);
            }
        }
    }
    assert!(allowed * 10 > asked * 3 && allowed * 10 < asked * 9, "{allowed} of {asked}");
}

/// n − 1, n and n + 1 of a budget, and both sides of its window's edge.
#[test]
fn a_budget_is_never_passed_and_begins_anew_with_its_window() {
    let second = 1_000 * MS;
    let limits = [budget("tokens", 100, 60, true)];
    let state = tenant(OPEN, "p, read\n", &limits, 1);
    let table = Table::new(64);
    assert_eq!(START % (60 * second), 0, "a window begins at START");
    let tokens = |amount| [Amount { meter: "tokens", amount }];
    for (subject, amount, after_ns, reason, retry_after_ms, left) in [
        ("a", 101, 0, Reason::QuotaExceeded, None, 100),
        ("a", 99, 0, Reason::Allow, None, 1),
        ("a", 2, second, Reason::QuotaExceeded, Some(59_000), 1),
        ("a", 1, second, Reason::Allow, None, 0),
        ("a", 1, 60 * second - 1, Reason::QuotaExceeded, Some(1), 0),
        ("b", 100, 60 * second - 1, Reason::Allow, None, 0),
        ("a", 100, 60 * second, Reason::Allow, None, 0),
        ("a", 1, 60 * second, Reason::QuotaExceeded, Some(60_000), 0),
        // Who is late by a moment still counts in the window of before.
        ("b", 1, 60 * second - 1, Reason::QuotaExceeded, Some(1), 0),
        ("b", 1, 60 * second, Reason::Allow, None, 99),
        ("a", u64::MAX, 120 * second, Reason::QuotaExceeded, None, 100),
    ] {
        let decision = ask(&state, &table, subject, Some(&tokens(amount)), START + after_ns);
        let about = format!("{subject} {amount} after {after_ns} ns");
        assert_eq!((decision.reason, decision.retry_after_ms), (reason, retry_after_ms), "{about}");
        assert_eq!(decision.limits.as_slice()[0].remaining, left, "{about}");
    }
}

/// Beyond 2^32 units, as money in millionths is.
#[test]
fn a_budget_counts_large_amounts_and_keeps_its_use_when_it_changes() {
    let table = Table::new(64);
    let version =
        |amount, seq| tenant(OPEN, "p, read\n", &[budget("tokens", amount, 3_600, false)], seq);
    let large = 5_000_000_000;
    let spend = [Amount { meter: "tokens", amount: large }];
    let first = version(3 * large, 1);
    assert_eq!(ask(&first, &table, "a", Some(&spend), START).reason, Reason::Allow);
    assert_eq!(ask(&first, &table, "a", Some(&spend), START).reason, Reason::Allow);
    let look = |state: &TenantState| {
        ask(state, &table, "a", Some(&[]), START).limits.as_slice()[0].remaining
    };
    assert_eq!(look(&first), large);
    // Raised it helps at once, lowered below its use nothing is left.
    assert_eq!(look(&version(4 * large, 2)), 2 * large);
    assert_eq!(look(&version(large, 3)), 0);
    let refused = ask(&version(large, 3), &table, "a", Some(&spend), START);
    assert_eq!(refused.retry_after_ms, Some(3_600_000));
}

/// A stripe of sixteen cells: who says nothing any more makes room, a second after the last word.
#[test]
fn a_counter_that_says_nothing_gives_its_place_away() {
    let second = 1_000 * MS;
    for (limit, over_ns) in [
        (budget("requests", 5, 60, true), 60 * second),
        // Three of ten a second come back after 300 ms.
        (limit("requests", (10, second, 10), true), 300 * MS),
    ] {
        let state = tenant(OPEN, "p, read\n", &[limit], 1);
        let table = Table::new(1);
        let ask_all = |names: &str, now: u64| -> Vec<Reason> {
            let subjects = (0..16).map(|number| format!("{names}{number}"));
            subjects.map(|subject| ask(&state, &table, &subject, None, now).reason).collect()
        };
        for _ in 0..3 {
            assert_eq!(ask_all("first", START), [Reason::Allow; 16]);
        }
        let grace = second;
        assert_eq!(ask_all("late", START + over_ns), [Reason::QuotaStoreFull; 16]);
        assert_eq!(ask_all("late", START + over_ns + grace - 1), [Reason::QuotaStoreFull; 16]);
        assert_eq!(ask_all("new", START + over_ns + grace), [Reason::Allow; 16]);
        assert_eq!(table.cells().occupied(), 16);
        // Who lost the cell begins anew, and takes it from nobody who counts.
        assert_eq!(ask_all("first", START + over_ns + grace), [Reason::QuotaStoreFull; 16]);
        let left = |now| {
            let look = ask(&state, &table, "new3", Some(&[]), now);
            look.limits.as_slice()[0].remaining
        };
        assert!(left(START + over_ns + grace) > 0);
    }
}

/// A request that was held up until others had taken its counter's place: what the counter knew is gone.
#[test]
fn whoever_comes_too_late_gets_no_second_counter_for_its_window() {
    let second = 1_000 * MS;
    let state = tenant(OPEN, "p, read\n", &[budget("requests", 1, 1, true)], 1);
    let mut late = 0;
    for round in 0..20 {
        let (table, who) = (Table::new(1), format!("who{round}"));
        let reason = |who: &str, now: u64| ask(&state, &table, who, None, now).reason;
        for old in 0..15 {
            assert_eq!(reason(&format!("old{old}"), START - 10 * second), Reason::Allow);
        }
        assert_eq!(reason(&who, START), Reason::Allow);
        assert_eq!(reason(&who, START), Reason::QuotaExceeded);
        let is_known =
            || ask(&state, &table, &who, Some(&[]), START).limits.as_slice()[0].remaining == 0;
        for new in 0..14 {
            assert_eq!(reason(&format!("new{new}"), START + 3 * second), Reason::Allow);
            if !is_known() {
                // There is room: the old ones say nothing any more.
                assert_eq!(reason(&who, START), Reason::QuotaStoreFull);
                assert_eq!(reason("another", START + 3 * second), Reason::Allow);
                late += 1;
                break;
            }
        }
    }
    assert!(late > 3, "{late}");
}

/// Both used as much: what tells them apart is the key.
#[test]
fn a_snapshot_is_told_of_a_counter_that_took_anothers_place() {
    let second = 1_000 * MS;
    let state = tenant(OPEN, "p, read\n", &[budget("requests", 5, 60, true)], 1);
    let (table, mut known) = (Table::new(1), [0; 16]);
    let mut written_after = |names: &str, now: u64| {
        for number in 0..16 {
            let reason = ask(&state, &table, &format!("{names}{number}"), None, now).reason;
            assert_eq!(reason, Reason::Allow, "{names}{number}");
        }
        let mut keys = HashSet::new();
        table.cells().changed(&mut known, &mut |[first, second, ..]| {
            keys.insert((first, second));
        });
        keys
    };
    let first = written_after("first", START);
    let new = written_after("new", START + 61 * second);
    assert_eq!((first.len(), new.len()), (16, 16));
    assert!(first.is_disjoint(&new));
    table.cells().changed(&mut known, &mut |words| panic!("{words:?} is written already"));
}

/// Many keys, few cells, windows that pass while threads take: no window of a key gives its unit out twice, and each
/// gives it once. Time passes a thousand times faster here: who was held up for the second in which a cell is still its
/// key's is not counted.
#[test]
fn threads_that_take_each_others_cells_never_pass_a_budget() {
    const ASKED: u64 = 200_000;
    const STEP_NS: u64 = 20_000;
    const HELD_UP: u64 = 1 << 32;
    let state = tenant(OPEN, "p, read\n", &[budget("requests", 1, 1, true)], 1);
    let (table, clock) = (Table::new(16), AtomicU64::new(START));
    let names: Vec<String> = (0..40).map(|number| format!("user{number}")).collect();
    let counts = std::thread::scope(|scope| {
        let work = |seed: u64| {
            let (state, table, clock, names) = (&state, &table, &clock, &names);
            move || {
                let mut random = fastrand::Rng::with_seed(seed);
                let mut asked: HashMap<(usize, u64), u64> = HashMap::new();
                for _ in 0..ASKED {
                    let now = clock.fetch_add(STEP_NS, Ordering::Relaxed);
                    let name = random.usize(..names.len());
                    let reason = ask(state, table, &names[name], None, now).reason;
                    assert_ne!(reason, Reason::QuotaStoreFull);
                    let admitted = asked.entry((name, now / 1_000_000_000)).or_default();
                    *admitted += u64::from(reason == Reason::Allow);
                    let late = clock.load(Ordering::Relaxed) - now > 1_000_000_000;
                    *admitted += if late { HELD_UP } else { 0 };
                }
                asked
            }
        };
        let threads: Vec<_> = (1..=4).map(|seed| scope.spawn(work(seed))).collect();
        let mut all: HashMap<(usize, u64), u64> = HashMap::new();
        for thread in threads {
            for (key, admitted) in thread.join().unwrap() {
                *all.entry(key).or_default() += admitted;
            }
        }
        all
    });
    let counted = counts.iter().filter(|(_, admitted)| **admitted < HELD_UP);
    assert!(counted.clone().count() > 400, "{} windows of keys", counts.len());
    for (key, admitted) in counted {
        assert_eq!(*admitted, 1, "{key:?}");
    }
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
        budget("requests-two", 400, 3_600, false),
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
