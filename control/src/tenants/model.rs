//! What a tenant is, valid by construction.

use crate::code::Refusal;
use serde_json::{Map, Value as Json, json};

const RESERVED: [&str; 4] = ["platform", "control-plane", "me", "demo"];
const DISPLAY_NAME_CHARS_MAX: usize = 200;
const LABELS_MAX: usize = 64;
const LABEL_CHARS_MAX: usize = 256;

/// A tenant's id: chosen once, never used again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantId(String);

impl TenantId {
    /// # Errors
    /// `invalid`: the shape, or a reserved word; `demo` is for `tollgate up`.
    pub fn read(text: &str, may_be_demo: bool) -> Result<TenantId, Refusal> {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let is_id = (3..=40).contains(&text.len())
            && text.bytes().all(inner)
            && text.starts_with(|first: char| first.is_ascii_lowercase())
            && !text.ends_with('-');
        if !is_id {
            return Err(Refusal::invalid("/id", "[a-z][a-z0-9-]{1,38}[a-z0-9]", text));
        }
        match RESERVED.contains(&text) && !(may_be_demo && text == "demo") {
            true => Err(Refusal::invalid("/id", "a name that is not reserved", text)),
            false => Ok(TenantId(text.to_owned())),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A name for people.
///
/// # Errors
/// `invalid`: empty, too long, or with control characters.
pub fn display_name(text: &str) -> Result<&str, Refusal> {
    let is_name = !text.trim().is_empty()
        && text.chars().count() <= DISPLAY_NAME_CHARS_MAX
        && !text.chars().any(char::is_control);
    match is_name {
        true => Ok(text),
        false => Err(Refusal::invalid(
            "/display_name",
            "1-200 characters without control characters",
            format!("{} characters", text.chars().count()),
        )),
    }
}

/// Labels after a merge patch (RFC 7396): null removes.
///
/// # Errors
/// `invalid` with the label's pointer.
pub fn merged_labels(old: &Json, patch: &Map<String, Json>) -> Result<Json, Refusal> {
    let mut labels = old.as_object().cloned().unwrap_or_default();
    for (name, value) in patch {
        let pointer = || format!("/labels/{}", name.replace('~', "~0").replace('/', "~1"));
        match value {
            Json::Null => drop(labels.remove(name)),
            Json::String(text)
                if text.len() <= LABEL_CHARS_MAX
                    && !name.is_empty()
                    && name.len() <= LABEL_CHARS_MAX =>
            {
                labels.insert(name.clone(), json!(text));
            }
            _ => {
                return Err(Refusal::invalid(
                    &pointer(),
                    "a text of at most 256 bytes",
                    value.to_string(),
                ));
            }
        }
    }
    match labels.len() <= LABELS_MAX {
        true => Ok(Json::Object(labels)),
        false => Err(Refusal::invalid("/labels", "at most 64 labels", labels.len().to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_one_shape() {
        for (id, accepted) in [
            ("acme", true),
            ("a1-b", true),
            ("abc", true),
            ("ab", false),
            (&format!("a{}", "b".repeat(39)), true),
            (&format!("a{}", "b".repeat(40)), false),
            ("1ab", false),
            ("ab-", false),
            ("Acme", false),
            ("a_b", false),
            ("platform", false),
            ("demo", false),
        ] {
            assert_eq!(TenantId::read(id, false).is_ok(), accepted, "{id}");
        }
        assert!(TenantId::read("demo", true).is_ok());
    }

    #[test]
    fn labels_are_merged() {
        let patch = |json: Json| json.as_object().cloned().unwrap();
        let old = json!({"a": "1", "b": "2"});
        assert_eq!(
            merged_labels(&old, &patch(json!({"a": null, "c": "3"}))).unwrap(),
            json!({"b": "2", "c": "3"})
        );
        assert!(merged_labels(&old, &patch(json!({"a": 1}))).is_err());
    }
}
