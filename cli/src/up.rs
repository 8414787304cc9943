//! `tollgate up`: a sidecar with a demo policy, ready when this returns.
//!
//! As root the programs and policies are copied below the data folder and the sidecar runs as the
//! user `tollgate`, or `nobody`: a checkout under a private home cannot be read by them.

use crate::children::{self, Child};
use crate::demo;
use crate::exit::{Exit, fail};
use crate::ops;
use crate::places::Places;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{Uid, User, chown};
use std::io;
use std::os::unix::fs::PermissionsExt;

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const READY_TIMEOUT: Duration = Duration::from_secs(10);
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// A Unix socket's path must fit everywhere.
const RUN_PATH_BYTES_MAX: usize = 80;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Print one JSON object when ready
    #[arg(long)]
    json: bool,
    /// Stay until interrupted, then stop what was started
    #[arg(long)]
    foreground: bool,
}

/// Why it did not come up.
struct Failed(Exit, String);

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
    let (data, run) = (places.data(), places.run());
    if run.as_os_str().len() > RUN_PATH_BYTES_MAX {
        let message = format!(
            "{}: expected at most {RUN_PATH_BYTES_MAX} bytes; choose another --run",
            run.display()
        );
        return Err(Failed(Exit::Usage, message));
    }
    let mut steps = Steps { quiet: arguments.json, began: Instant::now() };
    let policies = data.join("policies");
    let user = child_user()?;
    make_folder(&data, 0o755)?;
    make_folder(&policies, 0o755)?;
    let folder = policies.join("demo");
    let written = demo::write(&folder)?;
    let programs = programs(&data, user.as_ref())?;
    let run_mode = if user.is_some() { 0o750 } else { 0o700 };
    for (path, mode) in [(&run, run_mode), (&data.join("sidecar"), 0o750)] {
        make_folder(path, mode)?;
        own(path, user.as_ref())?;
    }
    let note = if written { "written" } else { "kept as it is" };
    steps.done("policies", &format!("demo: {note}   {}", folder.display()));
    let running = children::running(&data);
    let mut child = None;
    if running.is_empty() {
        child =
            Some(start_sidecar(places, &programs, &policies, user.as_ref(), arguments.foreground)?);
    }
    let note = if running.is_empty() { "" } else { "   was running" };
    steps.done(
        "sidecar",
        &format!("{} (frame)   tollgate-http.sock (HTTP, gRPC){note}", places.socket().display()),
    );
    report(places, arguments.json, &programs);
    match child {
        Some(child) if arguments.foreground => stay(places, child),
        _ => Ok(()),
    }
}

/// The programs to run and to name in what is printed.
struct Programs {
    tollgate: String,
    sidecar: PathBuf,
}

fn programs(data: &Path, user: Option<&User>) -> Result<Programs, Failed> {
    let own_path = std::env::current_exe()?;
    let sidecar = own_path.with_file_name("tollgate-sidecar");
    if !sidecar.exists() {
        let message = format!("{} is missing; build it with `make up`", sidecar.display());
        return Err(Failed(Exit::Usage, message));
    }
    let (own_path, sidecar) = match user {
        None => (own_path, sidecar),
        Some(_) => {
            let bin = data.join("bin");
            make_folder(&bin, 0o755)?;
            (install(&own_path, &bin)?, install(&sidecar, &bin)?)
        }
    };
    let on_path = std::env::var_os("PATH").and_then(|paths| {
        std::env::split_paths(&paths).map(|folder| folder.join("tollgate")).find(|p| p.exists())
    });
    let same =
        |found: PathBuf| std::fs::canonicalize(found).ok() == std::fs::canonicalize(&own_path).ok();
    let tollgate = match on_path.is_some_and(same) {
        true => "tollgate".to_owned(),
        false => own_path.display().to_string(),
    };
    Ok(Programs { tollgate, sidecar })
}

/// Copies a program beside its target and renames it: a running program cannot be overwritten.
fn install(program: &Path, bin: &Path) -> io::Result<PathBuf> {
    let target = bin.join(program.file_name().unwrap_or_default());
    if program == target {
        return Ok(target);
    }
    let partial = target.with_extension("partial");
    std::fs::copy(program, &partial)?;
    std::fs::rename(&partial, &target)?;
    Ok(target)
}

/// As root: the user that the sidecar runs as.
fn child_user() -> Result<Option<User>, Failed> {
    if !Uid::effective().is_root() {
        return Ok(None);
    }
    let known = ["tollgate", "nobody"].iter().find_map(|name| User::from_name(name).ok().flatten());
    let message = "neither the user `tollgate` nor `nobody` exists; add one";
    known.map(Some).ok_or_else(|| Failed(Exit::Usage, message.to_owned()))
}

fn make_folder(path: &Path, mode: u32) -> Result<(), Failed> {
    if path.is_dir() {
        return Ok(());
    }
    let made = std::fs::create_dir_all(path)
        .and_then(|()| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)));
    made.map_err(|error| Failed(Exit::Usage, format!("{}: {error}", path.display())))
}

fn own(path: &Path, user: Option<&User>) -> Result<(), Failed> {
    let Some(user) = user else { return Ok(()) };
    chown(path, Some(user.uid), Some(user.gid))
        .map_err(|error| Failed(Exit::NotPermitted, format!("{}: {error}", path.display())))
}

fn start_sidecar(
    places: &Places,
    programs: &Programs,
    policies: &Path,
    user: Option<&User>,
    foreground: bool,
) -> Result<std::process::Child, Failed> {
    let (data, run) = (places.data(), places.run());
    let log_path = data.join("sidecar.log");
    let log = std::fs::File::create(&log_path)?;
    let mut command = Command::new(&programs.sidecar);
    command
        .arg("--policies")
        .arg(policies)
        .arg("--run")
        .arg(&run)
        .arg("--data")
        .arg(data.join("sidecar"))
        .current_dir("/")
        .env_remove("TOLLGATE_RUN")
        .env_remove("TOLLGATE_DATA")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    if let Some(user) = user {
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    if foreground {
        block_signals();
    } else {
        command.process_group(0);
    }
    let mut child = command
        .spawn()
        .map_err(|error| Failed(Exit::Usage, format!("{}: {error}", programs.sidecar.display())))?;
    if let Some(known) = Child::new("sidecar", child.id()) {
        children::write(&data, &[known])?;
    }
    let began = Instant::now();
    while ops::get(&places.http_socket(), "/v1/status").is_err() {
        let ended = child.try_wait()?;
        if ended.is_some() || began.elapsed() > READY_TIMEOUT {
            let log = std::fs::read_to_string(&log_path).unwrap_or_default();
            let last = log.lines().last().unwrap_or("it said nothing").to_owned();
            let message =
                format!("the sidecar did not start: {last} (log: {})", log_path.display());
            return Err(Failed(Exit::Unreachable, message));
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
    // Another sidecar may have answered while ours was refused the socket.
    if let Some(status) = child.try_wait()? {
        let message = format!("the sidecar ended ({status}); see {}", log_path.display());
        return Err(Failed(Exit::Unreachable, message));
    }
    Ok(child)
}

fn report(places: &Places, json: bool, programs: &Programs) {
    let (data, socket) = (places.data(), places.socket());
    let policy = data.join("policies/demo/policy.csv");
    if json {
        let object = serde_json::json!({
            "tenant": "demo",
            "sidecar": {"frame": socket, "http": places.http_socket()},
            "policies": data.join("policies"),
            "log": data.join("sidecar.log"),
        });
        println!("{object}");
        return;
    }
    println!("Development mode: local only, nothing leaves this machine.\n");
    let command = |line: &str| {
        line.replace("{}", &programs.tollgate).replace("{run}", &places.run_argument())
    };
    let width = demo::TRY.iter().map(|(line, _)| command(line).len()).max().unwrap_or(0) + 3;
    println!("{:<width$}  You should see", "Try");
    for (line, expected) in demo::TRY {
        println!("  {:<width$}{expected}", command(line));
    }
    let (program, arguments) = (&programs.tollgate, places.arguments());
    println!("Edit {} and save; watch with `{program}{arguments} logs -f`.", policy.display());
    println!("Stop: {program}{arguments} down");
}

fn waited_signals() -> SigSet {
    SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGCHLD])
}

/// So that `stay` can wait for them; a started program begins with none blocked.
fn block_signals() {
    let _ = waited_signals().thread_block();
}

/// Waits for an interrupt or the end of the sidecar, then leaves nothing behind.
fn stay(places: &Places, mut child: std::process::Child) -> Result<(), Failed> {
    loop {
        let signal = waited_signals().wait();
        if let Some(status) = child.try_wait()? {
            let _ = std::fs::remove_file(children::record(&places.data()));
            return match status.success() {
                true => Ok(()),
                false => Err(Failed(Exit::Unreachable, format!("the sidecar ended: {status}"))),
            };
        }
        if matches!(signal, Ok(Signal::SIGINT | Signal::SIGTERM))
            && let Ok(pid) = i32::try_from(child.id())
        {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGTERM);
        }
    }
}
