//! The decision log: ids, what is kept, what is written and what is hidden.

use crate::common::*;
use serde_json::{Value as Json, json};
use std::io::{Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};
use tollgate_proto::frame::{self, kind};

const ONE: &str = "/access/v1/evaluation";

fn body(subject: &str, resource: &str) -> Json {
    json!({
        "subject": {"type": "user", "id": subject, "properties": {"mail": "secret@example.org"}},
        "action": {"name": "read"},
        "resource": {"type": "path", "id": resource},
        "context": {"tenant": "acme", "address": "10.1.2.3"},
    })
}

/// One frame of a kind with this body, and the reply.
fn ask(sidecar: &Sidecar, kind: u8, body: &[u8]) -> (u8, Vec<u8>) {
    let mut stream = std::os::unix::net::UnixStream::connect(sidecar.socket()).unwrap();
    let mut out = Vec::new();
    frame::put_frame(&mut out, kind, 1, body);
    stream.write_all(&out).unwrap();
    let mut received = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let got = stream.read(&mut buffer).unwrap();
        assert!(got > 0, "the sidecar hung up");
        received.extend_from_slice(&buffer[..got]);
        if let Some(reply) = frame::next_frame(&received).unwrap() {
            return (reply.kind, reply.body.to_vec());
        }
    }
}

/// The explanation of a decision that was made; waits for the log to have it.
fn recall(sidecar: &Sidecar, id: &str) -> Json {
    let began = Instant::now();
    loop {
        let (kind, body) = ask(sidecar, kind::RECALL, id.as_bytes());
        if kind == kind::EXPLANATION {
            return serde_json::from_slice(&body).unwrap();
        }
        assert!(began.elapsed() < READY, "{id} is not kept: {body:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn follow(sidecar: &Sidecar, filter: &Json) -> Json {
    let (kind, body) = ask(sidecar, kind::FOLLOW, filter.to_string().as_bytes());
    assert_eq!(kind, kind::FOLLOWED);
    serde_json::from_slice(&body).unwrap()
}

fn wait_for(done: impl Fn() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < READY, "it never came");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn every_refusal_carries_an_id_that_explains_it() {
    let sidecar = Sidecar::start(folder(), &[]);
    let (_, allowed) = sidecar.evaluate(ONE, &body("alice", "/v1/x").to_string());
    assert_eq!(allowed["decision"], true);
    let mut ids = Vec::new();
    for (asked, reason) in [
        (body("bob", "/v1/x"), "no-rule"),
        (body("alice", "/v1/%2fx"), "ambiguous-path"),
        (json!({"context": {"tenant": "nobody"}}), "unknown-tenant"),
    ] {
        let mut whole = body("alice", "/v1/x");
        for (name, member) in asked.as_object().unwrap() {
            whole[name] = member.clone();
        }
        let (_, answer) = sidecar.evaluate(ONE, &whole.to_string());
        let id = answer["context"]["request_id"].as_str().unwrap().to_owned();
        let explained = recall(&sidecar, &id);
        assert_eq!(explained["context"]["reason"], reason, "{explained}");
        assert_eq!(explained["context"]["request_id"], id.as_str());
        ids.push(id);
    }
    ids.dedup();
    assert_eq!(ids.len(), 3, "each its own");
    let explained = recall(&sidecar, &ids[0]);
    assert_eq!(explained["asked"]["subject"], "bob");
    assert_eq!(explained["rules"][0]["rule"], "policy.csv:1");
    let headers = "x-tenant-id: acme\r\nx-tollgate-subject: bob\r\nx-forwarded-method: read\r\n\
        x-forwarded-uri: /v1/x\r\n";
    let (status, head, _) = sidecar.http("GET /v1/authorize", headers, "");
    let id = head.to_lowercase();
    let id = id.split("x-tollgate-request-id: ").nth(1).unwrap().lines().next().unwrap().to_owned();
    assert_eq!(
        (status, recall(&sidecar, &id)["context"]["reason"].as_str()),
        (403, Some("no-rule"))
    );
    let (kind, refused) = ask(&sidecar, kind::RECALL, b"00000000-1");
    let (number, word, _) = frame::read_error(&refused).unwrap();
    assert_eq!((kind, number, word.as_str()), (kind::ERROR, 4008, "not-kept"));
}

#[test]
fn a_decision_is_explained_by_the_configuration_that_made_it() {
    let sidecar = Sidecar::start(folder(), &[]);
    let named = "content-type: application/json\r\nx-request-id: of-the-client\r\n";
    let (_, _, answer) =
        sidecar.http(&format!("POST {ONE}"), named, &body("bob", "/v1/x").to_string());
    assert!(answer.contains("no-rule"), "{answer}");
    let before = recall(&sidecar, "of-the-client");
    assert_eq!(before["context"]["version"], "1.1");
    write(&sidecar.folder, "acme/policy.csv", "p, zoe, /other, write\np, bob, /v1/:x, read\n");
    wait_for(|| sidecar.evaluate(ONE, &body("bob", "/v1/x").to_string()).1["decision"] == true);
    let after = recall(&sidecar, "of-the-client");
    assert_eq!(after["context"]["version"], "1.1");
    assert_eq!(after["rules"][0]["cells"], json!(["alice", "/v1/:x", "read"]));
    assert_eq!(after["decision"], false);
}

#[test]
fn old_decisions_leave_and_followers_see_the_rest() {
    let variables = [
        ("TOLLGATE_DECISION_LOG__RECENT_MAX", "3"),
        ("TOLLGATE_DECISION_LOG__ALLOW_PERCENT", "100"),
    ];
    let sidecar = Sidecar::start(folder(), &variables);
    let first = sidecar.evaluate(ONE, &body("first", "/v1/x").to_string()).1;
    let first = first["context"]["request_id"].as_str().unwrap().to_owned();
    recall(&sidecar, &first);
    for subject in ["alice", "bob", "carl"] {
        sidecar.evaluate(ONE, &body(subject, "/v1/x").to_string());
    }
    wait_for(|| follow(&sidecar, &json!({}))["newest"] == 4);
    assert_eq!(ask(&sidecar, kind::RECALL, first.as_bytes()).0, kind::ERROR);
    let subjects = |filter: Json| -> Vec<String> {
        let found = follow(&sidecar, &filter);
        let decisions = found["decisions"].as_array().unwrap().iter();
        decisions.map(|one| one["subject"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(subjects(json!({})), ["alice", "bob", "carl"]);
    assert_eq!(subjects(json!({"after": 3})), ["carl"]);
    assert_eq!(subjects(json!({"allows": true})), ["alice"]);
    assert_eq!(subjects(json!({"reason": "no-rule"})), ["bob", "carl"]);
    assert!(subjects(json!({"tenant": "beta"})).is_empty());
}

#[test]
fn lines_are_written_and_what_must_be_hidden_is() {
    let folder = folder();
    let file = folder.join("log.jsonl");
    let shown = file.display().to_string();
    let variables = [
        ("TOLLGATE_DECISION_LOG__SINK", "file"),
        ("TOLLGATE_DECISION_LOG__PATH", shown.as_str()),
        ("TOLLGATE_DECISION_LOG__MASK", "subject.mail"),
        ("TOLLGATE_DECISION_LOG__HASH", "subject.id, context.address"),
        ("TOLLGATE_DECISION_LOG__ALLOW_PERCENT", "0"),
    ];
    let sidecar = Sidecar::start(folder, &variables);
    sidecar.evaluate(ONE, &body("alice", "/v1/x").to_string());
    for _ in 0..2 {
        sidecar.evaluate(ONE, &body("bob", "/v1/x").to_string());
    }
    let lines = |path: &Path| -> Vec<Json> {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    wait_for(|| lines(&file).len() == 2);
    let written = lines(&file);
    assert_eq!(written[0]["subject"]["mail"], "***");
    assert_eq!(written[0]["reason"], "no-rule");
    assert_eq!(written[0]["door"], "http");
    let hash = written[0]["subject"]["id"].as_str().unwrap();
    assert_eq!((hash.len(), &written[1]["subject"]["id"]), (16, &Json::from(hash)));
    let text = std::fs::read_to_string(&file).unwrap();
    for hidden in ["bob", "alice", "secret@example.org", "10.1.2.3"] {
        assert!(!text.contains(hidden), "{hidden} is in the log");
    }
}

#[test]
fn an_evaluation_explains_itself_to_those_who_may_ask() {
    let sidecar = Sidecar::start(folder(), &[]);
    let mut asked = body("bob", "/v1/x");
    asked["context"]["explain"] = json!(true);
    let (status, answer) = sidecar.evaluate(ONE, &asked.to_string());
    assert_eq!((status, &answer["decision"]), (200, &json!(false)));
    let explanation = &answer["context"]["explanation"];
    assert_eq!(explanation["rules"][0]["rule"], "policy.csv:1");
    let failing = explanation["rules"][0]["conjuncts"].as_array().unwrap().iter();
    let would: Vec<&Json> =
        failing.map(|one| &one["would_match"]).filter(|w| !w.is_null()).collect();
    assert_eq!(would, [&json!("r.sub = alice")]);
    let batch = json!({"evaluations": [asked, body("alice", "/v1/x")]});
    let (_, answer) = sidecar.evaluate("/access/v1/evaluations", &batch.to_string());
    assert!(answer["evaluations"][0]["context"]["explanation"].is_object(), "{answer}");
    assert!(answer["evaluations"][1]["context"]["explanation"].is_null(), "{answer}");
    asked["context"]["explain"] = json!("yes");
    let (status, answer) = sidecar.evaluate(ONE, &asked.to_string());
    assert_eq!(
        (status, &answer["error"]["details"]["fields"][0]["pointer"]),
        (400, &json!("/context/explain"))
    );
}

#[test]
fn a_candidate_is_asked_beside_what_is_served() {
    let folder = folder();
    for (name, content) in
        [("model.conf", MODEL), ("policy.csv", "p, bob, /v1/:x, read\np, alice, /v1/:x, write\n")]
    {
        let path = folder.join("candidate/acme").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    let candidate = folder.join("candidate").display().to_string();
    let sidecar = Sidecar::start(folder, &[("TOLLGATE_SHADOW", candidate.as_str())]);
    let metric = |outcome: &str| {
        let (_, _, text) = sidecar.http("GET /metrics", "", "");
        let name = format!("shadow_decisions_total{{outcome=\"{outcome}\"}} ");
        let line = text.lines().find(|line| line.contains(&name)).unwrap().to_owned();
        line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()
    };
    // The candidate is read by the log's first looks.
    wait_for(|| sidecar.log().contains("shadow policies loaded"));
    for subject in ["alice", "bob", "carl"] {
        sidecar.evaluate(ONE, &body(subject, "/v1/x").to_string());
    }
    wait_for(|| metric("gain") + metric("lose") + metric("same") == 3);
    assert_eq!((metric("gain"), metric("lose"), metric("same"), metric("change")), (1, 1, 1, 0));
    let found = follow(&sidecar, &json!({"shadow": true}));
    let shown: Vec<(&Json, &Json)> = found["decisions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (&one["subject"], &one["shadow"]["outcome"]))
        .collect();
    assert_eq!(shown, [(&json!("alice"), &json!("lose")), (&json!("bob"), &json!("gain"))]);
    assert_eq!(found["decisions"][1]["shadow"]["rule"], "policy.csv:1");
    // An edit of the candidate counts from the next look on; one that does not load asks nothing.
    let path = sidecar.folder.join("candidate/acme/policy.csv");
    std::fs::write(&path, "p, short\n").unwrap();
    let before = metric("same");
    wait_for(|| sidecar.log().matches("shadow policies loaded").count() == 2);
    sidecar.evaluate(ONE, &body("carl", "/v1/x").to_string());
    wait_for(|| follow(&sidecar, &json!({}))["newest"] == 4);
    assert_eq!(metric("same"), before);
}
