//! How long after `kill -9` does a sidecar with a million counters answer again: with its region, and from its snapshot?

use crate::door::server::{Folder, Server};
use crate::report::Report;
use crate::timing::percentile;
use nix::sys::signal::Signal;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};
use tollgate_engine::{Attribute, Entity, Part, Request, Value};
use tollgate_proto::frame;

const COUNTERS: u64 = 1_000_000;
const CONFIGURATION: &str = "[cells]\ncount = 2_097_152\n[decision_log]\nallow_percent = 0\n";
const LIMITS: &str = "[[limit]]\nid = \"calls\"\nmeter = \"requests\"\n\
    budget = { amount = 5, window = \"3650d\" }\ndimensions = [\"subject.session\"]\n";
const ROUNDS: usize = 3;
/// Requests that are sent before their answers are read.
const PIPELINED: u64 = 500;
/// By then the snapshot has them all.
const WRITTEN: Duration = Duration::from_secs(8);

pub(crate) fn measure(report: &mut Report) {
    let folder = Folder::new();
    folder.put("policies/demo/limits.toml", LIMITS);
    let server = folder.configured("restart", CONFIGURATION, "tollgate.sock");
    let region = folder.path("restart/run/cells.region");
    server.with(|socket| {
        let mut stream = UnixStream::connect(socket).expect("the socket");
        for first in 0..COUNTERS / PIPELINED {
            ask(&mut stream, first * PIPELINED..(first + 1) * PIPELINED);
        }
    });
    for (what, is_kept) in [("kept", true), ("lost", false)] {
        let mut samples = Vec::new();
        for _ in 0..ROUNDS {
            if !is_kept {
                std::fs::remove_file(&region).expect("a region");
            }
            samples.push(answered_after_ms(&server));
        }
        let figure = percentile(&mut samples, 0.5);
        report.put(format!("restart.{COUNTERS}.{what}_ms"), figure);
    }
    report.note(
        "Restart: from the start of a process to its first answer, a million counters in the region or, where it is lost, in the snapshot; \
         medians of three. It was killed before.",
    );
}

/// From the start of the process to its first answer; then it is killed.
fn answered_after_ms(server: &Server) -> f64 {
    let began = Instant::now();
    server.ended_by(Signal::SIGKILL, |socket| {
        let mut stream = UnixStream::connect(socket).expect("the socket");
        ask(&mut stream, 0..1);
        let answered = began.elapsed();
        std::thread::sleep(WRITTEN);
        answered.as_secs_f64() * 1e3
    })
}

/// Asks once for each of these sessions.
fn ask(stream: &mut UnixStream, sessions: std::ops::Range<u64>) {
    let count = sessions.end - sessions.start;
    let mut out = Vec::new();
    for session in sessions {
        let session = session.to_string();
        let attributes =
            [Attribute { part: Part::Subject, path: "session", value: Value::Str(&session) }];
        let request = Request {
            tenant: "demo",
            subject: Entity { kind: "user", id: "alice" },
            resource: Entity { kind: "path", id: "/v1/models/small" },
            action: "create",
            attributes: &attributes,
            ..Request::default()
        };
        frame::put_check(&mut out, 1, &request);
    }
    stream.write_all(&out).expect("requests");
    let (mut held, mut answered) = (Vec::new(), 0);
    while answered < count {
        let mut buffer = [0; 64 * 1024];
        let got = stream.read(&mut buffer).expect("replies");
        assert!(got > 0, "the sidecar answers");
        held.extend(&buffer[..got]);
        let mut read = 0;
        while let Ok(Some(reply)) = frame::next_frame(&held[read..]) {
            frame::read_decision(reply.body).expect("a decision");
            read += reply.taken;
            answered += 1;
        }
        held.drain(..read);
    }
}
