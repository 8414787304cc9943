//! Settling: from what a limit was charged to what was really used.

use crate::cell::{Cell, Taken, is_frozen};
use crate::quota::estimate::observe;
use crate::quota::reservation::{Held, Kind};
use crate::request::Amount;

/// What was really used.
#[derive(Debug, Clone, Copy)]
pub enum True<'a> {
    /// By meter; of a meter that is not named the estimate stands.
    Amounts(&'a [Amount<'a>]),
    /// Nothing: the reservation is released.
    Nothing,
}

/// What became of a reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settlement {
    pub code: SettleCode,
    /// Units beyond the overdraft that no limit was charged; the largest of all limits.
    pub uncharged: u64,
}

/// Codes of a settle, in the order of precedence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettleCode {
    /// No such reservation, or its place is another's since.
    UnknownReservation,
    /// It was settled before; nothing is charged twice.
    AlreadySettled,
    /// Another settles it at this moment.
    Busy,
    /// An amount of a meter that it does not hold; it stays held.
    UnknownMeter,
    /// Settled; a part of the truth is beyond the overdraft.
    OverdraftExceeded,
    /// It had expired; the truth is charged nevertheless.
    SettledLate,
    Settled,
}

impl SettleCode {
    /// Every code, in the order of precedence.
    pub const ALL: &'static [SettleCode] = &[
        SettleCode::UnknownReservation,
        SettleCode::AlreadySettled,
        SettleCode::Busy,
        SettleCode::UnknownMeter,
        SettleCode::OverdraftExceeded,
        SettleCode::SettledLate,
        SettleCode::Settled,
    ];

    /// The stable number.
    pub const fn number(self) -> u16 {
        match self {
            SettleCode::Settled => 3000,
            SettleCode::SettledLate => 3001,
            SettleCode::OverdraftExceeded => 3002,
            SettleCode::AlreadySettled => 3010,
            SettleCode::UnknownReservation => 3020,
            SettleCode::UnknownMeter => 3021,
            SettleCode::Busy => 3030,
        }
    }

    /// The stable word.
    pub const fn name(self) -> &'static str {
        match self {
            SettleCode::Settled => "settled",
            SettleCode::SettledLate => "settled-late",
            SettleCode::OverdraftExceeded => "overdraft-exceeded",
            SettleCode::AlreadySettled => "already-settled",
            SettleCode::UnknownReservation => "unknown-reservation",
            SettleCode::UnknownMeter => "unknown-meter",
            SettleCode::Busy => "busy",
        }
    }

    /// Whether the reservation is settled now.
    pub const fn is_settled(self) -> bool {
        self.number() < 3020
    }
}

impl Held {
    /// Brings a cell from one charge to another; the units that did not fit.
    pub(crate) fn settle(&self, cell: Cell<'_>, from: u64, to: u64, now_ns: u64) -> u64 {
        if let Kind::Learned { quantile } = self.kind {
            observe(cell, quantile, to);
            return 0;
        }
        loop {
            let state = cell.state();
            // A cell that is another's counted for a window that is over.
            if is_frozen(state) {
                return 0;
            }
            let (new, uncharged) = match self.kind {
                Kind::Budget | Kind::InFlight | Kind::Learned { .. } => {
                    let base = cell.state_of(0);
                    let (used, uncharged) = used(state.saturating_sub(base), (from, to), self.cap);
                    (base + used, uncharged)
                }
                Kind::Bucket { interval_ns } => {
                    let interval_ns = cell.interval_ns().unwrap_or(interval_ns);
                    arrival(state, (from, to), self.cap, (interval_ns, now_ns))
                }
            };
            cell.note_before(state, new);
            match cell.take(state, new) {
                Taken::Done => return uncharged,
                Taken::Gone => return 0,
                Taken::Changed => {}
            }
        }
    }
}

/// What a budget used after a change of charge, and what did not fit.
fn used(used: u64, (from, to): (u64, u64), cap: u64) -> (u64, u64) {
    match to.checked_sub(from) {
        None => (used.saturating_sub(from - to), 0),
        Some(more) => {
            let room = cap.saturating_sub(used);
            (used + more.min(room), more.saturating_sub(room))
        }
    }
}

/// The same of a bucket's arrival time.
fn arrival(
    arrival: u64,
    (from, to): (u64, u64),
    cap: u64,
    (interval_ns, now_ns): (u64, u64),
) -> (u64, u64) {
    match to.checked_sub(from) {
        None => {
            let back = interval_ns.saturating_mul(from - to);
            (arrival.saturating_sub(back).max(1), 0)
        }
        Some(more) => {
            let begins = arrival.max(now_ns);
            let most = now_ns.saturating_add(interval_ns.saturating_mul(cap));
            let room = most.saturating_sub(begins) / interval_ns.max(1);
            let fits = more.min(room);
            let after = if fits == 0 { arrival } else { begins + fits * interval_ns };
            (after, more - fits)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_words_are_told_apart() {
        for (at, code) in SettleCode::ALL.iter().enumerate() {
            let others = SettleCode::ALL.iter().skip(at + 1);
            assert!(others.clone().all(|other| other.number() != code.number()));
            assert!(others.clone().all(|other| other.name() != code.name()));
        }
    }

    #[test]
    fn a_budget_is_brought_to_the_truth_and_not_beyond_its_cap() {
        for (before, from, to, cap, expected) in [
            (100, 40, 10, 200, (70, 0)),
            (100, 40, 40, 200, (100, 0)),
            (100, 40, 0, 200, (60, 0)),
            (100, 40, 60, 200, (120, 0)),
            (100, 40, 140, 200, (200, 0)),
            (100, 40, 141, 200, (200, 1)),
            // Lowered meanwhile: what is used stays used.
            (100, 40, 50, 80, (100, 10)),
            (30, 40, 0, 200, (0, 0)),
            (0, 0, u64::MAX, 200, (200, u64::MAX - 200)),
        ] {
            assert_eq!(used(before, (from, to), cap), expected, "{before} {from} -> {to} of {cap}");
        }
    }

    #[test]
    fn a_bucket_owes_at_most_its_cap() {
        let (interval, now) = (10, 1_000);
        for (before, from, to, cap, expected) in [
            (1_050, 4, 1, 8, (1_020, 0)),
            (1_050, 4, 6, 8, (1_070, 0)),
            (1_050, 4, 7, 8, (1_080, 0)),
            (1_050, 4, 8, 8, (1_080, 1)),
            // Full again meanwhile: what is taken now is taken from now on.
            (900, 4, 6, 8, (1_020, 0)),
            (1_090, 4, 6, 8, (1_090, 2)),
            (5, 4, 0, 8, (1, 0)),
        ] {
            let found = arrival(before, (from, to), cap, (interval, now));
            assert_eq!(found, expected, "{before} {from} -> {to} of {cap}");
        }
    }
}
