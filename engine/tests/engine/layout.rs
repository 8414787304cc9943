//! The layout, the hash tables and the scan find the same rule.

use tollgate_engine::{Dialect, Now, PolicySet, Source, Value};

const NOW: Now = Now(0);

const HEAD: &str = "[request_definition]\nr = sub, dom, obj, act\n[policy_definition]\n\
    p = sub, dom, obj, act, eft\n[role_definition]\ng = _, _, _\ng2 = _, _\n[policy_effect]\n\
    e = some(where (p.eft == allow)) && !some(where (p.eft == deny))\n[matchers]\nm = ";

/// Each kind of first key, with and without a second and a pattern.
const MATCHERS: &[&str] = &[
    "g(r.sub, p.sub, r.dom) && r.dom == p.dom && keyMatch2(r.obj, p.obj) && r.act == p.act",
    "g2(r.sub, p.sub) && (r.act == p.act || p.act == \"*\") && keyMatch2(r.obj, p.obj)",
    "g2(r.sub, p.sub) && keyMatch(r.obj, p.obj) && regexMatch(r.act, p.act)",
    "g(r.sub, p.sub, p.dom) && r.act == p.act",
    "p.sub in r.sub.roles && r.act == p.act && keyMatch2(r.obj, p.obj)",
    "(r.sub == p.sub || p.sub == \"*\") && r.act == p.act",
    "keyMatch2(r.obj, p.obj)",
    "(g(r.sub, p.sub, r.dom) && r.act == p.act) || (g2(r.sub, p.sub) && keyMatch2(r.obj, p.obj))",
];
const CASES: usize = 400;
const ASKED: usize = 40;

struct Generator(fastrand::Rng);

impl Generator {
    fn one<'t>(&mut self, of: &[&'t str]) -> &'t str {
        of[self.0.usize(..of.len())]
    }

    /// Short ones, ones of a line's whole room, and longer ones.
    fn name(&mut self, of: usize) -> String {
        named(self.0.usize(..of))
    }

    fn path(&mut self, pattern: bool) -> String {
        let parts = if pattern { &["a", "b", ":x", "*"][..] } else { &["a", "b", "c", "long-one"] };
        (0..self.0.usize(1..4)).map(|_| format!("/{}", self.one(parts))).collect()
    }

    fn policy(&mut self, actions: &[&str]) -> String {
        let mut rows = std::collections::BTreeSet::new();
        let people = self.0.usize(1..30);
        for _ in 0..self.0.usize(..60) {
            let sub = if self.0.u8(..8) == 0 { "*".to_owned() } else { self.name(people) };
            let (dom, act) = (self.one(&["t1", "t1", "t2"]), self.one(actions));
            let (obj, effect) = (self.path(true), self.one(&["allow", "allow", "deny"]));
            rows.insert(format!("p, {sub}, {dom}, {obj}, {act}, {effect}"));
        }
        let domains = if self.0.bool() { &["t1"][..] } else { &["t1", "t2"] };
        for _ in 0..self.0.usize(..40) {
            // Links lead to larger numbers: no chain is too long.
            // One has more roles than a line has room for.
            let a = if self.0.bool() { 0 } else { self.0.usize(..people) };
            let b = self.0.usize(..people);
            let (member, role) = (named(a.min(b)), named(a.max(b) / 2 + people));
            let domain = self.one(domains);
            rows.insert(format!("g, {member}, {role}, {domain}"));
            rows.insert(format!("g2, {member}, {role}"));
            rows.insert(format!("p, {role}, t1, {}, {}, allow", self.path(true), actions[0]));
        }
        rows.into_iter().map(|row| row + "\n").collect()
    }
}

fn named(number: usize) -> String {
    let pad = [0, 0, 0, 33, 34, 35, 36, 70][number % 8];
    format!("n{number}{}", "x".repeat(pad))
}

#[test]
fn the_layout_its_twin_and_the_scan_answer_alike() {
    let (mut allowed, mut denied, mut lines_most) = (0, 0, 0);
    for case in 0..CASES {
        let mut generator = Generator(fastrand::Rng::with_seed(case as u64));
        let matcher = MATCHERS[case % MATCHERS.len()];
        let actions: &[&str] = match matcher.contains("regexMatch(r.act") {
            true => &["^(get|put)$", "^get$", ".*"],
            false => &["get", "put", "*"],
        };
        let (model, rows) = (format!("{HEAD}{matcher}\n"), generator.policy(actions));
        let model = Source { file: "model.conf", text: &model };
        let rows = Source { file: "policy.csv", text: &rows };
        let set = PolicySet::from_texts(model, rows, Dialect::Strict, case as u64)
            .unwrap_or_else(|found| panic!("case {case}: {found:?}"));
        for _ in 0..ASKED {
            let sub = if generator.0.u8(..9) == 0 { "*".to_owned() } else { generator.name(60) };
            let (dom, act) =
                (generator.one(&["t1", "t2", "t3"]), generator.one(&["get", "put", "*"]));
            let obj = generator.path(false);
            let others = [generator.name(60), generator.name(60)];
            let roles = [Value::Str(&sub), Value::Str(&others[0]), Value::Str(&others[1])];
            let odd = generator.0.u8(..12);
            let tuple: Vec<Value<'_>> = (set.slots().iter())
                .map(|slot| match (slot.token, slot.path.as_str()) {
                    (token, _) if usize::from(odd) == token => Value::Missing,
                    (0, "roles") => Value::List(&roles),
                    (0, _) => Value::Str(&sub),
                    (1, _) => Value::Str(dom),
                    (2, _) => Value::Str(&obj),
                    _ => Value::Str(act),
                })
                .collect();
            let (verdict, lines) = set.evaluate_counting_lines(&tuple, NOW);
            let context = format!("case {case}: {tuple:?}\n{matcher}\n{}", rows.text);
            assert_eq!(verdict, set.evaluate(&tuple, NOW), "{context}");
            assert_eq!(verdict, set.evaluate_by_index(&tuple, NOW), "{context}");
            assert_eq!(verdict, set.evaluate_by_scan(&tuple, NOW), "{context}");
            lines_most = lines_most.max(lines);
            match verdict.is_allow() {
                true => allowed += 1,
                false => denied += usize::from(verdict.rule().is_some()),
            }
        }
    }
    assert!(allowed * 5 > CASES * ASKED / 2 && denied * 20 > CASES * ASKED, "{allowed} {denied}");
    assert!(lines_most > 3, "the widest decision read {lines_most} lines");
}
