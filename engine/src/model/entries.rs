//! model.conf as entries: sections, keys, values and where each piece of a value stands.

use crate::diagnostic::{Code, Diagnostic, Diagnostics, Source, Span};
use crate::dialect::Dialect;

/// Which role functions match names by patterns, and with which function: `g2 = keyMatch2`.
pub(super) const ROLE_PATTERNS: &str = "role_patterns";
/// The same for the tenants of links.
pub(super) const DOMAIN_PATTERNS: &str = "domain_patterns";

pub(super) const SECTIONS: &[(&str, &str)] = &[
    ("request_definition", "r"),
    ("policy_definition", "p"),
    ("role_definition", "g"),
    (ROLE_PATTERNS, ROLE_PATTERNS),
    (DOMAIN_PATTERNS, DOMAIN_PATTERNS),
    ("policy_effect", "e"),
    ("matchers", "m"),
];

/// One `key = value`; a value of several lines keeps where each piece came from.
pub(super) struct Entry {
    pub(super) section: &'static str,
    pub(super) key: String,
    pub(super) value: String,
    pub(super) pieces: Vec<(usize, usize)>,
    pub(super) span: Span,
}

/// What was read, and what is wrong with it.
pub(super) struct Reader<'a> {
    pub(super) source: Source<'a>,
    pub(super) dialect: Dialect,
    pub(super) entries: Vec<Entry>,
    pub(super) diagnostics: Diagnostics,
}

impl<'a> Reader<'a> {
    pub(super) fn error(&mut self, part: &str, code: Code, message: impl Into<String>) {
        self.diagnostic(self.source.span_of(part), code, message, None);
    }

    pub(super) fn diagnostic(
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

    pub(super) fn read(&mut self) {
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
        let is_ours = [ROLE_PATTERNS, DOMAIN_PATTERNS].contains(&name);
        let mut known = SECTIONS.iter().filter(|_| self.dialect == Dialect::Strict || !is_ours);
        let found = known.find(|(known, _)| *known == name).map(|(_, key)| *key);
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
            let is_go = self.dialect == Dialect::CasbinGo;
            if is_go && !places.is_empty() {
                value.push(' ');
            }
            places.push((value.len(), self.source.span_of(piece).start));
            // Go ends each line at a comment.
            let end = piece.find(['#', ';']).filter(|_| is_go).unwrap_or(piece.len());
            value.push_str(piece.get(..end).unwrap_or(piece));
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
        let is_pattern = [ROLE_PATTERNS, DOMAIN_PATTERNS].contains(&entry.section);
        let letter = if is_pattern { "g" } else { entry.section };
        let suffix = entry.key.strip_prefix(letter);
        let numbered = suffix.is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit()));
        if !numbered {
            let message = format!("this section defines `{letter}`, not `{}`", entry.key);
            return self.diagnostic(entry.span, Code::UnknownKey, message, None);
        }
        let first = self
            .entries
            .iter()
            .position(|known| (known.section, &known.key) == (entry.section, &entry.key));
        match (first, self.dialect) {
            (Some(_), Dialect::Strict) => {
                let message = format!("`{}` is defined twice", entry.key);
                self.diagnostic(entry.span, Code::DuplicateDefinition, message, None);
            }
            (Some(index), Dialect::CasbinRs | Dialect::CasbinGo) => {
                if let Some(known) = self.entries.get_mut(index) {
                    *known = entry;
                }
            }
            (None, _) => self.entries.push(entry),
        }
    }
}

fn is_blank(line: &str) -> bool {
    line.is_empty() || line.starts_with(['#', ';'])
}
