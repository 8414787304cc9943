//! `tollgate run -- CMD`: a sidecar around somebody's own tests, gone when they end.

use crate::exit::{Exit, fail};
use crate::ops;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

const READY_TIMEOUT: Duration = Duration::from_secs(30);
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// A policy folder, or a folder of them
    #[arg(long, value_name = "DIR", default_value = "policies")]
    policies: PathBuf,
    /// The command; it finds the sidecar by TOLLGATE_RUN, TOLLGATE_SOCKET and TOLLGATE_HTTP_SOCKET
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<String>,
}

/// A sidecar in a folder of its own; both go with it.
struct Own {
    folder: PathBuf,
    child: Child,
}

impl Drop for Own {
    fn drop(&mut self) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            let pid = nix::unistd::Pid::from_raw(pid);
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        }
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let own = match start(&arguments.policies) {
        Ok(own) => own,
        Err((exit, message)) => return fail(exit, message).into(),
    };
    let run = own.folder.join("run");
    let Some((program, rest)) = arguments.command.split_first() else {
        return fail(Exit::Usage, "expected a command behind --").into();
    };
    let ended = Command::new(program)
        .args(rest)
        .env("TOLLGATE_RUN", &run)
        .env("TOLLGATE_SOCKET", run.join("tollgate.sock"))
        .env("TOLLGATE_HTTP_SOCKET", run.join("tollgate-http.sock"))
        .status();
    match ended {
        // A command that a signal ended has no code of its own.
        Ok(status) => ExitCode::from(status.code().and_then(|c| u8::try_from(c).ok()).unwrap_or(1)),
        Err(error) => fail(Exit::Usage, format!("{program}: {error}")).into(),
    }
}

fn start(policies: &Path) -> Result<Own, (Exit, String)> {
    let usage = |error: std::io::Error| (Exit::Usage, error.to_string());
    let shown = policies.display();
    let policies = std::fs::canonicalize(policies)
        .map_err(|error| (Exit::Usage, format!("{shown}: {error}; name it with --policies")))?;
    let folder = std::env::temp_dir().join(format!("tollgate-run-{}", std::process::id()));
    std::fs::create_dir_all(&folder).map_err(usage)?;
    let sidecar = std::env::current_exe().map_err(usage)?.with_file_name("tollgate-sidecar");
    let log_path = folder.join("log");
    let log = std::fs::File::create(&log_path).map_err(usage)?;
    let child = Command::new(&sidecar)
        .arg("--policies")
        .arg(&policies)
        .arg("--run")
        .arg(folder.join("run"))
        .arg("--data")
        .arg(folder.join("data"))
        .env_remove("TOLLGATE_RUN")
        .env_remove("TOLLGATE_DATA")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .map_err(|error| (Exit::Usage, format!("{}: {error}", sidecar.display())))?;
    let mut own = Own { folder, child };
    let socket = own.folder.join("run/tollgate-http.sock");
    let began = Instant::now();
    loop {
        let said = || {
            let log = std::fs::read_to_string(&log_path).unwrap_or_default();
            let mut lines = log.lines().filter(|line| line.contains("\"ERROR\""));
            lines.next().unwrap_or("it said nothing").to_owned()
        };
        match ops::get(&socket, "/readyz") {
            Ok((200, _)) => return Ok(own),
            Ok((_, body)) => {
                let message = format!("{shown} does not load: {}: {}", body["missing"], said());
                return Err((Exit::DoesNotLoad, message));
            }
            Err(_) => {}
        }
        let ended = own.child.try_wait().map_err(usage)?;
        if ended.is_some() || began.elapsed() > READY_TIMEOUT {
            return Err((Exit::Unreachable, format!("the sidecar did not start: {}", said())));
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
}
