//! Lint: each finding where it belongs, and silence where nothing is wrong.

use tollgate_engine::lint::{Subject, lint};
use tollgate_engine::{Code, Diagnostic, Dialect, PolicySet, Source, parse_model, parse_rows};

fn found(model: &str, rows: &str, dialect: Dialect) -> Vec<Diagnostic> {
    let (model_source, rows_source) =
        (Source { file: "model.conf", text: model }, Source { file: "policy.csv", text: rows });
    let model = parse_model(model_source, dialect).unwrap_or_else(|e| panic!("{e:?}"));
    let rows = parse_rows(rows_source, &model).unwrap_or_else(|e| panic!("{e:?}"));
    let policy = PolicySet::compile(&model, &rows, (model_source, rows_source), 1).unwrap();
    let policies = [&policy];
    let warnings = policy.warnings();
    lint(&Subject {
        model: &model,
        model_source,
        rows: &rows,
        rows_source,
        policies: &policies,
        warnings,
    })
}

/// Codes with their lines; differences of dialects have tests of their own.
fn codes(model: &str, rows: &str) -> Vec<(Code, usize)> {
    let found = found(model, rows, Dialect::Strict);
    let others = found.iter().filter(|one| one.code != Code::DialectDifference);
    others.map(|one| (one.code, one.span.line)).collect()
}

fn model(effect: &str, matcher: &str) -> String {
    format!(
        "[request_definition]\nr = sub, obj, act\n[policy_definition]\np = sub, obj, act, eft\n\
         [role_definition]\ng = _, _\n[policy_effect]\ne = {effect}\n[matchers]\nm = {matcher}\n"
    )
}

const ALLOW: &str = "some(where (p.eft == allow))";
const BOTH: &str = "some(where (p.eft == allow)) && !some(where (p.eft == deny))";
const PRIORITY: &str = "priority(p.eft) || deny";
const ROLES: &str = "g(r.sub, p.sub) && keyMatch2(r.obj, p.obj) && r.act == p.act";
const REGEX: &str = "r.sub == p.sub && r.obj == p.obj && regexMatch(r.act, p.act)";

#[test]
fn rules_that_cannot_decide_are_told() {
    use Code::{OverlappingPatterns, ShadowedRule, UnreachableRule};
    for (effect, rows, expected) in [
        (ALLOW, "p, a, /x/*, read, allow\np, b, /x/*, read, allow", vec![]),
        (ALLOW, "p, a, /x/:id, read, allow\np, a, /x/*, read, allow", vec![(ShadowedRule, 1)]),
        (ALLOW, "p, a, /x/*, read, allow\np, a, /x/1, read, allow", vec![(ShadowedRule, 2)]),
        (ALLOW, "p, a, /x/*, read, allow\np, a, /x/1, write, allow", vec![]),
        (ALLOW, "p, a, /x, read, deny", vec![(UnreachableRule, 1)]),
        (
            ALLOW,
            "p, staff, /x/*, read, allow\np, a, /x/1, read, allow\ng, a, staff",
            vec![(ShadowedRule, 2)],
        ),
        (ALLOW, "p, staff, /x/1, read, allow\np, a, /x/*, read, allow\ng, a, staff", vec![]),
        (BOTH, "p, a, /x/1, read, allow\np, a, /x/*, read, deny", vec![(UnreachableRule, 1)]),
        (BOTH, "p, a, /x/*, read, allow\np, a, /x/1, read, deny", vec![]),
        (
            BOTH,
            "p, a, /x/:i/y, read, allow\np, a, /x/1/:j, read, deny",
            vec![(OverlappingPatterns, 2)],
        ),
        (PRIORITY, "p, a, /x/*, read, allow\np, a, /x/1, read, deny", vec![(UnreachableRule, 2)]),
        (PRIORITY, "p, a, /x/1, read, deny\np, a, /x/*, read, allow", vec![]),
        (PRIORITY, "p, a, /x/*, read, deny\np, a, /x/1, read, deny", vec![(ShadowedRule, 2)]),
    ] {
        assert_eq!(codes(&model(effect, ROLES), rows), expected, "{effect} {rows}");
    }
    let deny = "!some(where (p.eft == deny))";
    let found = codes(&model(deny, ROLES), "p, a, /x, read, allow\np, a, /x, read, deny");
    assert_eq!(found, [(Code::AllowsByDefault, 8), (UnreachableRule, 1)]);
    let any = "r.sub == p.sub && r.obj == p.obj && (r.act == p.act || p.act == \"*\")";
    let found = codes(&model(ALLOW, any), "p, a, x, read, allow\np, a, x, *, allow");
    assert_eq!(found, [(ShadowedRule, 1)]);
}

#[test]
fn cells_that_never_match_or_match_too_much_are_told() {
    use Code::{BroadPattern, NeverMatches};
    let equal = "r.sub == p.sub && r.obj == p.obj && r.act == p.act";
    let constant =
        "r.sub == p.sub && r.obj == p.obj && r.act == p.act && r.act in [\"read\", \"write\"]";
    for (matcher, row, expected) in [
        (equal, "p, a, x, read, allow", None),
        (equal, "p, *, x, read, allow", Some(NeverMatches)),
        (equal, "p, a, , read, allow", Some(NeverMatches)),
        (equal, "p, a, /x/:id, read, allow", Some(NeverMatches)),
        (equal, "p, a, /x/*, read, allow", Some(NeverMatches)),
        (constant, "p, a, x, read, allow", None),
        (constant, "p, a, x, delete, allow", Some(NeverMatches)),
        (ROLES, "p, a, /x//y, read, allow", Some(NeverMatches)),
        (ROLES, "p, a, /x/../:id, read, allow", Some(NeverMatches)),
        (ROLES, "p, a, /x/.well-known/*, read, allow", None),
        (REGEX, "p, a, x, ^(read|write)$, allow", None),
        (REGEX, "p, a, x, ^read|write$, allow", Some(BroadPattern)),
        (REGEX, "p, a, x, ^[a|b]$, allow", None),
        (REGEX, "p, a, x, read, allow", Some(BroadPattern)),
        (REGEX, "p, a, x, ^read, allow", Some(BroadPattern)),
        (REGEX, "p, a, x, .*, allow", Some(BroadPattern)),
    ] {
        let expected: Vec<(Code, usize)> = expected.into_iter().map(|code| (code, 1)).collect();
        assert_eq!(codes(&model(ALLOW, matcher), row), expected, "{matcher} {row}");
    }
}

#[test]
fn roles_that_nobody_has_or_nobody_needs_are_told() {
    use Code::{UnknownRole, UnusedRole};
    for (rows, expected) in [
        ("p, role:staff, /x, read, allow\ng, a, role:staff", vec![]),
        (
            "p, role:stff, /x, read, allow\ng, a, role:staff",
            vec![(UnknownRole, 1), (UnusedRole, 2)],
        ),
        (
            "p, role:other, /x, read, allow\np, role:staff, /y, read, allow\ng, a, role:staff",
            vec![(UnknownRole, 1)],
        ),
        ("p, alice, /x, read, allow\np, staff, /y, read, allow\ng, a, staff", vec![]),
        (
            "p, stafff, /x, read, allow\np, staff, /y, read, allow\ng, a, staff",
            vec![(UnknownRole, 1)],
        ),
        ("p, staff, /x, read, allow\ng, a, lead\ng, lead, staff", vec![]),
        ("p, staff, /x, read, allow\ng, a, staff\ng, a, gone", vec![(UnusedRole, 3)]),
    ] {
        assert_eq!(codes(&model(ALLOW, ROLES), rows), expected, "{rows}");
    }
    let written = "g(r.sub, \"admin\") && r.obj == p.obj";
    assert_eq!(codes(&model(ALLOW, written), "p, a, x, read, allow\ng, a, admin"), []);
}

#[test]
fn what_is_allowed_with_a_reason_is_left_out() {
    use Code::{ShadowedRule, UnusedAllowance};
    let rules = "p, a, /x/*, read, allow\n";
    let with = |comment: &str| format!("{rules}{comment}\np, a, /x/1, read, allow");
    for (comment, expected) in [
        ("# lint: allow(shadowed-rule) kept while the old path is asked", vec![]),
        ("#lint:allow(shadowed-rule) kept\n# another comment\n", vec![]),
        ("# lint: allow(shadowed-rule)", vec![(UnusedAllowance, 2), (ShadowedRule, 3)]),
        ("# lint: allow(unused-role) why", vec![(UnusedAllowance, 2), (ShadowedRule, 3)]),
        ("# lint: allow(no-such) why", vec![(UnusedAllowance, 2), (ShadowedRule, 3)]),
        (
            "# lint: allow(shadowed-rule) a\n# lint: allow(unused-role) b",
            vec![(UnusedAllowance, 3)],
        ),
    ] {
        assert_eq!(codes(&model(ALLOW, ROLES), &with(comment)), expected, "{comment}");
    }
    let mut text = model("!some(where (p.eft == deny))", ROLES);
    let rows = "p, a, /x, read, deny";
    assert_eq!(codes(&text, rows), [(Code::AllowsByDefault, 8)]);
    text = text.replace("e = ", "# lint: allow(allows-by-default) staff only\ne = ");
    assert_eq!(codes(&text, rows), []);
    let last = format!("{rows}\n# lint: allow(shadowed-rule) nothing follows");
    assert_eq!(codes(&text, &last), [(UnusedAllowance, 2)]);
}

#[test]
fn a_policy_of_another_dialect_is_told_what_strict_refuses() {
    let text = model(BOTH, ROLES);
    let found = found(&text, "p, a, /x, read, allow\np, a, /x, read\nq, b", Dialect::CasbinRs);
    let lines: Vec<usize> = found.iter().map(|one| one.span.line).collect();
    assert_eq!(lines, [2, 3]);
    assert!(found.iter().all(|one| one.message.starts_with("casbin-only: ")), "{found:?}");
}

#[test]
fn a_large_policy_is_not_compared_with_itself() {
    let rows: String = (0..5_000).map(|i| format!("p, s{i}, /x/{i}/*, read, allow\n")).collect();
    assert_eq!(codes(&model(ALLOW, ROLES), &rows), []);
    let rows: String = (0..5_000).map(|i| format!("p, s, /x/{i}/*, read, allow\n")).collect();
    assert_eq!(codes(&model(ALLOW, ROLES), &rows), []);
}
