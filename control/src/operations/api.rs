//! The routes of operations.

use super::store::{self, Operation};
use crate::audit::Event;
use crate::call::{Call, Reply};
use crate::code::{Code, Refusal};
use crate::page::Page;
use crate::tenants;
use crate::write::{Stop, Write};
use serde_json::json;
use std::time::{Duration, Instant};

const STATES: [&str; 5] = ["pending", "running", "succeeded", "failed", "cancelled"];
const WAIT_MS_MAX: u64 = 30_000;
const LOOK_INTERVAL: Duration = Duration::from_millis(25);

/// `GET /v1/operations`.
pub async fn list(call: &Call) -> Result<Reply, Stop> {
    let page = Page::read(call)?;
    let state = call.one_of("state", &STATES)?;
    let asked = call.query.get("tenant_id").map(String::as_str);
    let tenant = match (call.caller.tenant(), asked) {
        (Some(own), Some(asked)) if own != asked => return Ok(page.reply_of([])),
        (own, asked) => own.or(asked),
    };
    let conn = call.platform().await?;
    store::list(&conn, &page, tenant, state).await
}

/// `GET /v1/operations/{id}`; `?wait_ms=` waits for its end.
pub async fn show(call: &Call) -> Result<Reply, Stop> {
    let wait_ms = match call.query.get("wait_ms") {
        None => 0,
        Some(text) => text.parse().ok().filter(|ms| *ms <= WAIT_MS_MAX).ok_or_else(|| {
            Refusal::invalid(
                "/wait_ms",
                &format!("milliseconds from 0 to {WAIT_MS_MAX}"),
                text.clone(),
            )
        })?,
    };
    let began = Instant::now();
    loop {
        let operation = visible(call).await?;
        let is_over = matches!(operation.state.as_str(), "succeeded" | "failed" | "cancelled");
        if is_over || began.elapsed() >= Duration::from_millis(wait_ms) {
            return Ok(Reply::ok(operation.json).etag(operation.version));
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// The operation of the path, if it is the caller's to see.
async fn visible(call: &Call) -> Result<Operation, Refusal> {
    let id = call.parameter(0);
    let found = store::by_id(&call.platform().await?, id).await?;
    let is_own = |operation: &Operation| {
        call.caller.tenant().is_none_or(|own| operation.tenant_id.as_deref() == Some(own))
    };
    found.filter(is_own).ok_or_else(|| Refusal::not_found("operation", id))
}

/// `POST /v1/operations/{id}/retry`.
pub async fn retry(call: &Call) -> Result<Reply, Stop> {
    let operation = visible(call).await?;
    change(call, operation, "pending", "provisioning", "operation.retried").await
}

/// `POST /v1/operations/{id}/cancel`: what was made is cleaned up; the tenant's id is not used again.
pub async fn cancel(call: &Call) -> Result<Reply, Stop> {
    let operation = visible(call).await?;
    if operation.kind == "tenant.offboard" {
        let message = "an offboarding is not cancelled: reinstate the tenant, or retry";
        let details = json!({"state": operation.state, "allowed": []});
        return Err(Refusal::new(Code::InvalidState, message).with(details).into());
    }
    change(call, operation, "cancelled", "destroyed", "operation.cancelled").await
}

/// `tenant_to` is what becomes of a tenant that was to be made.
async fn change(
    call: &Call,
    operation: Operation,
    to: &str,
    tenant_to: &str,
    action: &str,
) -> Result<Reply, Stop> {
    let mut conn = call.platform().await?;
    let mut write = Write::begin(call, &mut conn).await?;
    let tenant = operation.tenant_id.clone().unwrap_or_default();
    // The tenant's row is the lock: retries and cancellations come one by one.
    let before = tenants::store::by_id(&write.tx, &tenant, true).await?;
    let Some(current) =
        store::by_id(&write.tx, &operation.id).await?.filter(|now| now.state == "failed")
    else {
        let message = format!("the operation is {}, expected failed", operation.state);
        let details = json!({"state": operation.state, "allowed": ["failed"]});
        return Err(write.refuse(Refusal::new(Code::InvalidState, message).with(details)).await);
    };
    if to == "pending" {
        store::reset_steps(&write.tx, &current.id).await?;
        store::set_due(&write.tx, &current.id, 0.0).await?;
    }
    store::set_state(&write.tx, &current.id, to).await?;
    if current.kind == "tenant.provision" {
        tenants::store::set_state(&write.tx, &tenant, tenant_to).await?;
    }
    let after = store::by_id(&write.tx, &current.id).await?;
    let after = after.ok_or_else(|| Refusal::internal("an operation vanished"))?;
    let event = Event {
        action,
        tenant_id: operation.tenant_id.as_deref(),
        resource: ("operation", &current.id),
        before: before.as_ref().map(|tenant| &tenant.json),
        after: Some(&after.json),
    };
    write.audit(&event).await?;
    let reply = write.finish(Reply::ok(after.json).etag(after.version)).await?;
    call.service.wake.notify_one();
    Ok(reply)
}
