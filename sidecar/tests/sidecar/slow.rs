//! Peers that are slow, many or gone, and peers that are not wanted.

use crate::common::*;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

const HEAD: &[u8] =
    b"POST /access/v1/evaluation HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";

fn ends_within(stream: &mut std::os::unix::net::UnixStream, most: Duration) -> String {
    let began = Instant::now();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(began.elapsed() < most, "{:?}", began.elapsed());
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn a_request_must_end_in_time_and_an_idle_connection_may_wait() {
    let sidecar = Sidecar::start(folder(), &[]);
    let most = Duration::from_secs(5);
    for (name, sent, answer) in [
        ("half a head", &HEAD[..30], "HTTP/1.1 408"),
        ("half a preface", &b"PRI * HT"[..], ""),
        ("half a frame", &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x08"[..], ""),
    ] {
        let mut stream = sidecar.http_connect();
        stream.write_all(sent).unwrap();
        let got = ends_within(&mut stream, most);
        assert!(got.contains(answer), "{name}: {got}");
    }
    // A byte now and then does not renew the deadline.
    let mut stream = sidecar.http_connect();
    let began = Instant::now();
    while stream.write_all(b"G").is_ok() {
        assert!(began.elapsed() < most);
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut stream = sidecar.http_connect();
    stream.write_all(&[HEAD, b"content-length: 50\r\n\r\n{"].concat()).unwrap();
    let got = ends_within(&mut stream, most);
    assert!(got.starts_with("HTTP/1.1 408"), "{got}");
    // Between requests a connection may wait longer than a request may take.
    let mut stream = sidecar.http_connect();
    for _ in 0..2 {
        std::thread::sleep(Duration::from_millis(250));
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        let mut buffer = [0; 1024];
        let count = stream.read(&mut buffer).unwrap();
        assert!(buffer[..count].starts_with(b"HTTP/1.1 200"));
    }
    sidecar.still_answers();
}

#[test]
fn an_idle_connection_ends_after_its_own_limit() {
    let sidecar = Sidecar::start(folder(), &[("TOLLGATE_DOOR__IDLE_TIMEOUT_MS", "200")]);
    let mut stream = sidecar.http_connect();
    assert_eq!(ends_within(&mut stream, Duration::from_secs(5)), "");
}

#[test]
fn connections_beyond_the_limit_are_told_so_and_health_still_answers() {
    let limits =
        [("TOLLGATE_DOOR__CONNECTIONS_MAX", "4"), ("TOLLGATE_DOOR__CONNECTIONS_PER_UID_MAX", "4")];
    let sidecar = Sidecar::start(folder(), &limits);
    let mut held: Vec<_> = (0..4).map(|_| sidecar.http_connect()).collect();
    for stream in &mut held {
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        assert!(stream.read(&mut [0; 256]).unwrap() > 0);
    }
    let (status, head, body) = sidecar.http("GET /v1/status", "", "");
    assert_eq!(status, 503, "{body}");
    assert!(head.contains("retry-after: 1") && body.contains("overloaded"), "{head}{body}");
    assert_eq!(sidecar.http("GET /healthz", "", "").0, 200);
    let (_, _, metrics) = sidecar.http("GET /metrics", "", "");
    let shed = r#"connections_refused_total{door="http",cause="overloaded"} "#;
    assert!(metrics.contains(shed), "{metrics}");
    // Far beyond the limit nobody is read any more, and still told why.
    let many: Vec<_> = (0..40).map(|_| sidecar.http_connect()).collect();
    let mut last = sidecar.http_connect();
    assert!(ends_within(&mut last, Duration::from_secs(5)).contains("overloaded"));
    drop((held, many));
    let began = Instant::now();
    while sidecar.http("GET /v1/status", "", "").0 != 200 {
        assert!(began.elapsed() < READY);
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn pipelined_requests_are_answered_in_order_and_shutdown_drains() {
    let mut sidecar = Sidecar::start(folder(), &[]);
    let mut stream = sidecar.http_connect();
    let one = b"GET /healthz HTTP/1.1\r\nhost: x\r\nx-request-id: a\r\n\r\n";
    let two = b"GET /nothing HTTP/1.1\r\nhost: x\r\nx-request-id: b\r\n\r\n";
    stream.write_all(&[&one[..], &two[..]].concat()).unwrap();
    let mut answer = Vec::new();
    while !answer.windows(4).any(|window| window == b"}}}\n" || window == b"\":{}") {
        let mut buffer = [0; 1024];
        let count = stream.read(&mut buffer).unwrap();
        answer.extend_from_slice(&buffer[..count]);
    }
    let text = String::from_utf8_lossy(&answer);
    assert!(text.find("x-request-id: a") < text.find("x-request-id: b"), "{text}");
    let pid = nix::unistd::Pid::from_raw(i32::try_from(sidecar.child.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    // The idle connection is closed, not cut off after the time to drain.
    assert_eq!(ends_within(&mut stream, Duration::from_secs(4)), "");
    assert!(sidecar.child.wait().unwrap().success());
    assert!(!sidecar.http_socket().exists());
}
