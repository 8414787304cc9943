//! One counter, found by the values that it counts by: how it stands, and giving back. For people, never for a decision.

use crate::cell::{Cells, Key};
use crate::decide::TenantState;
use crate::now::Now;
use crate::quota::limit::{Compiled, Mode, Quotas};
use crate::quota::reservation::Held;
use crate::quota::reserve::{LimitUse, hashed};
use crate::request::Request;
use crate::value::Value;

/// How one counter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub used: u64,
    pub of: u64,
    pub remaining: u64,
    /// What open reservations hold of it.
    pub held: u64,
    /// As `Quotas::reset_ms`.
    pub reset_ms: Option<u64>,
}

/// A counter that a request would be counted by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counter {
    pub limit: u16,
    pub mode: Mode,
    /// The values of its dimensions, as JSON writes them.
    pub values: Vec<String>,
    pub standing: Standing,
}

impl Quotas {
    /// The position of a limit by its id.
    pub fn position(&self, id: &str) -> Option<u16> {
        (0..).zip(&self.limits).map(|(at, _)| at).find(|at| self.id(*at) == id)
    }

    /// How the counter of these values stands; `None` if they are not as many as the limit has dimensions.
    pub fn standing(
        &self,
        cells: &Cells<'_>,
        limit: u16,
        values: &[Value<'_>],
        now: Now,
    ) -> Option<Standing> {
        let compiled = self.limits.get(usize::from(limit))?;
        let key = compiled.key_of(cells, values, now)?;
        self.standing_of(cells, limit, key, now)
    }

    fn standing_of(&self, cells: &Cells<'_>, limit: u16, key: Key, now: Now) -> Option<Standing> {
        let compiled = self.limits.get(usize::from(limit))?;
        let cell = cells.find(key);
        let (of, remaining) = (compiled.most(cell), compiled.remaining(cell, false, now.0));
        let used = match &compiled.window {
            None => of.saturating_sub(remaining),
            Some(_) => cell.map_or(0, |cell| cell.used()),
        };
        let own = LimitUse { limit, remaining, of, ..LimitUse::UNUSED };
        let held = cells.held_of(key);
        Some(Standing { used, of, remaining, held, reset_ms: self.reset_ms(&own, now) })
    }

    /// Grants a budget's counter so many units beyond its limit in the window of a moment, or fewer than it, instead of
    /// what was granted before; `None` of what is no budget, and where there is no room for the counter.
    pub fn grant(
        &self,
        cells: &Cells<'_>,
        limit: u16,
        (values, granted): (&[Value<'_>], i64),
        now: Now,
    ) -> Option<Standing> {
        let compiled = self.limits.get(usize::from(limit))?;
        let key = compiled.key_of(cells, values, now).filter(|_| compiled.window.is_some())?;
        compiled.insert(cells, key, now.0)?.grant(granted);
        self.standing_of(cells, limit, key, now)
    }

    /// Gives back at most so many units of what a counter used, and says how it stands then.
    pub fn give_back_to(
        &self,
        cells: &Cells<'_>,
        limit: u16,
        (values, amount): (&[Value<'_>], u64),
        now: Now,
    ) -> Option<Standing> {
        let compiled = self.limits.get(usize::from(limit))?;
        let key = compiled.key_of(cells, values, now)?;
        if let Some(cell) = cells.find(key) {
            let (meter, kind, cap) = ([0; 2], compiled.kind(), compiled.parameters.most);
            Held { key, amount, known: 0, meter, kind, cap }.settle(cell, amount, 0, now.0);
        }
        self.standing_of(cells, limit, key, now)
    }
}

impl Compiled {
    fn key_of(&self, cells: &Cells<'_>, values: &[Value<'_>], now: Now) -> Option<Key> {
        let is_whole = self.dimensions.slots().count() == values.len();
        let hash = hashed(cells, values.iter().map(Some)).filter(|_| is_whole)?;
        self.key(hash, now.0)
    }
}

impl TenantState {
    /// The counters that a request would be counted by.
    pub fn counters(&self, cells: &Cells<'_>, request: &Request<'_>, now: Now) -> Vec<Counter> {
        let quotas = self.quotas();
        self.quota_slots(request, |slots| {
            let one = |(limit, compiled): (u16, &Compiled)| {
                let values = compiled.dimensions.slots().map(|slot| slots.get(slot).copied());
                let values = values.collect::<Option<Vec<Value<'_>>>>()?;
                let key = compiled.key_of(cells, &values, now)?;
                Some(Counter {
                    limit,
                    mode: compiled.mode,
                    values: quotas.values_text(limit, slots),
                    standing: quotas.standing_of(cells, limit, key, now)?,
                })
            };
            let limits = (0..).zip(&quotas.limits);
            limits.filter(|(_, limit)| quotas.applies(limit, slots)).filter_map(one).collect()
        })
    }
}
