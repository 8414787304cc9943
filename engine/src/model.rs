//! model.conf: the PERM definitions, from text to names, effect rule and matcher.
//!
//! Knows the file format and the names; whether a matcher compiles is for `policy::compile`.

use crate::bounds::TOKENS_MAX;
use crate::diagnostic::{Code, Diagnostic, Diagnostics, Source, Span};
use crate::dialect::Dialect;
use crate::expr::ast::Expr;
use crate::expr::error::ParseError;
use crate::expr::parse::{Names, parse};
use crate::policy::casbin_text::escape_assertion;

/// A parsed model.
#[derive(Debug, Clone)]
pub struct Model {
    /// Tokens of `r`, such as `sub`, `dom`, `obj`, `act`.
    pub request: Vec<String>,
    /// Columns of `p`.
    pub policy: Vec<String>,
    /// Role definitions with the number of their arguments, 2 or 3.
    pub roles: Vec<(String, usize)>,
    pub effect: EffectRule,
    pub matcher: Expr,
    pub dialect: Dialect,
    /// Where `r`, `e` and `m` stand, for findings about them.
    pub request_span: Span,
    pub effect_span: Span,
    pub matcher_span: Span,
    /// The matcher as one line: what positions in its expression count in.
    pub matcher_text: String,
}

/// How the effects of matching rows combine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EffectRule {
    /// `some(where (p.eft == allow))`
    AllowOverride,
    /// `!some(where (p.eft == deny))`
    DenyOverride,
    /// `some(where (p.eft == allow)) && !some(where (p.eft == deny))`
    AllowAndDeny,
    /// `priority(p.eft) || deny`
    Priority,
}

impl EffectRule {
    const TEXTS: &'static [(&'static str, EffectRule)] = &[
        ("some(where (p_eft == allow))", EffectRule::AllowOverride),
        ("!some(where (p_eft == deny))", EffectRule::DenyOverride),
        ("some(where (p_eft == allow)) && !some(where (p_eft == deny))", EffectRule::AllowAndDeny),
        ("priority(p_eft) || deny", EffectRule::Priority),
    ];

    /// The rule written as `text`; `strict` does not mind blanks, `casbin-rs` does.
    fn parse(text: &str, dialect: Dialect) -> Option<EffectRule> {
        let text = escape_assertion(text);
        let normal = |text: &str| match dialect {
            Dialect::Strict => text.split_whitespace().collect::<String>(),
            Dialect::CasbinRs => text.to_owned(),
        };
        let known = |(written, _): &&(&str, EffectRule)| normal(written) == normal(&text);
        EffectRule::TEXTS.iter().find(known).map(|(_, rule)| *rule)
    }
}

impl Model {
    /// The column that holds the effect, if the policy has one.
    pub fn effect_column(&self) -> Option<usize> {
        self.policy.iter().position(|column| column == "eft")
    }

    /// The column whose numbers are the order of the rows: Casbin's explicit priority, in `strict`.
    pub fn priority_column(&self) -> Option<usize> {
        let is_ordered = self.dialect == Dialect::Strict && self.effect == EffectRule::Priority;
        self.policy.iter().position(|column| is_ordered && column == "priority")
    }

    /// The names that an expression of this model may use.
    pub fn names(&self) -> Names<'_> {
        Names {
            request: &self.request,
            policy: &self.policy,
            roles: &self.roles,
            dialect: self.dialect,
        }
    }
}

/// Parses model.conf.
///
/// # Errors
/// Every finding in the file, at most `DIAGNOSTICS_MAX`.
pub fn parse_model(source: Source<'_>, dialect: Dialect) -> Result<Model, Diagnostics> {
    let mut reader =
        Reader { source, dialect, entries: Vec::new(), diagnostics: Diagnostics::default() };
    reader.read();
    reader.finish()
}

const SECTIONS: &[(&str, &str)] = &[
    ("request_definition", "r"),
    ("policy_definition", "p"),
    ("role_definition", "g"),
    ("policy_effect", "e"),
    ("matchers", "m"),
];

/// One `key = value`; a value of several lines keeps where each piece came from.
struct Entry {
    section: &'static str,
    key: String,
    value: String,
    pieces: Vec<(usize, usize)>,
    span: Span,
}

struct Reader<'a> {
    source: Source<'a>,
    dialect: Dialect,
    entries: Vec<Entry>,
    diagnostics: Diagnostics,
}

impl<'a> Reader<'a> {
    fn error(&mut self, part: &str, code: Code, message: impl Into<String>) {
        self.diagnostic(self.source.span_of(part), code, message, None);
    }

    fn diagnostic(
        &mut self,
        span: Span,
        code: Code,
        message: impl Into<String>,
        help: Option<&str>,
    ) {
        let mut diagnostic = Diagnostic::error(self.source, span, code, message.into());
        diagnostic.help = help.map(str::to_owned);
        self.diagnostics.push(diagnostic);
    }

    fn read(&mut self) {
        let mut section: Option<&'static str> = None;
        let mut lines = self.source.text.lines().map(str::trim);
        while let Some(line) = lines.next() {
            if is_blank(line) {
                continue;
            }
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                section = self.section(name);
                continue;
            }
            let mut pieces = vec![line];
            while let Some(last) = pieces.pop() {
                let Some(head) = last.strip_suffix('\\') else {
                    pieces.push(last);
                    break;
                };
                pieces.push(head.trim_end());
                match lines.next() {
                    Some(next) if !is_blank(next) => pieces.push(next),
                    _ => {
                        self.error(last, Code::MalformedLine, "nothing follows the line break");
                        break;
                    }
                }
            }
            self.entry(section, &pieces);
        }
    }

    fn section(&mut self, name: &str) -> Option<&'static str> {
        let found = SECTIONS.iter().find(|(known, _)| *known == name).map(|(_, key)| *key);
        if found.is_none() && self.dialect == Dialect::Strict {
            let span = self.source.span_of(name);
            let message = format!("there is no section `{name}`");
            let known = SECTIONS.iter().map(|(known, _)| *known);
            let diagnostic = Diagnostic::error(self.source, span, Code::UnknownSection, message);
            self.diagnostics.push(diagnostic.did_you_mean(name, known));
        }
        found
    }

    fn entry(&mut self, section: Option<&'static str>, pieces: &[&'a str]) {
        let first = pieces.first().copied().unwrap_or("");
        let Some((key, value)) = first.split_once('=') else {
            let message = format!("expected `key = value`, got `{first}`");
            return self.error(first, Code::MalformedLine, message);
        };
        let Some(section) = section else {
            if self.dialect == Dialect::Strict {
                self.error(first, Code::MalformedLine, "this line stands before any section");
            }
            return;
        };
        let (key, start) = (key.trim(), value.trim());
        let mut value = String::new();
        let mut places = Vec::new();
        for piece in std::iter::once(start).chain(pieces.iter().skip(1).copied()) {
            places.push((value.len(), self.source.span_of(piece).start));
            value.push_str(piece);
        }
        if let Some(hash) = value.find('#') {
            if self.dialect == Dialect::Strict {
                self.diagnostic(
                    self.source.span_of(start),
                    Code::CommentInValue,
                    "`#` cuts the rest of this value off in Casbin, even inside quotes",
                    Some("put the comment on a line of its own"),
                );
            }
            value.truncate(hash);
        }
        let value = value.trim_end().to_owned();
        let span = self.source.span_of(first);
        let entry = Entry { section, key: key.to_owned(), value, pieces: places, span };
        self.keep(entry);
    }

    fn keep(&mut self, entry: Entry) {
        let suffix = entry.key.strip_prefix(entry.section);
        let numbered = suffix.is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit()));
        if !numbered {
            let message = format!("this section defines `{}`, not `{}`", entry.section, entry.key);
            return self.diagnostic(entry.span, Code::UnknownKey, message, None);
        }
        if entry.section != "g" && entry.key != entry.section {
            let message = format!("`{}` cannot be compiled by this version", entry.key);
            let help = "keep one request, policy, effect and matcher per model";
            return self.diagnostic(entry.span, Code::UnsupportedDefinition, message, Some(help));
        }
        let first = self.entries.iter().position(|known| known.key == entry.key);
        match (first, self.dialect) {
            (Some(_), Dialect::Strict) => {
                let message = format!("`{}` is defined twice", entry.key);
                self.diagnostic(entry.span, Code::DuplicateDefinition, message, None);
            }
            (Some(index), Dialect::CasbinRs) => {
                if let Some(known) = self.entries.get_mut(index) {
                    *known = entry;
                }
            }
            (None, _) => self.entries.push(entry),
        }
    }

    fn finish(mut self) -> Result<Model, Diagnostics> {
        let request = self.names("r");
        let policy = self.names("p");
        let roles = self.roles();
        let effect = self.effect();
        let matcher = self.matcher(&request, &policy, &roles);
        let span = |key: &str| self.entries.iter().find(|e| e.key == key).map(|e| e.span);
        let (request_span, effect_span, matcher_span) = (span("r"), span("e"), span("m"));
        match (effect, matcher, self.diagnostics.has_errors()) {
            (Some(effect), Some(matcher), false) => Ok(Model {
                request,
                policy,
                roles,
                effect,
                matcher,
                dialect: self.dialect,
                request_span: request_span.unwrap_or_default(),
                effect_span: effect_span.unwrap_or_default(),
                matcher_span: matcher_span.unwrap_or_default(),
                matcher_text: self
                    .entries
                    .iter()
                    .find(|e| e.key == "m")
                    .map(|e| e.value.clone())
                    .unwrap_or_default(),
            }),
            _ => Err(self.diagnostics),
        }
    }

    fn required(&mut self, key: &str) -> Option<(String, Span)> {
        let entry = self.entries.iter().find(|entry| entry.key == key && !entry.value.is_empty());
        if let Some(entry) = entry {
            return Some((entry.value.clone(), entry.span));
        }
        let name = SECTIONS.iter().find(|(_, short)| *short == key).map_or("", |(name, _)| *name);
        let message = format!("the model has no `{key}` under [{name}]");
        self.diagnostic(self.source.span(0, 0), Code::MissingSection, message, None);
        None
    }

    fn names(&mut self, key: &str) -> Vec<String> {
        let Some((value, span)) = self.required(key) else { return Vec::new() };
        let names: Vec<String> = value.split(',').map(|name| name.trim().to_owned()).collect();
        if names.len() > TOKENS_MAX {
            let message = format!("`{key}` has {} names, at most {TOKENS_MAX}", names.len());
            self.diagnostic(span, Code::BoundExceeded, message, None);
        }
        for (index, name) in names.iter().enumerate() {
            let word = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            let starts = name.chars().next().is_some_and(|c| !c.is_ascii_digit());
            if !word || !starts {
                let message = format!("`{name}` is no name: letters, digits and `_` only");
                self.diagnostic(span, Code::BadName, message, None);
            } else if names.iter().take(index).any(|earlier| earlier == name) {
                let message = format!("`{key}` names `{name}` twice");
                self.diagnostic(span, Code::DuplicateDefinition, message, None);
            }
        }
        names
    }

    fn roles(&mut self) -> Vec<(String, usize)> {
        let mut roles = Vec::new();
        let mut wrong = Vec::new();
        for entry in self.entries.iter().filter(|entry| entry.section == "g") {
            let places: Vec<&str> = entry.value.split(',').map(str::trim).collect();
            match places.len() {
                arity @ 2..=3 if places.iter().all(|place| *place == "_") => {
                    roles.push((entry.key.clone(), arity));
                }
                _ => wrong.push((entry.span, entry.key.clone())),
            }
        }
        for (span, key) in wrong {
            let message = format!("`{key}` must be `_, _` or `_, _, _` (with the tenant)");
            self.diagnostic(span, Code::UnsupportedDefinition, message, None);
        }
        roles
    }

    fn effect(&mut self) -> Option<EffectRule> {
        let (value, span) = self.required("e")?;
        let effect = EffectRule::parse(&value, self.dialect);
        if effect.is_none() {
            let message = format!("`{value}` is none of the effect rules");
            let help = "use some(where (p.eft == allow)), !some(where (p.eft == deny)), both \
                        joined by &&, or priority(p.eft) || deny";
            self.diagnostic(span, Code::UnknownEffect, message, Some(help));
        }
        effect
    }

    fn matcher(
        &mut self,
        request: &[String],
        policy: &[String],
        roles: &[(String, usize)],
    ) -> Option<Expr> {
        let (value, _) = self.required("m")?;
        if request.is_empty() || policy.is_empty() {
            return None;
        }
        let names = Names { request, policy, roles, dialect: self.dialect };
        parse(&value, names).map_err(|errors| self.matcher_errors(&errors)).ok()
    }

    fn matcher_errors(&mut self, errors: &[ParseError]) {
        let Some(entry) = self.entries.iter().find(|entry| entry.key == "m") else { return };
        let place = |offset: usize| {
            let piece = entry.pieces.iter().rev().find(|(begin, _)| *begin <= offset);
            piece.map_or(0, |(begin, file)| file + offset - begin)
        };
        for error in errors {
            let span = self.source.span(place(error.start), place(error.end));
            let message = error.message.clone();
            let mut found = Diagnostic::error(self.source, span, error.code, message);
            found.help.clone_from(&error.help);
            self.diagnostics.push(match &error.label {
                Some(label) => found.label(label.clone()),
                None => found,
            });
        }
    }
}

fn is_blank(line: &str) -> bool {
    line.is_empty() || line.starts_with(['#', ';'])
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "[request_definition]\nr = sub, obj, act\n[policy_definition]\n\
        p = sub, obj, act, eft\n[role_definition]\ng = _, _\n[policy_effect]\n\
        e = some(where (p.eft == allow))\n[matchers]\n\
        m = g(r.sub, p.sub) && \\\n    r.obj == p.obj && r.act == p.act\n";

    fn codes(text: &str, dialect: Dialect) -> Vec<(Code, usize)> {
        match parse_model(Source { file: "model.conf", text }, dialect) {
            Ok(_) => Vec::new(),
            Err(found) => found.iter().map(|d| (d.code, d.span.line)).collect(),
        }
    }

    #[test]
    fn a_model_loads_whole_or_says_why() {
        assert_eq!(codes(GOOD, Dialect::Strict), []);
        assert_eq!(codes(GOOD, Dialect::CasbinRs), []);
        let rows: &[(&str, &str, Code, usize)] = &[
            ("[matchers]", "[matcher]", Code::UnknownSection, 9),
            ("e = some(where (p.eft == allow))", "e = maybe", Code::UnknownEffect, 8),
            ("g = _, _", "g = _, _, _, _", Code::UnsupportedDefinition, 6),
            ("r.act == p.act", "r.act == p.actt", Code::UnknownToken, 11),
            ("r = sub, obj, act", "r = sub, obj, sub", Code::DuplicateDefinition, 2),
            ("r = sub, obj, act", "r = sub, obj, act # who", Code::CommentInValue, 2),
            ("r = sub, obj, act", "r = sub, obj, a-t", Code::BadName, 2),
            ("r = sub, obj, act", "r = sub, obj, act\nr2 = sub", Code::UnsupportedDefinition, 3),
            ("r = sub, obj, act", "nonsense", Code::MalformedLine, 2),
            ("[request_definition]\n", "x = 1\n[request_definition]\n", Code::MalformedLine, 1),
            ("p = sub, obj, act, eft\n", "", Code::MissingSection, 1),
            ("g = _, _\n", "g = _, _\ng = _, _\n", Code::DuplicateDefinition, 7),
        ];
        for (from, to, code, line) in rows {
            let found = codes(&GOOD.replace(from, to), Dialect::Strict);
            assert_eq!(found.first(), Some(&(*code, *line)), "{to}");
        }
    }

    #[test]
    fn every_error_is_reported_in_one_load() {
        let text = GOOD.replace("g = _, _", "g = _").replace("p.obj", "p.objj");
        assert_eq!(codes(&text, Dialect::Strict).len(), 3);
    }

    #[test]
    fn casbin_minds_the_blanks_of_an_effect() {
        let text = GOOD.replace("some(where (p.eft == allow))", "some(where(p.eft==allow))");
        assert_eq!(codes(&text, Dialect::Strict), []);
        assert_eq!(codes(&text, Dialect::CasbinRs), [(Code::UnknownEffect, 8)]);
    }
}
