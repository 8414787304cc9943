//! The regular expressions that casbin-rs makes of its path patterns, for the dialect of its name.

use std::ops::Range;

/// `/*` first, as casbin-rs does.
fn with_rests(pattern: &str) -> String {
    pattern.replace("/*", "/.*")
}

/// `:name` up to the next slash, also without a name.
pub(super) fn key_match2(pattern: &str) -> String {
    let mut expression = String::from("^");
    let replaced = with_rests(pattern);
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

/// From a brace to the last one of its segment, also with nothing between them.
pub(super) fn key_match3(pattern: &str) -> String {
    replaced(&with_rests(pattern), "[^/]+", |behind| {
        let segment = behind.split('/').next().unwrap_or("");
        segment.rfind('}')
    })
    .0
}

/// From a brace to the next one with something between them.
pub(super) fn key_match5(pattern: &str) -> String {
    replaced(&with_rests(pattern), "[^/]+", nearest).0
}

/// The same with a group for each name, and the names.
pub(super) fn key_match4(pattern: &str) -> (String, Vec<String>) {
    let pattern = with_rests(pattern);
    let (expression, names) = replaced(&pattern, "([^/]+)", nearest);
    (expression, names.into_iter().map(|name| pattern.get(name).unwrap_or("").to_owned()).collect())
}

/// Where the brace is that ends a name: what is behind the opening one begins with one character at least.
fn nearest(behind: &str) -> Option<usize> {
    let first = behind.chars().next().filter(|c| *c != '/')?;
    let rest = behind.get(first.len_utf8()..)?;
    let end = rest.find(['/', '}'])?;
    rest.get(end..)?.starts_with('}').then_some(first.len_utf8() + end)
}

/// Each brace for which `end` finds its partner is replaced; answers where the names were.
fn replaced(
    pattern: &str,
    by: &str,
    end: impl Fn(&str) -> Option<usize>,
) -> (String, Vec<Range<usize>>) {
    let (mut expression, mut names) = (String::from("^"), Vec::new());
    let mut at = 0;
    while let Some(c) = pattern.get(at..).and_then(|rest| rest.chars().next()) {
        let behind = at + c.len_utf8();
        let found = if c == '{' { pattern.get(behind..).and_then(&end) } else { None };
        match found {
            Some(length) => {
                names.push(behind..behind + length);
                expression.push_str(by);
                at = behind + length + 1;
            }
            None => {
                expression.push(c);
                at = behind;
            }
        }
    }
    expression.push('$');
    (expression, names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_are_what_casbin_rs_makes_of_them() {
        assert_eq!(key_match3("/{a}_{b}/{}/*"), "^/[^/]+/[^/]+/.*$");
        assert_eq!(key_match5("/{a}_{b}/{}/*"), "^/[^/]+_[^/]+/{}/.*$");
        assert_eq!(key_match5("/{}x}/{"), "^/[^/]+/{$");
        let (expression, names) = key_match4("/{id}/x/{id}_{é}");
        assert_eq!(expression, "^/([^/]+)/x/([^/]+)_([^/]+)$");
        assert_eq!(names, ["id", "id", "é"]);
    }
}
