//! What do the doors cost beside a socket that only echoes?

use crate::report::Report;
use crate::timing::percentile;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tollgate_engine::{Entity, Request};
use tollgate_proto::frame;

const REQUEST_BYTES: usize = 128;
const ECHO_BYTES: usize = 64;
const ROUND_TRIPS: usize = 20_000;
const CONNECTIONS: usize = 16;
const IN_FLIGHT: usize = 16;
const LOAD_SECONDS: f64 = 3.0;
const ROUNDS: usize = 3;
/// The core that client and server share.
const CORE: usize = 0;

const MODEL: &str = include_str!("../../cli/demo/model.conf");
const POLICY: &str = include_str!("../../cli/demo/policy.csv");

pub(crate) fn measure(report: &mut Report) {
    let folder = std::env::temp_dir().join(format!("tollgate-bench-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("policies/demo")).expect("a folder");
    for (name, content) in [("model.conf", MODEL), ("policy.csv", POLICY)] {
        std::fs::write(folder.join("policies/demo").join(name), content).expect("a file");
    }
    let doors = [
        Door { name: "frame", socket: "tollgate.sock", request: request_frame() },
        Door { name: "http", socket: "tollgate-http.sock", request: request_http() },
    ];
    let mut echo_figures = (Vec::new(), Vec::new());
    let mut figures = doors.each_ref().map(|_| [const { Vec::new() }; 4]);
    for _ in 0..ROUNDS {
        for (door, [p50s, rates, p50_ratios, rate_ratios]) in doors.iter().zip(&mut figures) {
            let request = &request_frame();
            let echo_p50 = with_server(&echo(&folder, true), |socket| {
                pinned(|| round_trip_p50(socket, request, ECHO_BYTES))
            });
            let p50 = with_server(&sidecar(&folder, door, true), |socket| {
                let length = reply_length(socket, &door.request);
                pinned(|| round_trip_p50(socket, &door.request, length))
            });
            let echo_rate =
                with_server(&echo(&folder, false), |socket| rate(socket, request, ECHO_BYTES));
            let door_rate = with_server(&sidecar(&folder, door, false), |socket| {
                rate(socket, &door.request, reply_length(socket, &door.request))
            });
            echo_figures.0.push(echo_p50);
            echo_figures.1.push(echo_rate);
            p50s.push(p50);
            rates.push(door_rate);
            p50_ratios.push(p50 / echo_p50);
            rate_ratios.push(door_rate / echo_rate);
        }
    }
    report.put("door.echo.pinned_p50_us", percentile(&mut echo_figures.0, 0.5));
    report.put("door.echo.16x16_per_s", percentile(&mut echo_figures.1, 0.5));
    for (door, lists) in doors.iter().zip(figures) {
        let keys = ["pinned_p50_us", "16x16_per_s", "pinned_p50_over_echo", "16x16_over_echo"];
        for (key, mut list) in keys.into_iter().zip(lists) {
            report.put(format!("door.{}.{key}", door.name), percentile(&mut list, 0.5));
        }
    }
    report.note(format!("Doors: medians of {ROUNDS} rounds, echo and door in turn."));
    let _ = std::fs::remove_dir_all(folder);
}

/// A door of the sidecar and the bytes of one request to it.
struct Door {
    name: &'static str,
    socket: &'static str,
    request: Vec<u8>,
}

/// The same check as an AuthZEN evaluation, kept alive.
fn request_http() -> Vec<u8> {
    let body = r#"{"subject":{"type":"user","id":"alice"},"action":{"name":"create"},"resource":{"type":"path","id":"/v1/models/small"},"context":{"tenant":"demo"}}"#;
    let length = body.len();
    format!(
        "POST /access/v1/evaluation HTTP/1.1\r\nhost: sidecar\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// A check of the demo policy, padded to the size that the echo gets.
fn request_frame() -> Vec<u8> {
    let mut bytes = Vec::new();
    let pad = |pad: usize| {
        let kind = "u".repeat(pad);
        let mut bytes = Vec::new();
        frame::put_check(
            &mut bytes,
            1,
            &Request {
                tenant: "demo",
                subject: Entity { kind: &kind, id: "alice" },
                resource: Entity { kind: "path", id: "/v1/models/small" },
                action: "create",
                ..Request::default()
            },
        );
        bytes
    };
    bytes.extend(pad(REQUEST_BYTES - pad(0).len()));
    assert_eq!(bytes.len(), REQUEST_BYTES);
    bytes
}

struct Server {
    command: Vec<String>,
    socket: PathBuf,
    pinned: bool,
}

fn echo(folder: &Path, pinned: bool) -> Server {
    let socket = folder.join("echo.sock");
    let own = std::env::current_exe().expect("this program");
    let command = vec![own.display().to_string(), "echo".to_owned(), socket.display().to_string()];
    Server { command, socket, pinned }
}

fn sidecar(folder: &Path, door: &Door, pinned: bool) -> Server {
    let own = std::env::current_exe().expect("this program");
    let program = own.with_file_name("tollgate-sidecar").display().to_string();
    let run = folder.join("run");
    let path = |name: &str| folder.join(name).display().to_string();
    let command = vec![
        program,
        "--policies".to_owned(),
        path("policies"),
        "--run".to_owned(),
        run.display().to_string(),
        "--data".to_owned(),
        path("data"),
    ];
    Server { command, socket: run.join(door.socket), pinned }
}

/// Starts a server, waits for its socket, asks, and ends exactly that process.
fn with_server(server: &Server, ask: impl FnOnce(&Path) -> f64) -> f64 {
    let _ = std::fs::remove_file(&server.socket);
    let mut command = Command::new(&server.command[0]);
    command.args(&server.command[1..]).stdout(Stdio::null()).stderr(Stdio::null());
    if server.pinned {
        // SAFETY: only an affinity call happens between fork and exec.
        unsafe { command.pre_exec(|| pin().map_err(std::io::Error::from)) };
    }
    let mut child: Child = command.spawn().expect("the server starts; build it with make bench");
    let began = Instant::now();
    while UnixStream::connect(&server.socket).is_err() {
        assert!(began.elapsed() < Duration::from_secs(10), "{:?} is not ready", server.command);
        std::thread::sleep(Duration::from_millis(5));
    }
    let figure = ask(&server.socket);
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a process id"));
    let _ = kill(pid, Signal::SIGTERM);
    let _ = child.wait();
    figure
}

fn pin() -> nix::Result<()> {
    let mut set = CpuSet::new();
    set.set(CORE)?;
    sched_setaffinity(Pid::from_raw(0), &set)
}

/// Runs in a thread of its own, so that only it is pinned.
fn pinned(work: impl FnOnce() -> f64 + Send) -> f64 {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            pin().expect("this core may be used");
            work()
        });
        thread.join().expect("the client ran")
    })
}

/// How long one reply is.
fn reply_length(socket: &Path, request: &[u8]) -> usize {
    let mut stream = UnixStream::connect(socket).expect("the socket");
    stream.write_all(request).expect("a request");
    let mut buffer = [0; 4096];
    let length = stream.read(&mut buffer).expect("a reply");
    let is_allow = match frame::next_frame(&buffer[..length]) {
        Ok(Some(reply)) => {
            frame::read_decision(reply.body).expect("a decision").reason.name() == "allow"
        }
        _ => String::from_utf8_lossy(&buffer[..length]).contains("\"decision\":true"),
    };
    assert!(is_allow, "the demo policy allows alice");
    length
}

fn round_trip_p50(socket: &Path, request: &[u8], reply_bytes: usize) -> f64 {
    let mut stream = UnixStream::connect(socket).expect("the socket");
    let mut reply = vec![0; reply_bytes];
    let mut samples = Vec::with_capacity(ROUND_TRIPS);
    for round in 0..ROUND_TRIPS + ROUND_TRIPS / 10 {
        let start = Instant::now();
        stream.write_all(request).expect("a request");
        stream.read_exact(&mut reply).expect("a reply");
        if round >= ROUND_TRIPS / 10 {
            samples.push(start.elapsed().as_nanos() as f64 / 1_000.0);
        }
    }
    percentile(&mut samples, 0.5)
}

/// Requests a second of 16 connections with 16 requests in flight each.
fn rate(socket: &Path, request: &[u8], reply_bytes: usize) -> f64 {
    let batch: Vec<u8> = request.iter().copied().cycle().take(request.len() * IN_FLIGHT).collect();
    let began = Instant::now();
    let total: usize = std::thread::scope(|scope| {
        let client = || {
            let mut stream = UnixStream::connect(socket).expect("the socket");
            let mut replies = vec![0; reply_bytes * IN_FLIGHT];
            let mut count = 0;
            while began.elapsed().as_secs_f64() < LOAD_SECONDS {
                stream.write_all(&batch).expect("requests");
                stream.read_exact(&mut replies).expect("replies");
                count += IN_FLIGHT;
            }
            count
        };
        let threads: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(client)).collect();
        threads.into_iter().map(|thread| thread.join().expect("a client ran")).sum()
    });
    total as f64 / began.elapsed().as_secs_f64()
}

/// The raw echo: a blocking thread per connection, 64 bytes back for each 128.
pub(crate) fn echo_server(path: &str) {
    let listener = UnixListener::bind(path).expect("the socket");
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { continue };
        std::thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            let mut held = 0;
            while let Ok(got) = stream.read(&mut buffer[held..]) {
                if got == 0 {
                    return;
                }
                held += got;
                let whole = held / REQUEST_BYTES;
                if stream.write_all(&[0; 64 * 512][..whole * 64]).is_err() {
                    return;
                }
                buffer.copy_within(whole * REQUEST_BYTES..held, 0);
                held -= whole * REQUEST_BYTES;
            }
        });
    }
}
