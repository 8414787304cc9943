//! A matcher as at most `ALTERNATIVES_MAX` conjunctions, each conjunct recognised if it can be.
//!
//! Distribution is exact under Kleene's logic, so an alternative may be answered on its own. What
//! is not recognised stays an expression, evaluated per candidate row.

use crate::bounds::ALTERNATIVES_MAX;
use crate::expr::ast::{Expr, ExprKind, Function, Operator};

/// A conjunct that an index can answer, or one that it cannot.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Test<'e> {
    /// `r.x == p.y`
    Equal { token: usize, path: &'e str, column: usize },
    /// `(r.x == p.y || p.y == "*")`
    EqualOrAny { token: usize, path: &'e str, column: usize },
    /// `g(r.x, p.y)` or `g(r.x, p.y, domain)`
    Role { graph: usize, token: usize, path: &'e str, column: usize, domain: Option<&'e Expr> },
    /// `p.y in r.x`
    InList { token: usize, path: &'e str, column: usize },
    /// `regexMatch(r.x, p.y)`
    Regex { token: usize, path: &'e str, column: usize },
    /// Anything else.
    Other,
}

/// One conjunct and what it was recognised as.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Conjunct<'e> {
    pub(crate) expr: &'e Expr,
    pub(crate) test: Test<'e>,
}

/// The conjunctions of `matcher`, or `None` if there are more than `ALTERNATIVES_MAX`.
pub(crate) fn alternatives(matcher: &Expr) -> Option<Vec<Vec<Conjunct<'_>>>> {
    let found = match &matcher.kind {
        ExprKind::Binary(Operator::And, left, right) => {
            let (left, right) = (alternatives(left)?, alternatives(right)?);
            if left.len() * right.len() > ALTERNATIVES_MAX {
                return None;
            }
            let pairs = left.iter().flat_map(|a| right.iter().map(move |b| (a, b)));
            pairs.map(|(a, b)| a.iter().chain(b).copied().collect()).collect()
        }
        ExprKind::Binary(Operator::Or, left, right) => match equal_or_any(left, right) {
            Some(test) => vec![vec![Conjunct { expr: matcher, test }]],
            None => {
                let mut both = alternatives(left)?;
                both.extend(alternatives(right)?);
                both
            }
        },
        _ => vec![vec![Conjunct { expr: matcher, test: recognise(matcher) }]],
    };
    (found.len() <= ALTERNATIVES_MAX).then_some(found)
}

fn recognise(expr: &Expr) -> Test<'_> {
    match &expr.kind {
        ExprKind::Binary(Operator::Equal, left, right) => match request_and_column(left, right) {
            Some((token, path, column)) => Test::Equal { token, path, column },
            None => Test::Other,
        },
        ExprKind::Binary(Operator::In, needle, list) => match (&needle.kind, &list.kind) {
            (ExprKind::Policy { column }, ExprKind::Request { token, path }) => {
                Test::InList { token: *token, path, column: *column }
            }
            _ => Test::Other,
        },
        ExprKind::Call(Function::Role(graph), arguments) => match arguments.as_slice() {
            [member, role, domain @ ..] => match (&member.kind, &role.kind) {
                (ExprKind::Request { token, path }, ExprKind::Policy { column }) => Test::Role {
                    graph: *graph,
                    token: *token,
                    path,
                    column: *column,
                    domain: domain.first(),
                },
                _ => Test::Other,
            },
            _ => Test::Other,
        },
        ExprKind::Call(Function::RegexMatch, arguments) => match arguments.as_slice() {
            [text, pattern] => match (&text.kind, &pattern.kind) {
                (ExprKind::Request { token, path }, ExprKind::Policy { column }) => {
                    Test::Regex { token: *token, path, column: *column }
                }
                _ => Test::Other,
            },
            _ => Test::Other,
        },
        _ => Test::Other,
    }
}

/// `r.x == p.y` in either order.
fn request_and_column<'e>(left: &'e Expr, right: &'e Expr) -> Option<(usize, &'e str, usize)> {
    match (&left.kind, &right.kind) {
        (ExprKind::Request { token, path }, ExprKind::Policy { column })
        | (ExprKind::Policy { column }, ExprKind::Request { token, path }) => {
            Some((*token, path, *column))
        }
        _ => None,
    }
}

fn equal_or_any<'e>(left: &'e Expr, right: &'e Expr) -> Option<Test<'e>> {
    let one_way = |equal: &'e Expr, any: &'e Expr| {
        let Test::Equal { token, path, column } = recognise(equal) else { return None };
        let ExprKind::Binary(Operator::Equal, a, b) = &any.kind else { return None };
        let star = |expr: &Expr| matches!(&expr.kind, ExprKind::Str(text) if text == "*");
        let same = |expr: &Expr| expr.kind == ExprKind::Policy { column };
        let found = (star(a) && same(b)) || (star(b) && same(a));
        found.then_some(Test::EqualOrAny { token, path, column })
    };
    one_way(left, right).or_else(|| one_way(right, left))
}
