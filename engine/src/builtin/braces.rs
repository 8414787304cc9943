//! keyMatch3, keyMatch4 and keyMatch5 in `strict`: `{name}` is one or more characters of one segment, `/*` is a slash
//! and anything behind it; every other character stands for itself.
//!
//! keyMatch4 demands that equal names stand for equal texts. Which text a name stands for must not depend on who
//! reads: where a name is repeated, each name is a whole segment and `/*` comes last.

use crate::builtin::key_match::PathPattern;

/// A piece of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    Text(String),
    Name(String),
    /// `*` behind a slash.
    Rest,
}

/// Reads a pattern.
///
/// # Errors
/// What has no meaning in it.
pub(crate) fn parse(pattern: &str) -> Result<Vec<Part>, String> {
    let (mut parts, mut text) = (Vec::new(), String::new());
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        let behind = rest.get(c.len_utf8()..).unwrap_or("");
        rest = match c {
            '{' => {
                let (name, behind) = behind.split_once('}').ok_or("`{` is never closed")?;
                if name.is_empty() || name.contains(['/', '{']) {
                    return Err("expected a name between `{` and `}`".to_owned());
                }
                flush(&mut text, &mut parts);
                parts.push(Part::Name(name.to_owned()));
                behind
            }
            '*' if text.ends_with('/') => {
                flush(&mut text, &mut parts);
                parts.push(Part::Rest);
                behind
            }
            '*' | '+' | '?' | '\\' | '^' | '$' | '|' | '(' | ')' | '[' | ']' | '}' => {
                return Err(format!(
                    "`{c}` has no meaning in a path pattern; use {{name}}, /* or regexMatch"
                ));
            }
            _ => {
                text.push(c);
                behind
            }
        };
    }
    flush(&mut text, &mut parts);
    Ok(parts)
}

fn flush(text: &mut String, parts: &mut Vec<Part>) {
    if !text.is_empty() {
        parts.push(Part::Text(std::mem::take(text)));
    }
}

/// The same as a keyMatch2 pattern, where each name is a whole segment.
pub(crate) fn as_path(parts: &[Part]) -> Option<PathPattern> {
    are_names_segments(parts).then(|| PathPattern::of(parts))
}

/// The same as a regular expression.
pub(crate) fn as_expression(parts: &[Part]) -> String {
    let piece = |part: &Part| match part {
        Part::Text(text) => regex_syntax::escape(text),
        Part::Name(_) => "[^/]+".to_owned(),
        Part::Rest => ".*".to_owned(),
    };
    format!("^{}$", parts.iter().map(piece).collect::<String>())
}

fn are_names_segments(parts: &[Part]) -> bool {
    let ends = |part: Option<&Part>| match part {
        None => true,
        Some(Part::Text(text)) => text.ends_with('/'),
        Some(_) => false,
    };
    let begins = |part: Option<&Part>| match part {
        None => true,
        Some(Part::Text(text)) => text.starts_with('/'),
        Some(_) => false,
    };
    parts.iter().enumerate().all(|(at, part)| {
        let before = at.checked_sub(1).and_then(|before| parts.get(before));
        !matches!(part, Part::Name(_)) || (ends(before) && begins(parts.get(at + 1)))
    })
}

/// A pattern in which a name is repeated, segment by segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Repeated {
    segments: Box<[Segment]>,
    /// Ends in `/*`.
    has_rest: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Text(Box<str>),
    Name,
    /// What stands in an earlier segment.
    Same(usize),
}

impl Repeated {
    /// `None` if no name is repeated.
    ///
    /// # Errors
    /// A reader could not know which text a repeated name stands for.
    pub(crate) fn of(parts: &[Part]) -> Result<Option<Repeated>, String> {
        let mut names: Vec<&str> = Vec::new();
        let mut is_repeated = false;
        for part in parts {
            if let Part::Name(name) = part {
                is_repeated |= names.contains(&name.as_str());
                names.push(name);
            }
        }
        if !is_repeated {
            return Ok(None);
        }
        let (last, others) = parts.split_last().unwrap_or((&Part::Rest, &[]));
        if !are_names_segments(parts) || others.contains(&Part::Rest) {
            return Err("where a name is repeated, each name is a whole segment and `/*` comes \
                        last"
                .to_owned());
        }
        let has_rest = *last == Part::Rest;
        Ok(Some(Repeated { segments: segments(parts), has_rest }))
    }

    /// Whether all of `text` matches.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let mut given = text.split('/');
        let mut behind = 0;
        for segment in &self.segments {
            let Some(value) = given.next() else { return false };
            let is_right = match segment {
                Segment::Text(expected) => value == &**expected,
                Segment::Name => !value.is_empty(),
                Segment::Same(at) => text.split('/').nth(*at) == Some(value),
            };
            if !is_right {
                return false;
            }
            behind += value.len() + 1;
        }
        match self.has_rest {
            true => text.get(behind..).is_some_and(|rest| !rest.contains('\n')),
            false => given.next().is_none(),
        }
    }
}

/// The segments between slashes; a last `/*` is left out with its slash.
fn segments(parts: &[Part]) -> Box<[Segment]> {
    let mut whole = String::new();
    let mut names = Vec::new();
    for part in parts {
        match part {
            Part::Text(text) => whole.push_str(text),
            // Stands for itself nowhere else: a text has no brace.
            Part::Name(name) => {
                whole.push('{');
                names.push(name.as_str());
            }
            Part::Rest => {
                whole.pop();
            }
        }
    }
    let mut known: Vec<(&str, usize)> = Vec::new();
    let mut names = names.into_iter();
    let segment = |(at, text): (usize, &str)| {
        let name = if text == "{" { names.next() } else { None };
        let Some(name) = name else { return Segment::Text(text.into()) };
        match known.iter().find(|(earlier, _)| *earlier == name) {
            Some((_, earlier)) => Segment::Same(*earlier),
            None => {
                known.push((name, at));
                Segment::Name
            }
        }
    };
    whole.split('/').enumerate().map(segment).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_names_are_equal_texts() {
        for (text, pattern, expected) in [
            ("/parent/1/child/1", "/parent/{id}/child/{id}", true),
            ("/parent/1/child/2", "/parent/{id}/child/{id}", false),
            ("/parent//child/", "/parent/{id}/child/{id}", false),
            ("/parent/1/child/1/x", "/parent/{id}/child/{id}", false),
            ("/1/1/2/2", "/{a}/{a}/{b}/{b}", true),
            ("/1/1/2/1", "/{a}/{a}/{b}/{b}", false),
            ("/1/1/", "/{a}/{a}/*", true),
            ("/1/1/x/y", "/{a}/{a}/*", true),
            ("/1/1", "/{a}/{a}/*", false),
            ("/1/1/\n", "/{a}/{a}/*", false),
            ("é/é", "{a}/{a}", true),
        ] {
            let repeated = Repeated::of(&parse(pattern).unwrap()).unwrap().unwrap();
            assert_eq!(repeated.matches(text), expected, "{text} {pattern}");
        }
        for pattern in ["/{a}_{a}", "/*/{a}/{a}", "/x{a}/{a}"] {
            assert!(Repeated::of(&parse(pattern).unwrap()).is_err(), "{pattern}");
        }
        assert_eq!(Repeated::of(&parse("/{a}/{b}").unwrap()), Ok(None));
    }

    #[test]
    fn what_has_no_meaning_is_refused() {
        for pattern in ["/{", "/{}", "/{a/b}", "/{{a}}", "/a}", "/a*", "/a?", "/[a]", "/(a)"] {
            assert!(parse(pattern).is_err(), "{pattern}");
        }
        assert!(as_path(&parse("/x/{id}/y").unwrap()).is_some());
        assert!(as_path(&parse("/proj_{id}/y").unwrap()).is_none());
        assert_eq!(as_expression(&parse("/p.{id}/*").unwrap()), r"^/p\.[^/]+/.*$");
    }
}
