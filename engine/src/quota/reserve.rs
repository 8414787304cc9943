//! All limits or none, in one step.
//!
//! First every limit is read: a refusal writes nothing. Then each is taken in ascending order of
//! its cell; if one was lost to a race, what was taken is given back. A denied request therefore
//! leaves every later answer as it would have been without it.

mod hold;
mod uses;

pub use uses::{LimitUse, LimitUses};

use crate::bounds::LIMITS_PER_REQUEST_MAX;
use crate::cell::{Cell, Cells, Key, ValuesHash};
use crate::expr::eval_strict::Machine;
use crate::now::Now;
use crate::quota::bucket::Check;
use crate::quota::estimate::ExplainedEstimate;
use crate::quota::limit::{Compiled, Dimensions, LimitTerms, Mode, Quotas, Stage};
use crate::quota::reservation::ReservationId;
use crate::request::{Amount, Reserve};
use crate::value::Value;

/// Why quotas refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The binding limit and the time until the amount fits; `None`: never.
    Exceeded {
        limit: u16,
        retry_after_ms: Option<u64>,
    },
    StoreFull,
    /// A dimension of a hard limit has no value, a hard limit has no amount, or too many apply.
    BadRequest,
}

/// What a request asks of the quotas.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ask<'a> {
    pub(crate) cells: &'a Cells<'a>,
    pub(crate) slots: &'a [Value<'a>],
    /// `None`: as if nothing was said. An empty list looks without taking.
    pub(crate) amounts: Option<&'a [Amount<'a>]>,
    pub(crate) reserve: Option<&'a Reserve<'a>>,
    pub(crate) now_ns: u64,
    pub(crate) stage: Stage,
    /// Only says what would be: nothing is taken.
    pub(crate) is_trial: bool,
}

/// A limit that is to be taken from.
#[derive(Clone, Copy)]
struct Pending<'t> {
    /// `None` until it has one.
    cell: Option<Cell<'t>>,
    amount: u64,
    position: u16,
    taken: bool,
    /// A reservation is to hold it.
    is_held: bool,
    /// There was no room for it, and its limit lets the request pass.
    failed_open: bool,
}

impl Pending<'_> {
    const NONE: Self = Pending {
        cell: None,
        amount: 0,
        position: 0,
        taken: false,
        is_held: false,
        failed_open: false,
    };
}

/// Hashes of dimension values that several limits of a request count by.
#[derive(Default)]
pub(crate) struct Hashes {
    /// One per set of dimensions, as far as there is room. `None` inside: a value is missing.
    known: [Option<Option<ValuesHash>>; HASHES_KEPT],
}

const HASHES_KEPT: usize = 4;
/// A threshold is told of again when use had fallen so far below it, in per cent of the limit.
const HYSTERESIS_PERCENT: u128 = 5;
/// Stands in `LimitUse::remaining` until the taking is done.
const UNCOUNTED: u64 = 0;

impl Quotas {
    /// Takes from every limit of the stage that applies, or from none.
    pub(crate) fn reserve(
        &self,
        ask: Ask<'_>,
        hashes: &mut Hashes,
        uses: &mut LimitUses,
    ) -> Result<Option<ReservationId>, Refusal> {
        let cells = ask.cells;
        let mut pending: [Option<Pending<'_>>; LIMITS_PER_REQUEST_MAX] = [None; _];
        let mut count = 0;
        let mut binding: Option<(u64, Refusal)> = None;
        for (position, limit) in self.limits.iter().enumerate() {
            if limit.stage != ask.stage || !self.applies(limit, ask.slots) {
                continue;
            }
            let position = u16::try_from(position).unwrap_or(u16::MAX);
            let Some(key) = Quotas::key(limit, ask, hashes) else {
                self.count_without_key(position, limit, uses)?;
                continue;
            };
            let stated = self.amount(position, limit, ask.amounts).ok_or(Refusal::BadRequest)?;
            let mut cell = cells.find(key);
            if let Some(cell) = cell {
                limit.adopt(cells, cell, ask.now_ns);
            }
            let amount = match self.has_learners && ask.reserve.is_some() {
                true => self.estimated(position, limit, (cell, stated), ask),
                false => stated,
            };
            let mut fits = limit.check(cell, amount, ask.now_ns, false);
            if fits == Check::Gone {
                (cell, fits) = (None, limit.check_without_cell(amount, ask.now_ns));
            }
            if let (Mode::Hard, Some(refusal)) = (limit.mode, refusal(fits, position)) {
                let wait = wait_of(fits);
                if binding.is_none_or(|(longest, _)| wait > longest) {
                    binding = Some((wait, refusal));
                }
            }
            let (mode, exceeded) = (limit.mode, fits != Check::Fits);
            let is_taken = !exceeded && amount > 0;
            // What is taken is counted again behind the taking, unless another limit refuses.
            let remaining = match is_taken {
                true => UNCOUNTED,
                false => limit.remaining(cell, false, ask.now_ns),
            };
            let of = limit.most(cell);
            let limit_use =
                LimitUse { limit: position, remaining, of, mode, exceeded, ..LimitUse::UNUSED };
            if !uses.push(limit_use) {
                return Err(Refusal::BadRequest);
            }
            if let (true, Some(place)) = (is_taken, pending.get_mut(count)) {
                *place = Some(Pending { cell, amount, position, ..Pending::NONE });
                count += 1;
            }
        }
        let pending = pending.get_mut(..count).unwrap_or_default();
        let outcome = match binding {
            Some((_, refusal)) => Err(refusal),
            None if ask.is_trial => Ok(None),
            None => self.take(ask, hashes, pending).and_then(|()| match ask.reserve {
                None if !self.has_in_flight => Ok(None),
                _ => self.hold(ask, hashes, pending),
            }),
        };
        for entry in pending.iter().flatten() {
            if let Some(limit) = self.limits.get(usize::from(entry.position)) {
                let left = limit.remaining(entry.cell, entry.taken, ask.now_ns);
                uses.set_remaining(entry.position, left);
            }
            if entry.failed_open {
                uses.fail_open(entry.position);
            }
        }
        if self.has_thresholds && !ask.is_trial {
            self.warn(ask, hashes, uses);
        }
        outcome
    }

    /// A limit that cannot count a request since a dimension has no value: refuses it, lets it pass, or is left out.
    #[cold]
    fn count_without_key(
        &self,
        position: u16,
        limit: &Compiled,
        uses: &mut LimitUses,
    ) -> Result<(), Refusal> {
        if limit.mode != Mode::Hard {
            return Ok(());
        }
        let of = limit.parameters.most;
        let opens = limit.failure_mode.opens_on_bad_request;
        if !opens || !uses.push(LimitUse::failed_open(position, of)) {
            return Err(Refusal::BadRequest);
        }
        uses.fail_open(position);
        Ok(())
    }

    /// Looks whether limits have reached a threshold, by this request or by a settle before it.
    #[inline(never)]
    fn warn(&self, ask: Ask<'_>, hashes: &mut Hashes, uses: &mut LimitUses) {
        for limit_use in uses.uses.iter_mut().take(uses.count) {
            let position = limit_use.limit;
            let limit = self.limits.get(usize::from(position));
            let (Some(limit), Some(terms)) = (limit, self.terms(position)) else { continue };
            if terms.warn_at.is_empty() || limit.stage != ask.stage {
                continue;
            }
            let cell = Quotas::key(limit, ask, hashes).and_then(|key| ask.cells.find(key));
            if let Some(cell) = cell {
                let (reached, fallen) = thresholds(cell.used(), limit.most(Some(cell)), terms);
                limit_use.warned = cell.warn(reached, fallen);
            }
        }
    }

    /// Takes in ascending order of cells; on a lost race gives back and refuses.
    fn take<'t>(
        &self,
        ask: Ask<'t>,
        hashes: &mut Hashes,
        pending: &mut [Option<Pending<'t>>],
    ) -> Result<(), Refusal> {
        for entry in pending.iter_mut().flatten().filter(|entry| entry.cell.is_none()) {
            let Some(limit) = self.limits.get(usize::from(entry.position)) else { continue };
            let key = Quotas::key(limit, ask, hashes);
            entry.cell = key.and_then(|key| limit.insert(ask.cells, key, ask.now_ns));
            if entry.cell.is_none() && limit.mode == Mode::Hard {
                if !limit.failure_mode.opens_on_store_full {
                    return Err(Refusal::StoreFull);
                }
                entry.failed_open = true;
            }
        }
        if pending.len() > 1 {
            pending.sort_unstable_by_key(|entry| entry.and_then(|e| e.cell).map(|c| c.place()));
        }
        let mut lost = None;
        for entry in pending.iter_mut().flatten() {
            let limit = self.limits.get(usize::from(entry.position));
            let (Some(limit), Some(_)) = (limit, entry.cell) else { continue };
            // A cell that has become another's meanwhile is a race that was lost.
            let taken = limit.check(entry.cell, entry.amount, ask.now_ns, true);
            entry.taken = taken == Check::Fits;
            if !entry.taken && limit.mode == Mode::Hard {
                lost = Some(entry.position);
                break;
            }
        }
        let Some(limit) = lost else { return Ok(()) };
        self.give_back(pending);
        Err(Refusal::Exceeded { limit, retry_after_ms: Some(1) })
    }

    fn give_back(&self, pending: &mut [Option<Pending<'_>>]) {
        for entry in pending.iter_mut().flatten().filter(|entry| entry.taken) {
            let limit = self.limits.get(usize::from(entry.position));
            if let (Some(limit), Some(cell)) = (limit, entry.cell) {
                limit.give_back(cell, entry.amount);
            }
            entry.taken = false;
        }
    }

    /// What the limits that apply have learned of a request.
    pub(crate) fn estimates(&self, ask: Ask<'_>) -> Vec<ExplainedEstimate> {
        let limits = (0..).zip(&self.limits).filter(|(_, limit)| self.applies(limit, ask.slots));
        let learners = limits.filter_map(|(at, _)| Some((at, self.terms(at)?.learner.as_ref()?)));
        learners.map(|(at, learner)| learner.explain(at, ask)).collect()
    }

    /// Limits whose condition is false.
    pub(crate) fn not_met(&self, slots: &[Value<'_>]) -> Vec<u16> {
        let limits = self.limits.iter().zip(0..);
        limits.filter(|(limit, _)| !self.applies(limit, slots)).map(|(_, at)| at).collect()
    }

    /// Whether the limit's condition holds; unknown counts as yes.
    pub(super) fn applies(&self, limit: &Compiled, slots: &[Value<'_>]) -> bool {
        let Some(when) = limit.when else { return true };
        let fuel = crate::bounds::FUEL_PER_DECISION;
        let mut machine =
            Machine { code: &self.code, facts: &self.facts, slots, fuel, now: Now(0) };
        machine.truth(when, 0) != Some(false)
    }
}

impl Quotas {
    /// Asks memory for the cells that a request will most likely need, while the policy is asked.
    pub(crate) fn fetch(&self, ask: Ask<'_>, hashes: &mut Hashes) {
        let mut homes = [std::ptr::null(); LIMITS_PER_REQUEST_MAX];
        let mut count = 0;
        for (limit, home) in self.limits.iter().zip(&mut homes) {
            if limit.when.is_none() && usize::from(limit.set) < HASHES_KEPT {
                let key = Quotas::key(limit, ask, hashes);
                *home = key.and_then(|key| ask.cells.home(key)).unwrap_or(std::ptr::null());
            }
            count += 1;
        }
        ask.cells.fetch(homes.get(..count).unwrap_or(&[]));
    }

    /// The key of a limit's cell; `None` if a dimension has no value.
    #[inline(always)]
    fn key(limit: &Compiled, ask: Ask<'_>, hashes: &mut Hashes) -> Option<Key> {
        let hash = || values(ask.cells, limit.dimensions, ask.slots);
        let values = match hashes.known.get_mut(usize::from(limit.set)) {
            Some(known) => *known.get_or_insert_with(hash),
            None => hash(),
        };
        values.and_then(|values| limit.key(values, ask.now_ns))
    }

    /// The amount that a request asks of a limit; `None` if nothing says how much.
    pub(super) fn amount(
        &self,
        position: u16,
        limit: &Compiled,
        asked: Option<&[Amount<'_>]>,
    ) -> Option<u64> {
        let Some(asked) = asked else { return limit.unstated };
        if asked.is_empty() {
            return Some(0);
        }
        match asked.iter().find(|amount| amount.meter == self.meter(position)) {
            Some(stated) => Some(stated.amount),
            None => limit.unstated,
        }
    }
}

/// The thresholds that so much use has reached, and those that it is far below.
fn thresholds(used: u64, of: u64, terms: &LimitTerms) -> (u8, u8) {
    let (used, of) = (u128::from(used) * 100, u128::from(of));
    let bits = |is_it: &dyn Fn(u128) -> bool| {
        let bits = terms.warn_at.iter().zip(0..).filter(|(percent, _)| is_it((**percent).into()));
        bits.fold(0, |bits, (_, bit)| bits | 1_u8 << bit)
    };
    let reached = bits(&|percent| used >= percent * of);
    (reached, bits(&|percent| used < percent.saturating_sub(HYSTERESIS_PERCENT) * of))
}

fn values(cells: &Cells<'_>, dimensions: Dimensions, slots: &[Value<'_>]) -> Option<ValuesHash> {
    hashed(cells, dimensions.slots().map(|slot| slots.get(slot)))
}

/// The hash of values; `None` if one is none that can be counted by.
#[inline]
pub(crate) fn hashed<'v>(
    cells: &Cells<'_>,
    values: impl Iterator<Item = Option<&'v Value<'v>>>,
) -> Option<ValuesHash> {
    let mut values = values.peekable();
    if values.peek().is_none() {
        return Some(ValuesHash::default());
    }
    let mut hasher = cells.values();
    for value in values {
        match value? {
            Value::Str(text) => hasher.value(1, text.as_bytes()),
            Value::Int(int) => hasher.value(2, &int.to_le_bytes()),
            Value::Dec { mantissa, scale } => {
                hasher.value(3, &mantissa.to_le_bytes());
                hasher.value(3, &[*scale]);
            }
            Value::Bool(bool) => hasher.value(4, &[u8::from(*bool)]),
            Value::Missing | Value::Null | Value::List(_) => return None,
        }
    }
    Some(hasher.finish())
}

fn refusal(fits: Check, limit: u16) -> Option<Refusal> {
    match fits {
        Check::Fits => None,
        Check::Later { wait_ns } => {
            Some(Refusal::Exceeded { limit, retry_after_ms: Some(wait_ns.div_ceil(1_000_000)) })
        }
        Check::Never => Some(Refusal::Exceeded { limit, retry_after_ms: None }),
        // Asked without a cell, nothing is gone.
        Check::Gone => Some(Refusal::Exceeded { limit, retry_after_ms: Some(1) }),
    }
}

fn wait_of(fits: Check) -> u64 {
    match fits {
        Check::Fits => 0,
        Check::Later { wait_ns } => wait_ns,
        Check::Never => u64::MAX,
        Check::Gone => 1,
    }
}
