//! Ends connections whose time is up. One task looks at all of them every tick, so that a request
//! sets no timer of its own.

use super::stream::{Phase, Watch};
use crate::config::Config;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Time between two looks: a deadline is passed by less than two of them.
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// The connections that are open.
#[derive(Debug, Default)]
pub(crate) struct Reaper {
    pub(crate) ticks: Arc<AtomicU64>,
    watches: Mutex<HashMap<u64, Arc<Watch>>>,
}

/// A duration in ticks, at least one.
pub(crate) fn ticks_of(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis().div_ceil(TICK.as_millis())).unwrap_or(u64::MAX).max(1)
}

impl Reaper {
    fn watches(&self) -> MutexGuard<'_, HashMap<u64, Arc<Watch>>> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn open(&self) -> usize {
        self.watches().len()
    }

    pub(crate) fn enter(&self, id: u64) -> Arc<Watch> {
        let watch = Arc::new(Watch::new(Arc::clone(&self.ticks)));
        self.watches().insert(id, Arc::clone(&watch));
        watch
    }

    pub(crate) fn leave(&self, id: u64) {
        self.watches().remove(&id);
    }

    /// Looks until the door is gone.
    pub(crate) async fn run(&self, config: &Config) {
        let head = ticks_of(config.frame_timeout);
        let idle = ticks_of(config.idle_timeout);
        let mut interval = tokio::time::interval(TICK);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            self.ticks.fetch_add(1, Ordering::Relaxed);
            for watch in self.watches().values() {
                let limit = if watch.phase() == Phase::Head { head } else { idle };
                if watch.age() > limit {
                    watch.expired.notify_one();
                }
            }
        }
    }
}
