//! Limits that were found elsewhere, written as limits.toml and read back before anybody sees them.

use std::fmt::Write;
use tollgate_engine::{Dialect, Source, bind, parse_model};
use tollgate_proto::limits_file::read_limits;
use tollgate_proto::tree::Tree;

/// A model under whose names conditions are written.
const MODEL: &str = "[request_definition]\nr = sub, obj, act\n[policy_definition]\np = sub, obj, act\n\
    [policy_effect]\ne = some(where (p.eft == allow))\n[matchers]\nm = r.sub == p.sub\n";
/// Characters of a limit's id.
const ID_CHARS_MAX: usize = 64;

/// What a file holds, as far as it could be carried over.
#[derive(Debug, Default)]
pub(super) struct Imported {
    limits: Vec<Found>,
    notes: Vec<String>,
}

/// One limit.
#[derive(Debug, Clone, Default)]
pub(super) struct Found {
    /// Words that make its id.
    pub(super) name: Vec<String>,
    pub(super) meter: String,
    pub(super) amount: u64,
    /// `month`, `60s`; `None`: what is in flight.
    pub(super) window: Option<String>,
    /// What a request takes that does not say.
    pub(super) default_amount: Option<u64>,
    pub(super) dimensions: Vec<&'static str>,
    /// Conditions that must hold together.
    pub(super) when: Vec<String>,
    pub(super) is_soft: bool,
    /// Where it was.
    pub(super) from: String,
}

impl Imported {
    pub(super) fn limit(&mut self, found: Found) {
        self.limits.push(found);
    }

    /// Something that stays behind, said once.
    pub(super) fn note(&mut self, note: impl Into<String>) {
        let note = note.into();
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    pub(super) fn notes(&self) -> &[String] {
        &self.notes
    }

    pub(super) fn count(&self) -> usize {
        self.limits.len()
    }

    /// As limits.toml, what stays behind as comments at its head.
    ///
    /// # Errors
    /// There is no limit, or one that Tollgate would refuse.
    pub(super) fn toml(&self) -> Result<String, String> {
        if self.limits.is_empty() {
            return Err("no limit was found in it".to_owned());
        }
        let mut text = String::new();
        for note in &self.notes {
            let _ = writeln!(text, "# Not carried over: {note}");
        }
        let mut ids: Vec<String> = Vec::new();
        for found in &self.limits {
            let id = found.id(&ids);
            if !text.is_empty() {
                text.push('\n');
            }
            found.write(&mut text, &id);
            ids.push(id);
        }
        check(&text)?;
        Ok(text)
    }
}

/// What `tollgate policy test` would say of it.
fn check(text: &str) -> Result<(), String> {
    let model_source = Source { file: "model.conf", text: MODEL };
    let first = |found: &tollgate_engine::Diagnostics| {
        found.iter().next().map_or(String::new(), |one| one.message.clone())
    };
    let model = parse_model(model_source, Dialect::Strict).map_err(|found| first(&found))?;
    let binding = bind(&model, &[], model_source).map_err(|found| first(&found))?;
    let source = Source { file: "limits.toml", text };
    read_limits(source, &model, &binding).map(|_| ()).map_err(|found| first(&found))
}

impl Found {
    /// Words joined by `-`, and a number where another limit is called so.
    fn id(&self, taken: &[String]) -> String {
        let letter = |c: char| match c.to_ascii_lowercase() {
            c @ ('a'..='z' | '0'..='9' | '_') => c,
            _ => '-',
        };
        let words: Vec<String> =
            self.name.iter().map(|word| word.chars().map(letter).collect::<String>()).collect();
        let whole = words.join("-");
        let parts: Vec<&str> = whole.split('-').filter(|part| !part.is_empty()).collect();
        let base: String = parts.join("-").chars().take(ID_CHARS_MAX - 4).collect();
        let numbered = (2..).map(|number| format!("{base}-{number}"));
        let all = std::iter::once(base.clone()).chain(numbered);
        all.into_iter().find(|id| !taken.contains(id)).unwrap_or_default()
    }

    fn write(&self, text: &mut String, id: &str) {
        let amount = self.amount;
        let budget = match &self.window {
            Some(window) => format!("{{ amount = {amount}, window = \"{window}\" }}"),
            None => format!("{{ amount = {amount} }}"),
        };
        let _ = writeln!(text, "# {}", self.from);
        let _ = writeln!(text, "[[limit]]\nid = \"{id}\"\nmeter = \"{}\"", self.meter);
        let _ = writeln!(text, "budget = {budget}");
        if let Some(amount) = self.default_amount {
            let _ = writeln!(text, "default_amount = {}", amount.min(self.amount));
        }
        if !self.dimensions.is_empty() {
            let quoted: Vec<String> =
                self.dimensions.iter().map(|name| format!("\"{name}\"")).collect();
            let _ = writeln!(text, "dimensions = [{}]", quoted.join(", "));
        }
        if !self.when.is_empty() {
            let _ = writeln!(text, "when = {}", literal(&self.when.join(" && ")));
        }
        if self.is_soft {
            text.push_str("mode = \"soft\"\n");
        }
    }
}

/// `token == "value"` as a condition.
pub(super) fn equals(token: &str, value: &str) -> String {
    let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
    format!("{token} == \"{escaped}\"")
}

/// A TOML string; a literal one unless the text holds its quote.
fn literal(text: &str) -> String {
    match text.contains('\'') || text.contains('\n') {
        false => format!("'{text}'"),
        true => format!("{text:?}"),
    }
}

/// A member of an object.
pub(super) fn member<'a>(tree: &'a Tree<'_>, name: &str) -> Option<&'a Tree<'a>> {
    match tree {
        Tree::Object(members) => {
            members.iter().find(|(known, _)| known == name).map(|(_, value)| value)
        }
        _ => None,
    }
}

/// The items of a list; nothing else has any.
pub(super) fn items<'a>(tree: Option<&'a Tree<'a>>) -> &'a [Tree<'a>] {
    match tree {
        Some(Tree::List(items)) => items,
        _ => &[],
    }
}

/// A whole number of 1 or more; one with a fraction is rounded up.
pub(super) fn whole(tree: Option<&Tree<'_>>) -> Option<u64> {
    micros(tree).map(|micros| micros.div_ceil(1_000_000)).filter(|whole| *whole > 0)
}

/// A decimal number of 0 or more in millionths, rounded up.
pub(super) fn micros(tree: Option<&Tree<'_>>) -> Option<u64> {
    let (mantissa, scale) = match tree? {
        Tree::Number(tollgate_engine::Value::Int(int)) => (*int, 0),
        Tree::Number(tollgate_engine::Value::Dec { mantissa, scale }) => (*mantissa, *scale),
        _ => return None,
    };
    let scaled = u128::try_from(mantissa).ok()?.checked_mul(1_000_000)?;
    u64::try_from(scaled.div_ceil(10_u128.checked_pow(u32::from(scale))?)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tollgate_engine::Value;

    #[test]
    fn money_is_whole_millionths() {
        for (value, expected) in [
            (Value::Int(5), Some(5_000_000)),
            (Value::Dec { mantissa: 15, scale: 1 }, Some(1_500_000)),
            (Value::Dec { mantissa: 1, scale: 7 }, Some(1)),
            (Value::Int(0), Some(0)),
            (Value::Int(-1), None),
        ] {
            assert_eq!(micros(Some(&Tree::Number(value))), expected, "{value:?}");
        }
    }

    #[test]
    fn ids_are_words_and_told_apart() {
        let found = |name: &[&str]| Found {
            name: name.iter().map(|word| (*word).to_owned()).collect(),
            ..Found::default()
        };
        assert_eq!(found(&["My Service", "minute"]).id(&[]), "my-service-minute");
        assert_eq!(found(&["a"]).id(&["a".to_owned(), "a-2".to_owned()]), "a-3");
        assert_eq!(found(&[&"x".repeat(90)]).id(&[]).len(), 60);
    }

    #[test]
    fn values_are_quoted_whatever_they_hold() {
        let mut imported = Imported::default();
        for value in ["plain", "it's", "say \"so\"", "back\\slash", "both ' and \""] {
            let when = vec![equals("r.sub", value)];
            let (meter, window) = ("requests".to_owned(), Some("day".to_owned()));
            let name = vec!["x".to_owned()];
            imported.limit(Found { name, meter, amount: 1, window, when, ..Found::default() });
        }
        let toml = imported.toml().unwrap();
        assert!(toml.contains("when = 'r.sub == \"plain\"'"), "{toml}");
    }
}
