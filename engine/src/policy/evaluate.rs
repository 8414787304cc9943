//! The answer of a policy: which rows match, and what their effects make together.
//!
//! `strict` asks the layout, or every row where the layout cannot say; both find the same three
//! ordinals, and `conclude` turns them into the verdict. Casbin's dialects walk the rows in order.

mod by_index;
mod by_layout;

use crate::bounds::FUEL_PER_DECISION;
use crate::dialect::Dialect;
use crate::expr::code::NodeId;
use crate::expr::eval_casbin::Fault;
use crate::expr::eval_strict::Machine;
use crate::model::EffectRule;
use crate::now::Now;
use crate::policy::PolicySet;
use crate::policy::change::RowChanges;
use crate::policy::facts::{Effect, Facts};
use crate::policy::index::{Alternative, Domain, Guard, Index};
use crate::policy::layout::{LinesRead, Reads};
use crate::value::Value;

/// What the policy says. Rules are ordinals within the set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// A row allows; `None` if nothing denies and that is enough.
    Allow { rule: Option<u32> },
    /// A deny row matches.
    Deny { rule: u32 },
    /// A deny row may match, or the expression cannot be answered.
    Error { rule: Option<u32> },
    /// Nothing allows.
    NoRule,
}

impl Verdict {
    /// Whether the request may pass.
    pub fn is_allow(self) -> bool {
        matches!(self, Verdict::Allow { .. })
    }

    /// The rule that decided.
    pub fn rule(self) -> Option<u32> {
        match self {
            Verdict::Allow { rule } | Verdict::Error { rule } => rule,
            Verdict::Deny { rule } => Some(rule),
            Verdict::NoRule => None,
        }
    }
}

/// Told of each row that matches or may.
pub(super) trait Sees {
    fn see(&mut self, row: u32, effect: Effect, truth: Option<bool>);
}

/// The first matching row of each kind.
#[derive(Debug, Clone, Copy, Default)]
struct First {
    allow: Option<u32>,
    deny: Option<u32>,
    unknown_deny: Option<u32>,
}

impl First {
    fn place(&mut self, effect: Effect, truth: Option<bool>) -> Option<&mut Option<u32>> {
        match (effect, truth) {
            (Effect::Allow, Some(true)) => Some(&mut self.allow),
            (Effect::Deny, Some(true)) => Some(&mut self.deny),
            (Effect::Deny, None) => Some(&mut self.unknown_deny),
            _ => None,
        }
    }
}

impl Sees for First {
    fn see(&mut self, row: u32, effect: Effect, truth: Option<bool>) {
        if let Some(first) = self.place(effect, truth) {
            *first = Some(first.map_or(row, |earlier| earlier.min(row)));
        }
    }
}

/// The same where rows came and went: those that went match nothing, those that came stand between the others.
#[derive(Debug, Clone, Copy)]
struct FirstAmong<'f> {
    first: First,
    changes: Option<&'f RowChanges>,
}

impl FirstAmong<'_> {
    fn of(facts: &Facts) -> FirstAmong<'_> {
        FirstAmong { first: First::default(), changes: facts.changes.as_deref() }
    }

    /// Where a row stands among all.
    fn rank(changes: Option<&RowChanges>, row: u32) -> (u32, u32) {
        changes.map_or((row, 0), |changes| changes.rank(row))
    }
}

impl Sees for FirstAmong<'_> {
    fn see(&mut self, row: u32, effect: Effect, truth: Option<bool>) {
        let changes = self.changes;
        if changes.is_some_and(|changes| changes.is_removed(row as usize)) {
            return;
        }
        let rank = |row: u32| FirstAmong::rank(changes, row);
        if let Some(first) = self.first.place(effect, truth) {
            let is_earlier = first.is_none_or(|earlier| rank(row) < rank(earlier));
            *first = if is_earlier { Some(row) } else { *first };
        }
    }
}

/// The truth of what all rows of an alternative have in common.
fn guarded(alternative: &Alternative, machine: &mut Machine<'_>) -> Option<bool> {
    let mut guarded = Some(true);
    for guard in &alternative.guards {
        let truth = match guard {
            Guard::Is { slot, text } => match machine.slots.get(usize::from(*slot)) {
                Some(Value::Str(value)) => Some(text.is(value)),
                _ => None,
            },
            Guard::Node(node) => machine.truth(*node, 0),
        };
        match truth {
            Some(true) => {}
            Some(false) => return Some(false),
            None => guarded = None,
        }
    }
    guarded
}

/// The domain that a role function asks in, if it is a text.
fn domain_text<'m>(domain: Domain, machine: &mut Machine<'m>) -> Option<&'m str> {
    match domain {
        Domain::Slot(slot) => machine.slots.get(usize::from(slot)).and_then(Value::as_str),
        Domain::Node(node) => machine.text(node, 0),
    }
}

impl PolicySet {
    /// Decides for a tuple of values, one per slot of `slots`, at a time (which only timed role links look at).
    ///
    /// Never fails, allocates, locks or reads a clock. A shorter tuple leaves values missing.
    ///
    /// ```
    /// use tollgate_engine::{Dialect, Now, PolicySet, Source, Value, Verdict};
    /// let model = "[request_definition]\nr = sub, act\n[policy_definition]\np = sub, act\n\
    ///     [policy_effect]\ne = some(where (p.eft == allow))\n\
    ///     [matchers]\nm = r.sub == p.sub && r.act == p.act\n";
    /// let model = Source { file: "model.conf", text: model };
    /// let rows = Source { file: "policy.csv", text: "p, alice, read\n" };
    /// let set = PolicySet::from_texts(model, rows, Dialect::Strict, 1).unwrap();
    /// let ask = |sub, act| set.evaluate(&[Value::Str(sub), Value::Str(act)], Now(0));
    /// assert_eq!(ask("alice", "read"), Verdict::Allow { rule: Some(0) });
    /// assert_eq!(ask("alice", "write"), Verdict::NoRule);
    /// ```
    pub fn evaluate(&self, tuple: &[Value<'_>], now: Now) -> Verdict {
        self.evaluate_reading(tuple, now, &mut ())
    }

    /// The same, telling `reads` what it reads.
    pub(crate) fn evaluate_reading(
        &self,
        tuple: &[Value<'_>],
        now: Now,
        reads: &mut impl Reads,
    ) -> Verdict {
        match (self.dialect, &self.index) {
            (Dialect::CasbinRs | Dialect::CasbinGo, _) => self.walk(&mut self.machine(tuple, now)),
            (Dialect::Strict, Some(index)) => self.ask(index, tuple, now, reads),
            (Dialect::Strict, None) => self.evaluate_by_scan(tuple, now),
        }
    }

    fn ask(&self, index: &Index, tuple: &[Value<'_>], now: Now, reads: &mut impl Reads) -> Verdict {
        if self.is_changed {
            return self.ask_changed(index, tuple, now);
        }
        let (mut machine, mut first) = (self.machine(tuple, now), First::default());
        let mut all = index.alternatives.iter();
        match all.all(|alternative| self.probe(alternative, &mut machine, &mut first, reads)) {
            true => self.conclude(first, &machine),
            false => self.evaluate_by_scan(tuple, now),
        }
    }

    /// The same where rows came and went: those that came are asked one by one. The layout holds who had which roles
    /// when the policy was loaded; where links changed, the hash tables are asked.
    #[cold]
    fn ask_changed(&self, index: &Index, tuple: &[Value<'_>], now: Now) -> Verdict {
        if self.facts.roles.has_changed() {
            return self.evaluate_by_index(tuple, now);
        }
        let (mut machine, mut first) = (self.machine(tuple, now), FirstAmong::of(&self.facts));
        let mut all = index.alternatives.iter();
        match all.all(|alternative| self.probe(alternative, &mut machine, &mut first, &mut ())) {
            true => {
                self.see_added(&mut machine, &mut first);
                self.conclude(first.first, &machine)
            }
            false => self.evaluate_by_scan(tuple, now),
        }
    }

    fn see_added(&self, machine: &mut Machine<'_>, first: &mut FirstAmong<'_>) {
        for row in self.facts.loaded.effects.len()..self.facts.rows() {
            let truth = machine.truth(self.matcher, row);
            first.see(u32::try_from(row).unwrap_or(u32::MAX), self.facts.effect(row), truth);
        }
    }

    /// The same answer by hash tables: the layout's twin.
    pub fn evaluate_by_index(&self, tuple: &[Value<'_>], now: Now) -> Verdict {
        let Some(index) = &self.index else { return self.evaluate_by_scan(tuple, now) };
        let (mut machine, mut first) = (self.machine(tuple, now), FirstAmong::of(&self.facts));
        let mut all = index.alternatives.iter();
        match all.all(|alternative| self.look_up(alternative, &mut machine, &mut first)) {
            true => {
                self.see_added(&mut machine, &mut first);
                self.conclude(first.first, &machine)
            }
            false => self.evaluate_by_scan(tuple, now),
        }
    }

    /// The same answer, and the distinct 64-byte lines of the layout that it read.
    pub fn evaluate_counting_lines(&self, tuple: &[Value<'_>], now: Now) -> (Verdict, usize) {
        let mut lines = LinesRead::default();
        let verdict = self.evaluate_reading(tuple, now, &mut lines);
        (verdict, lines.count())
    }

    /// The same answer without the index: the slow twin.
    pub fn evaluate_by_scan(&self, tuple: &[Value<'_>], now: Now) -> Verdict {
        self.scan(&mut self.machine(tuple, now))
    }

    fn scan(&self, machine: &mut Machine<'_>) -> Verdict {
        if self.dialect.is_casbin() {
            return self.walk(machine);
        }
        let mut first = FirstAmong::of(&self.facts);
        for row in 0..self.facts.rows() {
            let truth = machine.truth(self.matcher, row);
            first.see(u32::try_from(row).unwrap_or(u32::MAX), self.facts.effect(row), truth);
        }
        self.conclude(first.first, machine)
    }

    /// Whether one rule's row matches: `None` is unknown. For explanations and coverage.
    pub fn row_truth(&self, tuple: &[Value<'_>], rule: u32, now: Now) -> Option<bool> {
        let mut machine = self.machine(tuple, now);
        if self.facts.is_removed(rule as usize) {
            return Some(false);
        }
        match self.dialect {
            Dialect::Strict => machine.truth(self.matcher, rule as usize),
            _ => self.casbin_truth(&mut machine, self.matcher, rule as usize).ok(),
        }
    }

    /// Whether a node holds for a row, as the Casbin of the dialect says it.
    pub(super) fn casbin_truth(
        &self,
        machine: &mut Machine<'_>,
        node: NodeId,
        row: usize,
    ) -> Result<bool, Fault> {
        match self.dialect {
            Dialect::CasbinGo if self.phantom && !self.code.evals.is_empty() => Err(Fault),
            Dialect::CasbinGo if self.phantom => machine.go_truth_without_row(node),
            Dialect::CasbinGo => machine.go_truth(node, row),
            _ => machine.casbin_truth(node, row),
        }
    }

    pub(super) fn machine<'m>(&'m self, slots: &'m [Value<'m>], now: Now) -> Machine<'m> {
        let (code, facts) = (&self.code, &self.facts);
        Machine { code, facts, slots, fuel: FUEL_PER_DECISION, now }
    }

    fn conclude(&self, first: First, machine: &Machine<'_>) -> Verdict {
        if machine.fuel == 0 {
            return Verdict::Error { rule: None };
        }
        let deny = first.deny.map(|rule| Verdict::Deny { rule });
        let unknown = first.unknown_deny.map(|rule| Verdict::Error { rule: Some(rule) });
        let allow = first.allow.map(|rule| Verdict::Allow { rule: Some(rule) });
        match self.effect_rule {
            EffectRule::AllowOverride => allow.unwrap_or(Verdict::NoRule),
            EffectRule::DenyOverride => {
                deny.or(unknown).unwrap_or(Verdict::Allow { rule: first.allow })
            }
            EffectRule::AllowAndDeny => deny.or(unknown).or(allow).unwrap_or(Verdict::NoRule),
            EffectRule::Priority | EffectRule::SubjectPriority => {
                self.earliest([deny, unknown, allow])
            }
        }
    }

    fn earliest(&self, verdicts: [Option<Verdict>; 3]) -> Verdict {
        let changes = if self.is_changed { self.facts.changes.as_deref() } else { None };
        let rank = |verdict: &Verdict| verdict.rule().map(|rule| FirstAmong::rank(changes, rule));
        verdicts.into_iter().flatten().min_by_key(rank).unwrap_or(Verdict::NoRule)
    }

    /// Casbin: rows in order, the first error or the deciding effect ends the walk.
    fn walk(&self, machine: &mut Machine<'_>) -> Verdict {
        let mut allowed = None;
        for row in 0..self.facts.rows() {
            let rule = u32::try_from(row).unwrap_or(u32::MAX);
            let faulty = self.facts.is_faulty(row);
            let truth = match faulty {
                true => return Verdict::Error { rule: Some(rule) },
                false => self.casbin_truth(machine, self.matcher, row),
            };
            let effect = match truth {
                Err(_) => return Verdict::Error { rule: (!self.phantom).then_some(rule) },
                Ok(false) => continue,
                Ok(true) if self.phantom => return Verdict::Allow { rule: None },
                Ok(true) => self.facts.effect(row),
            };
            match (self.effect_rule, effect) {
                (
                    EffectRule::AllowOverride | EffectRule::Priority | EffectRule::SubjectPriority,
                    Effect::Allow,
                ) => {
                    return Verdict::Allow { rule: Some(rule) };
                }
                (EffectRule::AllowOverride, _) | (_, Effect::Indeterminate) => {}
                (_, Effect::Deny) => return Verdict::Deny { rule },
                (_, Effect::Allow) => allowed = allowed.or(Some(rule)),
            }
        }
        match (self.effect_rule, allowed) {
            (EffectRule::DenyOverride, rule) => Verdict::Allow { rule },
            (_, Some(rule)) => Verdict::Allow { rule: Some(rule) },
            (_, None) => Verdict::NoRule,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Source;

    /// Without steps left nothing is allowed, not even what only needs that nothing denies.
    #[test]
    fn a_decision_out_of_fuel_is_an_error() {
        for dialect in [Dialect::Strict, Dialect::CasbinRs, Dialect::CasbinGo] {
            for effect in ["some(where (p.eft == allow))", "!some(where (p.eft == deny))"] {
                let model = format!(
                    "[request_definition]\nr = sub\n[policy_definition]\np = sub, eft\n\
                     [policy_effect]\ne = {effect}\n[matchers]\nm = r.sub == p.sub\n"
                );
                let model = Source { file: "model.conf", text: &model };
                let rows = Source { file: "policy.csv", text: "p, bob, deny\np, alice, allow\n" };
                let set = PolicySet::from_texts(model, rows, dialect, 1).unwrap();
                let (mut last, tuple) = (None, [Value::Str("alice")]);
                for fuel in 1..=20 {
                    let mut machine = set.machine(&tuple, Now(0));
                    machine.fuel = fuel;
                    let verdict = set.scan(&mut machine);
                    let is_error = matches!(verdict, Verdict::Error { .. });
                    assert!(is_error == (machine.fuel == 0), "{verdict:?} with {fuel}");
                    last = Some(verdict);
                }
                assert_eq!(last, Some(Verdict::Allow { rule: Some(1) }));
            }
        }
    }
}
