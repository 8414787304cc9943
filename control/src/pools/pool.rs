//! One database's connections, and what all databases' connections share.

use super::session::Session;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Connections to all tenants' databases together.
pub(super) struct Backends {
    /// One permit per open connection.
    pub(super) open: Arc<Semaphore>,
    /// So many wait for one: whoever is done closes its connection instead of keeping it.
    pub(super) waiting: AtomicUsize,
}

/// One who waits, as long as this lives.
pub(super) struct Waiting<'b>(&'b AtomicUsize);

impl<'b> Waiting<'b> {
    pub(super) fn begin(count: &'b AtomicUsize) -> Waiting<'b> {
        count.fetch_add(1, Ordering::AcqRel);
        Waiting(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Connections to one database.
pub(super) struct Pool {
    /// One permit per connection that is in use.
    pub(super) places: Arc<Semaphore>,
    pub(super) idle: Mutex<Vec<Idle>>,
    /// What it shares with the other tenants' pools.
    backends: Option<Arc<Backends>>,
}

pub(super) struct Idle {
    pub(super) session: Session,
    pub(super) since: Instant,
    pub(super) backend: Option<OwnedSemaphorePermit>,
}

impl Pool {
    pub(super) fn new(places: usize, backends: Option<Arc<Backends>>) -> Pool {
        Pool { places: Arc::new(Semaphore::new(places)), idle: Mutex::default(), backends }
    }

    /// Keeps a connection for the next who comes, unless another tenant waits for its place.
    pub(super) fn keep(&self, idle: Idle) {
        let mut kept = locked(&self.idle);
        let is_wanted = |backends: &Arc<Backends>| backends.waiting.load(Ordering::Acquire) > 0;
        if !self.backends.as_ref().is_some_and(is_wanted) {
            kept.push(idle);
        }
    }

    /// The connection that was used last.
    pub(super) fn take_idle(&self) -> Option<Idle> {
        let mut idle = locked(&self.idle);
        while let Some(found) = idle.pop() {
            if !found.session.client.is_closed() {
                return Some(found);
            }
        }
        None
    }

    pub(super) fn idle_since(&self) -> Option<Instant> {
        locked(&self.idle).first().map(|idle| idle.since)
    }
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
