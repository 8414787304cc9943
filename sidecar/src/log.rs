//! Logs: one line per change of state on stderr, JSON unless a person is watching.

use std::io::IsTerminal;
use tollgate_engine::{Diagnostic, Diagnostics, Severity};
use tracing_subscriber::EnvFilter;

/// Starts logging; a second start is ignored.
pub(crate) fn start(level: &str, format: &str) {
    let filter = EnvFilter::new(level);
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let human = match format {
        "human" => true,
        "json" => false,
        _ => std::io::stderr().is_terminal(),
    };
    let _ = match human {
        true => builder.with_target(false).try_init(),
        false => builder.json().flatten_event(true).with_target(false).try_init(),
    };
}

/// One finding at a level: the fields that every other view of it has.
macro_rules! log_finding {
    ($level:ident, $finding:ident, $severity:literal) => {
        tracing::$level!(
            code = $finding.code.name(),
            number = $finding.code.number(),
            severity = $severity,
            file = $finding.file,
            line = $finding.span.line,
            column = $finding.span.column,
            labels = labels($finding),
            help = $finding.help.as_deref().unwrap_or(""),
            "{}",
            $finding.message
        )
    };
}

/// Logs findings.
pub(crate) fn diagnostics(found: &Diagnostics) {
    for finding in found {
        match finding.severity {
            Severity::Error => log_finding!(error, finding, "error"),
            Severity::Warning => log_finding!(warn, finding, "warning"),
            Severity::Info => log_finding!(info, finding, "info"),
        }
    }
}

fn labels(finding: &Diagnostic) -> String {
    let texts: Vec<&str> = finding.labels.iter().map(|label| label.text.as_str()).collect();
    texts.join("; ")
}
