//! Expressions that denote a few strings: an index files a row under each of them.

use regex_syntax::hir::{Class, Hir, HirKind, Look};

/// Strings that an expression may denote and still count as a small set.
const FINITE_SET_MAX: usize = 16;

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
}
