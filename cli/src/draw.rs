//! Diagnostics drawn for a person. The data is the engine's; only the picture is made here.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use std::io::IsTerminal;
use tollgate_engine::{Diagnostic, Diagnostics, Severity};

/// Texts of the files that findings point into, by the name that the findings use.
pub(crate) type Texts<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Draws all findings on stderr, with colours on a terminal unless `NO_COLOR` is set.
pub(crate) fn show(found: &Diagnostics, texts: Texts<'_>) {
    show_all(found, texts);
}

/// The same of any list.
pub(crate) fn show_all<'d>(found: impl IntoIterator<Item = &'d Diagnostic>, texts: Texts<'_>) {
    let colour = std::io::stderr().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    for diagnostic in found {
        eprintln!("{}", draw(diagnostic, texts, &renderer));
    }
}

/// One finding as text.
pub(crate) fn draw(diagnostic: &Diagnostic, texts: Texts<'_>, renderer: &Renderer) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Info => Level::INFO,
    };
    let id = format!("{} {}", diagnostic.code.name(), diagnostic.code.number());
    let title = level.primary_title(diagnostic.message.as_str()).id(id.as_str());
    let text = texts(&diagnostic.file).unwrap_or_default();
    let mut report = Vec::new();
    let group = if text.is_empty() || diagnostic.span == tollgate_engine::Span::default() {
        Group::with_title(title).element(annotate_snippets::Origin::path(diagnostic.file.as_str()))
    } else {
        let end = |span: &tollgate_engine::Span| span.end.min(text.len()).max(span.start);
        let own = diagnostic.labels.iter().find(|label| label.span == diagnostic.span);
        let primary = AnnotationKind::Primary.span(diagnostic.span.start..end(&diagnostic.span));
        let primary = match own {
            Some(label) => primary.label(label.text.as_str()),
            None => primary,
        };
        let mut snippet =
            Snippet::source(text.as_str()).path(diagnostic.file.as_str()).annotation(primary);
        for label in diagnostic.labels.iter().filter(|label| label.span != diagnostic.span) {
            let place = AnnotationKind::Context.span(label.span.start..end(&label.span));
            snippet = snippet.annotation(place.label(label.text.as_str()));
        }
        Group::with_title(title).element(snippet)
    };
    report.push(match &diagnostic.help {
        Some(help) => group.element(Level::HELP.message(help.as_str())),
        None => group,
    });
    renderer.render(&report)
}

/// The line under the findings of one load.
pub(crate) fn count_line(found: &Diagnostics) -> String {
    let errors = found.iter().filter(|finding| finding.severity == Severity::Error).count();
    let noun = if errors == 1 { "error" } else { "errors" };
    let first = found.iter().find(|finding| finding.severity == Severity::Error);
    let more =
        first.map_or(String::new(), |d| format!("   More: tollgate errors {}", d.code.number()));
    format!("{errors} {noun}.{more}")
}
