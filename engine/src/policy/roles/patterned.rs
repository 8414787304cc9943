//! Links that write patterns: a name stands under every pattern that it matches, a link of a
//! pattern of tenants holds in each that matches it.

use crate::bounds::{DOMAIN_PATTERNS_MAX, ROLE_PATTERNS_MAX, ROLES_PER_SUBJECT_MAX};
use crate::builtin::key_match::key_match;
use crate::builtin::pattern::Pattern;
use crate::diagnostic::{Code, Diagnostic, Diagnostics, Source};
use crate::dialect::Dialect;
use crate::expr::ast::Function;
use crate::model::RoleDefinition;
use crate::policy::rows::Row;
use crate::text::Texts;
use std::ops::Range;

/// Whether a text of a link is a pattern to a function, not a name.
pub(crate) fn is_pattern(function: Function, text: &str) -> bool {
    let characters: &[char] = match function {
        Function::KeyMatch => &['*'],
        Function::KeyMatch2 => &['*', ':'],
        Function::GlobMatch => &['*', '?', '[', '{'],
        _ => &['*', '{'],
    };
    text.contains(characters)
}

/// A text of a link, compiled.
#[derive(Debug, Clone)]
enum Matcher {
    KeyMatch(String),
    Compiled(Pattern),
}

impl Matcher {
    fn compile(function: Function, text: &str) -> Result<Matcher, (Code, String)> {
        match function {
            Function::KeyMatch => Ok(Matcher::KeyMatch(text.to_owned())),
            _ => Pattern::compile(function, text, Dialect::Strict)
                .map(Matcher::Compiled)
                .map_err(|error| (error.code, error.message)),
        }
    }

    fn matches(&self, text: &str) -> bool {
        match self {
            Matcher::KeyMatch(pattern) => key_match(text, pattern),
            Matcher::Compiled(pattern) => pattern.matches(text) == Some(true),
        }
    }
}

/// Whether a link of the tenant pattern `pattern` holds in `tenant`.
pub(crate) fn holds_in(function: Function, pattern: &str, tenant: &str) -> bool {
    is_pattern(function, pattern)
        && Matcher::compile(function, pattern).is_ok_and(|matcher| matcher.matches(tenant))
}

/// Whether links of a definition write patterns.
pub(crate) fn writes_patterns(role: &RoleDefinition, rows: &[Row<'_>]) -> bool {
    let any = |function: Option<Function>, cells: Range<usize>| {
        let mut texts = rows.iter().flat_map(|row| row.cells.get(cells.clone()).unwrap_or(&[]));
        function.is_some_and(|function| texts.any(|text| is_pattern(function, text)))
    };
    any(role.name_pattern, 0..2) || any(role.domain_pattern, 2..3)
}

/// A pattern, and the line of the first link that writes it.
#[derive(Debug, Clone)]
struct Written {
    id: u32,
    line: u32,
    matcher: Matcher,
}

/// The patterns that the links of one role definition write.
#[derive(Debug, Clone)]
pub(super) struct Patterned {
    names: Vec<Written>,
    domains: Vec<Written>,
    /// Every name of a link, sorted: what these match is known.
    linked: Vec<u32>,
}

impl Patterned {
    /// `None` if no link writes a pattern.
    pub(super) fn build(
        role: &RoleDefinition,
        rows: &[Row<'_>],
        texts: &mut Texts,
        source: Source<'_>,
        diagnostics: &mut Diagnostics,
    ) -> Option<Patterned> {
        let mut compile = |function: Option<Function>, cells: Range<usize>, most: usize| {
            let function = function?;
            let mut found: Vec<Written> = Vec::new();
            let written = rows.iter().flat_map(|row| {
                let texts = row.cells.get(cells.clone()).unwrap_or(&[]);
                texts.iter().map(|text| (row.line, *text))
            });
            for (line, text) in written.filter(|(_, text)| is_pattern(function, text)) {
                let id = texts.intern(text);
                if found.iter().any(|known| known.id == id) {
                    continue;
                }
                let refused = match Matcher::compile(function, text) {
                    Ok(_) if found.len() == most => {
                        let name = &role.name;
                        let message = format!("links of `{name}` write more than {most} patterns");
                        Some((Code::BoundExceeded, message))
                    }
                    Ok(matcher) => {
                        found.push(Written { id, line, matcher });
                        None
                    }
                    Err(error) => Some(error),
                };
                if let Some((code, message)) = refused {
                    let span = source.span_of(text);
                    diagnostics.push(Diagnostic::error(source, span, code, message));
                    break;
                }
            }
            Some(found)
        };
        let names = compile(role.name_pattern, 0..2, ROLE_PATTERNS_MAX).unwrap_or_default();
        let domains = compile(role.domain_pattern, 2..3, DOMAIN_PATTERNS_MAX).unwrap_or_default();
        if names.is_empty() && domains.is_empty() {
            return None;
        }
        let cells = rows.iter().flat_map(|row| row.cells.iter().take(2));
        let mut linked: Vec<u32> = cells.map(|text| texts.intern(text)).collect();
        linked.sort_unstable();
        linked.dedup();
        Some(Patterned { names, domains, linked })
    }

    /// Every name of a link with each pattern that it stands under, and the line that writes it.
    pub(super) fn matches<'p>(
        &'p self,
        texts: &'p Texts,
    ) -> impl Iterator<Item = (u32, u32, u32)> + 'p {
        let under = move |name| {
            self.patterns_of(texts.get(name)).map(move |(pattern, line)| (name, pattern, line))
        };
        self.linked.iter().copied().flat_map(under).filter(|(name, pattern, _)| name != pattern)
    }

    pub(super) fn is_linked(&self, name: u32) -> bool {
        self.linked.binary_search(&name).is_ok()
    }

    /// The patterns that a name matches, each with its line.
    pub(super) fn patterns_of<'p>(
        &'p self,
        name: &'p str,
    ) -> impl Iterator<Item = (u32, u32)> + 'p {
        let matching = self.names.iter().filter(move |written| written.matcher.matches(name));
        matching.map(|written| (written.id, written.line))
    }

    /// The tenants of links that hold in a tenant: itself and the patterns that it matches.
    pub(super) fn domains_of(&self, id: Option<u32>, text: &str) -> Domains {
        let mut found = Domains::none();
        let matching = self.domains.iter().filter(|written| written.matcher.matches(text));
        let patterns = matching.map(|written| written.id).filter(|pattern| Some(*pattern) != id);
        for domain in id.into_iter().chain(patterns) {
            found.push(domain);
        }
        found
    }
}

/// Tenants under which links are looked for.
pub(super) struct Domains {
    ids: [u32; DOMAIN_PATTERNS_MAX + 1],
    len: usize,
}

impl Domains {
    pub(super) fn none() -> Domains {
        Domains { ids: [0; DOMAIN_PATTERNS_MAX + 1], len: 0 }
    }

    pub(super) fn one(domain: u32) -> Domains {
        let mut found = Domains::none();
        found.push(domain);
        found
    }

    fn push(&mut self, domain: u32) {
        if let Some(place) = self.ids.get_mut(self.len) {
            *place = domain;
            self.len += 1;
        }
    }

    pub(super) fn all(&self) -> &[u32] {
        self.ids.get(..self.len).unwrap_or(&[])
    }
}

/// Names in the order in which they were reached, each once.
pub(crate) struct Seen {
    names: [u32; ROLES_PER_SUBJECT_MAX],
    len: usize,
}

impl Seen {
    pub(super) fn none() -> Seen {
        Seen { names: [0; ROLES_PER_SUBJECT_MAX], len: 0 }
    }

    /// `None` if there is no place left.
    pub(super) fn see(&mut self, name: u32) -> Option<()> {
        if !self.all().contains(&name) {
            *self.names.get_mut(self.len)? = name;
            self.len += 1;
        }
        Some(())
    }

    pub(crate) fn all(&self) -> &[u32] {
        self.names.get(..self.len).unwrap_or(&[])
    }
}
