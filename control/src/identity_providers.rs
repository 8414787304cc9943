//! Identity providers: whose tokens are accepted, for which audience, and how their claims are read.

use crate::authority::TENANT_ROLES;
use crate::call::{Call, Reply};
use crate::code::{Code, Refusal};
use crate::listing::{Key, Order};
use crate::noun::Noun;
use crate::random::{id, now_ms};
use crate::sealed;
use crate::secret::SecretText;
use crate::sign_on::exchange::SECRET_LABEL;
use crate::sign_on::provider::{ALGORITHMS, Settings, is_reachable};
use crate::sql::{self, bytes, jsonb, text};
use crate::write::{Stop, Write};
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

pub(crate) const PROVIDER: Noun = Noun {
    name: "identity-provider",
    columns: "id, version, settings || jsonb_build_object('id', id, 'issuer', issuer, 'version', version, \
        'has_client_secret', client_secret IS NOT NULL, \
        'created_at', rfc3339(created_at), 'updated_at', rfc3339(updated_at)) AS object",
    from: "FROM identity_providers",
    id: "id",
    orders: &[Order { name: "created_at", key: Key::Unique("id") }],
    searched: &["issuer COLLATE \"C\""],
};

const URL_BYTES_MAX: usize = 255;
const AUDIENCES_MAX: usize = 8;
const CLAIM_BYTES_MAX: usize = 255;
const MAPPINGS_MAX: usize = 64;
const SECRET_BYTES_MAX: usize = 512;

#[derive(Deserialize)]
struct New {
    issuer: String,
    #[serde(flatten)]
    settings: Map<String, Json>,
}

/// Settings that a token can be held against.
fn checked(call: &Call, settings: Map<String, Json>) -> Result<Settings, Refusal> {
    let settings: Settings = call.read_from(Json::Object(settings))?;
    let named = 1..=URL_BYTES_MAX;
    if !(1..=AUDIENCES_MAX).contains(&settings.audience.len())
        || settings.audience.iter().any(|audience| !named.contains(&audience.len()))
    {
        let expected = format!("1-{AUDIENCES_MAX} texts of 1-{URL_BYTES_MAX} bytes");
        return Err(Refusal::invalid("/audience", &expected, settings.audience.len().to_string()));
    }
    let unknown = settings.algorithms.iter().position(|name| !ALGORITHMS.contains(&name.as_str()));
    if settings.algorithms.is_empty() || unknown.is_some() {
        let expected = format!("at least one of {}", ALGORITHMS.join(", "));
        let got = unknown.and_then(|at| settings.algorithms.get(at)).map_or("none", String::as_str);
        return Err(Refusal::invalid("/algorithms", &expected, got));
    }
    if let Some(url) = settings.jwks_uri.as_deref() {
        check_url("/jwks_uri", url)?;
    }
    for (pointer, claim) in [
        ("/client_id", &settings.client_id),
        ("/organisation_claim", &settings.organisation_claim),
        ("/roles_claim", &settings.roles_claim),
    ] {
        if claim.as_ref().is_some_and(|claim| !(1..=CLAIM_BYTES_MAX).contains(&claim.len())) {
            return Err(Refusal::invalid(pointer, "1-255 bytes", "another text"));
        }
    }
    let is_role = |role: &str| {
        role != "service"
            && role != "custom"
            && (TENANT_ROLES.contains(&role)
                || !call.service.authority.roles().iter().any(|(known, _)| *known == role))
    };
    let wrong = settings.role_mapping.iter().find(|(_, role)| !is_role(role));
    if let Some((name, role)) = wrong {
        let pointer = format!("/role_mapping/{}", name.replace('~', "~0").replace('/', "~1"));
        let expected = "tenant-admin, auditor, billing, member or a role of tenants' own";
        return Err(Refusal::invalid(&pointer, expected, role.clone()));
    }
    if settings.role_mapping.len() > MAPPINGS_MAX {
        let expected = format!("at most {MAPPINGS_MAX} roles");
        return Err(Refusal::invalid(
            "/role_mapping",
            &expected,
            settings.role_mapping.len().to_string(),
        ));
    }
    Ok(settings)
}

fn check_url(pointer: &str, url: &str) -> Result<(), Refusal> {
    match url.len() <= URL_BYTES_MAX && is_reachable(url) && !url.contains(['?', '#']) {
        true => Ok(()),
        false => {
            let expected =
                "an https URL without query, or http to this machine, of at most 255 bytes";
            Err(Refusal::invalid(pointer, expected, url))
        }
    }
}

/// The secret of this API as a client, taken out of what is shown: none if it is left out, an empty one for null.
fn client_secret(settings: &mut Map<String, Json>) -> Result<Option<SecretText>, Refusal> {
    match settings.remove("client_secret") {
        None => Ok(None),
        Some(Json::Null) => Ok(Some(SecretText::new(String::new()))),
        Some(Json::String(secret))
            if (1..=SECRET_BYTES_MAX).contains(&secret.len())
                && !secret.chars().any(char::is_control) =>
        {
            Ok(Some(SecretText::new(secret)))
        }
        Some(_) => {
            let expected = format!("1-{SECRET_BYTES_MAX} bytes, or null");
            Err(Refusal::invalid("/client_secret", &expected, "something else"))
        }
    }
}

/// Keeps it sealed, or takes it away.
async fn keep(
    write: &Write<'_>,
    provider: &str,
    secret: Option<&SecretText>,
) -> Result<(), Refusal> {
    let Some(secret) = secret.map(SecretText::expose) else { return Ok(()) };
    let master = write.call().service.pools.master();
    let sealed = (!secret.is_empty())
        .then(|| sealed::seal(master, SECRET_LABEL, provider, secret.as_bytes()));
    let statement = "UPDATE identity_providers SET client_secret = $2 WHERE id = $1";
    sql::run(&write.tx, statement, &[text(&provider), bytes(&sealed)]).await?;
    Ok(())
}

/// `GET /v1/identity-providers`.
pub async fn list(call: &Call) -> Result<Reply, Stop> {
    PROVIDER.list(call, &call.platform().await?, Vec::new()).await
}

/// `GET /v1/identity-providers/{id}`.
pub async fn show(call: &Call) -> Result<Reply, Stop> {
    PROVIDER.show(call, &call.platform().await?).await
}

/// `POST /v1/identity-providers`.
pub async fn create(call: &Call) -> Result<Reply, Stop> {
    let mut new: New = call.read()?;
    check_url("/issuer", &new.issuer)?;
    let secret = client_secret(&mut new.settings)?;
    let settings = checked(call, new.settings)?;
    let mut conn = call.platform().await?;
    let write = Write::begin(call, &mut conn).await?;
    let provider = id("idp", now_ms());
    let statement = "INSERT INTO identity_providers (id, issuer, settings) VALUES ($1, $2, $3) \
        ON CONFLICT (issuer) DO NOTHING";
    let settings = json!(settings);
    let params = [text(&provider), text(&new.issuer), jsonb(&settings)];
    if sql::run(&write.tx, statement, &params).await? == 0 {
        let message = "this issuer is an identity provider already";
        return Err(Refusal::new(Code::AlreadyExists, message).into());
    }
    keep(&write, &provider, secret.as_ref()).await?;
    PROVIDER.made(write, &provider, "identity_provider.created").await
}

/// `PATCH /v1/identity-providers/{id}`: null puts a member back to what it is when left out.
pub async fn update(call: &Call) -> Result<Reply, Stop> {
    let mut patch: Map<String, Json> = call.read()?;
    let secret = client_secret(&mut patch)?;
    let mut conn = call.platform().await?;
    let (write, before) = PROVIDER.begin(call, &mut conn).await?;
    let statement = "SELECT settings FROM identity_providers WHERE id = $1";
    let row = sql::first(&write.tx, statement, &[text(&before.id)]).await?;
    let mut settings: Json = row.map_or(Json::Null, |row| row.get(0));
    merge(&mut settings, Json::Object(patch));
    let settings = checked(call, settings.as_object().cloned().unwrap_or_default())?;
    let statement = "UPDATE identity_providers SET settings = $2, version = version + 1, updated_at = now() WHERE id = $1";
    let settings = json!(settings);
    sql::run(&write.tx, statement, &[text(&before.id), jsonb(&settings)]).await?;
    keep(&write, &before.id, secret.as_ref()).await?;
    PROVIDER.changed(write, &before, "identity_provider.updated").await
}

/// RFC 7396.
fn merge(target: &mut Json, patch: Json) {
    let Json::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let Some(members) = target.as_object_mut() else { return };
    for (name, value) in patch {
        match value {
            Json::Null => drop(members.remove(&name)),
            value => merge(members.entry(name).or_insert(Json::Null), value),
        }
    }
}

/// `DELETE /v1/identity-providers/{id}`: when no organisation of it is linked.
pub async fn delete(call: &Call) -> Result<Reply, Stop> {
    let mut conn = call.platform().await?;
    let (write, before) = PROVIDER.begin(call, &mut conn).await?;
    let issuer = before.json["issuer"].as_str().unwrap_or_default().to_owned();
    let linked = "SELECT count(*) FROM organisations WHERE issuer = $1";
    let linked: i64 =
        sql::first(&write.tx, linked, &[text(&issuer)]).await?.map_or(0, |row| row.get(0));
    if linked > 0 {
        let message =
            format!("{linked} organisations of it are linked to tenants; unlink them first");
        let details = json!({"organisations": linked});
        return Err(Refusal::new(Code::InUse, message).with(details).into());
    }
    sql::run(&write.tx, "DELETE FROM identity_providers WHERE id = $1", &[text(&before.id)])
        .await?;
    PROVIDER.gone(write, &before, "identity_provider.deleted").await
}
