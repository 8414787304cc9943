//! A rate over one cell: `governor`'s GCRA with our store and our time.
//!
//! governor has no room for `now` as an argument, so a limiter is built on the stack for each check
//! with a clock of two readings: 0 for the limiter's start, then `now`. The stored arrival time is
//! therefore absolute (unix ns) and outlives the limiter.

use crate::cell::{Cell, Parameters, Taken, is_frozen};
use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{NotKeyed, StateStore};
use governor::{Quota, RateLimiter};
use std::cell::Cell as LocalCell;
use std::num::NonZeroU32;
use std::time::Duration;

/// What a check says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Check {
    Fits,
    /// Not before this much time has passed.
    Later {
        wait_ns: u64,
    },
    /// More than the burst, or than the budget.
    Never,
    /// The cell has become another key's: nothing was taken, and the key has no cell.
    Gone,
}

/// Whether `amount` fits now; takes it if `take`. `None` for the cell is a cell without use.
#[inline(always)]
pub(crate) fn check(
    cell: Option<Cell<'_>>,
    parameters: Parameters,
    amount: NonZeroU32,
    now_ns: u64,
    take: bool,
) -> Check {
    let checked = match (take, cell) {
        (true, Some(cell)) => self::take(cell, parameters, amount, now_ns),
        _ => look(cell, parameters, amount, now_ns),
    };
    match checked {
        Check::Fits => Check::Fits,
        // What was read may have been another's.
        _ if cell.is_some_and(|cell| !cell.is_own()) => Check::Gone,
        refused => refused,
    }
}

#[inline(never)]
fn look(cell: Option<Cell<'_>>, parameters: Parameters, amount: NonZeroU32, now_ns: u64) -> Check {
    ask(Looking { cell }, parameters, amount, now_ns)
}

#[inline(never)]
fn take(cell: Cell<'_>, parameters: Parameters, amount: NonZeroU32, now_ns: u64) -> Check {
    let gone = LocalCell::new(false);
    let checked = ask(Taking { cell, gone: &gone }, parameters, amount, now_ns);
    if gone.get() { Check::Gone } else { checked }
}

#[inline(always)]
fn ask<Store: StateStore<Key = NotKeyed>>(
    store: Store,
    parameters: Parameters,
    amount: NonZeroU32,
    now_ns: u64,
) -> Check {
    let burst = u32::try_from(parameters.most).ok().and_then(NonZeroU32::new);
    let quota = Quota::with_period(Duration::from_nanos(parameters.interval_ns));
    let (Some(quota), Some(burst)) = (quota, burst) else { return Check::Never };
    let clock = OneShot { now_ns, started: LocalCell::new(false) };
    let limiter: RateLimiter<NotKeyed, Store, OneShot, NoOpMiddleware<Nanos>> =
        RateLimiter::new(quota.allow_burst(burst), store, clock);
    match limiter.check_n(amount) {
        Ok(Ok(())) => Check::Fits,
        Ok(Err(not_until)) => {
            let wait = not_until.wait_time_from(Nanos::new(now_ns));
            Check::Later { wait_ns: u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX) }
        }
        Err(_) => Check::Never,
    }
}

/// Gives back what a check took: the arrival time moves back by as many intervals.
pub(crate) fn give_back(cell: Cell<'_>, parameters: Parameters, amount: u32) {
    let span = parameters.interval_ns.saturating_mul(u64::from(amount));
    cell.change(|arrival| arrival.saturating_sub(span).max(1));
}

/// Units that could be taken now.
#[inline(always)]
pub(crate) fn remaining(cell: Option<Cell<'_>>, parameters: Parameters, now_ns: u64) -> u64 {
    let arrival = cell.map_or(0, |cell| cell.state());
    let ahead = arrival.saturating_sub(now_ns);
    let whole = parameters.interval_ns.saturating_mul(parameters.most);
    whole.saturating_sub(ahead) / parameters.interval_ns.max(1)
}

/// Only looks.
struct Looking<'t> {
    cell: Option<Cell<'t>>,
}

impl StateStore for Looking<'_> {
    type Key = NotKeyed;

    #[inline(always)]
    fn measure_and_replace<T, F, E>(&self, _key: &NotKeyed, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let state = self.cell.map_or(0, |cell| cell.state());
        decide(arrival_of(state)).map(|(answer, _)| answer)
    }
}

/// A bucket that is full has none.
fn arrival_of(state: u64) -> Option<Nanos> {
    (state != 0 && !is_frozen(state)).then_some(Nanos::new(state))
}

/// Takes, and says whether the cell has become another's.
struct Taking<'t> {
    cell: Cell<'t>,
    gone: &'t LocalCell<bool>,
}

impl StateStore for Taking<'_> {
    type Key = NotKeyed;

    #[inline(always)]
    fn measure_and_replace<T, F, E>(&self, _key: &NotKeyed, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        loop {
            let old = self.cell.state();
            let (answer, new) = decide(arrival_of(old))?;
            match self.cell.take(old, new.as_u64()) {
                Taken::Done => return Ok(answer),
                Taken::Changed => {}
                Taken::Gone => {
                    self.gone.set(true);
                    return Ok(answer);
                }
            }
        }
    }
}

/// Reads 0, then `now`.
#[derive(Clone)]
struct OneShot {
    now_ns: u64,
    started: LocalCell<bool>,
}

impl Clock for OneShot {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        match self.started.replace(true) {
            false => Nanos::new(0),
            true => Nanos::new(self.now_ns),
        }
    }
}
