//! How the `casbin` crate reads text: its rewriting of `r.`/`p.` and its CSV lines.
//!
//! Only the `casbin-rs` dialect uses this. Both rules are regular expressions in the original and
//! stay so here: they are applied to files at load, never to requests.

use regex_automata::meta::Regex;
use std::sync::LazyLock;

/// `r.sub` becomes `r_sub` wherever `r<digits>.` or `p<digits>.` begins at a word boundary, inside
/// string literals too. The length does not change, so places stay true.
pub(crate) fn escape_assertion(text: &str) -> String {
    static REFERENCE: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"\b(?:r\d*|p\d*)\.").ok());
    let mut escaped = text.to_owned();
    for found in REFERENCE.iter().flat_map(|regex| regex.find_iter(text)) {
        escaped.replace_range(found.end() - 1..found.end(), "_");
    }
    escaped
}

/// The cells of one line; `None` for a blank line or a comment.
pub(crate) fn csv_cells(line: &str) -> Option<Vec<&str>> {
    static CELL: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r#"\s*"[^"]*"?|\s*[^,]*"#).ok());
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let cells = CELL.iter().flat_map(|regex| regex.find_iter(line));
    Some(cells.map(|cell| unquote(line.get(cell.range()).unwrap_or("").trim())).collect())
}

fn unquote(cell: &str) -> &str {
    match cell.len() >= 2 {
        true => cell.strip_prefix('"').and_then(|c| c.strip_suffix('"')).unwrap_or(cell),
        false => cell,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_cut_as_casbin_cuts_them() {
        for (line, cells) in [
            ("p, alice, data1, read", vec!["p", "alice", "data1", "read"]),
            ("p, \"a, b\", c", vec!["p", "a, b", "c"]),
            ("a,,b", vec!["a", "", "b"]),
            (",", vec!["", ""]),
            ("\"x\" ,y", vec!["x", "", "y"]),
            ("a,", vec!["a", ""]),
            ("\"open, rest", vec!["\"open, rest"]),
        ] {
            assert_eq!(csv_cells(line), Some(cells), "{line}");
        }
        assert_eq!(csv_cells("  # p, a"), None);
        assert_eq!(csv_cells(""), None);
    }

    #[test]
    fn references_are_rewritten_even_in_strings() {
        assert_eq!(
            escape_assertion(r#"r.sub == "r.x" && p2.act != xr.y"#),
            r#"r_sub == "r_x" && p2_act != xr.y"#
        );
    }
}
