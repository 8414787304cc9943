//! Time for decisions: the wall clock at start plus monotonic time since, so it never runs back.

use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tollgate_engine::Now;

/// Reads the time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    started: Instant,
    started_unix_ns: u64,
}

impl Clock {
    pub(crate) fn start() -> Clock {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let started_unix_ns = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
        Clock { started: Instant::now(), started_unix_ns }
    }

    pub(crate) fn now(&self) -> Now {
        let elapsed = u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Now(self.started_unix_ns.saturating_add(elapsed))
    }

    pub(crate) fn uptime_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.now().0 / 1_000_000
    }
}
