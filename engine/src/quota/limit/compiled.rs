//! The limits of one tenant, ready to be asked.

use super::{Capacity, Dimension, FailureMode, Limit, Mode, Stage};
use crate::bind::Part;
use crate::bounds::{DIMENSIONS_MAX, LIMITS_PER_TENANT_MAX};
use crate::cell::{LimitHash, Parameters};
use crate::dialect::Dialect;
use crate::explain::text_of;
use crate::expr::code::{Code, NodeId};
use crate::now::Now;
use crate::policy::facts::Facts;
use crate::quota::budget::CurrentWindow;
use crate::quota::estimate::Learner;
use crate::quota::reserve::LimitUse;
use crate::request::{Amount, SlotMap};
use crate::value::Value;
use std::sync::Arc;

/// What the tokens of conditions and dimensions mean.
const PARTS: [Part; 5] = [Part::Subject, Part::Tenant, Part::Resource, Part::Action, Part::Context];

/// The limits of one tenant, ready to be asked.
#[derive(Debug, Clone)]
pub struct Quotas {
    /// One line of memory each; `terms` has what no decision reads.
    pub(crate) limits: Vec<Compiled>,
    pub(crate) slots: SlotMap,
    pub(crate) has_early: bool,
    pub(crate) has_thresholds: bool,
    /// Some limit counts what is in flight: its units come back when a request is settled.
    pub(crate) has_in_flight: bool,
    /// Some limit learns what requests use.
    pub(crate) has_learners: bool,
    terms: Vec<LimitTerms>,
    /// Boxed: few limits have conditions, and the rest lies closer together without them.
    pub(crate) code: Box<Code>,
    pub(crate) facts: Box<Facts>,
}

/// What a decision reads of a limit.
#[derive(Debug, Clone)]
#[repr(align(64))]
pub(crate) struct Compiled {
    /// Set when the tenant is linked.
    pub(crate) hash: LimitHash,
    pub(crate) parameters: Parameters,
    pub(crate) when: Option<NodeId>,
    /// What a request that states no amount uses.
    pub(crate) unstated: Option<u64>,
    /// The window that a budget is in; `None` is a bucket.
    pub(crate) window: Option<Arc<CurrentWindow>>,
    pub(crate) dimensions: Dimensions,
    /// The number of this set of dimensions among the tenant's.
    pub(crate) set: u8,
    pub(crate) mode: Mode,
    pub(crate) stage: Stage,
    pub(crate) failure_mode: FailureMode,
}

/// What a limit promises, for those who are told of it.
#[derive(Debug, Clone)]
pub struct LimitTerms {
    pub id: String,
    pub meter: String,
    pub capacity: Capacity,
    /// Whom a counter is of: `tenant`, or the dimensions, such as `subject,resource.model`.
    pub scope: String,
    pub overdraft: u64,
    pub warn_at: Vec<u8>,
    /// Its condition as it was written.
    pub when: Option<String>,
    pub(crate) learner: Option<Learner>,
}

impl LimitTerms {
    /// Where the window of a budget begins that holds a moment; 0 for a bucket.
    pub fn window_start_ns(&self, at: Now) -> u64 {
        match &self.capacity {
            Capacity::Bucket(_) => 0,
            Capacity::Budget(budget) => budget.windows.at(at).map_or(0, |window| window.start_ns),
        }
    }

    fn of(limit: &Limit, learner: Option<Learner>) -> LimitTerms {
        let name = |dimension: &Dimension| match dimension.path.is_empty() {
            true => dimension.part.name().to_owned(),
            false => format!("{}.{}", dimension.part.name(), dimension.path),
        };
        let names: Vec<String> = limit.dimensions.iter().map(name).collect();
        LimitTerms {
            id: limit.id.clone(),
            meter: limit.meter.clone(),
            capacity: limit.capacity.clone(),
            overdraft: limit.overdraft,
            warn_at: limit.warn_at.clone(),
            scope: if names.is_empty() { "tenant".to_owned() } else { names.join(",") },
            when: limit.when.as_ref().map(|when| when.text.clone()),
            learner,
        }
    }
}

/// Slots whose values, together, get a cell of their own; `NO_SLOT` behind the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dimensions([u8; DIMENSIONS_MAX]);

const NO_SLOT: u8 = u8::MAX;

impl Dimensions {
    fn of(slots: &[u16]) -> Option<Dimensions> {
        let mut dimensions = Dimensions([NO_SLOT; DIMENSIONS_MAX]);
        for (place, slot) in dimensions.0.get_mut(..slots.len())?.iter_mut().zip(slots) {
            *place = u8::try_from(*slot).ok()?;
        }
        Some(dimensions)
    }

    pub(crate) fn slots(&self) -> impl Iterator<Item = usize> {
        self.0.iter().take_while(|slot| **slot != NO_SLOT).map(|slot| usize::from(*slot))
    }
}

impl Quotas {
    /// No limits.
    pub fn none() -> Quotas {
        Quotas {
            limits: Vec::new(),
            terms: Vec::new(),
            code: Box::default(),
            facts: Box::new(Facts::none()),
            slots: SlotMap::default(),
            has_early: false,
            has_thresholds: false,
            has_in_flight: false,
            has_learners: false,
        }
    }

    /// Compiles limits. `generation` must grow with each change of them.
    ///
    /// # Errors
    /// A sentence that names the limit.
    pub fn compile(limits: &[Limit], generation: u64) -> Result<Quotas, String> {
        let mut quotas = Quotas::none();
        if limits.len() > LIMITS_PER_TENANT_MAX {
            return Err(format!("more than {LIMITS_PER_TENANT_MAX} limits"));
        }
        for limit in limits {
            let id = &limit.id;
            if let Some(refusal) = limit.capacity.refusal() {
                return Err(format!("limit `{id}`: {refusal}"));
            }
            if let Some(refusal) = limit.refusal() {
                return Err(format!("limit `{id}`: {refusal}"));
            }
            let by = limit.estimate.as_ref().map_or(0, |estimate| estimate.by.len());
            if limit.dimensions.len().max(by) > DIMENSIONS_MAX {
                return Err(format!("limit `{id}`: more than {DIMENSIONS_MAX} dimensions"));
            }
            let too_much =
                || format!("limit `{id}`: the limits read too many values, or a list outside `in`");
            let compiled = quotas.compile_one(limit, generation).ok_or_else(too_much)?;
            quotas.limits.push(compiled);
            let learner = match &limit.estimate {
                Some(estimate) => {
                    let dimensions =
                        quotas.compile_dimensions(&estimate.by).ok_or_else(too_much)?;
                    Some(Learner::new(estimate, dimensions))
                }
                None => None,
            };
            quotas.terms.push(LimitTerms::of(limit, learner));
        }
        quotas.facts.fixed = Arc::new(quotas.fixed_patterns()?);
        quotas.has_early = limits.iter().any(|limit| limit.stage == Stage::BeforePolicy);
        quotas.has_thresholds = limits.iter().any(|limit| !limit.warn_at.is_empty());
        quotas.has_learners = limits.iter().any(|limit| limit.estimate.is_some());
        quotas.has_in_flight = limits.iter().any(|limit| limit.capacity.is_in_flight());
        quotas.slots = SlotMap::new(&quotas.code.slots, &PARTS);
        Ok(quotas)
    }

    /// Takes no attribute from a request that is not ours to take.
    pub(crate) fn taking(&mut self, is_ours: impl Fn(Part, &str) -> bool) {
        self.slots = SlotMap::taking(&self.code.slots, &PARTS, is_ours);
    }

    /// Says that these limits are of another version: it must be later.
    pub(crate) fn set_generation(&mut self, generation: u64) {
        for limit in &mut self.limits {
            limit.parameters.generation = generation;
        }
    }

    fn compile_dimensions(&mut self, dimensions: &[Dimension]) -> Option<Dimensions> {
        let slot = |d: &Dimension| self.code.slot(d.part as usize, &d.path).ok();
        Dimensions::of(&dimensions.iter().map(slot).collect::<Option<Vec<_>>>()?)
    }

    fn compile_one(&mut self, limit: &Limit, generation: u64) -> Option<Compiled> {
        let dimensions = self.compile_dimensions(&limit.dimensions)?;
        let known = self.limits.iter().find(|other| other.dimensions == dimensions);
        let next =
            || self.limits.iter().map(|other| other.set.saturating_add(1)).max().unwrap_or(0);
        let set = known.map_or_else(next, |other| other.set);
        let when = match &limit.when {
            Some(when) => Some(self.code.compile(&when.expr).ok()?),
            None => None,
        };
        Some(Compiled {
            hash: LimitHash::default(),
            parameters: Parameters {
                generation,
                interval_ns: match &limit.capacity {
                    Capacity::Bucket(bucket) => bucket.interval_ns(),
                    Capacity::Budget(_) => 0,
                },
                most: limit.capacity.most(),
            },
            window: match &limit.capacity {
                Capacity::Bucket(_) => None,
                Capacity::Budget(budget) => Some(Arc::new(CurrentWindow::of(&budget.windows))),
            },
            when,
            unstated: match limit.meter.as_str() {
                "requests" => Some(1),
                _ if limit.capacity.is_in_flight() => Some(1),
                _ => limit.default_amount,
            },
            dimensions,
            set,
            mode: limit.mode,
            stage: limit.stage,
            failure_mode: limit.failure_mode,
        })
    }

    fn fixed_patterns(&self) -> Result<Vec<crate::builtin::pattern::Pattern>, String> {
        let compile = |(function, text): &(crate::expr::ast::Function, String)| {
            crate::builtin::pattern::Pattern::compile(*function, text, Dialect::Strict)
                .map_err(|error| format!("`{text}`: {}", error.message))
        };
        self.code.fixed.iter().map(compile).collect()
    }

    /// Binds the limits to a tenant: the same limit of two tenants never shares a cell.
    pub(crate) fn bind(&mut self, tenant: &str) {
        for (limit, terms) in self.limits.iter_mut().zip(&mut self.terms) {
            limit.hash = LimitHash::of(tenant, &terms.id);
            if let Some(learner) = &mut terms.learner {
                learner.bind(tenant, &terms.id);
            }
        }
    }

    /// The most that is ever left of a limit: a bucket's burst, a budget's amount.
    pub fn of(&self, limit: u16) -> u64 {
        self.limits.get(usize::from(limit)).map_or(0, |limit| limit.parameters.most)
    }

    pub fn mode(&self, limit: u16) -> Mode {
        self.limits.get(usize::from(limit)).map_or(Mode::Hard, |limit| limit.mode)
    }

    /// The id of a limit by its position, as `LimitUse::limit` gives it.
    pub fn id(&self, limit: u16) -> &str {
        self.terms(limit).map_or("", |terms| &terms.id)
    }

    /// What a limit counts.
    pub fn meter(&self, limit: u16) -> &str {
        self.terms(limit).map_or("", |terms| &terms.meter)
    }

    /// The condition of a limit, as it was written.
    pub fn condition(&self, limit: u16) -> Option<&str> {
        self.terms(limit)?.when.as_deref()
    }

    /// What a limit promises.
    pub fn terms(&self, limit: u16) -> Option<&LimitTerms> {
        self.terms.get(usize::from(limit))
    }

    /// How long until a limit is whole again, if nothing more is taken: a bucket full, a budget in its next window. Never
    /// too short; 0 if it is whole. `None`: nobody knows when what is in flight comes back.
    pub fn reset_ms(&self, limit_use: &LimitUse, at: Now) -> Option<u64> {
        let limit = self.limits.get(usize::from(limit_use.limit))?;
        let missing = limit_use.of.saturating_sub(limit_use.remaining);
        let ns = match &limit.window {
            _ if missing == 0 => 0,
            None => missing.saturating_mul(limit.parameters.interval_ns),
            Some(window) if window.is_open() => return None,
            Some(window) => window.at(at)?.end_ns - at.0,
        };
        Some(ns.div_ceil(1_000_000))
    }

    /// When a budget's window ends, as people say it in its zone; `None` of what has no window with an end.
    pub fn resets_shown(&self, limit: u16, at: Now) -> Option<String> {
        let limit = usize::from(limit);
        let window = self.limits.get(limit)?.window.as_ref().filter(|window| !window.is_open())?;
        match &self.terms.get(limit)?.capacity {
            Capacity::Budget(budget) => Some(budget.windows.shown_from(window.at(at)?.end_ns, at)),
            Capacity::Bucket(_) => None,
        }
    }

    /// The values of a limit's dimensions, as text.
    pub(crate) fn values_text(&self, limit: u16, slots: &[Value<'_>]) -> Vec<String> {
        let limit = self.limits.get(usize::from(limit));
        let dimensions = limit.iter().flat_map(|limit| limit.dimensions.slots());
        dimensions.filter_map(|slot| text_of(*slots.get(slot)?)).collect()
    }

    /// What a request asks of a limit.
    pub fn asked(&self, limit: u16, amounts: Option<&[Amount<'_>]>) -> Option<u64> {
        self.amount(limit, self.limits.get(usize::from(limit))?, amounts)
    }

    pub fn len(&self) -> usize {
        self.limits.len()
    }

    pub fn is_empty(&self) -> bool {
        self.limits.is_empty()
    }
}
