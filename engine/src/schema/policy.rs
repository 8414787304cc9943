//! A policy held against its schema: attributes that nobody sends, comparisons that never hold.

use crate::bind::{Binding, Part};
use crate::diagnostic::{Code, Diagnostic, Diagnostics, Source};
use crate::expr::ast::{Expr, ExprKind, Operator};
use crate::model::Model;
use crate::policy::row_expressions::expression;
use crate::policy::rows::Rows;
use crate::schema::{Kind, Rule, Schema};
use crate::value::Value;

/// Everything in a policy that its schema says cannot be.
pub fn violations(
    schema: &Schema,
    (model, binding): (&Model, &Binding),
    rows: &Rows<'_>,
    (model_source, rows_source): (Source<'_>, Source<'_>),
) -> Diagnostics {
    let mut found = Diagnostics::default();
    let own = std::iter::once((model, binding.parts.as_slice(), rows.rules.as_slice()));
    let contexts = model.contexts.iter().zip(&binding.contexts).zip(&rows.contexts);
    let contexts = contexts
        .map(|((context, parts), rules)| (&context.model, parts.as_slice(), rules.as_slice()));
    for (model, parts, rules) in own.chain(contexts) {
        let checker = Checker { schema, model, parts };
        for (code, message) in checker.expression(&model.matcher) {
            found.push(Diagnostic::error(model_source, model.matcher_span, code, message));
        }
        for column in checker.own_columns() {
            for row in rules {
                let Some(text) = row.cells.get(column) else { continue };
                let Ok(expr) = expression(model, text) else { continue };
                for (code, message) in checker.expression(&expr) {
                    let span = rows_source.span_of(text);
                    found.push(Diagnostic::error(rows_source, span, code, message));
                }
            }
        }
    }
    found
}

struct Checker<'c> {
    schema: &'c Schema,
    model: &'c Model,
    parts: &'c [Part],
}

impl Checker<'_> {
    /// Columns whose cells are expressions.
    fn own_columns(&self) -> Vec<usize> {
        let mut columns = Vec::new();
        self.model.matcher.walk(&mut |expr| {
            if let ExprKind::Eval { column } = expr.kind {
                columns.push(column);
            }
        });
        columns
    }

    fn expression(&self, expr: &Expr) -> Vec<(Code, String)> {
        let mut found = Vec::new();
        expr.walk(&mut |expr| match &expr.kind {
            ExprKind::Request { .. } => found.extend(self.unknown(expr)),
            ExprKind::Binary(operator, left, right) => {
                found.extend(self.comparison(*operator, left, right));
                found.extend(self.comparison(*operator, right, left));
            }
            _ => {}
        });
        found
    }

    /// The part, path and shown name of an attribute; `None` for anything else.
    fn attribute<'e>(&self, expr: &'e Expr) -> Option<(Part, &'e str, String)> {
        let ExprKind::Request { token, path } = &expr.kind else { return None };
        let part = self.parts.get(*token).copied()?;
        let is_own = path.is_empty()
            || matches!(path.as_str(), "id" | "type")
            || (part == Part::Action && path == "name");
        let name = self.model.request.get(*token).map_or("", String::as_str);
        (!is_own).then(|| (part, path.as_str(), format!("{}.{name}.{path}", self.model.prefixes.0)))
    }

    fn unknown(&self, expr: &Expr) -> Option<(Code, String)> {
        let (part, path, name) = self.attribute(expr)?;
        if self.schema.knows(part, path) {
            return None;
        }
        let theirs = self.schema.attributes.iter().filter(|((of, _), _)| *of == part);
        let close = crate::diagnostic::nearest(path, theirs.map(|((_, path), _)| path.as_str()));
        let hint = close.map_or(String::new(), |close| format!("; did you mean `{close}`?"));
        Some((Code::SchemaViolation, format!("schema.json has no `{name}`{hint}")))
    }

    fn comparison(&self, operator: Operator, left: &Expr, right: &Expr) -> Option<(Code, String)> {
        let (part, path, name) = self.attribute(left)?;
        let rule = self.schema.rule(part, path)?;
        let constants: Vec<Value<'_>> = match (&right.kind, operator) {
            (ExprKind::List(items), Operator::In) => items.iter().filter_map(constant).collect(),
            _ => constant(right).into_iter().collect(),
        };
        let is_order = matches!(
            operator,
            Operator::Less | Operator::LessEqual | Operator::Greater | Operator::GreaterEqual
        );
        let is_equality = matches!(operator, Operator::Equal | Operator::NotEqual | Operator::In);
        let wrong = constants.into_iter().find(|value| match (is_order, is_equality) {
            (true, _) => !comparable(rule, value),
            (_, true) => !rule.admits(value),
            _ => false,
        })?;
        let said = match comparable(rule, &wrong) {
            false => format!("is {}", kinds(rule)),
            true => "is none of its values".to_owned(),
        };
        let message = format!("`{name}` {said} in schema.json, compared with {}", wrong.kind());
        Some((Code::SchemaViolation, message))
    }
}

fn comparable(rule: &Rule, value: &Value<'_>) -> bool {
    let is_number = matches!(value, Value::Int(_) | Value::Dec { .. });
    let numbers = [Kind::Integer, Kind::Number];
    rule.kinds.is_empty()
        || rule.kinds.iter().any(|kind| kind.holds(value) || (is_number && numbers.contains(kind)))
}

fn kinds(rule: &Rule) -> String {
    let names: Vec<&str> = rule.kinds.iter().map(|kind| kind.name()).collect();
    names.join(" or ")
}

fn constant(expr: &Expr) -> Option<Value<'_>> {
    match &expr.kind {
        ExprKind::Str(text) => Some(Value::Str(text)),
        ExprKind::Number(value) => Some(*value),
        ExprKind::Bool(bool) => Some(Value::Bool(*bool)),
        _ => None,
    }
}
