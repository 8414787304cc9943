//! The kill switch: while one is on, every sidecar refuses everything of every tenant as `killed`. One administrator asks,
//! another confirms within some minutes; either ends it.

use crate::call::{Call, Reply};
use crate::code::{Code, Refusal};
use crate::listing::{Key, Order};
use crate::noun::Noun;
use crate::random::{id, now_ms};
use crate::sql::{self, Queries, int, text};
use crate::tenants::api::{Reason, reason};
use crate::write::{Stop, Write};
use serde_json::json;

const KILL_SWITCH: Noun = Noun {
    name: "kill-switch",
    columns: "id, version, jsonb_build_object('id', id, 'reason', reason, 'asked_by', asked_by, \
        'confirmed_by', confirmed_by, 'expires_at', rfc3339(expires_at), 'ended_at', rfc3339(ended_at), \
        'version', version, 'created_at', rfc3339(created_at), \
        'state', CASE WHEN ended_at IS NOT NULL THEN 'ended' WHEN confirmed_by IS NOT NULL THEN 'on' \
            WHEN expires_at <= now() THEN 'expired' ELSE 'pending' END) AS object",
    from: "FROM kill_switches",
    id: "id",
    orders: &[Order { name: "created_at", key: Key::Unique("id") }],
    searched: &["id COLLATE \"C\""],
};

/// So long another may confirm.
const CONFIRMED_WITHIN_MINUTES: i32 = 15;

/// Whether everything must stop.
///
/// # Errors
/// Those of the database.
pub(crate) async fn is_on(platform: &impl Queries) -> Result<bool, tokio_postgres::Error> {
    let statement =
        "SELECT FROM kill_switches WHERE confirmed_by IS NOT NULL AND ended_at IS NULL LIMIT 1";
    Ok(sql::first(platform, statement, &[]).await?.is_some())
}

/// `GET /v1/kill-switches`.
pub async fn list(call: &Call) -> Result<Reply, Stop> {
    KILL_SWITCH.list(call, &call.platform().await?, Vec::new()).await
}

/// `GET /v1/kill-switches/{id}`.
pub async fn show(call: &Call) -> Result<Reply, Stop> {
    KILL_SWITCH.show(call, &call.platform().await?).await
}

/// `POST /v1/kill-switches`: nothing stops yet.
pub async fn create(call: &Call) -> Result<Reply, Stop> {
    let Reason { reason: why } = call.read()?;
    reason(&why)?;
    let mut conn = call.platform().await?;
    let write = Write::begin(call, &mut conn).await?;
    let asked = id("kil", now_ms());
    let statement = "INSERT INTO kill_switches (id, reason, asked_by, expires_at) \
        VALUES ($1, $2, $3, now() + make_interval(mins => $4))";
    let params = [text(&asked), text(&why), text(&call.caller.id), int(&CONFIRMED_WITHIN_MINUTES)];
    sql::run(&write.tx, statement, &params).await?;
    KILL_SWITCH.made(write, &asked, "kill_switch.created").await
}

/// `POST /v1/kill-switches/{id}/confirm`: everything stops.
pub async fn confirm(call: &Call) -> Result<Reply, Stop> {
    let mut conn = call.platform().await?;
    let write = Write::begin(call, &mut conn).await?;
    let before = KILL_SWITCH.find(&write.tx, call.parameter(0), true).await?;
    if before.json["state"] != "pending" {
        let message = "only what is pending can be confirmed";
        let details = json!({"state": before.json["state"], "allowed": ["pending"]});
        return Err(write.refuse(Refusal::new(Code::InvalidState, message).with(details)).await);
    }
    // Two persons: not whoever asks, and no key or user that was made for this.
    let statement = "UPDATE kill_switches k SET confirmed_by = $2, version = version + 1 WHERE k.id = $1 \
        AND k.asked_by <> $2 AND NOT EXISTS \
            (SELECT FROM (SELECT id, created_at FROM platform_api_keys UNION ALL SELECT id, created_at FROM platform_users) a \
            WHERE a.id = $2 AND a.created_at >= k.created_at)";
    if sql::run(&write.tx, statement, &[text(&before.id), text(&call.caller.id)]).await? == 0 {
        let message =
            "a kill switch is confirmed by somebody else, who was known before the question";
        let details = json!({"permission": "break-glass:update"});
        return Err(write.refuse(Refusal::new(Code::Forbidden, message).with(details)).await);
    }
    let reply = KILL_SWITCH.changed(write, &before, "kill_switch.confirmed").await?;
    if !call.is_dry_run {
        tracing::error!(kill_switch = before.id, by = call.caller.id, "everything stops");
    }
    call.service.to_publish.notify_one();
    Ok(reply)
}

/// `DELETE /v1/kill-switches/{id}`: decisions go on, unless another is on; it stays to be seen.
pub async fn end(call: &Call) -> Result<Reply, Stop> {
    let mut conn = call.platform().await?;
    let (mut write, before) = KILL_SWITCH.begin(call, &mut conn).await?;
    let statement = "UPDATE kill_switches SET ended_at = coalesce(ended_at, now()), version = version + 1 \
        WHERE id = $1";
    sql::run(&write.tx, statement, &[text(&before.id)]).await?;
    let after = KILL_SWITCH.find(&write.tx, &before.id, false).await?;
    KILL_SWITCH.record(&mut write, "kill_switch.ended", Some(&before), Some(&after)).await?;
    let reply = write.finish(Reply::empty()).await?;
    call.service.to_publish.notify_one();
    Ok(reply)
}
