//! Each Rust file begins with `//!` and none is called mod.rs.

use std::path::Path;

pub(crate) fn check(root: &Path) -> Vec<String> {
    let mut findings = Vec::new();
    for path in crate::files(root, "rs") {
        let shown = path.strip_prefix(root).unwrap_or(&path).display().to_string();
        if path.file_name().is_some_and(|name| name == "mod.rs") {
            findings.push(format!("{shown}: name the file after its module"));
        }
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        if !text.starts_with("//!") {
            findings.push(format!("{shown}: begin with `//!`: what it is, what it never does"));
        }
    }
    findings
}
