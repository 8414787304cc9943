//! keyGet, keyGet2 and keyGet3: the part of a text that a place of the pattern stands for; empty if the text does not
//! match or the pattern has no such place.
//!
//! keyGet gives what stands in the place of the first `*`. In `strict` a name of keyGet2 (`:name`) and keyGet3
//! (`{name}`) is a whole segment and stands before any `/*`, so that nobody can read the text in two ways.

use crate::bounds::REGEX_BYTES_MAX;
use crate::builtin::braces::{self, Part};
use crate::builtin::key_match::PathPattern;
use crate::builtin::pattern::{PatternError, bad};
use crate::diagnostic::Code;
use crate::expr::ast::Function;
use regex_automata::meta;

/// What stands in the place of the pattern's first `*`.
pub(crate) fn key_get<'t>(text: &'t str, pattern: &str) -> &'t str {
    let prefix = pattern.split_once('*').map(|(prefix, _)| prefix);
    prefix.and_then(|prefix| text.strip_prefix(prefix)).unwrap_or("")
}

/// A pattern whose names can be asked for.
#[derive(Debug, Clone)]
pub(crate) struct Getter {
    names: Vec<String>,
    places: Places,
}

#[derive(Debug, Clone)]
enum Places {
    /// Each name is the segment of this number, counted from the first slash.
    Segments { path: PathPattern, at: Vec<usize> },
    /// Casbin: each name is a group of the expression; `None` matches nothing.
    Groups(Option<Box<meta::Regex>>),
}

impl Getter {
    /// The pattern as `strict` reads it.
    pub(super) fn strict(function: Function, pattern: &str) -> Result<Getter, PatternError> {
        let braces = match function {
            Function::KeyGet2 => with_braces(pattern).map_err(bad)?,
            _ => pattern.to_owned(),
        };
        let parts = braces::parse(&braces).map_err(bad)?;
        let Some(path) = braces::as_path(&parts) else {
            return Err(bad("each name must be a whole segment of the path".to_owned()));
        };
        let (mut names, mut at, mut slashes) = (Vec::new(), Vec::new(), 0);
        for (position, part) in parts.iter().enumerate() {
            match part {
                Part::Text(text) => slashes += text.matches('/').count(),
                Part::Name(name) => {
                    names.push(name.clone());
                    at.push(slashes);
                }
                Part::Rest if parts.iter().skip(position).any(|p| matches!(p, Part::Name(_))) => {
                    return Err(bad("a name cannot stand behind `/*`".to_owned()));
                }
                Part::Rest => {}
            }
        }
        Ok(Getter { names, places: Places::Segments { path, at } })
    }

    /// The pattern as casbin-rs reads it.
    pub(super) fn casbin(function: Function, pattern: &str) -> Result<Getter, PatternError> {
        let (open, close) =
            if function == Function::KeyGet2 { (':', None) } else { ('{', Some('}')) };
        let (mut names, mut expression) = (Vec::new(), String::from("^"));
        let replaced = pattern.replace("/*", "/.*");
        let mut rest = replaced.as_str();
        while let Some(c) = rest.chars().next() {
            let behind = rest.get(c.len_utf8()..).unwrap_or("");
            let name = (c == open).then(|| name_of(behind, close)).flatten();
            rest = match name {
                Some(name) => {
                    names.push(name.to_owned());
                    expression.push_str(if close.is_some() { "([^/]+?)" } else { "([^/]+)" });
                    behind.get(name.len() + close.map_or(0, char::len_utf8)..).unwrap_or("")
                }
                None => {
                    let is_brace = c == '{' && close.is_some();
                    expression.push_str(if is_brace { "\\" } else { "" });
                    expression.push(c);
                    behind
                }
            };
        }
        expression.push('$');
        let limit = meta::Config::new().nfa_size_limit(Some(REGEX_BYTES_MAX));
        let regex = match meta::Builder::new().configure(limit).build(&expression) {
            Ok(regex) => Some(Box::new(regex)),
            // keyGet3 panics over it.
            Err(error) if close.is_some() || error.syntax_error().is_none() => {
                let message =
                    format!("the pattern does not compile within {REGEX_BYTES_MAX} bytes");
                return Err(PatternError { code: Code::BadPattern, message });
            }
            Err(_) => None,
        };
        Ok(Getter::groups(names, regex))
    }

    /// Names that are the groups of an expression.
    pub(super) fn groups(names: Vec<String>, regex: Option<Box<meta::Regex>>) -> Getter {
        Getter { names, places: Places::Groups(regex) }
    }

    /// What `name` stands for in `text`.
    pub(crate) fn get<'t>(&self, text: &'t str, name: &str) -> &'t str {
        let Some(index) = self.names.iter().position(|known| known == name) else { return "" };
        match &self.places {
            Places::Segments { path, at } => {
                let segment = at.get(index).filter(|_| path.matches(text));
                segment.and_then(|at| text.split('/').nth(*at)).unwrap_or("")
            }
            Places::Groups(None) => "",
            Places::Groups(Some(regex)) => {
                let mut found = regex.create_captures();
                regex.captures(text, &mut found);
                let span = found.get_group(index + 1);
                span.and_then(|span| text.get(span.range())).unwrap_or("")
            }
        }
    }
}

/// The name at the start of `text`: up to the first slash, or up to `close` in the same segment.
fn name_of(text: &str, close: Option<char>) -> Option<&str> {
    let segment = text.split('/').next().unwrap_or("");
    let name = match close {
        None => segment,
        // At least one character, whatever it is: `{}}` is named `}`.
        Some(close) => {
            let first = segment.chars().next()?.len_utf8();
            let end = segment.get(first..)?.find(close)? + first;
            segment.get(..end)?
        }
    };
    (!name.is_empty()).then_some(name)
}

/// `:name` as `{name}`.
fn with_braces(pattern: &str) -> Result<String, String> {
    let segment = |segment: &str| match segment.strip_prefix(':') {
        Some(name) => Ok(format!("{{{name}}}")),
        None if segment.contains([':', '{']) => {
            Err(format!("expected a name such as :id as a whole segment, got `{segment}`"))
        }
        None => Ok(segment.to_owned()),
    };
    let segments: Result<Vec<String>, String> = pattern.split('/').map(segment).collect();
    Ok(segments?.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_get_gives_what_the_star_stands_for() {
        for (text, pattern, expected) in [
            ("/foo/bar", "/foo/*", "bar"),
            ("/foo/bar", "/foo*", "/bar"),
            ("/foo", "/foo*", ""),
            ("/foo/bar", "/foo", ""),
            ("/other", "/foo/*", ""),
            ("é", "x*", ""),
        ] {
            assert_eq!(key_get(text, pattern), expected, "{text} {pattern}");
        }
    }

    /// Text, function, pattern, name, what `strict` and `casbin-rs` answer; `None` does not load.
    #[test]
    fn names_are_segments_in_strict_and_groups_in_casbin() {
        use Function::{KeyGet2, KeyGet3};
        for (text, function, pattern, name, strict, casbin) in [
            ("/x/1", KeyGet2, "/x/:id", "id", Some("1"), Some("1")),
            ("/x/1/y", KeyGet2, "/x/:id/*", "id", Some("1"), Some("1")),
            ("/x/1", KeyGet2, "/x/:id", "no", Some(""), Some("")),
            ("/y/1", KeyGet2, "/x/:id", "id", Some(""), Some("")),
            ("/x/1/2", KeyGet2, "/x/:a/:b", "b", Some("2"), Some("2")),
            ("/a/b/1", KeyGet2, "/*/:id", "id", None, Some("1")),
            ("/x1", KeyGet2, "/x:id", "id", None, Some("1")),
            ("/x/1", KeyGet2, "/(x/:id", "id", None, Some("")),
            ("/x/1", KeyGet3, "/x/{id}", "id", Some("1"), Some("1")),
            ("/proj_7_admin", KeyGet3, "/proj_{p}_admin", "p", None, Some("7")),
            ("/x/1", KeyGet3, "/(x/{id}", "id", None, None),
        ] {
            let both = [Getter::strict(function, pattern), Getter::casbin(function, pattern)];
            for (getter, expected) in both.iter().zip([strict, casbin]) {
                let found = getter.as_ref().ok().map(|getter| getter.get(text, name));
                assert_eq!(found, expected, "{function:?} {pattern} {text}");
            }
        }
    }
}
