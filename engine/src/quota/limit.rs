//! Limits as data, and what makes one impossible.
//!
//! `proto` reads limits.toml into `Limit`; `Quotas::compile` refuses what could wrap or never bind.

mod compiled;

pub(crate) use compiled::{Compiled, Dimensions};
pub use compiled::{LimitTerms, Quotas};

use crate::bind::{Binding, Part};
use crate::bounds::THRESHOLDS_MAX;
use crate::dialect::Dialect;
use crate::expr::ast::Expr;
use crate::expr::error::ParseError;
use crate::expr::parse::{Names, parse};
use crate::model::Model;
use crate::quota::estimate::Estimate;
use crate::quota::window::{Period, Windows};

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
