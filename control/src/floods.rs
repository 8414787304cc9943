//! Refused credentials, counted by address: who sends too many hears 429 until it is quiet.

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// All addresses.
#[derive(Debug)]
pub struct Floods {
    counts: DefaultKeyedRateLimiter<IpAddr>,
    /// When an address was over its rate last.
    over: Mutex<HashMap<IpAddr, Instant>>,
    /// So long it stays over: until one more is allowed.
    pause: Duration,
}

impl Floods {
    pub fn new(per_minute: u32) -> Floods {
        let quota = Quota::per_minute(NonZeroU32::new(per_minute).unwrap_or(NonZeroU32::MIN));
        let pause = quota.replenish_interval();
        Floods { counts: RateLimiter::keyed(quota), over: Mutex::default(), pause }
    }

    /// Counts a refused credential; whether they are too many.
    pub fn count(&self, address: IpAddr) -> bool {
        let is_over = self.counts.check_key(&address).is_err();
        if is_over {
            self.locked().insert(address, Instant::now());
        }
        is_over
    }

    /// Whether they were too many just now; counts nothing.
    pub fn is_over(&self, address: IpAddr) -> bool {
        self.locked().get(&address).is_some_and(|at| at.elapsed() < self.pause)
    }

    /// Forgets who is quiet.
    pub fn sweep(&self) {
        self.counts.retain_recent();
        self.locked().retain(|_, at| at.elapsed() < self.pause);
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<IpAddr, Instant>> {
        self.over.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
