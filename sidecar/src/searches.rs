//! What searches keep: the names of a few tenants, and the secret of this process that seals their pages.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tollgate_engine::TenantState;
use tollgate_engine::search::{Names, Sought};

/// Searches that run at once; one more is told to come again.
const SEARCHES_AT_ONCE_MAX: usize = 2;
/// Lists of names that are kept; the oldest goes first.
const NAMES_KEPT_MAX: usize = 16;

struct Kept {
    state: Weak<TenantState>,
    sought: Sought,
    names: Arc<Names>,
}

/// Names by the configuration that they were read from.
pub(crate) struct Searches {
    secret: [u8; 32],
    kept: Mutex<Vec<Kept>>,
    running: Arc<Semaphore>,
}

impl std::fmt::Debug for Searches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Searches").finish_non_exhaustive()
    }
}

impl Searches {
    pub(crate) fn new(secret: [u8; 32]) -> Searches {
        let running = Arc::new(Semaphore::new(SEARCHES_AT_ONCE_MAX));
        Searches { secret, kept: Mutex::default(), running }
    }

    /// The right to search; `None` while others have it.
    pub(crate) fn admit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.running).try_acquire_owned().ok()
    }

    pub(crate) fn secret(&self) -> &[u8; 32] {
        &self.secret
    }

    /// The names that a tenant's configuration knows. They are read outside the lock.
    pub(crate) fn names(&self, state: &Arc<TenantState>, sought: Sought) -> Arc<Names> {
        let same = |kept: &&Kept| {
            kept.sought == sought && std::ptr::eq(kept.state.as_ptr(), Arc::as_ptr(state))
        };
        let known = self.lock().iter().find(same).map(|kept| Arc::clone(&kept.names));
        if let Some(names) = known {
            return names;
        }
        let names = Arc::new(Names::of(state, sought));
        let mut kept = self.lock();
        kept.retain(|kept| kept.state.strong_count() > 0);
        if kept.len() >= NAMES_KEPT_MAX {
            kept.remove(0);
        }
        kept.push(Kept { state: Arc::downgrade(state), sought, names: Arc::clone(&names) });
        names
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
