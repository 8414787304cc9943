//! The edges: one unit less, as many, one more of each kind of limit; the last moment of a window and the first of the
//! next; every code of a settle where another would apply as well.

use crate::table::{Table, tenant};
use jiff::Timestamp;
use tollgate_engine::quota::window::{Period, Weekday, Windows};
use tollgate_engine::{
    Amount, Bucket, Budget, Capacity, Decision, Dimension, Entity, FailureMode, Limit, Mode, Now,
    Part, Reason, Request, Reserve, Scratch, Stage, TenantState, True,
};

const OPEN: &str = "[request_definition]\nr = sub, obj, act\n[policy_definition]\np = act\n\
    [policy_effect]\ne = some(where (p.eft == allow))\n[matchers]\nm = r.act == p.act\n";
/// A Wednesday.
const START: &str = "2026-11-25T10:00:00Z";
const N: u64 = 7;

fn at(text: &str) -> u64 {
    u64::try_from(text.parse::<Timestamp>().unwrap().as_nanosecond()).unwrap()
}

fn limit(meter: &str, capacity: Capacity) -> Limit {
    Limit {
        id: "one".to_owned(),
        meter: meter.to_owned(),
        capacity,
        dimensions: vec![Dimension { part: Part::Subject, path: String::new() }],
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

fn budget(period: Period, zone: &str) -> Limit {
    let windows = Windows::new(period, zone).unwrap();
    limit("tokens", Capacity::Budget(Budget { amount: N, windows }))
}

fn ask(state: &TenantState, table: &Table, tokens: u64, now: u64) -> Decision {
    let amounts = [Amount { meter: "tokens", amount: tokens }];
    let request = Request {
        tenant: "acme",
        subject: Entity { kind: "", id: "alice" },
        resource: Entity { kind: "", id: "x" },
        action: "read",
        amounts: Some(&amounts),
        ..Request::default()
    };
    state.decide(&table.cells(), &request, Now(now), &mut Scratch::default())
}

/// `ok` and what is left, or `no` and when it fits; `never` if it does not.
fn shown(decision: &Decision) -> String {
    match (decision.reason, decision.retry_after_ms) {
        (Reason::Allow, _) => format!("ok {}", decision.limits.as_slice()[0].remaining),
        (Reason::QuotaExceeded, Some(ms)) => format!("no {ms}"),
        (Reason::QuotaExceeded, None) => "never".to_owned(),
        (other, _) => other.name().to_owned(),
    }
}

#[test]
fn each_kind_of_limit_lets_n_pass_and_not_one_more() {
    // A unit comes back in 100 ms; windows end at the next day, week, month, year, ninety seconds; in Tokyo it is 19:00.
    let bucket = Bucket { count: 10, period_ns: 1_000_000_000, burst: N as u32 };
    let hour = 3_600_000_u64;
    for (what, limit, wait_ms) in [
        ("bucket", limit("tokens", Capacity::Bucket(bucket)), 100),
        ("day", budget(Period::Day, "UTC"), 14 * hour),
        ("day in Tokyo", budget(Period::Day, "Asia/Tokyo"), 5 * hour),
        ("week", budget(Period::Week(Weekday::Monday), "UTC"), (4 * 24 + 14) * hour),
        ("month", budget(Period::Month(1), "UTC"), (5 * 24 + 14) * hour),
        ("month of the 31st", budget(Period::Month(31), "UTC"), (4 * 24 + 14) * hour),
        ("year", budget(Period::Year, "UTC"), (5 * 24 + 14 + 31 * 24) * hour),
        ("seconds", budget(Period::Seconds(90), "UTC"), 90_000),
    ] {
        let state = tenant(OPEN, "p, read\n", &[limit], 1);
        let now = at(START);
        // In one go, each on a counter of its own.
        for (amount, expected) in [(N - 1, "ok 1"), (N, "ok 0"), (N + 1, "never")] {
            let found = shown(&ask(&state, &Table::new(4), amount, now));
            assert_eq!(found, expected, "{what}: {amount} of {N}");
        }
        // One by one.
        let table = Table::new(4);
        for left in (0..N).rev() {
            assert_eq!(shown(&ask(&state, &table, 1, now)), format!("ok {left}"), "{what}");
        }
        for _ in 0..2 {
            assert_eq!(shown(&ask(&state, &table, 1, now)), format!("no {wait_ms}"), "{what}");
        }
        let (early, due) = (now + wait_ms * 1_000_000 - 1, now + wait_ms * 1_000_000);
        assert_eq!(shown(&ask(&state, &table, 1, early)), "no 1", "{what}");
        assert!(ask(&state, &table, 1, due).is_allow(), "{what}");
    }
}

#[test]
fn as_many_are_in_flight_as_may_be() {
    let windows = Windows::new(Period::Open, "UTC").unwrap();
    let in_flight = limit("concurrency", Capacity::Budget(Budget { amount: N, windows }));
    let state = tenant(OPEN, "p, read\n", &[in_flight], 1);
    let (table, now) = (Table::with_reservations(4, 64), at(START));
    let mut held: Vec<_> =
        (0..N).map(|_| ask(&state, &table, 0, now).reservation.unwrap()).collect();
    assert_eq!(shown(&ask(&state, &table, 0, now)), "no 1000");
    for _ in 0..3 {
        let landed = table.cells().settle(held.pop().unwrap(), True::Nothing, Now(now));
        assert_eq!(landed.code.name(), "settled");
        let again = ask(&state, &table, 0, now);
        assert_eq!(shown(&again), "ok 0");
        held.push(again.reservation.unwrap());
        assert_eq!(shown(&ask(&state, &table, 0, now)), "no 1000");
    }
}

#[test]
fn a_window_ends_at_its_edge_and_not_a_nanosecond_before() {
    for (what, limit, edges) in [
        ("day", budget(Period::Day, "UTC"), ["2026-11-25T00:00:00Z", "2026-11-26T00:00:00Z"]),
        // Of 23 hours, and of 25.
        (
            "day",
            budget(Period::Day, "Europe/Berlin"),
            ["2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"],
        ),
        (
            "day",
            budget(Period::Day, "Europe/Berlin"),
            ["2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"],
        ),
        // Midnight is left out: the day begins at one.
        (
            "day",
            budget(Period::Day, "America/Santiago"),
            ["2026-09-06T04:00:00Z", "2026-09-07T03:00:00Z"],
        ),
        (
            "week",
            budget(Period::Week(Weekday::Monday), "UTC"),
            ["2026-11-23T00:00:00Z", "2026-11-30T00:00:00Z"],
        ),
        (
            "week",
            budget(Period::Week(Weekday::Sunday), "Asia/Tokyo"),
            ["2026-11-21T15:00:00Z", "2026-11-28T15:00:00Z"],
        ),
        (
            "month",
            budget(Period::Month(1), "Europe/Berlin"),
            ["2026-02-28T23:00:00Z", "2026-03-31T22:00:00Z"],
        ),
        (
            "month",
            budget(Period::Month(31), "UTC"),
            ["2026-01-31T00:00:00Z", "2026-02-28T00:00:00Z"],
        ),
        (
            "month",
            budget(Period::Month(31), "UTC"),
            ["2028-02-29T00:00:00Z", "2028-03-31T00:00:00Z"],
        ),
        (
            "month",
            budget(Period::Month(15), "Asia/Kathmandu"),
            ["2026-11-14T18:15:00Z", "2026-12-14T18:15:00Z"],
        ),
        (
            "year",
            budget(Period::Year, "Pacific/Auckland"),
            ["2026-12-31T11:00:00Z", "2027-12-31T11:00:00Z"],
        ),
        (
            "seconds",
            budget(Period::Seconds(90), "Asia/Tokyo"),
            ["1970-01-01T00:01:30Z", "1970-01-01T00:03:00Z"],
        ),
    ] {
        let state = tenant(OPEN, "p, read\n", &[limit], 1);
        let (table, [first, next]) = (Table::new(4), edges.map(at));
        for (now, expected) in [
            // What the window before used is nothing to this one.
            (first - 1, "ok 0"),
            (first - 1, "no 1"),
            (first, "ok 0"),
            (next - 1, "no 1"),
            (next - 1_000_000, "no 1"),
            (next - 1_000_001, "no 2"),
            (next, "ok 0"),
            (next - 1, "no 1"),
        ] {
            let amount = if expected == "ok 0" { N } else { 1 };
            let found = shown(&ask(&state, &table, amount, now));
            assert_eq!(found, expected, "{what} from {} at {now}", edges[0]);
        }
    }
}

/// What a place is, the meter that is named, how much: the code. Where two apply, the first of `SettleCode::ALL` is said.
#[test]
fn a_settle_says_the_first_code_that_applies() {
    let (known, other, much) = ("tokens", "bytes", 1_000);
    for (place, meter, amount, code, is_settled) in [
        ("nobody's", other, much, "unknown-reservation", false),
        ("another's", other, much, "unknown-reservation", false),
        ("settled", other, much, "already-settled", true),
        ("settled late", other, much, "already-settled", true),
        ("busy", other, much, "busy", false),
        ("busy", known, 1, "busy", false),
        ("expired", other, much, "unknown-meter", false),
        ("held", other, much, "unknown-meter", false),
        ("expired", known, much, "overdraft-exceeded", true),
        ("held", known, much, "overdraft-exceeded", true),
        ("expired", known, N + 5, "settled-late", true),
        ("held", known, N + 5, "settled", true),
        ("held", known, N + 6, "overdraft-exceeded", true),
    ] {
        let tokens = Limit { overdraft: 5, ..budget(Period::Day, "UTC") };
        let state = tenant(OPEN, "p, read\n", &[tokens], 1);
        let (table, now) = (Table::with_reservations(4, 1), at(START));
        let reserve = Reserve { ttl_ms: 1_000, known: &[] };
        let amounts = [Amount { meter: known, amount: 2 }];
        let request = Request {
            tenant: "acme",
            subject: Entity { kind: "", id: "alice" },
            resource: Entity { kind: "", id: "x" },
            action: "read",
            amounts: Some(&amounts),
            reserve: Some(&reserve),
            ..Request::default()
        };
        let decided = state.decide(&table.cells(), &request, Now(now), &mut Scratch::default());
        let mut id = decided.reservation.unwrap();
        let cells = table.cells();
        match place {
            "nobody's" => id = "0-1-00000000000000ab".parse().unwrap(),
            "another's" => {
                cells.settle(id, True::Nothing, Now(now));
                state
                    .decide(&cells, &request, Now(now), &mut Scratch::default())
                    .reservation
                    .unwrap();
            }
            "settled" => drop(cells.settle(id, True::Nothing, Now(now))),
            "expired" | "settled late" => assert_eq!(cells.expire(Now(now + 1_000_000_000)), 1),
            "busy" => table.is_being_charged(),
            _ => {}
        }
        if place == "settled late" {
            cells.settle(id, True::Nothing, Now(now));
        }
        let truth = [Amount { meter, amount }];
        let settled = cells.settle(id, True::Amounts(&truth), Now(now));
        let found = (settled.code.name(), settled.code.is_settled());
        assert_eq!(found, (code, is_settled), "{place}, {amount} {meter}");
    }
}
