//! What Casbin's models bring beside rules and roles: contexts, orders of rules, links that hold for a time, functions
//! of the host.

use tollgate_engine::{
    Attribute, Cells, Code, CustomFunction, Dialect, ENFORCE_CONTEXT, Entity, Now, Part, PolicySet,
    Quotas, Reason, Request, Scratch, Source, TenantState, Value, Verdict, Version, bind,
    parse_model, parse_model_with, parse_rows,
};

use crate::table::Table;

fn source<'a>(file: &'a str, text: &'a str) -> Source<'a> {
    Source { file, text }
}

fn set(model: &str, rows: &str) -> PolicySet {
    let (model, rows) = (source("model.conf", model), source("policy.csv", rows));
    PolicySet::from_texts(model, rows, Dialect::Strict, 1).unwrap_or_else(|e| panic!("{e:?}"))
}

fn codes(model: &str, rows: &str, dialect: Dialect) -> Vec<(Code, usize)> {
    let (model, rows) = (source("model.conf", model), source("policy.csv", rows));
    match PolicySet::from_texts(model, rows, dialect, 1) {
        Ok(_) => Vec::new(),
        Err(found) => found.iter().map(|one| (one.code, one.span.line)).collect(),
    }
}

/// One answer by layout, index and scan.
fn ask(set: &PolicySet, request: &[&str], now: u64) -> Verdict {
    let value = |slot: &tollgate_engine::Slot| Value::Str(request[slot.token]);
    let tuple: Vec<Value<'_>> = set.slots().iter().map(value).collect();
    let verdict = set.evaluate(&tuple, Now(now));
    assert_eq!(verdict, set.evaluate_by_scan(&tuple, Now(now)), "{request:?}");
    assert_eq!(verdict, set.evaluate_by_index(&tuple, Now(now)), "{request:?}");
    verdict
}

const SUBJECT_PRIORITY: &str = "[request_definition]\nr = sub, obj, act\n[policy_definition]\n\
    p = sub, obj, act, eft\n[role_definition]\ng = _, _\n[policy_effect]\n\
    e = subjectPriority(p.eft) || deny\n[matchers]\n\
    m = g(r.sub, p.sub) && r.obj == p.obj && r.act == p.act\n";

#[test]
fn a_members_rule_comes_before_its_roles_rule() {
    let set = set(
        SUBJECT_PRIORITY,
        "p, root, data1, read, deny\np, admin, data1, read, deny\np, editor, data1, read, deny\n\
         p, subscriber, data1, read, deny\np, jane, data1, read, allow\np, alice, data1, read, allow\n\
         g, admin, root\ng, editor, admin\ng, subscriber, admin\ng, jane, editor\ng, alice, subscriber\n",
    );
    for (subject, line) in [("jane", 5), ("alice", 6), ("editor", 3), ("admin", 2), ("root", 1)] {
        let verdict = ask(&set, &[subject, "data1", "read"], 0);
        assert_eq!(verdict.is_allow(), line >= 5, "{subject}");
        assert_eq!(set.rule_line(verdict.rule().unwrap()), line, "{subject}");
    }
    assert_eq!(ask(&set, &["bob", "data1", "read"], 0), Verdict::NoRule);
    let found = codes(SUBJECT_PRIORITY, "p, a, b, c, allow\n", Dialect::CasbinRs);
    assert_eq!(found, [(Code::UnknownEffect, 8)]);
}

#[test]
fn subjects_stand_at_the_height_of_their_tenant() {
    let model = SUBJECT_PRIORITY
        .replace("r = sub,", "r = sub, dom,")
        .replace("p = sub,", "p = sub, dom,")
        .replace("g = _, _", "g = _, _, _")
        .replace("g(r.sub, p.sub)", "g(r.sub, p.sub, r.dom) && r.dom == p.dom");
    let rows = "p, admin, t1, data1, write, deny\np, alice, t1, data1, write, allow\n\
        p, admin, t2, data1, write, allow\np, alice, t2, data1, write, deny\n\
        g, alice, admin, t1\ng, admin, alice, t2\n";
    let set = set(&model, rows);
    for (tenant, subject, expected) in [
        ("t1", "alice", true),
        ("t1", "admin", false),
        ("t2", "admin", true),
        ("t2", "alice", false),
    ] {
        let verdict = ask(&set, &[subject, tenant, "data1", "write"], 0);
        assert_eq!(verdict.is_allow(), expected, "{tenant} {subject}");
    }
}

const TIMED: &str = "[request_definition]\nr = sub, obj\n[policy_definition]\np = sub, obj, eft\n\
    [role_definition]\ng = _, _, (_, _)\n[policy_effect]\n\
    e = some(where (p.eft == allow)) && !some(where (p.eft == deny))\n[matchers]\n\
    m = g(r.sub, p.sub) && r.obj == p.obj\n";

#[test]
fn a_link_gives_its_role_while_it_holds_and_chains_hold_while_all_links_do() {
    let set = set(
        TIMED,
        "p, staff, doc, allow\np, banned, doc, deny\n\
         g, alice, lead, 1970-01-01 00:00:10, 1970-01-01 00:00:30\n\
         g, lead, staff, 1970-01-01 00:00:20, _\n\
         g, alice, banned, 1970-01-01 00:00:25, _\ng, bob, staff, _, _\n",
    );
    let second = 1_000_000_000;
    for (subject, at, expected) in [
        ("alice", 5, Verdict::NoRule),
        ("alice", 15, Verdict::NoRule),
        ("alice", 21, Verdict::Allow { rule: Some(0) }),
        ("alice", 26, Verdict::Deny { rule: 1 }),
        ("alice", 31, Verdict::Deny { rule: 1 }),
        ("lead", 15, Verdict::NoRule),
        ("lead", 31, Verdict::Allow { rule: Some(0) }),
        ("bob", 0, Verdict::Allow { rule: Some(0) }),
        ("staff", 0, Verdict::Allow { rule: Some(0) }),
    ] {
        assert_eq!(ask(&set, &[subject, "doc"], at * second), expected, "{subject} at {at}");
    }
}

#[test]
fn a_link_of_no_time_does_not_load() {
    for (row, code) in [
        ("g, a, b", Code::FieldCount),
        ("g, a, b, _", Code::FieldCount),
        ("g, a, b, tomorrow, _", Code::BadTime),
        ("g, a, b, _, 2026-02-30 00:00:00", Code::BadTime),
    ] {
        let found = codes(TIMED, &format!("p, b, doc, allow\n{row}\n"), Dialect::Strict);
        assert_eq!(found, [(code, 2)], "{row}");
    }
    let found = codes(TIMED, "", Dialect::CasbinRs);
    assert_eq!(found[0], (Code::UnsupportedDefinition, 6));
}

const CONTEXTS: &str = "[request_definition]\nr = sub, obj\nr2 = sub, act\n[policy_definition]\n\
    p = sub, obj\np2 = sub, act, eft\n[role_definition]\ng = _, _\n[policy_effect]\n\
    e = some(where (p.eft == allow))\n\
    e2 = some(where (p2.eft == allow)) && !some(where (p2.eft == deny))\n[matchers]\n\
    m = g(r.sub, p.sub) && r.obj == p.obj\nm2 = g(r2.sub, p2.sub) && r2.act == p2.act\n\
    m3 = r.sub == \"root\" && r.obj == p.obj\n";
const CONTEXT_ROWS: &str = "p, staff, doc\np2, staff, read, allow\np2, alice, write, deny\n\
    p2, staff, write, allow\ng, alice, staff\ng, bob, staff\n";

#[test]
fn a_context_asks_its_own_rules_and_honours_their_denials() {
    let set = set(CONTEXTS, CONTEXT_ROWS);
    let of = |name: &str| set.context(name).unwrap();
    assert!(set.context("4").is_none());
    for (context, request, line) in [
        ("", ["alice", "doc"], Some(1)),
        ("", ["alice", "read"], None),
        ("2", ["alice", "read"], Some(2)),
        ("2", ["alice", "doc"], None),
        ("2", ["bob", "write"], Some(4)),
        ("3", ["root", "doc"], Some(1)),
        ("3", ["alice", "doc"], None),
    ] {
        let (asked, first) = if context.is_empty() { (&set, 0) } else { of(context) };
        let verdict = ask(asked, &request, 0);
        assert_eq!(verdict.is_allow(), line.is_some(), "{context} {request:?}");
        let found = verdict.rule().map(|rule| set.rule_line(rule + first));
        assert_eq!(found, line, "{context} {request:?}");
    }
    let (second, first) = of("2");
    let verdict = ask(second, &["alice", "write"], 0);
    assert!(matches!(verdict, Verdict::Deny { .. }), "{verdict:?}");
    assert_eq!(set.rule_line(verdict.rule().unwrap() + first), 3);
}

#[test]
fn a_request_names_its_context() {
    let model_source = source("model.conf", CONTEXTS);
    let model = parse_model(model_source, Dialect::Strict).unwrap();
    let binding = bind(&model, &[], model_source).unwrap();
    let policy = std::sync::Arc::new(set(CONTEXTS, CONTEXT_ROWS));
    let state = TenantState::link("t", Version::default(), policy, &binding, Quotas::none());
    let table = Table::new(1);
    let named = |name| [Attribute { part: Part::Context, path: ENFORCE_CONTEXT, value: name }];
    let decide = |action, attributes: &[Attribute<'_>]| {
        let entity = |id| Entity { id, kind: "" };
        let request = Request {
            tenant: "t",
            subject: entity("alice"),
            resource: entity("doc"),
            action,
            attributes,
            amounts: None,
            reserve: None,
        };
        let cells: Cells<'_> = table.cells();
        let decision = state.decide(&cells, &request, Now(0), &mut Scratch::default());
        let line = decision.rule.map(|rule| state.policy().rule_line(rule));
        let explanation = state.explain(&cells, &request, Now(0), &mut Scratch::default());
        assert_eq!(explanation.decision.rule, decision.rule);
        if let Some(rule) = decision.rule {
            assert_eq!(explanation.rules[0].rule, rule);
        }
        (decision.reason, line)
    };
    assert_eq!(decide("write", &[]), (Reason::Allow, Some(1)));
    let second = named(Value::Str("2"));
    assert_eq!(decide("read", &second), (Reason::Allow, Some(2)));
    assert_eq!(decide("write", &second), (Reason::PolicyDenied, Some(3)));
    for unknown in [Value::Str("9"), Value::Int(2), Value::Str("")] {
        assert_eq!(decide("read", &named(unknown)), (Reason::BadRequest, None), "{unknown:?}");
    }
}

#[test]
fn definitions_without_a_matcher_and_rows_of_other_definitions_do_not_load() {
    let lone = CONTEXTS.replace("m2 = g(r2.sub, p2.sub) && r2.act == p2.act\n", "");
    let found = codes(&lone, "", Dialect::Strict);
    assert_eq!(found, [3, 6, 11].map(|line| (Code::UnsupportedDefinition, line)));
    let foreign = CONTEXTS.replace("r2.act == p2.act", "r.obj == p.obj");
    assert_eq!(codes(&foreign, "", Dialect::Strict), [(Code::UnknownToken, 14); 2]);
    let found = codes(CONTEXTS, "p, a, b\np2, a, b\np3, a\n", Dialect::Strict);
    assert_eq!(found, [(Code::FieldCount, 2), (Code::UnknownPtype, 3)]);
}

fn shout<'v>(given: &[Value<'v>]) -> Value<'v> {
    match given {
        [Value::Str(text), Value::Int(least)] => {
            Value::Bool(i64::try_from(text.len()).is_ok_and(|len| len >= *least))
        }
        _ => Value::Missing,
    }
}

#[test]
fn the_host_brings_functions() {
    let text = "[request_definition]\nr = sub, n\n[policy_definition]\np = sub, eft\n[policy_effect]\n\
        e = some(where (p.eft == allow)) && !some(where (p.eft == deny))\n[matchers]\n\
        m = isLong(r.sub, r.n) && keyMatch(r.sub, p.sub)\n";
    let functions = [CustomFunction { name: "isLong", arity: 2, call: shout }];
    let (model_source, rows_source) =
        (source("model.conf", text), source("policy.csv", "p, a*, allow\np, ab*, deny\n"));
    let model = parse_model_with(model_source, Dialect::Strict, &functions).unwrap();
    let rows = parse_rows(rows_source, &model).unwrap();
    let set = PolicySet::compile(&model, &rows, (model_source, rows_source), 1).unwrap();
    for (subject, least, expected) in [
        ("alice", Value::Int(3), Verdict::Allow { rule: Some(0) }),
        ("alice", Value::Int(9), Verdict::NoRule),
        ("abe", Value::Int(3), Verdict::Deny { rule: 1 }),
        ("abe", Value::Missing, Verdict::Error { rule: Some(1) }),
        ("alice", Value::Str("3"), Verdict::NoRule),
    ] {
        let tuple: Vec<Value<'_>> = (set.slots().iter())
            .map(|slot| if slot.token == 0 { Value::Str(subject) } else { least })
            .collect();
        assert_eq!(set.evaluate(&tuple, Now(0)), expected, "{subject} {least:?}");
        assert_eq!(set.evaluate_by_scan(&tuple, Now(0)), expected, "{subject} {least:?}");
    }
    let unknown = parse_model(model_source, Dialect::Strict).unwrap_err();
    assert_eq!(unknown.iter().next().map(|one| one.code), Some(Code::UnknownFunction));
    let wide = [CustomFunction { name: "isLong", arity: 9, call: shout }];
    let refused = parse_model_with(model_source, Dialect::Strict, &wide).unwrap_err();
    assert_eq!(refused.iter().next().map(|one| one.code), Some(Code::BoundExceeded));
}
