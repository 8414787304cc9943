//! What a decision keeps until its true amounts are known: how much of each limit, and what to learn from.

use super::{Ask, Hashes, Pending, Refusal};
use crate::bounds::{LIMITS_PER_REQUEST_MAX, RESERVATION_TTL_MS, RESERVATION_TTL_MS_MAX};
use crate::cell::{Cell, Key};
use crate::quota::limit::{Compiled, Mode, Quotas, Stage};
use crate::quota::reservation::{Held, Kind, ReservationId};

/// The last part of a limit, one in so many, of which reservations take the worst case.
const NEAR_PART: u64 = 10;

impl Quotas {
    /// Keeps what was taken of meters whose true amounts come later; gives all of it back if there is no room.
    #[cold]
    #[inline(never)]
    pub(super) fn hold<'t>(
        &self,
        ask: Ask<'t>,
        hashes: &mut Hashes,
        pending: &mut [Option<Pending<'t>>],
    ) -> Result<Option<ReservationId>, Refusal> {
        if ask.cells.reservations().is_none() || ask.stage == Stage::BeforePolicy {
            return Ok(None);
        }
        let mut held: [Option<Held>; LIMITS_PER_REQUEST_MAX] = [None; _];
        let mut count = 0;
        let mut hold = |one: Option<Held>| {
            if let (Some(place), Some(_)) = (held.get_mut(count), &one) {
                *place = one;
                count += 1;
            }
        };
        for entry in pending.iter_mut().flatten().filter(|entry| entry.taken) {
            let Some(limit) = self.limits.get(usize::from(entry.position)) else { continue };
            let key = Quotas::key(limit, ask, hashes);
            let one = key.and_then(|key| self.held(entry, limit, key, ask));
            entry.is_held = one.is_some();
            hold(one);
        }
        // Where there is no line left, nothing is learned.
        for entry in pending.iter().flatten().filter(|entry| entry.is_held && self.has_learners) {
            hold(self.learning(entry.position, ask));
        }
        let held = held.get(..count).unwrap_or_default();
        if held.is_empty() {
            return Ok(None);
        }
        let ttl_ms = ask.reserve.map_or(RESERVATION_TTL_MS, |reserve| reserve.ttl_ms);
        let ttl_ms = ttl_ms.clamp(1, RESERVATION_TTL_MS_MAX);
        let expires_ns = ask.now_ns.saturating_add(ttl_ms * 1_000_000);
        match ask.cells.hold(held, expires_ns) {
            Some(reservation) => Ok(Some(reservation)),
            None => self.charge_unheld(pending).map(|()| None),
        }
    }

    /// There is no room for a reservation: what was taken is charged and stays so if every hard limit that it was for
    /// lets the request pass then, but for what is in flight, which nobody would give back.
    fn charge_unheld(&self, pending: &mut [Option<Pending<'_>>]) -> Result<(), Refusal> {
        let closes = |entry: &Pending<'_>| {
            let limit = self.limits.get(usize::from(entry.position));
            limit.is_some_and(|l| l.mode == Mode::Hard && !l.failure_mode.opens_on_store_full)
        };
        if pending.iter().flatten().any(|entry| entry.is_held && closes(entry)) {
            self.give_back(pending);
            return Err(Refusal::StoreFull);
        }
        for entry in pending.iter_mut().flatten().filter(|entry| entry.is_held) {
            let Some(limit) = self.limits.get(usize::from(entry.position)) else { continue };
            entry.failed_open = limit.mode == Mode::Hard;
            if let (Kind::InFlight, Some(cell)) = (limit.kind(), entry.cell) {
                limit.give_back(cell, entry.amount);
                entry.taken = false;
            }
        }
        Ok(())
    }

    /// What a reservation is to take of a limit that learns: what requests like it used, and what was stated where that
    /// is not known, or near the limit.
    #[cold]
    #[inline(never)]
    pub(super) fn estimated(
        &self,
        position: u16,
        limit: &Compiled,
        (cell, worst): (Option<Cell<'_>>, u64),
        ask: Ask<'_>,
    ) -> u64 {
        let learner = self.terms(position).and_then(|terms| terms.learner.as_ref());
        let Some(likely) = learner.and_then(|learner| learner.likely(ask)) else { return worst };
        let left = limit.remaining(cell, false, ask.now_ns);
        match left < worst.max(limit.most(cell) / NEAR_PART) {
            true => worst,
            false => likely.min(worst),
        }
    }

    /// The line by which a settle is learned from.
    fn learning(&self, position: u16, ask: Ask<'_>) -> Option<Held> {
        let terms = self.terms(position).filter(|_| ask.reserve.is_some())?;
        let meter = ask.cells.meter(&terms.meter);
        terms.learner.as_ref()?.line(ask, meter)
    }

    /// What a reservation holds of a limit: nothing of requests, which are known.
    fn held(&self, entry: &Pending<'_>, limit: &Compiled, key: Key, ask: Ask<'_>) -> Option<Held> {
        let terms = self.terms(entry.position)?;
        let kind = limit.kind();
        let known = match (kind, ask.reserve) {
            (Kind::InFlight, _) => 0,
            (_, None) => return None,
            _ if terms.meter == "requests" => return None,
            (_, Some(reserve)) => {
                let known = reserve.known.iter().find(|known| known.meter == terms.meter);
                known.map_or(entry.amount, |known| known.amount.min(entry.amount))
            }
        };
        Some(Held {
            key,
            amount: entry.amount,
            known,
            meter: ask.cells.meter(&terms.meter),
            kind,
            cap: limit.most(entry.cell).saturating_add(terms.overdraft),
        })
    }
}
