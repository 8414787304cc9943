//! Thresholds are told once, within a second or so, and not again by the next start.

use crate::common::*;
use serde_json::Value as Json;
use std::time::Instant;
use tollgate_engine::Reason;

const LIMITS: &str = "[[limit]]\nid = \"calls\"\nmeter = \"requests\"\ndimensions = [\"subject\"]\n\
    budget = { amount = 4, window = \"year\" }\nwarn_at = [50, 100]\n";

/// The events of a log: per cent, id and the whole line.
fn told(sidecar: &Sidecar) -> Vec<(u64, String, Json)> {
    let log = sidecar.log();
    let lines = log.lines().filter(|line| line.contains("threshold-reached"));
    let event = |line: &str| {
        let line: Json = serde_json::from_str(line).unwrap();
        (line["percent"].as_u64().unwrap(), line["id"].as_str().unwrap().to_owned(), line)
    };
    lines.map(event).collect()
}

fn until(sidecar: &Sidecar, count: usize) -> Vec<(u64, String, Json)> {
    let began = Instant::now();
    loop {
        let told = told(sidecar);
        if told.len() >= count {
            return told;
        }
        assert!(began.elapsed() < READY, "{}", sidecar.log());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn a_threshold_is_told_once_and_survives_a_restart() {
    let folder = folder();
    write(&folder, "acme/limits.toml", LIMITS);
    let mut sidecar = Sidecar::start(folder, &[]);
    for _ in 0..3 {
        assert_eq!(sidecar.ask("acme", "alice"), Reason::Allow);
    }
    let first = until(&sidecar, 1);
    let (percent, id, line) = &first[0];
    assert_eq!((*percent, id.len(), first.len()), (50, 32, 1));
    assert_eq!(
        (&line["tenant"], &line["limit"], &line["of"]),
        (&"acme".into(), &"calls".into(), &4.into())
    );
    assert_eq!((&line["key"], &line["used"]), (&"\"alice\"".into(), &2.into()));
    // Written a second later; the next start knows.
    std::thread::sleep(std::time::Duration::from_millis(2_500));
    sidecar.child.kill().unwrap();
    sidecar.child.wait().unwrap();
    let folder = std::mem::take(&mut sidecar.folder);
    drop(sidecar);
    let sidecar = Sidecar::start(folder, &[]);
    assert_eq!(sidecar.ask("acme", "alice"), Reason::Allow);
    assert_eq!(sidecar.ask("acme", "alice"), Reason::QuotaExceeded);
    let second = until(&sidecar, 1);
    assert_eq!(second.iter().map(|(percent, ..)| *percent).collect::<Vec<_>>(), [100]);
    assert_ne!(second[0].1, *id);
    let began = Instant::now();
    while !sidecar
        .http("GET /metrics", "", "")
        .2
        .contains("tollgate_sidecar_thresholds_total{percent=\"100\"} 1")
    {
        assert!(began.elapsed() < READY);
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}
