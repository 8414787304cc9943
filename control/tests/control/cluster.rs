//! A private Postgres, and the command line beside it.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock};

/// A cluster of this run.
pub(crate) struct Cluster {
    pub(crate) folder: PathBuf,
    /// Its standard input is open as long as this process lives; then it ends and tidies up.
    server: Mutex<Child>,
    is_durable: bool,
}

pub(crate) const PASSWORD: &str = "test-of-the-cluster";
/// Ends what it started when its standard input ends.
const SUPERVISE: &str = r#"folder=$1; shift; "$@" </dev/null & child=$!; read -r _; kill -INT $child; wait $child; rm -rf "$folder""#;

/// The cluster that most tests share.
pub(crate) fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| Cluster::start("shared"))
}

/// As root: Postgres refuses, so it runs as nobody.
pub(crate) fn command(program: &str) -> Command {
    if !nix::unistd::Uid::effective().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    let nobody = ["--reuid=nobody", "--regid=nogroup", "--clear-groups", "env", "HOME=/tmp"];
    command.args(nobody).arg(program);
    command
}

fn binary(name: &str) -> String {
    let known = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let paths = known.map(|entry| entry.path().join("bin").join(name));
    let mut found: Vec<PathBuf> = paths.filter(|path| path.exists()).collect();
    found.sort();
    found.pop().map_or_else(|| name.to_owned(), |path| path.display().to_string())
}

/// The server of a cluster's folder, supervised.
fn server(folder: &Path, is_durable: bool) -> Child {
    let socket = folder.display().to_string();
    let mut server = command("sh");
    server.args(["-c", SUPERVISE, "sh", &socket, &binary("postgres"), "-D"]).arg(folder.join("pg"));
    server.args(["-k", &socket, "-c", "listen_addresses=", "-c"]);
    server.arg(if is_durable { "fsync=on" } else { "fsync=off" });
    server.args(["-c", "max_connections=300"]);
    let log = std::fs::OpenOptions::new().create(true).append(true).open(folder.join("log"));
    server.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log.unwrap()).spawn().unwrap()
}

impl Cluster {
    pub(crate) fn start(name: &str) -> Cluster {
        Cluster::start_with(name, false)
    }

    /// One that syncs, as in earnest.
    pub(crate) fn start_durable(name: &str) -> Cluster {
        Cluster::start_with(name, true)
    }

    fn start_with(name: &str, is_durable: bool) -> Cluster {
        let folder = std::env::temp_dir().join(format!("tgc-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o777)).unwrap();
        if nix::unistd::Uid::effective().is_root() {
            let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
            nix::unistd::chown(&folder, Some(nobody.uid), Some(nobody.gid)).unwrap();
        }
        let made = command(&binary("initdb"))
            .args(["-U", "tollgate", "-A", "scram-sha-256", "-E", "UTF8"])
            .args(["--no-locale", "--no-sync", "-D"])
            .arg(folder.join("pg"))
            .arg(format!("--pwfile={}", password_file(&folder).display()))
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let cluster =
            Cluster { server: Mutex::new(server(&folder, is_durable)), folder, is_durable };
        cluster.wait();
        cluster
    }

    /// Stops it at once, as a crash would, and starts it again.
    pub(crate) fn restart(&self) {
        let file = std::fs::read_to_string(self.folder.join("pg/postmaster.pid")).unwrap();
        let pid = nix::unistd::Pid::from_raw(file.lines().next().unwrap().parse().unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGQUIT).unwrap();
        while self.folder.join("pg/postmaster.pid").exists() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let mut supervised = self.server.lock().unwrap();
        // The supervisor of the dead one would tidy up: it ends without that.
        supervised.kill().unwrap();
        supervised.wait().unwrap();
        *supervised = server(&self.folder, self.is_durable);
        drop(supervised);
        self.wait();
    }

    fn wait(&self) {
        for _ in 0..500 {
            if self.psql("postgres", "SELECT 1").is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        panic!("Postgres did not start: {:?}", std::fs::read_to_string(self.folder.join("log")));
    }

    /// The address of a database for the role that may do everything.
    pub(crate) fn url(&self, database: &str) -> String {
        url_in(&self.folder, database)
    }

    /// What the server has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap()
    }

    /// What psql prints for a statement of the superuser.
    pub(crate) fn psql(&self, database: &str, statement: &str) -> Result<String, String> {
        psql_in(&self.folder, database, statement)
    }
}

/// The address of a database of the cluster in a folder.
pub(crate) fn url_in(folder: &Path, database: &str) -> String {
    let host = folder.display().to_string().replace('/', "%2F");
    format!("postgres://tollgate:{PASSWORD}@{host}/{database}")
}

/// What psql prints for a statement of the superuser of the cluster in a folder.
pub(crate) fn psql_in(folder: &Path, database: &str, statement: &str) -> Result<String, String> {
    let output = Command::new("psql")
        .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h"])
        .arg(folder)
        .args(["-U", "tollgate", "-d", database, "-c", statement])
        .env("PGPASSWORD", PASSWORD)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(text(&output.stderr)),
    }
}

fn password_file(folder: &Path) -> PathBuf {
    let path = folder.join("password");
    let mut file = std::fs::File::create(&path).unwrap();
    file.write_all(PASSWORD.as_bytes()).unwrap();
    path
}
