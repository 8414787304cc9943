//! `tollgate doctor`: what is wrong with this installation, each finding with what mends it.

use crate::children;
use crate::exit::Exit;
use crate::ops;
use crate::places::Places;
use serde_json::Value as Json;

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;

/// Free space below which the store may soon refuse.
const FREE_BYTES_MIN: u64 = 64 * 1024 * 1024;
const DESCRIPTORS_MIN: u64 = 4096;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// One thing that is wrong.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    what: String,
    mend: String,
}

fn finding(what: impl Into<String>, mend: impl Into<String>) -> Finding {
    Finding { what: what.into(), mend: mend.into() }
}

pub(crate) fn run(places: &Places, arguments: &Arguments) -> Exit {
    let mut found = Vec::new();
    sockets(places, &mut found);
    tenants(places, &mut found);
    store(places, &mut found);
    limits(&mut found);
    if arguments.json {
        let rows = found.iter();
        let rows = rows.map(|one| serde_json::json!({"what": one.what, "mend": one.mend}));
        println!("{}", serde_json::json!({"findings": rows.collect::<Vec<_>>()}));
    } else {
        for one in &found {
            println!("✗ {}\n  mend  {}", one.what, one.mend);
        }
        match found.len() {
            0 => println!("Nothing is wrong."),
            1 => println!("1 finding."),
            count => println!("{count} findings."),
        }
    }
    if found.is_empty() { Exit::Yes } else { Exit::No }
}

/// Both sockets answer, and only those who may can reach them.
fn sockets(places: &Places, found: &mut Vec<Finding>) {
    let command = format!("tollgate{}", places.arguments());
    let run = places.run();
    for socket in [places.socket(), places.http_socket()] {
        let shown = socket.display();
        match (socket.exists(), UnixStream::connect(&socket)) {
            (_, Ok(_)) => {}
            (true, Err(error)) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                let group = std::fs::metadata(&socket).map_or(0, |metadata| metadata.gid());
                found.push(finding(
                    format!("{shown} may not be opened by you"),
                    format!("join the group {group}, or set TOLLGATE_PEERS__UIDS for the sidecar"),
                ));
            }
            (true, Err(_)) => found.push(finding(
                format!("{shown} is left over: nobody answers"),
                format!("{command} up"),
            )),
            (false, Err(_)) => {
                found.push(finding(format!("{shown} is not there"), format!("{command} up")));
            }
        }
    }
    let mode = std::fs::metadata(&run).map(|metadata| metadata.permissions().mode() & 0o007);
    if mode.is_ok_and(|mode| mode != 0) {
        found.push(finding(
            format!("{} can be entered by everybody", run.display()),
            format!("chmod 0750 {}", run.display()),
        ));
    }
    let record = children::record(&places.data());
    if record.exists() && children::running(&places.data()).is_empty() {
        found.push(finding(
            format!(
                "what `up` started has ended; see {}",
                places.data().join("sidecar.log").display()
            ),
            format!("{command} up"),
        ));
    }
}

/// Every tenant is served by what its folder says now.
fn tenants(places: &Places, found: &mut Vec<Finding>) {
    let Ok((_, status)) = ops::get(&places.http_socket(), "/v1/status") else { return };
    let ours = env!("CARGO_PKG_VERSION");
    if status["version"] != ours {
        found.push(finding(
            format!("the sidecar is version {}, this is {ours}", status["version"]),
            "tollgate down && tollgate up",
        ));
    }
    let rows = status["tenants"].as_array().map_or(&[][..], Vec::as_slice);
    if rows.is_empty() {
        found.push(finding("no tenant is served", "tollgate init DIR below the policies folder"));
    }
    let text = |value: &Json| value.as_str().unwrap_or("").to_owned();
    for row in rows {
        let (id, state, error) = (text(&row["id"]), text(&row["state"]), text(&row["error"]));
        match (state.as_str(), error.is_empty()) {
            // Somebody wanted it so.
            ("active" | "suspended", true) => continue,
            ("killed", true) => {
                let mend = "tollgate kill-switch list says who stopped everything, and why";
                found.push(finding(format!("tenant `{id}` is killed"), mend));
                continue;
            }
            _ => {}
        }
        let words = error.split(' ').map(|word| word.trim_end_matches(':'));
        let mend = match words.map(str::parse::<u16>).find_map(Result::ok) {
            None => "mend the folder; it is taken within a second".to_owned(),
            Some(number) => format!("tollgate errors {number}, then mend the folder"),
        };
        found.push(finding(format!("tenant `{id}` is {state}: {error}"), mend));
    }
}

/// The disk takes what the sidecar keeps.
fn store(places: &Places, found: &mut Vec<Finding>) {
    if let Ok((_, scrape)) = ops::get_text(&places.http_socket(), "/metrics") {
        let failures = scrape.lines().filter(|line| line.contains("_store_failures_total{"));
        for line in failures.filter(|line| !line.ends_with(" 0")) {
            found.push(finding(
                format!("the store refused writes: {line}"),
                format!("make room below {}", places.data().display()),
            ));
        }
    }
    let data = places.data();
    if let Ok(space) = nix::sys::statvfs::statvfs(&data) {
        let free = space.blocks_available() * space.fragment_size();
        if free < FREE_BYTES_MIN {
            found.push(finding(
                format!("{} has {free} bytes free", data.display()),
                format!("make room: at least {FREE_BYTES_MIN} bytes"),
            ));
        }
    }
    for name in ["bundles", "state"] {
        let aside = data.join("sidecar").join(format!("{name}.corrupt-1"));
        if aside.exists() {
            let shown = aside.display();
            found.push(finding(
                format!("a corrupt database was set aside: {shown}"),
                format!("check the disk, then rm -r {shown}"),
            ));
        }
    }
}

/// This user's limits suffice.
fn limits(found: &mut Vec<Finding>) {
    use nix::sys::resource::{Resource, getrlimit};
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && hard < DESCRIPTORS_MIN
    {
        found.push(finding(
            format!("at most {hard} descriptors may be open: connections are lost beyond"),
            format!("raise the hard limit to {DESCRIPTORS_MIN} (ulimit -Hn, LimitNOFILE)"),
        ));
    }
}
