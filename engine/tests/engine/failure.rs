//! What becomes of a request that a limit cannot count.

use crate::table::{Table, tenant};
use tollgate_engine::quota::window::{Period, Windows};
use tollgate_engine::{
    Amount, Attribute, Budget, Capacity, Decision, Dimension, Entity, FailureMode, Limit, Mode,
    Now, Part, Reason, Request, Reserve, Scratch, Stage, Value,
};

const OPEN: &str = "[request_definition]\nr = sub, obj, act\n[policy_definition]\np = act\n\
    [policy_effect]\ne = some(where (p.eft == allow))\n[matchers]\nm = r.act == p.act\n";
const START: Now = Now(1_800_000_000_000_000_000);

/// `open` says for which reasons: `f` a full store, `b` a bad request.
fn limit(id: &str, meter: &str, mode: Mode, open: &str) -> Limit {
    let period = if meter == "concurrency" { Period::Open } else { Period::Day };
    Limit {
        id: id.to_owned(),
        meter: meter.to_owned(),
        capacity: Capacity::Budget(Budget {
            amount: 100,
            windows: Windows::new(period, "UTC").unwrap(),
        }),
        dimensions: vec![Dimension { part: Part::Subject, path: "team".to_owned() }],
        when: None,
        mode,
        stage: Stage::AfterPolicy,
        default_amount: Some(1),
        overdraft: 0,
        warn_at: Vec::new(),
        failure_mode: FailureMode {
            opens_on_store_full: open.contains('f'),
            opens_on_bad_request: open.contains('b'),
        },
        estimate: None,
    }
}

const TEN: &[Amount<'_>] = &[Amount { meter: "tokens", amount: 10 }];

fn ask(limits: &[Limit], table: &Table, action: &str, team: Option<&str>) -> Decision {
    put(limits, table, (action, team), TEN)
}

fn put(
    limits: &[Limit],
    table: &Table,
    (action, team): (&str, Option<&str>),
    amounts: &[Amount<'_>],
) -> Decision {
    let state = tenant(OPEN, "p, read\n", limits, 1);
    let team =
        team.map(|team| Attribute { part: Part::Subject, path: "team", value: Value::Str(team) });
    let reserve = Reserve { ttl_ms: 1_000, known: &[] };
    let request = Request {
        tenant: "acme",
        subject: Entity { kind: "", id: "alice" },
        resource: Entity { kind: "", id: "x" },
        action,
        attributes: team.as_slice(),
        amounts: Some(amounts),
        reserve: Some(&reserve),
    };
    state.decide(&table.cells(), &request, START, &mut Scratch::default())
}

/// The reason, each limit as `id remaining`, or `id open` where it could not count, and whether it reserved.
fn shown(limits: &[Limit], decision: &Decision) -> String {
    let mut shown = decision.reason.name().to_owned();
    for own in decision.limits.as_slice() {
        let id = &limits[usize::from(own.limit)].id;
        shown += &match own.failed_open {
            true => format!(", {id} open"),
            false => format!(", {id} {}", own.remaining),
        };
    }
    shown + if decision.reservation.is_some() { ", held" } else { "" }
}

#[test]
fn a_limit_that_cannot_count_refuses_unless_it_says_otherwise() {
    let (hard, soft) = (Mode::Hard, Mode::Soft);
    let teams: Vec<String> = (0..16).map(|team| format!("team{team}")).collect();
    for (what, limits, expected) in [
        ("no team", vec![limit("a", "requests", hard, "")], "bad-request"),
        ("no team", vec![limit("a", "requests", hard, "f")], "bad-request"),
        ("no team", vec![limit("a", "requests", hard, "b")], "failed-open, a open"),
        ("no team", vec![limit("a", "requests", soft, "b")], "allow"),
        (
            "no team",
            vec![limit("a", "requests", hard, "b"), limit("b", "tokens", hard, "")],
            "bad-request, a open",
        ),
        ("no cells", vec![limit("a", "requests", hard, "")], "quota-store-full, a 100"),
        ("no cells", vec![limit("a", "requests", hard, "b")], "quota-store-full, a 100"),
        ("no cells", vec![limit("a", "requests", hard, "f")], "failed-open, a open"),
        ("no cells", vec![limit("a", "requests", soft, "")], "allow, a 100"),
        // One that cannot count and is closed is enough.
        (
            "no cells",
            vec![limit("a", "requests", hard, "f"), limit("b", "tokens", hard, "")],
            "quota-store-full, a open, b 100",
        ),
        // What is used up is used up, whatever another limit can count.
        ("no places", vec![limit("a", "tokens", hard, "")], "quota-store-full, a 100"),
        // Without a reservation what was taken is a charge; requests were never to be reserved.
        ("no places", vec![limit("a", "tokens", hard, "f")], "failed-open, a open"),
        (
            "no places",
            vec![limit("a", "requests", hard, ""), limit("b", "tokens", hard, "f")],
            "failed-open, a 99, b open",
        ),
        (
            "no places",
            vec![limit("a", "tokens", hard, "f"), limit("b", "concurrency", hard, "")],
            "quota-store-full, a 100, b 100",
        ),
        ("no places", vec![limit("a", "tokens", soft, "")], "allow, a 90"),
        ("room", vec![limit("a", "tokens", hard, "fb")], "allow, a 90, held"),
    ] {
        let table = Table::with_reservations(1, usize::from(what == "room" || what == "no cells"));
        let table = if what == "no places" { full_of_reservations() } else { table };
        if what == "no cells" {
            let others = [limit("other", "requests", hard, "")];
            for team in &teams {
                assert_eq!(ask(&others, &table, "read", Some(team)).reason, Reason::Allow);
            }
        }
        let team = (what != "no team").then_some("ours");
        let decision = ask(&limits, &table, "read", team);
        assert_eq!(shown(&limits, &decision), expected, "{what}: {limits:?}");
        // Policy comes first, and nothing opens it.
        assert_eq!(ask(&limits, &table, "write", team).reason, Reason::NoRule);
    }
}

/// A table with many cells and one place, which is taken.
fn full_of_reservations() -> Table {
    let table = Table::with_reservations(4, 1);
    let others = [limit("other", "tokens", Mode::Hard, "")];
    assert!(ask(&others, &table, "read", Some("theirs")).reservation.is_some());
    table
}

/// Nobody would give back what is in flight without a reservation.
#[test]
fn what_is_in_flight_is_not_counted_where_it_cannot_be_held() {
    let table = full_of_reservations();
    let limits =
        [limit("a", "concurrency", Mode::Hard, "f"), limit("b", "tokens", Mode::Hard, "f")];
    for left in [90, 80, 70] {
        let decision = ask(&limits, &table, "read", Some("ours"));
        assert_eq!(shown(&limits, &decision), "failed-open, a open, b open");
        let soft =
            [limit("a", "concurrency", Mode::Soft, ""), limit("b", "tokens", Mode::Soft, "")];
        let look = put(&soft, &table, ("read", Some("ours")), &[]);
        assert_eq!(shown(&soft, &look), format!("allow, a 100, b {left}"));
    }
}
