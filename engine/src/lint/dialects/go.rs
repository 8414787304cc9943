//! Where `casbin-go` alone would answer differently from `strict`: both readings of the same files side by side, then
//! what they hold.

use super::{Place, load, of_cells, of_matcher, tell, tell_errors};
use crate::dialect::Dialect;
use crate::expr::ast::{Expr, ExprKind, Function, Operator};
use crate::lint::Findings;
use crate::lint::roles::definitions;
use crate::model::EffectRule;
use crate::policy::compile::asks_no_row;
use crate::policy::rows::{Row, Rows, parse_rows};
use crate::value::Value;

/// Every id that tells of Casbin for Go alone, and what differs.
pub const DIFFERENCES_OF_GO: &[(&str, &str)] = &[
    ("not-in-go", "casbin-go cannot load this"),
    (
        "matcher-reading",
        "casbin-go reads this matcher otherwise: comparisons bind alike, strings have no escapes, `[` is `(`",
    ),
    ("matcher-without-cells", "casbin-go asks no rule where the matcher reads no cell: it allows"),
    ("blanks-in-cells", "casbin-go keeps the blanks at the end of a cell"),
    ("rule-order", "casbin-go orders these rules otherwise"),
    ("link-times", "casbin-go looks at the times of a link only where code asks it to"),
    (
        "float-arithmetic",
        "casbin-go counts with floats: a sum of decimals or a quotient is inexact",
    ),
    ("greedy-names", "casbin-go takes `{a}_{b}` in keyMatch4 and keyMatch5 for one name"),
    ("glob-end", "casbin-go lets `/a/**` match `/a` too"),
    ("glob-class", "casbin-go lets `[!a]` in a glob match a slash"),
    ("ascii-classes", r"casbin-go reads `\d`, `\w`, `\s` and `\b` of ASCII alone"),
];

pub(super) fn find(findings: &mut Findings<'_>) {
    let subject = *findings.subject;
    match load(findings, Dialect::CasbinGo) {
        Err(errors) => tell_errors(findings, "not-in-go", &errors),
        Ok(go) => {
            let contexts = subject.model.contexts.iter().zip(&go.contexts);
            let contexts = contexts.map(|(ours, theirs)| (&ours.model, &theirs.model));
            for (ours, theirs) in std::iter::once((subject.model, &go)).chain(contexts) {
                if ours.matcher != theirs.matcher {
                    tell(findings, "matcher-reading", Place::Model(ours.matcher_span));
                }
                if asks_no_row(theirs, subject.rows) && !subject.rows.rules.is_empty() {
                    tell(findings, "matcher-without-cells", Place::Model(ours.matcher_span));
                }
            }
            if let Ok(rows) = parse_rows(subject.rows_source, &go) {
                of_rows(findings, &rows);
            }
        }
    }
    let timed =
        subject.model.roles.iter().zip(&subject.rows.links).filter(|(role, _)| role.is_timed);
    for line in timed.filter_map(|(_, links)| links.first()).map(|row| row.line).collect::<Vec<_>>()
    {
        tell(findings, "link-times", Place::Line(line));
    }
    for (model, rules) in definitions(findings) {
        of_matcher(findings, model, of_part, of_pattern);
        of_cells(findings, model, rules, of_pattern);
    }
}

/// What Go makes of the same lines.
fn of_rows(findings: &mut Findings<'_>, go: &Rows<'_>) {
    let subject = *findings.subject;
    let ordered =
        matches!(subject.model.effect, EffectRule::Priority | EffectRule::SubjectPriority);
    let lines = |rows: &Rows<'_>| rows.rules.iter().map(|row| row.line).collect::<Vec<_>>();
    if ordered && lines(subject.rows) != lines(go) {
        tell(findings, "rule-order", Place::Model(subject.model.effect_span));
    }
    let mut theirs: Vec<&Row<'_>> = go.all().collect();
    theirs.sort_unstable_by_key(|row| row.line);
    for ours in subject.rows.all() {
        let found = theirs.binary_search_by_key(&ours.line, |row| row.line).ok();
        if found.and_then(|at| theirs.get(at)).is_some_and(|row| row.cells != ours.cells) {
            tell(findings, "blanks-in-cells", Place::Line(ours.line));
        }
    }
}

fn of_part(part: &ExprKind) -> Option<&'static str> {
    match part {
        ExprKind::Binary(operator, left, right) if is_inexact(*operator, left, right) => {
            Some("float-arithmetic")
        }
        _ => None,
    }
}

/// Whether a float may end elsewhere than an exact number.
fn is_inexact(operator: Operator, left: &Expr, right: &Expr) -> bool {
    let decimal = |expr: &Expr| matches!(expr.kind, ExprKind::Number(Value::Dec { .. }));
    match operator {
        Operator::Divide => true,
        Operator::Add | Operator::Subtract | Operator::Multiply | Operator::Remainder => {
            decimal(left) || decimal(right)
        }
        _ => false,
    }
}

fn of_pattern(function: Function, text: &str) -> Option<&'static str> {
    let has_two_names = |segment: &str| segment.matches('{').count() > 1;
    let classes = ["\\d", "\\w", "\\s", "\\b", "\\D", "\\W", "\\S"];
    match function {
        Function::KeyMatch4 | Function::KeyMatch5 if text.split('/').any(has_two_names) => {
            Some("greedy-names")
        }
        Function::GlobMatch if text.ends_with("/**") || text.ends_with("/**/") => Some("glob-end"),
        Function::GlobMatch if text.contains("[!") || text.contains("[^") => Some("glob-class"),
        Function::RegexMatch if classes.iter().any(|class| text.contains(class)) => {
            Some("ascii-classes")
        }
        _ => None,
    }
}
