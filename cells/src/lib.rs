//! Tables of cells: who owns the memory, and who may insert.
//!
//! The layout and the protocol are the engine's (`tollgate_engine::cell`); here are a table on the
//! heap with a mutex per stripe (`HeapTable`), and one in a file that processes map together
//! (`Region`), each with room for reservations beside it.
//! To add a kind of table: a type that owns words and locks, lent by `cells()`.

mod fetch;
mod region;

pub use region::{Region, RegionError, RegionSpec};

use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};
use tollgate_engine::cell::{CELL_WORDS, STRIPE_CELLS, TableSecret};
use tollgate_engine::{CellHost, Cells, RESERVATION_WORDS, Reservations};

/// A table in this process's memory.
///
/// ```
/// use tollgate_cells::HeapTable;
/// use tollgate_engine::cell::TableSecret;
/// let table = HeapTable::new(1_000, TableSecret::new([7, 8]));
/// assert_eq!(table.capacity(), 1_008); // whole stripes of 16
/// assert_eq!(table.cells().occupied(), 0);
/// ```
pub struct HeapTable {
    /// A few more words than the cells have: `start` is where a line of memory begins.
    words: Box<[AtomicU64]>,
    start: usize,
    locks: Locks,
    secret: TableSecret,
    reservations: Box<[AtomicU64]>,
    next_reservation: AtomicU64,
    run: u64,
}

struct Locks(Box<[Mutex<()>]>);

impl std::fmt::Debug for HeapTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HeapTable").field("capacity", &self.capacity()).finish_non_exhaustive()
    }
}

impl HeapTable {
    /// A table for at least `cells` cells. `secret` keys the hash of their keys and must be
    /// unknown to clients.
    pub fn new(cells: usize, secret: TableSecret) -> HeapTable {
        let stripes = cells.div_ceil(STRIPE_CELLS).max(1);
        let words = stripes * STRIPE_CELLS * CELL_WORDS + CELL_WORDS;
        let words: Box<[AtomicU64]> = (0..words).map(|_| AtomicU64::new(0)).collect();
        let line_bytes = CELL_WORDS * size_of::<AtomicU64>();
        HeapTable {
            start: words.as_ptr().align_offset(line_bytes).min(CELL_WORDS),
            words,
            locks: Locks((0..stripes).map(|_| Mutex::new(())).collect()),
            secret,
            reservations: Box::default(),
            next_reservation: AtomicU64::new(0),
            run: 0,
        }
    }

    /// The same with room for so many reservations. `run` must differ with each start of the process: ids of an earlier
    /// one mean nothing.
    #[must_use]
    pub fn with_reservations(self, reservations: usize, run: u64) -> HeapTable {
        let reservations = (0..reservations.saturating_mul(RESERVATION_WORDS))
            .map(|_| AtomicU64::new(0))
            .collect();
        HeapTable { reservations, run, ..self }
    }

    /// Lends the table to a decision.
    pub fn cells(&self) -> Cells<'_> {
        let end = self.words.len() - CELL_WORDS + self.start;
        let words = self.words.get(self.start..end).unwrap_or(&[]);
        let cells = Cells::new(words, &self.secret, &self.locks);
        match self.reservations.is_empty() {
            true => cells,
            false => cells.with_reservations(Reservations::new(
                &self.reservations,
                &self.next_reservation,
                self.run,
            )),
        }
    }

    /// How many cells the table has.
    pub fn capacity(&self) -> usize {
        self.words.len() / CELL_WORDS - 1
    }
}

impl CellHost for Locks {
    fn fetch(&self, lines: &[*const u8]) {
        fetch::fetch(lines);
    }

    fn locked(&self, stripe: usize, work: &mut dyn FnMut()) {
        let lock = self.0.get(stripe);
        // A panic under the lock leaves whole words behind: the protocol needs no repair.
        let _guard = lock.map(|lock| lock.lock().unwrap_or_else(PoisonError::into_inner));
        work();
    }
}
