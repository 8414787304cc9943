//! What was settled and no journal has yet.

use super::place::{Held, Kind, Phase, Place};
use super::{ReservationId, Reservations};
use crate::cell::{CELL_WORDS, Cells};
use crate::now::Now;
use std::collections::BTreeMap;

/// One settled reservation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    pub id: ReservationId,
    /// When it was settled.
    pub at: Now,
    pub lines: Vec<UsageLine>,
}

/// What one limit was charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsageLine {
    /// The identity of the meter's name.
    pub meter: [u64; 2],
    pub amount: u64,
    /// The words of its cell behind the charge; all 0 where the cell's window was over.
    pub cell: [u64; CELL_WORDS],
}

impl Cells<'_> {
    /// A settled reservation that no journal has yet.
    pub fn usage(&self, id: ReservationId) -> Option<Usage> {
        self.place_of(id).and_then(|place| self.usage_at(place, id))
    }

    fn usage_at(&self, place: Place<'_>, id: ReservationId) -> Option<Usage> {
        let before = place.turn();
        let line = |held: Held| UsageLine {
            meter: held.meter,
            amount: held.amount,
            cell: self.find(held.key).map_or([0; CELL_WORDS], |cell| cell.all()),
        };
        let is_ours = before.phase == Phase::Settled && before.generation == id.generation;
        let charged = place.held().filter(|held| !matches!(held.kind, Kind::Learned { .. }));
        let lines = if is_ours { charged.map(line).collect() } else { Vec::new() };
        let usage = Usage { id, at: Now(place.time_ns()), lines };
        // Another may have kept it meanwhile and a new reservation taken its place.
        (is_ours && place.turn() == before).then_some(usage)
    }

    /// Every settled reservation that no journal has yet.
    pub fn unkept(&self) -> Vec<Usage> {
        let Some(table) = self.reservations() else { return Vec::new() };
        let one = |at| {
            let place = table.place(at)?;
            self.usage_at(place, self.id(table, at, place.turn().generation)?)
        };
        (0..table.len()).filter_map(one).collect()
    }

    /// The journal has it: its place may be another's.
    pub fn kept(&self, id: ReservationId) {
        let Some(place) = self.place_of(id) else { return };
        let was = place.turn();
        if was.phase == Phase::Settled && was.generation == id.generation {
            place.pass(was, was.to(Phase::Kept, 0));
        }
    }

    /// Brings the counters of what is in flight to what is held: for a process that is alone and serves nobody yet. How
    /// many were wrong: who took from them and died before it held.
    pub fn recount_in_flight(&self) -> u64 {
        let mut held = BTreeMap::new();
        let places = self.reservations().into_iter().flat_map(Reservations::places);
        for one in places.filter(|place| place.turn().phase == Phase::Held).flat_map(Place::held) {
            if one.kind == Kind::InFlight {
                *held.entry(one.key.words()).or_insert(0_u64) += one.amount;
            }
        }
        self.recount(&held)
    }
}
