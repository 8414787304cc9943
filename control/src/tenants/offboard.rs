//! Offboarding: the tenant is silent at once, its audit log can be downloaded and it can come back for a time of grace;
//! then its database, role and everything that says anything of it are erased, and a signed certificate says so.

use super::api::{changed, reason, shown};
use super::{erase, janitor, store as tenants};
use crate::audit::{Event, Origin, append};
use crate::audit_exports;
use crate::call::{Call, Reply};
use crate::code::{Code, Refusal};
use crate::operations::store::{self, NewOperation, Operation};
use crate::operations::work::{Job, Step, refused, said};
use crate::pools::Tx;
use crate::settings;
use crate::signing;
use crate::sql::{self, jsonb, text};
use crate::write::{Stop, Write};
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::json;

/// Steps of `tenant.offboard`, in order; behind `grace` there is no way back.
pub(crate) const STEPS: [&str; 6] = ["export", "grace", "quiesce", "drop", "forget", "certify"];
const GRACE: i32 = 2;
const GRACE_DAYS_MAX: i64 = 365;
/// Until the log is whole.
const EXPORT_SECONDS: f64 = 0.5;
const SECONDS_A_DAY: i64 = 86_400;
/// What its JWS says that it is.
const CERTIFICATE: &str = "tollgate-erasure+jwt";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct New {
    reason: String,
    grace_days: Option<i64>,
}

/// `POST T/offboard`: 202 with the tenant and the operation.
pub async fn offboard(call: &Call) -> Result<Reply, Stop> {
    let new: New = call.read()?;
    reason(&new.reason)?;
    if let Some(days) = new.grace_days.filter(|days| !(0..=GRACE_DAYS_MAX).contains(days)) {
        let expected = format!("whole days from 0 to {GRACE_DAYS_MAX}");
        return Err(Refusal::invalid("/grace_days", &expected, days.to_string()).into());
    }
    let id = &call.tenant()?.id;
    let mut conn = call.platform().await?;
    let days = match new.grace_days {
        Some(days) => days,
        None => settings::grace_days(&conn).await?,
    };
    let write = Write::begin(call, &mut conn).await?;
    let before = shown(&write, id, true).await?;
    if !matches!(before.state.as_str(), "active" | "suspended") {
        return Err(wrong(write, &before.state, &["active", "suspended"]).await);
    }
    tenants::set_state(&write.tx, id, "offboarding").await?;
    let ends = Timestamp::now() + SignedDuration::from_secs(days * SECONDS_A_DAY);
    let result = Some(json!({
        "reason": new.reason, "grace_ends_at": format!("{ends:.3}"), "state_before": before.state,
    }));
    let operation =
        NewOperation { kind: "tenant.offboard", tenant_id: Some(id), steps: &STEPS, result };
    let operation = store::insert(&write.tx, &operation, &call.origin).await?;
    let operation = store::by_id(&write.tx, &operation).await?;
    let operation = operation.ok_or_else(|| Refusal::internal("an operation vanished"))?;
    let location = format!("/v1/operations/{}", operation.id);
    let reply = changed(write, "tenant.offboarded", &before, |tenant, version| {
        let body = json!({"tenant": tenant, "operation": operation.json});
        let mut reply = Reply::ok(body).status(StatusCode::ACCEPTED).etag(version);
        reply.location = Some(call.service.link(&location));
        reply
    });
    let reply = reply.await?;
    call.service.to_publish.notify_one();
    call.service.wake.notify_one();
    Ok(reply)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Back {
    reason: String,
}

/// `POST T/reinstate`: what it was before, until its grace is over.
pub async fn reinstate(call: &Call) -> Result<Reply, Stop> {
    let Back { reason: why } = call.read()?;
    reason(&why)?;
    let id = &call.tenant()?.id;
    let mut conn = call.platform().await?;
    let write = Write::begin(call, &mut conn).await?;
    let before = shown(&write, id, true).await?;
    if before.state != "offboarding" {
        return Err(wrong(write, &before.state, &["offboarding"]).await);
    }
    let Some(operation) = under_way(&write.tx, id).await? else {
        let message =
            "the grace of this offboarding is over; nothing of the tenant is left to bring back";
        let details = json!({"state": before.state, "allowed": []});
        return Err(write.refuse(Refusal::new(Code::InvalidState, message).with(details)).await);
    };
    store::set_state(&write.tx, &operation.id, "cancelled").await?;
    let state = operation.json["result"]["state_before"].as_str().unwrap_or("suspended");
    tenants::set_state(&write.tx, id, state).await?;
    let reply = changed(write, "tenant.reinstated", &before, |tenant, version| {
        Reply::ok(tenant).etag(version)
    });
    let reply = reply.await?;
    call.service.to_publish.notify_one();
    Ok(reply)
}

/// The offboarding that a tenant can come back from; whoever asks holds the tenant's row.
async fn under_way(tx: &Tx<'_>, tenant: &str) -> Result<Option<Operation>, Refusal> {
    let statement = "SELECT o.id FROM operations o JOIN operation_steps s ON s.operation_id = o.id \
        WHERE o.tenant_id = $1 AND o.kind = 'tenant.offboard' AND o.state IN ('pending', 'running', 'failed') \
        AND s.position = $2 AND s.state <> 'succeeded'";
    let Some(row) = sql::first(tx, statement, &[text(&tenant), sql::int(&GRACE)]).await? else {
        return Ok(None);
    };
    Ok(store::by_id(tx, row.get(0)).await?)
}

async fn wrong(write: Write<'_>, state: &str, allowed: &[&str]) -> Stop {
    let message = format!("the tenant is {state}, expected {}", allowed.join(" or "));
    let details = json!({"state": state, "allowed": allowed});
    write.refuse(Refusal::new(Code::InvalidState, message).with(details)).await
}

/// Does one step of `tenant.offboard`.
///
/// # Errors
/// A sentence.
pub(crate) async fn step(job: &Job<'_>, name: &str) -> Result<Step, String> {
    match name {
        "export" => export(job).await,
        "grace" => grace(job).await,
        "quiesce" => erase::quiesce(job).await.map(|()| Step::Done),
        "drop" => janitor::drop_all(job).await,
        "forget" => erase::forget(job).await.map(|()| Step::Done),
        "certify" => certify(job).await.map(|()| Step::Done),
        other => Err(format!("unknown step `{other}`")),
    }
}

/// What can be downloaded until the end.
async fn export(job: &Job<'_>) -> Result<Step, String> {
    let Some(export) = audit_exports::collect_all(job).await? else {
        return Ok(Step::Waits(EXPORT_SECONDS));
    };
    let members = json!({ "export": export });
    store::add_result(job.platform, &job.operation.id, &members).await.map_err(said)?;
    Ok(Step::Done)
}

/// Its end is written down under the tenant's lock: whoever brings it back comes before it or too late.
async fn grace(job: &Job<'_>) -> Result<Step, String> {
    let ends = job.operation.json["result"]["grace_ends_at"].as_str().unwrap_or_default();
    let ends: Timestamp = ends.parse().map_err(|_| "the operation has no `grace_ends_at`")?;
    let left = ends.duration_since(Timestamp::now()).as_secs_f64();
    if left > 0.0 {
        return Ok(Step::Waits(left));
    }
    let mut conn = job.conn().await?;
    let tx = conn.begin().await.map_err(said)?;
    let tenant = tenants::by_id(&tx, job.tenant_id(), true).await.map_err(said)?;
    // Whatever became of the operation: nothing is erased of a tenant that is not leaving.
    if tenant.is_none_or(|tenant| tenant.state != "offboarding") {
        return Err("the tenant is not being offboarded any more".to_owned());
    }
    let now = store::by_id(&tx, &job.operation.id).await.map_err(said)?;
    if now.is_none_or(|now| now.state != "running") {
        tx.rollback().await.map_err(said)?;
        return Ok(Step::Waits(0.0));
    }
    store::end_step(&tx, &job.operation.id, GRACE, None).await.map_err(said)?;
    tx.commit().await.map_err(said)?;
    Ok(Step::Done)
}

/// What was erased, signed; from then on nothing else is left.
async fn certify(job: &Job<'_>) -> Result<(), String> {
    let mut conn = job.conn().await?;
    let secret = signing::current(&job.service.pools, &mut conn).await.map_err(refused)?;
    let tx = conn.begin().await.map_err(said)?;
    let id = job.tenant_id();
    let operation = store::by_id(&tx, &job.operation.id).await.map_err(said)?;
    let operation = operation.ok_or("the operation is gone")?.json;
    let result = &operation["result"];
    let document = json!({
        "format": 1, "platform": job.service.config.platform.id, "tenant_id": id, "reason": result["reason"],
        "requested_by": operation["actor"], "requested_at": operation["created_at"],
        "grace_ended_at": result["grace_ends_at"], "destroyed_at": format!("{:.3}", Timestamp::now()),
        "operation_id": job.operation.id, "erased": result["erased"], "export": result["export"],
    });
    let (jws, jwk) = signing::jws(&secret, CERTIFICATE, &document);
    let certificate = json!({"document": document, "jws": jws, "jwk": jwk});
    let statement = "UPDATE tenants SET state = 'destroyed', certificate = $2, version = version + 1, updated_at = now() \
        WHERE id = $1";
    sql::run(&tx, statement, &[text(&id), jsonb(&certificate)]).await.map_err(said)?;
    let event = Event {
        action: "tenant.destroyed",
        // There is no log of the tenant's own that it could be copied to.
        tenant_id: None,
        resource: ("tenant", id),
        before: None,
        after: Some(&certificate),
    };
    append(&tx, &Origin::system("offboard"), &event).await.map_err(said)?;
    // With the operation its last step: nobody looks at it again.
    let last = i32::try_from(STEPS.len()).unwrap_or(i32::MAX);
    store::end_step(&tx, &job.operation.id, last, None).await.map_err(said)?;
    store::set_state(&tx, &job.operation.id, "succeeded").await.map_err(said)?;
    tx.commit().await.map_err(said)?;
    job.service.to_publish.notify_one();
    Ok(())
}
