//! Settings: known keys with types and defaults; a tenant may override some.

use crate::audit::Event;
use crate::call::{Call, Reply};
use crate::code::{Code, Refusal};
use crate::page::Page;
use crate::publish;
use crate::sql::{self, Queries, jsonb, text};
use crate::write::{Stop, Write};
use serde::Deserialize;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use tollgate_proto::findings::findings;

/// What a value may be.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Text,
    Days(i64, i64),
    OneOf(&'static [&'static str]),
    Bool,
    /// What limits.toml holds, as an object.
    Limits,
}

/// A setting.
struct Setting {
    key: &'static str,
    kind: Kind,
    default: fn() -> Json,
    unit: Option<&'static str>,
    /// A tenant may override it.
    is_tenants: bool,
}

#[rustfmt::skip]
const SETTINGS: &[Setting] = &[
    Setting { key: "api_key.max_age_days", kind: Kind::Days(1, 3650), default: || json!(365), unit: Some("days"), is_tenants: true },
    Setting { key: "api_key.rotation_notice_days", kind: Kind::Days(0, 365), default: || json!(30), unit: Some("days"), is_tenants: true },
    Setting { key: "audit.retention_days", kind: Kind::Days(90, 36500), default: || json!(400), unit: Some("days"), is_tenants: true },
    Setting { key: "decision.freshness", kind: Kind::OneOf(&["static", "strict"]), default: || json!("static"), unit: None, is_tenants: true },
    Setting { key: "offboarding.grace_days", kind: Kind::Days(0, 365), default: || json!(30), unit: Some("days"), is_tenants: false },
    Setting { key: "policy.second_person", kind: Kind::Bool, default: || json!(false), unit: None, is_tenants: true },
    Setting { key: "sign_on.required_acr", kind: Kind::Text, default: || Json::Null, unit: None, is_tenants: true },
    Setting { key: "tenant.currency", kind: Kind::Text, default: || json!("EUR"), unit: None, is_tenants: true },
    Setting { key: "tenant.default_limits", kind: Kind::Limits, default: || json!({}), unit: None, is_tenants: false },
    Setting { key: "tenant.time_zone", kind: Kind::Text, default: || json!("UTC"), unit: None, is_tenants: true },
];

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Text | Kind::OneOf(_) => "string",
            Kind::Days(..) => "integer",
            Kind::Bool => "boolean",
            Kind::Limits => "object",
        }
    }

    fn check(self, key: &str, value: &Json) -> Result<(), Refusal> {
        let refuse = |expected: &str| Err(Refusal::invalid("/value", expected, value.to_string()));
        match self {
            Kind::Text => {
                let Some(text) = value.as_str() else { return refuse("a string") };
                let is_right = match key {
                    "tenant.time_zone" => jiff::tz::TimeZone::get(text).is_ok(),
                    "tenant.currency" => {
                        text.len() == 3 && text.bytes().all(|b| b.is_ascii_uppercase())
                    }
                    _ => (1..=200).contains(&text.len()),
                };
                if is_right {
                    Ok(())
                } else {
                    refuse(
                        "an IANA time zone, an ISO 4217 currency or a short text, as the key says",
                    )
                }
            }
            Kind::Days(least, most) => match value.as_i64() {
                Some(days) if (least..=most).contains(&days) => Ok(()),
                _ => refuse(&format!("whole days from {least} to {most}")),
            },
            Kind::OneOf(words) => match value.as_str() {
                Some(word) if words.contains(&word) => Ok(()),
                _ => refuse(&format!("one of {}", words.join(", "))),
            },
            Kind::Bool if value.is_boolean() => Ok(()),
            Kind::Bool => refuse("true or false"),
            Kind::Limits => check_limits(value),
        }
    }
}

/// A new tenant must load with these limits; what does not is said as the command line says it.
fn check_limits(value: &Json) -> Result<(), Refusal> {
    let expected = "an object as limits.toml has it, without null";
    // A text of limits.toml has no null.
    let text = toml::to_string(value).ok().filter(|_| value.is_object());
    let text = text.ok_or_else(|| Refusal::invalid("/value", expected, value.to_string()))?;
    publish::check_limits(&text).map_err(|found| {
        let refusal = Refusal::invalid("/value", "limits that load", "limits that do not");
        let (mut details, found) = (refusal.details.clone(), findings(&found));
        details["diagnostics"] = json!(found);
        refusal.with(details)
    })
}

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
