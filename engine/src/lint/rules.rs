//! Rules that cannot decide, because of another rule or of the effect rule.
//!
//! A rule is compared with those that agree with it in what the matcher compares exactly: they are found by that key,
//! so that a large policy is not compared with itself.

use crate::bind::is_tenant;
use crate::diagnostic::Code;
use crate::dialect::Dialect;
use crate::expr::ast::{ExprKind, Function};
use crate::lint::Findings;
use crate::lint::covers::{covers, overlap};
use crate::model::{EffectRule, Model};
use crate::policy::PolicySet;
use crate::policy::alternatives::{Conjunct, Test, alternatives};
use crate::policy::facts::{Effect, Facts};
use std::collections::HashMap;

/// Rules that one rule is compared with; beyond them nothing is said.
const COMPARISONS_MAX: usize = 256;

pub(super) fn find(findings: &mut Findings<'_>) {
    let subject = *findings.subject;
    if subject.model.dialect != Dialect::Strict {
        return;
    }
    for policy in subject.policies {
        of_policy(findings, subject.model, policy);
        for (context, (_, policy)) in subject.model.contexts.iter().zip(&policy.contexts) {
            of_policy(findings, &context.model, policy);
        }
    }
}

fn of_policy(findings: &mut Findings<'_>, model: &Model, policy: &PolicySet) {
    let Some(all) = alternatives(&model.matcher) else { return };
    let facts = &policy.facts;
    let comparer = Comparer { model, facts, all: &all };
    let first = all.first().map(Vec::as_slice).unwrap_or(&[]);
    let parts: Vec<Part> = first.iter().flat_map(|conjunct| comparer.parts(conjunct)).collect();
    let key = |row: usize| -> Vec<u32> {
        parts.iter().map(|part| facts.cell(row, part.column)).collect()
    };
    let mut buckets: HashMap<Vec<u32>, Vec<u32>> = HashMap::new();
    for row in 0..facts.rows() {
        buckets.entry(key(row)).or_default().push(u32::try_from(row).unwrap_or(u32::MAX));
    }
    for row in 0..facts.rows() {
        let effect = facts.effect(row);
        if let Some(message) = without_effect(model.effect, effect) {
            let help = "take the rule out, or use an effect rule that asks both kinds";
            findings.line(line(facts, row), Code::UnreachableRule, message, help);
            continue;
        }
        let mut left = COMPARISONS_MAX;
        for key in wider_keys(&parts, facts, row) {
            for other in buckets.get(&key).into_iter().flatten() {
                left = left.saturating_sub(1);
                if left == 0 {
                    break;
                }
                if comparer.report(findings, *other as usize, row) {
                    left = 0;
                    break;
                }
            }
            if left == 0 {
                break;
            }
        }
    }
}

fn line(facts: &Facts, row: usize) -> u32 {
    facts.line(row)
}

/// Kinds of rules that an effect rule does not look at.
fn without_effect(rule: EffectRule, effect: Effect) -> Option<String> {
    match (rule, effect) {
        (EffectRule::AllowOverride, Effect::Deny) => {
            Some("this effect rule does not look at rules that deny".to_owned())
        }
        (EffectRule::DenyOverride, Effect::Allow) => Some(
            "this effect rule allows whatever no rule denies: the rule changes nothing".to_owned(),
        ),
        _ => None,
    }
}

/// A column that is compared exactly, or by what a wider rule may say there.
#[derive(Clone, Copy)]
struct Part {
    column: u16,
    wider: Wider,
}

#[derive(Clone, Copy)]
enum Wider {
    Same,
    OrAny,
    /// A role that the narrower rule's subject reaches, in the domain of this column.
    Reached {
        graph: u16,
        domain: Option<u16>,
    },
}

/// The keys under which rules stand that may say the same as `row` or more.
fn wider_keys(parts: &[Part], facts: &Facts, row: usize) -> Vec<Vec<u32>> {
    let mut keys: Vec<Vec<u32>> = vec![Vec::new()];
    for part in parts {
        let cell = facts.cell(row, part.column);
        let mut choices = vec![cell];
        match part.wider {
            Wider::Same => {}
            Wider::OrAny => choices.extend(facts.texts.find("*").filter(|star| *star != cell)),
            Wider::Reached { graph, domain } => {
                let domain = domain.map(|column| facts.cell(row, column));
                let reached = facts.roles.closure(graph, domain, cell);
                choices.extend(reached.iter().filter(|role| **role != cell));
            }
        }
        if keys.len() * choices.len() > COMPARISONS_MAX {
            choices.truncate(1);
        }
        let longer = |key: &Vec<u32>, choice: u32| key.iter().copied().chain([choice]).collect();
        keys = keys
            .iter()
            .flat_map(|key| choices.iter().map(|c| longer(key, *c)).collect::<Vec<_>>())
            .collect();
    }
    keys
}

struct Comparer<'c> {
    model: &'c Model,
    facts: &'c Facts,
    all: &'c [Vec<Conjunct<'c>>],
}

impl Comparer<'_> {
    /// The columns of a conjunct that are compared by key; patterns are compared one by one.
    fn parts(&self, conjunct: &Conjunct<'_>) -> Vec<Part> {
        let narrow = |column: usize| u16::try_from(column).unwrap_or(u16::MAX);
        match conjunct.test {
            Test::Equal { column, .. } | Test::InList { column, .. } => {
                vec![Part { column: narrow(column), wider: Wider::Same }]
            }
            Test::EqualOrAny { column, .. } => {
                vec![Part { column: narrow(column), wider: Wider::OrAny }]
            }
            Test::Role { graph, column, domain, .. } => {
                let graph = narrow(graph);
                let domain = domain.map(|_| self.domain_column().map(narrow));
                // Without a column of the tenant nothing is known of its roles.
                let wider = match (
                    self.facts.roles.is_timed(graph) || self.facts.roles.is_patterned(graph),
                    domain,
                ) {
                    (true, _) | (_, Some(None)) => Wider::Same,
                    (false, domain) => Wider::Reached { graph, domain: domain.flatten() },
                };
                vec![Part { column: narrow(column), wider }]
            }
            Test::Regex { .. } => Vec::new(),
            Test::Other if pattern_of(conjunct).is_some() => Vec::new(),
            Test::Other => {
                let mut columns = Vec::new();
                let is_own = |kind: &ExprKind| matches!(kind, ExprKind::Eval { .. });
                conjunct.expr.walk(&mut |expr| match expr.kind {
                    ExprKind::Policy { column } | ExprKind::Eval { column } => columns.push(column),
                    _ => {}
                });
                let mut has_own = false;
                conjunct.expr.walk(&mut |expr| has_own |= is_own(&expr.kind));
                // A row's own expression may read each of its cells.
                if has_own {
                    columns = (0..self.facts.columns)
                        .filter(|c| Some(*c) != self.model.effect_column())
                        .collect();
                }
                let part = |column| Part { column: narrow(column), wider: Wider::Same };
                columns.into_iter().map(part).collect()
            }
        }
    }

    fn domain_column(&self) -> Option<usize> {
        self.model.policy.iter().position(|name| is_tenant(name))
    }

    /// Tells what `other` does to `row`, if it does anything.
    fn report(&self, findings: &mut Findings<'_>, other: usize, row: usize) -> bool {
        if other == row {
            return false;
        }
        let (facts, is_first) = (self.facts, other < row);
        let same = facts.effect(other) == facts.effect(row);
        let by = line(facts, other);
        if !self.covers(other, row) {
            if !same && is_first && self.meets(other, row) {
                let message = format!(
                    "this pattern and that of policy.csv:{by} meet, and their effects differ"
                );
                let help = "make one of them narrower, or allow the finding if the effect rule says what you mean";
                findings.line(line(facts, row), Code::OverlappingPatterns, message, help);
                return true;
            }
            return false;
        }
        let is_ordered =
            matches!(self.model.effect, EffectRule::Priority | EffectRule::SubjectPriority);
        // Two that say the same: the later is told.
        let is_equal = self.covers(row, other);
        let denies = facts.effect(other) == Effect::Deny;
        let found = match (is_ordered, same) {
            (true, _) if !is_first => None,
            (true, false) => Some((Code::UnreachableRule, "decides before it")),
            (false, false) if denies => {
                Some((Code::UnreachableRule, "denies whatever this rule allows"))
            }
            (false, false) => None,
            (_, true) if is_equal && !is_first => None,
            (_, true) => Some((Code::ShadowedRule, "says the same and more")),
        };
        let Some((code, what)) = found else { return false };
        let message = format!("policy.csv:{by} {what}");
        findings.line(
            line(facts, row),
            code,
            message,
            "take this rule out, or make the other narrower",
        );
        true
    }

    /// Whether whatever matches `narrow` matches `wide`.
    fn covers(&self, wide: usize, narrow: usize) -> bool {
        self.all.iter().flatten().all(|conjunct| self.conjunct_covers(conjunct, wide, narrow))
    }

    fn conjunct_covers(&self, conjunct: &Conjunct<'_>, wide: usize, narrow: usize) -> bool {
        if let Some((function, column)) = pattern_of(conjunct) {
            let cell = |row| self.facts.cell_text(row, column);
            return covers(function, cell(wide), cell(narrow));
        }
        self.parts(conjunct).iter().all(|part| {
            let (one, other) =
                (self.facts.cell(wide, part.column), self.facts.cell(narrow, part.column));
            one == other
                || match part.wider {
                    Wider::Same => false,
                    Wider::OrAny => self.facts.texts.get(one) == "*",
                    Wider::Reached { graph, domain } => {
                        let domain = domain.map(|column| self.facts.cell(narrow, column));
                        self.facts.roles.closure(graph, domain, other).contains(&one)
                    }
                }
        })
    }

    /// Whether some request may match both, by their patterns; everything else is the same.
    fn meets(&self, one: usize, other: usize) -> bool {
        let mut has_pattern = false;
        let meets = self.all.iter().flatten().all(|conjunct| match pattern_of(conjunct) {
            Some((function, column)) => {
                let cell = |row| self.facts.cell_text(row, column);
                let equal = cell(one) == cell(other);
                has_pattern |= !equal;
                equal || overlap(function, cell(one), cell(other))
            }
            None => self.parts(conjunct).iter().all(|part| {
                self.facts.cell(one, part.column) == self.facts.cell(other, part.column)
            }),
        });
        let is_asked = matches!(
            self.model.effect,
            EffectRule::AllowAndDeny | EffectRule::Priority | EffectRule::SubjectPriority
        );
        meets && has_pattern && is_asked && !self.covers(other, one)
    }
}

/// The function and column of `keyMatch2(r.x, p.y)` and its like.
fn pattern_of(conjunct: &Conjunct<'_>) -> Option<(Function, u16)> {
    let ExprKind::Call(function, arguments) = &conjunct.expr.kind else { return None };
    let [text, pattern] = arguments.as_slice() else { return None };
    match (&text.kind, &pattern.kind) {
        (ExprKind::Request { .. }, ExprKind::Policy { column })
            if !matches!(function, Function::Role(_) | Function::Custom(_)) =>
        {
            Some((*function, u16::try_from(*column).ok()?))
        }
        _ => None,
    }
}
