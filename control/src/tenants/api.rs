//! The routes of tenants.

use super::model::{TenantId, display_name, merged_labels};
use super::store::{self, NewTenant, Tenant};
use crate::api_keys::format::REFERENCE_CHARS;
use crate::audit::Event;
use crate::call::{Call, Reply};
use crate::code::{Code, Refusal};
use crate::operations::{self, store::NewOperation};
use crate::page::Page;
use crate::provision;
use crate::random::base62;
use crate::write::{Stop, Write};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

const STATES: [&str; 6] =
    ["provisioning", "failed", "active", "suspended", "offboarding", "destroyed"];
const REASON_CHARS_MAX: usize = 500;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct New {
    id: String,
    display_name: String,
    #[serde(default)]
    labels: Map<String, Json>,
    jurisdictions: Option<Vec<String>>,
}

/// `POST /v1/tenants`: 202 with the tenant and the operation that makes its database.
pub async fn create(call: &Call) -> Result<Reply, Stop> {
    let new: New = call.read()?;
    let id = TenantId::read(&new.id, call.service.config.platform.id == "development")?;
    let display_name = display_name(&new.display_name)?;
    let labels = merged_labels(&json!({}), &new.labels)?;
    let mut conn = call.platform().await?;
    let mut write = Write::begin(call, &mut conn).await?;
    let known = store::jurisdictions(&write.tx).await?;
    let jurisdictions = match new.jurisdictions {
        Some(named) => within(named, &known)?,
        None => known.into_iter().take(1).collect(),
    };
    let reference = base62(REFERENCE_CHARS);
    let tenant = NewTenant {
        id: id.as_str(),
        display_name,
        jurisdictions: &jurisdictions,
        labels: &labels,
        key_reference: &reference,
    };
    if let Err(error) = store::insert(&write.tx, &tenant).await {
        let is_used =
            error.as_db_error().is_some_and(|error| error.constraint() == Some("tenants_id"));
        let refusal = match is_used {
            true => Refusal::new(
                Code::AlreadyExists,
                format!("the id `{}` is or was in use; choose another", new.id),
            ),
            false => Refusal::from(error),
        };
        return Err(write.refuse(refusal).await);
    }
    let new = NewOperation {
        kind: "tenant.provision",
        tenant_id: Some(id.as_str()),
        steps: &provision::STEPS,
        result: None,
    };
    let operation = operations::store::insert(&write.tx, &new, &call.origin).await?;
    let shown = shown(&write, id.as_str(), false).await?;
    let event = Event {
        action: "tenant.created",
        tenant_id: Some(id.as_str()),
        resource: ("tenant", id.as_str()),
        before: None,
        after: Some(&shown.json),
    };
    write.audit(&event).await?;
    let operation = operations::store::by_id(&write.tx, &operation).await?;
    let operation = operation.ok_or_else(|| Refusal::internal("an operation vanished"))?;
    let location = format!("/v1/operations/{}", operation.id);
    let mut reply = Reply::ok(json!({"tenant": shown.json, "operation": operation.json}));
    reply.location = Some(call.service.link(&location));
    let reply = write.finish(reply.status(StatusCode::ACCEPTED).etag(shown.version)).await?;
    call.service.wake.notify_one();
    Ok(reply)
}

fn within(named: Vec<String>, known: &[String]) -> Result<Vec<String>, Refusal> {
    let unknown = named.iter().position(|name| !known.contains(name));
    match (unknown, named.is_empty()) {
        (None, false) => Ok(named),
        (Some(at), _) => {
            let expected = format!("one of {}", known.join(", "));
            Err(Refusal::invalid(&format!("/jurisdictions/{at}"), &expected, named[at].clone()))
        }
        (None, true) => {
            Err(Refusal::invalid("/jurisdictions", "at least one jurisdiction", "none"))
        }
    }
}

pub(super) async fn shown(write: &Write<'_>, id: &str, lock: bool) -> Result<Tenant, Refusal> {
    let tenant = store::by_id(&write.tx, id, lock).await?;
    tenant.ok_or_else(|| Refusal::new(Code::TenantNotFound, "there is no such tenant"))
}

/// `GET /v1/tenants`: all of them, or the caller's own.
pub async fn list(call: &Call) -> Result<Reply, Stop> {
    let page = Page::read(call)?;
    let state = call.one_of("state", &STATES)?;
    let conn = call.platform().await?;
    let Some(own) = call.caller.tenant() else {
        return store::list(&conn, &page, state).await;
    };
    let own = store::by_id(&conn, own, false).await?.into_iter();
    let wanted = own.filter(|tenant| state.is_none_or(|state| tenant.state == state));
    Ok(page.reply_of(
        wanted.map(|tenant| (call.caller.tenant().unwrap_or("").to_owned(), tenant.json)),
    ))
}

/// `GET T`.
pub async fn show(call: &Call) -> Result<Reply, Stop> {
    let conn = call.platform().await?;
    let tenant = store::by_id(&conn, &call.tenant()?.id, false).await?;
    let tenant =
        tenant.ok_or_else(|| Refusal::new(Code::TenantNotFound, "there is no such tenant"))?;
    Ok(Reply::ok(tenant.json).etag(tenant.version))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Patch {
    display_name: Option<String>,
    labels: Option<Map<String, Json>>,
}

/// `PATCH T`: display name and labels; nothing else can change.
pub async fn update(call: &Call) -> Result<Reply, Stop> {
    let patch: Patch = call.read()?;
    let (name, labels) = (patch.display_name, patch.labels.unwrap_or_default());
    if let Some(name) = &name {
        display_name(name)?;
    }
    merged_labels(&json!({}), &labels)?;
    let id = &call.tenant()?.id;
    let mut conn = call.platform().await?;
    let write = Write::begin(call, &mut conn).await?;
    let before = shown(&write, id, true).await?;
    call.match_version(before.version)?;
    let old_name = before.json["display_name"].as_str().unwrap_or("");
    let name = name.as_deref().unwrap_or(old_name);
    let labels = merged_labels(&before.json["labels"], &labels)?;
    store::set_names(&write.tx, id, name, &labels).await?;
    changed(write, "tenant.updated", &before, plain).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reason {
    pub(crate) reason: String,
}

/// `POST T/suspend`.
pub async fn suspend(call: &Call) -> Result<Reply, Stop> {
    switch(call, "active", "suspended", "tenant.suspended").await
}

/// `POST T/resume`.
pub async fn resume(call: &Call) -> Result<Reply, Stop> {
    switch(call, "suspended", "active", "tenant.resumed").await
}

async fn switch(call: &Call, from: &str, to: &str, action: &str) -> Result<Reply, Stop> {
    let Reason { reason: why } = call.read()?;
    reason(&why)?;
    let id = &call.tenant()?.id;
    let mut conn = call.platform().await?;
    let write = Write::begin(call, &mut conn).await?;
    let before = shown(&write, id, true).await?;
    if before.state != from {
        let message = format!("the tenant is {}, expected {from}", before.state);
        let details = json!({"state": before.state, "allowed": [from]});
        return Err(write.refuse(Refusal::new(Code::InvalidState, message).with(details)).await);
    }
    store::set_state(&write.tx, id, to).await?;
    let reply = changed(write, action, &before, plain).await?;
    call.service.to_publish.notify_one();
    Ok(reply)
}

/// Why somebody does something.
///
/// # Errors
/// `invalid`.
pub(crate) fn reason(text: &str) -> Result<(), Refusal> {
    let count = text.chars().count();
    match text.trim().is_empty() || count > REASON_CHARS_MAX || text.contains('\0') {
        true => Err(Refusal::invalid("/reason", "1-500 characters", format!("{count} characters"))),
        false => Ok(()),
    }
}

fn plain(tenant: Json, version: i64) -> Reply {
    Reply::ok(tenant).etag(version)
}

/// Writes down what became of a tenant, and answers with it.
pub(super) async fn changed(
    mut write: Write<'_>,
    action: &str,
    before: &Tenant,
    answer: impl FnOnce(Json, i64) -> Reply,
) -> Result<Reply, Stop> {
    let id = before.json["id"].as_str().unwrap_or("").to_owned();
    let after = shown(&write, &id, false).await?;
    let event = Event {
        action,
        tenant_id: Some(&id),
        resource: ("tenant", &id),
        before: Some(&before.json),
        after: Some(&after.json),
    };
    write.audit(&event).await?;
    write.finish(answer(after.json, after.version)).await
}
