//! How Casbin for Go reads text: its rewriting of `r.`/`p.` and of lists, and its CSV lines.
//!
//! Only the `casbin-go` dialect uses this, on files at load, never on requests.

use regex_automata::meta::Regex;
use std::sync::LazyLock;

/// What may stand before a reference that is rewritten, and the reference with its point.
const REFERENCE: &str = r"(?:[()\s|&,=!><+\-*/]|^)(?:r|p)[0-9]*\.";

/// `r.sub` becomes `r_sub` behind an operator, a blank, a comma or nothing, inside string literals too. The length
/// does not change, so places stay true.
pub(crate) fn escape_assertion(text: &str) -> String {
    static FOUND: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(REFERENCE).ok());
    let mut escaped = text.to_owned();
    for found in FOUND.iter().flat_map(|regex| regex.find_iter(text)) {
        escaped.replace_range(found.end() - 1..found.end(), "_");
    }
    escaped
}

/// A matcher as Go reads its brackets: where it says `in` anywhere they are parentheses, in strings too. What stands
/// behind one is not rewritten as a reference, so this comes second.
pub(crate) fn brackets(text: &str) -> String {
    let escaped = escape_assertion(text);
    match escaped.contains("in") {
        true => escaped.replace('[', "(").replace(']', ")"),
        false => escaped,
    }
}

/// The cells of one line; `None` for a blank line or a comment.
///
/// # Errors
/// What Go's CSV reader refuses, and a doubled quote inside a cell.
pub(crate) fn csv_cells(line: &str) -> Result<Option<Vec<&str>>, &'static str> {
    let mut rest = line.trim();
    if rest.is_empty() || rest.starts_with('#') {
        return Ok(None);
    }
    let mut cells = Vec::new();
    loop {
        let start = rest.trim_start();
        let (cell, behind) = match start.strip_prefix('"') {
            Some(quoted) => {
                let (cell, behind) =
                    quoted.split_once('"').ok_or("this cell's quote is not closed")?;
                if behind.starts_with('"') {
                    return Err("a doubled quote cannot stand in a cell: write 'text'");
                }
                (cell, behind)
            }
            None => {
                let end = start.find(',').unwrap_or(start.len());
                let (cell, behind) = start.split_at_checked(end).unwrap_or((start, ""));
                if cell.contains('"') {
                    return Err("a quote may only begin and end a cell");
                }
                (cell, behind)
            }
        };
        cells.push(cell);
        match behind.strip_prefix(',') {
            Some(next) => rest = next,
            None if behind.is_empty() => return Ok(Some(cells)),
            None => return Err("a comma must follow the closing quote"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_cut_as_go_cuts_them() {
        for (line, cells) in [
            ("p, alice, data1 , read", Ok(Some(vec!["p", "alice", "data1 ", "read"]))),
            ("p, \"a, b\",c", Ok(Some(vec!["p", "a, b", "c"]))),
            ("a,,b,", Ok(Some(vec!["a", "", "b", ""]))),
            ("  # p, a", Ok(None)),
            ("", Ok(None)),
            ("\"x\" ,y", Err("a comma must follow the closing quote")),
            ("\"open, rest", Err("this cell's quote is not closed")),
            ("a\"b", Err("a quote may only begin and end a cell")),
        ] {
            assert_eq!(csv_cells(line), cells, "{line}");
        }
        assert!(csv_cells(r#"p, "a ""b""""#).is_err());
    }

    #[test]
    fn references_are_rewritten_behind_what_go_looks_for() {
        for (text, expected) in [
            (r#"r.sub == "r.x" && p2.act != x.r.y"#, r#"r_sub == "r.x" && p2_act != x.r.y"#),
            ("g(r.sub,p.sub)||!r.a", "g(r_sub,p_sub)||!r_a"),
            ("[r.a]%p.b", "[r.a]%p.b"),
            ("\"a r.b\"", "\"a r_b\""),
        ] {
            assert_eq!(escape_assertion(text), expected, "{text}");
        }
        assert_eq!(brackets("r.a in ['x', r.b]"), "r_a in ('x', r_b)");
        assert_eq!(brackets("r.a in [r.b]"), "r_a in (r.b)", "Go cannot answer this one");
        assert_eq!(brackets("r.a == '[x]'"), "r_a == '[x]'");
    }
}
