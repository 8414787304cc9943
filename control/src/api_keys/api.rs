//! The routes of keys, the same for the platform's and a tenant's.

use super::checks::{check_name, check_roles, expiry};
use super::format::{Holder, generate, hash};
use super::store::{self, ApiKey, NewKey, Table};
use crate::admins::Admins;
use crate::audit::Event;
use crate::call::{Call, Reply};
use crate::code::{Code, Refusal};
use crate::page::Page;
use crate::pools::Home;
use crate::random::{id, now_ms};
use crate::settings;
use crate::write::{Stop, Write};
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;

const OVERLAP_SECONDS_MAX: i64 = 604_800;

async fn home(call: &Call) -> Result<(Home, Table), Refusal> {
    let table = if call.tenant.is_some() { Table::Tenant } else { Table::Platform };
    Ok((call.home().await?, table))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct New {
    name: String,
    roles: Vec<String>,
    #[serde(default)]
    scopes: Vec<String>,
    expires_at: Option<String>,
}

/// `POST …/api-keys`: 201 with `secret`, this once.
pub async fn create(call: &Call) -> Result<Reply, Stop> {
    let new: New = call.read()?;
    check_name(&new.name)?;
    let expires_at = expiry(new.expires_at.as_deref(), settings::key_days_max(call).await?)?;
    let (mut conn, table) = home(call).await?;
    let mut write = Write::begin(call, &mut conn).await?;
    check_roles(call, (&write.tx, table), &new.roles, &new.scopes).await?;
    let (key_id, secret) = (id("key", now_ms()), generate(&holder(call)));
    let row = NewKey {
        id: &key_id,
        name: &new.name,
        roles: &new.roles,
        scopes: &new.scopes,
        hash: &hash(secret.expose()),
        expires_at: &expires_at,
        created_by: &call.caller.id,
    };
    store::insert(&write.tx, table, &row).await?;
    let key = read(&write, table, &key_id).await?;
    record(&mut write, "api_key.created", None, &key).await?;
    let mut body = key.json;
    body["secret"] = json!(secret.expose());
    let mut reply = Reply::ok(body).status(StatusCode::CREATED).etag(key.version);
    reply.location = Some(call.service.link(&format!("{}/{key_id}", call.path())));
    reply.secret_member = Some("secret");
    write.finish(reply).await
}

fn holder(call: &Call) -> Holder {
    match &call.tenant {
        None => Holder::Platform,
        Some(tenant) => Holder::Tenant(tenant.key_reference.clone()),
    }
}

async fn read(write: &Write<'_>, table: Table, id: &str) -> Result<ApiKey, Refusal> {
    let key = store::by_id(&write.tx, table, id, true).await?;
    key.ok_or_else(|| Refusal::not_found("api-key", id))
}

async fn record(
    write: &mut Write<'_>,
    action: &str,
    before: Option<&ApiKey>,
    after: &ApiKey,
) -> Result<(), Refusal> {
    let tenant = write.call().tenant.as_ref().map(|tenant| tenant.id.as_str());
    let event = Event {
        action,
        tenant_id: tenant,
        resource: ("api-key", &after.id),
        before: before.map(|key| &key.json),
        after: Some(&after.json),
    };
    write.audit(&event).await
}

/// `GET …/api-keys`.
pub async fn list(call: &Call) -> Result<Reply, Stop> {
    let page = Page::read(call)?;
    let (conn, table) = home(call).await?;
    store::list(&conn, table, &page).await
}

/// `GET …/api-keys/{id}`.
pub async fn show(call: &Call) -> Result<Reply, Stop> {
    let (conn, table) = home(call).await?;
    let id = call.parameter(0);
    let key = store::by_id(&*conn, table, id, false).await?;
    let key = key.ok_or_else(|| Refusal::not_found("api-key", id))?;
    Ok(Reply::ok(key.json).etag(key.version))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Patch {
    name: Option<String>,
}

/// `PATCH …/api-keys/{id}`: its name.
pub async fn update(call: &Call) -> Result<Reply, Stop> {
    let patch: Patch = call.read()?;
    if let Some(name) = &patch.name {
        check_name(name)?;
    }
    let (mut conn, table) = home(call).await?;
    let mut write = Write::begin(call, &mut conn).await?;
    let before = read(&write, table, call.parameter(0)).await?;
    call.match_version(before.version)?;
    if let Some(name) = &patch.name {
        store::set_name(&write.tx, table, &before.id, name).await?;
    }
    let after = read(&write, table, &before.id).await?;
    record(&mut write, "api_key.updated", Some(&before), &after).await?;
    write.finish(Reply::ok(after.json).etag(after.version)).await
}

/// `DELETE …/api-keys/{id}`: revoked with the commit.
pub async fn revoke(call: &Call) -> Result<Reply, Stop> {
    let (mut conn, table) = home(call).await?;
    let mut write = Write::begin(call, &mut conn).await?;
    let before = read(&write, table, call.parameter(0)).await?;
    call.match_version(before.version)?;
    if before.is_revoked {
        let details = json!({"state": "revoked", "allowed": ["active"]});
        return Err(Refusal::new(Code::InvalidState, "the key was revoked before")
            .with(details)
            .into());
    }
    let admins = Admins::before(&write.tx, table.level()).await?;
    store::revoke(&write.tx, table, &before.id).await?;
    admins.are_left(&write.tx).await?;
    let after = read(&write, table, &before.id).await?;
    record(&mut write, "api_key.revoked", Some(&before), &after).await?;
    write.finish(Reply::empty()).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rotate {
    overlap_seconds: i64,
}

/// `POST …/api-keys/{id}/rotate`: a new secret; the old one works for `overlap_seconds` more.
pub async fn rotate(call: &Call) -> Result<Reply, Stop> {
    let Rotate { overlap_seconds } = call.read()?;
    if !(0..=OVERLAP_SECONDS_MAX).contains(&overlap_seconds) {
        let expected = format!("seconds from 0 to {OVERLAP_SECONDS_MAX}");
        return Err(
            Refusal::invalid("/overlap_seconds", &expected, overlap_seconds.to_string()).into()
        );
    }
    let (mut conn, table) = home(call).await?;
    let mut write = Write::begin(call, &mut conn).await?;
    let before = read(&write, table, call.parameter(0)).await?;
    if before.is_revoked {
        let details = json!({"state": "revoked", "allowed": ["active"]});
        return Err(Refusal::new(
            Code::InvalidState,
            "a revoked key is not rotated; make a new one",
        )
        .with(details)
        .into());
    }
    // Whoever gets its secret gets all that it may do.
    check_roles(call, (&write.tx, table), &before.roles, &before.scopes).await?;
    let secret = generate(&holder(call));
    store::rotate(&write.tx, table, &before.id, &hash(secret.expose()), overlap_seconds).await?;
    let after = read(&write, table, &before.id).await?;
    record(&mut write, "api_key.rotated", Some(&before), &after).await?;
    let mut body = after.json;
    body["secret"] = json!(secret.expose());
    let mut reply = Reply::ok(body).etag(after.version);
    reply.secret_member = Some("secret");
    write.finish(reply).await
}
