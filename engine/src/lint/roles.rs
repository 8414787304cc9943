//! Roles that no rule names, and names of roles that no link makes.

use crate::diagnostic::{Code, nearest};
use crate::expr::ast::{ExprKind, Function};
use crate::lint::Findings;
use crate::model::Model;
use crate::policy::alternatives::{Test, alternatives};
use crate::policy::rows::Row;
use std::collections::HashSet;

pub(super) fn find(findings: &mut Findings<'_>) {
    let subject = *findings.subject;
    for (graph, links) in subject.rows.links.iter().enumerate() {
        let mut named: HashSet<&str> = HashSet::new();
        let mut cells: Vec<&str> = Vec::new();
        for (model, rules) in definitions(findings) {
            named.extend(written_roles(model, graph));
            for column in role_columns(model, graph) {
                let theirs = rules.iter().filter_map(|row| row.cells.get(column).copied());
                cells.extend(theirs.clone());
                named.extend(theirs);
            }
        }
        if cells.is_empty() && !links.is_empty() && is_asked_otherwise(findings, graph) {
            continue;
        }
        unused(findings, links, &named);
        unknown(findings, links, &cells);
    }
}

/// The model with its rules, and each context with its own.
pub(super) fn definitions<'a>(findings: &Findings<'a>) -> Vec<(&'a Model, &'a [Row<'a>])> {
    let subject = findings.subject;
    let mut all = vec![(subject.model, subject.rows.rules.as_slice())];
    let contexts = subject.model.contexts.iter().zip(&subject.rows.contexts);
    all.extend(contexts.map(|(context, rules)| {
        let shares = context.model.prefixes.1 == subject.model.prefixes.1;
        (&context.model, if shares { subject.rows.rules.as_slice() } else { rules.as_slice() })
    }));
    all
}

/// The columns that a role function of the matcher compares with.
fn role_columns(model: &Model, graph: usize) -> Vec<usize> {
    let all = alternatives(&model.matcher).unwrap_or_default();
    let column = |test| match test {
        Test::Role { graph: of, column, .. } if of == graph => Some(column),
        _ => None,
    };
    let mut columns: Vec<usize> = all.iter().flatten().filter_map(|c| column(c.test)).collect();
    columns.dedup();
    columns
}

/// The roles that a matcher writes itself: `g(r.sub, "admin")`.
fn written_roles(model: &Model, graph: usize) -> Vec<&str> {
    let mut roles = Vec::new();
    model.matcher.walk(&mut |expr| {
        if let ExprKind::Call(Function::Role(of), arguments) = &expr.kind
            && let (true, Some(ExprKind::Str(role))) =
                (*of == graph, arguments.get(1).map(|a| &a.kind))
        {
            roles.push(role.as_str());
        }
    });
    roles
}

/// A role function whose role stands in the matcher or in rows' own expressions: nothing is known of its names.
fn is_asked_otherwise(findings: &Findings<'_>, graph: usize) -> bool {
    definitions(findings).iter().any(|(model, _)| {
        let mut found = false;
        model.matcher.walk(&mut |expr| {
            found |= matches!(expr.kind, ExprKind::Eval { .. })
                || matches!(expr.kind, ExprKind::Call(Function::Role(of), _) if of == graph);
        });
        found
    })
}

/// Roles that no rule names and that lead to no other.
fn unused(findings: &mut Findings<'_>, links: &[Row<'_>], named: &HashSet<&str>) {
    let members: HashSet<&str> =
        links.iter().filter_map(|row| row.cells.first().copied()).collect();
    let mut seen = HashSet::new();
    for row in links {
        let Some(role) = row.cells.get(1) else { continue };
        if !named.contains(role) && !members.contains(role) && seen.insert(*role) {
            let message = format!("no rule names the role `{role}`, and it leads to no other");
            findings.row(role, Code::UnusedRole, message, "take the link out, or add a rule");
        }
    }
}

/// Names in rules that look like roles and are in no link.
fn unknown(findings: &mut Findings<'_>, links: &[Row<'_>], cells: &[&str]) {
    let linked: HashSet<&str> =
        links.iter().flat_map(|row| row.cells.iter().take(2).copied()).collect();
    let roles: HashSet<&str> = links.iter().filter_map(|row| row.cells.get(1).copied()).collect();
    let prefixes: HashSet<&str> = roles.iter().filter_map(|role| prefix(role)).collect();
    let mut seen = HashSet::new();
    for cell in cells.iter().filter(|cell| !linked.contains(*cell) && **cell != "*") {
        if !seen.insert(*cell) {
            continue;
        }
        let mut sorted: Vec<&str> = roles.iter().copied().collect();
        sorted.sort_unstable();
        let close = nearest(cell, sorted);
        let is_prefixed = prefix(cell).is_some_and(|prefix| prefixes.contains(prefix));
        let (message, help) = match (close, is_prefixed) {
            (Some(close), true) => {
                (format!("nobody has the role `{cell}`"), format!("did you mean `{close}`?"))
            }
            (None, true) => {
                let help = "link somebody to it, or take the rule out".to_owned();
                (format!("nobody has the role `{cell}`"), help)
            }
            (Some(close), false) if cell.chars().count() > 3 => (
                format!("`{cell}` has no link; it is a subject's name or a role that nobody has"),
                format!("did you mean `{close}`?"),
            ),
            _ => continue,
        };
        findings.row(cell, Code::UnknownRole, message, &help);
    }
}

/// `role` of `role:staff`.
fn prefix(name: &str) -> Option<&str> {
    name.split_once(':').map(|(prefix, _)| prefix)
}
