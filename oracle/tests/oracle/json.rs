//! A request given as JSON, asked of a compiled policy.

use serde_json::Value as Json;
use tollgate_engine::{Now, PolicySet, Slot, Value, Verdict};
use tollgate_oracle::Answer;

/// What a policy says of a request.
pub(crate) fn evaluate(set: &PolicySet, request: &[Json], now: Now) -> Verdict {
    let lists = lists(request);
    let slot = |slot: &Slot| read(request, &lists, slot.token, &slot.path);
    let tuple: Vec<Value<'_>> = set.slots().iter().map(slot).collect();
    set.evaluate(&tuple, now)
}

/// Whether Casbin answers as we do; which rule decides it does not say.
pub(crate) fn is_same(theirs: &Answer, ours: Verdict) -> bool {
    match theirs {
        Answer::Allow => ours.is_allow(),
        Answer::Deny => matches!(ours, Verdict::Deny { .. } | Verdict::NoRule),
        Answer::Failed(_) => matches!(ours, Verdict::Error { .. }),
    }
}

/// The value of a slot, lists made beforehand.
pub(crate) fn read<'a>(
    request: &'a [Json],
    lists: &'a [(String, Vec<Value<'a>>)],
    token: usize,
    path: &str,
) -> Value<'a> {
    let value = match path {
        "" => Some(&request[token]),
        _ => request[token].get(path),
    };
    match value {
        None | Some(Json::Object(_)) => Value::Missing,
        Some(Json::Null) => Value::Null,
        Some(Json::Bool(bool)) => Value::Bool(*bool),
        Some(Json::Number(number)) => Value::parse_number(&number.to_string()).unwrap(),
        Some(Json::String(text)) => Value::Str(text),
        Some(Json::Array(_)) => {
            let found = lists.iter().find(|(name, _)| *name == path);
            found.map_or(Value::Missing, |(_, list)| Value::List(list))
        }
    }
}

pub(crate) fn lists(request: &[Json]) -> Vec<(String, Vec<Value<'_>>)> {
    let fields = request[0].as_object().into_iter().flatten();
    fields
        .filter_map(|(name, value)| {
            let items = value.as_array()?.iter().map(|item| match item {
                Json::String(text) => Value::Str(text),
                Json::Number(number) => Value::parse_number(&number.to_string()).unwrap(),
                _ => Value::Null,
            });
            Some((name.clone(), items.collect()))
        })
        .collect()
}
