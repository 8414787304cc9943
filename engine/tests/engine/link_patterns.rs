//! Links that write patterns: of names, which stand under them, and of tenants, in which they hold.

use tollgate_engine::{
    Binding, Code, Dialect, Now, Part, PolicySet, Source, Value, Verdict, parse_model, parse_rows,
    split,
};

const MODEL: &str = "[request_definition]\nr = sub, dom, obj\n[policy_definition]\np = sub, dom, obj, eft\n\
    [role_definition]\ng = _, _, _\ng2 = _, _\n[role_patterns]\ng2 = keyMatch2\n[domain_patterns]\ng = keyMatch\n\
    [policy_effect]\ne = some(where (p.eft == allow)) && !some(where (p.eft == deny))\n[matchers]\n\
    m = g(r.sub, p.sub, r.dom) && g2(r.obj, p.obj) && r.dom == p.dom\n";

fn source<'a>(file: &'a str, text: &'a str) -> Source<'a> {
    Source { file, text }
}

fn set(model: &str, rows: &str) -> Result<PolicySet, Vec<(Code, usize)>> {
    let (model, rows) = (source("model.conf", model), source("policy.csv", rows));
    PolicySet::from_texts(model, rows, Dialect::Strict, 1)
        .map_err(|found| found.iter().map(|one| (one.code, one.span.line)).collect())
}

/// One answer by layout, index and scan.
fn ask(set: &PolicySet, request: &[&str]) -> Verdict {
    let value = |slot: &tollgate_engine::Slot| Value::Str(request[slot.token]);
    let tuple: Vec<Value<'_>> = set.slots().iter().map(value).collect();
    let verdict = set.evaluate(&tuple, Now(0));
    assert_eq!(verdict, set.evaluate_by_scan(&tuple, Now(0)), "{request:?}");
    assert_eq!(verdict, set.evaluate_by_index(&tuple, Now(0)), "{request:?}");
    verdict
}

const ROWS: &str = "p, reader, acme, books, allow\np, reader, acme, /secret/:id, deny\np, reader, beta, books, allow\n\
    g, alice, reader, a*\ng, bob, reader, acme\ng, root, admin, *\ng, admin, reader, beta\n\
    g2, /book/:id, books\ng2, /secret/:id, books\ng2, shelf, /book/:id\n";

#[test]
fn a_name_stands_under_every_pattern_that_it_matches() {
    let set = set(MODEL, ROWS).unwrap();
    for (subject, tenant, resource, expected) in [
        ("alice", "acme", "/book/7", Verdict::Allow { rule: Some(0) }),
        ("alice", "acme", "/book/7/page", Verdict::NoRule),
        ("alice", "acme", "/secret/7", Verdict::Deny { rule: 1 }),
        ("alice", "acme", "shelf", Verdict::Allow { rule: Some(0) }),
        ("alice", "acme", "books", Verdict::Allow { rule: Some(0) }),
        ("alice", "acme", "nothing", Verdict::NoRule),
        ("alice", "beta", "/book/7", Verdict::NoRule),
        ("bob", "acme", "/book/7", Verdict::Allow { rule: Some(0) }),
        ("bob", "beta", "/book/7", Verdict::NoRule),
        // A chain of a link of the pattern and one of the tenant.
        ("root", "beta", "/book/7", Verdict::Allow { rule: Some(2) }),
        ("root", "acme", "/book/7", Verdict::NoRule),
        ("nobody", "acme", "/book/7", Verdict::NoRule),
    ] {
        let verdict = ask(&set, &[subject, tenant, resource]);
        assert_eq!(verdict, expected, "{subject} {tenant} {resource}");
    }
}

#[test]
fn a_tenant_of_its_own_holds_the_links_of_the_patterns_that_it_matches() {
    let (model_source, rows_source) = (source("model.conf", MODEL), source("policy.csv", ROWS));
    let model = parse_model(model_source, Dialect::Strict).unwrap();
    let rows = parse_rows(rows_source, &model).unwrap();
    let parts = vec![Part::Subject, Part::Tenant, Part::Resource];
    let binding = Binding { parts, contexts: Vec::new() };
    let tenants = split(&model, &binding, rows, "", model_source).unwrap();
    let links = |tenant: &str| -> Vec<String> {
        tenants[tenant].links[0].iter().map(|row| row.cells.join(" ")).collect()
    };
    assert_eq!(links("acme"), ["alice reader acme", "bob reader acme", "root admin acme"]);
    assert_eq!(links("beta"), ["root admin beta", "admin reader beta"]);
    let beta =
        PolicySet::compile(&model, &tenants["beta"], (model_source, rows_source), 1).unwrap();
    assert!(ask(&beta, &["root", "beta", "/book/7"]).is_allow());
    assert!(!ask(&beta, &["alice", "beta", "/book/7"]).is_allow());
}

#[test]
fn what_cannot_be_a_pattern_does_not_load() {
    let links = |line: &str| format!("{ROWS}{line}\n");
    let many = |n: usize| (0..n).map(|i| format!("g2, /{i}/*, books\n")).collect::<String>();
    let of_tenants = |n: usize| (0..n).map(|i| format!("g, a, b, {i}*\n")).collect::<String>();
    for (model, rows, expected) in [
        (
            MODEL.replace("= keyMatch2", "= regexMatch"),
            ROWS.to_owned(),
            Some(Code::UnknownFunction),
        ),
        (MODEL.replace("g2 = key", "g3 = key"), ROWS.to_owned(), Some(Code::UnsupportedDefinition)),
        (
            MODEL.replace("g = keyMatch", "g2 = keyMatch"),
            String::new(),
            Some(Code::UnsupportedDefinition),
        ),
        (MODEL.replace("g = keyMatch", "x = keyMatch"), String::new(), Some(Code::UnknownKey)),
        (MODEL.to_owned(), links("g2, /a(b)*, books"), Some(Code::BadPattern)),
        (MODEL.to_owned(), many(256), None),
        (MODEL.to_owned(), many(257), Some(Code::BoundExceeded)),
        (MODEL.to_owned(), of_tenants(16), None),
        (MODEL.to_owned(), of_tenants(17), Some(Code::BoundExceeded)),
        (
            MODEL.replace("[domain_patterns]\ng = keyMatch\n", ""),
            ROWS.to_owned(),
            Some(Code::WildcardLink),
        ),
    ] {
        let found = set(&model, &rows).err().map(|found| found[0].0);
        assert_eq!(found, expected, "{model}");
    }
}

#[test]
fn who_reaches_more_than_the_bound_is_unknown_and_an_unknown_denial_denies() {
    let row = |n: usize| format!("g2, /book/:id, group{n}\n");
    let rows = |n: usize| {
        let links: String = (0..n).map(row).collect();
        format!("p, alice, acme, last, deny\np, alice, acme, group0, allow\n{links}")
    };
    // The pattern itself is reached, too.
    let within = set(MODEL, &rows(1_023)).unwrap();
    assert!(ask(&within, &["alice", "acme", "/book/7"]).is_allow());
    let chain = |n: usize| format!("{}g2, /book/*, more{n}\n", rows(1_023));
    let beyond = set(MODEL, &chain(0)).unwrap();
    let verdict = ask(&beyond, &["alice", "acme", "/book/7"]);
    assert_eq!(verdict, Verdict::Error { rule: Some(0) });
}
