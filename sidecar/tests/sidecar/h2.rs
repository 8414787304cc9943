//! Our own corpus of h2 (RFC 9113, RFC 7541): what is right is answered, what is wrong ends its stream
//! or its connection, and nothing else.
//!
//! `tests/h2/*.hex`: `#` says what it is, `=` what must happen, each further line is bytes, with
//! ` * n` as often as that. Every case begins with the preface where it has one.

use crate::common::*;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

const FRAME_HEADER_BYTES: usize = 9;
/// A case whose outcome is open is read for so long.
const OPEN_WAIT: Duration = Duration::from_millis(50);
const MUTANTS: usize = 1_000;

struct Case {
    path: PathBuf,
    expected: String,
    bytes: Vec<u8>,
}

fn cases() -> Vec<Case> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/h2");
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let cases: Vec<Case> = paths.map(read_case).collect();
    assert!(cases.len() >= 80, "{} cases", cases.len());
    cases
}

fn read_case(path: PathBuf) -> Case {
    let (text, mut expected, mut bytes) =
        (std::fs::read_to_string(&path).unwrap(), None, Vec::new());
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if let Some(outcome) = line.strip_prefix("= ") {
            expected = Some(outcome.to_owned());
            continue;
        }
        let (hex, count) = line.split_once(" * ").unwrap_or((line, "1"));
        let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        let frame: Vec<u8> = (0..hex.len()).step_by(2).map(digit).collect();
        bytes.extend(frame.repeat(count.parse().unwrap()));
    }
    Case { expected: expected.expect("what must happen"), path, bytes }
}

/// What a peer did with the bytes: the first frame that says it, or `closed`.
fn outcome(sidecar: &Sidecar, case: &Case) -> String {
    let mut stream = sidecar.http_connect();
    // The door may close before it has read all.
    let _ = stream.write_all(&case.bytes);
    let (began, mut received) = (Instant::now(), Vec::new());
    let limit = if case.expected == "any" { OPEN_WAIT } else { READY };
    stream.set_read_timeout(Some(limit)).unwrap();
    let mut buffer = [0; 16 * 1024];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return said(&received).unwrap_or_else(|| "closed".to_owned()),
            Ok(count) => received.extend_from_slice(&buffer[..count]),
        }
        match said(&received) {
            Some(said) if said != "goaway" => return said,
            _ => assert!(began.elapsed() < READY, "{}: no outcome", case.path.display()),
        }
    }
}

fn said(mut received: &[u8]) -> Option<String> {
    let mut said = None;
    while let Some(header) = received.get(..FRAME_HEADER_BYTES) {
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
        let end = FRAME_HEADER_BYTES + length;
        let payload = received.get(FRAME_HEADER_BYTES..end)?;
        said = match (header[3], header[4]) {
            (1, _) => Some(format!("status {}", status(payload))),
            (3, _) => Some("reset".to_owned()),
            (6, 1) => {
                let hex: Vec<String> = payload.iter().map(|byte| format!("{byte:02x}")).collect();
                Some(format!("ping {}", hex.concat()))
            }
            (7, _) if payload[4..8] != [0; 4] => Some("goaway".to_owned()),
            _ => said,
        };
        if said.is_some() {
            return said;
        }
        received = &received[end..];
    }
    said
}

/// The status at the head of a block of headers (RFC 7541, appendices A and B).
fn status(block: &[u8]) -> u16 {
    match block {
        [0x88, ..] => 200,
        [0x8c, ..] => 400,
        [0x8d, ..] => 404,
        [0x48, 0x82, 0x68, 0x2d, ..] => 413,
        [0x48, 0x83, 0x68, 0x2c, 0xff, ..] => 413,
        [0x48, 0x83, 0x69, 0x90, 0xff, ..] => 431,
        other => panic!("a status of another kind: {other:02x?}"),
    }
}

#[test]
fn every_case_has_its_outcome() {
    let sidecar = Sidecar::start(folder(), &[]);
    let cases = cases();
    let wrong = cases.iter().filter_map(|case| {
        let outcome = outcome(&sidecar, case);
        let is_right = case.expected == "any" || outcome == case.expected;
        let shown = case.path.display();
        (!is_right).then(|| format!("{shown}: {outcome}, not {}", case.expected))
    });
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    sidecar.still_answers();
}

#[test]
fn what_is_cut_or_flipped_harms_nobody() {
    let (sidecar, cases) = (Sidecar::start(folder(), &[]), cases());
    let mut random = fastrand::Rng::with_seed(20_261_125);
    for _ in 0..MUTANTS {
        let mut bytes = cases[random.usize(..cases.len())].bytes.clone();
        bytes.truncate(random.usize(1..=bytes.len()));
        for _ in 0..random.usize(0..4) {
            let at = random.usize(..bytes.len());
            bytes[at] ^= 1 << random.u32(..8);
        }
        let _ = sidecar.http_connect().write_all(&bytes);
    }
    sidecar.still_answers();
    assert_eq!(sidecar.http("GET /healthz", "", "").0, 200, "{}", sidecar.log());
    assert!(!sidecar.log().contains("panicked"), "{}", sidecar.log());
}
