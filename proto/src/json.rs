//! JSON text to a `Tree`: numbers exact, duplicate members and deep nesting refused.
//!
//! A pull parser hands out number text, so no value passes through `f64`. Strings without escapes
//! are borrowed from the text.

use crate::tree::Tree;
use jiter::{Jiter, JiterError, Peek};
use std::borrow::Cow;
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

/// Parses one JSON value; nothing may follow it.
///
/// # Errors
/// Syntax, a member named twice, more than `JSON_DEPTH_MAX` levels, a number that is neither a
/// 64-bit integer nor a decimal of 18 digits.
pub fn parse(text: &[u8]) -> Result<Tree<'_>, JsonError> {
    let utf8 = std::str::from_utf8(text).map_err(|error| JsonError(error.to_string()))?;
    let mut reader = Reader { text: utf8, pull: Jiter::new(text) };
    let first = reader.pull.peek();
    let tree = first.map_err(|e| reader.said(&e)).and_then(|peek| reader.value(peek, 0))?;
    reader.pull.finish().map_err(|error| reader.said(&error))?;
    Ok(tree)
}

struct Reader<'t> {
    text: &'t str,
    pull: Jiter<'t>,
}

impl<'t> Reader<'t> {
    fn said(&self, error: &JiterError) -> JsonError {
        JsonError(error.description(&self.pull))
    }

    /// The value that begins at `peek`, below `depth` lists and objects.
    fn value(&mut self, peek: Peek, depth: u32) -> Result<Tree<'t>, JsonError> {
        let value = match peek {
            Peek::Null => self.pull.known_null().map(|()| Tree::Null),
            Peek::True | Peek::False => self.pull.known_bool(peek).map(Tree::Bool),
            Peek::String => self.pull.known_str().map(|s| Tree::Str(lend(self.text, s))),
            Peek::Array => return self.list(depth + 1),
            Peek::Object => return self.object(depth + 1),
            _ => return self.number(peek),
        };
        value.map_err(|error| self.said(&error))
    }

    fn number(&mut self, peek: Peek) -> Result<Tree<'t>, JsonError> {
        let bytes = match self.pull.known_number_bytes(peek) {
            Ok(bytes) => bytes,
            Err(error) => return Err(self.said(&error)),
        };
        let text = std::str::from_utf8(bytes).unwrap_or_default();
        let number = Value::parse_number(text).map(Tree::Number);
        number.ok_or_else(|| {
            JsonError(format!("the number {text} fits neither 64 bits nor 18 decimals"))
        })
    }

    fn list(&mut self, depth: u32) -> Result<Tree<'t>, JsonError> {
        check_depth(depth)?;
        let mut items = Vec::new();
        let mut next = self.pull.known_array();
        loop {
            match next {
                Ok(Some(peek)) => items.push(self.value(peek, depth)?),
                Ok(None) => return Ok(Tree::List(items)),
                Err(error) => return Err(self.said(&error)),
            }
            next = self.pull.array_step();
        }
    }

    fn object(&mut self, depth: u32) -> Result<Tree<'t>, JsonError> {
        check_depth(depth)?;
        let mut members: Vec<(Cow<'t, str>, Tree<'t>)> = Vec::with_capacity(4);
        let mut next = self.pull.known_object();
        loop {
            let name = match next {
                Ok(Some(name)) => lend(self.text, name),
                Ok(None) => return Ok(Tree::Object(members)),
                Err(error) => return Err(self.said(&error)),
            };
            if members.iter().any(|(known, _)| *known == name) {
                return Err(JsonError(format!("the member `{name}` is given twice")));
            }
            let peek = self.pull.peek().map_err(|error| self.said(&error))?;
            members.push((name, self.value(peek, depth)?));
            next = self.pull.next_key();
        }
    }
}

fn check_depth(depth: u32) -> Result<(), JsonError> {
    match depth > JSON_DEPTH_MAX {
        true => Err(JsonError(format!("nested deeper than {JSON_DEPTH_MAX} levels"))),
        false => Ok(()),
    }
}

/// The same string borrowed from the text, if it lies there; escapes make it lie elsewhere.
fn lend<'t>(text: &'t str, string: &str) -> Cow<'t, str> {
    let offset = string.as_ptr().addr().wrapping_sub(text.as_ptr().addr());
    match text.get(offset..offset.wrapping_add(string.len())) {
        Some(lent) => Cow::Borrowed(lent),
        None => Cow::Owned(string.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_escapes_are_exact() {
        assert_eq!(parse(br#""caf\u00e9""#), Ok(Tree::Str("café".into())));
        assert_eq!(parse(b"0.1"), Ok(Tree::Number(Value::Dec { mantissa: 1, scale: 1 })));
        assert_eq!(
            parse(b" [1, null, true] ").unwrap(),
            Tree::List(vec![Tree::Number(Value::Int(1)), Tree::Null, Tree::Bool(true),])
        );
    }

    #[test]
    fn what_two_readers_could_read_differently_is_refused() {
        let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(parse(deep(JSON_DEPTH_MAX as usize).as_bytes()).is_ok());
        assert!(parse(deep(JSON_DEPTH_MAX as usize + 1).as_bytes()).is_err());
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
            "\u{feff}{}",
            "{\"a\":1,\"\\u0061\":2}",
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(parse(b"\"\xff\"").is_err());
        assert!(parse(deep(100_000).as_bytes()).is_err());
    }
}
