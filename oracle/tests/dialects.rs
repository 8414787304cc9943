//! Each difference of dialects that lint tells of has an example here: lint tells it, and casbin and `strict` do answer
//! differently.

use serde_json::Value as Json;
use tollgate_engine::lint::{DIFFERENCES, Subject, lint};
use tollgate_engine::{
    Code, Diagnostics, Dialect, Now, PolicySet, Slot, Source, Value, parse_model, parse_rows,
};
use tollgate_oracle::{Answer, CasbinRs};

/// Id, roles and matcher lines, rows, request, the context that is asked.
type Example = (&'static str, &'static str, &'static str, &'static str, &'static str);

const EXAMPLES: &[Example] = &[
    (
        "shared-graph",
        "g = _, _\ng2 = _, _\nm = g(r.sub, p.sub) && r.obj == p.obj",
        "p, staff, x\ng, bob, staff\ng2, alice, staff",
        r#"["alice", "x"]"#,
        "",
    ),
    (
        "role-patterns",
        "g = _, _\ng2 = _, _\nm = r.sub == p.sub && g2(r.obj, p.obj)\n[role_patterns]\ng2 = keyMatch2",
        "p, a, books\ng2, /book/:id, books",
        r#"["a", "/book/7"]"#,
        "",
    ),
    (
        "role-depth",
        "g = _, _\nm = g(r.sub, p.sub) && r.obj == p.obj",
        "p, ten, x\ng, one, two\ng, two, three\ng, three, four\ng, four, five\ng, five, six\ng, six, seven\n\
         g, seven, eight\ng, eight, nine\ng, nine, nearly\ng, nearly, ten",
        r#"["one", "x"]"#,
        "",
    ),
    (
        "default-tenant",
        "g = _, _, _\ng2 = _, _\nm = g(r.sub, p.sub, \"DEFAULT\") && g2(r.obj, p.obj)",
        "p, staff, web\ng, alice, staff, DEFAULT\ng2, x, web\ng2, bob, staff",
        r#"["bob", "x"]"#,
        "",
    ),
    (
        "live-characters",
        "m = keyMatch2(r.obj, p.obj) && r.sub == p.sub",
        "p, a, /x.y",
        r#"["a", "/xzy"]"#,
        "",
    ),
    (
        "named-parts",
        "m = keyMatch3(r.obj, p.obj) && r.sub == p.sub",
        "p, a, /{x}_{y}",
        r#"["a", "/zz"]"#,
        "",
    ),
    (
        "glob-bytes",
        "m = globMatch(r.obj, p.obj) && r.sub == p.sub",
        "p, a, /?",
        r#"["a", "/é"]"#,
        "",
    ),
    (
        "unknown-value",
        "m = r.sub.x != p.sub && r.obj == p.obj",
        "p, a, x",
        r#"[{"y": 1}, "x"]"#,
        "",
    ),
    ("text-in-text", "m = p.sub in r.sub && r.obj == p.obj", "p, a, x", r#"["bar", "x"]"#, ""),
    ("any-tenant", "m = r.dom == p.dom && r.sub == p.sub", "p, a, *\np, b, t", r#"["a", "t"]"#, ""),
    (
        "mapped-address",
        "m = ipMatch(r.obj, p.obj) && r.sub == p.sub",
        "p, a, ::1",
        r#"["a", "0.0.0.1"]"#,
        "",
    ),
    (
        "context-effect",
        "r2 = sub, obj\np2 = sub, obj, eft\ne2 = some(where (p.eft == allow))\nm = r.sub == p.sub\n\
         m2 = r2.sub == p2.sub && r2.obj == p2.obj",
        "p, b, y\np2, a, x, deny",
        r#"["a", "x"]"#,
        "2",
    ),
    (
        "priority-column",
        "e = priority(p.eft) || deny\np = sub, obj, priority, eft\nm = r.sub == p.sub && r.obj == p.obj",
        "p, a, x, 2, deny\np, a, x, 1, allow",
        r#"["a", "x"]"#,
        "",
    ),
    ("strict-only", "m = r.sub == 'abc' && r.obj == p.obj", "p, a, x", r#"["abc", "x"]"#, ""),
    ("empty-policy", "m = r.sub == p.sub && r.obj == p.obj", "", r#"["", ""]"#, ""),
];

/// The model of an example: its lines in their sections, the usual ones where it has none, then sections of its own.
fn model(lines: &str, id: &str) -> String {
    let tenants = id == "any-tenant";
    let usual = ["r = sub, obj", "p = sub, obj", "e = some(where (p.eft == allow))"];
    let usual = if tenants { ["r = sub, dom", "p = sub, dom", usual[2]] } else { usual };
    let (lines, own_sections) = lines.split_once("\n[").unwrap_or((lines, ""));
    let mut text = String::new();
    for (section, key) in [
        ("request_definition", 'r'),
        ("policy_definition", 'p'),
        ("role_definition", 'g'),
        ("policy_effect", 'e'),
        ("matchers", 'm'),
    ] {
        let own: Vec<&str> = lines.lines().filter(|line| line.starts_with(key)).collect();
        let is_defined =
            |line: &&&str| own.iter().any(|own| own.split(' ').next() == line.split(' ').next());
        text.push_str(&format!("[{section}]\n"));
        for line in usual.iter().filter(|line| line.starts_with(key) && !is_defined(line)) {
            text.push_str(&format!("{line}\n"));
        }
        own.iter().for_each(|line| text.push_str(&format!("{line}\n")));
    }
    if own_sections.is_empty() { text } else { format!("{text}[{own_sections}\n") }
}

/// What `strict` says, with the rows of `*` given to the tenant that asks.
fn strict(model: &str, rows: &str, request: &[Json], context: &str) -> (bool, Vec<String>) {
    let (model_source, rows_source) =
        (Source { file: "model.conf", text: model }, Source { file: "policy.csv", text: rows });
    let model = parse_model(model_source, Dialect::Strict).unwrap_or_else(|e| panic!("{e:?}"));
    let rows = parse_rows(rows_source, &model).unwrap_or_else(|e| panic!("{e:?}"));
    let tokens: Vec<_> =
        model.request.iter().map(|t| tollgate_engine::Part::from_name(t)).collect();
    let parts = |m: &tollgate_engine::Model| {
        m.request.iter().filter_map(|token| tollgate_engine::Part::from_name(token)).collect()
    };
    assert!(tokens.iter().all(Option::is_some));
    let contexts = model.contexts.iter().map(|context| parts(&context.model)).collect();
    let binding = tollgate_engine::Binding { parts: parts(&model), contexts };
    let split = tollgate_engine::split(&model, &binding, rows.clone(), "", model_source).unwrap();
    let own = request.get(1).and_then(Json::as_str).filter(|_| binding.tenant_token().is_some());
    let own = split.get(own.unwrap_or("")).expect("the tenant has rules");
    let set = PolicySet::compile(&model, own, (model_source, rows_source), 1).unwrap();
    let asked = if context.is_empty() { &set } else { set.context(context).unwrap().0 };
    let read = |slot: &Slot| match (&request[slot.token], slot.path.as_str()) {
        (Json::String(text), "") => Value::Str(text),
        _ => Value::Missing,
    };
    let tuple: Vec<Value<'_>> = asked.slots().iter().map(read).collect();
    let allows = asked.evaluate(&tuple, Now(0)).is_allow();
    let (policies, warnings) = ([&set], Diagnostics::default());
    let found = lint(&Subject {
        model: &model,
        model_source,
        rows: &rows,
        rows_source,
        policies: &policies,
        warnings: &warnings,
    });
    let ids = found.iter().filter(|one| one.code == Code::DialectDifference);
    (allows, ids.filter_map(|one| Some(one.message.split_once(':')?.0.to_owned())).collect())
}

#[test]
fn every_difference_has_an_example_and_lint_tells_it() {
    let page = include_str!("../../docs/reference/casbin-differences.md");
    for (id, _) in DIFFERENCES {
        assert!(page.contains(&format!("`{id}`")), "the page does not name {id}");
        let known = EXAMPLES.iter().any(|(example, ..)| example == id);
        assert!(known || *id == "casbin-only", "{id} has no example");
    }
    for (id, lines, rows, request, context) in EXAMPLES {
        let model = model(lines, id);
        let request: Vec<Json> = serde_json::from_str(request).unwrap();
        let (ours, told) = strict(&model, rows, &request, context);
        assert!(told.iter().any(|one| one == id), "{id}: lint tells {told:?}\n{model}");
        let theirs = match CasbinRs::load(&model, rows) {
            Err(why) => Answer::Failed(why),
            Ok(casbin) if context.is_empty() => casbin.ask(&request),
            Ok(casbin) => casbin.ask_in(context, &request),
        };
        let same = match theirs {
            Answer::Allow => ours,
            Answer::Deny => !ours,
            Answer::Failed(_) => false,
        };
        assert!(!same, "{id}: both answer allow={ours}, {theirs:?}");
    }
}
