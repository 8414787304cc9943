//! Exports of an audit log: NDJSON, one numbered event a line with its hash in the chain.
//!
//! An operation waits until what was committed before it has its number, holds the log against its chain and says how many
//! lines there are and their digest. Nothing is stored: events never change, so that a download is the same bytes again,
//! from any replica.

use crate::audit::{COLUMNS, Event, shown};
use crate::audit_events::instant;
use crate::call::{Call, Reply};
use crate::chain::{self, verify::walk};
use crate::code::{Code, Refusal};
use crate::operations::store::{self, NewOperation};
use crate::operations::work::{Job, Step, refused, said};
use crate::placement::VerifiedTenant;
use crate::pools::Conn;
use crate::service::Service;
use crate::sql::{self, Queries, bigint, text};
use crate::write::{Stop, Write};
use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::StatusCode;
use http_body_util::channel::{Channel, Sender};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};
use std::io;
use std::sync::Arc;

/// Steps of `audit.export`.
pub(crate) const STEPS: [&str; 1] = ["collect"];
/// Lines that are read at once.
const BATCH: i64 = 1_000;
/// Batches that wait for whoever reads slowly.
const WAITING_MAX: usize = 2;
/// Until what is committed has its number.
const NUMBERED_SECONDS: f64 = 0.25;
pub(crate) const NDJSON: &str = "application/x-ndjson";

/// Which events: all that have a number up to `last_seq`, from a time, before a time.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Range {
    from: Option<String>,
    to: Option<String>,
}

/// What is written down of an export.
#[derive(Debug, Clone, Deserialize)]
struct Collected {
    from: Option<String>,
    to: Option<String>,
    first_seq: i64,
    last_seq: i64,
}

/// `POST …/audit-events/exports`: 202 with the operation that collects it.
pub async fn create(call: &Call) -> Result<Reply, Stop> {
    let mut range: Range = call.read()?;
    for (pointer, at) in [("/from", &mut range.from), ("/to", &mut range.to)] {
        *at = at.take().map(|text| instant(pointer, &text)).transpose()?;
    }
    let mut conn = call.platform().await?;
    let mut write = Write::begin(call, &mut conn).await?;
    let tenant_id = call.tenant.as_ref().map(|tenant| tenant.id.as_str());
    let result = Some(json!({"range": range}));
    let new = NewOperation { kind: "audit.export", tenant_id, steps: &STEPS, result };
    let id = store::insert(&write.tx, &new, &call.origin).await?;
    let made = store::by_id(&write.tx, &id).await?;
    let made = made.ok_or_else(|| Refusal::internal("an operation vanished"))?;
    let event = Event {
        action: "audit_export.created",
        tenant_id,
        resource: ("operation", &id),
        before: None,
        after: Some(&json!(range)),
    };
    write.audit(&event).await?;
    let mut reply = Reply::ok(made.json).status(StatusCode::ACCEPTED).etag(made.version);
    reply.location = Some(call.service.link(&format!("/v1/operations/{id}")));
    let reply = write.finish(reply).await?;
    call.service.wake.notify_one();
    Ok(reply)
}

/// Does the step of `audit.export`.
///
/// # Errors
/// A sentence.
pub(crate) async fn step(job: &Job<'_>, _collect: &str) -> Result<Step, String> {
    let range = job.operation.json["result"]["range"].clone();
    let range: Range = serde_json::from_value(range).map_err(|error| error.to_string())?;
    let collected = match job.operation.tenant_id {
        Some(_) => collect(job, &*job.open().await?, &range).await?,
        None => collect(job, job.platform, &range).await?,
    };
    let Some(collected) = collected else { return Ok(Step::Waits(NUMBERED_SECONDS)) };
    let members = json!({ "export": collected });
    store::add_result(job.platform, &job.operation.id, &members).await.map_err(said)?;
    // With its last step: nobody looks at it again.
    store::end_step(job.platform, &job.operation.id, 1, None).await.map_err(said)?;
    store::set_state(job.platform, &job.operation.id, "succeeded").await.map_err(said)?;
    Ok(Step::Done)
}

/// The whole log of the operation's tenant; `None` while something of it has no number yet.
///
/// # Errors
/// A sentence.
pub(crate) async fn collect_all(job: &Job<'_>) -> Result<Option<Json>, String> {
    let statement = "SELECT FROM audit_copies WHERE tenant_id = $1 LIMIT 1";
    let tenant = job.tenant_id();
    if sql::first(job.platform, statement, &[text(&tenant)]).await.map_err(said)?.is_some() {
        return Ok(None);
    }
    collect(job, &*job.open().await?, &Range::default()).await
}

/// Counts and digests the lines.
async fn collect(job: &Job<'_>, client: &Conn, range: &Range) -> Result<Option<Json>, String> {
    let tenant = job.operation.tenant_id.as_deref();
    let log = tenant.unwrap_or(chain::PLATFORM);
    let before = job.operation.json["created_at"].as_str();
    let waiting = "SELECT FROM audit_events WHERE seq IS NULL AND at <= $1::timestamptz LIMIT 1";
    if sql::first(client, waiting, &[text(&before)]).await.map_err(said)?.is_some() {
        job.service.noted.note(tenant);
        return Ok(None);
    }
    let known = chain::head(job.platform, log).await.map_err(refused)?;
    let last = "SELECT coalesce(max(seq), 0) FROM audit_events";
    let last = sql::first(client, last, &[]).await.map_err(said)?;
    // What was numbered just now, the platform knows in a moment.
    if last.is_some_and(|row| row.get::<_, i64>(0) > known.seq) {
        return Ok(None);
    }
    let walked = walk(client, &known).await.map_err(refused)?;
    let (mut digest, mut events, mut bytes, mut at) = (Sha256::new(), 0, 0, known.pruned.seq);
    let range = Collected {
        from: range.from.clone(),
        to: range.to.clone(),
        first_seq: at + 1,
        last_seq: known.seq,
    };
    while let Some((lines, last, count)) = lines(client, &range, at).await.map_err(refused)? {
        digest.update(&lines);
        (events, bytes, at) = (events + count, bytes + lines.len(), last);
    }
    let place = match tenant {
        Some(tenant) => format!("/v1/tenants/{tenant}/audit-events/exports/{}", job.operation.id),
        None => format!("/v1/audit-events/exports/{}", job.operation.id),
    };
    let digest: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Some(json!({
        "download": job.service.link(&place), "from": range.from, "to": range.to,
        "first_seq": range.first_seq, "last_seq": range.last_seq, "events": events, "bytes": bytes, "sha256": digest,
        "whole": walked["whole"], "head": walked["head"],
    })))
}

/// The next lines behind a number, the last number of them, and how many they are.
async fn lines(
    client: &Conn,
    range: &Collected,
    after: i64,
) -> Result<Option<(String, i64, i64)>, Refusal> {
    let statement = format!(
        "SELECT {COLUMNS}, hash FROM audit_events WHERE seq > $1 AND seq <= $2 \
         AND ($3::text IS NULL OR at >= $3::timestamptz) AND ($4::text IS NULL OR at < $4::timestamptz) ORDER BY seq LIMIT $5"
    );
    let params = [
        bigint(&after),
        bigint(&range.last_seq),
        text(&range.from),
        text(&range.to),
        bigint(&BATCH),
    ];
    let rows = client.rows(&statement, &params).await?;
    let Some(last) = rows.last().map(|row| row.get("seq")) else { return Ok(None) };
    let mut lines = String::new();
    for row in &rows {
        let mut event = shown(row);
        event["hash"] = json!(STANDARD.encode(row.get::<_, Vec<u8>>("hash")));
        lines.push_str(&event.to_string());
        lines.push('\n');
    }
    Ok(Some((lines, last, i64::try_from(rows.len()).unwrap_or(i64::MAX))))
}

/// `GET …/audit-events/exports/{id}`: the lines.
pub async fn download(call: &Call) -> Result<Reply, Stop> {
    let id = call.parameter(0);
    let platform = call.platform().await?;
    let tenant_id = call.tenant.as_ref().map(|tenant| tenant.id.clone());
    let found = store::by_id(&platform, id).await?.filter(|operation| {
        matches!(operation.kind.as_str(), "audit.export" | "tenant.offboard")
            && operation.tenant_id == tenant_id
    });
    let operation = found.ok_or_else(|| Refusal::not_found("export", id))?;
    let export = operation.json["result"]["export"].clone();
    if export.is_null() {
        let message = format!("the export is {}, expected succeeded", operation.state);
        let details = json!({"state": operation.state, "allowed": ["succeeded"]});
        return Err(Refusal::new(Code::InvalidState, message).with(details).into());
    }
    let range: Collected = serde_json::from_value(export).map_err(Refusal::internal)?;
    let log = tenant_id.as_deref().unwrap_or(chain::PLATFORM);
    // What its beginning was has been removed since.
    if chain::head(&platform, log).await?.pruned.seq >= range.first_seq {
        return Err(Refusal::not_found("export", id).into());
    }
    drop(platform);
    let verified =
        call.tenant.as_ref().map(|tenant| tenant.for_call(&call.permitted)).transpose()?;
    let (sender, body) = Channel::<Bytes, io::Error>::new(WAITING_MAX);
    tokio::spawn(send(Arc::clone(&call.service), verified, range, sender));
    Ok(Reply { raw: Some((NDJSON, Body::new(body))), body: None, ..Reply::ok(Json::Null) })
}

/// Sends the lines; a connection to the database is held for a batch alone, however slowly somebody reads.
async fn send(
    service: Arc<Service>,
    verified: Option<VerifiedTenant>,
    range: Collected,
    mut to: Sender<Bytes, io::Error>,
) {
    let mut at = range.first_seq - 1;
    loop {
        let batch = match &verified {
            Some(verified) => match service.pools.tenant(verified).await {
                Ok(conn) => lines(&conn, &range, at).await,
                Err(refusal) => Err(refusal),
            },
            None => match service.pools.platform().await {
                Ok(conn) => lines(&conn, &range, at).await,
                Err(refusal) => Err(refusal),
            },
        };
        match batch {
            Ok(Some((lines, last, _))) => {
                at = last;
                if to.send_data(Bytes::from(lines)).await.is_err() {
                    return;
                }
            }
            Ok(None) => return,
            // The connection ends before its last chunk: nobody takes half of it for the whole.
            Err(refusal) => return to.abort(io::Error::other(refused(refusal))),
        }
    }
}
