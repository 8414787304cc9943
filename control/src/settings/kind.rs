//! The settings that there are, and what their values may be.

use crate::code::Refusal;
use crate::publish;
use serde_json::{Value as Json, json};
use tollgate_proto::findings::findings;

/// Of `audit.retention_days`.
pub(super) const RETENTION_DAYS_DEFAULT: i64 = 400;
/// Of `offboarding.grace_days`.
pub(super) const GRACE_DAYS_DEFAULT: i64 = 30;

/// What a value may be.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Text,
    Days(i64, i64),
    OneOf(&'static [&'static str]),
    Bool,
    /// What limits.toml holds, as an object.
    Limits,
}

/// A setting.
pub(super) struct Setting {
    pub(super) key: &'static str,
    pub(super) kind: Kind,
    pub(super) default: fn() -> Json,
    pub(super) unit: Option<&'static str>,
    /// A tenant may override it.
    pub(super) is_tenants: bool,
}

#[rustfmt::skip]
pub(super) const SETTINGS: &[Setting] = &[
    Setting { key: "api_key.max_age_days", kind: Kind::Days(1, 3650), default: || json!(365), unit: Some("days"), is_tenants: true },
    Setting { key: "api_key.rotation_notice_days", kind: Kind::Days(0, 365), default: || json!(30), unit: Some("days"), is_tenants: true },
    Setting { key: "audit.retention_days", kind: Kind::Days(90, 36500), default: || json!(RETENTION_DAYS_DEFAULT), unit: Some("days"), is_tenants: true },
    Setting { key: "decision.freshness", kind: Kind::OneOf(&["static", "strict"]), default: || json!("static"), unit: None, is_tenants: true },
    Setting { key: "offboarding.grace_days", kind: Kind::Days(0, 365), default: || json!(GRACE_DAYS_DEFAULT), unit: Some("days"), is_tenants: false },
    Setting { key: "policy.second_person", kind: Kind::Bool, default: || json!(false), unit: None, is_tenants: true },
    Setting { key: "sign_on.required_acr", kind: Kind::Text, default: || Json::Null, unit: None, is_tenants: true },
    Setting { key: "tenant.currency", kind: Kind::Text, default: || json!("EUR"), unit: None, is_tenants: true },
    Setting { key: "tenant.default_limits", kind: Kind::Limits, default: || json!({}), unit: None, is_tenants: false },
    Setting { key: "tenant.time_zone", kind: Kind::Text, default: || json!("UTC"), unit: None, is_tenants: true },
];

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Text | Kind::OneOf(_) => "string",
            Kind::Days(..) => "integer",
            Kind::Bool => "boolean",
            Kind::Limits => "object",
        }
    }

    pub(super) fn check(self, key: &str, value: &Json) -> Result<(), Refusal> {
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
