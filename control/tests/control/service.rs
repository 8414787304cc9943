//! `tollgate-control` on its own platform database and port, and a client that speaks HTTP.

use crate::cluster::{Cluster, cluster, psql_in, url_in};
use crate::conform;
use serde_json::{Value as Json, json};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_tollgate-control");
pub(crate) const READY: Duration = Duration::from_secs(20);

/// A running service.
pub(crate) struct Control {
    pub(crate) database: String,
    /// Where its cluster is.
    pub(crate) folder: PathBuf,
    pub(crate) admin: String,
    pub(crate) port: u16,
    pub(crate) ops: u16,
    child: Child,
    variables: Vec<(String, String)>,
}

/// An answer: status, lower-case head, body.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Json {
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    pub(crate) fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or("").to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines
            .into_iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Control {
    pub(crate) fn start() -> Control {
        Control::start_with(&[])
    }

    pub(crate) fn start_with(variables: &[(&str, &str)]) -> Control {
        Control::start_on(cluster(), variables)
    }

    pub(crate) fn start_on(cluster: &Cluster, variables: &[(&str, &str)]) -> Control {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let database = format!("platform_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        cluster.psql("postgres", &format!("CREATE DATABASE {database}")).unwrap();
        let (port, ops) = (free_port(), free_port());
        let mut all = vec![
            ("TOLLGATE_DATABASE__URL".to_owned(), cluster.url(&database)),
            ("TOLLGATE_SECRETS__MASTER_KEY_FILE".to_owned(), master_key(cluster)),
            ("TOLLGATE_API__LISTEN".to_owned(), format!("127.0.0.1:{port}")),
            ("TOLLGATE_OPS__LISTEN".to_owned(), format!("127.0.0.1:{ops}")),
            ("TOLLGATE_PLATFORM__PUBLIC_URL".to_owned(), format!("http://127.0.0.1:{port}")),
            ("TOLLGATE_API__RATE_PER_MINUTE".to_owned(), "1000000".to_owned()),
        ];
        all.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let file = cluster.folder.join(format!("{database}.key"));
        let made = command(&all).args(["bootstrap", "--out"]).arg(&file).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let admin = std::fs::read_to_string(&file).unwrap().trim().to_owned();
        let child = spawn(&all, &cluster.folder, &database);
        let folder = cluster.folder.clone();
        let control = Control { database, folder, admin, port, ops, child, variables: all };
        control.wait_until_ready();
        control
    }

    fn wait_until_ready(&self) {
        let began = Instant::now();
        // By the plain listener: the other may speak TLS. It listens later than the other.
        while TcpStream::connect(("127.0.0.1", self.ops)).is_err()
            || exchange(self.ops, "GET", "/readyz", "", "").status != 200
        {
            assert!(began.elapsed() < READY, "{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again on the same database.
    pub(crate) fn again(&mut self) {
        self.child = spawn(&self.variables, &self.folder, &self.database);
        self.wait_until_ready();
    }

    /// Runs a command of the program to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> std::process::Output {
        command(&self.variables).args(arguments).output().unwrap()
    }

    /// The address of one of its databases, for the superuser.
    pub(crate) fn url(&self, database: &str) -> String {
        url_in(&self.folder, database)
    }

    /// Whether these bytes are answered by nothing that is HTTP.
    pub(crate) fn is_silent(&self, bytes: &str) -> bool {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(READY)).unwrap();
        stream.write_all(bytes.as_bytes()).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        !answer.starts_with(b"HTTP")
    }

    /// Asks and does not wait for the answer.
    pub(crate) fn hang_up(&self, key: &str, path: &str) {
        let text = format!("GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n\r\n");
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.write_all(text.as_bytes()).unwrap();
    }

    /// The same with one more variable.
    pub(crate) fn run_with(
        &self,
        name: &str,
        value: &str,
        arguments: &[&str],
    ) -> std::process::Output {
        command(&self.variables).env(name, value).args(arguments).output().unwrap()
    }

    /// A variable of the next start.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.unset(name);
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    pub(crate) fn unset(&mut self, name: &str) {
        self.variables.retain(|(known, _)| known != name);
    }

    pub(crate) fn log(&self) -> String {
        let path = self.folder.join(format!("{}.log", self.database));
        std::fs::read_to_string(path).unwrap_or_default()
    }

    /// Why calls failed, as the log says.
    pub(crate) fn causes(&self) -> String {
        let log = self.log();
        log.lines().filter(|line| line.contains("a call failed")).collect::<Vec<_>>().join("\n")
    }

    pub(crate) fn psql(&self, statement: &str) -> Result<String, String> {
        psql_in(&self.folder, &self.database, statement)
    }

    /// One request on a connection of its own; `headers` are whole lines.
    pub(crate) fn call(
        &self,
        method: &str,
        path: &str,
        headers: &str,
        body: Option<&str>,
    ) -> Answer {
        exchange(self.port, method, path, headers, body.unwrap_or(""))
    }

    /// A call with a key and a JSON body.
    pub(crate) fn ask(&self, key: &str, method: &str, path: &str, body: Option<Json>) -> Answer {
        self.ask_with(key, method, path, "", body)
    }

    pub(crate) fn ask_with(
        &self,
        key: &str,
        method: &str,
        path: &str,
        headers: &str,
        body: Option<Json>,
    ) -> Answer {
        let headers =
            format!("authorization: Bearer {key}\r\ncontent-type: application/json\r\n{headers}");
        self.call(method, path, &headers, body.map(|body| body.to_string()).as_deref())
    }

    /// A tenant that is ready.
    pub(crate) fn tenant(&self, id: &str) {
        let body = json!({"id": id, "display_name": id.to_uppercase()});
        let made = self.ask(&self.admin, "POST", "/v1/tenants", Some(body));
        assert_eq!(made.status, 202, "{}", made.text);
        let operation = made.json()["operation"]["id"].as_str().unwrap().to_owned();
        let path = format!("/v1/operations/{operation}?wait_ms=20000");
        let ended = self.ask(&self.admin, "GET", &path, None);
        assert_eq!(ended.json()["state"], "succeeded", "{}", ended.text);
    }

    /// A key of a tenant, made by the platform's administrator.
    pub(crate) fn key(&self, tenant: &str, roles: &[&str], scopes: &[&str]) -> String {
        let body = json!({"name": "test", "roles": roles, "scopes": scopes});
        let made =
            self.ask(&self.admin, "POST", &format!("/v1/tenants/{tenant}/api-keys"), Some(body));
        assert_eq!(made.status, 201, "{}", made.text);
        made.json()["secret"].as_str().unwrap().to_owned()
    }

    /// The name of a tenant's database and its role.
    pub(crate) fn placement(&self, tenant: &str) -> (String, String) {
        let statement =
            format!("SELECT database_name, role_name FROM placements WHERE tenant_id = '{tenant}'");
        let row = self.psql(&statement).unwrap();
        let (database, role) = row.split_once('|').unwrap();
        (database.to_owned(), role.to_owned())
    }
}

fn command(variables: &[(String, String)]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.env_clear().envs(variables.iter().cloned()).stdin(Stdio::null());
    command.envs(std::env::var_os("TOLLGATE_PLANTED").map(|bug| ("TOLLGATE_PLANTED", bug)));
    command
}

fn spawn(variables: &[(String, String)], folder: &Path, database: &str) -> Child {
    let path = folder.join(format!("{database}.log"));
    let log = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
    command(variables).arg("serve").stdout(Stdio::null()).stderr(log).spawn().unwrap()
}

/// One master key for the cluster: the platform's role has one password.
fn master_key(cluster: &Cluster) -> String {
    static KEY: Mutex<()> = Mutex::new(());
    let path = cluster.folder.join("master.key");
    let _one_at_a_time = KEY.lock().unwrap();
    if !path.exists() {
        let random = ["-c", "head -c 32 /dev/urandom | base64"];
        let made = Command::new("sh").args(random).output().unwrap();
        std::fs::write(&path, made.stdout).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    path.display().to_string()
}

/// A port that nobody listens on, below those that outgoing connections are given.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let first = usize::try_from(std::process::id()).unwrap() * 31;
    let port = |_| {
        let at = (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 20_000;
        u16::try_from(10_000 + at).unwrap()
    };
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    (0..1_000).map(port).find(is_free).unwrap()
}

pub(crate) fn exchange(port: u16, method: &str, path: &str, headers: &str, body: &str) -> Answer {
    let answer = send(port, method, path, headers, body);
    conform::check(method, path, &answer);
    answer
}

/// A text as a value of a query.
pub(crate) fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Asks whoever listens on a port.
pub(crate) fn send(port: u16, method: &str, path: &str, headers: &str, body: &str) -> Answer {
    let length = body.len();
    let text = format!(
        "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n{body}"
    );
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(READY)).unwrap();
    stream.write_all(text.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, text) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer}"));
    let status = head.get(9..12).and_then(|status| status.parse().ok()).unwrap();
    Answer { status, head: head.to_owned(), text: text.to_owned() }
}
