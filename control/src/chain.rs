//! The audit log as a chain: a sequencer numbers what was committed, and the platform's database knows each log's head,
//! so that what is removed, altered or cut off shows.
//!
//! Whoever writes an event notes whose log it stands in; a look each second visits those, one in ten minutes all. The
//! numbering itself is a function of the database (`sequence_audit`): no role that serves requests may change a row.

mod leaf;
mod retention;
pub mod verify;

use crate::code::Refusal;
use crate::lease::Lease;
use crate::placement::KnownTenant;
use crate::pools::Conn;
use crate::random::base32;
use crate::service::Service;
use crate::sql::{self, Queries, bigint, bytes, int, text};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_postgres::Row;

/// Written events have a number by then.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// Logs that nobody noted are looked at so often.
const SWEEP_INTERVAL: Duration = Duration::from_secs(600);
/// Rows that one transaction numbers.
const BATCH: i32 = 500;
const NAME_CHARS: usize = 16;
/// What `sequence_audit` raises behind a chain that is broken.
const BROKEN: &str = "TG003";
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

/// The head that the platform's database knows of a log.
pub(crate) async fn head(platform: &impl Queries, log: &str) -> Result<Head, Refusal> {
    let statement =
        "SELECT seq, hash, pruned_seq, pruned_hash FROM audit_heads WHERE tenant_id = $1";
    let row = sql::first(platform, statement, &[text(&log)]).await?;
    let link = |row: &Row, at: usize| Link { seq: row.get(at), hash: row.get(at + 1) };
    Ok(row.map_or_else(Head::default, |row| Head { link: link(&row, 0), pruned: link(&row, 2) }))
}

/// Numbers until the service ends.
pub async fn work(service: Arc<Service>) {
    let holder = base32(NAME_CHARS);
    let mut swept: Option<Instant> = None;
    loop {
        let is_sweep = swept.is_none_or(|at| at.elapsed() > SWEEP_INTERVAL)
            && note_all(&service).await.is_ok();
        if is_sweep {
            swept = Some(Instant::now());
        }
        let places = Arc::new(Semaphore::new(service.config.pools.chores_max.max(1)));
        let mut visits = JoinSet::new();
        for log in service.noted.take() {
            let (service, holder, places) =
                (Arc::clone(&service), holder.clone(), Arc::clone(&places));
            visits.spawn(async move {
                let _place = places.acquire_owned().await;
                if let Err(refusal) = visit(&service, &holder, &log, is_sweep).await {
                    let cause = refusal.cause.unwrap_or(refusal.message);
                    tracing::error!(log, cause, "events of an audit log wait for their numbers");
                    service.noted.lock().insert(log);
                }
            });
        }
        while visits.join_next().await.is_some() {}
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

async fn note_all(service: &Service) -> Result<(), Refusal> {
    let statement = "SELECT id FROM tenants WHERE state IN ('active', 'suspended', 'offboarding')";
    let rows = service.pools.platform().await?.rows(statement, &[]).await?;
    service.noted.note(None);
    rows.iter().for_each(|row| service.noted.note(Some(row.get(0))));
    Ok(())
}

/// Numbers what one log holds; on a sweep, removes what its time is over for.
async fn visit(service: &Service, holder: &str, log: &str, is_sweep: bool) -> Result<(), Refusal> {
    let platform = service.pools.platform().await?;
    let lease = Lease::take(&platform, &format!("sequence/{log}"), holder).await?;
    let Some(lease) = lease else {
        service.noted.lock().insert(log.to_owned());
        return Ok(());
    };
    let numbered = match log {
        PLATFORM => {
            let mut conn = service.pools.platform().await?;
            looked_at(service, &platform, &mut conn, (log, is_sweep)).await
        }
        tenant => {
            let known = KnownTenant::by_id(&platform, tenant).await?;
            match known.and_then(|known| known.for_job(&lease)) {
                Some(verified) => {
                    let mut conn = service.pools.tenant(&verified).await?;
                    looked_at(service, &platform, &mut conn, (log, is_sweep)).await
                }
                None => Ok(()),
            }
        }
    };
    lease.give_back(&platform).await?;
    numbered
}

async fn looked_at(
    service: &Service,
    platform: &Conn,
    conn: &mut Conn,
    (log, is_sweep): (&str, bool),
) -> Result<(), Refusal> {
    number(service, platform, conn, log).await?;
    if is_sweep && retention::prune(platform, conn, log).await? {
        // It says so in the log itself.
        service.noted.lock().insert(log.to_owned());
    }
    Ok(())
}

async fn number(
    service: &Service,
    platform: &impl Queries,
    client: &impl Queries,
    log: &str,
) -> Result<(), Refusal> {
    loop {
        let known = head(platform, log).await?;
        let statement = "SELECT head_seq, head_hash, waiting FROM sequence_audit($1, $2, $3)";
        let params = [bigint(&known.seq), bytes(&known.hash), int(&BATCH)];
        let row = match sql::first(client, statement, &params).await {
            Ok(Some(row)) => row,
            Ok(None) => return Ok(()),
            // It does not mend itself: said again with the next event or look at all, not twice a second.
            Err(error) if error.code().is_some_and(|code| code.code() == BROKEN) => {
                tracing::error!(
                    log,
                    cause = crate::said(&error),
                    "nothing is numbered in an audit log"
                );
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let (now, waiting) = (Link { seq: row.get(0), hash: row.get(1) }, row.get::<_, i64>(2));
        if now != known.link {
            let statement = "INSERT INTO audit_heads (tenant_id, seq, hash) VALUES ($1, $2, $3) \
                ON CONFLICT (tenant_id) DO UPDATE SET seq = $2, hash = $3, at = now() WHERE audit_heads.seq < $2";
            sql::run(platform, statement, &[text(&log), bigint(&now.seq), bytes(&now.hash)])
                .await?;
        }
        match waiting {
            0 => return Ok(()),
            // Of transactions that are open.
            _ if now.seq - known.seq < i64::from(BATCH) => {
                service.noted.lock().insert(log.to_owned());
                return Ok(());
            }
            _ => {}
        }
    }
}
