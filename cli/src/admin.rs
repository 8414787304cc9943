//! Administration over the control plane's API: tenants, operations, keys, settings, the audit log.
//!
//! Each command is one call, or a look for the ETag and then the call. To add one: a variant in `commands`, its row in `asks`.

mod asks;
mod commands;

pub(crate) use commands::{Audit, Key, Operation, Setting, Tenant};

use crate::api::calls::{self, Call};
use crate::api::{Answer, Api};
use crate::exit::{Exit, fail};
use crate::places::Places;
use crate::profile::Profile;
use crate::table;
use asks::Asks;
use clap::Subcommand;
use serde_json::{Value as Json, json};

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

pub(crate) fn run<C: Subcommand + Asks>(places: &Places, arguments: &Arguments<C>) -> Exit {
    let ask = arguments.command.ask(arguments.tenant.as_deref());
    let answered =
        arguments.profile.api(places).and_then(|api| answer(&api, ask.call, arguments.dry_run));
    show(answered, ask.columns, arguments.json)
}

pub(crate) fn me(places: &Places, arguments: &Me) -> Exit {
    let columns = &["subject.id", "tenant", "roles", "permissions"];
    let answered =
        arguments.profile.api(places).and_then(|api| answer(&api, calls::get_me(), false));
    show(answered, columns, arguments.json)
}

fn answer(api: &Api, call: Call, is_dry_run: bool) -> Result<Json, (Exit, String)> {
    let ask = |method: &str, path: &str, body: Option<&Json>, etag: Option<&str>| {
        let answer = api.call(method, path, body, etag);
        let answer = answer.map_err(|message| (Exit::Unreachable, message))?;
        if answer.is_ok() { Ok(answer) } else { Err(answer.refusal()) }
    };
    let etag = match call.needs_etag {
        true => ask("GET", &call.path, None, None)?.etag,
        false => None,
    };
    let is_write = call.method != "GET";
    let call = if is_dry_run && is_write { call.with("dry_run", "true") } else { call };
    let mut answer: Answer = ask(call.method, &call.path, call.body.as_ref(), etag.as_deref())?;
    // All pages are one list.
    let mut all = answer.json["data"].take();
    while let Some(cursor) = answer.json["next_cursor"].as_str() {
        let next = Call { path: call.path.clone(), ..calls::get_me() }.with("cursor", cursor);
        answer = ask("GET", &next.path, None, None)?;
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
