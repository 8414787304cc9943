//! Settings: known keys with types and defaults; a tenant may override some.

mod kind;

use crate::audit::Event;
use crate::call::{Call, Reply};
use crate::code::{Code, Refusal};
use crate::page::Page;
use crate::sql::{self, Queries, jsonb, text};
use crate::write::{Stop, Write};
use kind::{GRACE_DAYS_DEFAULT, RETENTION_DAYS_DEFAULT, SETTINGS, Setting};
use serde::Deserialize;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

/// The setting of the path, at this level.
fn setting(call: &Call) -> Result<&'static Setting, Refusal> {
    let key = call.parameter(0);
    let found = SETTINGS.iter().find(|setting| setting.key == key);
    found.ok_or_else(|| Refusal::not_found("setting", key))
}

/// The same, if it may be changed at this level.
fn own_setting(call: &Call) -> Result<&'static Setting, Refusal> {
    let setting = setting(call)?;
    match call.tenant.is_some() && !setting.is_tenants {
        true => Err(Refusal::new(Code::Forbidden, "this setting is the platform's alone")
            .with(json!({"permission": "setting:update"}))),
        false => Ok(setting),
    }
}

/// A value with where it comes from.
struct Shown {
    value: Json,
    origin: &'static str,
    /// Of the row at the level that was asked; 0 is none.
    version: i64,
}

async fn row(client: &impl Queries, key: &str) -> Result<Option<(Json, i64)>, Refusal> {
    let statement = "SELECT value, version FROM settings WHERE key = $1";
    let row = sql::first(client, statement, &[text(&key)]).await?;
    Ok(row.map(|row| (row.get(0), row.get(1))))
}

/// `tenant.default_limits` as the text of a new tenant's limits.toml.
///
/// # Errors
/// Those of the database.
pub(crate) async fn default_limits(platform: &impl Queries) -> Result<String, Refusal> {
    let set = row(platform, "tenant.default_limits").await?;
    let (value, _) = set.unwrap_or_else(|| (json!({}), 0));
    toml::to_string(&value).map_err(Refusal::internal)
}

/// How long an offboarded tenant can come back, where nobody says otherwise: `offboarding.grace_days`.
///
/// # Errors
/// Those of the database.
pub(crate) async fn grace_days(platform: &impl Queries) -> Result<i64, Refusal> {
    let set = row(platform, "offboarding.grace_days").await?;
    Ok(set.and_then(|(value, _)| value.as_i64()).unwrap_or(GRACE_DAYS_DEFAULT))
}

/// How long a log is kept, for the job that removes its beginning: `audit.retention_days` of its level.
///
/// # Errors
/// Those of the database.
pub(crate) async fn retention_days(
    platform: &impl Queries,
    own: &impl Queries,
) -> Result<i64, Refusal> {
    let key = "audit.retention_days";
    let set = match row(own, key).await? {
        Some(set) => Some(set),
        None => row(platform, key).await?,
    };
    Ok(set.and_then(|(value, _)| value.as_i64()).unwrap_or(RETENTION_DAYS_DEFAULT))
}

/// How old a key that this call makes may get: `api_key.max_age_days` of its level.
///
/// # Errors
/// Those of the database.
pub(crate) async fn key_days_max(call: &Call) -> Result<i64, Refusal> {
    let key = "api_key.max_age_days";
    let setting = SETTINGS.iter().find(|setting| setting.key == key);
    let setting = setting.ok_or_else(|| Refusal::not_found("setting", key))?;
    let days = look(call, setting).await?.value.as_i64();
    days.ok_or_else(|| Refusal::internal("a number of days is none"))
}

/// Whether somebody else must publish than who wrote the draft: `policy.second_person`.
///
/// # Errors
/// Those of the database.
pub(crate) async fn is_second_person_needed(call: &Call) -> Result<bool, Refusal> {
    let key = "policy.second_person";
    let setting = SETTINGS.iter().find(|setting| setting.key == key);
    let setting = setting.ok_or_else(|| Refusal::not_found("setting", key))?;
    Ok(look(call, setting).await?.value == json!(true))
}

async fn look(call: &Call, setting: &Setting) -> Result<Shown, Refusal> {
    if call.tenant.is_some() {
        let own = row(&*call.tenant_conn().await?, setting.key).await?;
        if let Some((value, version)) = own {
            return Ok(Shown { value, origin: "tenant", version });
        }
    }
    let platform = row(&call.platform().await?, setting.key).await?;
    Ok(match platform {
        Some((value, version)) => {
            let version = if call.tenant.is_some() { 0 } else { version };
            Shown { value, origin: "platform", version }
        }
        None => Shown { value: (setting.default)(), origin: "default", version: 0 },
    })
}

fn json_of(setting: &Setting, shown: &Shown) -> Json {
    json!({"key": setting.key, "value": shown.value, "origin": shown.origin, "type": setting.kind.name(), "unit": setting.unit})
}

/// `GET …/settings`: each level is read once.
pub async fn list(call: &Call) -> Result<Reply, Stop> {
    let page = Page::read(call)?;
    let platform = rows(&call.platform().await?).await?;
    let own = match call.tenant {
        Some(_) => rows(&*call.tenant_conn().await?).await?,
        None => BTreeMap::new(),
    };
    let items = SETTINGS.iter().map(|setting| {
        let (origin, value) = match (own.get(setting.key), platform.get(setting.key)) {
            (Some(value), _) => ("tenant", value.clone()),
            (None, Some(value)) => ("platform", value.clone()),
            (None, None) => ("default", (setting.default)()),
        };
        let shown = Shown { value, origin, version: 0 };
        (setting.key.to_owned(), json_of(setting, &shown))
    });
    Ok(page.reply_of(items))
}

async fn rows(client: &impl Queries) -> Result<BTreeMap<String, Json>, Refusal> {
    let rows = client.rows("SELECT key, value FROM settings", &[]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// `GET …/settings/{key}`.
pub async fn show(call: &Call) -> Result<Reply, Stop> {
    let setting = setting(call)?;
    let shown = look(call, setting).await?;
    Ok(Reply::ok(json_of(setting, &shown)).etag(shown.version))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Put {
    value: Json,
}

/// `PUT …/settings/{key}`.
pub async fn put(call: &Call) -> Result<Reply, Stop> {
    let setting = own_setting(call)?;
    let Put { value } = call.read()?;
    setting.kind.check(setting.key, &value)?;
    change(call, setting, Some(value)).await
}

/// `DELETE …/settings/{key}`: back to what the level above says.
pub async fn delete(call: &Call) -> Result<Reply, Stop> {
    let setting = own_setting(call)?;
    change(call, setting, None).await
}

async fn change(call: &Call, setting: &Setting, value: Option<Json>) -> Result<Reply, Stop> {
    let before = look(call, setting).await?;
    let (mut platform, mut tenant);
    let conn = match call.tenant {
        None => {
            platform = call.platform().await?;
            &mut platform
        }
        Some(_) => {
            tenant = call.tenant_conn().await?;
            &mut *tenant
        }
    };
    let mut write = Write::begin(call, conn).await?;
    // The row is looked at again inside: nobody's change is lost in between.
    let statement = "SELECT value, version FROM settings WHERE key = $1 FOR UPDATE";
    let now = sql::first(&write.tx, statement, &[text(&setting.key)]).await?;
    call.match_version(now.map_or(0, |row| row.get(1)))?;
    let action = match &value {
        Some(value) => {
            let statement = "INSERT INTO settings (key, value) VALUES ($1, $2) ON CONFLICT (key) \
                DO UPDATE SET value = $2, version = settings.version + 1, updated_at = now()";
            sql::run(&write.tx, statement, &[text(&setting.key), jsonb(value)]).await?;
            "setting.updated"
        }
        None => {
            sql::run(&write.tx, "DELETE FROM settings WHERE key = $1", &[text(&setting.key)])
                .await?;
            "setting.reset"
        }
    };
    let after = row(&write.tx, setting.key).await?;
    let origin = if call.tenant.is_some() { "tenant" } else { "platform" };
    let shown = after.map(|(value, version)| Shown { value, origin, version });
    let (old, new) = (json!({"value": before.value}), json!({"value": value}));
    let tenant_id = call.tenant.as_ref().map(|tenant| tenant.id.as_str());
    let event = Event {
        action,
        tenant_id,
        resource: ("setting", setting.key),
        before: Some(&old),
        after: Some(&new),
    };
    write.audit(&event).await?;
    let reply = match &shown {
        Some(shown) => Reply::ok(json_of(setting, shown)).etag(shown.version),
        None => Reply::empty(),
    };
    write.finish(reply).await
}
