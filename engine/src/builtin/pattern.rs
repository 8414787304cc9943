//! Patterns compiled at load: keyMatch2 and regexMatch, as steps or as a dense automaton.
//!
//! An automaton is searched without allocation and within a size cap; what exceeds the cap, or
//! needs Unicode word boundaries, is refused when the policy loads.

use crate::bounds::REGEX_BYTES_MAX;
use crate::builtin::key_match::PathPattern;
use crate::diagnostic::Code;
use crate::dialect::Dialect;
use crate::expr::ast::Function;
use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::util::syntax;
use regex_automata::{Input, nfa::thompson};
use regex_syntax::hir::{Class, Hir, HirKind, Look};

/// Strings that an expression may denote and still count as a small set.
const FINITE_SET_MAX: usize = 16;

/// A compiled pattern.
#[derive(Debug, Clone)]
pub(crate) enum Pattern {
    Path(PathPattern),
    Regex(Box<dense::DFA<Vec<u32>>>),
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
        match (function, dialect) {
            (Function::KeyMatch2, Dialect::Strict) => {
                PathPattern::compile(text).map(Pattern::Path).map_err(|c| PatternError {
                    code: Code::BadPattern,
                    message: format!(
                        "`{c}` has no meaning in a path pattern; use :name, /* or regexMatch"
                    ),
                })
            }
            (Function::KeyMatch2, Dialect::CasbinRs) => regex(&casbin_key_match2(text)),
            _ => regex(text),
        }
    }

    /// The bytes that every match begins with, as far as they are known.
    pub(crate) fn prefix(&self) -> &[u8] {
        match self {
            Pattern::Path(path) => path.prefix(),
            Pattern::Regex(_) => &[],
        }
    }

    /// The steps of a path pattern, for `path_matches`.
    pub(crate) fn steps(&self) -> &[u8] {
        match self {
            Pattern::Path(path) => path.steps(),
            Pattern::Regex(_) => &[],
        }
    }

    /// Whether `text` matches; `None` if the automaton gave up.
    pub(crate) fn matches(&self, text: &str) -> Option<bool> {
        match self {
            Pattern::Path(path) => Some(path.matches(text)),
            Pattern::Regex(dfa) => {
                dfa.try_search_fwd(&Input::new(text)).ok().map(|found| found.is_some())
            }
        }
    }
}

fn regex(text: &str) -> Result<Pattern, PatternError> {
    let dfa = dense::Builder::new()
        .configure(
            dense::Config::new()
                .start_kind(StartKind::Unanchored)
                .dfa_size_limit(Some(REGEX_BYTES_MAX))
                .determinize_size_limit(Some(2 * REGEX_BYTES_MAX)),
        )
        .thompson(thompson::Config::new().nfa_size_limit(Some(REGEX_BYTES_MAX)))
        .syntax(syntax::Config::new())
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

/// The regular expression that casbin-rs makes of a keyMatch2 pattern.
fn casbin_key_match2(pattern: &str) -> String {
    let mut expression = String::from("^");
    let replaced = pattern.replace("/*", "/.*");
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

/// The strings that an anchored expression such as `^(GET|POST)$` denotes, if they are few.
pub(crate) fn finite_set(text: &str) -> Option<Vec<String>> {
    let hir = regex_syntax::parse(text).ok()?;
    let HirKind::Concat(parts) = hir.kind() else { return None };
    let [first, middle @ .., last] = parts.as_slice() else { return None };
    let anchored = matches!(first.kind(), HirKind::Look(Look::Start))
        && matches!(last.kind(), HirKind::Look(Look::End));
    if !anchored {
        return None;
    }
    product(middle)
}

/// What a sequence of parts can spell, if each part is a set and the whole is small.
fn product(parts: &[Hir]) -> Option<Vec<String>> {
    let mut set = vec![String::new()];
    for part in parts {
        let choices = literals(part)?;
        let tails = |head: String| choices.iter().map(move |tail| format!("{head}{tail}"));
        set = set.into_iter().flat_map(tails).collect();
        if set.len() > FINITE_SET_MAX {
            return None;
        }
    }
    Some(set)
}

fn literals(hir: &Hir) -> Option<Vec<String>> {
    match hir.kind() {
        HirKind::Empty => Some(vec![String::new()]),
        HirKind::Literal(literal) => Some(vec![String::from_utf8(literal.0.to_vec()).ok()?]),
        HirKind::Capture(capture) => literals(&capture.sub),
        HirKind::Alternation(parts) => {
            let sets = parts.iter().map(literals).collect::<Option<Vec<_>>>()?;
            Some(sets.into_iter().flatten().collect())
        }
        HirKind::Class(Class::Unicode(class)) => {
            let chars = class.iter().flat_map(|range| range.start()..=range.end());
            let few: Vec<String> = chars.take(FINITE_SET_MAX + 1).map(String::from).collect();
            (few.len() <= FINITE_SET_MAX).then_some(few)
        }
        HirKind::Concat(parts) => product(parts),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finite_expression_is_a_set() {
        for (text, expected) in [
            ("^(GET|POST)$", Some(vec!["GET", "POST"])),
            ("^read$", Some(vec!["read"])),
            ("^(a|b)c$", Some(vec!["ac", "bc"])),
            ("GET|POST", None),
            ("^a.*$", None),
            ("^GET$|^POST$", None),
        ] {
            let set = finite_set(text).map(|mut set| {
                set.sort();
                set
            });
            let expected = expected.map(|set| set.into_iter().map(String::from).collect());
            assert_eq!(set, expected, "{text}");
        }
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

    #[test]
    fn casbin_key_match2_keeps_live_characters() {
        let pattern =
            |text| Pattern::compile(Function::KeyMatch2, text, Dialect::CasbinRs).unwrap();
        assert_eq!(pattern("/a.b").matches("/axb"), Some(true));
        assert_eq!(pattern("/x/:").matches("/x/y"), Some(true));
        assert_eq!(pattern("/x/*").matches("/x/"), Some(true));
    }
}
