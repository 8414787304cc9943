//! `tollgate debug bundle`: what a maintainer asks for first, in one folder: configuration, status, logs and metrics of this
//! machine, nothing secret among them, listed before it is written.

mod redact;

use crate::exit::{Exit, fail};
use crate::ops;
use crate::places::Places;
use clap::Subcommand;
use redact::redacted;
use std::io::BufRead;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Of each log, from its end.
const LOG_LINES_MAX: usize = 5_000;
const METRICS_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Collect configuration, status, logs and metrics, redacted, into a folder to send to somebody
    Bundle(Arguments),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The folder to make
    #[arg(long, default_value = "tollgate-debug")]
    out: PathBuf,
    /// Write without asking
    #[arg(long)]
    yes: bool,
}

pub(crate) fn run(places: &Places, command: &Command) -> Exit {
    let Command::Bundle(arguments) = command;
    let out = arguments.out.display();
    if arguments.out.exists() {
        return fail(Exit::Usage, format!("{out} is there already; name another with --out"));
    }
    let files = collected(places);
    for (name, text) in &files {
        println!("{name:<24} {} bytes", text.len());
    }
    if !arguments.yes && !is_wanted(&files, &arguments.out) {
        return fail(Exit::No, "nothing was written");
    }
    match write(&arguments.out, &files) {
        Ok(()) => {
            println!("{} files in {out}; read them before you send them", files.len());
            Exit::Yes
        }
        Err(error) => fail(Exit::Usage, format!("{out}: {error}")),
    }
}

fn is_wanted(files: &[(String, String)], out: &Path) -> bool {
    println!("Write these {} files to {}? [y/N]", files.len(), out.display());
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    read.is_ok() && matches!(line.trim(), "y" | "Y" | "yes")
}

/// For whoever asked alone.
fn write(out: &Path, files: &[(String, String)]) -> std::io::Result<()> {
    std::fs::DirBuilder::new().mode(0o700).create(out)?;
    files.iter().try_for_each(|(name, text)| std::fs::write(out.join(name), text))
}

/// Names and texts; what cannot be had says why.
fn collected(places: &Places) -> Vec<(String, String)> {
    let data = places.data();
    let config = std::fs::read_to_string(data.join("keys/control.toml"));
    let config = config.unwrap_or_else(|error| format!("# {error}\n"));
    let socket = places.http_socket();
    let of_sidecar = |path: &str| {
        ops::get_text(&socket, path).map_or_else(|said| format!("# {said}\n"), |(_, text)| text)
    };
    let mut files = vec![
        ("versions.txt".to_owned(), versions()),
        ("control-metrics.txt".to_owned(), of_control(&config)),
        ("control.toml".to_owned(), config),
        ("status.json".to_owned(), of_sidecar("/v1/status")),
        ("sidecar-metrics.txt".to_owned(), of_sidecar("/metrics")),
    ];
    for name in ["up.json", "sidecar.log", "control.log", "postgres.log"] {
        let text = std::fs::read_to_string(data.join(name));
        files.extend(text.ok().map(|text| (name.to_owned(), end(&text))));
    }
    files.iter_mut().for_each(|(_, text)| *text = redacted(text));
    files.sort();
    files
}

fn versions() -> String {
    let system = std::fs::read_to_string("/proc/version").unwrap_or_default();
    format!("tollgate {}\n{system}", env!("CARGO_PKG_VERSION"))
}

/// The last lines of a log.
fn end(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(LOG_LINES_MAX);
    lines.get(from..).unwrap_or_default().iter().map(|line| format!("{line}\n")).collect()
}

/// Metrics of the control plane, at `ops.listen` of its configuration.
fn of_control(config: &str) -> String {
    let (_, section) = config.split_once("[ops]").unwrap_or_default();
    let listen = section.lines().find_map(|line| line.strip_prefix("listen = "));
    let Some(listen) = listen else { return "# no ops.listen in control.toml\n".to_owned() };
    let url = format!("http://{}/metrics", listen.trim_matches('"'));
    let agent: ureq::Agent =
        ureq::Agent::config_builder().timeout_global(Some(METRICS_TIMEOUT)).build().into();
    let text = agent.get(&url).call().and_then(|mut answer| answer.body_mut().read_to_string());
    text.unwrap_or_else(|error| format!("# {url}: {error}\n"))
}
