//! `tollgate status`: what the sidecar of a run folder serves.

use crate::children;
use crate::exit::{Exit, fail};
use crate::ops;
use crate::places::Places;
use serde_json::Value as Json;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Print the sidecar's own object
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(places: &Places, arguments: &Arguments) -> Exit {
    let status = match read(places) {
        Ok(status) => status,
        Err(message) => return fail(Exit::Unreachable, message),
    };
    if arguments.json {
        println!("{status}");
        return Exit::Yes;
    }
    let text = |value: &Json| value.as_str().unwrap_or("-").to_owned();
    println!("sidecar {}   {}", text(&status["version"]), places.socket().display());
    println!("  {:<24} {:<10} {:<16} ERROR", "TENANT", "VERSION", "STATE");
    for tenant in status["tenants"].as_array().into_iter().flatten() {
        let (id, version) = (text(&tenant["id"]), text(&tenant["version"]));
        println!(
            "  {id:<24} {version:<10} {:<16} {}",
            text(&tenant["state"]),
            text(&tenant["error"])
        );
    }
    let running = children::running(&places.data());
    if !running.is_empty() {
        let names: Vec<&str> = running.iter().map(|child| child.name.as_str()).collect();
        println!("running {}", names.join(", "));
    }
    Exit::Yes
}

/// The tenant to ask when none is named: the only one there is.
pub(crate) fn only_tenant(places: &Places) -> Result<String, (Exit, String)> {
    let status = read(places).map_err(|message| (Exit::Unreachable, message))?;
    let tenants = status["tenants"].as_array().into_iter().flatten();
    let names: Vec<&str> = tenants.filter_map(|tenant| tenant["id"].as_str()).collect();
    match names.as_slice() {
        [only] => Ok((*only).to_owned()),
        [] => Err((Exit::Usage, "no tenant is served; add a policy folder".to_owned())),
        many => Err((Exit::Usage, format!("name a tenant with -t: {}", many.join(", ")))),
    }
}

fn read(places: &Places) -> Result<Json, String> {
    let (_, body) = ops::get(&places.http_socket(), "/v1/status").map_err(|error| {
        let hint = "start a sidecar with `tollgate up`, or name its folder with --run";
        format!("{error}; {hint}")
    })?;
    Ok(body)
}
