//! Expressions that rows bring for `eval(p.column)`: parsed and compiled when the policy loads, the row's own cells put
//! in the place of its columns.

use crate::diagnostic::{Code as DiagnosticCode, Diagnostic, Diagnostics, Source, Span};
use crate::dialect::Dialect;
use crate::expr::ast::{Expr, ExprKind};
use crate::expr::code::{Code, NodeId, Refused};
use crate::expr::error::ParseError;
use crate::expr::parse::parse;
use crate::model::Model;
use crate::policy::go_text::escape_assertion;
use crate::policy::rows::Row;
use std::collections::HashMap;

/// What the rows' expressions became.
#[derive(Debug, Default)]
pub(crate) struct RowExpressions {
    /// One root per row and column of expressions; `NodeId::MAX` does not parse, and is a fault when it is reached.
    pub(crate) roots: Vec<NodeId>,
    /// Where patterns of `Code::fixed` stand that a row brought, by their position there.
    pub(crate) fixed_spans: HashMap<usize, Span>,
}

/// Compiles all of them, each text once if it reads no cell.
///
/// # Errors
/// Too many request values, a list where none may stand. What does not parse is a finding, for Casbin's dialects a fault.
pub(crate) fn compile(
    model: &Model,
    rules: &[Row<'_>],
    source: Source<'_>,
    code: &mut Code,
    found: &mut Diagnostics,
) -> Result<RowExpressions, Refused> {
    let columns = code.evals.clone();
    let mut known: HashMap<&str, NodeId> = HashMap::new();
    let mut all = RowExpressions::default();
    for row in rules {
        for column in &columns {
            let text = row.cells.get(*column).copied().unwrap_or("");
            if let Some(root) = known.get(text) {
                all.roots.push(*root);
                continue;
            }
            let root = match expression(model, text) {
                Ok(mut expr) => {
                    let (is_shared, fixed) = (!expr.reads_policy(), code.fixed.len());
                    expr.put_cells(&row.cells);
                    let root = code.compile(&expr)?;
                    all.fixed_spans
                        .extend((fixed..code.fixed.len()).map(|at| (at, source.span_of(text))));
                    if is_shared {
                        known.insert(text, root);
                    }
                    root
                }
                Err(errors) => {
                    if model.dialect == Dialect::Strict {
                        errors.iter().for_each(|error| found.push(finding(source, text, error)));
                    }
                    NodeId::MAX
                }
            };
            all.roots.push(root);
        }
        if found.is_full() {
            break;
        }
    }
    Ok(all)
}

/// A row's own expression, as it is written.
///
/// # Errors
/// What does not parse, or asks for an expression in turn.
pub(crate) fn expression(model: &Model, text: &str) -> Result<Expr, Vec<ParseError>> {
    let go_text;
    let text = match model.dialect {
        Dialect::CasbinGo => {
            if let Some(at) = text.find('\\') {
                let message = "a backslash has no fixed meaning in a row's expression".to_owned();
                return Err(vec![ParseError::new(DiagnosticCode::Syntax, at, at + 1, message)]);
            }
            go_text = escape_assertion(text);
            go_text.as_str()
        }
        _ => text,
    };
    let expr = parse(text, model.names())?;
    let mut nested = Vec::new();
    expr.walk(&mut |expr| {
        if let ExprKind::Eval { .. } = expr.kind {
            let message = "`eval` may not stand in a row's own expression".to_owned();
            let code = DiagnosticCode::ArgumentKind;
            nested.push(ParseError::new(code, expr.start, expr.end, message));
        }
    });
    if nested.is_empty() { Ok(expr) } else { Err(nested) }
}

fn finding(source: Source<'_>, text: &str, error: &ParseError) -> Diagnostic {
    let part = text.get(error.start..error.end).filter(|part| !part.is_empty());
    let span = source.span_of(part.unwrap_or(text));
    let mut found = Diagnostic::error(source, span, error.code, error.message.clone());
    found.help.clone_from(&error.help);
    match &error.label {
        Some(label) => found.label(label.clone()),
        None => found,
    }
}
