//! Diagnostics as data: the same object from the command line, in logs and from the API.

use serde::Serialize;
use tollgate_engine::{Diagnostic, Severity};

/// One finding about one file; `number` and `code` are those of docs/reference/errors.md.
#[derive(Debug, Serialize)]
pub struct Finding<'d> {
    code: &'static str,
    number: u16,
    /// `error`, `warning` or `info`.
    severity: &'static str,
    message: &'d str,
    file: &'d str,
    span: Span,
    labels: Vec<Label<'d>>,
    help: Option<&'d str>,
}

/// Bytes from `start` to `end`; `line` and `column` count from 1.
#[derive(Debug, Serialize)]
struct Span {
    start: usize,
    end: usize,
    line: usize,
    column: usize,
}

#[derive(Debug, Serialize)]
struct Label<'d> {
    span: Span,
    text: &'d str,
}

/// All of them, in their order.
pub fn findings<'d>(found: impl IntoIterator<Item = &'d Diagnostic>) -> Vec<Finding<'d>> {
    found.into_iter().map(finding).collect()
}

fn finding(diagnostic: &Diagnostic) -> Finding<'_> {
    let labels = diagnostic.labels.iter();
    Finding {
        code: diagnostic.code.name(),
        number: diagnostic.code.number(),
        severity: match diagnostic.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Info => "info",
        },
        message: &diagnostic.message,
        file: &diagnostic.file,
        span: span(&diagnostic.span),
        labels: labels.map(|one| Label { span: span(&one.span), text: &one.text }).collect(),
        help: diagnostic.help.as_deref(),
    }
}

fn span(span: &tollgate_engine::Span) -> Span {
    Span { start: span.start, end: span.end, line: span.line, column: span.column }
}
