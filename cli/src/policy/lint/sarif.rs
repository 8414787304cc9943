//! Findings as SARIF 2.1.0, for those who show them in code review.

use serde_json::{Value as Json, json};
use std::collections::BTreeSet;
use tollgate_engine::{Code, Diagnostic, Severity};

/// The whole document: one run.
pub(super) fn document<'d>(found: impl Iterator<Item = &'d Diagnostic>) -> Json {
    let found: Vec<&Diagnostic> = found.collect();
    let codes: BTreeSet<Code> = found.iter().map(|one| one.code).collect();
    let rule = |code: &Code| json!({"id": code.name(), "properties": {"number": code.number()}});
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "tollgate",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": codes.iter().map(rule).collect::<Vec<_>>(),
            }},
            "columnKind": "unicodeCodePoints",
            "results": found.iter().map(|one| result(one)).collect::<Vec<_>>(),
        }],
    })
}

fn result(one: &Diagnostic) -> Json {
    let level = match one.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info => "note",
    };
    let mut text = one.message.clone();
    if let Some(help) = &one.help {
        text.push_str("; ");
        text.push_str(help);
    }
    // A finding about no place in particular is shown at the file's first line.
    let (line, column) = (one.span.line.max(1), one.span.column.max(1));
    json!({
        "ruleId": one.code.name(),
        "level": level,
        "message": {"text": text},
        "locations": [{"physicalLocation": {
            "artifactLocation": {"uri": one.file},
            "region": {"startLine": line, "startColumn": column},
        }}],
    })
}
