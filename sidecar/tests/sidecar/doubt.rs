//! What limits do where they do not know: estimates that are learned, and requests that cannot be counted.

use crate::common::*;
use crate::storage::ended;
use nix::sys::signal::Signal;
use serde_json::{Value as Json, json};
use tollgate_engine::Reason;

const LEARNING: &str = r#"
[[limit]]
id = "tokens-per-year"
meter = "tokens"
budget = { amount = 10_000_000, window = "year" }
default_amount = 8_000
overdraft = 24_000
estimate = { quantile = 90, by = ["resource.model"] }
"#;

const OPEN: &str = r#"
[[limit]]
id = "per-team"
meter = "requests"
bucket = { rate = "1000/s" }
dimensions = ["subject.team"]
failure_mode = { bad-request = "open" }

[[limit]]
id = "per-subject"
meter = "requests"
budget = { amount = 1_000, window = "year" }
dimensions = ["context.session"]
when = 'r.obj == "/v1/sessions"'
failure_mode = { quota-store-full = "open" }
"#;

fn asked(resource: &str, context: &Json) -> Json {
    let mut body = json!({
        "subject": {"type": "user", "id": "alice"},
        "action": {"name": "read"},
        "resource": {"type": "path", "id": resource, "properties": {"model": "small"}},
        "context": {"tenant": "acme"},
    });
    body["context"].as_object_mut().unwrap().extend(context.as_object().unwrap().clone());
    body
}

fn evaluate(sidecar: &Sidecar, body: &Json) -> Json {
    let (status, answer) = sidecar.evaluate("/access/v1/evaluation", &body.to_string());
    assert_eq!(status, 200, "{answer}");
    answer["context"].clone()
}

fn left(sidecar: &Sidecar) -> u64 {
    let answer = evaluate(sidecar, &asked("/v1/x", &json!({"quota": {}})));
    answer["limits"][0]["remaining"].as_u64().unwrap()
}

/// Reserves, settles to so many tokens, and says how many were reserved.
fn call(sidecar: &Sidecar, tokens: u64) -> u64 {
    let before = left(sidecar);
    let context = json!({"quota": {"tokens": 4_000}});
    let reservation = evaluate(sidecar, &asked("/v1/x", &context))["reservation"].clone();
    let reserved = before - left(sidecar);
    let body = json!({"reservation": reservation, "amounts": {"tokens": tokens}});
    let (status, settled) = sidecar.evaluate("/v1/settle", &body.to_string());
    assert_eq!((status, &settled["uncharged"]), (200, &json!(0)), "{settled}");
    reserved
}

fn learned(sidecar: &Sidecar) -> Json {
    let answer = evaluate(sidecar, &asked("/v1/x", &json!({"quota": {}, "explain": true})));
    answer["explanation"]["estimates"].clone()
}

#[test]
fn what_calls_use_is_learned_and_outlives_the_process_and_its_region() {
    let folder = folder();
    write(&folder, "acme/limits.toml", LEARNING);
    let mut sidecar = Sidecar::start(folder, &[]);
    let nothing = json!([{"id": "tokens-per-year", "quantile": 90, "settles": 0, "likely": null}]);
    assert_eq!(learned(&sidecar), nothing);
    for seen in 0..60 {
        let reserved = call(&sidecar, 300);
        match seen < 20 {
            true => assert_eq!(reserved, 4_000, "{seen}"),
            false => assert!((200..600).contains(&reserved), "{seen}: {reserved}"),
        }
    }
    let known = learned(&sidecar);
    assert_eq!(known[0]["settles"], 60);
    // The cells are in the region, and once a second in the snapshot.
    std::thread::sleep(std::time::Duration::from_millis(1_500));
    for keeps_region in [true, false] {
        let folder = ended(sidecar, Signal::SIGKILL);
        if !keeps_region {
            std::fs::remove_file(folder.join("run/cells.region")).unwrap();
        }
        sidecar = Sidecar::start(folder, &[]);
        assert_eq!(learned(&sidecar), known, "region kept: {keeps_region}");
    }
}

#[test]
fn a_request_that_cannot_be_counted_passes_where_its_limit_says_so() {
    let folder = folder();
    write(&folder, "acme/limits.toml", OPEN);
    let sidecar = Sidecar::start(folder, &[("TOLLGATE_CELLS__COUNT", "16")]);
    // No team: the limit that needs one opens; another path is asked for with one.
    let answer = evaluate(&sidecar, &asked("/v1/x", &json!({})));
    assert_eq!((&answer["reason"], &answer["reason_code"]), (&json!("failed-open"), &json!(1)));
    assert_eq!(answer["warnings"], json!(["per-team"]));
    assert_eq!(answer["limits"][0]["failed_open"], true);
    assert!(answer["request_id"].is_string());
    let headers = "X-Tenant-Id: acme\r\nX-Tollgate-Subject: alice\r\nX-Forwarded-Method: read\r\n\
        X-Forwarded-Uri: /v1/x\r\n";
    let (status, head, _) = sidecar.http("GET /v1/authorize", headers, "");
    assert_eq!(status, 200, "{head}");
    assert!(!head.to_ascii_lowercase().contains("ratelimit"), "{head}");
    let reply = check(&mut sidecar.connect(), "acme", "alice", "/v1/x");
    assert_eq!(reply.reason, Reason::FailedOpen);
    assert!(reply.limits[0].failed_open && !reply.limits[0].exceeded);
    // Policy is not opened by anything.
    assert_eq!(check(&mut sidecar.connect(), "acme", "bob", "/v1/x").reason, Reason::NoRule);
    // A session each: the table is full in the end.
    let mut body = asked("/v1/sessions", &json!({}));
    body["subject"]["properties"] = json!({"team": "red"});
    let mut reasons = Vec::new();
    for session in 0..40 {
        body["context"]["session"] = json!(session);
        let answer = evaluate(&sidecar, &body);
        reasons.push(answer["reason"].as_str().unwrap().to_owned());
        let opened = answer["warnings"] == json!(["per-subject"]);
        assert_eq!(opened, reasons.last().unwrap() == "failed-open", "{answer}");
    }
    let opened = reasons.iter().filter(|reason| *reason == "failed-open").count();
    assert!((20..40).contains(&opened), "{reasons:?}");
    body["context"]["session"] = Json::Null;
    assert_eq!(evaluate(&sidecar, &body)["reason"], "bad-request");
    let (_, _, metrics) = sidecar.http("GET /metrics", "", "");
    let count = |door: &str| {
        let name =
            format!("tollgate_sidecar_decisions_total{{door=\"{door}\",reason=\"failed-open\"}} ");
        let line = metrics.lines().find_map(|line| line.strip_prefix(&name));
        line.map(|count| count.parse::<usize>().unwrap())
    };
    assert_eq!((count("http"), count("frame")), (Some(opened + 2), Some(1)));
}
