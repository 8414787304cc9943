//! globMatch in `strict`: a glob as a regular expression over characters.
//!
//! `?` is one character and `*` any of one segment; `**` as a whole segment is any segments, or none; `[a-z]`, `[!a]` one
//! character but a slash; `{a,b}` either; a backslash takes the meaning away.

/// The expression of a glob.
///
/// # Errors
/// What is not closed, or has no meaning.
pub(crate) fn expression(glob: &str) -> Result<String, String> {
    let mut reader = Reader { rest: glob, before: None, depth: 0, out: String::from("^") };
    while let Some(c) = reader.next() {
        reader.read(c)?;
    }
    match reader.depth {
        0 => Ok(reader.out + "$"),
        _ => Err("`{` is never closed".to_owned()),
    }
}

struct Reader<'g> {
    rest: &'g str,
    /// The character before the one that is read.
    before: Option<char>,
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
        let before = self.before.replace(c);
        match c {
            '*' if self.rest.starts_with('*') => return self.segments(before),
            '*' => self.out.push_str("[^/]*"),
            '?' => self.out.push_str("[^/]"),
            '[' => return self.class(),
            '{' => {
                self.depth += 1;
                self.out.push_str("(?:");
            }
            ',' if self.depth > 0 => self.out.push('|'),
            '}' if self.depth > 0 => {
                self.depth -= 1;
                self.out.push(')');
            }
            '}' => return Err("`}` is never opened".to_owned()),
            '\\' => {
                let literal = self.next().ok_or("a backslash stands before nothing")?;
                self.literal(literal);
            }
            _ => self.literal(c),
        }
        Ok(())
    }

    fn literal(&mut self, c: char) {
        self.out.push_str(&regex_syntax::escape(c.encode_utf8(&mut [0; 4])));
    }

    /// `**`: the slash before it has been written.
    fn segments(&mut self, before: Option<char>) -> Result<(), String> {
        self.next();
        let is_whole = matches!(before, None | Some('/'))
            && (self.rest.is_empty() || self.rest.starts_with('/'));
        if !is_whole || self.depth > 0 {
            return Err("`**` stands for whole segments: `**`, `**/x`, `/x/**`".to_owned());
        }
        if self.rest.is_empty() {
            self.out.push_str(".*");
            return Ok(());
        }
        self.next();
        self.before = Some('/');
        // At the beginning, a leading slash may be there or not.
        self.out.push_str(if before.is_none() { "(?:/|.*/)?" } else { "(?:.*/)?" });
        Ok(())
    }

    fn class(&mut self) -> Result<(), String> {
        let negated = ['!', '^'].iter().any(|sign| self.rest.starts_with(*sign));
        if negated {
            self.next();
        }
        let mut class = String::new();
        loop {
            let c = self.next().ok_or("`[` is never closed")?;
            match c {
                ']' if !class.is_empty() => break,
                '-' if !class.is_empty() && !self.rest.starts_with(']') => class.push('-'),
                _ => class.push_str(&regex_syntax::escape(c.encode_utf8(&mut [0; 4]))),
            }
        }
        let sign = if negated { "^" } else { "" };
        self.out.push_str(&format!("[[{sign}{class}]&&[^/]]"));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::expression;

    #[test]
    fn a_glob_is_an_expression_or_says_why_not() {
        for (glob, expected) in [
            ("/a/*", "^/a/[^/]*$"),
            ("/a.b?", r"^/a\.b[^/]$"),
            ("/a/**", "^/a/.*$"),
            ("/a/**/c", "^/a/(?:.*/)?c$"),
            ("**/c", "^(?:/|.*/)?c$"),
            ("**", "^.*$"),
            ("/{a,b*}/x", "^/(?:a|b[^/]*)/x$"),
            ("/a,b", "^/a,b$"),
            ("/[a-c]", "^/[[a-c]&&[^/]]$"),
            ("/[!é]", "^/[[^é]&&[^/]]$"),
            ("/[]a]", r"^/[[\]a]&&[^/]]$"),
            (r"/\*", r"^/\*$"),
        ] {
            assert_eq!(expression(glob).as_deref(), Ok(expected), "{glob}");
        }
        for glob in ["/[a", "/{a", "/a}", "/a**", "/**b", "/{**,a}", r"/a\"] {
            assert!(expression(glob).is_err(), "{glob}");
        }
    }
}
