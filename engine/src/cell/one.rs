//! One cell: its words, and how its state changes without a lock.

use super::CELL_WORDS;
use super::Parameters;
use super::key::{EMPTY, Key};
use std::sync::atomic::{AtomicU64, Ordering};

/// Words of a cell.
pub(super) const KEY_FIRST: usize = 0;
pub(super) const KEY_SECOND: usize = 1;
/// A bucket's arrival time, or what a budget used.
pub(super) const STATE: usize = 2;
/// Where a budget's window ends; 0 in a bucket.
pub(super) const WINDOW_END: usize = 3;
/// The end of the only window of what is in flight.
pub(crate) const IN_FLIGHT: u64 = u64::MAX;
/// A bit for each threshold that was told of.
pub(super) const WARNED: usize = 4;
pub(super) const GENERATION: usize = 5;
/// In the first cell of a stripe: until when cells of the stripe that gave their places away said something.
pub(super) const FLOOR: usize = 6;
pub(super) const INTERVAL: usize = 7;

/// The state of a cell that is about to be another's: nothing fits it.
pub(super) const FROZEN: u64 = u64::MAX;

/// Whether a state is that of a cell that is about to be another's.
pub(crate) fn is_frozen(state: u64) -> bool {
    state == FROZEN
}

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    Done,
    /// The state was another meanwhile.
    Changed,
    /// The cell is another key's meanwhile.
    Gone,
}

/// A bucket says something until its arrival time, a budget until its window ends, a count of what is in flight as long
/// as it is not 0.
pub(super) fn says_until(state: u64, window_end_ns: u64) -> u64 {
    match window_end_ns {
        0 => state,
        IN_FLIGHT if state == 0 => 0,
        _ => window_end_ns,
    }
}

/// One cell of a table.
#[derive(Clone, Copy)]
pub(crate) struct Cell<'t> {
    pub(super) words: &'t [AtomicU64; CELL_WORDS],
    /// Whose cell it was when it was found.
    pub(super) key: Key,
}

/// The key of no cell.
pub(super) const NOBODY: Key = Key { first: EMPTY, second: 0 };

impl Cell<'_> {
    pub(super) fn load(&self, word: usize) -> u64 {
        self.words.get(word).map_or(0, |word| word.load(Ordering::Acquire))
    }

    pub(super) fn store(&self, word: usize, value: u64) {
        if let Some(word) = self.words.get(word) {
            word.store(value, Ordering::Release);
        }
    }

    /// Where it lies: the order in which a decision takes its cells.
    pub(crate) fn place(&self) -> usize {
        self.words.as_ptr().addr()
    }

    /// Whether it is still the cell of the key that it was found for.
    #[inline]
    pub(crate) fn is_own(&self) -> bool {
        let is_its = self.load(KEY_FIRST) == self.key.first;
        is_its && self.load(KEY_SECOND) == self.key.second && !is_frozen(self.state())
    }

    /// Replaces the state word as long as it is what it was, and looks at the key again: a change is undone if the
    /// cell has become another's.
    #[inline(always)]
    pub(crate) fn take(&self, old: u64, new: u64) -> Taken {
        match (self.replace(old, new), self.is_own()) {
            (true, true) => Taken::Done,
            (false, true) => Taken::Changed,
            (true, false) => {
                // Others may have changed it further meanwhile: what was put on is taken off.
                let by = new.wrapping_sub(old);
                self.update(|state| state.wrapping_sub(by));
                Taken::Gone
            }
            (false, false) => Taken::Gone,
        }
    }

    /// Every word.
    pub(crate) fn all(&self) -> [u64; CELL_WORDS] {
        std::array::from_fn(|at| self.load(at))
    }

    /// One word for what it holds: another key may have come to the state that this cell had.
    pub(super) fn says(&self, state: u64) -> u64 {
        state ^ self.load(KEY_SECOND)
    }

    /// Whether the cell was written under older parameters than these.
    pub(crate) fn is_older_than(&self, parameters: Parameters) -> bool {
        self.load(GENERATION) < parameters.generation
    }

    /// Time in which one unit comes back, in a bucket.
    pub(crate) fn interval_ns(&self) -> Option<u64> {
        Some(self.load(INTERVAL)).filter(|interval_ns| *interval_ns > 0)
    }

    /// The state word.
    pub(crate) fn state(&self) -> u64 {
        self.load(STATE)
    }

    /// Notes the thresholds that are reached, and forgets those that use has fallen far below. The bits of those that
    /// were not known: whoever gets one tells of it.
    pub(crate) fn warn(&self, reached: u8, fallen: u8) -> u8 {
        let Some(warned) = self.words.get(WARNED) else { return 0 };
        loop {
            let old = warned.load(Ordering::Acquire);
            let new = (old | u64::from(reached)) & !u64::from(fallen);
            if old == new {
                return 0;
            }
            let exchange = warned.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire);
            if exchange.is_ok() {
                return u8::try_from(new & !old).unwrap_or(0);
            }
        }
    }

    /// How late the windows were that its stripe forgot; of the first cell of a stripe.
    pub(super) fn forgotten_until(&self) -> u64 {
        self.load(FLOOR)
    }

    /// Notes, under the stripe's lock, that it forgets a cell that said something until then.
    pub(super) fn raise(&self, said_until_ns: u64) {
        self.store(FLOOR, self.forgotten_until().max(said_until_ns));
    }

    /// Replaces the state word unless it changed meanwhile.
    pub(super) fn replace(&self, old: u64, new: u64) -> bool {
        self.words.get(STATE).is_some_and(|state| {
            state.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire).is_ok()
        })
    }

    /// Changes the state word, unless the cell is about to be another's.
    pub(crate) fn update(&self, change: impl Fn(u64) -> u64) {
        loop {
            let old = self.state();
            if is_frozen(old) || self.replace(old, change(old)) {
                return;
            }
        }
    }
}
