//! Organisations of identity providers, each linked to one tenant or to the platform: where whoever comes from there belongs.

use crate::call::{Call, Reply};
use crate::code::{Code, Refusal};
use crate::listing::{Key, Order};
use crate::noun::Noun;
use crate::random::{id, now_ms};
use crate::sql::{self, Param, text};
use crate::write::{Stop, Write};
use serde::Deserialize;

const ORGANISATION: Noun = Noun {
    name: "organisation",
    columns: "id, version, jsonb_build_object('id', id, 'issuer', issuer, 'organisation', organisation, \
        'tenant_id', coalesce(tenant_id, 'platform'), 'version', version, 'created_at', rfc3339(created_at)) AS object",
    from: "FROM organisations",
    id: "id",
    orders: &[Order { name: "created_at", key: Key::Unique("id") }],
    searched: &["organisation COLLATE \"C\""],
};

const NAME_BYTES_MAX: usize = 255;
/// In the place of a tenant, none of which can be called so: the people of the platform.
const PLATFORM: &str = "platform";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct New {
    issuer: String,
    organisation: String,
    tenant_id: String,
}

/// `GET /v1/organisations`.
pub async fn list(call: &Call) -> Result<Reply, Stop> {
    let value = |name: &str| call.query.get(name).map(|value| text(value) as Param<'_>);
    let tenant = match call.query.get("tenant_id").map(String::as_str) {
        Some(PLATFORM) => "tenant_id IS NULL AND {} <> ''",
        _ => "tenant_id = {}",
    };
    let conditions = vec![(tenant, value("tenant_id")), ("issuer = {}", value("issuer"))];
    ORGANISATION.list(call, &call.platform().await?, conditions).await
}

/// `GET /v1/organisations/{id}`.
pub async fn show(call: &Call) -> Result<Reply, Stop> {
    ORGANISATION.show(call, &call.platform().await?).await
}

/// `POST /v1/organisations`: from the commit on, its people come to this tenant.
pub async fn create(call: &Call) -> Result<Reply, Stop> {
    let new: New = call.read()?;
    let is_name = (1..=NAME_BYTES_MAX).contains(&new.organisation.len())
        && !new.organisation.chars().any(char::is_control);
    if !is_name {
        let expected = "1-255 bytes; `*` for a provider whose people all belong to one tenant";
        return Err(Refusal::invalid("/organisation", expected, "another text").into());
    }
    let mut conn = call.platform().await?;
    let write = Write::begin(call, &mut conn).await?;
    let tenant = Some(&new.tenant_id).filter(|tenant| *tenant != PLATFORM);
    let of_issuer = "SELECT FROM identity_providers WHERE issuer = $1 FOR SHARE";
    let of_tenant = "SELECT FROM tenants WHERE id = $1 AND state <> 'destroyed' FOR SHARE";
    let named = tenant.map(|tenant| ("/tenant_id", of_tenant, tenant));
    for (pointer, statement, value) in
        [("/issuer", of_issuer, &new.issuer)].into_iter().chain(named)
    {
        if sql::first(&write.tx, statement, &[text(value)]).await?.is_none() {
            return Err(Refusal::invalid(pointer, "one that is there", value.clone()).into());
        }
    }
    let link = id("org", now_ms());
    let statement = "INSERT INTO organisations (id, issuer, organisation, tenant_id) VALUES ($1, $2, $3, $4) \
        ON CONFLICT (issuer, organisation) DO NOTHING";
    let params = [text(&link), text(&new.issuer), text(&new.organisation), text(&tenant)];
    if sql::run(&write.tx, statement, &params).await? == 0 {
        let message = "this organisation of the issuer is linked already; unlink it first";
        return Err(Refusal::new(Code::AlreadyExists, message).into());
    }
    ORGANISATION.made(write, &link, "organisation.linked").await
}

/// `DELETE /v1/organisations/{id}`: its people are refused from the commit on.
pub async fn delete(call: &Call) -> Result<Reply, Stop> {
    let mut conn = call.platform().await?;
    let (write, before) = ORGANISATION.begin(call, &mut conn).await?;
    sql::run(&write.tx, "DELETE FROM organisations WHERE id = $1", &[text(&before.id)]).await?;
    ORGANISATION.gone(write, &before, "organisation.unlinked").await
}
