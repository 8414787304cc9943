//! What policies mean in `strict`: three values, tenants, patterns, bounds.

use tollgate_engine::bounds::{ALTERNATIVES_MAX, SLOTS_MAX};
use tollgate_engine::{
    Binding, Code, Diagnostics, Dialect, Now, PolicySet, Source, Value, Verdict, bind, parse_model,
    parse_rows, split,
};

const NOW: Now = Now(0);

fn model(tokens: &str, columns: &str, roles: &str, effect: &str, matcher: &str) -> String {
    let roles =
        if roles.is_empty() { String::new() } else { format!("[role_definition]\n{roles}\n") };
    format!(
        "[request_definition]\nr = {tokens}\n[policy_definition]\np = {columns}\n{roles}\
         [policy_effect]\ne = {effect}\n[matchers]\nm = {matcher}\n"
    )
}

const ALLOW: &str = "some(where (p.eft == allow))";
const BOTH: &str = "some(where (p.eft == allow)) && !some(where (p.eft == deny))";

fn compile(model: &str, rows: &str) -> Result<PolicySet, Diagnostics> {
    let (model, rows) =
        (Source { file: "model.conf", text: model }, Source { file: "policy.csv", text: rows });
    PolicySet::from_texts(model, rows, Dialect::Strict, 5)
}

fn code_of(outcome: Result<PolicySet, Diagnostics>) -> Option<Code> {
    match outcome {
        Ok(set) => set.warnings().iter().next().map(|finding| finding.code),
        Err(found) => found.iter().next().map(|finding| finding.code),
    }
}

#[test]
fn an_unknown_deny_rule_denies_and_an_unknown_allow_rule_does_not_allow() {
    let text = model("sub, act", "act, eft", "", BOTH, "r.sub.age > 17 && r.act == p.act");
    let set = compile(&text, "p, read, allow\np, drop, allow\np, drop, deny\n").unwrap();
    // Slots: r.sub.age, r.act.
    for (age, act, expected) in [
        (Value::Int(18), "read", Verdict::Allow { rule: Some(0) }),
        (Value::Int(17), "read", Verdict::NoRule),
        (Value::Missing, "read", Verdict::NoRule),
        (Value::Str("18"), "read", Verdict::NoRule),
        (Value::Int(18), "drop", Verdict::Deny { rule: 2 }),
        (Value::Missing, "drop", Verdict::Error { rule: Some(2) }),
        (Value::Int(17), "drop", Verdict::NoRule),
    ] {
        let tuple = [age, Value::Str(act)];
        assert_eq!(set.evaluate(&tuple, NOW), expected, "{age:?} {act}");
        assert_eq!(set.evaluate_by_scan(&tuple, NOW), expected, "{age:?} {act} by scan");
    }
}

#[test]
fn a_list_of_the_request_is_indexed() {
    let matcher = "(r.obj.tenant == r.sub.tenant || r.sub.level == \"platform\") && \
        ((p.sub in r.sub.roles && p.act == r.act) || (p.sub == \"custom\" && r.act in r.sub.grants))";
    let text = model("sub, obj, act", "sub, act, eft", "", BOTH, matcher);
    let rows =
        "p, admin, tenant:create, allow\np, auditor, audit:read, allow\np, custom, *, allow\n";
    let set = compile(&text, rows).unwrap();
    let (admin, grants) = ([Value::Str("admin")], [Value::Str("key:read")]);
    let ask = |level, roles: &[Value<'_>], grants: &[Value<'_>], act| {
        let tuple: Vec<Value<'_>> = (set.slots().iter())
            .map(|slot| match slot.path.as_str() {
                "tenant" if slot.token == 1 => Value::Str("acme"),
                "tenant" => Value::Str("beta"),
                "level" => Value::Str(level),
                "roles" => Value::List(roles),
                "grants" => Value::List(grants),
                _ => Value::Str(act),
            })
            .collect();
        assert_eq!(set.evaluate(&tuple, NOW), set.evaluate_by_scan(&tuple, NOW));
        set.evaluate(&tuple, NOW)
    };
    assert_eq!(ask("platform", &admin, &[], "tenant:create"), Verdict::Allow { rule: Some(0) });
    assert_eq!(ask("tenant", &admin, &[], "tenant:create"), Verdict::NoRule);
    assert_eq!(ask("platform", &[], &[], "tenant:create"), Verdict::NoRule);
    assert_eq!(ask("platform", &[], &grants, "key:read"), Verdict::Allow { rule: Some(2) });
}

#[test]
fn tenants_are_split_and_never_meet() {
    let text = model(
        "sub, dom, obj",
        "sub, dom, obj",
        "g = _, _, _",
        ALLOW,
        "g(r.sub, p.sub, r.dom) && r.dom == p.dom && r.obj == p.obj",
    );
    let rows = "p, admin, north, x\np, admin, *, y\np, admin, south, z\n\
        g, alice, admin, north\ng, alice, admin, elsewhere\n";
    let source = Source { file: "model.conf", text: &text };
    let rows_source = Source { file: "policy.csv", text: rows };
    let model = parse_model(source, Dialect::Strict).unwrap();
    let parsed = parse_rows(rows_source, &model).unwrap();
    let binding: Binding = bind(&model, &[], source).unwrap();
    let parts = split(&model, &binding, parsed, "folder", source).unwrap();
    assert_eq!(parts.keys().collect::<Vec<_>>(), ["north", "south"]);
    assert_eq!(parts["north"].rules.len(), 2);
    assert_eq!(parts["north"].links[0].len(), 1);
    assert_eq!(parts["south"].links[0].len(), 0);
    let ask = |tenant: &str, obj: &str| {
        let set = PolicySet::compile(&model, &parts[tenant], (source, rows_source), 1).unwrap();
        let slot = |slot: &tollgate_engine::Slot| match slot.token {
            0 => Value::Str("alice"),
            1 => Value::Str("north"),
            _ => Value::Str(obj),
        };
        let tuple: Vec<Value<'_>> = set.slots().iter().map(slot).collect();
        set.evaluate(&tuple, NOW).is_allow()
    };
    assert!(ask("north", "x") && ask("north", "y") && !ask("north", "z"));
    assert!(!ask("south", "z") && !ask("south", "x"));
}

#[test]
fn a_tenant_that_the_matcher_does_not_demand_is_refused() {
    for (matcher, implied) in [
        ("g(r.sub, p.sub, r.dom) && r.dom == p.dom && r.obj == p.obj", true),
        ("(r.dom == p.dom || p.dom == \"*\") && r.obj == p.obj", true),
        ("r.obj == p.obj", false),
        ("r.dom == p.dom && r.obj == p.obj || r.sub == \"root\"", false),
        ("r.dom == p.dom && (r.obj == p.obj || r.sub == \"root\")", true),
    ] {
        let text = model("sub, dom, obj", "sub, dom, obj", "g = _, _, _", ALLOW, matcher);
        let source = Source { file: "model.conf", text: &text };
        let model = parse_model(source, Dialect::Strict).unwrap();
        let rows_source = Source { file: "policy.csv", text: "p, a, t, x\n" };
        let rows = parse_rows(rows_source, &model).unwrap();
        let binding = bind(&model, &[], source).unwrap();
        let outcome = split(&model, &binding, rows, "folder", source);
        let code = outcome.err().and_then(|found| found.iter().next().map(|f| f.code));
        assert_eq!(code, (!implied).then_some(Code::DomainNotImplied), "{matcher}");
    }
}

#[test]
fn what_cannot_be_compiled_is_refused_at_load() {
    let ask = |matcher: &str, rows: &str| {
        code_of(compile(&model("sub, obj", "sub, obj", "g = _, _", ALLOW, matcher), rows))
    };
    for (matcher, rows, expected) in [
        ("keyMatch2(r.obj, p.obj)", "p, a, /x/:y\n", None),
        ("keyMatch2(r.obj, p.obj)", "p, a, /x(y)\n", Some(Code::BadPattern)),
        ("regexMatch(r.obj, p.obj)", "p, a, (x\n", Some(Code::BadPattern)),
        ("regexMatch(r.obj, p.obj)", "p, a, \\bx\n", Some(Code::PatternTooLarge)),
        ("regexMatch(r.obj, \"(x\")", "p, a, x\n", Some(Code::BadPattern)),
        ("ipMatch(r.obj, p.obj)", "p, a, 10.0.0.0/8\n", None),
        ("ipMatch(r.obj, p.obj)", "p, a, ten\n", Some(Code::BadPattern)),
        ("ipMatch(r.obj, \"ten\")", "p, a, x\n", Some(Code::BadPattern)),
        ("timeMatch(r.obj, p.obj)", "p, a, x\n", Some(Code::UnsupportedFunction)),
        ("r.obj == [\"a\"]", "p, a, x\n", Some(Code::ArgumentKind)),
    ] {
        assert_eq!(ask(matcher, rows), expected, "{matcher} {rows}");
    }
}

#[test]
fn alternatives_beyond_the_bound_are_scanned_with_a_warning() {
    let matcher = |n: usize| {
        let parts: Vec<String> =
            (0..n).map(|i| format!("r.obj == \"{i}\" && r.sub == p.sub")).collect();
        parts.join(" || ")
    };
    let compile =
        |n| compile(&model("sub, obj", "sub, obj", "", ALLOW, &matcher(n)), "p, a, x\n").unwrap();
    let (indexed, scanned) = (compile(ALTERNATIVES_MAX), compile(ALTERNATIVES_MAX + 1));
    assert!(indexed.warnings().is_empty());
    assert_eq!(scanned.warnings().iter().next().map(|f| f.code), Some(Code::ScannedPolicy));
    for set in [indexed, scanned] {
        let tuple =
            |slot: &tollgate_engine::Slot| Value::Str(if slot.token == 0 { "a" } else { "3" });
        let tuple: Vec<Value<'_>> = set.slots().iter().map(tuple).collect();
        assert_eq!(set.evaluate(&tuple, NOW), Verdict::Allow { rule: Some(0) });
    }
}

#[test]
fn attribute_paths_are_bounded() {
    let matcher = |n: usize| {
        let parts: Vec<String> = (0..n).map(|i| format!("r.sub.a{i} == \"x\"")).collect();
        parts.join(" && ")
    };
    let ask =
        |n| code_of(compile(&model("sub, obj", "sub, obj", "", ALLOW, &matcher(n)), "p, a, x\n"));
    assert_eq!(ask(SLOTS_MAX), None);
    assert_eq!(ask(SLOTS_MAX + 1), Some(Code::BoundExceeded));
}

#[test]
fn priority_is_the_order_of_rows() {
    let text = model(
        "sub, act",
        "sub, act, eft",
        "",
        "priority(p.eft) || deny",
        "r.sub == p.sub && (r.act == p.act || p.act == \"*\")",
    );
    let set =
        compile(&text, "p, a, drop, deny\np, a, *, allow\np, b, *, allow\np, b, drop, deny\n")
            .unwrap();
    for (sub, act, expected) in [
        ("a", "drop", Verdict::Deny { rule: 0 }),
        ("a", "read", Verdict::Allow { rule: Some(1) }),
        ("b", "drop", Verdict::Allow { rule: Some(2) }),
        ("c", "read", Verdict::NoRule),
    ] {
        assert_eq!(set.evaluate(&[Value::Str(sub), Value::Str(act)], NOW), expected, "{sub} {act}");
    }
}

#[test]
fn rows_bring_expressions_that_load_or_say_where_not() {
    let matcher = "eval(p.rule) && r.act == p.act";
    let model = model("sub, obj, act", "rule, act", "", ALLOW, matcher);
    let ask = |rows: &str, age: i64| {
        let set = compile(&model, rows).unwrap();
        let read = |slot: &tollgate_engine::Slot| match (slot.token, slot.path.as_str()) {
            (0, "age") => Value::Int(age),
            (1, "") => Value::Str("/x/1"),
            (2, "") => Value::Str("read"),
            _ => Value::Missing,
        };
        let tuple: Vec<Value<'_>> = set.slots().iter().map(read).collect();
        set.evaluate(&tuple, NOW).is_allow()
    };
    for (rule, age, expected) in [
        ("r.sub.age >= 18", 18, true),
        ("r.sub.age >= 18", 17, false),
        ("r.sub.heightt > 1 || r.sub.age > 1", 2, true),
        ("r.sub.heightt > 1", 2, false),
        ("keyMatch2(r.obj, '/x/:id') && p.act == 'read'", 0, true),
        ("p.act == 'write'", 0, false),
        // No truth: unknown, which does not allow.
        ("r.sub.age", 1, false),
    ] {
        assert_eq!(ask(&format!("p, \"{rule}\", read\n"), age), expected, "{rule}");
    }
    for (rule, code, column) in [
        ("r.sub.age >", Code::Syntax, 4),
        ("r.subb == 'x'", Code::UnknownToken, 4),
        ("true && eval(p.rule)", Code::ArgumentKind, 12),
        ("keyMatch2(r.obj, '(x')", Code::BadPattern, 4),
        ("", Code::Syntax, 4),
    ] {
        let found = compile(&model, &format!("p, true, write\np, \"{rule}\", read\n")).unwrap_err();
        let first = found.iter().next().unwrap();
        let (line, at) = (first.span.line, first.span.column);
        assert_eq!((first.code, first.file.as_str(), line), (code, "policy.csv", 2), "{rule}");
        assert!(at > column, "{rule}: {at}");
    }
}

#[test]
fn a_priority_column_is_the_order_of_the_rows() {
    let matcher = "r.sub == p.sub && r.obj == p.obj";
    let model =
        model("sub, obj", "priority, sub, obj, eft", "", "priority(p.eft) || deny", matcher);
    let rows = "p, 10, alice, x, deny\np, -1, alice, x, allow\np, 10, bob, x, allow\np, 10, bob, y, deny\n\
        p, 2, bob, y, allow\n";
    let set = compile(&model, rows).unwrap();
    for (subject, object, line) in
        [("alice", "x", Some(2)), ("bob", "x", Some(3)), ("bob", "y", Some(5)), ("eve", "x", None)]
    {
        let read = |slot: &tollgate_engine::Slot| Value::Str([subject, object][slot.token]);
        let tuple: Vec<Value<'_>> = set.slots().iter().map(read).collect();
        let verdict = set.evaluate(&tuple, NOW);
        let rule = match verdict {
            Verdict::Allow { rule } => rule,
            _ => None,
        };
        assert_eq!(rule.map(|rule| set.rule_line(rule)), line, "{subject} {object}: {verdict:?}");
    }
    let found = compile(&model, "p, 1.5, a, b, allow\np, , c, d, allow\n").unwrap_err();
    assert!(found.iter().all(|one| one.code == Code::BadPriority) && found.iter().count() == 2);
}
