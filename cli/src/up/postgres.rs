//! A private Postgres by the machine's binaries: a Unix socket only, SCRAM, random passwords.

use super::ground::Ground;
use super::{Failed, LOOK_INTERVAL, READY_TIMEOUT};
use crate::exit::Exit;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

pub(crate) const SUPERUSER: &str = "tollgate";
/// May make roles and databases, and is no superuser: what the control plane provisions as.
pub(crate) const PROVISIONER: &str = "tollgate_provisioner";
pub(crate) const DATABASE: &str = "tollgate";
/// Where distributions put the binaries, one folder per version.
const PACKAGED: &str = "/usr/lib/postgresql";
const CONNECTIONS_MAX: &str = "max_connections=150";

/// Starts it, made before if there is none; whether it was made now.
pub(crate) fn start(ground: &Ground) -> Result<bool, Failed> {
    let binaries = binaries().ok_or_else(|| {
        let message =
            "Postgres is missing: install `postgresql` (its binaries are enough) and try again";
        Failed(Exit::Usage, message.to_owned())
    })?;
    let data = ground.postgres();
    let is_new = !data.join("PG_VERSION").exists();
    match is_new {
        true => make(ground, &binaries)?,
        false => check_version(&binaries, &data)?,
    }
    if ground.is_running("postgres") {
        return Ok(is_new);
    }
    let run = ground.places.run();
    let mut command = ground.command(&binaries.join("postgres"));
    command.arg("-D").arg(&data).arg("-k").arg(&run);
    // What a tenant that is erased wrote must not come back as a segment of the log that is used again.
    let settings =
        ["listen_addresses=", "unix_socket_permissions=0770", "wal_recycle=off", CONNECTIONS_MAX];
    for setting in settings {
        command.args(["-c", setting]);
    }
    let mut child = ground.spawn("postgres", command)?;
    let socket = run.join(".s.PGSQL.5432");
    let began = Instant::now();
    while !is_ready(&data, &socket) {
        let ended = child.try_wait()?;
        if ended.is_some() || began.elapsed() > READY_TIMEOUT {
            let message = format!("Postgres did not start: {}", ground.last_word("postgres"));
            return Err(Failed(Exit::Unreachable, message));
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
    Ok(is_new)
}

/// The last line of its own file of processes says `ready` when it takes connections.
fn is_ready(data: &Path, socket: &Path) -> bool {
    let status = std::fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
    status.lines().last().is_some_and(|line| line.trim() == "ready") && socket.exists()
}

/// The newest version that has all of it.
fn binaries() -> Option<PathBuf> {
    let versions = std::fs::read_dir(PACKAGED).into_iter().flatten().flatten();
    let mut packaged: Vec<PathBuf> = versions.map(|entry| entry.path().join("bin")).collect();
    packaged.sort();
    let on_path = std::env::var_os("PATH");
    let on_path = on_path.map(|paths| std::env::split_paths(&paths).collect::<Vec<_>>());
    let folders = packaged.into_iter().rev().chain(on_path.unwrap_or_default());
    let has_all =
        |folder: &PathBuf| ["postgres", "initdb"].iter().all(|name| folder.join(name).exists());
    folders.into_iter().find(has_all)
}

/// Another major version cannot read the data.
fn check_version(binaries: &Path, data: &Path) -> Result<(), Failed> {
    let has = std::fs::read_to_string(data.join("PG_VERSION"))?;
    let said = Command::new(binaries.join("postgres")).arg("--version").output()?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let is = said.split_whitespace().last().and_then(|version| version.split('.').next());
    match is == Some(has.trim()) {
        true => Ok(()),
        false => Err(Failed(
            Exit::DoesNotLoad,
            format!(
                "{} was made by Postgres {}, this is {}; install that version, or move the folder away to begin anew",
                data.display(),
                has.trim(),
                said.trim()
            ),
        )),
    }
}

/// Made under another name and renamed when it is whole.
fn make(ground: &Ground, binaries: &Path) -> Result<(), Failed> {
    let partial = ground.places.data().join("postgres.partial");
    let _ = std::fs::remove_dir_all(&partial);
    std::fs::create_dir_all(&partial)?;
    ground.own(&partial)?;
    ground.secret("postgres.password", hex)?;
    let password = ground.keys().join("postgres.password");
    let mut command = ground.command(&binaries.join("initdb"));
    command.args([
        "-U",
        SUPERUSER,
        "-A",
        "scram-sha-256",
        "-E",
        "UTF8",
        "--no-locale",
        "--no-sync",
    ]);
    command.arg("--pwfile").arg(&password).arg("-D").arg(&partial);
    succeed("initdb", &mut command, "")?;
    let provisioner = ground.secret("provisioner.password", hex)?;
    // A server of one user reads a statement a line; nothing listens yet. What is granted here on a function holds in
    // the databases that are made behind it.
    let statements = format!(
        "CREATE ROLE {PROVISIONER} LOGIN CREATEDB CREATEROLE PASSWORD '{provisioner}'\n\
         GRANT EXECUTE ON FUNCTION pg_switch_wal() TO {PROVISIONER}\n\
         DO $$ BEGIN IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'pg_checkpoint') THEN \
         GRANT pg_checkpoint TO {PROVISIONER}; END IF; END $$\n\
         CREATE DATABASE {DATABASE} OWNER {PROVISIONER}\n\
         REVOKE CONNECT, TEMPORARY ON DATABASE postgres FROM PUBLIC\n\
         REVOKE CONNECT, TEMPORARY ON DATABASE template1 FROM PUBLIC\n\
         GRANT CONNECT ON DATABASE postgres TO {PROVISIONER}\n"
    );
    let mut command = ground.command(&binaries.join("postgres"));
    command.args(["--single", "-D"]).arg(&partial).arg("template1");
    let said = succeed("postgres --single", &mut command, &statements)?;
    if let Some(error) =
        said.lines().find(|line| line.contains("ERROR:") || line.contains("FATAL:"))
    {
        return Err(Failed(Exit::Usage, format!("postgres --single: {error}")));
    }
    Ok(std::fs::rename(&partial, ground.postgres())?)
}

/// Runs a program to its end; what it said on stderr.
fn succeed(name: &str, command: &mut Command, input: &str) -> Result<String, Failed> {
    let said = |error: std::io::Error| Failed(Exit::Usage, format!("{name}: {error}"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(said)?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).map_err(said)?;
    }
    let output = child.wait_with_output().map_err(said)?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    match output.status.success() {
        true => Ok(text),
        false => Err(Failed(Exit::Usage, format!("{name}: {}", text.trim()))),
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
