//! Limits as data, and what makes one impossible.
//!
//! `proto` reads limits.toml into `Limit`; `Quotas::compile` refuses what could wrap or never bind.

use crate::bind::{Binding, Part};
use crate::bounds::{DIMENSIONS_MAX, LIMITS_PER_TENANT_MAX, THRESHOLDS_MAX};
use crate::cell::{LimitHash, Parameters};
use crate::dialect::Dialect;
use crate::explain::text_of;
use crate::expr::ast::Expr;
use crate::expr::code::{Code, NodeId};
use crate::expr::error::ParseError;
use crate::expr::parse::{Names, parse};
use crate::model::Model;
use crate::now::Now;
use crate::policy::facts::Facts;
use crate::quota::budget::CurrentWindow;
use crate::quota::estimate::{Estimate, Learner};
use crate::quota::reserve::LimitUse;
use crate::quota::window::{Period, Windows};
use crate::request::{Amount, SlotMap};
use crate::value::Value;
use std::sync::Arc;

/// Rates above this are refused: an interval is a whole number of nanoseconds.
pub const RATE_PER_SECOND_MAX: u64 = 10_000_000;
/// A budget's amount beyond this could wrap when amounts are added to it.
pub const BUDGET_AMOUNT_MAX: u64 = 1 << 62;
/// Amounts and intervals beyond this could wrap.
const SPAN_NS_MAX: u128 = 1 << 62;
const SECOND_NS: u128 = 1_000_000_000;

/// A rate with a burst: `count` units come back every `period_ns`, at most `burst` wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    pub count: u32,
    pub period_ns: u64,
    pub burst: u32,
}

impl Bucket {
    /// Why this bucket cannot be kept exactly, if it cannot.
    pub fn refusal(&self) -> Option<String> {
        if self.count == 0 || self.burst == 0 || self.period_ns == 0 {
            return Some("rate, burst and period must be at least 1".to_owned());
        }
        let units = u128::from(self.count.max(self.burst));
        if units * u128::from(self.period_ns) > SPAN_NS_MAX {
            return Some("the rate or burst times its period exceeds 2^62 ns".to_owned());
        }
        let fastest = u128::from(RATE_PER_SECOND_MAX) * u128::from(self.period_ns);
        if u128::from(self.count) * SECOND_NS > fastest {
            return Some(format!("rates above {RATE_PER_SECOND_MAX}/s cannot be kept exactly"));
        }
        None
    }

    /// Time in which one unit comes back, rounded up: the rate is never passed.
    pub fn interval_ns(&self) -> u64 {
        self.period_ns.div_ceil(u64::from(self.count.max(1)))
    }
}

/// So many units in each window.
#[derive(Debug, Clone, PartialEq)]
pub struct Budget {
    pub amount: u64,
    pub windows: Windows,
}

impl Budget {
    /// Why this budget cannot be kept exactly, if it cannot.
    pub fn refusal(&self) -> Option<String> {
        match self.amount {
            0 => Some("an amount of 0 would admit nothing: it must be at least 1".to_owned()),
            1..=BUDGET_AMOUNT_MAX => None,
            _ => Some(format!("an amount above {BUDGET_AMOUNT_MAX} could wrap")),
        }
    }
}

/// How much a limit lets pass.
#[derive(Debug, Clone, PartialEq)]
pub enum Capacity {
    Bucket(Bucket),
    Budget(Budget),
}

impl Capacity {
    fn refusal(&self) -> Option<String> {
        match self {
            Capacity::Bucket(bucket) => bucket.refusal(),
            Capacity::Budget(budget) => budget.refusal(),
        }
    }

    /// Whether it counts what is in flight.
    pub fn is_in_flight(&self) -> bool {
        matches!(self, Capacity::Budget(budget) if budget.windows.period() == Period::Open)
    }

    /// The most that is ever left.
    pub fn most(&self) -> u64 {
        match self {
            Capacity::Bucket(bucket) => u64::from(bucket.burst),
            Capacity::Budget(budget) => budget.amount,
        }
    }
}

/// What happens when a limit is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// The request is refused.
    #[default]
    Hard,
    /// The request passes with a warning.
    Soft,
    /// The request passes; only the answer's limits say what would have happened.
    Shadow,
}

/// When a limit is charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stage {
    /// With all others, when policy allows.
    #[default]
    AfterPolicy,
    /// First, and never given back: it also counts refused requests.
    BeforePolicy,
}

/// For which reasons a request that a hard limit cannot count passes nevertheless; without it, for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FailureMode {
    /// There is no room for its counter, or for a reservation.
    pub opens_on_store_full: bool,
    /// A dimension has no value.
    pub opens_on_bad_request: bool,
}

/// A part of the request whose value gets a cell of its own; an empty path is the id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dimension {
    pub part: Part,
    pub path: String,
}

/// When a limit applies: an expression over the request.
#[derive(Debug, Clone)]
pub struct Condition {
    expr: Expr,
    text: String,
}

/// One limit.
#[derive(Debug, Clone)]
pub struct Limit {
    pub id: String,
    pub meter: String,
    pub capacity: Capacity,
    pub dimensions: Vec<Dimension>,
    pub when: Option<Condition>,
    pub mode: Mode,
    pub stage: Stage,
    pub default_amount: Option<u64>,
    /// How far beyond what it lets pass a settle may go.
    pub overdraft: u64,
    /// Per cent of a budget at which somebody is to be told, ascending.
    pub warn_at: Vec<u8>,
    pub failure_mode: FailureMode,
    pub estimate: Option<Estimate>,
}

impl Limit {
    /// Why its members do not go together, if they do not.
    pub fn refusal(&self) -> Option<String> {
        let with_overdraft = self.capacity.most().checked_add(self.overdraft);
        let span = with_overdraft.map(|units| match &self.capacity {
            Capacity::Bucket(bucket) => u128::from(units) * u128::from(bucket.interval_ns()),
            Capacity::Budget(_) => u128::from(units),
        });
        if span.is_none_or(|span| span > SPAN_NS_MAX) {
            return Some("what it lets pass and its overdraft could wrap".to_owned());
        }
        let is_early = self.stage == Stage::BeforePolicy;
        if self.capacity.is_in_flight() && (is_early || self.overdraft > 0) {
            let why = "what is in flight is given back: no `before-policy`, no overdraft";
            return Some(why.to_owned());
        }
        let is_budget = matches!(&self.capacity, Capacity::Budget(_));
        if !self.warn_at.is_empty() && (!is_budget || self.capacity.is_in_flight()) {
            return Some("only a budget with a window has thresholds".to_owned());
        }
        let is_ascending = self.warn_at.is_sorted_by(|one, next| one < next);
        let is_percent = self.warn_at.iter().all(|percent| (1..=100).contains(percent));
        if self.warn_at.len() > THRESHOLDS_MAX || !is_ascending || !is_percent {
            let why = format!("expected at most {THRESHOLDS_MAX} ascending thresholds of 1 to 100");
            return Some(why);
        }
        self.estimate_refusal()
    }

    /// Why nothing can be learned for it, if its estimate says that it should be.
    pub fn estimate_refusal(&self) -> Option<String> {
        let estimate = self.estimate.as_ref()?;
        let is_early = self.stage == Stage::BeforePolicy;
        let why = match self.overdraft {
            _ if is_early || self.meter == "requests" || self.capacity.is_in_flight() => {
                "only what is reserved and settled can be learned"
            }
            0 => "a guess may be too low: an estimate needs an `overdraft` of a few worst cases",
            _ => return estimate.refusal(),
        };
        Some(why.to_owned())
    }
}

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

/// Request tokens in the order of `Part`, under the names that the model gives them.
pub fn condition_tokens(model: &Model, binding: &Binding) -> Vec<String> {
    let defaults = [
        (Part::Subject, "sub"),
        (Part::Tenant, "dom"),
        (Part::Resource, "obj"),
        (Part::Action, "act"),
        (Part::Context, "env"),
    ];
    let name_of = |(part, default): &(Part, &str)| {
        let position = binding.parts.iter().position(|bound| bound == part);
        position.and_then(|p| model.request.get(p)).map_or((*default).to_owned(), Clone::clone)
    };
    defaults.iter().map(name_of).collect()
}

/// Parses a limit's condition: a policy expression over the request alone.
///
/// # Errors
/// As `parse_expression`; `p` and role functions are unknown here.
pub fn parse_condition(text: &str, tokens: &[String]) -> Result<Condition, Vec<ParseError>> {
    let names = Names {
        request: tokens,
        policy: &[],
        prefixes: ("r", "p"),
        roles: &[],
        functions: &[],
        dialect: Dialect::Strict,
    };
    parse(text, names).map(|expr| Condition { expr, text: text.to_owned() })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_that_could_wrap_is_refused() {
        let second = 1_000_000_000u64;
        for (count, period_ns, burst, refused) in [
            (10, second, 20, false),
            (0, second, 20, true),
            (1, second, 0, true),
            (10_000_000, second, 1, false),
            (10_000_001, second, 1, true),
            (1, 1 << 62, 1, false),
            (1, 1 << 62, 2, true),
            (1, 30 * 86_400 * second, 7_200, true),
        ] {
            let bucket = Bucket { count, period_ns, burst };
            assert_eq!(bucket.refusal().is_some(), refused, "{bucket:?}");
        }
    }

    #[test]
    fn an_interval_is_rounded_up() {
        let bucket = Bucket { count: 3, period_ns: 10, burst: 1 };
        assert_eq!(bucket.interval_ns(), 4);
    }
}
