//! Random models, policies and requests, for every dialect.

use serde_json::{Value as Json, json};
use tollgate_engine::Dialect;

pub(crate) const REQUESTS_PER_POLICY: usize = 40;

pub(crate) struct Generator {
    pub(crate) random: fastrand::Rng,
}

/// One generated case: files and requests.
pub(crate) struct Case {
    pub(crate) model: String,
    pub(crate) policy: String,
    /// The context that is asked instead of the model itself.
    pub(crate) context: Option<&'static str>,
    pub(crate) requests: Vec<Vec<Json>>,
}

const NAMES: &[&str] = &["alice", "bob", "carol", "admin", "staff", "lead", "root", "*", "é"];
const ROLES: &[&str] = &["admin", "staff", "lead", "root", "intern"];
const TENANTS: &[&str] = &["acme", "beta", "DEFAULT"];
const PATHS: &[&str] = &[
    "/a",
    "/a/b",
    "/a/b/c",
    "/x/1",
    "/x/2",
    "/x/1/y",
    "doc",
    "",
    "/a.b",
    "/axb",
    "/x/",
    "/1/1",
    "/x/x",
    "/a/b/a",
    "/x/1?q=/y",
    "/a_b",
    "/x_x",
    "/x/1}",
];
const PATTERNS: &[&str] =
    &["/a", "/a/*", "/x/:id", "/x/:id/y", "/*", "doc", "/a.b", "/a/:x/:y", ""];
/// Patterns of keyMatch3, 4 and 5; those from `BRACES_EVERYWHERE` on mean something in `casbin-rs` alone.
const BRACES: &[&str] = &[
    "/a",
    "/a/*",
    "/x/{id}",
    "/x/{id}/y",
    "/*",
    "doc",
    "/a.b",
    "/a/{x}/{y}",
    "",
    "/{x}/{x}",
    "/{x}/{y}/{x}",
    "/a{rest}",
    "/a/{x}/*",
    "/{x}_{y}",
    "/{x}_{x}",
    "/{x}}/y",
];
const BRACES_EVERYWHERE: usize = 14;
/// Of those, the first in which each name is a segment.
const SEGMENTS: usize = 11;
const GLOBS: &[&str] = &[
    "/a",
    "/a/*",
    "/x/?",
    "/x/[12]",
    "/**",
    "\"/{a,x}/*\"",
    "/a/**/c",
    "doc",
    "**/c",
    "/x/[!1]",
    "*",
];
/// Expressions that rows bring: of subjects with attributes, and of any.
const OWN_OF_ATTRIBUTES: &[&str] = &[
    "r.sub.age > 17",
    "r.sub.vip",
    "r.sub.vip == false",
    "r.sub.age % 7 == 3 || r.act == p.act",
    "r.sub.age <= 20 && r.sub.age != 3",
    "r.sub.age >= 5 || r.sub.age < 2",
    "r.sub.name == r.sub.team",
    "!(r.sub.age < 20) && r.obj == p.obj",
    "p.sub in r.sub.roles",
    "r.sub.name == p.sub",
];
const OWN: &[&str] = &[
    "true",
    "r.act == p.act",
    "\"keyMatch(r.obj, p.obj)\"",
    "r.obj == p.obj || r.act != p.act",
    "r.obj < r.act",
];
/// Those that no dialect takes for an answer: they do not load in `strict`, or are no truth.
const OWN_ODD: &[&str] = &["r.act", "7"];
const LINK_TIMES: &[&str] = &["_", "_", "2026-03-01 00:00:00", "2026-09-30 23:59:59"];
const ACTIONS: &[&str] = &["read", "write", "delete"];
const EXPRESSIONS: &[&str] = &[
    "^(read|write)$",
    "read|delete",
    "^r",
    "e$",
    "^delete$",
    "[wr]",
    r"^\p{L}{4}$",
    "^[[:lower:]]*$",
    r"^\w+e$",
    r"\x{64}",
];
const NETWORKS: &[&str] = &["10.0.0.0/8", "10.1.2.3", "192.168.0.0/16", "::1", "2001:db8::/32"];
const ADDRESSES: &[&str] = &["10.1.2.3", "11.0.0.1", "192.168.7.7", "::1", "2001:db8::9"];

impl Generator {
    fn pick<'t>(&mut self, from: &[&'t str]) -> &'t str {
        from[self.random.usize(..from.len())]
    }

    pub(crate) fn case(&mut self, dialect: Dialect) -> Case {
        let tenants = self.random.u8(..3) == 0;
        let has_roles = self.random.bool();
        let second_graph = has_roles && self.random.u8(..4) == 0;
        let attributes = self.random.u8(..3) == 0;
        let networks = self.random.u8(..6) == 0;
        let effect_column = self.random.u8(..4) != 0;
        let has_own = self.random.u8(..4) == 0;
        let mut request = vec!["sub"];
        let mut policy = vec!["sub"];
        if tenants {
            request.push("dom");
            policy.push("dom");
        }
        request.extend(["obj", "act"]);
        policy.extend(["obj", "act"]);
        if networks {
            request.push("env");
            policy.push("net");
        }
        if has_own {
            policy.push(if attributes { "own_of_attributes" } else { "own" });
        }
        if effect_column {
            policy.push("eft");
        }
        let mut matcher = self.matcher(tenants, has_roles, second_graph, attributes, networks);
        if dialect == Dialect::CasbinGo && self.random.bool() {
            matcher = self.in_gos_words(&matcher, attributes);
        }
        if has_own {
            let column = if attributes { "own_of_attributes" } else { "own" };
            matcher = match self.random.u8(..4) {
                0 => format!("(eval(p.{column})) && {matcher}"),
                1 => format!("!eval(p.{column}) && {matcher}"),
                _ => format!("{matcher} && eval(p.{column})"),
            };
        }
        let effects = [
            "some(where (p.eft == allow))",
            "!some(where (p.eft == deny))",
            "some(where (p.eft == allow)) && !some(where (p.eft == deny))",
            "priority(p.eft) || deny",
            "subjectPriority(p.eft) || deny",
        ];
        let (is_strict, is_go) = (dialect == Dialect::Strict, dialect == Dialect::CasbinGo);
        // Go demands roles where they are the order.
        let has_subject_priority = is_strict || (is_go && has_roles);
        let effect = self.pick(&effects[..if has_subject_priority { 5 } else { 4 }]);
        let may_be_timed = is_strict || (is_go && !tenants);
        let is_timed = may_be_timed && self.random.u8(..3) == 0;
        let arity = match (tenants, is_timed) {
            (true, true) => "_, _, _, (_, _)",
            (false, true) => "_, _, (_, _)",
            (true, false) => "_, _, _",
            (false, false) => "_, _",
        };
        let mut roles = String::new();
        if has_roles {
            roles = format!("[role_definition]\ng = {arity}\n");
        }
        if second_graph {
            roles.push_str("g2 = _, _\n");
        }
        if is_strict && second_graph && self.random.bool() {
            let function = self.pick(&["keyMatch", "keyMatch2"]);
            roles.push_str(&format!("[role_patterns]\ng2 = {function}\n"));
        }
        let tenant_texts = match is_strict && has_roles && tenants && self.random.bool() {
            true => {
                let function = self.pick(&["keyMatch", "globMatch"]);
                roles.push_str(&format!("[domain_patterns]\ng = {function}\n"));
                &["acme", "a*", "*", "be*", "ac*e"]
            }
            false => TENANTS,
        };
        let model = format!(
            "[request_definition]\nr = {}\n[policy_definition]\np = {}\n{roles}[policy_effect]\n\
             e = {effect}\n[matchers]\nm = {matcher}\n",
            request.join(", "),
            policy.join(", "),
        );
        let regex = matcher.contains("regexMatch(r.act");
        let patterns = match dialect {
            _ if matcher.contains("globMatch(r.obj, p") => GLOBS,
            Dialect::Strict if has_braces(&matcher) => &BRACES[..BRACES_EVERYWHERE],
            Dialect::Strict if matcher.contains("keyGet3(") => &BRACES[..SEGMENTS],
            _ if has_braces(&matcher) || matcher.contains("keyGet3(") => BRACES,
            _ => PATTERNS,
        };
        let mut lines: Vec<String> = Vec::new();
        let rules = match dialect {
            Dialect::Strict => self.random.usize(1..14),
            Dialect::CasbinRs | Dialect::CasbinGo => self.random.usize(..12),
        };
        for _ in 0..rules {
            lines.push(self.rule(&policy, patterns, regex, dialect));
        }
        if has_roles {
            for _ in 0..self.random.usize(..14) {
                let domain =
                    if tenants { format!(", {}", self.pick(tenant_texts)) } else { String::new() };
                let (member, role) = (self.pick(NAMES), self.pick(ROLES));
                // Go orders subjects of several ways up by chance, and for ever where they go round.
                let above = |name| ROLES.iter().position(|known| *known == name);
                let has_role = |line: &String| line.starts_with(&format!("g, {member}, "));
                if is_go
                    && effect.starts_with("subject")
                    && (above(member) >= above(role) || lines.iter().any(has_role))
                {
                    continue;
                }
                let time = match is_timed {
                    true => format!(", {}, {}", self.pick(LINK_TIMES), self.pick(LINK_TIMES)),
                    false => String::new(),
                };
                lines.push(format!("g, {member}, {role}{domain}{time}"));
            }
        }
        if second_graph {
            for _ in 0..self.random.usize(..5) {
                let from = if self.random.bool() { PATHS } else { PATTERNS };
                let member = self.pick(from);
                lines.push(format!("g2, {member}, {}", self.pick(PATTERNS)));
            }
        }
        if dialect == Dialect::Strict {
            let mut seen = std::collections::HashSet::new();
            lines.retain(|line| seen.insert(line.clone()));
        }
        let requests = (0..REQUESTS_PER_POLICY)
            .map(|_| {
                let mut request = self.request(tenants, attributes, networks, dialect);
                if self.random.u8(..3) != 0 && rules > 0 {
                    let rule = self.random.usize(..rules.min(lines.len()));
                    self.aim(&mut request, &lines[rule]);
                }
                request
            })
            .collect();
        let case = Case { model, policy: lines.join("\n"), context: None, requests };
        match self.random.u8(..8) {
            0 => case.in_a_context(),
            _ => case,
        }
    }

    fn matcher(
        &mut self,
        tenants: bool,
        roles: bool,
        second_graph: bool,
        attributes: bool,
        networks: bool,
    ) -> String {
        let subject = match (roles, attributes) {
            (true, false) if tenants => {
                self.pick(&["g(r.sub, p.sub, r.dom)", "g(r.sub, p.sub, p.dom)"])
            }
            (true, false) => "g(r.sub, p.sub)",
            (_, true) => self.pick(&["r.sub.name == p.sub", "p.sub in r.sub.roles"]),
            (false, false) => self.pick(&["r.sub == p.sub", "(r.sub == p.sub || p.sub == \"*\")"]),
        };
        let object = match second_graph {
            true => "g2(r.obj, p.obj)",
            false => self.pick(&[
                "r.obj == p.obj",
                "keyMatch(r.obj, p.obj)",
                "keyMatch2(r.obj, p.obj)",
                "keyMatch3(r.obj, p.obj)",
                "keyMatch4(r.obj, p.obj)",
                "keyMatch5(r.obj, p.obj)",
                "globMatch(r.obj, p.obj)",
                "keyGet(r.obj, p.obj) in [\"b\", \"1\", \"\"]",
                "keyGet2(r.obj, p.obj, \"id\") == \"1\"",
                "keyGet3(r.obj, p.obj, \"x\") != \"1\"",
                "(r.obj == p.obj || p.obj == \"*\")",
            ]),
        };
        let action = self.pick(&[
            "r.act == p.act",
            "regexMatch(r.act, p.act)",
            "(p.act == \"*\" || r.act == p.act)",
            "r.act in [\"read\", \"write\"]",
        ]);
        let mut parts = vec![subject, object, action];
        if networks {
            parts.push("ipMatch(r.env, p.net)");
        }
        let extra = match attributes {
            true => self.pick(&[
                "r.sub.age > 17",
                "r.sub.age + 2 * 3 >= 20",
                "!(r.sub.vip == false)",
                "r.sub.team != r.sub.name",
                "r.sub.age % 7 == 3",
            ]),
            false => self.pick(&[
                "r.act != \"delete\"",
                "!(r.obj == \"/a\")",
                "keyMatch2(r.obj, \"/a/*\")",
                "keyMatch4(r.obj, \"/{x}/{y}\")",
                "globMatch(r.obj, \"/[ax]/*\")",
                "r.obj < \"/b\"",
                "true",
            ]),
        };
        if self.random.u8(..3) == 0 {
            parts.push(extra);
        }
        self.random.shuffle(&mut parts);
        let mut matcher = parts.join(" && ");
        if self.random.u8(..4) == 0 {
            let root = match attributes {
                true => "r.sub.vip == true",
                false => "r.sub == \"root\"",
            };
            matcher = match self.random.bool() {
                true => format!("({matcher} || {root})"),
                false => format!("({root} || {matcher})"),
            };
        }
        match tenants {
            true if self.random.bool() => format!("r.dom == p.dom && {matcher}"),
            true => format!("{matcher} && p.dom == r.dom"),
            false => matcher,
        }
    }

    /// The same with what only Go knows.
    fn in_gos_words(&mut self, matcher: &str, attributes: bool) -> String {
        let matcher = match self.random.bool() {
            true => matcher.replace('"', "'"),
            false => matcher.replace("[\"read\", \"write\"]", "('read')"),
        };
        let more = match attributes {
            true => &[
                "r.sub.age / 2 > 8.5",
                "r.sub.age == 7 == false",
                "r.sub.team in (r.sub.name, 'bob')",
                "r.sub.team IN (r.sub.roles)",
                "-r.sub.age < -3",
            ],
            false => &[
                "r.act in ('read', 'delete')",
                "!regexMatch(r.obj, '^/\\w$')",
                "r.act < 'x' == true",
                "1.5 * 2 == 3",
                "r.obj != 'é'",
            ],
        };
        let more = self.pick(more);
        match self.random.u8(..6) {
            0 => more.to_owned(),
            1 => format!("{more} && {matcher}"),
            2 => format!("{matcher} && {more}"),
            _ => matcher,
        }
    }

    fn rule(
        &mut self,
        columns: &[&str],
        patterns: &[&'static str],
        regex: bool,
        dialect: Dialect,
    ) -> String {
        let mut cells = vec!["p"];
        for column in columns {
            cells.push(match *column {
                "sub" => {
                    let from = if self.random.bool() { NAMES } else { ROLES };
                    self.pick(from)
                }
                "dom" => self.pick(TENANTS),
                "obj" => self.pick(patterns),
                "act" if regex => self.pick(EXPRESSIONS),
                "act" => self.pick(&["read", "write", "delete", "*"]),
                "net" => self.pick(NETWORKS),
                "own" | "own_of_attributes" if self.random.u8(..24) == 0 => self.pick(OWN_ODD),
                "own_of_attributes" if self.random.bool() => self.pick(OWN_OF_ATTRIBUTES),
                "own" | "own_of_attributes" => self.pick(OWN),
                _ if dialect.is_casbin() => self.pick(&["allow", "allow", "deny", "deny", "other"]),
                _ => self.pick(&["allow", "allow", "deny"]),
            });
        }
        if dialect == Dialect::CasbinRs && self.random.u8(..120) == 0 {
            cells.pop();
        }
        cells.join(", ")
    }

    fn request(
        &mut self,
        tenants: bool,
        attributes: bool,
        networks: bool,
        dialect: Dialect,
    ) -> Vec<Json> {
        let name = self.pick(&["alice", "bob", "carol", "admin", "root", "nobody", "é", "staff"]);
        let subject = match attributes {
            true => self.subject(name, dialect),
            false => json!(name),
        };
        let mut request = vec![subject];
        if tenants {
            request.push(json!(self.pick(&["acme", "beta", "DEFAULT", "gamma"])));
        }
        request.push(json!(self.pick(PATHS)));
        request.push(json!(self.pick(ACTIONS)));
        if networks {
            request.push(json!(self.pick(ADDRESSES)));
        }
        request
    }

    /// Bends a request towards a rule, so that allow is as common as deny.
    fn aim(&self, request: &mut [Json], rule: &str) {
        let cells: Vec<&str> = rule.split(", ").skip(1).collect();
        if let (true, Some(subject)) = (request[0].is_string(), cells.first()) {
            request[0] = json!(subject);
        } else if let (Some(fields), Some(subject)) = (request[0].as_object_mut(), cells.first()) {
            fields.insert("name".to_owned(), json!(subject));
            fields.insert("roles".to_owned(), json!([subject]));
        }
        for (argument, cell) in request.iter_mut().zip(&cells).skip(1) {
            *argument = match *cell {
                "^(read|write)$" | "read|delete" | "^r" | "*" => json!("read"),
                "e$" | "^delete$" | r"\x{64}" | r"^\w+e$" | "^[[:lower:]]*$" => json!("delete"),
                r"^\p{L}{4}$" => json!("read"),
                "[wr]" => json!("write"),
                "10.0.0.0/8" => json!("10.1.2.3"),
                "192.168.0.0/16" => json!("192.168.7.7"),
                "2001:db8::/32" => json!("2001:db8::9"),
                path => json!(concrete(path)),
            };
        }
    }

    fn subject(&mut self, name: &str, dialect: Dialect) -> Json {
        let mut subject = json!({
            "name": name,
            "age": self.random.i64(0..40),
            "vip": self.random.u8(..4) == 0,
            "team": self.pick(&["alice", "bob", "carol"]),
            "roles": (0..self.random.usize(..4)).map(|_| self.pick(ROLES)).collect::<Vec<_>>(),
        });
        let fields = subject.as_object_mut().unwrap();
        if self.random.u8(..3) == 0 {
            let field = self.pick(&["name", "age", "vip", "team", "roles"]);
            match self.random.u8(..3) {
                0 => drop(fields.remove(field)),
                1 => drop(fields.insert(field.to_owned(), Json::Null)),
                _ if dialect != Dialect::CasbinRs => {
                    let odd = [json!("text"), json!(1.5), json!(["a", 1]), json!(7), json!(true)];
                    let odd = odd[self.random.usize(..odd.len())].clone();
                    fields.insert(field.to_owned(), odd);
                }
                _ if field != "roles" && field != "age" && field != "vip" => {
                    fields.insert(field.to_owned(), json!(7));
                }
                _ => {}
            }
        }
        subject
    }
}

impl Case {
    /// The same definitions as those of a context, beside a model that says something else.
    fn in_a_context(self) -> Case {
        let numbered = |text: &str| {
            let mut out = String::new();
            let mut before = ' ';
            for (at, c) in text.char_indices() {
                out.push(c);
                let follows = text.as_bytes().get(at + c.len_utf8()) == Some(&b'.');
                if matches!(c, 'r' | 'p') && follows && !before.is_alphanumeric() {
                    out.push('2');
                }
                before = c;
            }
            out
        };
        let line = |line: &str| match line.split_once(" = ") {
            Some(("r", value)) => format!("r = sub\nr2 = {value}"),
            Some(("p", value)) => format!("p = sub\np2 = {value}"),
            Some(("e", value)) => format!("e = some(where (p.eft == allow))\ne2 = {value}"),
            Some(("m", value)) => format!("m = r.sub == p.sub\nm2 = {}", numbered(value)),
            _ => line.to_owned(),
        };
        let row = |row: &str| match row.strip_prefix("p,") {
            Some(cells) => format!("p2,{}", numbered(cells)),
            None => row.to_owned(),
        };
        let joined = |lines: Vec<String>| lines.join("\n");
        Case {
            model: joined(self.model.lines().map(line).collect()) + "\n",
            policy: joined(self.policy.lines().map(row).collect()),
            context: Some("2"),
            requests: self.requests,
        }
    }
}

fn has_braces(matcher: &str) -> bool {
    ["keyMatch3", "keyMatch4", "keyMatch5"]
        .iter()
        .any(|name| matcher.contains(&format!("{name}(r.obj, p")))
}

/// A path that a pattern is likely to match.
fn concrete(pattern: &str) -> String {
    let mut path = String::new();
    let mut rest = pattern.trim_matches('"');
    while let Some(c) = rest.chars().next() {
        let (text, taken) = match c {
            '{' if rest.starts_with("{a,x}") => ("x", 5),
            '{' => ("1", rest.find('}').map_or(rest.len(), |end| end + 1)),
            '[' => ("2", rest.find(']').map_or(rest.len(), |end| end + 1)),
            '*' => ("b", rest.len() - rest.trim_start_matches('*').len()),
            '?' => ("1", 1),
            ':' => ("", if rest.starts_with(":id") { 0 } else { 1 }),
            _ => ("", 0),
        };
        match taken {
            0 if c == ':' => {
                path.push('1');
                rest = &rest[3..];
            }
            0 => {
                path.push(c);
                rest = &rest[c.len_utf8()..];
            }
            _ => {
                path.push_str(text);
                rest = &rest[taken..];
            }
        }
    }
    path
}
