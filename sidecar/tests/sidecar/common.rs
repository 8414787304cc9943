//! A sidecar on its own folder, ended by its process id, and a client of its frame door.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tollgate_engine::{Entity, Reason, Request};
use tollgate_proto::frame::{self, Reply, kind};

pub(crate) const MODEL: &str = "[request_definition]\nr = sub, obj, act\n[policy_definition]\n\
    p = sub, obj, act\n[policy_effect]\ne = some(where (p.eft == allow))\n[matchers]\n\
    m = r.sub == p.sub && keyMatch2(r.obj, p.obj) && r.act == p.act\n";
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_tollgate-sidecar");
pub(crate) const READY: Duration = Duration::from_secs(10);

/// A sidecar on its own folder.
pub(crate) struct Sidecar {
    pub(crate) folder: PathBuf,
    pub(crate) child: Child,
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if self.folder.as_os_str().is_empty() {
            return;
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

pub(crate) fn folder() -> PathBuf {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("tg-{}-{next}", std::process::id()));
    std::fs::create_dir_all(folder.join("policies/acme")).unwrap();
    write(&folder, "acme/model.conf", MODEL);
    write(&folder, "acme/policy.csv", "p, alice, /v1/:x, read\n");
    folder
}

pub(crate) fn write(folder: &Path, name: &str, content: &str) {
    let path = folder.join("policies").join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

pub(crate) fn command(folder: &Path) -> Command {
    let mut command = Command::new(PROGRAM);
    command
        .arg("--policies")
        .arg(folder.join("policies"))
        .arg("--run")
        .arg(folder.join("run"))
        .arg("--data")
        .arg(folder.join("data"))
        .stdin(Stdio::null());
    command
}

impl Sidecar {
    /// Stands for one that was ended.
    pub(crate) fn none() -> Sidecar {
        let child = Command::new("true").spawn().unwrap();
        Sidecar { child, folder: PathBuf::new() }
    }

    pub(crate) fn start(folder: PathBuf, variables: &[(&str, &str)]) -> Sidecar {
        let log = std::fs::File::create(folder.join("log")).unwrap();
        let mut command = command(&folder);
        command.stderr(log).envs(variables.iter().copied());
        let sidecar = Sidecar { child: command.spawn().unwrap(), folder };
        let began = Instant::now();
        // Both doors: the second socket is bound a moment after the first.
        let is_open = |socket: PathBuf| UnixStream::connect(socket).is_ok();
        while !is_open(sidecar.socket()) || !is_open(sidecar.http_socket()) {
            assert!(began.elapsed() < READY, "{}", sidecar.log());
            std::thread::sleep(Duration::from_millis(5));
        }
        sidecar
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.join("run/tollgate.sock")
    }

    pub(crate) fn http_socket(&self) -> PathBuf {
        self.folder.join("run/tollgate-http.sock")
    }

    /// Sends bytes to the HTTP door and reads until it closes.
    pub(crate) fn http_raw(&self, bytes: &[u8]) -> String {
        let mut stream = self.http_connect();
        stream.write_all(bytes).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    pub(crate) fn http_connect(&self) -> UnixStream {
        let stream = UnixStream::connect(self.http_socket()).unwrap();
        stream.set_read_timeout(Some(READY)).unwrap();
        stream
    }

    /// One request on a connection of its own: status, head and body.
    pub(crate) fn http(&self, line: &str, headers: &str, body: &str) -> (u16, String, String) {
        let length = body.len();
        let text = format!(
            "{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n{body}"
        );
        let answer = self.http_raw(text.as_bytes());
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer}"));
        let status = head[9..12].parse().unwrap();
        (status, head.to_lowercase(), body.to_owned())
    }

    /// An evaluation: status and body.
    pub(crate) fn evaluate(&self, path: &str, body: &str) -> (u16, serde_json::Value) {
        let json = "content-type: application/json\r\n";
        let (status, _, body) = self.http(&format!("POST {path}"), json, body);
        (status, serde_json::from_str(&body).unwrap_or_default())
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    pub(crate) fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(self.socket()).unwrap();
        stream.set_read_timeout(Some(READY)).unwrap();
        stream
    }

    pub(crate) fn ask(&self, tenant: &str, subject: &str) -> Reason {
        check(&mut self.connect(), tenant, subject, "/v1/x").reason
    }

    /// Waits until an answer is what it should become.
    pub(crate) fn until(&self, tenant: &str, subject: &str, expected: Reason) -> Duration {
        let began = Instant::now();
        while self.ask(tenant, subject) != expected {
            assert!(began.elapsed() < READY, "never {expected:?}: {}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
        began.elapsed()
    }

    pub(crate) fn still_answers(&self) {
        assert_eq!(self.ask("acme", "alice"), Reason::Allow, "{}", self.log());
    }
}

pub(crate) fn request<'a>(tenant: &'a str, subject: &'a str, resource: &'a str) -> Request<'a> {
    Request {
        tenant,
        subject: Entity { kind: "", id: subject },
        resource: Entity { kind: "", id: resource },
        action: "read",
        ..Request::default()
    }
}

pub(crate) fn check(stream: &mut UnixStream, tenant: &str, subject: &str, resource: &str) -> Reply {
    let mut out = Vec::new();
    frame::put_check(&mut out, 5, &request(tenant, subject, resource));
    stream.write_all(&out).unwrap();
    let (kind, id, body) = read_frame(stream).unwrap();
    assert_eq!((kind, id), (kind::DECISION, 5));
    frame::read_decision(&body).unwrap()
}

/// One frame, or `None` at the end of the stream.
pub(crate) fn read_frame(stream: &mut UnixStream) -> Option<(u8, u32, Vec<u8>)> {
    let mut received = Vec::new();
    loop {
        if let Some(frame) = frame::next_frame(&received).unwrap() {
            return Some((frame.kind, frame.id, frame.body.to_vec()));
        }
        let mut byte = [0];
        match stream.read(&mut byte) {
            Ok(1) => received.push(byte[0]),
            _ => return None,
        }
    }
}

pub(crate) fn error_of(stream: &mut UnixStream) -> (u16, String) {
    let (kind, _, body) = read_frame(stream).expect("an error frame");
    assert_eq!(kind, kind::ERROR);
    let (number, name, message) = frame::read_error(&body).unwrap();
    assert!(!message.is_empty());
    (number, name)
}

pub(crate) fn output(mut command: Command) -> Output {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap()
}
