//! What do the doors cost beside a socket that only echoes?

mod client;
mod log;
pub(crate) mod server;
mod slow;

use crate::report::Report;
use crate::timing::percentile;
use client::{Bytes, Client, Grpc};
pub(crate) use server::echo;
use server::{ECHO_BYTES, Folder, REQUEST_BYTES, Server, pinned};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Instant;
use tollgate_engine::{Entity, Request};
use tollgate_proto::frame;

const FRAME_SOCKET: &str = "tollgate.sock";
const HTTP_SOCKET: &str = "tollgate-http.sock";
const ROUND_TRIPS: usize = 20_000;
const CONNECTIONS: usize = 16;
const IN_FLIGHT: usize = 16;
const LOAD_SECONDS: f64 = 3.0;
const ROUNDS: usize = 3;

/// Opens a client of a door.
type Connect = fn(&Path) -> Box<dyn Client>;

const DOORS: [(&str, &str, Connect); 3] = [
    ("frame", FRAME_SOCKET, |socket| {
        let request = request_frame();
        Box::new(Bytes::connect(socket, &request, reply_bytes(socket, &request)))
    }),
    ("http", HTTP_SOCKET, |socket| {
        let request = request_http();
        Box::new(Bytes::connect(socket, &request, reply_bytes(socket, &request)))
    }),
    ("grpc", HTTP_SOCKET, |socket| Box::new(Grpc::connect(socket))),
];

pub(crate) fn measure(report: &mut Report) {
    let folder = Folder::new();
    let echo: Connect = |socket| Box::new(Bytes::connect(socket, &[0; REQUEST_BYTES], ECHO_BYTES));
    let mut echo_figures = (Vec::new(), Vec::new());
    let mut figures = DOORS.map(|_| [const { Vec::new() }; 4]);
    for _ in 0..ROUNDS {
        for ((_, socket, door), [p50s, rates, p50_ratios, rate_ratios]) in
            DOORS.iter().zip(&mut figures)
        {
            let echo_p50 = round_trip_p50(&folder.echo(true), echo);
            let p50 = round_trip_p50(&folder.sidecar(socket, true), *door);
            let echo_rate = rate(&folder.echo(false), echo);
            let door_rate = rate(&folder.sidecar(socket, false), *door);
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
    for ((name, ..), lists) in DOORS.iter().zip(figures) {
        let keys = ["pinned_p50_us", "16x16_per_s", "pinned_p50_over_echo", "16x16_over_echo"];
        for (key, mut list) in keys.into_iter().zip(lists) {
            report.put(format!("door.{name}.{key}"), percentile(&mut list, 0.5));
        }
    }
    report.note(format!("Doors: medians of {ROUNDS} rounds, echo and door in turn."));
    log::measure(report, &folder);
    slow::measure(report, &folder);
}

/// What the decision log costs.
pub(crate) fn log_alone(report: &mut Report) {
    log::measure(report, &Folder::new());
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
    let bytes = pad(REQUEST_BYTES - pad(0).len());
    assert_eq!(bytes.len(), REQUEST_BYTES);
    bytes
}

/// How long the reply to a request is; it allows.
fn reply_bytes(socket: &Path, request: &[u8]) -> usize {
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

/// Median of a round trip, client and server on one core.
fn round_trip_p50(server: &Server, connect: Connect) -> f64 {
    let ask = |socket: &Path| {
        pinned(|| {
            let mut client = connect(socket);
            let mut samples = Vec::with_capacity(ROUND_TRIPS);
            for round in 0..ROUND_TRIPS + ROUND_TRIPS / 10 {
                let start = Instant::now();
                client.ask(1);
                if round >= ROUND_TRIPS / 10 {
                    samples.push(start.elapsed().as_nanos() as f64 / 1_000.0);
                }
            }
            percentile(&mut samples, 0.5)
        })
    };
    server.with(ask)
}

/// Requests a second of 16 connections with 16 requests in flight each.
fn rate(server: &Server, connect: Connect) -> f64 {
    server.with(|socket| {
        let began = Instant::now();
        let client = || {
            let (mut client, mut count) = (connect(socket), 0);
            while began.elapsed().as_secs_f64() < LOAD_SECONDS {
                client.ask(IN_FLIGHT);
                count += IN_FLIGHT;
            }
            count
        };
        let total: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(client)).collect();
            threads.into_iter().map(|thread| thread.join().expect("a client ran")).sum()
        });
        total as f64 / began.elapsed().as_secs_f64()
    })
}
