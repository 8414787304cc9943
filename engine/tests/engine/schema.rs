//! Schemas: what they refuse in a policy, what in a request, and whose attributes count.

use tollgate_engine::schema::{Constant, Kind, Origin, Rule, Schema, violations};
use tollgate_engine::{
    Attribute, Code, Dialect, Entity, Now, Part, PolicySet, Quotas, Reason, Request, Scratch,
    Source, TenantState, Value, Version, bind, parse_model, parse_rows,
};

fn rule(kinds: &[Kind]) -> Rule {
    Rule { kinds: kinds.to_vec(), ..Rule::default() }
}

fn schema() -> Schema {
    let text = |text: &str| Constant::Text(text.to_owned());
    let mut attributes = vec![
        (
            (Part::Subject, "age".to_owned()),
            Rule {
                least: Some(Value::Int(0)),
                most: Some(Value::Int(150)),
                ..rule(&[Kind::Integer])
            },
        ),
        (
            (Part::Subject, "team".to_owned()),
            Rule { choices: vec![text("search"), text("ads")], ..rule(&[Kind::String]) },
        ),
        (
            (Part::Subject, "tags".to_owned()),
            Rule { items: vec![Kind::String], ..rule(&[Kind::List]) },
        ),
        (
            (Part::Subject, "vip".to_owned()),
            Rule { origin: Origin::Directory, ..rule(&[Kind::Boolean]) },
        ),
        ((Part::Context, "hour".to_owned()), Rule { is_required: true, ..rule(&[Kind::Number]) }),
    ];
    attributes.sort_by(|(a, _), (b, _)| a.cmp(b));
    Schema { attributes, closed: vec![Part::Subject], checks_requests: false }
}

fn model(matcher: &str) -> String {
    format!(
        "[request_definition]\nr = sub, obj, act, env\n[policy_definition]\np = obj, own\n[policy_effect]\n\
         e = some(where (p.eft == allow))\n[matchers]\nm = {matcher}\n"
    )
}

fn found(matcher: &str, rows: &str) -> Vec<(Code, String, usize)> {
    let text = model(matcher);
    let (model_source, rows_source) =
        (Source { file: "model.conf", text: &text }, Source { file: "policy.csv", text: rows });
    let model = parse_model(model_source, Dialect::Strict).unwrap_or_else(|e| panic!("{e:?}"));
    let rows = parse_rows(rows_source, &model).unwrap();
    let binding = bind(&model, &[], model_source).unwrap();
    let found = violations(&schema(), (&model, &binding), &rows, (model_source, rows_source));
    found.iter().map(|one| (one.code, one.file.clone(), one.span.line)).collect()
}

#[test]
fn a_policy_reads_what_there_is_and_compares_what_compares() {
    for (matcher, expected) in [
        ("r.sub.age > 17 && r.obj == p.obj", 0),
        ("r.sub.agee > 17", 1),
        ("r.sub.age > \"17\"", 1),
        ("r.sub.age == 200", 1),
        ("r.sub.age < 200", 0),
        ("r.sub.team == \"search\"", 0),
        ("r.sub.team == \"serach\"", 1),
        ("\"serach\" == r.sub.team", 1),
        ("r.sub.team in [\"ads\", \"sales\"]", 1),
        ("r.sub.vip == \"yes\"", 1),
        ("r.sub.id == \"alice\" && r.sub.type == \"user\"", 0),
        ("r.obj.anything == 1", 0),
        ("r.env.hour >= 9.5", 0),
    ] {
        let found = found(matcher, "p, x, true\n");
        assert_eq!(found.len(), expected, "{matcher}: {found:?}");
        assert!(
            found
                .iter()
                .all(|(code, file, _)| *code == Code::SchemaViolation && file == "model.conf")
        );
    }
    let rows = "p, x, r.sub.age > 17\np, y, r.sub.size > 17\n";
    let expected = (Code::SchemaViolation, "policy.csv".to_owned(), 2);
    assert_eq!(found("r.obj == p.obj && eval(p.own)", rows), [expected]);
}

fn decide(schema: Schema, attributes: &[Attribute<'_>]) -> Reason {
    let text = model("r.obj == p.obj && (r.sub.vip == true || r.sub.age > 17)");
    let model_source = Source { file: "model.conf", text: &text };
    let rows_source = Source { file: "policy.csv", text: "p, x, true\n" };
    let parsed = parse_model(model_source, Dialect::Strict).unwrap();
    let binding = bind(&parsed, &[], model_source).unwrap();
    let set = PolicySet::from_texts(model_source, rows_source, Dialect::Strict, 1).unwrap();
    let state = TenantState::link("t", Version::default(), set.into(), &binding, Quotas::none());
    let state = state.described(Some(schema.into()));
    let entity = |id| Entity { id, kind: "" };
    let (subject, resource) = (entity("alice"), entity("x"));
    let request = Request {
        tenant: "t",
        subject,
        resource,
        action: "read",
        attributes,
        ..Request::default()
    };
    state.decide_policy(&request, Now(0), &mut Scratch::default()).reason
}

#[test]
fn attributes_of_others_do_not_count_and_requests_are_checked_by_choice() {
    let hour = Attribute { part: Part::Context, path: "hour", value: Value::Int(9) };
    let sub = |path, value| Attribute { part: Part::Subject, path, value };
    let (strings, mixed) = ([Value::Str("a")], [Value::Int(1)]);
    for (attribute, lax, checked) in [
        (sub("age", Value::Int(20)), Reason::Allow, Reason::Allow),
        (sub("age", Value::Int(200)), Reason::Allow, Reason::BadRequest),
        (sub("age", Value::Str("20")), Reason::NoRule, Reason::BadRequest),
        // The directory vouches for it, and a gateway says it.
        (sub("vip", Value::Bool(true)), Reason::NoRule, Reason::NoRule),
        (sub("team", Value::Str("sales")), Reason::NoRule, Reason::BadRequest),
        (sub("tags", Value::List(&strings)), Reason::NoRule, Reason::NoRule),
        (sub("tags", Value::List(&mixed)), Reason::NoRule, Reason::BadRequest),
        (sub("unknown", Value::Int(1)), Reason::NoRule, Reason::BadRequest),
    ] {
        let attributes = [hour, attribute];
        assert_eq!(decide(schema(), &attributes), lax, "{attribute:?}");
        let checking = Schema { checks_requests: true, ..schema() };
        assert_eq!(decide(checking, &attributes), checked, "{attribute:?}");
    }
    let checking = Schema { checks_requests: true, ..schema() };
    let without_hour = [sub("age", Value::Int(20))];
    assert_eq!(decide(checking, &without_hour), Reason::BadRequest);
    assert_eq!(decide(schema(), &without_hour), Reason::Allow);
}
