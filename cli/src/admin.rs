//! Administration over the control plane's API: tenants, operations, keys, settings, the audit log.
//!
//! Each command is one call, or a look for the ETag and then the call. To add one: a variant, its row in `Ask::of`.

use crate::api::{Answer, Api};
use crate::exit::{Exit, fail};
use crate::places::Places;
use crate::profile::Profile;
use crate::table;
use clap::Subcommand;
use serde_json::{Map, Value as Json, json};

/// What all of them take.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments<C: Subcommand> {
    #[command(flatten)]
    profile: Profile,
    /// The tenant; left out: the platform's own
    #[arg(long, global = true)]
    tenant: Option<String>,
    /// Print what the API answered
    #[arg(long, global = true)]
    json: bool,
    /// Only say what would change
    #[arg(long, global = true)]
    dry_run: bool,
    #[command(subcommand)]
    command: C,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Me {
    #[command(flatten)]
    profile: Profile,
    /// Print what the API answered
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Tenant {
    /// Make a tenant, with a database of its own
    Create {
        id: String,
        #[arg(long)]
        display_name: Option<String>,
        /// KEY=VALUE
        #[arg(long = "label")]
        labels: Vec<String>,
    },
    List {
        #[arg(long)]
        state: Option<String>,
    },
    Show {
        id: String,
    },
    /// Change the display name or labels; KEY= removes a label
    Update {
        id: String,
        #[arg(long)]
        display_name: Option<String>,
        #[arg(long = "label")]
        labels: Vec<String>,
    },
    /// Refuse everything of a tenant until it is resumed
    Suspend {
        id: String,
        #[arg(long)]
        reason: String,
    },
    Resume {
        id: String,
        #[arg(long)]
        reason: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Operation {
    List {
        #[arg(long)]
        state: Option<String>,
    },
    Show {
        id: String,
    },
    /// Wait for its end, at most half a minute
    Wait {
        id: String,
    },
    Retry {
        id: String,
    },
    Cancel {
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    /// Make a key; its secret is printed once
    Create {
        name: String,
        #[arg(long = "role", required = true)]
        roles: Vec<String>,
        #[arg(long = "scope")]
        scopes: Vec<String>,
        /// RFC 3339
        #[arg(long)]
        expires_at: Option<String>,
    },
    List,
    Show {
        id: String,
    },
    /// A new secret; the old one works for the overlap
    Rotate {
        id: String,
        #[arg(long, default_value_t = 3600)]
        overlap_seconds: u32,
    },
    /// At once
    Revoke {
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Setting {
    List,
    Get {
        key: String,
    },
    /// VALUE is JSON, or a text
    Set {
        key: String,
        value: String,
    },
    /// Back to what the level above says
    Unset {
        key: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    List {
        #[arg(long)]
        action: Option<String>,
        #[arg(long)]
        resource: Option<String>,
    },
}

/// One call.
pub(crate) struct Ask {
    method: &'static str,
    path: String,
    body: Option<Json>,
    /// The object is read first, for its ETag.
    needs_etag: bool,
    columns: &'static [&'static str],
}

const TENANTS: &[&str] = &["id", "display_name", "state", "created_at"];
const OPERATIONS: &[&str] = &["id", "kind", "tenant_id", "state", "created_at"];
const KEYS: &[&str] = &["id", "name", "roles", "scopes", "expires_at", "revoked_at"];
const SETTINGS: &[&str] = &["key", "value", "origin", "unit"];
const EVENTS: &[&str] = &["at", "actor.id", "action", "resource.type", "resource.id", "outcome"];

impl Ask {
    fn get(path: String, columns: &'static [&'static str]) -> Ask {
        Ask { method: "GET", path, body: None, needs_etag: false, columns }
    }

    fn post(path: String, body: Json, columns: &'static [&'static str]) -> Ask {
        Ask { method: "POST", path, body: Some(body), needs_etag: false, columns }
    }

    fn change(
        method: &'static str,
        path: String,
        body: Option<Json>,
        columns: &'static [&'static str],
    ) -> Ask {
        Ask { method, path, body, needs_etag: true, columns }
    }
}

/// A noun's commands as calls; `level` is the path of the platform or of a tenant.
pub(crate) trait Asks {
    fn ask(&self, level: &str) -> Ask;
}

impl Asks for Tenant {
    fn ask(&self, _level: &str) -> Ask {
        let one = |id: &str| format!("/v1/tenants/{id}");
        match self {
            Tenant::Create { id, display_name, labels } => {
                let name = display_name.as_ref().unwrap_or(id);
                let body = json!({"id": id, "display_name": name, "labels": pairs(labels)});
                Ask::post("/v1/tenants".to_owned(), body, TENANTS)
            }
            Tenant::List { state } => {
                Ask::get(filtered("/v1/tenants", &[("state", state)]), TENANTS)
            }
            Tenant::Show { id } => Ask::get(one(id), TENANTS),
            Tenant::Update { id, display_name, labels } => {
                let mut body = json!({ "labels": pairs(labels) });
                if let Some(name) = display_name {
                    body["display_name"] = json!(name);
                }
                Ask::change("PATCH", one(id), Some(body), TENANTS)
            }
            Tenant::Suspend { id, reason } => {
                Ask::post(format!("{}/suspend", one(id)), json!({ "reason": reason }), TENANTS)
            }
            Tenant::Resume { id, reason } => {
                Ask::post(format!("{}/resume", one(id)), json!({ "reason": reason }), TENANTS)
            }
        }
    }
}

impl Asks for Operation {
    fn ask(&self, level: &str) -> Ask {
        let one = |id: &str| format!("/v1/operations/{id}");
        match self {
            Operation::List { state } => {
                let tenant = level.strip_prefix("/v1/tenants/").map(str::to_owned);
                let filters = [("state", state), ("tenant_id", &tenant)];
                Ask::get(filtered("/v1/operations", &filters), OPERATIONS)
            }
            Operation::Show { id } => Ask::get(one(id), OPERATIONS),
            Operation::Wait { id } => Ask::get(format!("{}?wait_ms=30000", one(id)), OPERATIONS),
            Operation::Retry { id } => {
                Ask::post(format!("{}/retry", one(id)), json!({}), OPERATIONS)
            }
            Operation::Cancel { id } => {
                Ask::post(format!("{}/cancel", one(id)), json!({}), OPERATIONS)
            }
        }
    }
}

impl Asks for Key {
    fn ask(&self, level: &str) -> Ask {
        let all = format!("{level}/api-keys");
        match self {
            Key::Create { name, roles, scopes, expires_at } => {
                let mut body = json!({"name": name, "roles": roles, "scopes": scopes});
                if let Some(time) = expires_at {
                    body["expires_at"] = json!(time);
                }
                Ask::post(all, body, KEYS)
            }
            Key::List => Ask::get(all, KEYS),
            Key::Show { id } => Ask::get(format!("{all}/{id}"), KEYS),
            Key::Rotate { id, overlap_seconds } => {
                let body = json!({ "overlap_seconds": overlap_seconds });
                Ask::post(format!("{all}/{id}/rotate"), body, KEYS)
            }
            Key::Revoke { id } => Ask::change("DELETE", format!("{all}/{id}"), None, KEYS),
        }
    }
}

impl Asks for Setting {
    fn ask(&self, level: &str) -> Ask {
        let one = |key: &str| format!("{level}/settings/{key}");
        match self {
            Setting::List => Ask::get(format!("{level}/settings"), SETTINGS),
            Setting::Get { key } => Ask::get(one(key), SETTINGS),
            Setting::Set { key, value } => {
                let value = serde_json::from_str(value).unwrap_or_else(|_| json!(value));
                Ask::change("PUT", one(key), Some(json!({ "value": value })), SETTINGS)
            }
            Setting::Unset { key } => Ask::change("DELETE", one(key), None, SETTINGS),
        }
    }
}

impl Asks for Audit {
    fn ask(&self, level: &str) -> Ask {
        let Audit::List { action, resource } = self;
        let filters = [("action", action), ("resource", resource)];
        Ask::get(filtered(&format!("{level}/audit-events"), &filters), EVENTS)
    }
}

/// KEY=VALUE as members; KEY= is null, which removes.
fn pairs(texts: &[String]) -> Map<String, Json> {
    let pair = |text: &String| {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        (name.to_owned(), if value.is_empty() { Json::Null } else { json!(value) })
    };
    texts.iter().map(pair).collect()
}

fn filtered(path: &str, filters: &[(&str, &Option<String>)]) -> String {
    let given =
        filters.iter().filter_map(|(name, value)| Some(format!("{name}={}", value.as_ref()?)));
    let given: Vec<String> = given.collect();
    match given.is_empty() {
        true => path.to_owned(),
        false => format!("{path}?{}", given.join("&")),
    }
}

pub(crate) fn run<C: Subcommand + Asks>(places: &Places, arguments: &Arguments<C>) -> Exit {
    let level = match &arguments.tenant {
        None => "/v1".to_owned(),
        Some(tenant) => format!("/v1/tenants/{tenant}"),
    };
    let ask = arguments.command.ask(&level);
    let answered =
        arguments.profile.api(places).and_then(|api| answer(&api, &ask, arguments.dry_run));
    show(answered, ask.columns, arguments.json)
}

pub(crate) fn me(places: &Places, arguments: &Me) -> Exit {
    let ask = Ask::get("/v1/me".to_owned(), &["subject.id", "tenant", "roles", "permissions"]);
    let answered = arguments.profile.api(places).and_then(|api| answer(&api, &ask, false));
    show(answered, ask.columns, arguments.json)
}

fn answer(api: &Api, ask: &Ask, is_dry_run: bool) -> Result<Json, (Exit, String)> {
    let call = |method: &str, path: &str, body: Option<&Json>, etag: Option<&str>| {
        let answer = api.call(method, path, body, etag);
        let answer = answer.map_err(|message| (Exit::Unreachable, message))?;
        if answer.is_ok() { Ok(answer) } else { Err(answer.refusal()) }
    };
    let etag = match ask.needs_etag {
        true => call("GET", &ask.path, None, None)?.etag,
        false => None,
    };
    let path = if is_dry_run { format!("{}?dry_run=true", ask.path) } else { ask.path.clone() };
    let mut answer: Answer = call(ask.method, &path, ask.body.as_ref(), etag.as_deref())?;
    // All pages are one list.
    let mut all = answer.json["data"].take();
    while let Some(cursor) = answer.json["next_cursor"].as_str() {
        let sign = if path.contains('?') { '&' } else { '?' };
        answer = call("GET", &format!("{path}{sign}cursor={cursor}"), None, None)?;
        if let (Some(all), Some(more)) = (all.as_array_mut(), answer.json["data"].as_array_mut()) {
            all.append(more);
        }
    }
    Ok(if all.is_null() { answer.json } else { json!({"data": all, "next_cursor": null}) })
}

fn show(
    answered: Result<Json, (Exit, String)>,
    columns: &'static [&'static str],
    json: bool,
) -> Exit {
    let answer = match answered {
        Ok(answer) => answer,
        Err((exit, message)) => return fail(exit, message),
    };
    match json {
        true => println!("{answer}"),
        false => print!("{}", table::of(&answer, columns)),
    }
    match answer["state"].as_str() {
        Some("failed") => Exit::No,
        _ => Exit::Yes,
    }
}
