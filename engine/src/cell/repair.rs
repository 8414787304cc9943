//! What a process that ended at any instruction may have left in a table, and putting it right.
//!
//! Nothing of it lets a limit be passed; a cell that nobody finds is room that is lost.

use super::key::{Key, RESERVED_KEYS, TOMBSTONE};
use super::one::{FROZEN, IN_FLIGHT, KEY_FIRST, KEY_SECOND, STATE, WINDOW_END, is_frozen};
use super::{Cell, Cells, STRIPE_CELLS};
use std::collections::BTreeMap;

/// What was found wrong with a table, by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ailments {
    /// Cells that somebody died taking away from their key.
    pub half_evicted: u64,
    /// Cells of a key that has another; both count, so the key has less than it should.
    pub doubled: u64,
    /// Cells where nobody looks for them.
    pub misplaced: u64,
}

impl Ailments {
    /// Whether there is anything.
    pub fn any(&self) -> bool {
        *self != Ailments::default()
    }
}

impl<'t> Cells<'t> {
    /// Ends the evictions in a stripe that somebody died in, under its lock: nobody else evicts now.
    pub(super) fn bury(&self, stripe: usize) -> u64 {
        let mut buried = 0;
        for cell in self.cells_of(stripe) {
            if is_frozen(cell.state()) && cell.load(KEY_FIRST) >= RESERVED_KEYS {
                cell.store(KEY_FIRST, TOMBSTONE);
                buried += 1;
            }
        }
        buried
    }

    fn cells_of(&self, stripe: usize) -> impl Iterator<Item = Cell<'t>> + use<'t> {
        let cells = *self;
        (0..STRIPE_CELLS).filter_map(move |position| cells.cell(stripe, position))
    }

    /// Looks at every cell, and puts right what is wrong if `repair`. Decisions go on meanwhile.
    pub fn examine(&self, repair: bool) -> Ailments {
        let mut found = Ailments::default();
        for stripe in 0..self.stripes() {
            self.host.locked(stripe, &mut || self.examine_stripe(stripe, repair, &mut found));
        }
        found
    }

    fn examine_stripe(&self, stripe: usize, repair: bool, found: &mut Ailments) {
        let mut seen: Vec<(Key, Cell<'_>)> = Vec::new();
        for cell in self.cells_of(stripe) {
            let key = Key { first: cell.load(KEY_FIRST), second: cell.load(KEY_SECOND) };
            if key.first < RESERVED_KEYS {
                continue;
            }
            let kept = seen.iter().find(|(known, _)| *known == key).map(|(_, cell)| *cell);
            if is_frozen(cell.state()) {
                found.half_evicted += 1;
            } else if self.stripe(key) != Some(stripe) {
                found.misplaced += 1;
            } else if let Some(kept) = kept {
                found.doubled += 1;
                if repair {
                    kept.merge(&cell);
                }
            } else {
                seen.push((key, cell));
                continue;
            }
            if repair {
                cell.store(STATE, FROZEN);
                cell.store(KEY_FIRST, TOMBSTONE);
            }
        }
    }

    /// Brings each counter of what is in flight to what is held of it; how many were something else.
    pub(crate) fn recount(&self, held: &BTreeMap<[u64; 2], u64>) -> u64 {
        let mut wrong = 0;
        for cell in (0..self.stripes()).flat_map(|stripe| self.cells_of(stripe)) {
            let key = [cell.load(KEY_FIRST), cell.load(KEY_SECOND)];
            let counts = key[0] >= RESERVED_KEYS && cell.load(WINDOW_END) == IN_FLIGHT;
            let is = held.get(&key).copied().unwrap_or(0);
            if counts && cell.used() != is {
                cell.note_high(cell.state());
                cell.store(STATE, cell.state_of(is));
                wrong += 1;
            }
        }
        wrong
    }

    /// The words of every cell that holds a key: for a table that nobody else has.
    pub fn every(&self, visit: &mut dyn FnMut([u64; super::CELL_WORDS])) {
        for cell in (0..self.stripes()).flat_map(|stripe| self.cells_of(stripe)) {
            if cell.load(KEY_FIRST) >= RESERVED_KEYS && !is_frozen(cell.state()) {
                visit(cell.all());
            }
        }
    }
}

impl Cell<'_> {
    /// Takes over what another cell of the same key counted.
    fn merge(&self, other: &Cell<'_>) {
        self.update(|state| match other.is_budget() {
            true => state.saturating_add(other.used()),
            false => state.max(other.state()),
        });
    }
}
