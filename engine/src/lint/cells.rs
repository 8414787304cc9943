//! Single cells: rows that no request can match, expressions that match more than they show.

use crate::bind::is_tenant;
use crate::builtin::finite_set::finite_set;
use crate::diagnostic::Code;
use crate::dialect::Dialect;
use crate::expr::ast::{Expr, ExprKind, Function, Operator};
use crate::lint::Findings;
use crate::lint::roles::definitions;
use crate::model::Model;
use crate::path;
use crate::policy::alternatives::{Conjunct, Test, alternatives};
use crate::policy::rows::Row;

pub(super) fn find(findings: &mut Findings<'_>) {
    if findings.subject.model.dialect != Dialect::Strict {
        return;
    }
    for (model, rules) in definitions(findings) {
        let Some(all) = alternatives(&model.matcher) else { continue };
        for row in rules {
            broad(findings, &all, row);
            if let Some((cell, message, help)) = never(model, &all, row) {
                findings.row(cell, Code::NeverMatches, message, &help);
            }
        }
    }
}

/// Expressions of allow rules that are not anchored, or match every text.
fn broad(findings: &mut Findings<'_>, all: &[Vec<Conjunct<'_>>], row: &Row<'_>) {
    let mut seen = Vec::new();
    for conjunct in all.iter().flatten() {
        let Test::Regex { column, .. } = conjunct.test else { continue };
        let Some(cell) = row.cells.get(column).filter(|_| !seen.contains(&column)) else {
            continue;
        };
        seen.push(column);
        let message = match (cell.starts_with('^'), cell.ends_with('$')) {
            _ if is_everything(cell) => format!("the expression `{cell}` matches every text"),
            (true, true) if alternates_outside(cell) => {
                format!("the anchors of `{cell}` hold for its first and last alternative alone")
            }
            (true, true) => continue,
            (true, false) => format!("the expression `{cell}` matches whatever follows, too"),
            (false, _) => format!("the expression `{cell}` matches anywhere in a text"),
        };
        findings.row(cell, Code::BroadPattern, message, "anchor it: ^(read|write)$");
    }
}

fn is_everything(text: &str) -> bool {
    matches!(
        text.trim_start_matches('^').trim_end_matches('$'),
        "" | ".*" | "(.*)" | ".*?" | "[^\\n]*"
    )
}

/// `^a|b$`.
fn alternates_outside(text: &str) -> bool {
    let mut depth = 0_i32;
    let mut escaped = false;
    text.chars().any(|c| {
        let is_live = !escaped;
        escaped = c == '\\' && is_live;
        match c {
            '(' | '[' if is_live => depth += 1,
            ')' | ']' if is_live => depth -= 1,
            _ => {}
        }
        c == '|' && is_live && depth == 0
    })
}

/// Why no request can match a row: every alternative has a reason; the first is told.
fn never<'r>(
    model: &Model,
    all: &[Vec<Conjunct<'_>>],
    row: &Row<'r>,
) -> Option<(&'r str, String, String)> {
    let mut told = None;
    for conjuncts in all {
        let reason = conjuncts.iter().find_map(|conjunct| {
            unmatched(model, conjunct, row)
                .or_else(|| contradicted(model, conjuncts, conjunct, row))
        })?;
        told.get_or_insert(reason);
    }
    told
}

/// A cell that its conjunct can never accept.
fn unmatched<'r>(
    model: &Model,
    conjunct: &Conjunct<'_>,
    row: &Row<'r>,
) -> Option<(&'r str, String, String)> {
    if let (Test::Equal { token, path: "", column }, Some(cell)) =
        (conjunct.test, column_of(conjunct, row))
    {
        let name = model.request.get(token).map_or("", String::as_str);
        let column = model.policy.get(column).map_or("", String::as_str);
        if cell == "*" && is_tenant(name) {
            return None;
        }
        if cell == "*" {
            let message = format!("`*` is compared as it stands: no `{name}` is called that");
            let help = format!(
                "write ({r}.{name} == {p}.{column} || {p}.{column} == \"*\") in the matcher",
                r = model.prefixes.0,
                p = model.prefixes.1
            );
            return Some((cell, message, help));
        }
        if cell.is_empty() {
            let message = format!("the cell `{column}` is empty, and no `{name}` is");
            return Some((cell, message, "fill it in, or take the row out".to_owned()));
        }
        let is_pattern = cell.starts_with('/')
            && (cell.contains("/:") || cell.ends_with("/*") || cell.contains("/{"));
        if is_pattern {
            let message = format!("`{cell}` looks like a pattern and is compared as it stands");
            return Some((
                cell,
                message,
                "compare it by keyMatch2 or keyMatch3 in the matcher".to_owned(),
            ));
        }
    }
    let (ExprKind::Call(function, arguments), Some(cell)) =
        (&conjunct.expr.kind, column_of(conjunct, row))
    else {
        return None;
    };
    let is_of_path = matches!(
        function,
        Function::KeyMatch
            | Function::KeyMatch2
            | Function::KeyMatch3
            | Function::KeyMatch4
            | Function::KeyMatch5
    ) && matches!(arguments.first().map(|a| &a.kind), Some(ExprKind::Request { path, .. }) if path.is_empty());
    let literal = cell.split(['*', ':', '{']).next().unwrap_or("");
    if is_of_path && cell.starts_with('/') && path::decode(literal, &mut String::new()).is_none() {
        let message = format!("a path such as `{literal}` is refused before any rule is asked");
        return Some((
            cell,
            message,
            "write the path as requests have it: decoded, without `//` and `..`".to_owned(),
        ));
    }
    None
}

/// The one policy cell that a conjunct reads.
fn column_of<'r>(conjunct: &Conjunct<'_>, row: &Row<'r>) -> Option<&'r str> {
    let mut column = None;
    conjunct.expr.walk(&mut |expr| {
        if let ExprKind::Policy { column: found } = expr.kind {
            column = Some(found);
        }
    });
    row.cells.get(column?).copied()
}

/// A constant of the matcher that the cell contradicts: `r.act == "read"` beside a row for `write`.
fn contradicted<'r>(
    model: &Model,
    conjuncts: &[Conjunct<'_>],
    conjunct: &Conjunct<'_>,
    row: &Row<'r>,
) -> Option<(&'r str, String, String)> {
    let (token, path, column) = match conjunct.test {
        Test::Equal { token, path, column } | Test::Regex { token, path, column } => {
            (token, path, column)
        }
        _ => return None,
    };
    let cell = row.cells.get(column).copied()?;
    let possible = match conjunct.test {
        Test::Regex { .. } => finite_set(cell)?,
        _ => vec![cell.to_owned()],
    };
    let read = ExprKind::Request { token, path: path.to_owned() };
    let constants = conjuncts.iter().filter_map(|other| constants(other.expr, &read));
    let mut refusing =
        constants.filter(|texts| !possible.iter().any(|cell| texts.contains(&cell.as_str())));
    let texts = refusing.next()?;
    let name = model.request.get(token).map_or("", String::as_str);
    let message =
        format!("the matcher demands that `{name}` is {}, the row `{cell}`", texts.join(" or "));
    Some((cell, message, "take the row out, or change the matcher".to_owned()))
}

/// The texts that an expression demands of a request value: `r.x == "a"`, `r.x in ["a", "b"]`.
fn constants<'e>(expr: &'e Expr, read: &ExprKind) -> Option<Vec<&'e str>> {
    let text = |expr: &'e Expr| match &expr.kind {
        ExprKind::Str(text) => Some(text.as_str()),
        _ => None,
    };
    match &expr.kind {
        ExprKind::Binary(Operator::Equal, a, b) if a.kind == *read => Some(vec![text(b)?]),
        ExprKind::Binary(Operator::Equal, a, b) if b.kind == *read => Some(vec![text(a)?]),
        ExprKind::Binary(Operator::In, a, list) if a.kind == *read => match &list.kind {
            ExprKind::List(items) => items.iter().map(text).collect(),
            _ => None,
        },
        _ => None,
    }
}
