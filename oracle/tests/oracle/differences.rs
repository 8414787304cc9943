//! Each known difference still holds on both sides, and the page names it. Casbin for Go is asked by `make parity-go`.

use serde_json::Value as Json;
use tollgate_engine::{Dialect, Now, PolicySet, Slot, Source, Value, Verdict};
use tollgate_oracle::CasbinRs;
use tollgate_oracle::differences::{Difference, KNOWN, KNOWN_GO, Ours};

fn request(row: &Difference) -> Vec<Json> {
    row.request.iter().map(|text| serde_json::from_str(text).unwrap()).collect()
}

/// What our engine says in a dialect.
fn ours(row: &Difference, dialect: Dialect) -> Ours {
    let (model, request) = (row.model(), request(row));
    let model = Source { file: "model.conf", text: &model };
    let rows = Source { file: "policy.csv", text: row.policy };
    let Ok(set) = PolicySet::from_texts(model, rows, dialect, 1) else { return Ours::Refused };
    let read = |slot: &Slot| match &request[slot.token] {
        Json::String(text) if slot.path.is_empty() => Value::Str(text),
        Json::Number(number) => Value::parse_number(&number.to_string()).unwrap(),
        json => match json.get(&slot.path) {
            Some(Json::String(text)) => Value::Str(text),
            _ => Value::Missing,
        },
    };
    let tuple: Vec<Value<'_>> = set.slots().iter().map(read).collect();
    match set.evaluate(&tuple, Now(0)) {
        Verdict::Error { .. } => Ours::Error,
        Verdict::Allow { .. } => panic!("{}: ours allows", row.id),
        Verdict::Deny { .. } | Verdict::NoRule => Ours::Deny,
    }
}

#[test]
fn known_differences_are_true_and_documented() {
    let page = include_str!("../../../docs/reference/casbin-differences.md");
    for row in KNOWN.iter().chain(KNOWN_GO) {
        assert!(page.contains(&format!("`{}`", row.id)), "the page does not name {}", row.id);
    }
    for row in KNOWN {
        let casbin = CasbinRs::load(&row.model(), row.policy).unwrap().ask(&request(row));
        assert!(row.casbin.is(&casbin), "{}: casbin says {casbin:?}", row.id);
        assert_eq!(ours(row, Dialect::CasbinRs), row.ours, "{}", row.id);
    }
    for row in KNOWN_GO {
        assert_eq!(ours(row, Dialect::CasbinGo), row.ours, "{}", row.id);
    }
}
