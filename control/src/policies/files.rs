//! The files of a policy, each a text under its name.

use crate::code::Refusal;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

/// What a policy may hold; limits stand on their own.
const NAMES: [&str; 5] = ["model.conf", "policy.csv", "schema.json", "tenant.toml", "tests.yaml"];
const NAME_CHARS_MAX: usize = 64;

/// Files by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Files(BTreeMap<String, String>);

impl Files {
    /// # Errors
    /// `invalid` with the pointer of a file that a policy does not hold, or of a text that no database keeps.
    pub fn check(&self) -> Result<(), Refusal> {
        let expected = || NAMES.join(", ");
        if self.0.is_empty() {
            return Err(Refusal::invalid("/files", &expected(), "no file"));
        }
        for (name, text) in &self.0 {
            let pointer = format!("/files/{}", name.replace('~', "~0").replace('/', "~1"));
            if !NAMES.contains(&name.as_str()) {
                return Err(Refusal::invalid(&pointer, &expected(), name.clone()));
            }
            if text.contains('\0') {
                return Err(Refusal::invalid(&pointer, "a text without NUL", "one with NUL"));
            }
        }
        Ok(())
    }

    /// Those of a row.
    pub fn of(json: &Json) -> Files {
        serde_json::from_value(json.clone()).unwrap_or_default()
    }

    pub fn json(&self) -> Json {
        json!(self.0)
    }

    pub fn put(&mut self, name: &str, text: String) {
        self.0.insert(name.to_owned(), text);
    }

    pub fn into_map(self) -> BTreeMap<String, String> {
        self.0
    }
}

/// The name of a policy in a path.
///
/// # Errors
/// `invalid`.
pub(super) fn name(text: &str) -> Result<&str, Refusal> {
    let letters = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_name = (1..=NAME_CHARS_MAX).contains(&text.len()) && text.bytes().all(letters);
    match is_name {
        true => Ok(text),
        false => Err(Refusal::invalid("/name", "1-64 of a-z, 0-9 and -", text)),
    }
}
