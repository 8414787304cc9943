//! Amounts of single counters: more for a window, another for a time, through windows and restarts; each is audited.

use crate::common::*;
use crate::quotas::{ask, standing};
use crate::storage::ended;
use nix::sys::signal::Signal;
use std::time::{Duration, Instant};
use tollgate_engine::Reason;
use tollgate_proto::quota::{QuotaAsked, QuotaBody};

const LIMITS: &str = r#"
[[limit]]
id = "calls"
meter = "requests"
budget = { amount = 3, window = "year" }
dimensions = ["subject"]

[[limit]]
id = "rate"
meter = "requests"
bucket = { rate = "100/s", burst = 1_000 }
"#;

/// Windows of two seconds.
const SHORT: &str = r#"
[[limit]]
id = "calls"
meter = "requests"
budget = { amount = 1, window = "2s" }
dimensions = ["subject"]
"#;

fn start(limits: &str) -> Sidecar {
    let folder = folder();
    write(&folder, "acme/policy.csv", "p, alice, /v1/:x, read\np, bob, /v1/:x, read\n");
    write(&folder, "acme/limits.toml", limits);
    Sidecar::start(folder, &[])
}

fn named(limit: &str, who: &str) -> (String, String, Vec<String>, String) {
    let key = if who.is_empty() { Vec::new() } else { vec![who.to_owned()] };
    ("acme".to_owned(), limit.to_owned(), key, "a promise to a client".to_owned())
}

fn top_up(sidecar: &Sidecar, limit: &str, who: &str, amount: u64) -> QuotaBody {
    let (tenant, limit, key, reason) = named(limit, who);
    ask(sidecar, &QuotaAsked::TopUp { tenant, limit, key, amount, reason })
}

fn set(sidecar: &Sidecar, limit: &str, who: &str, (amount, for_ms): (u64, u64)) -> QuotaBody {
    let (tenant, limit, key, reason) = named(limit, who);
    ask(sidecar, &QuotaAsked::Override { tenant, limit, key, amount, for_ms, reason })
}

fn end(sidecar: &Sidecar, limit: &str, who: &str) -> QuotaBody {
    let (tenant, limit, key, reason) = named(limit, who);
    ask(sidecar, &QuotaAsked::EndOverride { tenant, limit, key, reason })
}

fn show(sidecar: &Sidecar, who: &str) -> (u64, u64, u64) {
    let (tenant, limit, key, _) = named("calls", who);
    let body = ask(sidecar, &QuotaAsked::Show { tenant, limit, key });
    let (used, remaining) = standing(&body);
    (used, body.counters[0].of, remaining)
}

/// How many of these requests are allowed.
fn allowed(sidecar: &Sidecar, who: &str, requests: usize) -> usize {
    (0..requests).filter(|_| sidecar.ask("acme", who) == Reason::Allow).count()
}

#[test]
fn a_counter_gets_more_in_its_window_and_another_amount_for_a_time() {
    let sidecar = start(LIMITS);
    assert_eq!(allowed(&sidecar, "alice", 4), 3);
    assert_eq!(standing(&top_up(&sidecar, "calls", "alice", 2)), (3, 2));
    assert_eq!(show(&sidecar, "alice"), (3, 5, 2));
    let reply = check(&mut sidecar.connect(), "acme", "alice", "/v1/x");
    assert_eq!((reply.limits[0].of, reply.limits[0].remaining), (5, 1));
    assert_eq!(standing(&top_up(&sidecar, "calls", "alice", 1)), (4, 2));
    assert_eq!(allowed(&sidecar, "alice", 9), 2);
    assert_eq!(show(&sidecar, "bob"), (0, 3, 3));
    // Fewer than the limit, and more; what was used stays used.
    assert_eq!(standing(&set(&sidecar, "calls", "bob", (1, 60_000))), (0, 1));
    assert_eq!(allowed(&sidecar, "bob", 3), 1);
    let refused = top_up(&sidecar, "calls", "bob", 5);
    assert!(refused.error.contains("an override holds"), "{refused:?}");
    let set_again = set(&sidecar, "calls", "bob", (5, 1_500));
    assert_eq!(standing(&set_again), (1, 4));
    assert_eq!(allowed(&sidecar, "bob", 1), 1);
    let began = Instant::now();
    while show(&sidecar, "bob").1 != 3 {
        assert!(began.elapsed() < READY, "{}", sidecar.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(began.elapsed() > Duration::from_millis(300), "{:?}", began.elapsed());
    assert_eq!(show(&sidecar, "bob"), (2, 3, 1));
    for (answer, error) in [
        (top_up(&sidecar, "rate", "", 5), "is a bucket"),
        (set(&sidecar, "rate", "", (5, 1_000)), "is a bucket"),
        (end(&sidecar, "calls", "bob"), "has no override"),
        (set(&sidecar, "calls", "", (5, 1_000)), "counts by subject"),
    ] {
        assert!(answer.counters.is_empty() && answer.error.contains(error), "{answer:?}");
    }
    let audit = std::fs::read_to_string(sidecar.folder.join("data/quota-audit.ndjson")).unwrap();
    let events: Vec<String> = audit
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|line| format!("{} {}", line["event"].as_str().unwrap(), line["amount"]))
        .collect();
    let expected =
        ["quota-topped-up 2", "quota-topped-up 1", "quota-overridden 1", "quota-overridden 5"];
    assert_eq!(events, expected);
    assert!(sidecar.log().contains("quota-override-ended"), "{}", sidecar.log());
}

#[test]
fn an_override_holds_through_windows_and_is_ended() {
    let sidecar = start(SHORT);
    set(&sidecar, "calls", "alice", (3, 3_600_000));
    set(&sidecar, "calls", "bob", (0, 3_600_000));
    for window in 0..3 {
        // Never more than it says, also in the first moments of a window.
        let began = Instant::now();
        while show(&sidecar, "alice").0 != 0 {
            assert!(began.elapsed() < READY);
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(allowed(&sidecar, "bob", 3), 0, "window {window}");
        assert_eq!(allowed(&sidecar, "alice", 3), 3, "window {window}");
    }
    assert_eq!(standing(&end(&sidecar, "calls", "bob")).1, 1);
    // So it is in the windows that were granted ahead.
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(2_500) {
        assert_eq!(show(&sidecar, "bob").1, 1);
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn an_override_survives_the_process_and_its_region() {
    for loses in [false, true] {
        let sidecar = start(LIMITS);
        assert_eq!(allowed(&sidecar, "bob", 1), 1);
        // Once a snapshot has the counter, it must see that something is granted to it.
        std::thread::sleep(Duration::from_millis(1_500));
        top_up(&sidecar, "calls", "bob", 4);
        set(&sidecar, "calls", "alice", (9, 3_600_000));
        let folder = ended(sidecar, if loses { Signal::SIGTERM } else { Signal::SIGKILL });
        if loses {
            std::fs::remove_file(folder.join("run/cells.region")).unwrap();
        }
        let sidecar = Sidecar::start(folder, &[]);
        assert_eq!(show(&sidecar, "alice"), (0, 9, 9));
        assert_eq!(show(&sidecar, "bob"), (1, 7, 6));
        assert_eq!(allowed(&sidecar, "alice", 12), 9);
    }
}
