//! Regular expressions as Go's `regexp` reads them (RE2 syntax), written in the syntax of `regex_syntax`.
//!
//! Both are RE2's family. What differs: `\d \w \s \b` are ASCII in Go; a brace that counts nothing, and `[`, `&&`, `--`
//! and `~~` in a class, stand for themselves; `\Q…\E` quotes; two repetitions may not follow each other; the flag `x`
//! is none.

use std::iter::Peekable;
use std::str::Chars;

/// The most that a counted repetition may count in Go.
const REPEAT_MAX: u32 = 1000;

/// The same expression in our syntax.
///
/// # Errors
/// What Go refuses and we would read, or cannot write.
pub(super) fn translated(expression: &str) -> Result<String, String> {
    let mut reader = Reader { rest: expression.chars().peekable(), out: String::new() };
    reader.all()?;
    Ok(reader.out)
}

struct Reader<'e> {
    rest: Peekable<Chars<'e>>,
    out: String,
}

impl Reader<'_> {
    fn all(&mut self) -> Result<(), String> {
        let mut repeated = false;
        while let Some(c) = self.rest.next() {
            let repeats = matches!(c, '*' | '+' | '?') || (c == '{' && self.counts());
            if repeats && repeated {
                return Err(format!("`{c}` repeats a repetition, which Go refuses"));
            }
            repeated = repeats;
            match c {
                '{' if repeats => self.count()?,
                '*' | '+' | '?' => self.out.push(c),
                '{' => self.out.push_str("\\{"),
                '[' => self.class()?,
                '\\' => self.escaped(false)?,
                '(' => self.group()?,
                _ => self.out.push(c),
            }
            if repeats && self.rest.next_if_eq(&'?').is_some() {
                self.out.push('?');
            }
        }
        Ok(())
    }

    /// Whether what follows an opening brace is `n}`, `n,}` or `n,m}`.
    fn counts(&self) -> bool {
        let mut ahead = self.rest.clone();
        let digits = |ahead: &mut Peekable<Chars<'_>>| {
            let mut found = false;
            while ahead.next_if(char::is_ascii_digit).is_some() {
                found = true;
            }
            found
        };
        let first = digits(&mut ahead);
        if first && ahead.next_if_eq(&',').is_some() {
            digits(&mut ahead);
        }
        first && ahead.next() == Some('}')
    }

    fn count(&mut self) -> Result<(), String> {
        let mut text = String::new();
        while let Some(c) = self.rest.next_if(|c| *c != '}') {
            text.push(c);
        }
        self.rest.next();
        let bounds = text.split(',').filter(|bound| !bound.is_empty());
        let too_many = |bound: &str| bound.parse::<u32>().map_or(true, |count| count > REPEAT_MAX);
        match bounds.clone().any(too_many) {
            true => Err(format!("`{{{text}}}` counts beyond {REPEAT_MAX}, which Go refuses")),
            false => {
                self.out.push_str(&format!("{{{text}}}"));
                Ok(())
            }
        }
    }

    /// Behind an opening parenthesis: flags of ours that Go does not know are refused.
    fn group(&mut self) -> Result<(), String> {
        self.out.push('(');
        if self.rest.next_if_eq(&'?').is_none() {
            return Ok(());
        }
        self.out.push('?');
        let flags = self.rest.clone().take_while(|c| c.is_ascii_alphabetic() || *c == '-');
        let is_named = matches!(self.rest.peek(), Some('P' | '<'));
        match flags
            .into_iter()
            .find(|flag| !is_named && !matches!(flag, 'i' | 'm' | 's' | 'U' | '-'))
        {
            Some(flag) => Err(format!("Go knows no flag `{flag}`")),
            None => Ok(()),
        }
    }

    fn class(&mut self) -> Result<(), String> {
        self.out.push('[');
        if self.rest.next_if_eq(&'^').is_some() {
            self.out.push('^');
        }
        let mut first = true;
        while let Some(c) = self.rest.next() {
            match c {
                ']' if !first => {
                    self.out.push(']');
                    return Ok(());
                }
                '[' if self.rest.peek() == Some(&':') => self.posix()?,
                '\\' => self.escaped(true)?,
                '[' | ']' | '&' | '~' | '^' => self.literal(c),
                // A range, or at one of the ends itself.
                '-' if first || self.rest.peek() == Some(&']') => self.literal(c),
                _ => self.out.push(c),
            }
            first = false;
        }
        Err("`[` is never closed".to_owned())
    }

    /// `[:name:]`, of which the bracket was read.
    fn posix(&mut self) -> Result<(), String> {
        let ahead: String = self.rest.clone().take_while(|c| *c != ']').collect();
        let is_name = ahead.len() > 1 && ahead.ends_with(':');
        if !is_name {
            self.literal('[');
            return Ok(());
        }
        self.out.push('[');
        self.out.push_str(&ahead);
        self.out.push(']');
        self.rest.nth(ahead.chars().count());
        Ok(())
    }

    fn literal(&mut self, c: char) {
        self.out.push_str(&regex_syntax::escape(c.encode_utf8(&mut [0; 4])));
    }

    fn escaped(&mut self, in_class: bool) -> Result<(), String> {
        let Some(c) = self.rest.next() else {
            return Err("a backslash stands before nothing".to_owned());
        };
        match c {
            'd' => self.set("0-9", false),
            'D' => self.set("0-9", true),
            'w' => self.set("0-9A-Za-z_", false),
            'W' => self.set("0-9A-Za-z_", true),
            's' => self.set("\\t\\n\\f\\r ", false),
            'S' => self.set("\\t\\n\\f\\r ", true),
            'b' if !in_class => self.out.push_str("(?-u:\\b)"),
            'B' if !in_class => return Err("`\\B` is not supported".to_owned()),
            'A' | 'z' if !in_class => self.out.extend(['\\', c]),
            'a' | 'f' | 't' | 'n' | 'r' | 'v' => self.out.extend(['\\', c]),
            'x' | 'p' | 'P' => {
                self.out.extend(['\\', c]);
                self.braced();
            }
            'Q' if !in_class => self.quoted(),
            _ if c.is_ascii_punctuation() => self.out.push_str(&format!("\\x{:02X}", u32::from(c))),
            _ => return Err(format!("Go knows no `\\{c}`, or we do not")),
        }
        Ok(())
    }

    /// `{10FFFF}` or `{Greek}` behind an escape: no repetition.
    fn braced(&mut self) {
        if self.rest.peek() != Some(&'{') {
            return;
        }
        for c in self.rest.by_ref() {
            self.out.push(c);
            if c == '}' {
                return;
            }
        }
    }

    fn set(&mut self, set: &str, negated: bool) {
        let sign = if negated { "^" } else { "" };
        self.out.push_str(&format!("[{sign}{set}]"));
    }

    /// Up to `\E` everything stands for itself.
    fn quoted(&mut self) {
        while let Some(c) = self.rest.next() {
            if c == '\\' && self.rest.next_if_eq(&'E').is_some() {
                return;
            }
            self.literal(c);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::translated;

    #[test]
    fn what_go_reads_otherwise_is_rewritten_or_refused() {
        for (go, ours) in [
            (r"^/v1/\d+$", "^/v1/[0-9]+$"),
            (r"[\w-]+\.js", "[[0-9A-Za-z_]\\-]+\\x2Ejs"),
            ("a{2}{b}", "a{2}\\{b}"),
            ("{id}", "\\{id}"),
            ("x{1,3}?y", "x{1,3}?y"),
            ("[a[&~]", "[a\\[\\&\\~]"),
            ("[[:alpha:]x]", "[[:alpha:]x]"),
            ("[]a]", "[\\]a]"),
            (r"\Qa.b\E.", "a\\.b."),
            (r"\bword\b", "(?-u:\\b)word(?-u:\\b)"),
            ("(?i:a)(?P<n>b)", "(?i:a)(?P<n>b)"),
            (r"\x{10FFFF}*\p{Greek}+\x41", r"\x{10FFFF}*\p{Greek}+\x41"),
            (r"[\x{41}-\x{5A}\pL]", r"[\x{41}-\x{5A}\pL]"),
        ] {
            assert_eq!(translated(go).as_deref(), Ok(ours), "{go}");
        }
        for go in ["a**", "a*+", "a{2}{3}", "a{1001}", "(?x)a", r"\1", r"\C", "[a", r"a\"] {
            assert!(translated(go).is_err(), "{go}");
        }
    }
}
