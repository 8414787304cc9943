//! keyMatch and keyMatch2 on paths.
//!
//! keyMatch: a prefix up to the first `*`. keyMatch2 in `strict`: `:name` is one non-empty segment,
//! `/*` is a slash and anything behind it; every other character stands for itself, so a `.` in a
//! pattern is a point (Casbin lets it match any character: docs/reference/casbin-differences.md).

use crate::builtin::braces::Part;

/// Whether `text` matches the keyMatch pattern: equal, or equal up to the first `*`.
pub(crate) fn key_match(text: &str, pattern: &str) -> bool {
    match pattern.split_once('*') {
        Some((prefix, _)) => text.as_bytes().starts_with(prefix.as_bytes()),
        None => text == pattern,
    }
}

/// A compiled keyMatch2 pattern: its steps one behind the other, each a byte that says what it is.
/// Flat, so that a rule can carry them beside its other texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PathPattern {
    steps: Box<[u8]>,
}

/// `:name`: one or more bytes up to the next slash.
const SEGMENT: u8 = 0;
/// `*` behind a slash: any bytes but a line break.
const REST: u8 = u8::MAX;
/// Any other byte: so many bytes of text follow.
const TEXT_MAX: usize = REST as usize - 1;

impl PathPattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// The first character that Casbin would read as part of a regular expression.
    pub(crate) fn compile(pattern: &str) -> Result<PathPattern, char> {
        let mut steps = Vec::new();
        let mut text = String::new();
        let mut chars = pattern.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                ':' => {
                    flush(&mut text, &mut steps);
                    while chars.next_if(|next| *next != '/').is_some() {}
                    steps.push(SEGMENT);
                }
                '*' if text.ends_with('/') => {
                    flush(&mut text, &mut steps);
                    steps.push(REST);
                }
                '*' | '+' | '?' | '\\' | '^' | '$' | '|' | '(' | ')' | '[' | ']' | '{' | '}' => {
                    return Err(c);
                }
                _ => text.push(c),
            }
        }
        flush(&mut text, &mut steps);
        Ok(PathPattern { steps: steps.into_boxed_slice() })
    }

    /// The pattern of such parts, in which each name is a whole segment.
    pub(crate) fn of(parts: &[Part]) -> PathPattern {
        let mut steps = Vec::new();
        for part in parts {
            match part {
                Part::Text(text) => flush(&mut text.clone(), &mut steps),
                Part::Name(_) => steps.push(SEGMENT),
                Part::Rest => steps.push(REST),
            }
        }
        PathPattern { steps: steps.into_boxed_slice() }
    }

    /// Its steps, for `path_matches`.
    pub(crate) fn steps(&self) -> &[u8] {
        &self.steps
    }

    /// The text that every match begins with, or the first `TEXT_MAX` bytes of it.
    pub(crate) fn prefix(&self) -> &[u8] {
        match self.steps.split_first() {
            Some((&len, rest)) if len != REST => rest.get(..usize::from(len)).unwrap_or(&[]),
            _ => &[],
        }
    }

    /// Whether all of `text` matches.
    pub(crate) fn matches(&self, text: &str) -> bool {
        path_matches(&self.steps, text.as_bytes())
    }
}

/// Whether all of `text` matches the steps of a pattern.
pub(crate) fn path_matches(mut steps: &[u8], mut text: &[u8]) -> bool {
    // Where to take up again when a step behind the last `REST` fails: the text one byte on.
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        let matched = match steps.split_first() {
            None if text.is_empty() => return true,
            None => None,
            Some((&SEGMENT, behind)) => {
                steps = behind;
                let end = text.iter().position(|byte| *byte == b'/').unwrap_or(text.len());
                text.get(end..).filter(|_| end > 0)
            }
            Some((&REST, behind)) => {
                if behind.is_empty() && !text.contains(&b'\n') {
                    return true;
                }
                steps = behind;
                retry = Some((behind, text));
                Some(text)
            }
            Some((&len, behind)) => {
                let (expected, behind) =
                    behind.split_at_checked(usize::from(len)).unwrap_or_default();
                steps = behind;
                text.strip_prefix(expected)
            }
        };
        if let Some(rest) = matched {
            text = rest;
            continue;
        }
        match retry.take() {
            Some((again, [first, rest @ ..])) if *first != b'\n' => {
                steps = again;
                text = rest;
                retry = Some((again, rest));
            }
            _ => return false,
        }
    }
}

fn flush(text: &mut String, steps: &mut Vec<u8>) {
    for chunk in text.as_bytes().chunks(TEXT_MAX) {
        steps.push(u8::try_from(chunk.len()).unwrap_or(REST));
        steps.extend_from_slice(chunk);
    }
    text.clear();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_match_compares_up_to_the_star() {
        for (text, pattern, expected) in [
            ("/foo/bar", "/foo/*", true),
            ("/foo", "/foo/*", false),
            ("/foo/", "/foo/*", true),
            ("/foobar", "/foo*", true),
            ("/foo", "/foo", true),
            ("/foo/x", "/foo", false),
            ("/é", "/é*", true),
            ("/e", "/é*", false),
            ("anything", "*", true),
        ] {
            assert_eq!(key_match(text, pattern), expected, "{text} {pattern}");
        }
    }

    #[test]
    fn key_match2_knows_segments_and_rests() {
        for (text, pattern, expected) in [
            ("/users/1", "/users/:id", true),
            ("/users/", "/users/:id", false),
            ("/users/1/x", "/users/:id", false),
            ("/users/1/x", "/users/:id/x", true),
            ("/a/b/c", "/a/*", true),
            ("/a/", "/a/*", true),
            ("/a", "/a/*", false),
            ("/a/b/c/d/e", "/a/*/d/:x", true),
            ("/a/d/d/d/e", "/a/*/d/:x", true),
            ("/a/b/c/d", "/a/*/d/:x", false),
            ("/v1/gpt-4.1", "/v1/gpt-4.1", true),
            ("/v1/gpt-4x1", "/v1/gpt-4.1", false),
            ("/x", "", false),
            ("", "", true),
            ("/a/\n", "/a/*", false),
            ("/é/ü", "/é/:x", true),
        ] {
            let compiled = PathPattern::compile(pattern).unwrap();
            assert_eq!(compiled.matches(text), expected, "{text} {pattern}");
        }
        for pattern in ["/a(b)", "/foo*", "/a+", "/[a]"] {
            assert!(PathPattern::compile(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn a_long_text_is_compared_whole() {
        let long = format!("/{}", "a".repeat(3 * TEXT_MAX));
        let pattern = PathPattern::compile(&format!("{long}/:id")).unwrap();
        assert_eq!(pattern.prefix().len(), TEXT_MAX);
        assert!(pattern.matches(&format!("{long}/1")));
        assert!(!pattern.matches(&format!("{long}a/1")));
        assert!(!pattern.matches(&format!("{}b/1", long.strip_suffix('a').unwrap())));
    }

    #[test]
    fn many_rests_do_not_explode() {
        let pattern = PathPattern::compile(&"/*".repeat(30)).unwrap();
        assert!(!pattern.matches(&format!("{}\n", "/a".repeat(2000))));
    }
}
