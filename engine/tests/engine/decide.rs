//! The steps of a decision and which of them wins.

use crate::table::{MODEL, Table, tenant};
use tollgate_engine::bounds::{ATTRIBUTES_MAX, ID_BYTES_MAX, LIMITS_PER_REQUEST_MAX};
use tollgate_engine::{
    Attribute, Bucket, Capacity, Dimension, Entity, FailureMode, Limit, Mode, Now, Part, Reason,
    Request, Scratch, Stage, Value,
};

const ROWS: &str = "p, role:staff, /v1/models/:m, create, allow\n\
    p, role:staff, /v1/models/large, create, deny\ng, alice, role:staff\n";
const NOW: Now = Now(1_800_000_000_000_000_000);

fn limit(id: &str, burst: u32, dimensions: &[(Part, &str)]) -> Limit {
    let dimension = |(part, path): &(Part, &str)| Dimension { part: *part, path: (*path).into() };
    Limit {
        id: id.to_owned(),
        meter: "requests".to_owned(),
        capacity: Capacity::Bucket(Bucket { count: 1, period_ns: 1_000_000_000, burst }),
        dimensions: dimensions.iter().map(dimension).collect(),
        when: None,
        mode: Mode::Hard,
        stage: Stage::AfterPolicy,
        default_amount: None,
        overdraft: 0,
        warn_at: Vec::new(),
        failure_mode: FailureMode::default(),
        estimate: None,
    }
}

fn request<'a>(subject: &'a str, resource: &'a str, action: &'a str) -> Request<'a> {
    Request {
        tenant: "acme",
        subject: Entity { kind: "user", id: subject },
        resource: Entity { kind: "", id: resource },
        action,
        ..Request::default()
    }
}

#[test]
fn the_first_refusal_names_the_reason() {
    let table = Table::new(4);
    let state = tenant(MODEL, ROWS, &[limit("l", 1, &[])], 1);
    let ask = |request: Request<'_>| {
        state.decide(&table.cells(), &request, NOW, &mut Scratch::default()).reason
    };
    let rows: &[(&str, &str, &str, Reason)] = &[
        ("", "/v1/../x", "create", Reason::BadRequest),
        ("alice", "", "create", Reason::BadRequest),
        ("alice", "/v1/x", "", Reason::BadRequest),
        ("alice", "/v1/../x", "create", Reason::AmbiguousPath),
        ("alice", "/v1/models/%2e%2e", "create", Reason::AmbiguousPath),
        ("alice", "/v1/models/large", "create", Reason::PolicyDenied),
        ("alice", "/v1/models/l%61rge", "create", Reason::PolicyDenied),
        ("alice", "/v1/models/small", "read", Reason::NoRule),
        ("bob", "/v1/models/small", "create", Reason::NoRule),
        ("alice", "/v1/models/small", "create", Reason::Allow),
        ("alice", "/v1/models/small", "create", Reason::QuotaExceeded),
        // A request that policy refuses is not asked for quota, even when it is used up.
        ("alice", "/v1/models/large", "create", Reason::PolicyDenied),
    ];
    for (subject, resource, action, expected) in rows {
        assert_eq!(ask(request(subject, resource, action)), *expected, "{subject} {resource}");
    }
}

#[test]
fn steps_without_configuration_refuse_nothing() {
    // Freshness, kill lane and territory come before policy: were one not inert, these would not
    // reach it, at any time and with any attribute.
    let state = tenant(MODEL, ROWS, &[], 1);
    let table = Table::new(1);
    let attributes = ["region", "provider", "host"].map(|path| Attribute {
        part: Part::Context,
        path,
        value: Value::Str("x"),
    });
    for now in [0, NOW.0, u64::MAX] {
        let mut request = request("alice", "/v1/models/small", "create");
        request.attributes = &attributes;
        let decision = state.decide(&table.cells(), &request, Now(now), &mut Scratch::default());
        assert_eq!(decision.reason, Reason::Allow);
    }
}

#[test]
fn bounds_of_a_request_hold_at_n_and_break_at_n_plus_one() {
    let table = Table::new(1);
    let state = tenant(MODEL, "p, alice, name, read, allow\n", &[], 1);
    let ask = |request: &Request<'_>| {
        state.decide(&table.cells(), request, NOW, &mut Scratch::default()).reason
    };
    let id = |n: usize| "x".repeat(n);
    assert_eq!(ask(&request(&id(ID_BYTES_MAX), "name", "read")), Reason::NoRule);
    assert_eq!(ask(&request(&id(ID_BYTES_MAX + 1), "name", "read")), Reason::BadRequest);
    let paths: Vec<String> = (0..=ATTRIBUTES_MAX).map(|n| format!("a{n}")).collect();
    let attributes: Vec<Attribute<'_>> = (paths.iter())
        .map(|path| Attribute { part: Part::Context, path, value: Value::Null })
        .collect();
    let mut asked = request("alice", "name", "read");
    asked.attributes = &attributes[..ATTRIBUTES_MAX];
    assert_eq!(ask(&asked), Reason::Allow);
    asked.attributes = &attributes;
    assert_eq!(ask(&asked), Reason::BadRequest);
}

#[test]
fn limits_of_a_request_are_bounded_and_their_dimensions_required() {
    let table = Table::new(64);
    let many =
        |n: usize| -> Vec<Limit> { (0..n).map(|i| limit(&format!("l{i}"), 9, &[])).collect() };
    let ask = |limits: &[Limit]| {
        let state = tenant(MODEL, "p, alice, name, read, allow\n", limits, 1);
        let request = request("alice", "name", "read");
        state.decide(&table.cells(), &request, NOW, &mut Scratch::default()).reason
    };
    assert_eq!(ask(&many(LIMITS_PER_REQUEST_MAX)), Reason::Allow);
    assert_eq!(ask(&many(LIMITS_PER_REQUEST_MAX + 1)), Reason::BadRequest);
    let mut by_team = limit("team", 9, &[(Part::Subject, "team")]);
    assert_eq!(ask(std::slice::from_ref(&by_team)), Reason::BadRequest);
    by_team.mode = Mode::Soft;
    assert_eq!(ask(std::slice::from_ref(&by_team)), Reason::Allow);
}

#[test]
fn a_full_stripe_is_an_answer() {
    let table = Table::new(1);
    let names: Vec<String> = (0..17).map(|n| format!("u{n}")).collect();
    let links: String = names.iter().map(|name| format!("g, {name}, role:all\n")).collect();
    let rows = format!("p, role:all, name, read, allow\n{links}");
    let state = tenant(MODEL, &rows, &[limit("l", 9, &[(Part::Subject, "")])], 1);
    let reasons: Vec<Reason> = names
        .iter()
        .map(|name| {
            let request = request(name, "name", "read");
            state.decide(&table.cells(), &request, NOW, &mut Scratch::default()).reason
        })
        .collect();
    assert!(reasons[..16].iter().all(|reason| *reason == Reason::Allow));
    assert_eq!(reasons[16], Reason::QuotaStoreFull);
}

#[test]
fn an_explanation_says_the_condition_that_the_row_brings() {
    let model = MODEL
        .replace("p = sub, obj, act, eft", "p = rule, obj, act, eft")
        .replace("g(r.sub, p.sub)", "eval(p.rule)");
    let rows = "p, r.sub == 'alice', /x/:id, read, allow\np, r.sub == 'bob', /y, read, allow\n";
    let state = tenant(&model, rows, &[], 1);
    let table = Table::new(1);
    let asked = request("carol", "/x/1", "read");
    let said = state.explain(&table.cells(), &asked, NOW, &mut Scratch::default());
    assert_eq!(said.decision.reason, Reason::NoRule);
    let nearest = &said.rules[0];
    let failed = nearest.conjuncts.iter().find(|conjunct| conjunct.truth == Some(false)).unwrap();
    assert_eq!((nearest.rule, failed.text.as_str()), (0, "r.sub == 'alice'"));
}
