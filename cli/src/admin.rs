//! Administration over the control plane's API: tenants, operations, keys, settings, people, the audit log.
//!
//! Each command is one call, or a look for the ETag and then the call. To add one: a variant in `commands`, its row in `asks`.

mod asks;
mod break_glass;
mod commands;
mod export;
mod fleet;
mod people;

pub(crate) use break_glass::{Grant, KillSwitch};
pub(crate) use commands::{Audit, Key, Limit, Operation, Policy, Setting, Tenant};
pub(crate) use fleet::{Idp, Migration};
pub(crate) use people::{Access, Binding, Group, Role, User};

use crate::api::Api;
use crate::api::calls::{self, Call};
use crate::exit::{Exit, fail};
use crate::places::Places;
use crate::profile::Profile;
use crate::table;
use asks::Asks;
use clap::Subcommand;
use serde_json::{Value as Json, json};

/// What all of them take.
#[derive(Debug, clap::Args)]
pub(crate) struct Flags {
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
}

/// A noun's commands with their flags.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments<C: Subcommand> {
    #[command(flatten)]
    flags: Flags,
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
    ask(places, &arguments.flags, &arguments.command)
}

fn ask(places: &Places, flags: &Flags, command: &impl Asks) -> Exit {
    let ask = match command.ask(flags.tenant.as_deref()) {
        Ok(ask) => ask,
        Err((exit, message)) => return fail(exit, message),
    };
    let answered = flags.profile.api(places).and_then(|api| answer(&api, ask.call, flags.dry_run));
    show(answered, ask.columns, flags.json)
}

/// The audit log; an export is several calls.
pub(crate) fn audit(places: &Places, arguments: &Arguments<Audit>) -> Exit {
    match &arguments.command {
        Audit::Export { out, from, to } => {
            let wanted = export::Wanted { out, from: from.as_deref(), to: to.as_deref() };
            export::run(places, &arguments.flags, &wanted)
        }
        command => ask(places, &arguments.flags, command),
    }
}

/// What `tollgate policy` does with a tenant's policies, beside what it does with files.
pub(crate) fn policy(places: &Places, command: &Policy) -> Exit {
    ask(places, command.flags(), command)
}

pub(crate) fn me(places: &Places, arguments: &Me) -> Exit {
    let columns = &["subject.id", "tenant", "roles", "permissions"];
    let answered =
        arguments.profile.api(places).and_then(|api| answer(&api, calls::get_me(), false));
    show(answered, columns, arguments.json)
}

fn answer(api: &Api, call: Call, is_dry_run: bool) -> Result<Json, (Exit, String)> {
    let etag = match call.needs_etag {
        true => etag(api, &call)?,
        false => None,
    };
    let is_write = call.method != "GET";
    let call = if is_dry_run && is_write { call.with("dry_run", "true") } else { call };
    let answer = api.ask(&call, etag.as_deref())?.json;
    match answer["data"].is_array() {
        // All pages are one list.
        true => Ok(json!({"data": api.pages(&call.path, answer)?, "next_cursor": null})),
        false => Ok(answer),
    }
}

/// The ETag of the object that a call changes; that of one which is not there yet is `"0"`.
fn etag(api: &Api, call: &Call) -> Result<Option<String>, (Exit, String)> {
    let found = api.call("GET", &call.path, None, None);
    let found = found.map_err(|message| (Exit::Unreachable, message))?;
    match found.status {
        404 if call.method == "PUT" && found.json["error"]["code"] == "not-found" => {
            Ok(Some("\"0\"".to_owned()))
        }
        _ if found.is_ok() => Ok(found.etag),
        _ => Err(found.refusal()),
    }
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
    match answer["state"] == "failed" || answer["whole"] == false {
        true => Exit::No,
        false => Exit::Yes,
    }
}
