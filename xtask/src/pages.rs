//! Each code has its section in docs/reference/errors.md, and each section its code.

use std::path::Path;
use tollgate_engine::{Code, Reason, SettleCode};

pub(crate) fn check(root: &Path) -> Vec<String> {
    let page = std::fs::read_to_string(root.join("docs/reference/errors.md")).unwrap_or_default();
    let codes = Code::ALL.iter().map(|code| (code.number(), code.name()));
    let reasons = Reason::ALL.iter().map(|reason| (reason.number(), reason.name()));
    let settles = SettleCode::ALL.iter().map(|code| (code.number(), code.name()));
    let known: Vec<String> = codes
        .chain(reasons)
        .chain(settles)
        .map(|(number, name)| format!("### {number} {name}"))
        .collect();
    let headings: Vec<&str> = page
        .lines()
        .filter(|line| line.starts_with("### "))
        // Codes of bundles and doors stand with `BundleError` and `FrameError` in proto.
        .filter(|line| !line.starts_with("### 12") && !line.starts_with("### 400"))
        // Those of the API, numbered by HTTP status, with `Code` in control.
        .filter(|line| line.split(' ').nth(1).is_none_or(|number| number.len() != 3))
        .collect();
    let missing = known.iter().filter(|heading| !headings.contains(&heading.as_str()));
    let unknown = headings.iter().filter(|heading| !known.contains(&(**heading).to_owned()));
    let mut findings: Vec<String> =
        missing.map(|heading| format!("errors.md lacks `{heading}`")).collect();
    findings.extend(unknown.map(|heading| format!("errors.md has `{heading}`, no such code")));
    findings
}
