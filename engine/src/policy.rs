//! Policies: a model and its rows, compiled into a `PolicySet` that answers without scanning.
//!
//! `rows` reads policy.csv, `tenants` splits it, `compile` builds the set (`alternatives` and
//! `index` find a way around the scan, `layout` puts it in the order in which memory is read,
//! `roles` and `facts` hold what rows say), `evaluate` answers.
//! To add a kind of indexed conjunct: a variant in `alternatives::Test`, its keys in `index`.

pub(crate) mod alternatives;
pub(crate) mod casbin_text;
pub mod change;
pub mod compile;
pub(crate) mod describe;
pub mod evaluate;
pub(crate) mod facts;
pub(crate) mod go_text;
pub(crate) mod index;
pub(crate) mod layout;
pub(crate) mod link_time;
mod order;
pub(crate) mod roles;
pub(crate) mod row_expressions;
pub mod rows;
pub mod tenants;

use crate::diagnostic::Diagnostics;
use crate::dialect::Dialect;
use crate::expr::code::{Code, NodeId, Slot};
use crate::model::EffectRule;
use crate::policy::describe::Described;
use crate::policy::facts::Facts;
use crate::policy::index::Index;
use std::sync::Arc;

/// One tenant's compiled policy. Immutable; a copy shares all that is large.
#[derive(Debug, Clone)]
pub struct PolicySet {
    pub(crate) dialect: Dialect,
    pub(crate) effect_rule: EffectRule,
    /// Boxed, as the facts: what the layout answers does not look there.
    pub(crate) code: Arc<Code>,
    pub(crate) matcher: NodeId,
    pub(crate) facts: Box<Facts>,
    /// `None`: every row is asked (Casbin's dialects, or a matcher beyond `ALTERNATIVES_MAX`).
    pub(crate) index: Option<Index>,
    /// Casbin's dialects: no row is asked, one of empty cells stands in.
    pub(crate) phantom: bool,
    /// Rows came or went since it was compiled: the facts know which.
    pub(crate) is_changed: bool,
    pub(crate) warnings: Diagnostics,
    /// The matcher's conjunctions, for explanations.
    pub(crate) described: Vec<Vec<Described>>,
    /// Names of the request's tokens, and what expressions call the request: `r`.
    pub(crate) tokens: Vec<String>,
    pub(crate) prefix: String,
    /// The model's contexts by name. Their rules are counted on behind this one's.
    pub(crate) contexts: Vec<(String, PolicySet)>,
}

impl PolicySet {
    /// The request values that the policy reads, in the order that `evaluate` takes them.
    pub fn slots(&self) -> &[Slot] {
        &self.code.slots
    }

    /// The tokens of the request that it is asked with.
    pub fn tokens(&self) -> &[String] {
        &self.tokens
    }

    /// The policy of a context such as `2`, and the ordinal of its first rule.
    pub fn context(&self, name: &str) -> Option<(&PolicySet, u32)> {
        let position = self.contexts.iter().position(|(known, _)| known == name)?;
        self.context_at(position)
    }

    /// The same by its position in the model.
    pub fn context_at(&self, position: usize) -> Option<(&PolicySet, u32)> {
        let before = self.contexts.iter().take(position).map(|(_, set)| set.rule_count());
        let first = self.rule_count() + before.sum::<usize>();
        let (_, set) = self.contexts.get(position)?;
        Some((set, u32::try_from(first).unwrap_or(u32::MAX)))
    }

    /// The set that holds a rule, and the rule's ordinal there.
    fn holder(&self, rule: u32) -> (&PolicySet, usize) {
        let (mut set, mut at) = (self, rule as usize);
        for (_, next) in &self.contexts {
            if at < set.rule_count() {
                break;
            }
            at -= set.rule_count();
            set = next;
        }
        (set, at)
    }

    /// How many rules the set holds, its contexts' not counted. Of a changed policy those that went are counted, too:
    /// no rule takes their ordinals.
    pub fn rule_count(&self) -> usize {
        if self.phantom { 0 } else { self.facts.rows() }
    }

    /// The line of policy.csv that a rule came from.
    pub fn rule_line(&self, rule: u32) -> u32 {
        let (set, rule) = self.holder(rule);
        set.facts.line(rule)
    }

    /// The cells of a rule as written.
    pub fn rule_cells(&self, rule: u32) -> impl Iterator<Item = &str> {
        let (set, rule) = self.holder(rule);
        let cells = set.facts.cells(rule);
        cells.iter().map(|id| set.facts.texts.get(*id))
    }

    /// The effect of a rule.
    pub fn rule_effect(&self, rule: u32) -> facts::Effect {
        let (set, rule) = self.holder(rule);
        set.facts.effect(rule)
    }

    /// Findings that did not keep the policy from loading.
    pub fn warnings(&self) -> &Diagnostics {
        &self.warnings
    }

    pub fn dialect(&self) -> Dialect {
        self.dialect
    }
}
