//! Postgres' own programs: `pg_dump` and `pg_restore`. A password goes into their environment, never on their command line.

use crate::database::Addresses;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tokio_postgres::config::Host;

/// Where distributions put them, a folder per version.
const INSTALLED: &str = "/usr/lib/postgresql";
/// Lines of a program's own words that an error repeats.
const SAID_LINES_MAX: usize = 5;

/// Where Postgres' programs are.
#[derive(Debug, Clone)]
pub struct Tools(Option<PathBuf>);

impl Tools {
    /// In this folder, or else where they are found: in `PATH`, then as distributions install them, the newest first.
    pub fn new(bin: Option<PathBuf>) -> Tools {
        Tools(bin.or_else(found))
    }

    fn command(&self, name: &str) -> Command {
        let program = self.0.as_ref().map_or_else(|| PathBuf::from(name), |bin| bin.join(name));
        Command::new(program)
    }

    /// Dumps a database into a file.
    ///
    /// # Errors
    /// A sentence with what `pg_dump` said.
    pub fn dump(&self, addresses: &Addresses, database: &str, out: &Path) -> Result<(), String> {
        let mut command = self.command("pg_dump");
        command.args(["--format=custom", "--no-password", "--file"]).arg(out);
        connected(&mut command, addresses, database);
        run(command)
    }

    /// Restores a dump into an empty database, whole or not at all.
    ///
    /// # Errors
    /// A sentence with what `pg_restore` said.
    pub fn restore(
        &self,
        addresses: &Addresses,
        database: &str,
        from: &Path,
    ) -> Result<(), String> {
        let mut command = self.command("pg_restore");
        command.args(["--exit-on-error", "--single-transaction", "--no-password"]);
        command.args(["--no-comments", "--dbname", database]).arg(from);
        connected(&mut command, addresses, database);
        run(command)
    }

    /// Reads a dump's table of contents: a file that is no dump is found before anything is done.
    ///
    /// # Errors
    /// A sentence with what `pg_restore` said.
    pub fn list(&self, file: &Path) -> Result<(), String> {
        let mut command = self.command("pg_restore");
        command.arg("--list").arg(file);
        run(command)
    }
}

fn found() -> Option<PathBuf> {
    let in_path = std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|folder| folder.join("pg_restore").is_file())
    });
    if in_path {
        return None;
    }
    let version = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
    let folders = std::fs::read_dir(INSTALLED).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    Some(folders.max_by_key(version)?.join("bin"))
}

/// As the role that provisions.
fn connected(command: &mut Command, addresses: &Addresses, database: &str) {
    let direct = addresses.direct();
    let host = direct.get_hosts().first().map(|host| match host {
        Host::Tcp(name) => name.clone(),
        Host::Unix(path) => path.display().to_string(),
    });
    let password = direct.get_password().map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let port = direct.get_ports().first().map(u16::to_string);
    let user = direct.get_user().map(str::to_owned);
    command.env("PGDATABASE", database).env("PGAPPNAME", "tollgate-control backup");
    for (name, value) in
        [("PGHOST", host), ("PGPORT", port), ("PGUSER", user), ("PGPASSWORD", password)]
    {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
}

fn run(mut command: Command) -> Result<(), String> {
    let shown = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let failed = |error: std::io::Error| {
        format!("{shown}: {error}; it comes with Postgres' client programs (--bin DIR)")
    };
    let ended = command.stderr(Stdio::piped()).spawn().map_err(failed)?;
    let ended = ended.wait_with_output().map_err(failed)?;
    if ended.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    let lines: Vec<&str> = said.lines().take(SAID_LINES_MAX).collect();
    Err(format!("{shown} ended with {}: {}", ended.status, lines.join(" | ")))
}
