//! A rate over one cell: `governor`'s GCRA with our store and our time.
//!
//! governor has no room for `now` as an argument, so a limiter is built on the stack for each check
//! with a clock of two readings: 0 for the limiter's start, then `now`. The stored arrival time is
//! therefore absolute (unix ns) and outlives the limiter.

use crate::cell::{Cell, Parameters};
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
    /// More than the burst.
    Never,
}

/// Whether `amount` fits now; takes it if `take`. `None` for the cell is a cell without use.
pub(crate) fn check(
    cell: Option<Cell<'_>>,
    parameters: Parameters,
    amount: NonZeroU32,
    now_ns: u64,
    take: bool,
) -> Check {
    let burst = u32::try_from(parameters.burst).ok().and_then(NonZeroU32::new);
    let quota = Quota::with_period(Duration::from_nanos(parameters.interval_ns));
    let (Some(quota), Some(burst)) = (quota, burst) else { return Check::Never };
    let clock = OneShot { now_ns, started: LocalCell::new(false) };
    let store = Store { cell, take };
    let limiter: RateLimiter<NotKeyed, Store<'_>, OneShot, NoOpMiddleware<Nanos>> =
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
    cell.update(|arrival| arrival.saturating_sub(span).max(1));
}

/// Units that could be taken now.
pub(crate) fn remaining(cell: Option<Cell<'_>>, parameters: Parameters, now_ns: u64) -> u64 {
    let arrival = cell.map_or(0, |cell| cell.state());
    let ahead = arrival.saturating_sub(now_ns);
    let whole = parameters.interval_ns.saturating_mul(parameters.burst);
    whole.saturating_sub(ahead) / parameters.interval_ns.max(1)
}

struct Store<'t> {
    cell: Option<Cell<'t>>,
    take: bool,
}

impl StateStore for Store<'_> {
    type Key = NotKeyed;

    fn measure_and_replace<T, F, E>(&self, _key: &NotKeyed, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        loop {
            let old = self.cell.map_or(0, |cell| cell.state());
            let (answer, new) = decide((old != 0).then_some(Nanos::new(old)))?;
            let kept = match self.cell {
                Some(cell) if self.take => cell.replace(old, new.as_u64()),
                _ => true,
            };
            if kept {
                return Ok(answer);
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
