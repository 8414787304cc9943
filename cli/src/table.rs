//! Objects of the API as text: a list as a table, one as lines, a secret by itself.

use serde_json::Value as Json;
use std::fmt::Write;

/// A list's rows, or one object's members; `columns` may be dotted.
pub(crate) fn of(answer: &Json, columns: &[&str]) -> String {
    let Some(rows) = answer["data"].as_array() else { return one(answer, columns) };
    let cells: Vec<Vec<String>> =
        rows.iter().map(|row| columns.iter().map(|column| cell(row, column)).collect()).collect();
    let head: Vec<String> = columns.iter().map(|column| column.to_uppercase()).collect();
    let all: Vec<&Vec<String>> = std::iter::once(&head).chain(&cells).collect();
    let width = |at: usize| {
        all.iter().filter_map(|row| row.get(at)).map(|text| text.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let mut out = String::new();
    for row in all {
        let padded = row.iter().zip(&widths).map(|(text, width)| format!("{text:<width$}"));
        let line: Vec<String> = padded.collect();
        let _ = writeln!(out, "{}", line.join("  ").trim_end());
    }
    out
}

fn one(answer: &Json, columns: &[&str]) -> String {
    // A new tenant comes with the operation that makes it.
    if let (Json::Object(_), Json::Object(_)) = (&answer["tenant"], &answer["operation"]) {
        let operation = cell(&answer["operation"], "id");
        return format!("{}operation     {operation}\n", one(&answer["tenant"], columns));
    }
    let mut out = String::new();
    for column in columns.iter().filter(|_| answer.is_object()) {
        let _ = writeln!(out, "{column:<13} {}", cell(answer, column));
    }
    if let Some(secret) = answer["secret"].as_str() {
        let _ = writeln!(out, "{:<13} {secret}   (shown this once)", "secret");
    }
    for change in answer["changes"].as_array().into_iter().flatten() {
        let changed = change["changed"].to_string();
        let _ = writeln!(out, "would         {} {changed}", cell(change, "action"));
    }
    out
}

fn cell(row: &Json, column: &str) -> String {
    let value = column.split('.').fold(row, |value, name| &value[name]);
    match value {
        Json::Null => "-".to_owned(),
        Json::String(text) => text.clone(),
        Json::Array(items) => {
            let items: Vec<String> = items
                .iter()
                .map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned))
                .collect();
            if items.is_empty() { "-".to_owned() } else { items.join(",") }
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::of;
    use serde_json::json;

    #[test]
    fn a_list_is_a_table_and_an_object_is_lines() {
        let list = json!({"data": [{"id": "a", "x": {"y": [1, "b"]}}, {"id": "long", "x": null}]});
        assert_eq!(of(&list, &["id", "x.y"]), "ID    X.Y\na     1,b\nlong  -\n");
        let made = json!({"id": "key_1", "secret": "tgk_x"});
        assert_eq!(
            of(&made, &["id"]),
            "id            key_1\nsecret        tgk_x   (shown this once)\n"
        );
    }
}
