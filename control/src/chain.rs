//! The audit log as a chain: a sequencer numbers what was committed, and the platform's database knows each log's head,
//! so that what is removed, altered or cut off shows.
//!
//! Whoever writes an event notes whose log it stands in; it is visited within two seconds, and every log within ten minutes. The
//! numbering itself is a function of the database (`sequence_audit`): no role that serves requests may change a row.

mod leaf;
mod retention;
mod sequencer;
pub mod verify;

pub use sequencer::work;

use crate::code::Refusal;
use crate::service::Service;
use crate::sql::{self, Queries, text};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio_postgres::Row;

/// The platform's own log among the heads.
pub(crate) const PLATFORM: &str = "";

/// So many logs cost nobody anything, however often they are visited.
const FEW_LOGS: usize = 20;
/// How long a log of few waits for its visit.
const SHORT_WAIT: Duration = Duration::from_millis(300);
/// How long one of many waits: what is written meanwhile shares the visit.
const LONG_WAIT: Duration = Duration::from_millis(1_500);

/// Logs with events that have no number yet, and since when.
#[derive(Debug, Default)]
pub struct Noted(Mutex<HashMap<String, Instant>>);

impl Noted {
    /// A log was written to: a tenant's, or the platform's.
    pub fn note(&self, tenant: Option<&str>) {
        self.note_at(tenant.unwrap_or(PLATFORM), Instant::now());
    }

    fn note_at(&self, log: &str, now: Instant) {
        let mut noted = self.lock();
        // It waits already, as a rule.
        if !noted.contains_key(log) {
            noted.insert(log.to_owned(), now);
        }
    }

    /// Takes those that have waited long enough.
    fn due(&self, now: Instant) -> Vec<String> {
        let mut noted = self.lock();
        let wait = if noted.len() <= FEW_LOGS { SHORT_WAIT } else { LONG_WAIT };
        let is_due =
            |_: &String, since: &mut Instant| now.saturating_duration_since(*since) >= wait;
        noted.extract_if(is_due).map(|(log, _)| log).collect()
    }

    fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A number of a log and its hash.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) seq: i64,
    pub(crate) hash: Vec<u8>,
}

/// What the platform's database knows of a log: its last link, and the last of those that were removed when their time was
/// over.
#[derive(Debug, Clone, Default)]
pub(crate) struct Head {
    pub(crate) link: Link,
    pub(crate) pruned: Link,
}

impl std::ops::Deref for Head {
    type Target = Link;

    fn deref(&self) -> &Link {
        &self.link
    }
}

impl Head {
    /// The four columns of `audit_heads` that a row begins with.
    fn of(row: &Row) -> Head {
        let link = |at: usize| Link { seq: row.get(at), hash: row.get(at + 1) };
        Head { link: link(0), pruned: link(2) }
    }
}

/// Every log there is.
async fn all(service: &Service) -> Result<Vec<String>, Refusal> {
    let statement = "SELECT id FROM tenants WHERE state IN ('active', 'suspended', 'offboarding')";
    let rows = service.pools.platform().await?.rows(statement, &[]).await?;
    let tenants = rows.iter().map(|row| row.get(0));
    Ok(std::iter::once(PLATFORM.to_owned()).chain(tenants).collect())
}

/// The head that the platform's database knows of a log.
pub(crate) async fn head(platform: &impl Queries, log: &str) -> Result<Head, Refusal> {
    let statement =
        "SELECT seq, hash, pruned_seq, pruned_hash FROM audit_heads WHERE tenant_id = $1";
    let row = sql::first(platform, statement, &[text(&log)]).await?;
    Ok(row.as_ref().map_or_else(Head::default, Head::of))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_waits_since_it_was_noted_first_and_longer_among_many() {
        let (noted, began) = (Noted::default(), Instant::now());
        let due = |after: Duration| noted.due(began + after);
        noted.note_at("acme", began);
        noted.note_at("acme", began + SHORT_WAIT);
        assert!(due(SHORT_WAIT - Duration::from_millis(1)).is_empty());
        assert_eq!(due(SHORT_WAIT), ["acme"]);
        assert_eq!((due(LONG_WAIT).len(), noted.len()), (0, 0));
        for log in 0..=FEW_LOGS {
            noted.note_at(&format!("tenant-{log}"), began + Duration::from_millis(log as u64));
        }
        assert!(due(LONG_WAIT - Duration::from_millis(1)).is_empty());
        assert_eq!(due(LONG_WAIT), ["tenant-0"]);
        // Few are left: they wait no longer.
        assert_eq!((due(LONG_WAIT).len(), noted.len()), (FEW_LOGS, 0));
    }
}
