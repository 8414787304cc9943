//! Reservations: what a decision took until its true amounts are known, as words in a flat table beside the cells.
//!
//! Whoever settles one, or finds it expired, first makes its place its own by one exchange of the place's state word: a
//! reservation is settled once, whoever asks and however often. What it holds is in the cells from the beginning; settling
//! gives back what was too much and takes what was missing, up to the overdraft.
//!
//! Where a journal follows, a settled place is kept until the journal has it: the table is the journal's inbox, and a
//! process that ends leaves it to the others (`place` says how).

mod id;
mod place;
mod usage;

pub use id::{NoReservationId, ReservationId};
pub use place::RESERVATION_WORDS;
pub(crate) use place::{Held, Kind, MeterHash};
pub use usage::{Usage, UsageLine};

use crate::atomic::{AtomicU64, Ordering};
use crate::cell::{Cells, Key};
use crate::now::Now;
use crate::quota::settle::{SettleCode, Settlement, True};
use crate::request::Amount;
use place::{Phase, Place, Turn};

/// Reservations that are looked at before the table counts as full.
const PROBES_MAX: usize = 256;

/// Reservations, lent with the cells.
#[derive(Debug, Clone, Copy)]
pub struct Reservations<'t> {
    words: &'t [AtomicU64],
    next: &'t AtomicU64,
    run: u64,
    member: u16,
    is_journaled: bool,
}

impl<'t> Reservations<'t> {
    /// Lends places of `RESERVATION_WORDS` words each, all 0 at first. `next` is where the search for a free one goes on. `run`
    /// differs with each life of the table: ids of an earlier one mean nothing.
    pub fn new(words: &'t [AtomicU64], next: &'t AtomicU64, run: u64) -> Reservations<'t> {
        Reservations { words, next, run, member: 0, is_journaled: false }
    }

    /// The same, shared with other processes; this one is told apart by `member`.
    #[must_use]
    pub fn of_member(self, member: u16) -> Reservations<'t> {
        Reservations { member, ..self }
    }

    /// The same, with a journal behind it: what is settled stays until `Cells::kept`.
    #[must_use]
    pub fn journaled(self) -> Reservations<'t> {
        Reservations { is_journaled: true, ..self }
    }

    fn len(&self) -> usize {
        self.words.len() / RESERVATION_WORDS
    }

    fn place(&self, at: usize) -> Option<Place<'t>> {
        let start = at.checked_mul(RESERVATION_WORDS)?;
        self.words.get(start..start.checked_add(RESERVATION_WORDS)?).map(|words| Place { words })
    }

    fn places(self) -> impl Iterator<Item = Place<'t>> {
        (0..self.len()).filter_map(move |at| self.place(at))
    }
}

impl<'t> Cells<'t> {
    /// The identity of a meter.
    pub(crate) fn meter(&self, name: &str) -> MeterHash {
        let mut hasher = self.values();
        hasher.value(0, name.as_bytes());
        hasher.finish().words()
    }

    /// Keeps what a decision took until it is settled; `None` if there is no place.
    pub(crate) fn hold(&self, held: &[Option<Held>], expires_ns: u64) -> Option<ReservationId> {
        let table = self.reservations()?;
        for _ in 0..PROBES_MAX.min(table.len()) {
            let turn = table.next.fetch_add(1, Ordering::Relaxed);
            let at = usize::try_from(turn).unwrap_or(0).checked_rem(table.len())?;
            let Some(place) = table.place(at) else { continue };
            let was = place.turn();
            let is_free = matches!(was.phase, Phase::Free | Phase::Expired | Phase::Kept);
            let mut mine = was.to(Phase::Filling, table.member);
            mine.generation = was.generation.wrapping_add(1);
            if !is_free || !place.pass(was, mine) {
                continue;
            }
            place.fill(held, expires_ns);
            place.leave(mine.to(Phase::Held, 0));
            return self.id(table, at, mine.generation);
        }
        None
    }

    fn id(&self, table: Reservations<'_>, at: usize, generation: u32) -> Option<ReservationId> {
        let place = u32::try_from(at).ok()?;
        let mut hasher = self.values();
        for word in [table.run, u64::from(place), u64::from(generation)] {
            hasher.value(0, &word.to_le_bytes());
        }
        let [tag, _] = hasher.finish().words();
        Some(ReservationId { place, generation, tag })
    }

    /// The place that an id names, whatever became of it.
    fn place_of(&self, id: ReservationId) -> Option<Place<'t>> {
        let table = self.reservations()?;
        let at = usize::try_from(id.place).ok()?;
        table.place(at).filter(|_| self.id(table, at, id.generation) == Some(id))
    }

    /// Charges the true amounts of a reservation. Once: who asks again is told so.
    pub fn settle(&self, id: ReservationId, truth: True<'_>, now: Now) -> Settlement {
        let refuse = |code| Settlement { code, uncharged: 0 };
        let (Some(table), Some(place)) = (self.reservations(), self.place_of(id)) else {
            return refuse(SettleCode::UnknownReservation);
        };
        loop {
            let was = place.turn();
            if was.generation != id.generation {
                return refuse(SettleCode::UnknownReservation);
            }
            let is_late = match was.phase {
                Phase::Held => false,
                Phase::Expired => true,
                Phase::Settled | Phase::Kept => return refuse(SettleCode::AlreadySettled),
                Phase::Filling | Phase::Charging => return refuse(SettleCode::Busy),
                Phase::Free | Phase::Unknown => return refuse(SettleCode::UnknownReservation),
            };
            // Nobody else writes the lines of a place that is held.
            if let True::Amounts(amounts) = truth
                && !amounts.iter().all(|amount| self.holds(place, amount))
            {
                return refuse(SettleCode::UnknownMeter);
            }
            if !place.pass(was, was.to(Phase::Charging, table.member)) {
                continue;
            }
            let uncharged = self.charge(place, now, |held| self.truth(held, truth));
            place.settled_at(now.0);
            let after = if table.is_journaled { Phase::Settled } else { Phase::Kept };
            place.leave(was.to(after, 0));
            let code = match (uncharged, is_late) {
                (0, false) => SettleCode::Settled,
                (0, true) => SettleCode::SettledLate,
                _ => SettleCode::OverdraftExceeded,
            };
            return Settlement { code, uncharged };
        }
    }

    fn holds(&self, place: Place<'_>, amount: &Amount<'_>) -> bool {
        let meter = self.meter(amount.meter);
        place.held().any(|held| held.meter == meter)
    }

    /// What a limit is to have been charged.
    fn truth(&self, held: &Held, truth: True<'_>) -> u64 {
        match (held.kind, truth) {
            (Kind::InFlight, _) | (_, True::Nothing) => 0,
            (_, True::Amounts(amounts)) => {
                let stated = amounts.iter().find(|amount| self.meter(amount.meter) == held.meter);
                // Of what nothing is said, what it was charged stands.
                stated.map_or(held.amount, |amount| amount.amount)
            }
        }
    }

    /// Brings the limits of a place to what they are to be charged; says how much did not fit.
    fn charge(&self, place: Place<'_>, now: Now, target: impl Fn(&Held) -> u64) -> u64 {
        let most = std::cell::Cell::new(0);
        place.charge(target, |held, to| {
            let cell = self.find(held.key);
            let uncharged = cell.map_or(0, |cell| held.settle(cell, held.amount, to, now.0));
            most.set(uncharged.max(most.get()));
            to - uncharged
        });
        most.get()
    }

    /// Ends the reservations whose time is over: the known part is charged, the rest given back. How many there were.
    pub fn expire(&self, now: Now) -> u64 {
        let Some(table) = self.reservations() else { return 0 };
        let mut expired = 0;
        for place in table.places() {
            let was = place.turn();
            let is_over = was.phase == Phase::Held && place.time_ns() <= now.0;
            if !is_over || !place.pass(was, was.to(Phase::Charging, table.member)) {
                continue;
            }
            self.charge(place, now, |held| held.known);
            place.leave(was.to(Phase::Expired, 0));
            expired += 1;
        }
        expired
    }

    /// Frees the places that processes which are gone were working on: one that was being filled belongs to nobody and is
    /// free, what it took stays taken; one that was being charged is held again. How many there were.
    pub fn recover(&self) -> u64 {
        self.recover_left(|member| self.is_gone(member))
    }

    /// The same of what an earlier holder of this process's own number left, before this one fills or charges anything.
    pub fn recover_own(&self) -> u64 {
        let own = self.reservations().map(|table| table.member);
        self.recover_left(|member| Some(member) == own)
    }

    /// How many places processes that are gone were working on.
    pub fn abandoned(&self) -> u64 {
        self.left_by(&|member| self.is_gone(member)).count() as u64
    }

    fn recover_left(&self, is_left: impl Fn(u16) -> bool) -> u64 {
        let member = self.reservations().map_or(0, |table| table.member);
        let mut recovered = 0;
        for (place, was) in self.left_by(&is_left) {
            if place.pass(was, was.to(was.phase, member)) {
                let is_held = was.phase == Phase::Charging;
                place.settle_doubt();
                place.leave(was.to(if is_held { Phase::Held } else { Phase::Free }, 0));
                recovered += 1;
            }
        }
        recovered
    }

    /// The places that are being filled or charged by those who are gone.
    fn left_by(&self, is_left: &dyn Fn(u16) -> bool) -> impl Iterator<Item = (Place<'t>, Turn)> {
        let places = self.reservations().into_iter().flat_map(Reservations::places);
        places.map(|place| (place, place.turn())).filter(|(_, was)| {
            matches!(was.phase, Phase::Filling | Phase::Charging) && is_left(was.member)
        })
    }

    /// What open reservations hold of one cell. Walks the whole table.
    pub(crate) fn held_of(&self, key: Key) -> u64 {
        let places = self.reservations().into_iter().flat_map(Reservations::places);
        let held = places.filter(|place| place.turn().phase == Phase::Held).flat_map(Place::held);
        held.filter(|held| held.key == key).map(|held| held.amount).sum()
    }

    /// How many reservations are held. Walks the whole table: for status, never for a decision.
    pub fn held(&self) -> usize {
        let places = self.reservations().into_iter().flat_map(Reservations::places);
        places.filter(|place| place.turn().phase == Phase::Held).count()
    }
}
