//! Cells: the live state of one limit for one key, as words in a flat table.
//!
//! This is the layout and the protocol; who owns the memory and the locks is the host's business
//! (`tollgate-cells`). Lookup and update take no lock; an insert runs under the lock of its stripe.
//! A key's home is one stripe, never the next; a full stripe is an answer, not an overflow.
//!
//! A cell that says nothing any more gives its place to a key that needs one: its state is frozen, its key taken away,
//! and the new one written, under the stripe's lock. Whoever had found it meanwhile sees another key or another state: a
//! budget begins at a base that no earlier budget of the cell has had as its state, so that an exchange that succeeds is of the
//! life in which the state was read, and nothing has to be taken back (adr/0008). Whoever was held up for so long that the cell of its window is gone
//! gets no second one: the stripe remembers how late the windows were that it forgot.

mod key;
mod one;
mod repair;

pub use key::Key;
#[cfg(test)]
pub(crate) use key::mixed;
pub(crate) use key::{LimitHash, ValuesHash, ValuesHasher};
pub(crate) use one::{Cell, IN_FLIGHT, Taken, is_frozen};
pub use repair::Ailments;

use crate::atomic::{AtomicU64, Ordering};
use crate::quota::reservation::Reservations;
use key::{EMPTY, RESERVED_KEYS, TOMBSTONE};
use one::{
    FLOOR, FROZEN, GENERATION, INTERVAL, KEY_FIRST, KEY_SECOND, NOBODY, STATE, WARNED, WINDOW_END,
    says_until,
};

/// Words of one cell: 64 bytes, one cache line.
pub const CELL_WORDS: usize = 8;
/// Cells of one stripe.
pub const STRIPE_CELLS: usize = 16;

/// A cell gives its place away so long after its last word: until then who was held up still finds it.
const GRACE_NS: u64 = 1_000_000_000;

/// What keys the hash of cells: clients who knew it could choose which stripe they fill. It cannot
/// be printed or serialised by accident.
#[allow(missing_debug_implementations, reason = "a secret has none")]
pub struct TableSecret([u64; 2]);

impl TableSecret {
    pub const fn new(words: [u64; 2]) -> TableSecret {
        TableSecret(words)
    }

    /// The words, to be kept where nobody else reads.
    pub fn words(&self) -> &[u64; 2] {
        &self.0
    }
}

/// What a table needs of its host.
pub trait CellHost: Sync {
    /// Calls `work` once, alone on this stripe; never, if that cannot be had.
    fn locked(&self, stripe: usize, work: &mut dyn FnMut());

    /// Asks memory for the lines at these addresses and waits for none. A host that cannot does
    /// nothing: only time depends on it.
    fn fetch(&self, _lines: &[*const u8]) {}

    /// Whether the process of this number, which works on a reservation, is there no more.
    fn is_gone(&self, _member: u16) -> bool {
        false
    }
}

/// A table of cells, lent to one decision.
#[derive(Clone, Copy)]
pub struct Cells<'t> {
    words: &'t [AtomicU64],
    secret: &'t TableSecret,
    host: &'t dyn CellHost,
    reservations: Option<Reservations<'t>>,
}

impl std::fmt::Debug for Cells<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cells").field("words", &self.words.len()).finish_non_exhaustive()
    }
}

impl<'t> Cells<'t> {
    /// Lends a table. `words` hold whole stripes of `STRIPE_CELLS` cells; `secret` keys the hash,
    /// so that no client can choose which stripe it fills.
    pub fn new(
        words: &'t [AtomicU64],
        secret: &'t TableSecret,
        host: &'t dyn CellHost,
    ) -> Cells<'t> {
        Cells { words, secret, host, reservations: None }
    }

    /// The same with room for reservations; without it nothing is reserved.
    #[must_use]
    pub fn with_reservations(self, table: Reservations<'t>) -> Cells<'t> {
        Cells { reservations: Some(table), ..self }
    }

    pub(crate) fn reservations(&self) -> Option<Reservations<'t>> {
        self.reservations
    }

    /// Hashes dimension values under the table's secret.
    pub(crate) fn values(&self) -> ValuesHasher {
        ValuesHasher::keyed(self.secret.0)
    }

    pub(crate) fn is_gone(&self, member: u16) -> bool {
        self.host.is_gone(member)
    }

    fn stripes(&self) -> usize {
        self.words.len() / (CELL_WORDS * STRIPE_CELLS)
    }

    fn stripe(&self, key: Key) -> Option<usize> {
        // The high word of the product spreads a hash over any number of stripes without dividing.
        let stripes = u128::try_from(self.stripes()).ok().filter(|stripes| *stripes > 0)?;
        usize::try_from((u128::from(key.first) * stripes) >> 64).ok()
    }

    fn cell(&self, stripe: usize, position: usize) -> Option<Cell<'t>> {
        self.at((stripe * STRIPE_CELLS + position) * CELL_WORDS)
    }

    /// The cell whose first word is at this position.
    fn at(&self, address: usize) -> Option<Cell<'t>> {
        let words = self.words.get(address..address.checked_add(CELL_WORDS)?)?;
        Some(Cell { words: words.first_chunk()?, key: NOBODY })
    }

    /// The cells of a stripe in the order in which this key may occupy them.
    fn places(&self, stripe: usize, key: Key) -> impl Iterator<Item = Cell<'t>> {
        let start = usize::try_from(key.second % STRIPE_CELLS as u64).unwrap_or(0);
        let cells = *self;
        (0..STRIPE_CELLS).filter_map(move |step| cells.cell(stripe, (start + step) % STRIPE_CELLS))
    }

    /// Where the cell of a key most likely is.
    pub(crate) fn home(&self, key: Key) -> Option<*const u8> {
        let cell = self.places(self.stripe(key)?, key).next()?;
        Some(cell.words.as_ptr().cast())
    }

    /// Asks memory for lines that will be read soon.
    pub(crate) fn fetch(&self, lines: &[*const u8]) {
        self.host.fetch(lines);
    }

    /// The cell of a key, if it has one.
    pub(crate) fn find(&self, key: Key) -> Option<Cell<'t>> {
        for cell in self.places(self.stripe(key)?, key) {
            match cell.load(KEY_FIRST) {
                EMPTY => return None,
                first if first == key.first && cell.load(KEY_SECOND) == key.second => {
                    // Who is about to lose the cell says nothing any more.
                    return (!is_frozen(cell.state())).then_some(Cell { key, ..cell });
                }
                _ => {}
            }
        }
        None
    }

    /// The cell of a key, made if it has none; `None` if its stripe is full of cells that say something.
    pub(crate) fn find_or_insert(&self, key: Key, fresh: Fresh) -> Option<Cell<'t>> {
        if let Some(cell) = self.find(key) {
            return Some(cell);
        }
        let stripe = self.stripe(key)?;
        let mut inserted = None;
        self.host.locked(stripe, &mut || {
            self.bury(stripe);
            inserted = self.find(key).or_else(|| {
                let fresh = fresh.behind(self.floor(stripe).forgotten_until())?;
                let cell = self.free(stripe, key, fresh.now_ns)?;
                cell.begin(fresh);
                cell.store(KEY_SECOND, key.second);
                // Published last: whoever sees the first word sees the rest.
                cell.store(KEY_FIRST, key.first);
                Some(Cell { key, ..cell })
            });
        });
        inserted
    }

    /// The cell that holds what a stripe remembers.
    fn floor(&self, stripe: usize) -> Cell<'t> {
        self.cell(stripe, 0).unwrap_or(Cell { words: &NO_CELL, key: NOBODY })
    }

    /// A place for a key, under its stripe's lock: one that is empty, or of a cell that says nothing any more.
    fn free(&self, stripe: usize, key: Key, now_ns: u64) -> Option<Cell<'t>> {
        let nobodys = |cell: &Cell<'_>| cell.load(KEY_FIRST) < RESERVED_KEYS;
        self.places(stripe, key).find(nobodys).or_else(|| {
            let over = |cell: &Cell<'_>| {
                let words = cell.all();
                let (state, said) = (words[STATE], says_until(&words));
                if said.saturating_add(GRACE_NS) > now_ns {
                    return false;
                }
                self.floor(stripe).raise(said);
                cell.note_high(state);
                cell.replace(state, FROZEN)
            };
            let cell = self.places(stripe, key).find(over)?;
            // Never `EMPTY` again: who looks for a key behind it goes on.
            cell.store(KEY_FIRST, TOMBSTONE);
            Some(cell)
        })
    }

    /// Brings a cell that older parameters wrote to `parameters`: what was used stays used.
    pub(crate) fn adopt(&self, cell: Cell<'t>, parameters: Parameters, now_ns: u64) {
        let Some(stripe) = self.stripe(cell.key) else { return };
        self.host.locked(stripe, &mut || {
            if cell.load(GENERATION) >= parameters.generation || !cell.is_own() {
                return;
            }
            let old_interval = cell.load(INTERVAL).max(1);
            let rescale = |arrival: u64| parameters.rescale(arrival, old_interval, now_ns);
            // Whoever ends between the two leaves too much used, never too little.
            match parameters.interval_ns >= old_interval {
                true => {
                    cell.update(rescale);
                    cell.store(INTERVAL, parameters.interval_ns);
                }
                false => {
                    cell.store(INTERVAL, parameters.interval_ns);
                    cell.update(rescale);
                }
            }
            cell.store(GENERATION, parameters.generation);
        });
    }

    /// Lends each cell whose key or state is not what `states` says, and brings `states` up to date:
    /// what a snapshot must write. `states` has one word per cell, 0 at first.
    pub fn changed(&self, states: &mut [u64], visit: &mut dyn FnMut([u64; CELL_WORDS])) {
        for stripe in 0..self.stripes() {
            if !self.has_changed(stripe, states) {
                continue;
            }
            // Under the lock no cell is half inserted or half adopted.
            self.host.locked(stripe, &mut || {
                for position in 0..STRIPE_CELLS {
                    let known = states.get_mut(stripe * STRIPE_CELLS + position);
                    let (Some(cell), Some(known)) = (self.cell(stripe, position), known) else {
                        continue;
                    };
                    let state = cell.state();
                    let says = cell.says(state);
                    if says == *known || cell.load(KEY_FIRST) < RESERVED_KEYS {
                        continue;
                    }
                    let mut words = cell.all();
                    // The word that was compared, whatever was taken meanwhile.
                    words[STATE] = state;
                    *known = says;
                    visit(words);
                }
            });
        }
    }

    /// Whether a stripe is worth its lock: a change that is missed now is seen at the next look.
    fn has_changed(&self, stripe: usize, states: &[u64]) -> bool {
        (0..STRIPE_CELLS).any(|position| {
            let known = states.get(stripe * STRIPE_CELLS + position);
            self.cell(stripe, position).is_some_and(|cell| known != Some(&cell.says(cell.state())))
        })
    }

    /// Puts a cell of a snapshot back; false if it says nothing any more at `now_ns`, or has no
    /// room.
    pub fn restore(&self, words: [u64; CELL_WORDS], now_ns: u64) -> bool {
        let [first, second, _, window_end, ..] = words;
        let key = Key { first, second };
        let Some(stripe) = self.stripe(key).filter(|_| first >= RESERVED_KEYS) else {
            return false;
        };
        let mut restored = false;
        self.host.locked(stripe, &mut || {
            let free = || self.places(stripe, key).find(|cell| cell.load(KEY_FIRST) == EMPTY);
            // What was in flight is not any more.
            let is_news =
                says_until(&words) > now_ns && window_end != IN_FLIGHT && self.find(key).is_none();
            let Some(cell) = is_news.then(free).flatten() else {
                return;
            };
            for (at, word) in words.iter().enumerate().skip(STATE).filter(|(at, _)| *at != FLOOR) {
                cell.store(at, *word);
            }
            cell.store(KEY_SECOND, second);
            cell.store(KEY_FIRST, first);
            restored = true;
        });
        restored
    }

    /// Brings a cell to what a journal says of it, where that is more: a budget counts up, a bucket's arrival moves on.
    /// One that is not there is put back.
    pub fn raise(&self, words: [u64; CELL_WORDS], now_ns: u64) {
        let [first, second, state, window_end, _, _, _, base] = words;
        if window_end == IN_FLIGHT || is_frozen(state) || first < RESERVED_KEYS {
            return;
        }
        match self.find(Key { first, second }) {
            Some(cell) => {
                let said =
                    if window_end == 0 { state } else { cell.state_of(state - base.min(state)) };
                cell.update(|known| known.max(said));
            }
            None => {
                self.restore(words, now_ns);
            }
        }
    }

    /// Whether a cell of a snapshot says nothing any more.
    pub fn is_over(words: [u64; CELL_WORDS], now_ns: u64) -> bool {
        let [_, _, _, window_end, ..] = words;
        window_end == IN_FLIGHT || says_until(&words) <= now_ns
    }

    /// How many cells hold a key. Walks the whole table: for status, never for a decision.
    pub fn occupied(&self) -> usize {
        let cells = self.words.chunks_exact(CELL_WORDS);
        cells
            .filter(|cell| cell.first().is_some_and(|w| w.load(Ordering::Relaxed) >= RESERVED_KEYS))
            .count()
    }
}

/// What a limit says about the cells it writes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parameters {
    /// Grows with each version of the limits.
    pub(crate) generation: u64,
    /// Time in which one unit comes back; a budget has none.
    pub(crate) interval_ns: u64,
    /// The most that is ever left: a bucket's burst, a budget's amount.
    pub(crate) most: u64,
}

impl Parameters {
    /// A theoretical arrival time under another interval: the same units are still used.
    fn rescale(&self, arrival: u64, old_interval: u64, now_ns: u64) -> u64 {
        let used = u128::from(arrival.saturating_sub(now_ns));
        let scaled = used * u128::from(self.interval_ns) / u128::from(old_interval);
        let most = u128::from(self.interval_ns) * u128::from(self.most);
        now_ns.saturating_add(u64::try_from(scaled.min(most)).unwrap_or(u64::MAX))
    }
}

/// Stands for a cell where there is none.
static NO_CELL: [AtomicU64; CELL_WORDS] = [const { AtomicU64::new(0) }; CELL_WORDS];

/// What a new cell begins with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fresh {
    pub(crate) parameters: Parameters,
    /// 0 for a bucket.
    pub(crate) window_end_ns: u64,
    pub(crate) now_ns: u64,
}

impl Fresh {
    /// The same in a stripe that has forgotten cells of windows that ended until `floor_ns`; `None` if this window is one
    /// of them.
    fn behind(self, floor_ns: u64) -> Option<Fresh> {
        match self.window_end_ns {
            0 => Some(Fresh { now_ns: self.now_ns.max(floor_ns), ..self }),
            end_ns => (end_ns > floor_ns).then_some(self),
        }
    }
}

impl Cell<'_> {
    /// Begins a life with nothing used: a bucket's arrival time is now, a budget's state where no earlier one's was.
    fn begin(&self, fresh: Fresh) {
        let Fresh { parameters, window_end_ns, now_ns } = fresh;
        let base = self.next_base();
        self.store(WINDOW_END, window_end_ns);
        self.store(WARNED, 0);
        let (fifth, seventh, state) = match window_end_ns {
            0 => (parameters.generation, parameters.interval_ns, now_ns.max(1)),
            _ => (base, base, base),
        };
        // GENERATION or HIGH, INTERVAL or BASE.
        self.store(GENERATION, fifth);
        self.store(INTERVAL, seventh);
        self.store(STATE, state);
    }
}
