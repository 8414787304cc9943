//! Each difference of dialects that lint tells of has an example here: lint tells it, and casbin and `strict` do answer
//! differently.

use crate::examples::EXAMPLES;
use crate::json::evaluate;
use serde_json::Value as Json;
use tollgate_engine::lint::{DIFFERENCES, DIFFERENCES_OF_GO, Subject, lint};
use tollgate_engine::{
    Code, Diagnostics, Dialect, Now, PolicySet, Source, Verdict, parse_model, parse_rows,
};
use tollgate_oracle::{Answer, CasbinRs};

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
    let allows = evaluate(asked, request, Now(0)).is_allow();
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

/// Those that no answer of Casbin shows: what strict cannot load, and what the host's code decides.
const WITHOUT_EXAMPLE: &[&str] = &["casbin-only", "link-times"];

fn is_same(ours: bool, theirs: &Answer) -> bool {
    match theirs {
        Answer::Allow => ours,
        Answer::Deny => !ours,
        Answer::Failed(_) => false,
    }
}

/// What our `casbin-go` says.
fn go(model: &str, rows: &str, request: &[Json]) -> Answer {
    let model = Source { file: "model.conf", text: model };
    let rows = Source { file: "policy.csv", text: rows };
    let set = match PolicySet::from_texts(model, rows, Dialect::CasbinGo, 1) {
        Ok(set) => set,
        Err(found) => return Answer::Failed(format!("{found:?}")),
    };
    match evaluate(&set, request, Now(0)) {
        Verdict::Allow { .. } => Answer::Allow,
        Verdict::Error { .. } => Answer::Failed("policy-error".to_owned()),
        Verdict::Deny { .. } | Verdict::NoRule => Answer::Deny,
    }
}

#[test]
fn every_difference_has_an_example_and_lint_tells_it() {
    let page = include_str!("../../../docs/reference/casbin-differences.md");
    for (id, what) in DIFFERENCES.iter().chain(DIFFERENCES_OF_GO) {
        assert!(
            page.contains(&format!("| `{id}` | {what} |")),
            "the page does not say what {id} is"
        );
        let known = EXAMPLES.iter().any(|example| example.id == *id);
        assert!(known || WITHOUT_EXAMPLE.contains(id), "{id} has no example");
    }
    for example in EXAMPLES {
        let (id, context, model) = (example.id, example.context, example.model());
        let request: Vec<Json> = serde_json::from_str(example.request).unwrap();
        let (ours, told) = strict(&model, example.rows, &request, context);
        assert!(told.iter().any(|one| one == id), "{id}: lint tells {told:?}\n{model}");
        for dialect in example.casbin {
            let theirs = match dialect {
                Dialect::CasbinGo => go(&model, example.rows, &request),
                _ => match CasbinRs::load(&model, example.rows) {
                    Err(why) => Answer::Failed(why),
                    Ok(casbin) if context.is_empty() => casbin.ask(&request),
                    Ok(casbin) => casbin.ask_in(context, &request),
                },
            };
            assert!(
                !is_same(ours, &theirs),
                "{id}: both answer allow={ours}, {dialect:?} {theirs:?}"
            );
        }
    }
}
