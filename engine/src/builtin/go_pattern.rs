//! Patterns as Casbin for Go reads them, for the dialect of its name: the regular expressions that it makes of paths,
//! and the groups that it asks them for.

use crate::bounds::REGEX_BYTES_MAX;
use crate::builtin::casbin_pattern::{Captures, nearest, replaced};
use crate::builtin::go_glob;
use crate::builtin::go_regex::translated;
use crate::builtin::key_get::Getter;
use crate::builtin::pattern::{Pattern, PatternError, bad, regex};
use crate::expr::ast::Function;
use regex_automata::meta;
use std::ops::Range;

/// Compiles `text` as the pattern argument of `function`.
pub(super) fn compile(function: Function, text: &str) -> Result<Pattern, PatternError> {
    match function {
        Function::KeyMatch2 => go_regex(&colons(text, "[^/]+").0),
        Function::KeyMatch3 => go_regex(&braces(text, "[^/]+").0),
        Function::KeyMatch4 => {
            let (expression, names) = braces(text, "([^/]+)");
            let expression = translated(&expression).map_err(bad)?;
            Captures::compile(&expression, &names)
        }
        Function::KeyMatch5 => {
            let inner = go_regex(&braces(text, "[^/]+").0)?;
            Ok(Pattern::WithoutQuery(Box::new(inner)))
        }
        Function::GlobMatch => regex(&go_glob::expression(text).map_err(bad)?),
        Function::KeyGet2 => getter(colons(text, "([^/]+)")),
        Function::KeyGet3 => getter(named(text, "([^/]+?)", nearest)),
        _ => go_regex(text),
    }
}

fn go_regex(expression: &str) -> Result<Pattern, PatternError> {
    regex(&translated(expression).map_err(bad)?)
}

fn getter((expression, names): (String, Vec<String>)) -> Result<Pattern, PatternError> {
    let expression = translated(&expression).map_err(bad)?;
    let limit = meta::Config::new().nfa_size_limit(Some(REGEX_BYTES_MAX));
    let regex = meta::Builder::new().configure(limit).build(&expression);
    let regex = regex
        .map_err(|_| bad(format!("the pattern does not compile within {REGEX_BYTES_MAX} bytes")))?;
    Ok(Pattern::Get(Box::new(Getter::groups(names, Some(Box::new(regex))))))
}

/// From a brace to the last one of its segment with something between them.
fn braces(pattern: &str, by: &str) -> (String, Vec<String>) {
    named(pattern, by, |behind| {
        let first = behind.chars().next().filter(|c| *c != '/')?.len_utf8();
        let segment = behind.split('/').next().unwrap_or("");
        segment.get(first..)?.rfind('}').map(|end| first + end)
    })
}

/// The expression, each name replaced, and the names.
fn named(pattern: &str, by: &str, end: impl Fn(&str) -> Option<usize>) -> (String, Vec<String>) {
    let pattern = pattern.replace("/*", "/.*");
    let (expression, names) = replaced(&pattern, by, end);
    let text = |name: Range<usize>| pattern.get(name).unwrap_or("").to_owned();
    (expression, names.into_iter().map(text).collect())
}

/// The same with `:name` up to the next slash.
fn colons(pattern: &str, by: &str) -> (String, Vec<String>) {
    let pattern = pattern.replace("/*", "/.*");
    let (mut expression, mut names) = (String::from("^"), Vec::new());
    let mut rest = pattern.as_str();
    while let Some((before, behind)) = rest.split_once(':') {
        let name = behind.split('/').next().unwrap_or("");
        expression.push_str(before);
        expression.push_str(if name.is_empty() { ":" } else { by });
        if !name.is_empty() {
            names.push(name.to_owned());
        }
        rest = behind.get(name.len()..).unwrap_or("");
    }
    (expression + rest + "$", names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_go_makes_of_them() {
        assert_eq!(colons("/:a/x:b:c/:/*", "N").0, "^/N/xN/:/.*$");
        assert_eq!(braces("/{a}_{b}/{}/*", "N").0, "^/N/{}/.*$");
        assert_eq!(braces("/{}x}/{", "N").0, "^/N/{$");
        let (expression, names) = braces("/{id}/x/{id}_{é}", "N");
        assert_eq!((expression.as_str(), names), ("^/N/x/N$", vec!["id".into(), "id}_{é".into()]));
    }
}
