//! The beginning of a log goes when its time is over (`audit.retention_days`): where the chain goes on from is written down
//! in the platform's database first, so that what is removed by anybody else shows as before.

use super::{Link, PLATFORM, all, head};
use crate::audit::{Event, Origin, append};
use crate::code::Refusal;
use crate::lease::Lease;
use crate::placement::KnownTenant;
use crate::pools::Conn;
use crate::service::Service;
use crate::settings;
use crate::sql::{self, bigint, bytes, int, text};
use std::sync::Arc;

/// Rows that are removed at once.
const BATCH: i64 = 1_000;

/// Goes through all logs once. The lease is the right to open tenants' databases; nobody else asks for one of this name.
pub(super) async fn sweep(service: Arc<Service>, name: String) {
    if let Err(refusal) = sweep_once(&service, &name).await {
        let cause = refusal.cause.unwrap_or(refusal.message);
        tracing::warn!(cause, "the beginnings of audit logs stay until the next look");
    }
}

async fn sweep_once(service: &Service, name: &str) -> Result<(), Refusal> {
    let platform = service.pools.platform().await?;
    let Some(lease) = Lease::take(&platform, name, name).await? else { return Ok(()) };
    for log in all(service).await? {
        if let Err(refusal) = visit(service, &platform, &lease, &log).await {
            let cause = refusal.cause.unwrap_or(refusal.message);
            tracing::warn!(log, cause, "the beginning of an audit log stays until the next look");
        }
    }
    Ok(lease.give_back(&platform).await?)
}

/// One log; one that is away is looked at with the next sweep.
async fn visit(
    service: &Service,
    platform: &Conn,
    lease: &Lease,
    log: &str,
) -> Result<(), Refusal> {
    let is_pruned = match log {
        PLATFORM => {
            let mut conn = service.pools.platform().await?;
            prune(platform, &mut conn, log).await?
        }
        tenant => {
            let known = KnownTenant::by_id(platform, tenant).await?;
            let Some(verified) = known.and_then(|known| known.for_job(lease)) else {
                return Ok(());
            };
            let Ok(mut conn) = service.pools.tenant(&verified).await else { return Ok(()) };
            prune(platform, &mut conn, log).await?
        }
    };
    if is_pruned {
        // It says so in the log itself.
        service.noted.note(Some(log));
    }
    Ok(())
}

/// Removes what is older than the log's setting says, if anything is; the last number always stays.
async fn prune(platform: &Conn, conn: &mut Conn, log: &str) -> Result<bool, Refusal> {
    let days = settings::retention_days(platform, conn).await?;
    let days = i32::try_from(days).unwrap_or(i32::MAX);
    let mut is_pruned = false;
    loop {
        let known = head(platform, log).await?;
        let last = last_old(conn, &known.pruned, known.seq, days).await?;
        let last = last.unwrap_or(known.pruned);
        let statement = "UPDATE audit_heads SET pruned_seq = $2, pruned_hash = $3 WHERE tenant_id = $1 AND pruned_seq < $2";
        let params = [text(&log), bigint(&last.seq), bytes(&last.hash)];
        sql::run(platform, statement, &params).await?;
        // Also what was written down and not removed yet.
        let first = "SELECT min(seq) FROM audit_events WHERE seq <= $1";
        let first = sql::first(conn, first, &[bigint(&last.seq)]).await?;
        let Some(first) = first.and_then(|row| row.get::<_, Option<i64>>(0)) else {
            return Ok(is_pruned);
        };
        if !remove(conn, log, first, last.seq).await? {
            return Ok(is_pruned);
        }
        is_pruned = true;
    }
}

/// Removes numbers, and says so in the log itself; false if the database keeps them.
async fn remove(conn: &mut Conn, log: &str, first: i64, last: i64) -> Result<bool, Refusal> {
    let tx = conn.begin().await?;
    let removed = sql::first(&tx, "SELECT prune_audit($1)", &[bigint(&last)]).await?;
    if removed.is_none_or(|row| row.get::<_, i64>(0) == 0) {
        tx.rollback().await?;
        return Ok(false);
    }
    let which = format!("{first}-{last}");
    let event = Event {
        action: "audit_log.pruned",
        tenant_id: (!log.is_empty()).then_some(log),
        resource: ("audit-log", &which),
        before: None,
        after: None,
    };
    append(&tx, &Origin::system("retention"), &event).await?;
    tx.commit().await?;
    Ok(true)
}

/// The last of the next rows that are all older than so many days.
async fn last_old(
    conn: &Conn,
    pruned: &Link,
    known_seq: i64,
    days: i32,
) -> Result<Option<Link>, Refusal> {
    let statement = "SELECT seq, hash FROM (SELECT seq, hash, bool_and(at < now() - make_interval(days => $3)) \
        OVER (ORDER BY seq) AS is_old FROM (SELECT seq, hash, at FROM audit_events WHERE seq > $1 AND seq < $2 \
        ORDER BY seq LIMIT $4) next) rows WHERE is_old ORDER BY seq DESC LIMIT 1";
    let params = [bigint(&pruned.seq), bigint(&known_seq), int(&days), bigint(&BATCH)];
    let row = sql::first(conn, statement, &params).await?;
    Ok(row.map(|row| Link { seq: row.get(0), hash: row.get(1) }))
}
