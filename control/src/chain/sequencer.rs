//! Numbers what was committed, in rounds: the heads of all logs that have waited long enough are read at once, each log is
//! visited, and the new heads are written at once.
//!
//! Several replicas may number one log: the function of its database takes them one by one, and a head only grows. So a
//! round costs a log one transaction, and the platform two statements, however many logs there are.

use super::{Head, Link, PLATFORM, all, retention};
use crate::code::Refusal;
use crate::lease::Lease;
use crate::ops::{AUDIT_ROUND_SECONDS, AUDIT_WAITING};
use crate::placement::KnownTenant;
use crate::pools::Conn;
use crate::random::base32;
use crate::service::Service;
use crate::sql::{self, Queries, bigint, bytes, int, texts};
use metrics::{gauge, histogram};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

/// Between two rounds.
const PAUSE: Duration = Duration::from_millis(100);
/// The right to open tenants' databases is kept so long before it is made longer.
const RENEW_INTERVAL: Duration = Duration::from_secs(3);
/// Logs that nobody noted are looked at so often, some with each round: those that were noted do not wait for all.
const SWEEP_INTERVAL: Duration = Duration::from_secs(600);
const SWEPT_A_ROUND: usize = 20;
/// So many are visited one after the other: as few at once as are done in time, for whoever writes meanwhile.
const LOGS_A_PLACE: usize = 50;
/// Rows that one transaction numbers.
const BATCH: i32 = 500;
const NAME_CHARS: usize = 16;
/// What `sequence_audit` raises behind a chain that is broken.
const BROKEN: &str = "TG003";

/// Numbers until the service ends.
pub async fn work(service: Arc<Service>) {
    let holder = base32(NAME_CHARS);
    let name = format!("sequence/{holder}");
    let (mut swept, mut held): (Option<Instant>, Held) = (None, None);
    let mut unseen: Vec<String> = Vec::new();
    loop {
        if swept.is_none_or(|at| at.elapsed() > SWEEP_INTERVAL)
            && let Ok(logs) = all(&service).await
        {
            unseen = logs;
            // Apart: what is new does not wait until what is old is gone.
            tokio::spawn(retention::sweep(Arc::clone(&service), format!("retention/{holder}")));
            swept = Some(Instant::now());
        }
        gauge!(AUDIT_WAITING).set(service.noted.len() as f64);
        let mut logs = service.noted.due(Instant::now());
        logs.extend(unseen.split_off(unseen.len().saturating_sub(SWEPT_A_ROUND)));
        if let Err(refusal) = round(&service, &name, &mut held, &logs).await {
            let cause = refusal.cause.unwrap_or(refusal.message);
            tracing::error!(cause, "events of audit logs wait for their numbers");
            note(&service, &logs);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn note(service: &Service, logs: &[String]) {
    logs.iter().for_each(|log| service.noted.note(Some(log)));
}

/// The right to open tenants' databases, and since when; nobody else asks for one of this name.
type Held = Option<(Arc<Lease>, Instant)>;

/// Visits some logs, at most `pools.chores_max` at once.
async fn round(
    service: &Arc<Service>,
    name: &str,
    held: &mut Held,
    logs: &[String],
) -> Result<(), Refusal> {
    if logs.is_empty() {
        return Ok(());
    }
    let began = Instant::now();
    let platform = service.pools.platform().await?;
    let Some(lease) = lease(&platform, name, held).await? else {
        note(service, logs);
        return Ok(());
    };
    let numbered = visits(service, &platform, &lease, logs).await;
    histogram!(AUDIT_ROUND_SECONDS).record(began.elapsed().as_secs_f64());
    numbered
}

/// The lease that is held, made longer when it is time, or a new one.
async fn lease(
    platform: &Conn,
    name: &str,
    held: &mut Held,
) -> Result<Option<Arc<Lease>>, Refusal> {
    let now = Instant::now();
    if let Some((lease, since)) = held.clone() {
        if since.elapsed() < RENEW_INTERVAL {
            return Ok(Some(lease));
        }
        if lease.renew(platform).await? {
            *held = Some((Arc::clone(&lease), now));
            return Ok(Some(lease));
        }
    }
    let taken = Lease::take(platform, name, name).await?.map(Arc::new);
    *held = taken.clone().map(|lease| (lease, now));
    Ok(taken)
}

async fn visits(
    service: &Arc<Service>,
    platform: &Conn,
    lease: &Arc<Lease>,
    logs: &[String],
) -> Result<(), Refusal> {
    let mut known = heads(platform, logs).await?;
    let mut head_of = |log: &str| known.remove(log).unwrap_or_default();
    let mut grown = Vec::new();
    if logs.iter().any(|log| log == PLATFORM) {
        let head = head_of(PLATFORM);
        grown.extend(
            numbered(
                service,
                PLATFORM,
                number(service, platform, PLATFORM, (head.link, SEQUENCE_SOON), None),
            )
            .await,
        );
    }
    let most = service.config.pools.chores_max.max(1);
    let places = Arc::new(Semaphore::new(logs.len().div_ceil(LOGS_A_PLACE).clamp(1, most)));
    let mut visits = JoinSet::new();
    for tenant in KnownTenant::by_ids(platform, logs).await? {
        let head = head_of(&tenant.id);
        let (service, lease, places) =
            (Arc::clone(service), Arc::clone(lease), Arc::clone(&places));
        visits.spawn(async move {
            let _place = places.acquire_owned().await;
            numbered(&service, &tenant.id, visit(&service, &lease, &tenant, head.link)).await
        });
    }
    while let Some(visited) = visits.join_next().await {
        grown.extend(visited.ok().flatten());
    }
    keep(platform, &grown).await
}

/// The new end of a log, if it has grown; one that could not be numbered is noted again.
async fn numbered(
    service: &Service,
    log: &str,
    numbering: impl Future<Output = Result<Option<Link>, Refusal>>,
) -> Option<(String, Link)> {
    match numbering.await {
        Ok(grown) => grown.map(|link| (log.to_owned(), link)),
        Err(refusal) => {
            let cause = refusal.cause.unwrap_or(refusal.message);
            tracing::error!(log, cause, "events of an audit log wait for their numbers");
            service.noted.note(Some(log));
            None
        }
    }
}

/// What the platform's database knows of these logs.
async fn heads(platform: &Conn, logs: &[String]) -> Result<HashMap<String, Head>, Refusal> {
    let statement = "SELECT seq, hash, pruned_seq, pruned_hash, tenant_id FROM audit_heads WHERE tenant_id = ANY ($1)";
    let logs = logs.to_vec();
    let rows = platform.rows(statement, &[texts(&logs)]).await?;
    Ok(rows.iter().map(|row| (row.get(4), Head::of(row))).collect())
}

/// Writes down how far logs have grown. A crash may forget it: the log itself says so, and a head is never too new.
async fn keep(platform: &Conn, grown: &[(String, Link)]) -> Result<(), Refusal> {
    if grown.is_empty() {
        return Ok(());
    }
    let logs: Vec<&str> = grown.iter().map(|(log, _)| log.as_str()).collect();
    let seqs: Vec<i64> = grown.iter().map(|(_, link)| link.seq).collect();
    let hashes: Vec<&[u8]> = grown.iter().map(|(_, link)| link.hash.as_slice()).collect();
    let statement = "INSERT INTO audit_heads (tenant_id, seq, hash) \
        SELECT log, seq, hash FROM unnest($1::text[], $2::int8[], $3::bytea[]) grown (log, seq, hash), \
            set_config('synchronous_commit', 'off', true) \
        ON CONFLICT (tenant_id) DO UPDATE SET seq = excluded.seq, hash = excluded.hash, at = now() \
        WHERE audit_heads.seq < excluded.seq";
    let params: [sql::Param<'_>; 3] =
        [texts(&logs), (&seqs, Type::INT8_ARRAY), (&hashes, Type::BYTEA_ARRAY)];
    sql::run(platform, statement, &params).await?;
    Ok(())
}

/// What a log is asked, with the head that is known.
const SEQUENCE: &str = "SELECT head_seq, head_hash, waiting FROM sequence_audit($1, $2, $3)";
/// The same without waiting for the disk: in the platform's own cluster the write-ahead log is one, so numbers are on the disk
/// before the head that tells of them is; and what a crash takes is numbered again alike.
const SEQUENCE_SOON: &str = "SELECT head_seq, head_hash, waiting \
    FROM sequence_audit($1, $2, $3), set_config('synchronous_commit', 'off', true)";

/// Numbers what a tenant's log holds.
async fn visit(
    service: &Service,
    lease: &Lease,
    tenant: &KnownTenant,
    known: Link,
) -> Result<Option<Link>, Refusal> {
    let Some(verified) = tenant.for_job(lease) else { return Ok(None) };
    let statement = match verified.placement().cluster.address {
        None => SEQUENCE_SOON,
        Some(_) => SEQUENCE,
    };
    let params = [bigint(&known.seq), bytes(&known.hash), int(&BATCH)];
    // Asked in the round trip that proves whose the connection is: in no database it does more than number what is there.
    let (conn, answered) = service.pools.tenant_and(&verified, statement, &params).await?;
    number(service, &*conn, &tenant.id, (known, statement), Some(answered)).await
}

type Answered = Result<Option<Row>, tokio_postgres::Error>;

/// Numbers until nothing is left; `answered` is what the first batch came to.
async fn number(
    service: &Service,
    client: &impl Queries,
    log: &str,
    (known, statement): (Link, &str),
    mut answered: Option<Answered>,
) -> Result<Option<Link>, Refusal> {
    let mut last = known.clone();
    loop {
        let row = match answered.take() {
            Some(answered) => answered,
            None => {
                let params = [bigint(&last.seq), bytes(&last.hash), int(&BATCH)];
                sql::first(client, statement, &params).await
            }
        };
        let row = match row {
            Ok(Some(row)) => row,
            Ok(None) => break,
            // It does not mend itself: said again with the next event or look at all, not twice a second.
            Err(error) if error.code().is_some_and(|code| code.code() == BROKEN) => {
                let cause = crate::said(&error);
                tracing::error!(log, cause, "nothing is numbered in an audit log");
                break;
            }
            Err(error) => return Err(error.into()),
        };
        let (now, waiting) = (Link { seq: row.get(0), hash: row.get(1) }, row.get::<_, i64>(2));
        let numbered = now.seq - last.seq;
        last = now;
        match waiting {
            0 => break,
            // Of transactions that are open.
            _ if numbered < i64::from(BATCH) => {
                service.noted.note(Some(log));
                break;
            }
            _ => {}
        }
    }
    Ok((last != known).then_some(last))
}
