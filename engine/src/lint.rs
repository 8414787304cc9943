//! What is wrong with a policy that loads: rules that never decide, roles that nobody has, patterns that say more than
//! is meant, and each place where Casbin's own engines would answer differently.
//!
//! Each kind of finding is one file here; `allowances` takes out what the author has allowed. A finding is a
//! `Diagnostic` as a load error is. To add a kind: a code in `diagnostic`, its page, a file with `find`, a row in
//! the tests.

mod allowances;
mod cells;
mod covers;
mod dialects;
mod roles;
mod rules;

pub use dialects::{DIFFERENCES, DIFFERENCES_OF_GO};

use crate::diagnostic::{Code, Diagnostic, Diagnostics, Severity, Source, Span};
use crate::model::Model;
use crate::policy::PolicySet;
use crate::policy::roles::nth_line;
use crate::policy::rows::Rows;

/// Findings of one folder: a policy with more is told so once.
pub const LINT_FINDINGS_MAX: usize = 1_000;

/// A folder that loads.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    pub model: &'a Model,
    pub model_source: Source<'a>,
    /// As the file has them, not split by tenant.
    pub rows: &'a Rows<'a>,
    pub rows_source: Source<'a>,
    /// Each tenant's compiled policy.
    pub policies: &'a [&'a PolicySet],
    /// What the load warned of.
    pub warnings: &'a Diagnostics,
}

/// Every finding, in the order of files and lines; those that the author allowed are left out.
pub fn lint(subject: &Subject<'_>) -> Vec<Diagnostic> {
    let mut found = Findings { subject, found: subject.warnings.iter().cloned().collect() };
    roles::find(&mut found);
    cells::find(&mut found);
    rules::find(&mut found);
    dialects::find(&mut found);
    let mut all = found.found;
    allowances::apply(subject, &mut all);
    all.sort_by(|a, b| (&a.file, a.span.line, a.code).cmp(&(&b.file, b.span.line, b.code)));
    all.dedup();
    if all.len() > LINT_FINDINGS_MAX {
        all.truncate(LINT_FINDINGS_MAX);
        let message = format!("more than {LINT_FINDINGS_MAX} findings, the rest is not shown");
        let (source, span) = (subject.rows_source, Span::default());
        all.push(Diagnostic::error(source, span, Code::BoundExceeded, message).warning());
    }
    all
}

/// Collects findings.
struct Findings<'a> {
    subject: &'a Subject<'a>,
    found: Vec<Diagnostic>,
}

impl Findings<'_> {
    /// About a part of policy.csv.
    fn row(&mut self, part: &str, code: Code, message: String, help: &str) {
        let source = self.subject.rows_source;
        self.push(source, source.span_of(part), code, message, help);
    }

    /// About a line of policy.csv.
    fn line(&mut self, line: u32, code: Code, message: String, help: &str) {
        let source = self.subject.rows_source;
        self.push(source, source.span_of(nth_line(source.text, line)), code, message, help);
    }

    /// About a part of model.conf.
    fn model(&mut self, span: Span, code: Code, message: String, help: &str) {
        self.push(self.subject.model_source, span, code, message, help);
    }

    fn push(&mut self, source: Source<'_>, span: Span, code: Code, message: String, help: &str) {
        if self.found.len() > LINT_FINDINGS_MAX {
            return;
        }
        let mut diagnostic = Diagnostic::error(source, span, code, message).help(help);
        diagnostic.severity = match code {
            Code::DialectDifference => Severity::Info,
            _ => Severity::Warning,
        };
        self.found.push(diagnostic);
    }
}
