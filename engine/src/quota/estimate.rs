//! Learned estimates: what a request will use of a meter, from what those like it used.
//!
//! For each limit and each set of values one number, in a cell of its own: a quantile of the true amounts. Each settle moves
//! it by a step, up where the truth was above it and down where it was not, in such a proportion that it rests where the
//! wanted share of truths is below (H. Robbins, S. Monro: A Stochastic Approximation Method, 1951). Steps are of a
//! logarithmic scale: amounts of tokens differ by orders of magnitude.
//!
//! A cell learns for one epoch and is known for one more; that of the next epoch begins with what it knew.

use crate::cell::{Cell, Fresh, Key, LimitHash, Parameters};
use crate::quota::limit::{Dimension, Dimensions};
use crate::quota::reservation::{Held, Kind, MeterHash};
use crate::quota::reserve::{Ask, hashed};

/// Settles that must have been seen before anybody is let in on a guess.
pub const LEARNED_AFTER: u64 = 20;
/// How long a cell learns.
const EPOCH_NS: u64 = 7 * 86_400 * 1_000_000_000;
/// Quantiles that can be learned, in per cent.
const QUANTILES: std::ops::RangeInclusive<u8> = 50..=99;

/// The scale's steps within a doubling.
const DOUBLING: u64 = 1 << DOUBLING_BITS;
const DOUBLING_BITS: u32 = 16;
/// The first steps are two doublings long and shrink to this.
const STEP_MIN: u64 = DOUBLING / 16;
/// Low bits of what is learned: how many settles were seen, up to what fits.
const COUNT_BITS: u32 = 8;
const COUNT_MAX: u64 = (1 << COUNT_BITS) - 1;

/// What a limit is to learn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Estimate {
    /// The share of requests that use no more, in per cent.
    pub quantile: u8,
    /// The parts of a request whose values are learned apart; none: all of the tenant's together.
    pub by: Vec<Dimension>,
}

impl Estimate {
    /// Why it cannot be learned, if it cannot.
    pub(crate) fn refusal(&self) -> Option<String> {
        let (least, most) = (QUANTILES.start(), QUANTILES.end());
        let got = self.quantile;
        (!QUANTILES.contains(&got))
            .then(|| format!("expected a quantile of {least} to {most} per cent, got {got}"))
    }
}

/// What a limit has learned of requests like one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExplainedEstimate {
    /// Position among the tenant's limits.
    pub limit: u16,
    /// In per cent.
    pub quantile: u8,
    /// Settles that it was learned from, counted up to 255.
    pub settles: u64,
    /// What such a request uses at most, most likely; `None` until enough is known.
    pub likely: Option<u64>,
}

/// What a limit learns, and where.
#[derive(Debug, Clone)]
pub(crate) struct Learner {
    hash: LimitHash,
    quantile: u8,
    dimensions: Dimensions,
}

impl Learner {
    pub(crate) fn new(estimate: &Estimate, dimensions: Dimensions) -> Learner {
        Learner { hash: LimitHash::default(), quantile: estimate.quantile, dimensions }
    }

    pub(crate) fn bind(&mut self, tenant: &str, limit: &str) {
        self.hash = LimitHash::of_learner(tenant, limit);
    }

    /// What a request like this most likely uses at most; `None` until enough is known.
    pub(crate) fn likely(&self, ask: Ask<'_>) -> Option<u64> {
        self.learned(ask).estimate()
    }

    /// The same with what it is based on; nothing of a request without a value to learn by.
    pub(crate) fn explain(&self, limit: u16, ask: Ask<'_>) -> ExplainedEstimate {
        let learned = self.learned(ask);
        let (quantile, settles, likely) = (self.quantile, learned.count(), learned.estimate());
        ExplainedEstimate { limit, quantile, settles, likely }
    }

    fn learned(&self, ask: Ask<'_>) -> Learned {
        let cell = self.keys(ask).and_then(|(own, before, _)| {
            let cells = ask.cells;
            cells.find(own).or_else(|| cells.find(before))
        });
        Learned(cell.map_or(0, |cell| cell.used()))
    }

    /// The line of a reservation by which its settle is learned from; `None` where there is no room to learn.
    pub(crate) fn line(&self, ask: Ask<'_>, meter: MeterHash) -> Option<Held> {
        let (key, before, window_end_ns) = self.keys(ask)?;
        if ask.cells.find(key).is_none() {
            let parameters = Parameters { generation: 0, interval_ns: 0, most: 0 };
            let fresh = Fresh { parameters, window_end_ns, now_ns: ask.now_ns };
            let cell = ask.cells.find_or_insert(key, fresh)?;
            if let Some(before) = ask.cells.find(before) {
                update(
                    cell,
                    |learned| if learned.0 == 0 { Learned(before.used()) } else { learned },
                );
            }
        }
        let (kind, amount, known, cap) = (Kind::Learned { quantile: self.quantile }, 0, 0, 0);
        Some(Held { key, amount, known, meter, kind, cap })
    }

    /// The keys of this epoch's cell and of the last one's, and until when this one's is known.
    fn keys(&self, ask: Ask<'_>) -> Option<(Key, Key, u64)> {
        let slots = self.dimensions.slots().map(|slot| ask.slots.get(slot));
        let values = hashed(ask.cells, slots)?;
        let start_ns = ask.now_ns - ask.now_ns % EPOCH_NS;
        let key = |start_ns| Key::new(self.hash.in_window(start_ns), values);
        let end_ns = start_ns.saturating_add(2 * EPOCH_NS);
        Some((key(start_ns), key(start_ns.wrapping_sub(EPOCH_NS)), end_ns))
    }
}

/// Learns from one settle.
pub(crate) fn observe(cell: Cell<'_>, quantile: u8, truth: u64) {
    update(cell, |learned| learned.after(truth, quantile));
}

fn update(cell: Cell<'_>, change: impl Fn(Learned) -> Learned) {
    cell.change(|state| cell.state_of(change(Learned(state.saturating_sub(cell.state_of(0)))).0));
}

/// What a cell knows: a place on the scale and the number of settles; 0 is nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Learned(u64);

impl Learned {
    fn count(self) -> u64 {
        self.0 & COUNT_MAX
    }

    fn place(self) -> u64 {
        self.0 >> COUNT_BITS
    }

    fn estimate(self) -> Option<u64> {
        (self.count() >= LEARNED_AFTER).then(|| amount_at(self.place()))
    }

    /// The same with one truth more. Nothing is learned from a call that used nothing: it failed.
    fn after(self, truth: u64, quantile: u8) -> Learned {
        let (quantile, count) = (u64::from(quantile), self.count());
        let place = match (truth, count) {
            (0, _) => return self,
            (_, 0) => place_of(truth),
            _ => {
                let step = (2 * DOUBLING / count).max(STEP_MIN);
                match place_of(truth) > self.place() {
                    true => self.place() + step * quantile / 100,
                    false => self.place().saturating_sub(step * (100 - quantile) / 100),
                }
            }
        };
        let place = place.min(place_of(u64::MAX));
        Learned(place << COUNT_BITS | (count + 1).min(COUNT_MAX))
    }
}

/// The place of an amount of at least 1: its doubling, and how far it is on the way to the next.
fn place_of(amount: u64) -> u64 {
    let doubling = amount.max(1).ilog2();
    let way = (u128::from(amount.max(1)) << DOUBLING_BITS >> doubling) - u128::from(DOUBLING);
    u64::from(doubling) << DOUBLING_BITS | u64::try_from(way).unwrap_or(0)
}

/// The amount at a place, rounded up.
fn amount_at(place: u64) -> u64 {
    let doubling = place >> DOUBLING_BITS;
    let way = u128::from(DOUBLING | place & (DOUBLING - 1));
    let amount = (way << doubling.min(63)).div_ceil(u128::from(DOUBLING));
    u64::try_from(amount).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::mixed;

    #[test]
    fn places_keep_the_order_of_amounts() {
        for amount in (1..=70_000).chain([1 << 40, (1 << 62) + 12_345, u64::MAX]) {
            let back = amount_at(place_of(amount));
            assert!(back <= amount && amount - back <= amount >> DOUBLING_BITS, "{amount}: {back}");
            assert!(place_of(amount) <= place_of(amount.saturating_add(1)));
        }
    }

    /// Amounts of a kind, from a counter: deterministic.
    fn truth(kind: &str, turn: u64) -> u64 {
        let dice = mixed(turn);
        let (small, tail) = (dice % 1_000, dice >> 32 & 0xff);
        match kind {
            "always the same" => 777,
            "even" => 1 + small,
            // Each doubling half as likely as the one before.
            "long tail" => (100 + small) << tail.trailing_zeros().min(6),
            "two humps" if tail < 128 => 50 + small / 50,
            "two humps" => 20_000 + small,
            _ => unreachable!("{kind}"),
        }
    }

    #[test]
    fn the_wanted_share_of_truths_is_below_what_is_learned() {
        for kind in ["even", "long tail", "two humps", "always the same"] {
            for (quantile, share) in [(50, 420..=580), (90, 860..=940), (99, 970..=1_000)] {
                let (mut learned, mut below) = (Learned(0), 0);
                for turn in 0..11_000 {
                    let truth = truth(kind, turn);
                    if turn >= 1_000 {
                        let estimate = learned.estimate().unwrap();
                        below += u64::from(place_of(truth) <= place_of(estimate));
                    }
                    learned = learned.after(truth, quantile);
                }
                let found = below / 10;
                assert!(share.contains(&found), "{kind}, {quantile} %: {found} of 1000");
            }
        }
    }

    #[test]
    fn what_is_learned_follows_up_soon_and_down_slowly() {
        let of = |kind, turns| {
            move |learned: Learned| {
                (0..turns).fold(learned, |learned, turn| learned.after(truth(kind, turn), 90))
            }
        };
        for (before, then, turns) in
            [("even", "two humps", 200), ("two humps", "always the same", 1_000)]
        {
            let anew = of(then, turns)(Learned(0)).place();
            let moved = of(then, turns)(of(before, 1_000)(Learned(0))).place();
            assert!(anew.abs_diff(moved) < DOUBLING / 2, "{before}, {then}: {anew} {moved}");
        }
    }

    #[test]
    fn nothing_is_said_before_enough_is_known() {
        let mut learned = Learned(0);
        for seen in 0..40 {
            assert_eq!(learned.estimate().is_some(), seen >= LEARNED_AFTER, "{seen}");
            assert_eq!(learned.after(0, 90), learned);
            learned = learned.after(5, 90);
        }
    }
}
