//! All limits or none, in one step.
//!
//! First every limit is read: a refusal writes nothing. Then each is taken in ascending order of
//! its cell; if one was lost to a race, what was taken is given back. A denied request therefore
//! leaves every later answer as it would have been without it.

use crate::bounds::LIMITS_PER_REQUEST_MAX;
use crate::cell::{Cell, Cells, Key};
use crate::expr::eval_strict::Machine;
use crate::quota::bucket::{Check, check, give_back, remaining};
use crate::quota::limit::{Compiled, Mode, Quotas, Stage};
use crate::request::Amount;
use crate::value::Value;
use std::num::NonZeroU32;

/// A limit that applied to a request, and how it stands after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitUse {
    /// Position among the tenant's limits.
    pub limit: u16,
    pub remaining: u64,
    pub of: u64,
    pub mode: Mode,
    /// The amount did not fit: a refusal if hard, a warning if soft.
    pub exceeded: bool,
}

/// The limits that applied, at most `LIMITS_PER_REQUEST_MAX`.
#[derive(Debug, Clone, Copy)]
pub struct LimitUses {
    uses: [LimitUse; LIMITS_PER_REQUEST_MAX],
    count: usize,
}

impl Default for LimitUses {
    fn default() -> LimitUses {
        let unused = LimitUse { limit: 0, remaining: 0, of: 0, mode: Mode::Hard, exceeded: false };
        LimitUses { uses: [unused; LIMITS_PER_REQUEST_MAX], count: 0 }
    }
}

impl LimitUses {
    pub fn as_slice(&self) -> &[LimitUse] {
        self.uses.get(..self.count).unwrap_or(&[])
    }

    fn push(&mut self, limit_use: LimitUse) -> bool {
        match self.uses.get_mut(self.count) {
            Some(place) => {
                *place = limit_use;
                self.count += 1;
                true
            }
            None => false,
        }
    }
}

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
    pub(crate) tenant: &'a str,
    pub(crate) slots: &'a [Value<'a>],
    /// `None`: as if nothing was said. An empty list looks without taking.
    pub(crate) amounts: Option<&'a [Amount<'a>]>,
    pub(crate) now_ns: u64,
    pub(crate) stage: Stage,
}

#[derive(Clone, Copy)]
struct Pending<'t> {
    key: Key,
    cell: Option<Cell<'t>>,
    amount: u32,
    position: u16,
    taken: bool,
}

impl Quotas {
    /// Takes from every limit of the stage that applies, or from none.
    pub(crate) fn reserve(
        &self,
        cells: &Cells<'_>,
        ask: Ask<'_>,
        uses: &mut LimitUses,
    ) -> Result<(), Refusal> {
        let mut pending: [Option<Pending<'_>>; LIMITS_PER_REQUEST_MAX] =
            [None; LIMITS_PER_REQUEST_MAX];
        let mut count = 0;
        let mut binding: Option<(u64, Refusal)> = None;
        let before = uses.count;
        for (position, limit) in self.limits.iter().enumerate() {
            if limit.stage != ask.stage || !self.applies(limit, ask) {
                continue;
            }
            let position = u16::try_from(position).unwrap_or(u16::MAX);
            let Some(key) = self.key(limit, cells, ask) else {
                match limit.mode {
                    Mode::Hard => return Err(Refusal::BadRequest),
                    _ => continue,
                }
            };
            let Some(amount) = limit.amount(ask.amounts) else {
                return Err(Refusal::BadRequest);
            };
            let cell = cells.find(key);
            if let Some(cell) = cell.filter(|cell| cell.is_older_than(limit.parameters)) {
                cells.adopt(cell, limit.parameters, ask.now_ns);
            }
            let fits = match NonZeroU32::new(amount) {
                Some(amount) => check(cell, limit.parameters, amount, ask.now_ns, false),
                None => Check::Fits,
            };
            if let (Mode::Hard, Some(refusal)) = (limit.mode, refusal(fits, position)) {
                let wait = wait_of(fits);
                if binding.is_none_or(|(longest, _)| wait > longest) {
                    binding = Some((wait, refusal));
                }
            }
            let left = remaining(cell, limit.parameters, ask.now_ns);
            let exceeded = fits != Check::Fits;
            let mode = limit.mode;
            let of = limit.parameters.burst;
            if !uses.push(LimitUse { limit: position, remaining: left, of, mode, exceeded }) {
                return Err(Refusal::BadRequest);
            }
            if let (false, Some(place)) = (exceeded || amount == 0, pending.get_mut(count)) {
                *place = Some(Pending { key, cell, amount, position, taken: false });
                count += 1;
            }
        }
        if let Some((_, refusal)) = binding {
            return Err(refusal);
        }
        let pending = pending.get_mut(..count).unwrap_or_default();
        self.take(cells, ask, pending)?;
        for entry in pending.iter().flatten() {
            let after = self
                .limits
                .get(usize::from(entry.position))
                .map_or(0, |limit| remaining(entry.cell, limit.parameters, ask.now_ns));
            let uses = uses.uses.get_mut(before..uses.count).unwrap_or_default();
            if let Some(limit_use) = uses.iter_mut().find(|u| u.limit == entry.position) {
                limit_use.remaining = after;
            }
        }
        Ok(())
    }

    /// Takes in ascending order of cells; on a lost race gives back and refuses.
    fn take<'t>(
        &self,
        cells: &Cells<'t>,
        ask: Ask<'_>,
        pending: &mut [Option<Pending<'t>>],
    ) -> Result<(), Refusal> {
        for entry in pending.iter_mut().flatten().filter(|entry| entry.cell.is_none()) {
            let Some(limit) = self.limits.get(usize::from(entry.position)) else { continue };
            entry.cell = cells.find_or_insert(entry.key, limit.parameters);
            if entry.cell.is_none() {
                match limit.mode {
                    Mode::Hard => return Err(Refusal::StoreFull),
                    _ => entry.amount = 0,
                }
            }
        }
        pending.sort_unstable_by_key(|entry| {
            entry.and_then(|entry| entry.cell).map_or(usize::MAX, |cell| cell.address)
        });
        let mut lost = None;
        for entry in pending.iter_mut().flatten() {
            let Some(limit) = self.limits.get(usize::from(entry.position)) else { continue };
            let Some(amount) = NonZeroU32::new(entry.amount) else { continue };
            let taken = check(entry.cell, limit.parameters, amount, ask.now_ns, true);
            entry.taken = taken == Check::Fits;
            if !entry.taken && limit.mode == Mode::Hard {
                lost = Some(entry.position);
                break;
            }
        }
        let Some(limit) = lost else { return Ok(()) };
        for entry in pending.iter().flatten().filter(|entry| entry.taken) {
            let limit = self.limits.get(usize::from(entry.position));
            if let (Some(limit), Some(cell)) = (limit, entry.cell) {
                give_back(cell, limit.parameters, entry.amount);
            }
        }
        Err(Refusal::Exceeded { limit, retry_after_ms: Some(1) })
    }

    /// Whether the limit's condition holds; unknown counts as yes.
    fn applies(&self, limit: &Compiled, ask: Ask<'_>) -> bool {
        let Some(when) = limit.when else { return true };
        let fuel = crate::bounds::FUEL_PER_DECISION;
        let mut machine = Machine { code: &self.code, facts: &self.facts, slots: ask.slots, fuel };
        machine.truth(when, 0) != Some(false)
    }

    /// The key of a limit's cell; `None` if a dimension has no value.
    fn key(&self, limit: &Compiled, cells: &Cells<'_>, ask: Ask<'_>) -> Option<Key> {
        let mut key = cells.key();
        key.part(0, ask.tenant.as_bytes());
        key.part(0, limit.id.as_bytes());
        for dimension in &limit.dimensions {
            match ask.slots.get(usize::from(*dimension))? {
                Value::Str(text) => key.part(1, text.as_bytes()),
                Value::Int(int) => key.part(2, &int.to_le_bytes()),
                Value::Dec { mantissa, scale } => {
                    key.part(3, &mantissa.to_le_bytes());
                    key.part(3, &[*scale]);
                }
                Value::Bool(bool) => key.part(4, &[u8::from(*bool)]),
                Value::Missing | Value::Null | Value::List(_) => return None,
            }
        }
        Some(key.finish())
    }
}

impl Compiled {
    /// The amount that a request asks of this limit; `None` if nothing says how much.
    fn amount(&self, asked: Option<&[Amount<'_>]>) -> Option<u32> {
        if asked.is_some_and(<[Amount<'_>]>::is_empty) {
            return Some(0);
        }
        let stated = asked.unwrap_or(&[]).iter().find(|amount| amount.meter == self.meter);
        match stated {
            Some(stated) => Some(u32::try_from(stated.amount).unwrap_or(u32::MAX)),
            None if self.meter == "requests" => Some(1),
            None => self.default_amount,
        }
    }
}

fn refusal(fits: Check, limit: u16) -> Option<Refusal> {
    match fits {
        Check::Fits => None,
        Check::Later { wait_ns } => {
            Some(Refusal::Exceeded { limit, retry_after_ms: Some(wait_ns.div_ceil(1_000_000)) })
        }
        Check::Never => Some(Refusal::Exceeded { limit, retry_after_ms: None }),
    }
}

fn wait_of(fits: Check) -> u64 {
    match fits {
        Check::Fits => 0,
        Check::Later { wait_ns } => wait_ns,
        Check::Never => u64::MAX,
    }
}
