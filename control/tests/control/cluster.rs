//! A private Postgres, and the command line beside it.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

/// The cluster of this run.
pub(crate) struct Cluster {
    pub(crate) folder: PathBuf,
    /// Its standard input is open as long as this process lives; then it ends and tidies up.
    _server: Child,
}

/// Ends what it started when its standard input ends.
const SUPERVISE: &str = r#"folder=$1; shift; "$@" </dev/null & child=$!; read -r _; kill -INT $child; wait $child; rm -rf "$folder""#;

pub(crate) fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(Cluster::start)
}

/// As root: Postgres refuses, so it runs as nobody.
fn command(program: &str) -> Command {
    if !nix::unistd::Uid::effective().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args([
        "--reuid=nobody",
        "--regid=nogroup",
        "--clear-groups",
        "env",
        "HOME=/tmp",
        program,
    ]);
    command
}

fn binary(name: &str) -> String {
    let known = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = known
        .map(|entry| entry.path().join("bin").join(name))
        .filter(|path| path.exists())
        .collect();
    found.sort();
    found.pop().map_or_else(|| name.to_owned(), |path| path.display().to_string())
}

impl Cluster {
    fn start() -> Cluster {
        let folder = std::env::temp_dir().join(format!("tgc-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o777)).unwrap();
        if nix::unistd::Uid::effective().is_root() {
            let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
            nix::unistd::chown(&folder, Some(nobody.uid), Some(nobody.gid)).unwrap();
        }
        let data = folder.join("pg");
        let made = command(&binary("initdb"))
            .args([
                "-U",
                "tollgate",
                "-A",
                "scram-sha-256",
                "--no-locale",
                "-E",
                "UTF8",
                "--no-sync",
                "-D",
            ])
            .arg(&data)
            .arg(format!("--pwfile={}", password_file(&folder).display()))
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let socket = folder.display().to_string();
        let mut server = command("sh");
        server.args(["-c", SUPERVISE, "sh", &socket, &binary("postgres"), "-D"]).arg(&data);
        server.args([
            "-k",
            &socket,
            "-c",
            "listen_addresses=",
            "-c",
            "fsync=off",
            "-c",
            "max_connections=200",
        ]);
        let log = std::fs::File::create(folder.join("log")).unwrap();
        let server =
            server.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let cluster = Cluster { folder, _server: server };
        for _ in 0..500 {
            if cluster.psql_as("tollgate", PASSWORD, "postgres", "SELECT 1").is_ok() {
                return cluster;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        panic!("Postgres did not start: {:?}", std::fs::read_to_string(cluster.folder.join("log")));
    }

    /// The address of a database for the role that may do everything.
    pub(crate) fn url(&self, database: &str) -> String {
        let host = self.folder.display().to_string().replace('/', "%2F");
        format!("postgres://tollgate:{PASSWORD}@{host}/{database}")
    }

    /// What psql prints for a statement of the superuser.
    pub(crate) fn psql(&self, database: &str, statement: &str) -> Result<String, String> {
        self.psql_as("tollgate", PASSWORD, database, statement)
    }

    pub(crate) fn psql_as(
        &self,
        role: &str,
        password: &str,
        database: &str,
        statement: &str,
    ) -> Result<String, String> {
        let output = Command::new("psql")
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h"])
            .arg(&self.folder)
            .args(["-U", role, "-d", database, "-c", statement])
            .env("PGPASSWORD", password)
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        match output.status.success() {
            true => Ok(text(&output.stdout)),
            false => Err(text(&output.stderr)),
        }
    }
}

pub(crate) const PASSWORD: &str = "test-of-the-cluster";

fn password_file(folder: &Path) -> PathBuf {
    let path = folder.join("password");
    let mut file = std::fs::File::create(&path).unwrap();
    file.write_all(PASSWORD.as_bytes()).unwrap();
    path
}
