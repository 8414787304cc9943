//! Amounts that one counter has instead of its limit's, until a moment. They are kept in the database of counters, and
//! granted to the counter of each window, before it begins.

use crate::quotas::grant;
use crate::shared::Shared;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tollgate_engine::Now;
use tollgate_store::{State, StoreError};

/// A window's counter is granted its amount so many seconds before the window begins: no window is shorter than one.
const LEAD_S: u64 = 5;
const SECOND_NS: u64 = 1_000_000_000;

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Override {
    pub(crate) tenant: String,
    pub(crate) limit: String,
    /// The values of its dimensions.
    pub(crate) key: Vec<String>,
    pub(crate) amount: u64,
    pub(crate) until_ms: u64,
}

impl Override {
    fn is_of(&self, tenant: &str, limit: &str, key: &[String]) -> bool {
        (self.tenant.as_str(), self.limit.as_str(), self.key.as_slice()) == (tenant, limit, key)
    }

    fn name(&self) -> Vec<u8> {
        // Writing texts into memory cannot fail.
        serde_json::to_vec(&(&self.tenant, &self.limit, &self.key)).unwrap_or_default()
    }
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Overrides {
    all: Mutex<Vec<Override>>,
    state: Arc<State>,
}

impl Overrides {
    /// Those that were kept.
    pub(crate) fn load(state: Arc<State>) -> Result<Overrides, StoreError> {
        let mut all = Vec::new();
        let lost =
            state.overrides(&mut |bytes| all.extend(serde_json::from_slice::<Override>(bytes)))?;
        if lost > 0 {
            tracing::error!(lost, "overrides of limits were corrupt; set them again");
        }
        Ok(Overrides { all: Mutex::new(all), state })
    }

    fn all(&self) -> MutexGuard<'_, Vec<Override>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The one of a counter.
    pub(crate) fn of(&self, tenant: &str, limit: &str, key: &[String]) -> Option<Override> {
        self.all().iter().find(|known| known.is_of(tenant, limit, key)).cloned()
    }

    /// Keeps one, in the place of an earlier one of the same counter.
    pub(crate) fn set(&self, one: Override) -> Result<(), StoreError> {
        let bytes = serde_json::to_vec(&one).unwrap_or_default();
        self.state.put_override(&one.name(), Some(&bytes))?;
        let mut all = self.all();
        all.retain(|known| !known.is_of(&one.tenant, &one.limit, &one.key));
        all.push(one);
        Ok(())
    }

    /// Grants what they say to the counters of now and of the windows that begin soon, and ends those that are over.
    pub(crate) fn apply(&self, shared: &Shared) {
        let all = self.all().clone();
        for one in &all {
            let now = shared.clock.now();
            if one.until_ms <= now.0 / 1_000_000 {
                self.expire(shared, one);
                continue;
            }
            for at in lead(now).take_while(|at| at.0 / 1_000_000 < one.until_ms) {
                // A tenant or limit that is gone has no counter.
                let _ = grant(shared, one, Some(one.amount), at);
            }
        }
    }

    /// Forgets one; its counters have their limit's amount again.
    pub(crate) fn end(&self, shared: &Shared, one: &Override) -> Result<(), StoreError> {
        self.state.put_override(&one.name(), None)?;
        self.all().retain(|known| known != one);
        for at in lead(shared.clock.now()) {
            let _ = grant(shared, one, None, at);
        }
        Ok(())
    }

    fn expire(&self, shared: &Shared, one: &Override) {
        match self.end(shared, one) {
            Ok(()) => tracing::warn!(
                event = "quota-override-ended",
                tenant = one.tenant,
                limit = one.limit,
                key = one.key.join(",")
            ),
            // It is ended again a second later.
            Err(_) => shared.metrics.store_failures_state.increment(1),
        }
    }
}

/// Moments whose windows are granted amounts now.
fn lead(now: Now) -> impl Iterator<Item = Now> {
    (0..=LEAD_S).map(move |second| Now(now.0.saturating_add(second * SECOND_NS)))
}
