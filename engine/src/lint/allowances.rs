//! `# lint: allow(code) reason` on the line above: a comment to Casbin, too. An allowance that allows nothing is a
//! finding itself.

use crate::diagnostic::{Code, Diagnostic, Source};
use crate::lint::Subject;

/// One allowance and the line that it speaks of.
struct Allowance<'t> {
    code: &'t str,
    reason: &'t str,
    text: &'t str,
    of_line: usize,
}

/// Takes out what is allowed, and reports allowances that allow nothing.
pub(super) fn apply(subject: &Subject<'_>, found: &mut Vec<Diagnostic>) {
    for source in [subject.model_source, subject.rows_source] {
        for allowance in allowances(source) {
            let before = found.len();
            let is_reasoned = !allowance.reason.is_empty();
            found.retain(|one| {
                let is_meant = one.code.name() == allowance.code
                    && one.file == source.file
                    && one.span.line == allowance.of_line;
                !(is_meant && is_reasoned)
            });
            if found.len() == before {
                found.push(unused(&allowance, source));
            }
        }
    }
}

fn unused(allowance: &Allowance<'_>, source: Source<'_>) -> Diagnostic {
    let code = allowance.code;
    let message = if allowance.reason.is_empty() {
        format!("the allowance of `{code}` gives no reason and allows nothing")
    } else if Code::find(code).is_none() {
        format!("there is no finding `{code}`")
    } else {
        format!("nothing on line {} is `{code}`", allowance.of_line)
    };
    let span = source.span_of(allowance.text);
    Diagnostic::error(source, span, Code::UnusedAllowance, message)
        .warning()
        .help("write `# lint: allow(code) reason` above the line that it speaks of, or take it out")
}

/// Allowances above one another speak of the same line: the next that is no comment.
fn allowances(source: Source<'_>) -> Vec<Allowance<'_>> {
    let mut all: Vec<Allowance<'_>> = Vec::new();
    let mut open = 0;
    for (text, line) in source.text.lines().map(str::trim).zip(1..) {
        if let Some((code, reason)) = parse(text) {
            all.push(Allowance { code, reason, text, of_line: 0 });
        } else if !text.is_empty() && !text.starts_with(['#', ';']) {
            all.iter_mut().skip(open).for_each(|allowance| allowance.of_line = line);
            open = all.len();
        }
    }
    all
}

fn parse(line: &str) -> Option<(&str, &str)> {
    let text = line.strip_prefix('#')?.trim_start().strip_prefix("lint:")?.trim_start();
    let (code, reason) = text.strip_prefix("allow(")?.split_once(')')?;
    Some((code.trim(), reason.trim()))
}
