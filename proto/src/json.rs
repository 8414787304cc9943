//! JSON text to a `Tree`: numbers exact, duplicate members and deep nesting refused.
//!
//! A pull parser hands out number text, so no value passes through `f64`.

use crate::tree::Tree;
use struson::reader::{JsonReader, JsonStreamReader, ReaderError, ReaderSettings, ValueType};
use tollgate_engine::Value;

/// Levels of nesting in a JSON text.
pub const JSON_DEPTH_MAX: u32 = 32;

/// Why a text is no acceptable JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonError(pub String);

impl std::fmt::Display for JsonError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<ReaderError> for JsonError {
    fn from(error: ReaderError) -> JsonError {
        JsonError(error.to_string())
    }
}

/// Parses one JSON value; nothing may follow it.
///
/// # Errors
/// Syntax, a member named twice, more than `JSON_DEPTH_MAX` levels, a number that is neither a
/// 64-bit integer nor a decimal of 18 digits.
pub fn parse(text: &str) -> Result<Tree, JsonError> {
    let settings = ReaderSettings {
        max_nesting_depth: Some(JSON_DEPTH_MAX),
        track_path: false,
        restrict_number_values: false,
        ..ReaderSettings::default()
    };
    let mut reader = JsonStreamReader::new_custom(text.as_bytes(), settings);
    let tree = value(&mut reader)?;
    reader.consume_trailing_whitespace()?;
    Ok(tree)
}

fn value<R: std::io::Read>(reader: &mut JsonStreamReader<R>) -> Result<Tree, JsonError> {
    Ok(match reader.peek()? {
        ValueType::Null => {
            reader.next_null()?;
            Tree::Null
        }
        ValueType::Boolean => Tree::Bool(reader.next_bool()?),
        ValueType::String => Tree::Str(reader.next_string()?),
        ValueType::Number => {
            let text = reader.next_number_as_str()?;
            let number = Value::parse_number(text);
            Tree::Number(number.ok_or_else(|| {
                JsonError(format!("the number {text} fits neither 64 bits nor 18 decimals"))
            })?)
        }
        ValueType::Array => {
            reader.begin_array()?;
            let mut items = Vec::new();
            while reader.has_next()? {
                items.push(value(reader)?);
            }
            reader.end_array()?;
            Tree::List(items)
        }
        ValueType::Object => {
            reader.begin_object()?;
            let mut members: Vec<(String, Tree)> = Vec::new();
            while reader.has_next()? {
                let name = reader.next_name_owned()?;
                if members.iter().any(|(known, _)| *known == name) {
                    return Err(JsonError(format!("the member `{name}` is given twice")));
                }
                members.push((name, value(reader)?));
            }
            reader.end_object()?;
            Tree::Object(members)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_escapes_are_exact() {
        assert_eq!(parse(r#""caf\u00e9""#), Ok(Tree::Str("café".to_owned())));
        assert_eq!(parse("0.1"), Ok(Tree::Number(Value::Dec { mantissa: 1, scale: 1 })));
        assert_eq!(
            parse(" [1, null, true] ").unwrap(),
            Tree::List(vec![Tree::Number(Value::Int(1)), Tree::Null, Tree::Bool(true),])
        );
    }

    #[test]
    fn what_two_readers_could_read_differently_is_refused() {
        let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(parse(&deep(JSON_DEPTH_MAX as usize)).is_ok());
        assert!(parse(&deep(JSON_DEPTH_MAX as usize + 1)).is_err());
        for text in [
            "",
            "{",
            "{\"a\":1,\"a\":2}",
            "{\"a\":1} x",
            "1e400",
            "18446744073709551616",
            "NaN",
            "{'a':1}",
            "[1,]",
            "01",
            "\"\\ud800\"",
            "\"\u{1}\"",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
