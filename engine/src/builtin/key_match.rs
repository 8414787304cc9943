//! keyMatch and keyMatch2 on paths.
//!
//! keyMatch: a prefix up to the first `*`. keyMatch2 in `strict`: `:name` is one non-empty segment,
//! `/*` is a slash and anything behind it; every other character stands for itself, so a `.` in a
//! pattern is a point (Casbin lets it match any character: docs/reference/casbin-differences.md).

/// Whether `text` matches the keyMatch pattern: equal, or equal up to the first `*`.
pub(crate) fn key_match(text: &str, pattern: &str) -> bool {
    match pattern.split_once('*') {
        Some((prefix, _)) => text.as_bytes().starts_with(prefix.as_bytes()),
        None => text == pattern,
    }
}

/// A compiled keyMatch2 pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PathPattern {
    steps: Box<[Step]>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Text(Box<str>),
    /// `:name`: one or more bytes up to the next slash.
    Segment,
    /// `*` behind a slash: any bytes but a line break.
    Rest,
}

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
                    steps.push(Step::Segment);
                }
                '*' if text.ends_with('/') => {
                    flush(&mut text, &mut steps);
                    steps.push(Step::Rest);
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

    /// The text that every match begins with.
    pub(crate) fn prefix(&self) -> &str {
        match self.steps.first() {
            Some(Step::Text(text)) => text,
            _ => "",
        }
    }

    /// Whether all of `text` matches.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let mut text = text.as_bytes();
        let mut steps = self.steps.iter();
        // Where to take up again when a step behind the last `Rest` fails: the text one byte on.
        let mut retry: Option<(std::slice::Iter<'_, Step>, &[u8])> = None;
        loop {
            let matched = match steps.next() {
                None if text.is_empty() => return true,
                None => None,
                Some(Step::Text(expected)) => text.strip_prefix(expected.as_bytes()),
                Some(Step::Segment) => {
                    let end = text.iter().position(|byte| *byte == b'/').unwrap_or(text.len());
                    text.get(end..).filter(|_| end > 0)
                }
                Some(Step::Rest) => {
                    if steps.as_slice().is_empty() && !text.contains(&b'\n') {
                        return true;
                    }
                    retry = Some((steps.clone(), text));
                    Some(text)
                }
            };
            if let Some(rest) = matched {
                text = rest;
                continue;
            }
            match retry.take() {
                Some((again, [first, rest @ ..])) if *first != b'\n' => {
                    steps = again.clone();
                    text = rest;
                    retry = Some((again, rest));
                }
                _ => return false,
            }
        }
    }
}

fn flush(text: &mut String, steps: &mut Vec<Step>) {
    if !text.is_empty() {
        steps.push(Step::Text(std::mem::take(text).into_boxed_str()));
    }
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
    fn many_rests_do_not_explode() {
        let pattern = PathPattern::compile(&"/*".repeat(30)).unwrap();
        assert!(!pattern.matches(&format!("{}\n", "/a".repeat(2000))));
    }
}
