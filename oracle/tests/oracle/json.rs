//! The values of a request given as JSON.

use serde_json::Value as Json;
use tollgate_engine::Value;

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
