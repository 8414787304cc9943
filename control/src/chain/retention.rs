//! The beginning of a log goes when its time is over (`audit.retention_days`): where the chain goes on from is written down
//! in the platform's database first, so that what is removed by anybody else shows as before.

use super::{Link, head};
use crate::audit::{Event, Origin, append};
use crate::code::Refusal;
use crate::pools::Conn;
use crate::settings;
use crate::sql::{self, bigint, bytes, int, text};

/// Rows that are removed at once.
const BATCH: i64 = 1_000;

/// Removes what is older than the log's setting says, if anything is; the last number always stays.
pub(super) async fn prune(platform: &Conn, conn: &mut Conn, log: &str) -> Result<bool, Refusal> {
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
