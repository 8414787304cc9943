//! Each known difference still holds on both sides, and the page names it.

use serde_json::Value as Json;
use tollgate_engine::{Dialect, Now, PolicySet, Source, Value, Verdict};
use tollgate_oracle::CasbinRs;
use tollgate_oracle::differences::{KNOWN, MODEL_HEAD, Ours};

const NOW: Now = Now(0);

#[test]
fn known_differences_are_true_and_documented() {
    let page = include_str!("../../docs/reference/casbin-differences.md");
    for row in KNOWN {
        assert!(page.contains(&format!("`{}`", row.id)), "the page does not name {}", row.id);
        let model = format!("{MODEL_HEAD}{}\n", row.matcher);
        let request: Vec<Json> =
            row.request.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
        let casbin = CasbinRs::load(&model, row.policy).unwrap().ask(&request);
        assert!(row.casbin.is(&casbin), "{}: casbin says {casbin:?}", row.id);

        let (model, rows) = (
            Source { file: "model.conf", text: &model },
            Source { file: "policy.csv", text: row.policy },
        );
        let ours = match PolicySet::from_texts(model, rows, Dialect::CasbinRs, 1) {
            Err(_) => Ours::Refused,
            Ok(set) => {
                let read = |slot: &tollgate_engine::Slot| match &request[slot.token] {
                    Json::String(text) if slot.path.is_empty() => Value::Str(text),
                    Json::Number(number) => Value::parse_number(&number.to_string()).unwrap(),
                    json => match json.get(&slot.path) {
                        Some(Json::String(text)) => Value::Str(text),
                        _ => Value::Missing,
                    },
                };
                let tuple: Vec<Value<'_>> = set.slots().iter().map(read).collect();
                match set.evaluate(&tuple, NOW) {
                    Verdict::Error { .. } => Ours::Error,
                    Verdict::Allow { .. } => panic!("{}: ours allows", row.id),
                    Verdict::Deny { .. } | Verdict::NoRule => Ours::Deny,
                }
            }
        };
        assert_eq!(ours, row.ours, "{}", row.id);
    }
}
