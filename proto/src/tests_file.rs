//! tests.yaml: rows of request and expected answer, policy only.
//!
//! YAML's own guesses about scalars are not used: quoted text is text, plain text is null, a
//! boolean or an exact number only if it is written as one.

use crate::owned::OwnedRequest;
use crate::tree::Tree;
use saphyr::{MarkedYaml, ScanError, YamlData, YamlLoader};
use saphyr_parser::{BufferedInput, Parser, ScalarStyle};
use tollgate_engine::{Code, Diagnostic, Diagnostics, Part, Source, Span, Value};

/// The rows of one tests.yaml.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Suite {
    pub tests: Vec<TestRow>,
}

/// One row.
#[derive(Debug, Clone, PartialEq)]
pub struct TestRow {
    pub line: usize,
    /// The request; its tenant is empty when the row names none.
    pub request: OwnedRequest<'static>,
    pub expect_allow: bool,
    /// `policy.csv:9`: the line of the rule that must decide.
    pub rule_line: Option<u32>,
    pub at: Option<jiff::Timestamp>,
}

const KEYS: &[&str] =
    &["tenant", "subject", "resource", "action", "context", "expect", "rule", "at"];

/// Reads tests.yaml.
///
/// # Errors
/// Syntax, unknown keys, missing keys, values of the wrong kind, no rows at all.
pub fn read_tests(source: Source<'_>) -> Result<Suite, Diagnostics> {
    let mut reader = Reader { source, found: Diagnostics::default() };
    let suite = match load(source.text) {
        Ok(documents) => reader.suite(&documents),
        Err(error) => {
            reader.syntax(&error);
            None
        }
    };
    match suite {
        Some(suite) if !reader.found.has_errors() => Ok(suite),
        _ => Err(reader.found),
    }
}

/// Reads any YAML document, or JSON: its first one, without tags and aliases.
///
/// # Errors
/// Syntax, tags, aliases, keys that are no text.
pub fn read_yaml(source: Source<'_>) -> Result<Tree<'static>, Diagnostics> {
    let mut reader = Reader { source, found: Diagnostics::default() };
    let tree = match load(source.text) {
        Ok(documents) => documents.first().map_or(Some(Tree::Null), |root| reader.tree(root)),
        Err(error) => {
            reader.syntax(&error);
            None
        }
    };
    match tree {
        Some(tree) if !reader.found.has_errors() => Ok(tree),
        _ => Err(reader.found),
    }
}

fn load(text: &str) -> Result<Vec<MarkedYaml<'_>>, ScanError> {
    let mut loader: YamlLoader<'_, MarkedYaml<'_>> = YamlLoader::default();
    loader.early_parse(false);
    Parser::new(BufferedInput::new(text.chars())).load(&mut loader, true)?;
    match loader.error() {
        Some(error) => Err(error.clone()),
        None => Ok(loader.into_documents()),
    }
}

struct Reader<'a> {
    source: Source<'a>,
    found: Diagnostics,
}

impl Reader<'_> {
    fn report(&mut self, span: Span, code: Code, message: impl Into<String>) {
        self.found.push(Diagnostic::error(self.source, span, code, message.into()));
    }

    fn syntax(&mut self, error: &ScanError) {
        let span = self.place(error.marker().line(), error.marker().col());
        self.report(span, Code::YamlSyntax, error.info().to_owned());
    }

    /// A place by line (from 1) and column (from 0), to the end of its line.
    fn place(&self, line: usize, column: usize) -> Span {
        let text = self.source.text.split('\n').nth(line.saturating_sub(1)).unwrap_or("");
        let skip = text.char_indices().nth(column).map_or(text.len(), |(index, _)| index);
        self.source.span_of(text.get(skip..).unwrap_or("").trim_end())
    }

    fn span(&self, node: &MarkedYaml<'_>) -> Span {
        self.place(node.span.start.line(), node.span.start.col())
    }

    fn suite(&mut self, documents: &[MarkedYaml<'_>]) -> Option<Suite> {
        let Some(root) = documents.first() else {
            self.report(self.source.span(0, 0), Code::NoTests, "the file has no tests");
            return None;
        };
        let members = self.mapping(root, &["tests"])?;
        let Some((_, tests)) = members.first() else {
            self.report(self.span(root), Code::MissingKey, "`tests` is missing");
            return None;
        };
        let YamlData::Sequence(rows) = &tests.data else {
            self.report(self.span(tests), Code::WrongType, "expected a list of tests");
            return None;
        };
        if rows.is_empty() {
            self.report(self.span(tests), Code::NoTests, "the list of tests is empty");
        }
        let tests: Vec<Option<TestRow>> = rows.iter().map(|row| self.row(row)).collect();
        Some(Suite { tests: tests.into_iter().flatten().collect() })
    }

    /// The members of a mapping, every key one of `keys` (or any, if `keys` is empty).
    fn mapping<'n, 'i>(
        &mut self,
        node: &'n MarkedYaml<'i>,
        keys: &[&str],
    ) -> Option<Vec<(String, &'n MarkedYaml<'i>)>> {
        let YamlData::Mapping(entries) = &node.data else {
            self.report(self.span(node), Code::WrongType, "expected a mapping of keys to values");
            return None;
        };
        let mut members = Vec::new();
        for (key, value) in entries {
            let Some(name) = text_of(key) else {
                self.report(self.span(key), Code::WrongType, "a key must be text");
                continue;
            };
            if !keys.is_empty() && !keys.contains(&name) {
                let message = format!("there is no key `{name}` here");
                let span = self.span(key);
                let found = Diagnostic::error(self.source, span, Code::UnknownKey, message)
                    .did_you_mean(name, keys.iter().copied());
                self.found.push(found);
                continue;
            }
            members.push((name.to_owned(), value));
        }
        Some(members)
    }

    fn row(&mut self, node: &MarkedYaml<'_>) -> Option<TestRow> {
        let members = self.mapping(node, KEYS)?;
        let mut request = OwnedRequest::default();
        let mut expect = None;
        let (mut rule_line, mut at) = (None, None);
        for (name, value) in &members {
            let span = self.span(value);
            match name.as_str() {
                "tenant" => request.tenant = self.text(value)?.into(),
                "action" => request.action = self.text(value)?.into(),
                "subject" | "resource" => {
                    let part = if name == "subject" { Part::Subject } else { Part::Resource };
                    let tree = self.tree(value)?;
                    if let Err(error) = request.set_entity(part, tree) {
                        self.report(span, Code::WrongType, format!("{name}: {error}"));
                    }
                }
                "context" => {
                    let tree = self.tree(value)?;
                    let added = match tree {
                        Tree::Object(_) => request.add_attributes(Part::Context, tree),
                        _ => Err("expected an object".to_owned()),
                    };
                    if let Err(error) = added {
                        self.report(span, Code::WrongType, format!("context: {error}"));
                    }
                }
                "expect" => match text_of(value) {
                    Some("allow") => expect = Some(true),
                    Some("deny") => expect = Some(false),
                    _ => self.report(span, Code::WrongType, "expected allow or deny"),
                },
                "rule" => {
                    let text = self.text(value)?;
                    let line = text.strip_prefix("policy.csv:").and_then(|line| line.parse().ok());
                    if line.is_none() {
                        let message = format!("expected policy.csv:LINE, got `{text}`");
                        self.report(span, Code::WrongType, message);
                    }
                    rule_line = line;
                }
                _ => {
                    let text = self.text(value)?;
                    at = text.parse::<jiff::Timestamp>().ok();
                    if at.is_none() {
                        let message = format!("`{text}` is no RFC 3339 time");
                        self.report(span, Code::BadTime, message);
                    }
                }
            }
        }
        for key in ["subject", "resource", "action", "expect"] {
            if !members.iter().any(|(name, _)| name == key) {
                self.report(self.span(node), Code::MissingKey, format!("`{key}` is missing"));
            }
        }
        let line = node.span.start.line();
        Some(TestRow { line, request, expect_allow: expect?, rule_line, at })
    }

    fn text(&mut self, node: &MarkedYaml<'_>) -> Option<String> {
        let text = text_of(node).filter(|text| !text.is_empty());
        if text.is_none() {
            self.report(self.span(node), Code::WrongType, "expected text");
        }
        text.map(str::to_owned)
    }

    fn tree(&mut self, node: &MarkedYaml<'_>) -> Option<Tree<'static>> {
        Some(match &node.data {
            YamlData::Representation(text, style, _) => scalar(text, *style),
            YamlData::Sequence(items) => {
                Tree::List(items.iter().map(|item| self.tree(item)).collect::<Option<_>>()?)
            }
            YamlData::Mapping(_) => {
                let members = self.mapping(node, &[])?;
                let read = |(name, value): (String, &MarkedYaml<'_>)| {
                    Some((name.into(), self.tree(value)?))
                };
                Tree::Object(members.into_iter().map(read).collect::<Option<_>>()?)
            }
            _ => {
                self.report(self.span(node), Code::WrongType, "tags and aliases are not read here");
                return None;
            }
        })
    }
}

fn text_of<'n>(node: &'n MarkedYaml<'_>) -> Option<&'n str> {
    match &node.data {
        YamlData::Representation(text, _, _) => Some(text),
        _ => None,
    }
}

fn scalar(text: &str, style: ScalarStyle) -> Tree<'static> {
    if style != ScalarStyle::Plain {
        return Tree::Str(text.to_owned().into());
    }
    match text {
        "" | "~" | "null" => Tree::Null,
        "true" => Tree::Bool(true),
        "false" => Tree::Bool(false),
        _ => match Value::parse_number(text) {
            Some(number) => Tree::Number(number),
            None => Tree::Str(text.to_owned().into()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(text: &str) -> Vec<(Code, usize)> {
        match read_tests(Source { file: "tests.yaml", text }) {
            Ok(_) => Vec::new(),
            Err(found) => found.iter().map(|d| (d.code, d.span.line)).collect(),
        }
    }

    #[test]
    fn rows_are_read_or_refused_whole() {
        let row = "tests:\n  - subject: alice\n    resource: /x\n    action: read\n";
        assert_eq!(codes(&format!("{row}    expect: allow\n")), []);
        for (text, expected) in [
            (format!("{row}    expect: maybe\n"), (Code::WrongType, 5)),
            (format!("{row}    expects: allow\n"), (Code::UnknownKey, 5)),
            (row.to_owned(), (Code::MissingKey, 2)),
            (format!("{row}    expect: allow\n    at: yesterday\n"), (Code::BadTime, 6)),
            (format!("{row}    expect: allow\n    rule: 9\n"), (Code::WrongType, 6)),
            ("tests: []\n".to_owned(), (Code::NoTests, 1)),
            (String::new(), (Code::NoTests, 1)),
            ("tests: [\n".to_owned(), (Code::YamlSyntax, 2)),
            ("test: []\n".to_owned(), (Code::UnknownKey, 1)),
        ] {
            assert_eq!(codes(&text).first(), Some(&expected), "{text}");
        }
    }

    #[test]
    fn attributes_keep_their_types() {
        let text = "tests:\n  - {subject: {id: bob, age: 7, score: 1.50, tag: \"7\", on: yes, \
                    roles: [a, b]}, resource: /x, action: read, expect: deny}\n";
        let suite = read_tests(Source { file: "tests.yaml", text }).unwrap();
        let leaf = |name: &str| {
            let found = suite.tests[0].request.attributes.iter().find(|(_, path, _)| path == name);
            found.map(|(_, _, leaf)| leaf.clone()).unwrap()
        };
        assert_eq!(leaf("age"), Tree::Number(Value::Int(7)));
        assert_eq!(leaf("score"), Tree::Number(Value::Dec { mantissa: 15, scale: 1 }));
        assert_eq!(leaf("tag"), Tree::Str("7".into()));
        assert_eq!(leaf("on"), Tree::Str("yes".into()));
        assert!(matches!(leaf("roles"), Tree::List(_)));
    }
}
