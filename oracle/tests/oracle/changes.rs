//! A policy of which a few rows changed answers as the new rows compiled whole: the same verdict by the same rule, which
//! stands in the same line; by the layout, the hash tables and the scan.
//!
//! `CASES=n` asks for more, `SEED` for others.

use crate::generator::Generator;
use crate::json::{lists, read};
use tollgate_engine::policy::change::{Change, Moved};
use tollgate_engine::{
    Dialect, Now, PolicySet, Rows, Slot, Source, Value, Verdict, parse_model, parse_rows,
};

/// Rows that one change may take away, and add.
const CHANGED_MAX: usize = 4;

fn source(text: &str) -> Source<'_> {
    Source { file: "policy.csv", text }
}

/// Some lines as they are, or with another name.
fn others(random: &mut fastrand::Rng, lines: &[String]) -> Vec<String> {
    let mut made = Vec::new();
    for _ in 0..random.usize(..=CHANGED_MAX) {
        let Some(line) = random.choice(lines) else { continue };
        let mut cells: Vec<&str> = line.split(", ").collect();
        let names = ["alice", "bob", "carol", "admin", "staff", "lead", "root", "dora"];
        for cell in cells.iter_mut().skip(1).take(2) {
            if random.bool() {
                continue;
            }
            *cell = random.choice(names).unwrap();
        }
        made.push(cells.join(", "));
    }
    made
}

fn verdict_of(set: &PolicySet, verdict: Verdict) -> (&'static str, u32, Vec<&str>) {
    let kind = match verdict {
        Verdict::Allow { .. } => "allow",
        Verdict::Deny { .. } => "deny",
        Verdict::Error { .. } => "error",
        Verdict::NoRule => "no-rule",
    };
    let rule = verdict.rule();
    let cells = rule.map_or(Vec::new(), |rule| set.rule_cells(rule).collect());
    (kind, rule.map_or(0, |rule| set.rule_line(rule)), cells)
}

#[test]
fn a_changed_policy_answers_as_the_new_rows_compiled_whole() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (cases, seed) = (number("CASES").unwrap_or(40_000), number("SEED").unwrap_or(20_261_126));
    let mut generator = Generator { random: fastrand::Rng::with_seed(seed) };
    let mut random = fastrand::Rng::with_seed(seed ^ 7);
    let (mut asked, mut tried, mut changed, mut links) = (0, 0u32, 0u32, 0u32);
    while asked < cases {
        let case = generator.case(Dialect::Strict);
        let model_source = Source { file: "model.conf", text: &case.model };
        let model = parse_model(model_source, Dialect::Strict).unwrap();
        let compile = |text: &str| {
            let rows = parse_rows(source(text), &model)?;
            PolicySet::compile(&model, &rows, (model_source, source(text)), seed)
        };
        let old: Vec<String> = case.policy.lines().map(str::to_owned).collect();
        let from = random.usize(..=old.len());
        let to = old.len().min(from + random.usize(..=CHANGED_MAX));
        let new = others(&mut random, &old);
        let whole = [&old[..from], &new, &old[to..]].concat().join("\n");
        let about = format!("SEED={seed}\n{}\n{}\n--\n{whole}", case.model, case.policy);
        let (before, after) = (old[from..to].join("\n"), new.join("\n"));
        let first = u32::try_from(from + 1).unwrap();
        let rows = |text| {
            parse_rows(source(text), &model).map(|mut rows| {
                rows.all_mut().for_each(|row| row.line += first - 1);
                rows
            })
        };
        let base = compile(&case.policy).unwrap();
        tried += 1;
        let (Ok(removed), Ok(added)) = (rows(&before), rows(&after)) else { continue };
        let has_links = |rows: &Rows<'_>| rows.links.iter().any(|links| !links.is_empty());
        let is_of_links = has_links(&removed) || has_links(&added);
        let count = |lines: usize| u32::try_from(lines).unwrap();
        let moved = Moved { first, before: count(to - from), after: count(new.len()) };
        let set = base.changed(&model, &Change { removed, added, moved });
        assert!(
            set.is_none() || case.context.is_none(),
            "{about}\ncontexts have rows of their own"
        );
        let Some(set) = set else { continue };
        let expected = compile(&whole).unwrap_or_else(|found| panic!("{about}\n{found:?}"));
        changed += 1;
        links += u32::from(is_of_links);
        for request in &case.requests {
            let lists = lists(request);
            let slot = |slot: &Slot| read(request, &lists, slot.token, &slot.path);
            let tuple = |set: &PolicySet| set.slots().iter().map(slot).collect::<Vec<Value<'_>>>();
            let (own, theirs) = (tuple(&set), tuple(&expected));
            for at in [0, 1_780_315_200_000_000_000].map(Now) {
                let wanted = expected.evaluate(&theirs, at);
                let wanted = verdict_of(&expected, wanted);
                for (by, verdict) in [
                    ("layout", set.evaluate(&own, at)),
                    ("tables", set.evaluate_by_index(&own, at)),
                    ("scan", set.evaluate_by_scan(&own, at)),
                ] {
                    let found = verdict_of(&set, verdict);
                    assert_eq!(found, wanted, "{about}\n{request:?} by {by}");
                }
            }
            asked += 1;
        }
    }
    assert!(changed * 4 > tried, "only {changed} of {tried} changes were made");
    assert!(links * 5 > changed, "only {links} of {changed} changed links");
}
