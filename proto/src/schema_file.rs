//! schema.json: JSON Schema for the attributes of subject, resource, action and context.
//!
//! Read are the keywords that a decision can hold a value against; another keyword is an error, not a promise that is
//! not kept. `x-source` says who vouches for an attribute, `x-check-requests` that requests are checked, too.

use crate::json;
use crate::tree::Tree;
use std::borrow::Cow;
use tollgate_engine::schema::{Constant, Kind, Origin, Rule, Schema};
use tollgate_engine::{Code, Diagnostic, Diagnostics, Part, Source};

type Object<'t> = Vec<(Cow<'t, str>, Tree<'t>)>;

/// Keywords that say nothing about a value.
const NOTES: &[&str] =
    &["$schema", "$id", "$comment", "title", "description", "examples", "default", "deprecated"];
const PARTS: &[(&str, Part)] = &[
    ("subject", Part::Subject),
    ("resource", Part::Resource),
    ("action", Part::Action),
    ("context", Part::Context),
];

/// Reads schema.json.
///
/// # Errors
/// No JSON, a keyword that is not read here, a value that it cannot have.
pub fn read_schema(source: Source<'_>) -> Result<Schema, Diagnostics> {
    let mut reader = Reader { source, found: Diagnostics::default(), schema: Schema::default() };
    match json::parse(source.text.as_bytes()) {
        Ok(Tree::Object(members)) => reader.root(members),
        Ok(other) => reader.wrong("", &format!("expected an object, got {}", other.kind())),
        Err(error) => {
            let message = format!("schema.json is no JSON that is read here: {error}");
            let found = Diagnostic::error(source, source.span(0, 0), Code::JsonSyntax, message);
            reader.found.push(found);
        }
    }
    let mut schema = reader.schema;
    schema.attributes.sort_by(|(a, _), (b, _)| a.cmp(b));
    if reader.found.has_errors() { Err(reader.found) } else { Ok(schema) }
}

struct Reader<'s> {
    source: Source<'s>,
    found: Diagnostics,
    schema: Schema,
}

impl Reader<'_> {
    /// A finding where a word first stands in quotes.
    fn report(&mut self, word: &str, code: Code, message: String) {
        let quoted = format!("\"{word}\"");
        let at = self.source.text.find(&quoted).filter(|_| !word.is_empty());
        let span = at.map_or(self.source.span(0, 0), |at| self.source.span(at, at + quoted.len()));
        self.found.push(Diagnostic::error(self.source, span, code, message));
    }

    fn wrong(&mut self, word: &str, message: &str) {
        self.report(word, Code::WrongType, message.to_owned());
    }

    fn unknown(&mut self, word: &str) {
        let message = format!("`{word}` is no keyword that is read here");
        self.report(word, Code::UnknownKey, message);
    }

    fn root(&mut self, members: Object<'_>) {
        for (name, member) in members {
            match (name.as_ref(), member) {
                ("type", Tree::Str(kind)) if kind == "object" => {}
                ("x-check-requests", Tree::Bool(checks)) => self.schema.checks_requests = checks,
                ("properties", Tree::Object(parts)) => {
                    parts.into_iter().for_each(|(name, part)| {
                        match (PARTS.iter().find(|(known, _)| *known == name), part) {
                            (Some((_, known)), Tree::Object(members)) => {
                                self.object(*known, "", members)
                            }
                            (Some(_), other) => self
                                .wrong(&name, &format!("expected an object, got {}", other.kind())),
                            (None, _) => self.report(
                                &name,
                                Code::UnknownKey,
                                format!("a request has no part `{name}`"),
                            ),
                        }
                    })
                }
                (note, _) if NOTES.contains(&note) => {}
                (word @ ("type" | "x-check-requests" | "properties"), other) => {
                    self.wrong(word, &format!("`{word}` cannot be {}", other.kind()));
                }
                (word, _) => self.unknown(word),
            }
        }
    }

    /// The attributes below a path.
    fn object(&mut self, part: Part, below: &str, members: Object<'_>) {
        let mut required: Vec<String> = Vec::new();
        let join =
            |name: &str| if below.is_empty() { name.to_owned() } else { format!("{below}.{name}") };
        for (name, member) in members {
            match (name.as_ref(), member) {
                ("type", Tree::Str(kind)) if kind == "object" => {}
                ("additionalProperties", Tree::Bool(others)) => {
                    if !others && below.is_empty() {
                        self.schema.closed.push(part);
                    } else if !others {
                        self.wrong(
                            "additionalProperties",
                            "only subject, resource, action and context are closed as a whole",
                        );
                    }
                }
                ("required", Tree::List(names)) => {
                    required.extend(names.iter().filter_map(Tree::as_str).map(&join));
                }
                ("properties", Tree::Object(attributes)) => {
                    for (name, attribute) in attributes {
                        match attribute {
                            Tree::Object(members) if is_object(&members) => {
                                self.object(part, &join(&name), members)
                            }
                            Tree::Object(members) => {
                                let rule = self.rule(members);
                                self.schema.attributes.push(((part, join(&name)), rule));
                            }
                            other => self
                                .wrong(&name, &format!("expected an object, got {}", other.kind())),
                        }
                    }
                }
                (note, _) if NOTES.contains(&note) => {}
                (word @ ("type" | "additionalProperties" | "required" | "properties"), other) => {
                    self.wrong(word, &format!("`{word}` cannot be {}", other.kind()));
                }
                (word, _) => self.unknown(word),
            }
        }
        for path in required {
            let found = self
                .schema
                .attributes
                .iter_mut()
                .find(|((of, known), _)| *of == part && *known == path);
            match found {
                Some((_, rule)) => rule.is_required = true,
                None => self.wrong("required", &format!("`{path}` is required and not described")),
            }
        }
    }

    fn rule(&mut self, members: Object<'_>) -> Rule {
        let mut rule = Rule::default();
        for (name, member) in members {
            match (name.as_ref(), &member) {
                ("type", Tree::Str(_) | Tree::List(_)) => rule.kinds = self.kinds(&member),
                ("items", Tree::Object(items)) => {
                    match items.iter().find(|(name, _)| name == "type") {
                        Some((_, kind)) if items.len() == 1 => rule.items = self.kinds(kind),
                        _ => self.wrong("items", "of a list's elements only `type` is read"),
                    }
                }
                ("enum", Tree::List(choices)) => {
                    rule.choices = choices.iter().filter_map(constant).collect()
                }
                ("const", only) => rule.choices = constant(only).into_iter().collect(),
                ("minimum", Tree::Number(least)) => rule.least = Some(*least),
                ("maximum", Tree::Number(most)) => rule.most = Some(*most),
                ("x-source", Tree::Str(word)) => {
                    match Origin::NAMES.iter().find(|(name, _)| name == word) {
                        Some((_, origin)) => rule.origin = *origin,
                        None => {
                            let message =
                                format!("`x-source` is gateway, claims or directory, not `{word}`");
                            self.report(word, Code::OutOfRange, message);
                        }
                    }
                }
                (note, _) if NOTES.contains(&note) => {}
                (
                    word @ ("type" | "items" | "enum" | "minimum" | "maximum" | "x-source"),
                    other,
                ) => {
                    self.wrong(word, &format!("`{word}` cannot be {}", other.kind()));
                }
                (word, _) => self.unknown(word),
            }
        }
        rule
    }

    fn kinds(&mut self, named: &Tree<'_>) -> Vec<Kind> {
        let words: Vec<&Tree<'_>> = match named {
            Tree::List(words) => words.iter().collect(),
            word => vec![word],
        };
        let mut kinds = Vec::new();
        for word in words {
            let text = word.as_str().unwrap_or("");
            match Kind::NAMES.iter().find(|(name, _)| *name == text) {
                Some((_, kind)) => kinds.push(*kind),
                None => self.report(text, Code::OutOfRange, format!("there is no type `{text}`")),
            }
        }
        kinds
    }
}

fn is_object(members: &Object<'_>) -> bool {
    members.iter().any(|(name, member)| name == "type" && member.as_str() == Some("object"))
}

fn constant(tree: &Tree<'_>) -> Option<Constant> {
    match tree {
        Tree::Str(text) => Some(Constant::Text(text.to_string())),
        Tree::Bool(bool) => Some(Constant::Other(tollgate_engine::Value::Bool(*bool))),
        Tree::Null => Some(Constant::Other(tollgate_engine::Value::Null)),
        Tree::Number(number) => Some(Constant::Other(*number)),
        Tree::List(_) | Tree::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tollgate_engine::Value;

    fn codes(text: &str) -> Vec<(Code, usize)> {
        match read_schema(Source { file: "schema.json", text }) {
            Ok(_) => Vec::new(),
            Err(found) => found.iter().map(|one| (one.code, one.span.line)).collect(),
        }
    }

    #[test]
    fn a_schema_is_read_or_refused_with_places() {
        let subject = |members: &str| format!("{{\"properties\": {{\"subject\": {{{members}}}}}}}");
        let attribute =
            |members: &str| subject(&format!("\"properties\": {{\"a\": {{{members}}}}}"));
        for (text, expected) in [
            ("{}".to_owned(), None),
            ("[]".to_owned(), Some(Code::WrongType)),
            ("{".to_owned(), Some(Code::JsonSyntax)),
            ("{\"oneOf\": []}".to_owned(), Some(Code::UnknownKey)),
            ("{\"properties\": {\"body\": {}}}".to_owned(), Some(Code::UnknownKey)),
            ("{\"x-check-requests\": 1}".to_owned(), Some(Code::WrongType)),
            (subject("\"required\": [\"a\"]"), Some(Code::WrongType)),
            (subject("\"additionalProperties\": false"), None),
            (attribute("\"type\": \"string\", \"description\": \"x\""), None),
            (attribute("\"type\": [\"string\", \"null\"]"), None),
            (attribute("\"type\": \"text\""), Some(Code::OutOfRange)),
            (attribute("\"pattern\": \"x\""), Some(Code::UnknownKey)),
            (attribute("\"x-source\": \"browser\""), Some(Code::OutOfRange)),
            (attribute("\"minimum\": \"1\""), Some(Code::WrongType)),
            (attribute("\"items\": {\"type\": \"string\", \"enum\": []}"), Some(Code::WrongType)),
        ] {
            assert_eq!(codes(&text).first().map(|(code, _)| *code), expected, "{text}");
        }
        assert_eq!(codes("{\n\"oneOf\": []}"), [(Code::UnknownKey, 2)]);
    }

    #[test]
    fn nested_attributes_are_paths() {
        let text = r#"{"properties": {"subject": {"properties": {"org": {"type": "object", "properties":
            {"size": {"type": "integer", "maximum": 9, "x-source": "claims"}}, "required": ["size"]}}}}}"#;
        let schema = read_schema(Source { file: "schema.json", text }).unwrap();
        let rule = schema.rule(Part::Subject, "org.size").unwrap();
        assert!(rule.is_required && rule.origin == Origin::Claims);
        assert!(rule.admits(&Value::Int(9)) && !rule.admits(&Value::Int(10)));
        assert!(!rule.admits(&Value::Dec { mantissa: 15, scale: 1 }));
    }
}
