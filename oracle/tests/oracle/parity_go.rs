//! Random models, policies and requests: our `casbin-go` dialect against Casbin for Go itself.
//!
//! `make parity-go` builds the program, names it in `CASBIN_GO` and runs this; `CASES=n` asks for more, `SEED` for
//! others. Without a Go toolchain it is not run.

use crate::examples::EXAMPLES;
use crate::generator::Generator;
use crate::json::{evaluate, is_same};
use std::path::PathBuf;
use std::time::SystemTime;
use tollgate_engine::{Dialect, Now, PolicySet, Source, Verdict};
use tollgate_oracle::differences::KNOWN_GO;
use tollgate_oracle::{Answer, CasbinGo};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

fn start() -> CasbinGo {
    let program = std::env::var_os("CASBIN_GO").expect("CASBIN_GO names the program");
    CasbinGo::start(&PathBuf::from(program)).unwrap()
}

fn now() -> Now {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Now(u64::try_from(since.as_nanos()).unwrap())
}

#[test]
#[ignore = "needs the program of oracle/go: make parity-go"]
fn casbin_for_go_and_our_casbin_go_dialect_answer_alike() {
    let mut go = start();
    let (cases, seed) = (number("CASES").unwrap_or(24_000), number("SEED").unwrap_or(20_261_126));
    let mut generator = Generator { random: fastrand::Rng::with_seed(seed) };
    let (mut asked, mut allowed, mut failed) = (0, 0, 0);
    while asked < cases {
        let case = generator.case(Dialect::CasbinGo);
        let about = format!("SEED={seed}\n{}\n{}", case.model, case.policy);
        let files = (case.model.as_str(), case.policy.as_str());
        let theirs = go.ask(files, case.context.unwrap_or(""), &case.requests).unwrap();
        let theirs = theirs.unwrap_or_else(|why| panic!("{about}\nGo: {why}"));
        let model = Source { file: "model.conf", text: &case.model };
        let rows = Source { file: "policy.csv", text: &case.policy };
        let ours = PolicySet::from_texts(model, rows, Dialect::CasbinGo, seed)
            .unwrap_or_else(|found| panic!("{about}\n{found:?}"));
        let set = case.context.map_or(&ours, |name| ours.context(name).expect("it has m2").0);
        for (request, theirs) in case.requests.iter().zip(theirs) {
            let verdict = evaluate(set, request, now());
            let same = is_same(&theirs, verdict);
            assert!(same, "{about}\n{request:?}\nGo {theirs:?}, ours {verdict:?}");
            asked += 1;
            allowed += u64::from(theirs == Answer::Allow);
            failed += u64::from(matches!(theirs, Answer::Failed(_)));
        }
    }
    println!("casbin for Go: {asked} cases, {allowed} allowed, {failed} failed on both sides");
    assert!(allowed * 10 >= asked * 3, "only {allowed} of {asked} allowed");
    assert!(failed * 4 <= asked, "{failed} of {asked} are no answers");
}

#[test]
#[ignore = "needs the program of oracle/go: make parity-go"]
fn casbin_for_go_answers_as_the_known_differences_say() {
    let mut go = start();
    for row in KNOWN_GO {
        let request = row.request.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
        let answer = match go.ask((&row.model(), row.policy), "", &[request]).unwrap() {
            Ok(answers) => answers.into_iter().next().expect("one was asked"),
            Err(why) => Answer::Failed(why),
        };
        assert!(row.casbin.is(&answer), "{}: Go says {answer:?}", row.id);
    }
}

/// `every_difference_has_an_example_and_lint_tells_it` asks our dialect; this shows that it is Casbin's answer.
#[test]
#[ignore = "needs the program of oracle/go: make parity-go"]
fn casbin_for_go_answers_the_examples_of_lint_as_our_dialect_does() {
    let mut go = start();
    for example in EXAMPLES.iter().filter(|example| example.casbin.contains(&Dialect::CasbinGo)) {
        let (text, request) = (example.model(), serde_json::from_str(example.request).unwrap());
        let files = (text.as_str(), example.rows);
        let answers = go.ask(files, example.context, std::slice::from_ref(&request)).unwrap();
        let model = Source { file: "model.conf", text: &text };
        let rows = Source { file: "policy.csv", text: example.rows };
        let ours = PolicySet::from_texts(model, rows, Dialect::CasbinGo, 1);
        let ours = ours.ok().map(|set| evaluate(&set, &request, now()));
        let same = match (ours, answers.as_deref()) {
            // `go-time-literal` of the known differences: ours does not load what Go cannot mean.
            (None, _) => example.id == "not-in-go",
            (Some(ours), Ok([answer])) => is_same(answer, ours),
            // Go does not load what ours refuses to answer.
            (Some(ours), _) => matches!(ours, Verdict::Deny { .. } | Verdict::NoRule),
        };
        assert!(same, "{}: Go {answers:?}, ours {ours:?}", example.id);
    }
}
