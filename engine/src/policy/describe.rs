//! The matcher's conjuncts kept for people: what each is about, and which rules came closest.

use crate::dialect::Dialect;
use crate::expr::ast::{Expr, ExprKind, Operator};
use crate::expr::code::{Code, NodeId, Refused, Slot};
use crate::model::Model;
use crate::now::Now;
use crate::policy::PolicySet;
use crate::policy::alternatives::{Test, alternatives};
use crate::policy::facts::Effect;
use crate::policy::index::{ANY, NONE};
use crate::policy::roles::Asked;
use crate::value::Value;

/// Up to so many rules an explanation asks all.
const ASKED_MAX: usize = 256;
/// Of more, so many of the subject's own.
const ASKED_OF_SUBJECT_MAX: usize = 48;
/// Roles of a subject that an explanation lists.
const ROLES_SHOWN: usize = 8;

/// One conjunct of the matcher.
#[derive(Debug, Clone)]
pub(crate) struct Described {
    pub(crate) node: NodeId,
    /// As the model writes it.
    pub(crate) text: String,
    /// The first value of the request that it reads, as the model names it.
    pub(crate) name: String,
    pub(crate) token: Option<usize>,
    pub(crate) slot: Option<u16>,
    /// The column that it compares with a value.
    pub(crate) column: Option<u16>,
    pub(crate) role: Option<RoleTest>,
    pub(crate) is_equality: bool,
    /// The column whose cell is the condition itself.
    pub(crate) own: Option<u16>,
}

/// The role function of a conjunct.
#[derive(Debug, Clone)]
pub(crate) struct RoleTest {
    graph: u16,
    name: String,
    domain: Option<NodeId>,
}

/// A rule, the conjunction that fits it best, and what held.
#[derive(Debug)]
pub(crate) struct Nearest<'p> {
    pub(crate) rule: u32,
    pub(crate) conjuncts: &'p [Described],
    pub(crate) truths: Vec<Option<bool>>,
}

/// The conjunctions of a model's matcher; one of one conjunct where it has too many.
pub(crate) fn describe(model: &Model, code: &mut Code) -> Result<Vec<Vec<Described>>, Refused> {
    let found = alternatives(&model.matcher).filter(|_| model.dialect == Dialect::Strict);
    let Some(found) = found else {
        return Ok(vec![vec![one(model, &model.matcher, Test::Other, code)?]]);
    };
    let all = found.iter().map(|conjuncts| {
        let one =
            |c: &crate::policy::alternatives::Conjunct<'_>| one(model, c.expr, c.test, &mut *code);
        conjuncts.iter().map(one).collect::<Result<Vec<_>, _>>()
    });
    all.collect()
}

fn one(model: &Model, expr: &Expr, test: Test<'_>, code: &mut Code) -> Result<Described, Refused> {
    let (mut request, mut column) = (None, None);
    expr.walk(&mut |expr| match &expr.kind {
        ExprKind::Request { token, path } => {
            request.get_or_insert((*token, path.as_str()));
        }
        ExprKind::Policy { column: found } => {
            column.get_or_insert(*found);
        }
        _ => {}
    });
    let text = model.matcher_text.as_str();
    let name = request.map(|(token, path)| name_of(model, token, path));
    // What a rule asks for can be said where one column is compared with one value.
    let is_comparison = test != Test::Other || is_pattern(expr);
    let role = match test {
        Test::Role { graph, domain, .. } => Some(RoleTest {
            graph: u16::try_from(graph).unwrap_or(u16::MAX),
            name: model.roles.get(graph).map_or("g", |role| &role.name).to_owned(),
            domain: domain.map(|domain| code.compile(domain)).transpose()?,
        }),
        _ => None,
    };
    Ok(Described {
        node: code.compile(expr)?,
        text: text.get(expr.start..expr.end).unwrap_or(text).trim().to_owned(),
        name: name.unwrap_or_default(),
        token: request.map(|(token, _)| token),
        slot: request.map(|(token, path)| code.slot(token, path)).transpose()?,
        column: column.filter(|_| is_comparison).and_then(|column| u16::try_from(column).ok()),
        role,
        is_equality: matches!(&expr.kind, ExprKind::Binary(Operator::Equal, _, _)),
        own: match expr.kind {
            ExprKind::Eval { column } => u16::try_from(column).ok(),
            _ => None,
        },
    })
}

/// `keyMatch(r.x, p.y)` and its like.
fn is_pattern(expr: &Expr) -> bool {
    let ExprKind::Call(_, arguments) = &expr.kind else { return false };
    let [text, pattern] = arguments.as_slice() else { return false };
    matches!(text.kind, ExprKind::Request { .. }) && matches!(pattern.kind, ExprKind::Policy { .. })
}

fn name_of(model: &Model, token: usize, path: &str) -> String {
    let token = model.request.get(token).map_or("", String::as_str);
    match path.is_empty() {
        true => format!("{}.{token}", model.prefixes.0),
        false => format!("{}.{token}.{path}", model.prefixes.0),
    }
}

impl PolicySet {
    /// How one rule fares: by the conjunction of which most holds.
    pub(crate) fn nearest_of(
        &self,
        tuple: &[Value<'_>],
        rule: u32,
        now: Now,
    ) -> Option<Nearest<'_>> {
        let mut machine = self.machine(tuple, now);
        let fare = self.described.iter().map(|conjuncts| {
            let truth = |described: &Described| match self.dialect {
                Dialect::Strict => machine.truth(described.node, rule as usize),
                _ => self.casbin_truth(&mut machine, described.node, rule as usize).ok(),
            };
            let truths: Vec<Option<bool>> = conjuncts.iter().map(truth).collect();
            Nearest { rule, conjuncts, truths }
        });
        let failing =
            |near: &Nearest<'_>| near.truths.iter().filter(|truth| **truth != Some(true)).count();
        fare.min_by_key(failing)
    }

    /// The allow rules of which most holds, the earlier first. Of a large policy only those are asked that have
    /// something in common with the request: rules of its subject, and rules for what it asks.
    pub(crate) fn nearest(&self, tuple: &[Value<'_>], most: usize, now: Now) -> Vec<Nearest<'_>> {
        let mut best: Vec<(usize, Nearest<'_>)> = Vec::new();
        for rule in self.near(tuple, now) {
            if self.rule_effect(rule) != Effect::Allow || self.facts.is_removed(rule as usize) {
                continue;
            }
            let Some(near) = self.nearest_of(tuple, rule, now) else { continue };
            let failing = near.truths.iter().filter(|truth| **truth != Some(true)).count();
            let place = best.partition_point(|(known, _)| *known <= failing);
            if place < most {
                best.insert(place, (failing, near));
                best.truncate(most);
            }
        }
        best.into_iter().map(|(_, near)| near).collect()
    }

    /// The rules that an explanation asks, in their order.
    fn near(&self, tuple: &[Value<'_>], now: Now) -> Vec<u32> {
        let all = u32::try_from(self.rule_count()).unwrap_or(u32::MAX);
        let index = self.index.as_ref().filter(|_| self.rule_count() > ASKED_MAX);
        let Some(index) = index else { return (0..all).collect() };
        let mut rules = Vec::new();
        for alternative in index.alternatives.iter() {
            rules.extend(self.rules_of_member(alternative, tuple, now, ASKED_OF_SUBJECT_MAX));
            let second =
                alternative.second.and_then(|second| tuple.get(usize::from(second.slot))?.as_str());
            let key = second.and_then(|text| self.facts.texts.find(text)).unwrap_or(NONE);
            rules.extend(alternative.twin.samples(key));
            rules.extend(alternative.twin.samples(ANY));
        }
        let loaded = u32::try_from(self.facts.loaded.effects.len()).unwrap_or(u32::MAX);
        rules.extend(loaded..all);
        rules.sort_unstable();
        rules.dedup();
        rules
    }

    /// A conjunct as the matcher says it, or as the rule does.
    pub(crate) fn text_of(&self, rule: u32, described: &Described) -> String {
        let own = described.own.map(|column| self.facts.cell_text(rule as usize, column));
        own.unwrap_or(&described.text).to_owned()
    }

    /// What a rule writes in the column that a conjunct reads.
    pub(crate) fn needs(&self, rule: u32, described: &Described) -> Option<String> {
        let column = described.column?;
        Some(self.facts.cell_text(rule as usize, column).to_owned())
    }

    /// The name of a role definition, and the domain that the request asks in.
    pub(crate) fn role_definition<'r>(
        &self,
        tuple: &[Value<'_>],
        role: &'r RoleTest,
    ) -> (&'r str, Option<String>) {
        (&role.name, self.domain(tuple, role))
    }

    fn domain(&self, tuple: &[Value<'_>], role: &RoleTest) -> Option<String> {
        let mut machine = self.machine(tuple, Now(0));
        let value = machine.value(role.domain?, 0);
        value.as_str().map(str::to_owned)
    }

    /// The roles that the request's value of a conjunct reaches.
    pub(crate) fn roles_of(
        &self,
        tuple: &[Value<'_>],
        described: &Described,
        now: Now,
    ) -> Option<String> {
        let role = described.role.as_ref()?;
        let member = tuple.get(usize::from(described.slot?))?.as_str()?;
        let domain = self.domain(tuple, role);
        let definition = role.graph;
        let asked = Asked { definition, domain: domain.as_deref(), member, role: "", now };
        let reached = self.facts.roles.reached(&self.facts.texts, asked);
        let others = reached.iter().map(|id| self.facts.texts.get(*id));
        let mut names: Vec<&str> = others.filter(|name| *name != member).collect();
        names.sort_unstable();
        let more = names.len().saturating_sub(ROLES_SHOWN);
        names.truncate(ROLES_SHOWN);
        Some(match (names.is_empty(), more) {
            (true, _) => format!("{member} has no role"),
            (false, 0) => format!("{member} has {}", names.join(", ")),
            (false, more) => format!("{member} has {} and {more} more", names.join(", ")),
        })
    }

    /// The shortest chain of role links from the request's value to the rule's role.
    pub(crate) fn role_path(
        &self,
        tuple: &[Value<'_>],
        rule: u32,
        described: &Described,
        now: Now,
    ) -> Option<Vec<(String, u32)>> {
        let role = described.role.as_ref()?;
        let texts = &self.facts.texts;
        let member = tuple.get(usize::from(described.slot?))?.as_str()?;
        let wanted = texts.get(self.facts.cell(rule as usize, described.column?));
        let (definition, domain) = (role.graph, self.domain(tuple, role));
        let asked = Asked { definition, domain: domain.as_deref(), member, role: wanted, now };
        let steps = self.facts.roles.path(texts, asked)?;
        Some(steps.into_iter().map(|(id, line)| (texts.get(id).to_owned(), line)).collect())
    }

    /// A slot as the model names it.
    pub(crate) fn slot_name(&self, slot: &Slot) -> String {
        let token = self.tokens.get(slot.token).map_or("", String::as_str);
        match slot.path.is_empty() {
            true => format!("{}.{token}", self.prefix),
            false => format!("{}.{token}.{}", self.prefix, slot.path),
        }
    }
}
