//! `tollgate up`: a private Postgres, the control plane, a sidecar and a demo tenant, ready when this
//! returns.
//!
//! It links none of the programs: it starts them (`postgres`, `control`, `sidecar`), writes down which
//! (`children`), and tells what to try (`report`). As root the programs and policies are copied below the data folder and
//! all children run as the user `tollgate`, or `nobody`: a checkout under a private home cannot be read by them.

mod admin;
mod control;
mod ground;
mod postgres;
mod report;
mod sidecar;

use crate::children;
use crate::demo;
use crate::exit::{Exit, fail};
use crate::places::Places;
use ground::Ground;
use nix::sys::signal::{SigSet, Signal};
use std::io;
use std::time::{Duration, Instant};

pub(crate) const READY_TIMEOUT: Duration = Duration::from_secs(10);
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// A Unix socket's path must fit everywhere.
const RUN_PATH_BYTES_MAX: usize = 80;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Where the control plane listens on loopback; its metrics are 1000 above
    #[arg(long, default_value_t = 8082, env = "TOLLGATE_PORT", value_parser = clap::value_parser!(u16).range(1..=64_535))]
    port: u16,
    /// Print one JSON object when ready
    #[arg(long)]
    json: bool,
    /// Stay until interrupted, then stop what was started
    #[arg(long)]
    foreground: bool,
}

/// Why it did not come up.
#[derive(Debug)]
pub(crate) struct Failed(pub(crate) Exit, pub(crate) String);

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Failed {
        Failed(Exit::Usage, error.to_string())
    }
}

pub(crate) fn run(places: &Places, arguments: &Arguments) -> Exit {
    match start(places, arguments) {
        Ok(()) => Exit::Yes,
        Err(Failed(exit, message)) => fail(exit, message),
    }
}

/// One line per step with its seconds.
struct Steps {
    quiet: bool,
    began: Instant,
}

impl Steps {
    fn done(&mut self, name: &str, what: &str) {
        if !self.quiet {
            eprintln!("  {name:<9} {what:<80} {:.1} s", self.began.elapsed().as_secs_f64());
        }
        self.began = Instant::now();
    }
}

fn start(places: &Places, arguments: &Arguments) -> Result<(), Failed> {
    let run = places.run();
    if run.as_os_str().len() > RUN_PATH_BYTES_MAX {
        let message = format!(
            "{}: expected at most {RUN_PATH_BYTES_MAX} bytes; choose another --run",
            run.display()
        );
        return Err(Failed(Exit::Usage, message));
    }
    let mut steps = Steps { quiet: arguments.json, began: Instant::now() };
    let ground = Ground::prepare(places, arguments.port, arguments.foreground)?;
    if arguments.foreground {
        let _ = waited_signals().thread_block();
    }
    let folder = ground.policies().join("demo");
    let written = demo::write(&folder)?;
    if written {
        // The control plane publishes it from there.
        ground.own(&folder)?;
        demo::FILES.iter().try_for_each(|(name, _)| ground.own(&folder.join(name)))?;
    }
    let note = |is_new: bool, new: &str| if is_new { new.to_owned() } else { String::new() };
    let made = postgres::start(&ground)?;
    let note_made = note(made, "   made now");
    steps.done(
        "postgres",
        &format!("private cluster, Unix socket only   {}{note_made}", ground.postgres().display()),
    );
    control::start(&ground)?;
    steps.done("control", &ground.api());
    let is_new = admin::ensure_demo(&ground)?;
    admin::await_published(&ground)?;
    let policy = note(written, ", its policy written");
    steps.done("tenant", &format!("demo{}{policy}", note(is_new, ": made")));
    sidecar::start(&ground)?;
    let sockets =
        format!("{} (frame)   tollgate-http.sock (HTTP, gRPC)", places.socket().display());
    steps.done("sidecar", &sockets);
    report::ready(&ground, arguments.json);
    match arguments.foreground {
        true => stay(&ground),
        false => Ok(()),
    }
}

fn waited_signals() -> SigSet {
    SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGCHLD])
}

/// Waits for an interrupt or the end of a child, then leaves nothing behind.
fn stay(ground: &Ground) -> Result<(), Failed> {
    let data = ground.places.data();
    let all = children::running(&data).len();
    loop {
        let signal = waited_signals().wait();
        let has_lost_one = children::running(&data).len() < all;
        let is_told = matches!(signal, Ok(Signal::SIGINT | Signal::SIGTERM));
        if !has_lost_one && !is_told {
            continue;
        }
        children::stop_all(&data).map_err(|message| Failed(Exit::NotPermitted, message))?;
        return match is_told {
            true => Ok(()),
            false => Err(Failed(
                Exit::Unreachable,
                "one of the programs ended; see their logs".to_owned(),
            )),
        };
    }
}
