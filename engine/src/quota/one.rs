//! One limit over one cell, of whichever kind it is.
//!
//! Buckets are what most requests meet: what is about budgets stays out of their way.

use crate::cell::{Cell, Cells, Fresh, Key, ValuesHash};
use crate::now::Now;
use crate::quota::bucket::{self, Check};
use crate::quota::budget::{self, CurrentWindow};
use crate::quota::limit::Compiled;
use crate::quota::reservation::Kind;
use std::num::NonZeroU32;

impl Compiled {
    /// The most that is ever left of a counter: what was granted to it in its window beyond its limit is counted.
    #[inline(always)]
    pub(crate) fn most(&self, cell: Option<Cell<'_>>) -> u64 {
        match &self.window {
            None => self.parameters.most,
            Some(_) => budget::most(cell, self.parameters),
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        match &self.window {
            None => Kind::Bucket { interval_ns: self.parameters.interval_ns },
            Some(window) if window.is_open() => Kind::InFlight,
            Some(_) => Kind::Budget,
        }
    }

    /// The key of its cell for these values; `None` where no calendar knows the moment.
    #[inline(always)]
    pub(crate) fn key(&self, values: ValuesHash, now_ns: u64) -> Option<Key> {
        match &self.window {
            None => Some(Key::new(self.hash, values)),
            Some(window) => self.key_in_window(window, values, now_ns),
        }
    }

    #[inline(never)]
    fn key_in_window(
        &self,
        window: &CurrentWindow,
        values: ValuesHash,
        now_ns: u64,
    ) -> Option<Key> {
        let start_ns = window.at(Now(now_ns))?.start_ns;
        Some(Key::new(self.hash.in_window(start_ns), values))
    }

    /// Its cell, made if there is none; `None` if the table is full.
    pub(crate) fn insert<'t>(&self, cells: &Cells<'t>, key: Key, now_ns: u64) -> Option<Cell<'t>> {
        let window = self.window.as_ref().and_then(|window| window.at(Now(now_ns)));
        let window_end_ns = window.map_or(0, |window| window.end_ns);
        cells.find_or_insert(key, Fresh { parameters: self.parameters, window_end_ns, now_ns })
    }

    /// Brings a cell that older parameters wrote to these. What a budget used is the same whatever its amount.
    #[inline(always)]
    pub(crate) fn adopt<'t>(&self, cells: &Cells<'t>, cell: Cell<'t>, now_ns: u64) {
        if cell.is_older_than(self.parameters) && self.window.is_none() {
            cells.adopt(cell, self.parameters, now_ns);
        }
    }

    /// Whether an amount fits now; takes it if `take`.
    #[inline(always)]
    pub(crate) fn check(
        &self,
        cell: Option<Cell<'_>>,
        amount: u64,
        now_ns: u64,
        take: bool,
    ) -> Check {
        if let Some(window) = &self.window {
            return self.check_budget(window, cell, amount, now_ns, take);
        }
        match u32::try_from(amount).map(NonZeroU32::new) {
            Ok(Some(amount)) => bucket::check(cell, self.parameters, amount, now_ns, take),
            Ok(None) => Check::Fits,
            Err(_) => Check::Never,
        }
    }

    #[inline(never)]
    fn check_budget(
        &self,
        window: &CurrentWindow,
        cell: Option<Cell<'_>>,
        amount: u64,
        now_ns: u64,
        take: bool,
    ) -> Check {
        match window.at(Now(now_ns)) {
            _ if amount == 0 => Check::Fits,
            Some(window) => budget::check(cell, self.parameters, amount, (window, now_ns), take),
            None => Check::Never,
        }
    }

    /// The same where the cell that was found has become another's: the key has none.
    #[cold]
    #[inline(never)]
    pub(crate) fn check_without_cell(&self, amount: u64, now_ns: u64) -> Check {
        self.check(None, amount, now_ns, false)
    }

    /// Gives back what a check took.
    #[cold]
    pub(crate) fn give_back(&self, cell: Cell<'_>, amount: u64) {
        match (&self.window, u32::try_from(amount)) {
            (Some(_), _) => budget::give_back(cell, amount),
            (None, Ok(amount)) => bucket::give_back(cell, self.parameters, amount),
            // More than any bucket lets take.
            (None, Err(_)) => {}
        }
    }

    /// Units that could be taken now. A cell that was only looked at may have become another's, and then says nothing
    /// of this key.
    #[inline(always)]
    pub(crate) fn remaining(&self, cell: Option<Cell<'_>>, was_taken: bool, now_ns: u64) -> u64 {
        let cell = cell.filter(|cell| was_taken || cell.is_own());
        match &self.window {
            None => bucket::remaining(cell, self.parameters, now_ns),
            Some(_) => budget::remaining(cell, self.parameters),
        }
    }
}
