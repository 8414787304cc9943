//! The audit log as a chain: a sequencer numbers what was committed, and the platform's database knows each log's head,
//! so that what is removed, altered or cut off shows.
//!
//! Whoever writes an event notes whose log it stands in; a look each second visits those, one in ten minutes all. The
//! numbering itself is a function of the database (`sequence_audit`): no role that serves requests may change a row.

mod leaf;
mod retention;
mod sequencer;
pub mod verify;

pub use sequencer::work;

use crate::code::Refusal;
use crate::sql::{self, Queries, text};
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use tokio_postgres::Row;

/// The platform's own log among the heads.
pub(crate) const PLATFORM: &str = "";

/// Logs with events that have no number yet.
#[derive(Debug, Default)]
pub struct Noted(Mutex<BTreeSet<String>>);

impl Noted {
    /// A log was written to: a tenant's, or the platform's.
    pub fn note(&self, tenant: Option<&str>) {
        self.lock().insert(tenant.unwrap_or(PLATFORM).to_owned());
    }

    fn take(&self) -> BTreeSet<String> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
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

/// The head that the platform's database knows of a log.
pub(crate) async fn head(platform: &impl Queries, log: &str) -> Result<Head, Refusal> {
    let statement =
        "SELECT seq, hash, pruned_seq, pruned_hash FROM audit_heads WHERE tenant_id = $1";
    let row = sql::first(platform, statement, &[text(&log)]).await?;
    Ok(row.as_ref().map_or_else(Head::default, Head::of))
}
