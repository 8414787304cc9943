//! A glob as doublestar 4 reads it for Casbin for Go, as a regular expression over characters.
//!
//! `*` is any of one segment; `**` as a whole segment is any segments, and `/**` at the end also nothing; a class may
//! hold a slash. Where a text ends before a star, doublestar demands that the star be the last of the pattern.

/// Any characters, line breaks too.
const ANY: &str = "(?s:.*)";
/// Whole segments, or none.
const SEGMENTS: &str = "(?s:.*/)?";

/// The expression of a glob.
///
/// # Errors
/// What doublestar refuses, and what it answers by the way in which it looks back.
pub(super) fn expression(glob: &str) -> Result<String, String> {
    let mut reader = Reader { rest: glob, before: Before::Slash, depth: 0, out: "^".to_owned() };
    while let Some(c) = reader.next() {
        reader.read(c)?;
    }
    match reader.depth {
        0 => Ok(reader.out + "$"),
        _ => Err("`{` is never closed".to_owned()),
    }
}

/// What was read last.
#[derive(Clone, Copy, PartialEq)]
enum Before {
    /// Or nothing yet: a segment begins.
    Slash,
    /// Alternatives, which may end in a slash or a star.
    Alternatives,
    Other,
}

struct Reader<'g> {
    rest: &'g str,
    before: Before,
    /// So many alternatives are open.
    depth: usize,
    out: String,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = self.rest.get(c.len_utf8()..).unwrap_or("");
        Some(c)
    }

    fn read(&mut self, c: char) -> Result<(), String> {
        let before = std::mem::replace(&mut self.before, Before::Other);
        match c {
            '*' => return self.star(before),
            '/' => {
                self.before = Before::Slash;
                match (self.last(), before) {
                    (Some(_), Before::Alternatives) => return Err(beside("/**", '}')),
                    (Some(tail), _) => self.out.push_str(&format!("(?:/{tail})?")),
                    (None, _) => self.out.push('/'),
                }
            }
            '?' => self.out.push_str("[^/]"),
            '[' => return self.class(),
            '{' if before == Before::Alternatives => return Err(beside("{", '}')),
            '{' => {
                self.depth += 1;
                self.out.push_str("(?:");
            }
            ',' if self.depth > 0 => self.out.push('|'),
            '}' if self.depth == 0 => return Err("`}` is never opened".to_owned()),
            '}' => {
                self.depth -= 1;
                self.before = Before::Alternatives;
                self.out.push(')');
            }
            '\\' => {
                let literal = self.next().ok_or("a backslash stands before nothing")?;
                self.out.push_str(&escaped(literal));
            }
            _ => self.out.push_str(&escaped(c)),
        }
        Ok(())
    }

    /// What stands behind a slash if the pattern ends in `/**` or `/**/`: read when it does.
    fn last(&mut self) -> Option<&'static str> {
        let tail = match self.rest {
            "**" => ANY,
            "**/" => SEGMENTS,
            _ => return None,
        };
        self.rest = "";
        Some(tail)
    }

    fn star(&mut self, before: Before) -> Result<(), String> {
        if before == Before::Alternatives {
            return Err(beside("*", '}'));
        }
        let is_double = self.rest.starts_with('*');
        if is_double {
            self.next();
        }
        if is_double && self.depth > 0 {
            return Err("`**` has no fixed meaning between braces".to_owned());
        }
        if is_double && before == Before::Slash {
            match self.rest {
                "" => {
                    self.out.push_str(ANY);
                    return Ok(());
                }
                "/**" => return Err(beside("**", '/')),
                rest if rest.starts_with('/') => {
                    self.next();
                    self.before = Before::Slash;
                    self.out.push_str(SEGMENTS);
                    return Ok(());
                }
                _ => {}
            }
        }
        match self.rest.chars().next() {
            Some(next @ ('*' | '{')) => Err(beside("*", next)),
            _ if is_double && self.rest == "/" => Err(beside("**", '/')),
            _ if matches!(self.rest, "/**" | "/**/") => {
                self.next();
                let tail = self.last().unwrap_or(ANY);
                self.out.push_str(&format!("(?:[^/]+(?:/{tail})?|/{tail})"));
                Ok(())
            }
            _ => {
                self.out.push_str("[^/]*");
                Ok(())
            }
        }
    }

    fn class(&mut self) -> Result<(), String> {
        let negated = self.rest.starts_with(['!', '^']);
        if negated {
            self.next();
        }
        let (mut class, mut low, mut is_first) = (String::new(), None, true);
        loop {
            let c = self.next().ok_or("`[` is never closed")?;
            match (c, low) {
                (']', _) if is_first => return Err("`[]` holds nothing".to_owned()),
                (']', _) => break,
                ('-', Some(from)) if !self.rest.starts_with(']') => {
                    let to = self.class_character()?;
                    if from <= to {
                        class.push_str(&format!("{}-{}", escaped(from), escaped(to)));
                    }
                    low = None;
                }
                _ => {
                    let literal =
                        if c == '\\' { self.next().ok_or("`[` is never closed")? } else { c };
                    class.push_str(&escaped(literal));
                    low = Some(literal);
                }
            }
            is_first = false;
        }
        self.out.push_str(&match (negated, class.is_empty()) {
            (false, true) => "[^\\s\\S]".to_owned(),
            (true, true) => "(?s:.)".to_owned(),
            (true, false) => format!("[^{class}]"),
            (false, false) => format!("[{class}]"),
        });
        Ok(())
    }

    fn class_character(&mut self) -> Result<char, String> {
        let c = self.next().ok_or("`[` is never closed")?;
        match c {
            '\\' => self.next().ok_or_else(|| "`[` is never closed".to_owned()),
            _ => Ok(c),
        }
    }
}

fn escaped(c: char) -> String {
    regex_syntax::escape(c.encode_utf8(&mut [0; 4]))
}

fn beside(what: &str, other: char) -> String {
    format!("`{what}` beside `{other}` is answered by accident in Go")
}

#[cfg(test)]
mod tests {
    use super::expression;

    #[test]
    fn a_glob_is_an_expression_or_says_why_not() {
        for (glob, expected) in [
            ("/a/*", "^/a/[^/]*$"),
            ("/a.b?", r"^/a\.b[^/]$"),
            ("/a/**", "^/a(?:/(?s:.*))?$"),
            ("/a/**/", "^/a(?:/(?s:.*/)?)?$"),
            ("/a/**/c", "^/a/(?s:.*/)?c$"),
            ("/a/*/**", "^/a/(?:[^/]+(?:/(?s:.*))?|/(?s:.*))$"),
            ("**", "^(?s:.*)$"),
            ("/a**", "^/a[^/]*$"),
            ("/**b", "^/[^/]*b$"),
            ("/{a,b*}/x", "^/(?:a|b[^/]*)/x$"),
            ("/[a-c-e]", r"^/[aa-c\-e]$"),
            ("/[!é]", "^/[^é]$"),
            (r"/\*", r"^/\*$"),
        ] {
            assert_eq!(expression(glob).as_deref(), Ok(expected), "{glob}");
        }
        let refused = ["/[a", "/[]a]", "/{a", "/a}", "***", "/**/**", "a**/", "*{a,}", "{a*}/**"];
        for glob in refused.into_iter().chain(["/{**,a}", r"/a\"]) {
            assert!(expression(glob).is_err(), "{glob}");
        }
    }
}
