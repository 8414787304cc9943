//! A budget over one cell: so many units in a window, counted exactly.
//!
//! The state word is what was used. A window's start is part of its cell's key: two windows never share a cell, and
//! nothing rolls over.

use crate::atomic::{AtomicU64, Ordering, fence};
use crate::cell::{Cell, IN_FLIGHT, Parameters, Taken};
use crate::now::Now;
use crate::quota::bucket::Check;
use crate::quota::window::{Period, Window, Windows};

/// Nobody knows when what is in flight lands: when to come again is a guess.
const IN_FLIGHT_WAIT_NS: u64 = 1_000_000_000;

/// Whether `amount` fits what is left in the window; takes it if `take`. `None` for the cell is a cell without use.
pub(crate) fn check(
    cell: Option<Cell<'_>>,
    parameters: Parameters,
    amount: u64,
    (window, now_ns): (Window, u64),
    take: bool,
) -> Check {
    loop {
        let state = cell.map_or(0, |cell| cell.state());
        let used = cell.map_or(0, |cell| state.saturating_sub(cell.state_of(0)));
        let sum = used.saturating_add(amount);
        let most = most(cell, parameters);
        if sum > most {
            return match amount > most {
                // What was read may have been another's.
                _ if cell.is_some_and(|cell| !cell.is_own()) => Check::Gone,
                true => Check::Never,
                false if window.end_ns == IN_FLIGHT => Check::Later { wait_ns: IN_FLIGHT_WAIT_NS },
                false => Check::Later { wait_ns: window.end_ns.saturating_sub(now_ns) },
            };
        }
        match cell.filter(|_| take).map(|cell| cell.take(state, cell.state_of(sum))) {
            None | Some(Taken::Done) => return Check::Fits,
            Some(Taken::Gone) => return Check::Gone,
            Some(Taken::Changed) => {}
        }
    }
}

/// Gives back what a check took.
pub(crate) fn give_back(cell: Cell<'_>, amount: u64) {
    cell.change(|state| state.saturating_sub(amount).max(cell.state_of(0)));
}

/// The most that may be used in the window.
pub(crate) fn most(cell: Option<Cell<'_>>, parameters: Parameters) -> u64 {
    parameters.most.saturating_add_signed(cell.map_or(0, |cell| cell.granted()))
}

/// Units that could be taken now.
pub(crate) fn remaining(cell: Option<Cell<'_>>, parameters: Parameters) -> u64 {
    most(cell, parameters).saturating_sub(cell.map_or(0, |cell| cell.used()))
}

/// The window that is now, remembered: a calendar is asked once a window, not once a request.
///
/// A sequence lock: readers take no lock and never see half of a window; who finds it changing asks the calendar itself.
#[derive(Debug)]
pub(crate) struct CurrentWindow {
    windows: Windows,
    /// Odd while it is written.
    version: AtomicU64,
    start_ns: AtomicU64,
    end_ns: AtomicU64,
}

impl CurrentWindow {
    pub(crate) fn of(windows: &Windows) -> CurrentWindow {
        let (version, start_ns, end_ns) = Default::default();
        CurrentWindow { windows: windows.clone(), version, start_ns, end_ns }
    }

    /// Whether it has no end.
    pub(crate) fn is_open(&self) -> bool {
        self.windows.period() == Period::Open
    }

    /// The window that holds a moment; `None` where no calendar does.
    pub(crate) fn at(&self, now: Now) -> Option<Window> {
        let known = self.known();
        if let Some(window) = known.filter(|w| w.start_ns <= now.0 && now.0 < w.end_ns) {
            return Some(window);
        }
        let window = self.windows.at(now)?;
        self.remember(window);
        Some(window)
    }

    fn known(&self) -> Option<Window> {
        let before = self.version.load(Ordering::Acquire);
        let start_ns = self.start_ns.load(Ordering::Relaxed);
        let end_ns = self.end_ns.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        let is_whole = before.is_multiple_of(2) && self.version.load(Ordering::Relaxed) == before;
        is_whole.then_some(Window { start_ns, end_ns })
    }

    fn remember(&self, window: Window) {
        let version = self.version.load(Ordering::Relaxed);
        let writing = version.wrapping_add(1);
        if !version.is_multiple_of(2)
            || self
                .version
                .compare_exchange(version, writing, Ordering::AcqRel, Ordering::Relaxed)
                .is_err()
        {
            return;
        }
        fence(Ordering::Release);
        self.start_ns.store(window.start_ns, Ordering::Relaxed);
        self.end_ns.store(window.end_ns, Ordering::Relaxed);
        self.version.store(writing.wrapping_add(1), Ordering::Release);
    }
}
