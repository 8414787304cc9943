//! Patterns as casbin-rs reads them, for the dialect of its name: the regular expressions that it makes of paths, its
//! groups, globset's bytes.

use crate::bounds::REGEX_BYTES_MAX;
use crate::builtin::pattern::{Pattern, PatternError, automaton, bad, regex};
use crate::diagnostic::Code;
use crate::expr::ast::Function;
use globset::GlobBuilder;
use regex_automata::meta;
use regex_automata::util::syntax;
use std::ops::Range;

/// Matches no text.
const NOTHING: &str = "[^\\s\\S]";

/// An expression of which some groups must have found equal texts: keyMatch4 of both of Casbin's engines.
#[derive(Debug, Clone)]
pub(crate) struct Captures {
    regex: meta::Regex,
    /// Pairs of groups.
    equal: Vec<(usize, usize)>,
}

/// Compiles `text` as the pattern argument of `function`.
pub(super) fn compile(function: Function, text: &str) -> Result<Pattern, PatternError> {
    match function {
        Function::KeyMatch2 => regex(&key_match2(text)),
        Function::KeyMatch3 => regex(&key_match3(text)),
        Function::KeyMatch4 => {
            let (expression, names) = key_match4(text);
            match regex_syntax::parse(&expression) {
                Ok(_) => Captures::compile(&expression, &names),
                // casbin-rs lets a pattern that is no expression match nothing.
                Err(_) => regex(NOTHING),
            }
        }
        Function::KeyMatch5 => {
            let inner = regex(&key_match5(text))?;
            Ok(Pattern::WithoutQuery(Box::new(inner)))
        }
        Function::GlobMatch => casbin_glob(text),
        _ => regex(text),
    }
}

impl Captures {
    /// keyMatch4: an expression with a group for each name; one with groups of its own makes Casbin panic and is
    /// refused here.
    pub(super) fn compile(expression: &str, names: &[String]) -> Result<Pattern, PatternError> {
        let hir = regex_syntax::parse(expression)
            .map_err(|_| bad("the pattern is no regular expression".to_owned()))?;
        if hir.properties().explicit_captures_len() != names.len() {
            return Err(bad("a keyMatch4 pattern has no groups but its names".to_owned()));
        }
        let first = |name: &String| names.iter().position(|known| known == name).unwrap_or(0);
        let equal: Vec<(usize, usize)> = names
            .iter()
            .enumerate()
            .map(|(at, name)| (first(name) + 1, at + 1))
            .filter(|(first, at)| first != at)
            .collect();
        if equal.is_empty() {
            return regex(expression);
        }
        let limit = meta::Config::new().nfa_size_limit(Some(REGEX_BYTES_MAX));
        let regex = meta::Builder::new().configure(limit).build(expression);
        let regex = regex.map_err(|error| PatternError {
            code: Code::PatternTooLarge,
            message: format!(
                "the pattern needs an automaton beyond {REGEX_BYTES_MAX} bytes ({error})"
            ),
        })?;
        Ok(Pattern::Captures(Box::new(Captures { regex, equal })))
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        let mut found = self.regex.create_captures();
        self.regex.captures(text, &mut found);
        let group = |at: usize| found.get_group(at).and_then(|span| text.get(span.range()));
        found.is_match() && self.equal.iter().all(|(first, at)| group(*first) == group(*at))
    }
}

/// A glob as globset reads it for casbin-rs: by bytes.
fn casbin_glob(text: &str) -> Result<Pattern, PatternError> {
    let glob = GlobBuilder::new(text).literal_separator(true).build();
    let glob = glob.map_err(|error| bad(format!("the glob does not load: {}", error.kind())))?;
    // Its expression speaks of bytes, and its points of any.
    automaton(glob.regex(), syntax::Config::new().utf8(false).dot_matches_new_line(true), false)
}

/// `/*` first, as casbin-rs does.
fn with_rests(pattern: &str) -> String {
    pattern.replace("/*", "/.*")
}

/// `:name` up to the next slash, also without a name.
fn key_match2(pattern: &str) -> String {
    let mut expression = String::from("^");
    let replaced = with_rests(pattern);
    let mut chars = replaced.chars().peekable();
    while let Some(c) = chars.next() {
        if c == ':' {
            while chars.next_if(|next| *next != '/').is_some() {}
            expression.push_str("[^/]+");
        } else {
            expression.push(c);
        }
    }
    expression.push('$');
    expression
}

/// From a brace to the last one of its segment, also with nothing between them.
fn key_match3(pattern: &str) -> String {
    replaced(&with_rests(pattern), "[^/]+", |behind| {
        let segment = behind.split('/').next().unwrap_or("");
        segment.rfind('}')
    })
    .0
}

/// From a brace to the next one with something between them.
fn key_match5(pattern: &str) -> String {
    replaced(&with_rests(pattern), "[^/]+", nearest).0
}

/// The same with a group for each name, and the names.
fn key_match4(pattern: &str) -> (String, Vec<String>) {
    let pattern = with_rests(pattern);
    let (expression, names) = replaced(&pattern, "([^/]+)", nearest);
    (expression, names.into_iter().map(|name| pattern.get(name).unwrap_or("").to_owned()).collect())
}

/// Where the brace is that ends a name: what is behind the opening one begins with one character at least.
pub(super) fn nearest(behind: &str) -> Option<usize> {
    let first = behind.chars().next().filter(|c| *c != '/')?;
    let rest = behind.get(first.len_utf8()..)?;
    let end = rest.find(['/', '}'])?;
    rest.get(end..)?.starts_with('}').then_some(first.len_utf8() + end)
}

/// Each brace for which `end` finds its partner is replaced; answers where the names were.
pub(super) fn replaced(
    pattern: &str,
    by: &str,
    end: impl Fn(&str) -> Option<usize>,
) -> (String, Vec<Range<usize>>) {
    let (mut expression, mut names) = (String::from("^"), Vec::new());
    let mut at = 0;
    while let Some(c) = pattern.get(at..).and_then(|rest| rest.chars().next()) {
        let behind = at + c.len_utf8();
        let found = if c == '{' { pattern.get(behind..).and_then(&end) } else { None };
        match found {
            Some(length) => {
                names.push(behind..behind + length);
                expression.push_str(by);
                at = behind + length + 1;
            }
            None => {
                expression.push(c);
                at = behind;
            }
        }
    }
    expression.push('$');
    (expression, names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_are_what_casbin_rs_makes_of_them() {
        assert_eq!(key_match3("/{a}_{b}/{}/*"), "^/[^/]+/[^/]+/.*$");
        assert_eq!(key_match5("/{a}_{b}/{}/*"), "^/[^/]+_[^/]+/{}/.*$");
        assert_eq!(key_match5("/{}x}/{"), "^/[^/]+/{$");
        let (expression, names) = key_match4("/{id}/x/{id}_{é}");
        assert_eq!(expression, "^/([^/]+)/x/([^/]+)_([^/]+)$");
        assert_eq!(names, ["id", "id", "é"]);
    }
}
