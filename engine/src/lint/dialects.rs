//! Places where `strict` and one of Casbin's dialects would answer differently. Each kind has an id; the oracle holds an
//! example of each, in which both do.

mod go;

pub use go::DIFFERENCES_OF_GO;

use crate::bind::is_tenant;
use crate::bounds::ROLE_DEPTH_MAX;
use crate::diagnostic::{Code, Diagnostics, Severity};
use crate::dialect::Dialect;
use crate::expr::ast::{ExprKind, Function, Operator};
use crate::lint::Findings;
use crate::lint::roles::definitions;
use crate::model::{Model, parse_model_with};
use crate::policy::PolicySet;
use crate::policy::alternatives::{Test, alternatives};
use crate::policy::roles::patterned::writes_patterns;
use crate::policy::rows::{Row, parse_rows};
use std::collections::HashMap;

/// Hops that casbin-rs follows along a chain.
const CASBIN_HOPS: usize = 9;

/// Every id that tells of the `casbin` crate, and what differs.
pub const DIFFERENCES: &[(&str, &str)] = &[
    (
        "shared-graph",
        "casbin-rs has one role graph for all of g, g2, …: a link of one is a link of all",
    ),
    ("role-patterns", "Casbin takes a pattern in a link for a name, unless code says otherwise"),
    ("role-depth", "casbin-rs follows 9 links of a chain, strict 10"),
    ("default-tenant", "casbin-rs keeps links without a tenant under the tenant DEFAULT"),
    ("live-characters", "Casbin lets `.` in a path pattern match any character"),
    ("named-parts", "Casbin takes `{a}_{b}` in keyMatch3 for one name"),
    (
        "glob-bytes",
        "casbin-rs matches one byte where `?` or `[…]` stands for a character of several",
    ),
    (
        "unknown-value",
        "casbin-go fails, casbin-rs fails or calls a missing value unequal; in strict it is unknown, and an unknown deny rule denies",
    ),
    ("text-in-text", "casbin-rs looks for a part of a text where strict demands a list"),
    ("any-tenant", "Casbin knows no `*` in the tenant column"),
    ("mapped-address", "Casbin takes an IPv4 address for the IPv6 address that maps it"),
    (
        "context-effect",
        "casbin-rs does not read the effect of p2, p3, …: a rule that denies allows",
    ),
    ("priority-column", "casbin-rs does not order rows by a column `priority`"),
    ("strict-only", "casbin-rs cannot load this"),
    ("casbin-only", "strict cannot load this"),
    ("empty-policy", "Casbin asks one row of empty cells where there are no rules"),
];

pub(super) fn find(findings: &mut Findings<'_>) {
    other_dialect(findings);
    if findings.subject.model.dialect != Dialect::Strict {
        return;
    }
    go::find(findings);
    graphs(findings);
    for (model, rules) in definitions(findings) {
        of_model(findings, model);
        of_effects(findings, model, rules);
        of_matcher(findings, model, of_part, of_pattern);
        of_cells(findings, model, rules, of_pattern);
        of_tenants(findings, model, rules);
        if rules.is_empty() {
            let span = model.matcher_span;
            tell(findings, "empty-policy", Place::Model(span));
        }
    }
}

/// What only one of the two loads.
fn other_dialect(findings: &mut Findings<'_>) {
    let subject = *findings.subject;
    let (dialect, id) = match subject.model.dialect {
        Dialect::Strict => (Dialect::CasbinRs, "strict-only"),
        _ => (Dialect::Strict, "casbin-only"),
    };
    if let Err(errors) = load(findings, dialect) {
        tell_errors(findings, id, &errors);
    }
}

/// The model as another dialect reads it, if model and rows load and compile there.
fn load(findings: &Findings<'_>, dialect: Dialect) -> Result<Model, Diagnostics> {
    let subject = findings.subject;
    let (model_source, rows_source) = (subject.model_source, subject.rows_source);
    let model = parse_model_with(model_source, dialect, &subject.model.functions)?;
    let rows = parse_rows(rows_source, &model)?;
    PolicySet::compile(&model, &rows, (model_source, rows_source), 0)?;
    Ok(model)
}

fn tell_errors(findings: &mut Findings<'_>, id: &str, errors: &Diagnostics) {
    let subject = *findings.subject;
    let (model_source, rows_source) = (subject.model_source, subject.rows_source);
    for error in errors.iter().filter(|one| one.severity == Severity::Error) {
        let source = if error.file == rows_source.file { rows_source } else { model_source };
        let message = format!("{id}: {}, {}", what(id), error.message);
        findings.push(source, error.span, Code::DialectDifference, message, HELP);
    }
}

#[derive(Clone, Copy)]
enum Place<'r> {
    Model(crate::diagnostic::Span),
    Cell(&'r str),
    Line(u32),
}

fn tell(findings: &mut Findings<'_>, id: &'static str, place: Place<'_>) {
    let (code, message) = (Code::DialectDifference, format!("{id}: {}", what(id)));
    match place {
        Place::Model(span) => findings.model(span, code, message, HELP),
        Place::Cell(cell) => findings.row(cell, code, message, HELP),
        Place::Line(line) => findings.line(line, code, message, HELP),
    }
}

const HELP: &str = "docs/reference/casbin-differences.md lists them";

fn what(id: &str) -> &'static str {
    DIFFERENCES
        .iter()
        .chain(DIFFERENCES_OF_GO)
        .find(|(known, _)| *known == id)
        .map_or("", |(_, what)| what)
}

/// What differs in roles.
fn graphs(findings: &mut Findings<'_>) {
    let subject = *findings.subject;
    let roles = &subject.model.roles;
    for (position, links) in subject.rows.links.iter().enumerate() {
        let Some(first) = links.first() else { continue };
        let earlier = subject.rows.links.iter().take(position).any(|links| !links.is_empty());
        if earlier {
            tell(findings, "shared-graph", Place::Line(first.line));
        }
        if roles.get(position).is_some_and(|role| writes_patterns(role, links)) {
            tell(findings, "role-patterns", Place::Line(first.line));
        }
        let has_tenant = roles.get(position).is_some_and(|role| role.arity == 3);
        let default = links.iter().find(|row| has_tenant && row.cells.get(2) == Some(&"DEFAULT"));
        if let Some(row) = default {
            let without = roles.iter().zip(&subject.rows.links);
            if without.clone().any(|(role, links)| role.arity == 2 && !links.is_empty()) {
                tell(findings, "default-tenant", Place::Line(row.line));
            }
        }
        if let Some(row) = deep_member(links, has_tenant) {
            tell(findings, "role-depth", Place::Line(row.line));
        }
    }
}

/// The first link of a member whose farthest role only strict reaches.
fn deep_member<'l, 'r>(links: &'l [Row<'r>], has_tenant: bool) -> Option<&'l Row<'r>> {
    let tenant = |row: &Row<'r>| row.cells.get(2).copied().filter(|_| has_tenant).unwrap_or("");
    let mut roles: HashMap<(&str, &str), Vec<&str>> = HashMap::new();
    for row in links {
        let [member, role, ..] = row.cells.as_slice() else { continue };
        roles.entry((tenant(row), member)).or_default().push(role);
    }
    links.iter().find(|row| {
        let (tenant, mut level) =
            (tenant(row), row.cells.iter().take(1).copied().collect::<Vec<_>>());
        let mut seen = level.clone();
        for _ in 0..ROLE_DEPTH_MAX {
            let above = level.iter().filter_map(|name| roles.get(&(tenant, *name))).flatten();
            let mut next: Vec<&str> = above.copied().filter(|name| !seen.contains(name)).collect();
            next.sort_unstable();
            next.dedup();
            if next.is_empty() {
                return false;
            }
            seen.extend(&next);
            level = next;
        }
        // Ten full levels: one more than casbin-rs follows.
        ROLE_DEPTH_MAX > CASBIN_HOPS
    })
}

fn of_model(findings: &mut Findings<'_>, model: &Model) {
    if model.priority_column().is_some() {
        tell(findings, "priority-column", Place::Model(model.effect_span));
    }
}

fn of_effects(findings: &mut Findings<'_>, model: &Model, rules: &[Row<'_>]) {
    let column = model.effect_column().filter(|_| model.prefixes.1 != "p");
    let denying = rules.iter().find(|row| column.and_then(|c| row.cells.get(c)) == Some(&"deny"));
    if let Some(row) = denying {
        tell(findings, "context-effect", Place::Line(row.line));
    }
}

/// Tells each id once of a matcher: what differs in a part of it, and in a pattern that it writes itself.
fn of_matcher(
    findings: &mut Findings<'_>,
    model: &Model,
    of_part: fn(&ExprKind) -> Option<&'static str>,
    of_pattern: fn(Function, &str) -> Option<&'static str>,
) {
    let mut ids: Vec<&'static str> = Vec::new();
    model.matcher.walk(&mut |expr| {
        ids.extend(of_part(&expr.kind));
        if let ExprKind::Call(function, arguments) = &expr.kind
            && function.takes_pattern()
            && let Some(ExprKind::Str(text)) = arguments.get(1).map(|argument| &argument.kind)
        {
            ids.extend(of_pattern(*function, text));
        }
    });
    ids.sort_unstable();
    ids.dedup();
    for id in ids {
        tell(findings, id, Place::Model(model.matcher_span));
    }
}

fn of_part(part: &ExprKind) -> Option<&'static str> {
    match part {
        ExprKind::Request { path, .. } if !path.is_empty() => Some("unknown-value"),
        ExprKind::Binary(Operator::In, _, list) if !matches!(list.kind, ExprKind::List(_)) => {
            Some("text-in-text")
        }
        _ => None,
    }
}

/// Tells what differs in the cells that functions read as patterns.
fn of_cells(
    findings: &mut Findings<'_>,
    model: &Model,
    rules: &[Row<'_>],
    of_pattern: fn(Function, &str) -> Option<&'static str>,
) {
    let mut read = Vec::new();
    model.matcher.walk(&mut |expr| {
        if let ExprKind::Call(function, arguments) = &expr.kind
            && let Some(ExprKind::Policy { column }) = arguments.get(1).map(|a| &a.kind)
        {
            read.push((*function, *column));
        }
    });
    for row in rules {
        for (function, column) in &read {
            let Some(cell) = row.cells.get(*column) else { continue };
            if let Some(id) = of_pattern(*function, cell) {
                tell(findings, id, Place::Cell(cell));
            }
        }
    }
}

fn of_tenants(findings: &mut Findings<'_>, model: &Model, rules: &[Row<'_>]) {
    let tenant = model.request.iter().position(|name| is_tenant(name));
    let all = alternatives(&model.matcher).unwrap_or_default();
    let column = all.iter().flatten().find_map(|conjunct| match conjunct.test {
        Test::Equal { token, path: "", column } if Some(token) == tenant => Some(column),
        _ => None,
    });
    let any = rules.iter().filter_map(|row| row.cells.get(column?));
    if let Some(cell) = any.into_iter().find(|cell| **cell == "*") {
        tell(findings, "any-tenant", Place::Cell(cell));
    }
}

fn of_pattern(function: Function, text: &str) -> Option<&'static str> {
    let is_path = matches!(
        function,
        Function::KeyMatch2
            | Function::KeyMatch3
            | Function::KeyMatch4
            | Function::KeyMatch5
            | Function::KeyGet2
            | Function::KeyGet3
    );
    let names_in_a_segment = |segment: &str| segment.matches('{').count() > 1;
    match function {
        _ if is_path && text.contains('.') => Some("live-characters"),
        Function::KeyMatch3 if text.split('/').any(names_in_a_segment) => Some("named-parts"),
        Function::GlobMatch if text.contains('?') || text.contains('[') => Some("glob-bytes"),
        Function::IpMatch if text.contains(':') => Some("mapped-address"),
        _ => None,
    }
}
