//! A policy for each difference of dialects that lint tells of.

use tollgate_engine::Dialect;

/// A policy and a request to which `strict` and some of Casbin's engines answer differently.
pub(crate) struct Example {
    pub(crate) id: &'static str,
    /// The engines that do.
    pub(crate) casbin: &'static [Dialect],
    /// Lines of the model: roles, matcher and what is unusual.
    lines: &'static str,
    pub(crate) rows: &'static str,
    pub(crate) request: &'static str,
    /// The context that is asked.
    pub(crate) context: &'static str,
}

const RS: &[Dialect] = &[Dialect::CasbinRs];
const GO: &[Dialect] = &[Dialect::CasbinGo];
const BOTH: &[Dialect] = &[Dialect::CasbinRs, Dialect::CasbinGo];

pub(crate) const EXAMPLES: &[Example] = &[
    example(
        "shared-graph",
        RS,
        "g = _, _\ng2 = _, _\nm = g(r.sub, p.sub) && r.obj == p.obj",
        "p, staff, x\ng, bob, staff\ng2, alice, staff",
        r#"["alice", "x"]"#,
        "",
    ),
    example(
        "role-patterns",
        BOTH,
        "g = _, _\ng2 = _, _\nm = r.sub == p.sub && g2(r.obj, p.obj)\n[role_patterns]\ng2 = keyMatch2",
        "p, a, books\ng2, /book/:id, books",
        r#"["a", "/book/7"]"#,
        "",
    ),
    example(
        "role-depth",
        RS,
        "g = _, _\nm = g(r.sub, p.sub) && r.obj == p.obj",
        "p, ten, x\ng, one, two\ng, two, three\ng, three, four\ng, four, five\ng, five, six\ng, six, seven\n\
         g, seven, eight\ng, eight, nine\ng, nine, nearly\ng, nearly, ten",
        r#"["one", "x"]"#,
        "",
    ),
    example(
        "default-tenant",
        RS,
        "g = _, _, _\ng2 = _, _\nm = g(r.sub, p.sub, \"DEFAULT\") && g2(r.obj, p.obj)",
        "p, staff, web\ng, alice, staff, DEFAULT\ng2, x, web\ng2, bob, staff",
        r#"["bob", "x"]"#,
        "",
    ),
    example(
        "live-characters",
        BOTH,
        "m = keyMatch2(r.obj, p.obj) && r.sub == p.sub",
        "p, a, /x.y",
        r#"["a", "/xzy"]"#,
        "",
    ),
    example(
        "named-parts",
        BOTH,
        "m = keyMatch3(r.obj, p.obj) && r.sub == p.sub",
        "p, a, /{x}_{y}",
        r#"["a", "/zz"]"#,
        "",
    ),
    example(
        "glob-bytes",
        RS,
        "m = globMatch(r.obj, p.obj) && r.sub == p.sub",
        "p, a, /?",
        r#"["a", "/é"]"#,
        "",
    ),
    example(
        "unknown-value",
        BOTH,
        "m = r.sub.x != p.sub && r.obj == p.obj",
        "p, a, x",
        r#"[{"y": 1}, "x"]"#,
        "",
    ),
    example(
        "text-in-text",
        RS,
        "m = p.sub in r.sub && r.obj == p.obj",
        "p, a, x",
        r#"["bar", "x"]"#,
        "",
    ),
    example(
        "any-tenant",
        BOTH,
        "m = r.dom == p.dom && r.sub == p.sub",
        "p, a, *\np, b, t",
        r#"["a", "t"]"#,
        "",
    ),
    example(
        "mapped-address",
        BOTH,
        "m = ipMatch(r.obj, p.obj) && r.sub == p.sub",
        "p, a, ::ffff:1.2.3.4",
        r#"["a", "1.2.3.4"]"#,
        "",
    ),
    example(
        "context-effect",
        RS,
        "r2 = sub, obj\np2 = sub, obj, eft\ne2 = some(where (p.eft == allow))\nm = r.sub == p.sub\n\
         m2 = r2.sub == p2.sub && r2.obj == p2.obj",
        "p, b, y\np2, a, x, deny",
        r#"["a", "x"]"#,
        "2",
    ),
    example(
        "priority-column",
        RS,
        "e = priority(p.eft) || deny\np = sub, obj, priority, eft\nm = r.sub == p.sub && r.obj == p.obj",
        "p, a, x, 2, deny\np, a, x, 1, allow",
        r#"["a", "x"]"#,
        "",
    ),
    example(
        "strict-only",
        RS,
        "m = r.sub == 'abc' && r.obj == p.obj",
        "p, a, x",
        r#"["abc", "x"]"#,
        "",
    ),
    example("empty-policy", BOTH, "m = r.sub == p.sub && r.obj == p.obj", "", r#"["", ""]"#, ""),
    example(
        "not-in-go",
        GO,
        "m = r.sub == \"2026-01-02\" && r.obj == p.obj",
        "p, a, x",
        r#"["2026-01-02", "x"]"#,
        "",
    ),
    example(
        "matcher-reading",
        GO,
        r#"m = r.sub == "a\\b" && r.obj == p.obj"#,
        "p, a, x",
        r#"["a\\b", "x"]"#,
        "",
    ),
    example(
        "matcher-without-cells",
        GO,
        "p = sub, obj, eft\nm = r.sub == \"a\" && r.obj == \"x\"",
        "p, a, x, deny",
        r#"["a", "x"]"#,
        "",
    ),
    example(
        "blanks-in-cells",
        GO,
        "m = r.sub == p.sub && r.obj == p.obj",
        "p, a , x",
        r#"["a", "x"]"#,
        "",
    ),
    example(
        "rule-order",
        GO,
        "e = subjectPriority(p.eft) || deny\np = sub, obj, eft\ng = _, _\nm = g(r.sub, p.sub) && r.obj == p.obj",
        "p, admin, x, deny\np, alice, x, allow\ng, alice, admin\ng, admin, root\ng, alice, root",
        r#"["alice", "x"]"#,
        "",
    ),
    example(
        "float-arithmetic",
        GO,
        "m = r.sub.n + 0.2 == 0.3 && r.obj == p.obj",
        "p, a, x",
        r#"[{"n": 0.1}, "x"]"#,
        "",
    ),
    example(
        "greedy-names",
        GO,
        "m = keyMatch5(r.obj, p.obj) && r.sub == p.sub",
        "p, a, /{x}_{y}",
        r#"["a", "/zz"]"#,
        "",
    ),
    example(
        "glob-end",
        GO,
        "m = globMatch(r.obj, p.obj) && r.sub == p.sub",
        "p, a, /a/**",
        r#"["a", "/a"]"#,
        "",
    ),
    example(
        "glob-class",
        GO,
        "m = globMatch(r.obj, p.obj) && r.sub == p.sub",
        "p, a, /[!x]b",
        r#"["a", "//b"]"#,
        "",
    ),
    example(
        "ascii-classes",
        GO,
        "m = regexMatch(r.obj, p.obj) && r.sub == p.sub",
        "p, a, ^\\w$",
        r#"["a", "é"]"#,
        "",
    ),
];

const fn example(
    id: &'static str,
    casbin: &'static [Dialect],
    lines: &'static str,
    rows: &'static str,
    request: &'static str,
    context: &'static str,
) -> Example {
    Example { id, casbin, lines, rows, request, context }
}

impl Example {
    /// Its lines in their sections, the usual ones where it has none, then sections of its own.
    pub(crate) fn model(&self) -> String {
        model(self.lines, self.id)
    }
}

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
