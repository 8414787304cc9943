//! Random models, policies and requests: ours against casbin, against the naive interpreter, and
//! the index against the scan.
//!
//! `CASES=n` asks for more. The seed is printed with every failure and taken from `SEED`.

use crate::generator::{Generator, REQUESTS_PER_POLICY};
use crate::json::{evaluate, is_same, lists, read};
use tollgate_engine::{
    Dialect, Now, PolicySet, Slot, Source, Value, Verdict, parse_model, parse_rows,
};
use tollgate_oracle::{Answer, CasbinRs, Naive, Outcome};

const NOW: Now = Now(0);
/// Moments between the ends of the generated links, as links write them and in unix seconds.
const MOMENTS: &[(&str, u64)] = &[
    ("2026-01-01 00:00:00", 1_767_225_600),
    ("2026-06-01 12:00:00", 1_780_315_200),
    ("2027-01-01 00:00:00", 1_798_761_600),
];

fn cases() -> (usize, u64) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let cases = number("CASES").unwrap_or(24_000);
    (usize::try_from(cases).unwrap(), number("SEED").unwrap_or(20_261_123))
}

#[test]
fn casbin_and_our_casbin_rs_dialect_answer_alike() {
    let (cases, seed) = cases();
    let mut generator = Generator { random: fastrand::Rng::with_seed(seed) };
    let (mut asked, mut allowed, mut failed) = (0, 0, 0);
    while asked < cases {
        let case = generator.case(Dialect::CasbinRs);
        let context = format!("SEED={seed}\n{}\n{}", case.model, case.policy);
        let casbin = CasbinRs::load(&case.model, &case.policy)
            .unwrap_or_else(|error| panic!("{context}\ncasbin: {error}"));
        let model = Source { file: "model.conf", text: &case.model };
        let rows = Source { file: "policy.csv", text: &case.policy };
        let ours = PolicySet::from_texts(model, rows, Dialect::CasbinRs, seed)
            .unwrap_or_else(|found| panic!("{context}\n{found:?}"));
        for request in &case.requests {
            let set = case.context.map_or(&ours, |name| ours.context(name).expect("it has m2").0);
            let verdict = evaluate(set, request, NOW);
            let theirs = match case.context {
                Some(context) => casbin.ask_in(context, request),
                None => casbin.ask(request),
            };
            let same = is_same(&theirs, verdict);
            assert!(same, "{context}\n{request:?}\ncasbin {theirs:?}, ours {verdict:?}");
            asked += 1;
            allowed += usize::from(theirs == Answer::Allow);
            failed += usize::from(matches!(theirs, Answer::Failed(_)));
        }
    }
    println!("casbin: {asked} cases, {allowed} allowed, {failed} failed on both sides");
    assert!(allowed * 10 >= asked * 3, "only {allowed} of {asked} allowed");
    assert!(failed * 4 <= asked, "{failed} of {asked} are no answers");
}

#[test]
fn the_strict_engine_its_scan_and_the_naive_interpreter_answer_alike() {
    let (cases, seed) = cases();
    let mut generator = Generator { random: fastrand::Rng::with_seed(seed ^ 1) };
    let (mut asked, mut allowed) = (0, 0);
    while asked < cases {
        let case = generator.case(Dialect::Strict);
        let context = format!("SEED={seed}\n{}\n{}", case.model, case.policy);
        let model_source = Source { file: "model.conf", text: &case.model };
        let rows_source = Source { file: "policy.csv", text: &case.policy };
        let model = parse_model(model_source, Dialect::Strict)
            .unwrap_or_else(|found| panic!("{context}\n{found:?}"));
        let rows = match parse_rows(rows_source, &model) {
            Ok(rows) => rows,
            Err(found) => panic!("{context}\n{found:?}"),
        };
        let set = PolicySet::compile(&model, &rows, (model_source, rows_source), seed)
            .unwrap_or_else(|found| panic!("{context}\n{found:?}"));
        let own_rows = rows.of_context(&model, 0);
        let (now, seconds) = MOMENTS[asked / REQUESTS_PER_POLICY % MOMENTS.len()];
        let at = Now(seconds * 1_000_000_000);
        let (set, naive) = match case.context.and_then(|name| set.context(name)) {
            Some((own, _)) => {
                (own.clone(), Naive { model: &model.contexts[0].model, rows: &own_rows, now })
            }
            None => (set, Naive { model: &model, rows: &rows, now }),
        };
        for request in &case.requests {
            let lists = lists(request);
            let slot = |slot: &Slot| read(request, &lists, slot.token, &slot.path);
            let tuple: Vec<Value<'_>> = set.slots().iter().map(slot).collect();
            let verdict = set.evaluate(&tuple, at);
            let scanned = set.evaluate_by_scan(&tuple, at);
            assert_eq!(verdict, scanned, "{context}\n{request:?}\nlayout against scan");
            let looked_up = set.evaluate_by_index(&tuple, at);
            assert_eq!(verdict, looked_up, "{context}\n{request:?}\nlayout against index");
            let expected = naive.decide(&|token, path| read(request, &lists, token, path));
            let ordinal = |rule: Option<u32>| rule.map(|rule| rule as usize);
            let same = match (verdict, expected) {
                (Verdict::Allow { rule }, Outcome::Allow(naive)) => ordinal(rule) == naive,
                (Verdict::Deny { rule }, Outcome::Deny(naive)) => rule as usize == naive,
                (Verdict::Error { rule }, Outcome::Error(naive)) => ordinal(rule) == Some(naive),
                (Verdict::NoRule, Outcome::NoRule) => true,
                _ => false,
            };
            assert!(same, "{context}\n{request:?}\nnaive {expected:?}, ours {verdict:?}");
            asked += 1;
            allowed += usize::from(verdict.is_allow());
        }
    }
    println!("strict: {asked} cases, {allowed} allowed");
    assert!(allowed * 10 >= asked * 3, "only {allowed} of {asked} allowed");
}
