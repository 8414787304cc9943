//! Patterns compiled at load: keyMatch2 to 5, globMatch and regexMatch, as steps or as a dense automaton.
//!
//! An automaton is searched without allocation and within a size cap; what exceeds the cap, or
//! needs Unicode word boundaries, is refused when the policy loads.

use crate::bounds::{PATTERN_BYTES_MAX, REGEX_BYTES_MAX};
use crate::builtin::braces::{self, Part, Repeated};
use crate::builtin::casbin_pattern::{self, Captures};
use crate::builtin::key_get::Getter;
use crate::builtin::key_match::PathPattern;
use crate::builtin::{glob, go_pattern};
use crate::diagnostic::Code;
use crate::dialect::Dialect;
use crate::expr::ast::Function;
use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::util::syntax;
use regex_automata::{Input, nfa::thompson};

/// A compiled pattern.
#[derive(Debug, Clone)]
pub(crate) enum Pattern {
    Path(PathPattern),
    Regex(Box<dense::DFA<Vec<u32>>>),
    /// keyMatch4 where a name is repeated.
    Repeated(Box<Repeated>),
    /// The same as Casbin reads it.
    Captures(Box<Captures>),
    /// keyMatch5: what stands behind the first `?` is not looked at.
    WithoutQuery(Box<Pattern>),
    /// keyGet2 and keyGet3.
    Get(Box<Getter>),
}

/// Why a pattern does not compile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PatternError {
    pub(crate) code: Code,
    pub(crate) message: String,
}

impl Pattern {
    /// Compiles `text` as the pattern argument of `function`.
    pub(crate) fn compile(
        function: Function,
        text: &str,
        dialect: Dialect,
    ) -> Result<Pattern, PatternError> {
        if text.len() > PATTERN_BYTES_MAX {
            let (code, len) = (Code::PatternTooLarge, text.len());
            let message =
                format!("the pattern has {len} bytes, at most {PATTERN_BYTES_MAX} are allowed");
            return Err(PatternError { code, message });
        }
        let get = |getter| Pattern::Get(Box::new(getter));
        match dialect {
            Dialect::Strict if function.gets_a_name() => Getter::strict(function, text).map(get),
            Dialect::CasbinRs if function.gets_a_name() => Getter::casbin(function, text).map(get),
            Dialect::CasbinGo => go_pattern::compile(function, text),
            Dialect::Strict => Pattern::strict(function, text),
            Dialect::CasbinRs => casbin_pattern::compile(function, text),
        }
    }

    fn strict(function: Function, text: &str) -> Result<Pattern, PatternError> {
        match function {
            Function::KeyMatch2 => PathPattern::compile(text).map(Pattern::Path).map_err(|c| {
                bad(format!("`{c}` has no meaning in a path pattern; use :name, /* or regexMatch"))
            }),
            Function::KeyMatch3 => with_braces(&braces::parse(text).map_err(bad)?),
            Function::KeyMatch4 => {
                let parts = braces::parse(text).map_err(bad)?;
                match Repeated::of(&parts).map_err(bad)? {
                    Some(repeated) => Ok(Pattern::Repeated(Box::new(repeated))),
                    None => with_braces(&parts),
                }
            }
            Function::KeyMatch5 => {
                let inner = with_braces(&braces::parse(text).map_err(bad)?)?;
                Ok(Pattern::WithoutQuery(Box::new(inner)))
            }
            Function::GlobMatch => regex(&glob::expression(text).map_err(bad)?),
            _ => regex(text),
        }
    }

    /// Bytes of its automaton; 0 if it has none.
    pub(crate) fn automaton_bytes(&self) -> usize {
        match self {
            Pattern::Regex(dfa) => dfa.memory_usage(),
            Pattern::WithoutQuery(inner) => inner.automaton_bytes(),
            // Built as they are searched, within the same bound.
            Pattern::Captures(_) | Pattern::Get(_) => REGEX_BYTES_MAX / 16,
            Pattern::Path(_) | Pattern::Repeated(_) => 0,
        }
    }

    /// The bytes that every match begins with, as far as they are known.
    pub(crate) fn prefix(&self) -> &[u8] {
        match self {
            Pattern::Path(path) => path.prefix(),
            Pattern::WithoutQuery(inner) => inner.prefix(),
            Pattern::Regex(_) | Pattern::Repeated(_) | Pattern::Captures(_) | Pattern::Get(_) => {
                &[]
            }
        }
    }

    /// The steps of a path pattern, for `path_matches`.
    pub(crate) fn steps(&self) -> &[u8] {
        match self {
            Pattern::Path(path) => path.steps(),
            _ => &[],
        }
    }

    /// What `name` stands for in `text`; `None` if this pattern cannot be asked for names.
    pub(crate) fn get<'t>(&self, text: &'t str, name: &str) -> Option<&'t str> {
        match self {
            Pattern::Get(getter) => Some(getter.get(text, name)),
            _ => None,
        }
    }

    /// Whether `text` matches; `None` if the automaton gave up.
    pub(crate) fn matches(&self, text: &str) -> Option<bool> {
        match self {
            Pattern::Path(path) => Some(path.matches(text)),
            Pattern::Regex(dfa) => {
                dfa.try_search_fwd(&Input::new(text)).ok().map(|found| found.is_some())
            }
            Pattern::Get(_) => None,
            Pattern::Repeated(repeated) => Some(repeated.matches(text)),
            Pattern::Captures(captures) => Some(captures.matches(text)),
            Pattern::WithoutQuery(inner) => {
                inner.matches(text.split_once('?').map_or(text, |(path, _)| path))
            }
        }
    }
}

pub(super) fn bad(message: String) -> PatternError {
    PatternError { code: Code::BadPattern, message }
}

/// Steps where each name is a whole segment, otherwise an automaton.
fn with_braces(parts: &[Part]) -> Result<Pattern, PatternError> {
    match braces::as_path(parts) {
        Some(path) => Ok(Pattern::Path(path)),
        None => regex(&braces::as_expression(parts)),
    }
}

pub(super) fn regex(text: &str) -> Result<Pattern, PatternError> {
    automaton(text, syntax::Config::new(), true)
}

pub(super) fn automaton(
    text: &str,
    syntax: syntax::Config,
    utf8: bool,
) -> Result<Pattern, PatternError> {
    let dfa = dense::Builder::new()
        .configure(
            dense::Config::new()
                .start_kind(StartKind::Unanchored)
                .dfa_size_limit(Some(REGEX_BYTES_MAX))
                .determinize_size_limit(Some(2 * REGEX_BYTES_MAX)),
        )
        .thompson(thompson::Config::new().nfa_size_limit(Some(REGEX_BYTES_MAX)).utf8(utf8))
        .syntax(syntax)
        .build(text)
        .map_err(|error| refusal(text, &error))?;
    Ok(Pattern::Regex(Box::new(dfa)))
}

fn refusal(text: &str, error: &dense::BuildError) -> PatternError {
    let too_large = regex_syntax::parse(text).is_ok();
    let code = if too_large { Code::PatternTooLarge } else { Code::BadPattern };
    let message = match too_large {
        true => format!(
            "the pattern needs an automaton beyond {REGEX_BYTES_MAX} bytes or a Unicode word \
             boundary ({error})"
        ),
        false => "the pattern is no regular expression".to_owned(),
    };
    PatternError { code, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_bounded_as_it_is_written() {
        let message = |function, len: usize, dialect| {
            let refused = Pattern::compile(function, &"a".repeat(len), dialect).err();
            refused.map(|e| e.message).unwrap_or_default()
        };
        for function in [Function::RegexMatch, Function::KeyMatch2, Function::GlobMatch] {
            for dialect in [Dialect::Strict, Dialect::CasbinRs] {
                let (within, beyond) = (PATTERN_BYTES_MAX, PATTERN_BYTES_MAX + 1);
                assert!(!message(function, within, dialect).starts_with("the pattern has"));
                assert!(message(function, beyond, dialect).starts_with("the pattern has 4097"));
            }
        }
        let longest = message(Function::KeyMatch2, PATTERN_BYTES_MAX, Dialect::Strict);
        assert_eq!(longest, "", "what is not a regular expression is accepted up to the bound");
    }

    #[test]
    fn patterns_are_refused_with_their_code() {
        let code = |text: &str| {
            Pattern::compile(Function::RegexMatch, text, Dialect::Strict).map_err(|e| e.code).err()
        };
        assert_eq!(code("^/v1/[a-z]+$"), None);
        assert_eq!(code("(unclosed"), Some(Code::BadPattern));
        assert_eq!(code(r"\bword\b"), Some(Code::PatternTooLarge));
        assert_eq!(code(r"(\w{50}){50}"), Some(Code::PatternTooLarge));
    }

    /// Text, function, pattern, what `strict` and `casbin-rs` answer; `None` does not load.
    #[test]
    fn each_function_in_both_dialects() {
        use Function::{GlobMatch, KeyMatch3, KeyMatch4, KeyMatch5};
        let (yes, no) = (Some(true), Some(false));
        for (text, function, pattern, strict, casbin) in [
            ("/x/1", KeyMatch3, "/x/{id}", yes, yes),
            ("/x/", KeyMatch3, "/x/{id}", no, no),
            ("/x/1/2", KeyMatch3, "/x/{id}", no, no),
            ("/x/1/2", KeyMatch3, "/x/*", yes, yes),
            ("/proj_7_admin/", KeyMatch3, "/proj_{p}_admin/", yes, yes),
            ("/proj__admin/", KeyMatch3, "/proj_{p}_admin/", no, no),
            ("/a_b", KeyMatch3, "/{a}_{b}", yes, yes),
            ("/ab", KeyMatch3, "/{a}_{b}", no, yes),
            ("/axb", KeyMatch3, "/a.b", no, yes),
            ("/x", KeyMatch3, "/{}", None, yes),
            ("/p/1/c/1", KeyMatch4, "/p/{id}/c/{id}", yes, yes),
            ("/p/1/c/2", KeyMatch4, "/p/{id}/c/{id}", no, no),
            ("/p/1/c/2", KeyMatch4, "/p/{a}/c/{b}", yes, yes),
            ("/x_x", KeyMatch4, "/{a}_{a}", None, yes),
            ("/x_y", KeyMatch4, "/{a}_{a}", None, no),
            ("/x", KeyMatch4, "/(x)", None, None),
            ("/x", KeyMatch4, "/(x", None, no),
            ("/x/1?a=/b", KeyMatch5, "/x/{id}", yes, yes),
            ("/x?a=1", KeyMatch5, "/x", yes, yes),
            ("/x/1/y?z", KeyMatch5, "/x/{id}", no, no),
            ("/x?y", KeyMatch3, "/x", no, no),
            ("/a/b", GlobMatch, "/a/*", yes, yes),
            ("/a/b/c", GlobMatch, "/a/*", no, no),
            ("/a/b/c", GlobMatch, "/a/**", yes, yes),
            ("/a/b/c", GlobMatch, "/**/c", yes, yes),
            ("/a/é", GlobMatch, "/a/?", yes, no),
            ("/a/x", GlobMatch, "/{a,b}/[xy]", yes, yes),
            ("/c/x", GlobMatch, "/{a,b}/[xy]", no, no),
            ("/a", GlobMatch, "/[a", None, None),
        ] {
            for (dialect, expected) in [(Dialect::Strict, strict), (Dialect::CasbinRs, casbin)] {
                let pattern = Pattern::compile(function, pattern, dialect);
                let found = pattern.ok().and_then(|pattern| pattern.matches(text));
                assert_eq!(found, expected, "{dialect:?} {function:?} {text}");
            }
        }
    }

    #[test]
    fn casbin_key_match2_keeps_live_characters() {
        let pattern =
            |text| Pattern::compile(Function::KeyMatch2, text, Dialect::CasbinRs).unwrap();
        assert_eq!(pattern("/a.b").matches("/axb"), Some(true));
        assert_eq!(pattern("/x/:").matches("/x/y"), Some(true));
        assert_eq!(pattern("/x/*").matches("/x/"), Some(true));
    }
}
