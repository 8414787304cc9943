//! One cell: its words, and how its state changes without a lock.

use super::CELL_WORDS;
use super::Parameters;
use super::key::{EMPTY, Key};
use crate::atomic::{AtomicU64, Ordering};

/// Words of a cell.
pub(super) const KEY_FIRST: usize = 0;
pub(super) const KEY_SECOND: usize = 1;
/// A bucket's arrival time; of a budget its base and what it used.
pub(super) const STATE: usize = 2;
/// Where a budget's window ends; 0 in a bucket.
pub(super) const WINDOW_END: usize = 3;
/// The end of the only window of what is in flight.
pub(crate) const IN_FLIGHT: u64 = u64::MAX;
/// A bit for each threshold that was told of; above them what was granted beyond the limit, or taken off it.
pub(super) const WARNED: usize = 4;
/// Of a bucket: that of the limits that wrote it.
pub(super) const GENERATION: usize = 5;
/// Of a budget, in its place: above every state that a budget of this cell has gone down from or ended with.
pub(super) const HIGH: usize = 5;
/// In the first cell of a stripe: until when cells of the stripe that gave their places away said something.
pub(super) const FLOOR: usize = 6;
/// Of a bucket: in which time one unit comes back.
pub(super) const INTERVAL: usize = 7;
/// Of a budget, in its place: the state at which nothing is used.
pub(super) const BASE: usize = 7;

/// Bits of `WARNED` below what was granted.
const GRANTED_SHIFT: u32 = 8;
/// Units that can be granted to a counter, or taken off it.
const GRANTED_MAX: i64 = (1 << 55) - 1;

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
pub(super) fn says_until(words: &[u64; CELL_WORDS]) -> u64 {
    let [_, _, state, window_end_ns, _, _, _, base] = *words;
    match window_end_ns {
        0 => state,
        IN_FLIGHT if state == base => 0,
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

    /// Replaces the state word as long as it is what it was. It was read before the key is looked at here: so it is
    /// this key's, and since no life of a cell has a state of an earlier one, the change is made in this key's or nowhere.
    #[inline(always)]
    pub(crate) fn take(&self, old: u64, new: u64) -> Taken {
        match self.is_own() {
            false => Taken::Gone,
            true if self.replace(old, new) => Taken::Done,
            true => Taken::Changed,
        }
    }

    /// Whether it counts a budget, not a bucket.
    pub(super) fn is_budget(&self) -> bool {
        self.load(WINDOW_END) != 0
    }

    /// What a budget used.
    pub(crate) fn used(&self) -> u64 {
        match self.state() {
            FROZEN => 0,
            state => state.saturating_sub(self.load(BASE)),
        }
    }

    /// The state of a budget that used so much.
    pub(crate) fn state_of(&self, used: u64) -> u64 {
        self.load(BASE).saturating_add(used)
    }

    /// Changes what this key's cell holds, if it is still its; `change` is given the state.
    pub(crate) fn change(&self, change: impl Fn(u64) -> u64) {
        loop {
            let old = self.state();
            if is_frozen(old) {
                return;
            }
            let new = change(old);
            self.note_before(old, new);
            if self.take(old, new) != Taken::Changed {
                return;
            }
        }
    }

    /// Notes a state that a budget is about to go down from.
    pub(crate) fn note_before(&self, old: u64, new: u64) {
        if new < old {
            self.note_high(old);
        }
    }

    /// Notes that a budget has had this state.
    pub(super) fn note_high(&self, state: u64) {
        if let Some(high) = self.words.get(HIGH).filter(|_| self.is_budget()) {
            high.fetch_max(state.saturating_add(1), Ordering::AcqRel);
        }
    }

    /// The first state that no budget's life of this cell has had.
    pub(super) fn next_base(&self) -> u64 {
        match self.is_budget() {
            true => self.load(HIGH),
            false => 0,
        }
    }

    /// Units that a budget has beyond its limit in its window; less than 0 if it has fewer.
    pub(crate) fn granted(&self) -> i64 {
        self.load(WARNED).cast_signed() >> GRANTED_SHIFT
    }

    /// Grants so many units, instead of what was granted before.
    pub(crate) fn grant(&self, granted: i64) {
        let Some(word) = self.words.get(WARNED) else { return };
        let granted = granted.clamp(-GRANTED_MAX, GRANTED_MAX).cast_unsigned() << GRANTED_SHIFT;
        let told = |old: u64| old & ((1 << GRANTED_SHIFT) - 1);
        // Always `Some`: what was told of stays.
        let _ =
            word.fetch_update(Ordering::AcqRel, Ordering::Acquire, |old| Some(told(old) | granted));
    }

    /// Every word.
    pub(crate) fn all(&self) -> [u64; CELL_WORDS] {
        std::array::from_fn(|at| self.load(at))
    }

    /// One word for what it holds: another key may have come to the state that this cell had, and a state may stay where
    /// something is granted.
    pub(super) fn says(&self, state: u64) -> u64 {
        state ^ self.load(KEY_SECOND) ^ self.load(WARNED).rotate_left(u64::BITS / 2)
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

    /// Changes the state word, under the stripe's lock or where nobody else is.
    pub(super) fn update(&self, change: impl Fn(u64) -> u64) {
        loop {
            let old = self.state();
            if is_frozen(old) || self.replace(old, change(old)) {
                return;
            }
        }
    }
}
