//! Tenants' ends: silent at once, brought back within their grace, erased to the last byte behind it; exports of logs.

use crate::cluster::Cluster;
use crate::service::{Answer, Control, READY};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, crypto};
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};
use std::path::Path;
use std::time::Instant;

fn is_refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.code().as_str()), (status, code), "{}", answer.text);
}

fn admin(control: &Control, method: &str, path: &str, body: Option<Json>) -> Answer {
    let headers = if method == "POST" || method == "GET" { "" } else { "if-match: *\r\n" };
    control.ask_with(&control.admin, method, path, headers, body)
}

fn ended(control: &Control, answer: &Answer) -> Json {
    let path = format!("{}?wait_ms=20000", answer.header("location").unwrap());
    admin(control, "GET", &path, None).json()
}

fn offboard(control: &Control, tenant: &str, grace_days: i64) -> Answer {
    let body = json!({"reason": "The contract has ended.", "grace_days": grace_days});
    let answer = admin(control, "POST", &format!("/v1/tenants/{tenant}/offboard"), Some(body));
    assert_eq!(answer.status, 202, "{}", answer.text);
    answer
}

fn digest(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The body of an answer that came in chunks.
fn whole(answer: &Answer) -> String {
    let (mut rest, mut text) = (answer.text.as_str(), String::new());
    while let Some((size, more)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return text;
        }
        text.push_str(&more[..size]);
        rest = &more[size + 2..];
    }
    panic!("the last chunk is missing: {}", answer.head);
}

#[test]
fn an_export_is_the_whole_log_and_the_same_again() {
    let control = Control::start();
    control.tenant("acme");
    let key = control.key("acme", &["tenant-admin"], &[]);
    for at in 0..30 {
        let group = json!({"display_name": format!("group {at}")});
        assert_eq!(control.ask(&key, "POST", "/v1/tenants/acme/groups", Some(group)).status, 201);
    }
    let path = "/v1/tenants/acme/audit-events/exports";
    let made = control.ask(&key, "POST", path, Some(json!({})));
    assert_eq!((made.status, &made.json()["kind"]), (202, &json!("audit.export")), "{}", made.text);
    let operation = ended(&control, &made);
    assert_eq!(operation["state"], "succeeded", "{operation}");
    let export = &operation["result"]["export"];
    let place = export["download"].as_str().unwrap();
    assert_eq!(place, format!("{path}/{}", operation["id"].as_str().unwrap()));
    let first = whole(&control.ask(&key, "GET", place, None));
    // What happens afterwards is not in it.
    assert_eq!(
        control
            .ask(&key, "POST", "/v1/tenants/acme/groups", Some(json!({"display_name": "x"})))
            .status,
        201
    );
    let again = control.ask(&control.admin, "GET", place, None);
    assert_eq!(again.header("content-type"), Some("application/x-ndjson"));
    assert_eq!(whole(&again), first);
    assert_eq!(
        (&export["sha256"], &export["bytes"]),
        (&json!(digest(&first)), &json!(first.len()))
    );
    let events: Vec<Json> = first.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&export["events"], &export["whole"]), (&json!(events.len()), &json!(true)));
    let made = events.iter().filter(|event| event["action"] == "group.created").count();
    assert_eq!(made, 30);
    let numbers: Vec<i64> = events.iter().map(|event| event["seq"].as_i64().unwrap()).collect();
    assert_eq!(numbers, (1..=i64::try_from(events.len()).unwrap()).collect::<Vec<_>>());
    assert_eq!(events.last().unwrap()["hash"], export["head"]["hash"]);
    // Of a time alone.
    let at = events[10]["at"].as_str().unwrap();
    let made =
        control.ask(&key, "POST", path, Some(json!({"from": at, "to": "2999-01-01T00:00:00Z"})));
    let part = ended(&control, &made);
    let place = part["result"]["export"]["download"].as_str().unwrap();
    let lines = whole(&control.ask(&key, "GET", place, None));
    let expected: String = first
        .lines()
        .filter(|line| serde_json::from_str::<Json>(line).unwrap()["at"].as_str().unwrap() >= at)
        .map(|line| format!("{line}\n"))
        .collect();
    assert!(lines.starts_with(&expected) && lines.len() < first.len() + 2_000, "{lines}");
    // Neither another's, nor without the right, nor of nonsense.
    control.tenant("beta");
    let (other, member) =
        (control.key("beta", &["tenant-admin"], &[]), control.key("acme", &["member"], &[]));
    is_refused(&control.ask(&other, "GET", place, None), 404, "tenant-not-found");
    is_refused(&control.ask(&member, "GET", place, None), 403, "forbidden");
    is_refused(&control.ask(&member, "POST", path, Some(json!({}))), 403, "forbidden");
    let elsewhere = place.replace("/acme/", "/beta/");
    is_refused(&control.ask(&other, "GET", &elsewhere, None), 404, "not-found");
    let id = operation["id"].as_str().unwrap();
    is_refused(
        &admin(&control, "GET", &format!("/v1/audit-events/exports/{id}"), None),
        404,
        "not-found",
    );
    is_refused(
        &control.ask(&key, "POST", path, Some(json!({"from": "yesterday"}))),
        422,
        "invalid",
    );
    is_refused(&control.ask(&key, "POST", path, Some(json!({"form": at}))), 422, "invalid");
    // The platform's own.
    let made = admin(&control, "POST", "/v1/audit-events/exports", Some(json!({})));
    let export = ended(&control, &made)["result"]["export"].clone();
    let lines = whole(&admin(&control, "GET", export["download"].as_str().unwrap(), None));
    assert_eq!((&export["sha256"], &export["whole"]), (&json!(digest(&lines)), &json!(true)));
    assert!(lines.contains("tenant.activated"));
}

#[test]
fn an_offboarded_tenant_is_silent_and_comes_back_as_it_was() {
    let folder = std::env::temp_dir().join(format!("tgc-offboarding-{}", std::process::id()));
    let control = Control::start_with(&[("TOLLGATE_PUBLISH__DIR", &folder.display().to_string())]);
    control.tenant("acme");
    let (key, member) =
        (control.key("acme", &["tenant-admin"], &[]), control.key("acme", &["member"], &[]));
    let path = |rest: &str| format!("/v1/tenants/acme{rest}");
    for (body, pointer) in [
        (json!({}), ""),
        (json!({"reason": " "}), "/reason"),
        (json!({"reason": "x", "grace_days": -1}), "/grace_days"),
        (json!({"reason": "x", "grace_days": 366}), "/grace_days"),
        (json!({"reason": "x", "grace_days": "1"}), "/grace_days"),
        (json!({"reason": "x", "force": true}), "/force"),
    ] {
        let refused = admin(&control, "POST", &path("/offboard"), Some(body.clone()));
        is_refused(&refused, 422, "invalid");
        assert_eq!(refused.json()["error"]["details"]["fields"][0]["pointer"], pointer, "{body}");
    }
    let why = || Some(json!({"reason": "x"}));
    is_refused(&control.ask(&key, "POST", &path("/offboard"), why()), 403, "forbidden");
    is_refused(&admin(&control, "POST", &path("/reinstate"), why()), 409, "invalid-state");
    let dry = admin(&control, "POST", &path("/offboard?dry_run=true"), why());
    assert_eq!(
        (dry.status, control.ask(&key, "GET", "/v1/me", None).status),
        (200, 200),
        "{}",
        dry.text
    );
    for before in ["active", "suspended"] {
        if before == "suspended" {
            assert_eq!(admin(&control, "POST", &path("/suspend"), why()).status, 200);
        }
        let made = admin(&control, "POST", &path("/offboard"), why());
        assert_eq!(made.status, 202, "{}", made.text);
        let (tenant, operation) = (&made.json()["tenant"], &made.json()["operation"]);
        assert_eq!(
            (&tenant["state"], &operation["kind"]),
            (&json!("offboarding"), &json!("tenant.offboard"))
        );
        is_refused(&admin(&control, "POST", &path("/offboard"), why()), 409, "invalid-state");
        is_refused(&admin(&control, "POST", &path("/suspend"), why()), 409, "invalid-state");
        is_refused(&admin(&control, "POST", &path("/resume"), why()), 409, "invalid-state");
        for (key, method, rest) in [
            (&key, "GET", ""),
            (&key, "GET", "/users"),
            (&member, "GET", "/audit-events"),
            (&key, "GET", "/audit-events"),
        ] {
            is_refused(&control.ask(key, method, &path(rest), None), 403, "tenant-suspended");
        }
        is_refused(&control.ask(&key, "GET", "/v1/me", None), 403, "tenant-suspended");
        let id = operation["id"].as_str().unwrap();
        let export = waited(&control, id, |operation| operation["result"]["export"].is_object());
        let export = &export["result"]["export"];
        let lines = whole(&control.ask(&key, "GET", export["download"].as_str().unwrap(), None));
        assert_eq!((&export["sha256"], &export["whole"]), (&json!(digest(&lines)), &json!(true)));
        assert!(lines.contains("\"tenant.offboarded\""), "{lines}");
        is_refused(
            &control.ask(&member, "GET", export["download"].as_str().unwrap(), None),
            403,
            "tenant-suspended",
        );
        is_refused(
            &admin(&control, "POST", &format!("/v1/operations/{id}/cancel"), Some(json!({}))),
            409,
            "invalid-state",
        );
        let settings =
            || std::fs::read_to_string(folder.join("acme/tenant.toml")).unwrap_or_default();
        waited(&control, id, |_| settings().contains("state = \"suspended\""));
        // What stands there is the tenant's as before.
        let back = admin(&control, "POST", &path("/reinstate"), why());
        assert_eq!((back.status, &back.json()["state"]), (200, &json!(before)), "{}", back.text);
        assert_eq!(
            admin(&control, "GET", &format!("/v1/operations/{id}"), None).json()["state"],
            "cancelled"
        );
        assert_eq!(control.ask(&key, "GET", &path(""), None).status, 200);
    }
    // An operation that went astray erases nothing of a tenant that is back.
    let (database, _) = control.placement("acme");
    let astray = "UPDATE operations SET state = 'failed', result = result || '{\"grace_ends_at\": \"2020-01-01T00:00:00Z\"}' \
        WHERE id = (SELECT max(id) FROM operations WHERE kind = 'tenant.offboard') RETURNING id";
    let id = control.psql(astray).unwrap().lines().next().unwrap().to_owned();
    let retried = admin(&control, "POST", &format!("/v1/operations/{id}/retry"), Some(json!({})));
    assert_eq!(retried.status, 200, "{}", retried.text);
    let refused = waited(&control, &id, |operation| operation["steps"][1]["error"].is_string());
    assert!(
        refused["steps"][1]["error"].as_str().unwrap().contains("not being offboarded"),
        "{refused}"
    );
    let left = format!("SELECT count(*) FROM pg_database WHERE datname = '{database}'");
    assert_eq!(control.psql(&left).unwrap(), "1");
    assert_eq!(control.ask(&key, "GET", &path(""), None).status, 200);
    let actions = admin(&control, "GET", "/v1/audit-events?resource=acme", None).json();
    let count = |action: &str| {
        actions["data"].as_array().unwrap().iter().filter(|event| event["action"] == action).count()
    };
    assert_eq!((count("tenant.offboarded"), count("tenant.reinstated")), (2, 2), "{actions}");
    let _ = std::fs::remove_dir_all(folder);
}

fn waited(control: &Control, operation: &str, is_right: impl Fn(&Json) -> bool) -> Json {
    let began = Instant::now();
    loop {
        let now = admin(control, "GET", &format!("/v1/operations/{operation}"), None).json();
        if is_right(&now) {
            return now;
        }
        assert!(began.elapsed() < READY, "{now}\n{}", control.log());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// Files below a folder that hold a text.
fn holding(folder: &Path, text: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        let is_holding = |bytes: Vec<u8>| bytes.windows(text.len()).any(|part| part == text);
        if path.is_dir() {
            found.extend(holding(&path, text));
        } else if std::fs::read(&path).is_ok_and(is_holding) {
            found.push(path.display().to_string());
        }
    }
    found
}

#[test]
fn nothing_is_left_of_a_tenant_but_a_certificate() {
    let cluster = Cluster::start("offboard");
    cluster.psql("postgres", "ALTER SYSTEM SET wal_recycle = off").unwrap();
    cluster.psql("postgres", "SELECT pg_reload_conf()").unwrap();
    let many = [("TOLLGATE_API__UNAUTHENTICATED_PER_MINUTE", "1000000")];
    let control = Control::start_on(&cluster, &many);
    let canary = "canary5f1e0b7c";
    let count = std::env::var("OFFBOARD").map_or(6, |count| count.parse().unwrap());
    let tenants: Vec<String> = (0..count).map(|at| format!("tenant-{at}")).collect();
    control.tenant("stays");
    for tenant in &tenants {
        control.tenant(tenant);
        let path = |rest: &str| format!("/v1/tenants/{tenant}{rest}");
        let named = json!({"display_name": canary, "labels": {"note": canary}});
        assert_eq!(admin(&control, "PATCH", &path(""), Some(named)).status, 200);
        for (rest, body) in [
            (
                "/users",
                json!({"issuer": format!("https://{canary}"), "subject": canary, "display_name": canary, "email": format!("{canary}@example.com")}),
            ),
            ("/groups", json!({"display_name": canary})),
            ("/api-keys", json!({"name": canary, "roles": ["member"]})),
        ] {
            let made = admin(&control, "POST", &path(rest), Some(body));
            assert_eq!(made.status, 201, "{}", made.text);
        }
        let limit =
            json!({"meter": canary, "default_amount": 1, "budget": {"amount": 1, "window": "day"}});
        let put = control.ask_with(
            &control.admin,
            "PUT",
            &path("/limits/one"),
            "if-match: \"0\"\r\n",
            Some(limit),
        );
        assert_eq!(put.status, 200, "{}", put.text);
    }
    // What is common among names stands in the planner's statistics too.
    cluster.psql(&control.database, "ANALYZE").unwrap();
    cluster.psql("postgres", "CHECKPOINT").unwrap();
    assert!(
        !holding(&cluster.folder.join("pg/base"), canary.as_bytes()).is_empty(),
        "it was there"
    );
    let placements: Vec<(String, String)> =
        tenants.iter().map(|tenant| control.placement(tenant)).collect();
    let keys: Vec<String> =
        tenants.iter().map(|tenant| control.key(tenant, &["tenant-admin"], &[])).collect();
    let made: Vec<Answer> = tenants.iter().map(|tenant| offboard(&control, tenant, 0)).collect();
    for ((made, tenant), (database, role)) in made.iter().zip(&tenants).zip(&placements) {
        let operation = ended(&control, made);
        assert_eq!(operation["state"], "succeeded", "{operation}\n{}", control.log());
        for left in [
            format!("SELECT count(*) FROM pg_database WHERE datname = '{database}'"),
            format!("SELECT count(*) FROM pg_roles WHERE rolname = '{role}'"),
            format!("SELECT count(*) FROM placements WHERE tenant_id = '{tenant}'"),
        ] {
            assert_eq!(control.psql(&left).unwrap(), "0", "{left}");
        }
        // The tombstone, and who says so.
        let tombstone = admin(&control, "GET", &format!("/v1/tenants/{tenant}"), None).json();
        assert_eq!(
            (&tombstone["state"], &tombstone["placement"]),
            (&json!("destroyed"), &Json::Null)
        );
        let certificate = &tombstone["certificate"];
        let document = &certificate["document"];
        assert_eq!(
            (&document["tenant_id"], &document["erased"]["database"]),
            (&json!(tenant), &json!(database))
        );
        let erased = &document["erased"];
        assert_eq!(document["reason"], "The contract has ended.");
        assert_eq!(
            (&erased["wal_checkpointed"], &erased["files_rewritten"]),
            (&json!(true), &json!(true))
        );
        assert_eq!(document["export"]["sha256"], operation["result"]["export"]["sha256"]);
        let jwk: Jwk = serde_json::from_value(certificate["jwk"].clone()).unwrap();
        let (message, signature) = certificate["jws"].as_str().unwrap().rsplit_once('.').unwrap();
        let verified = |message: &str| {
            let key = DecodingKey::from_jwk(&jwk).unwrap();
            crypto::verify(signature, message.as_bytes(), &key, Algorithm::EdDSA).unwrap()
        };
        assert!(verified(message) && !verified(&message.replace('a', "b")));
        let (_, payload) = message.split_once('.').unwrap();
        assert_eq!(
            &serde_json::from_slice::<Json>(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap(),
            document
        );
        // Never again.
        let again = json!({"id": tenant, "display_name": "T"});
        is_refused(&admin(&control, "POST", "/v1/tenants", Some(again)), 409, "already-exists");
        let why = Some(json!({"reason": "x"}));
        is_refused(
            &admin(&control, "POST", &format!("/v1/tenants/{tenant}/reinstate"), why),
            404,
            "tenant-not-found",
        );
    }
    for key in &keys {
        is_refused(&control.ask(key, "GET", "/v1/me", None), 401, "unauthenticated");
    }
    cluster.psql("postgres", "CHECKPOINT").unwrap();
    let found = holding(&cluster.folder.join("pg"), canary.as_bytes());
    assert!(found.is_empty(), "{found:?}");
    assert_eq!(admin(&control, "GET", "/v1/tenants/stays", None).json()["state"], "active");
    assert!(admin(&control, "POST", "/v1/audit-events/verify", None).json()["whole"] == true);
}

#[test]
fn each_step_of_an_offboarding_may_be_killed_behind_its_effect() {
    std::thread::scope(|scope| {
        for step in ["export", "grace", "quiesce", "drop", "forget", "certify"] {
            scope.spawn(move || killed_behind(step));
        }
    });
}

fn killed_behind(step: &str) {
    let mut control = Control::start();
    control.tenant("acme");
    let (database, _) = control.placement("acme");
    crate::provisioning::hold(&control, step);
    let made = offboard(&control, "acme", 0);
    crate::provisioning::wait_until_held(&control, step);
    control.kill();
    crate::provisioning::let_go(&control);
    control.again();
    let operation = ended(&control, &made);
    assert_eq!(
        (&operation["state"], &operation["progress"]["done"]),
        (&json!("succeeded"), &json!(6)),
        "{step}: {operation}"
    );
    let left = format!("SELECT count(*) FROM pg_database WHERE datname = '{database}'");
    assert_eq!(control.psql(&left).unwrap(), "0", "{step}");
    let tombstone = admin(&control, "GET", "/v1/tenants/acme", None).json();
    assert!(tombstone["certificate"]["jws"].is_string(), "{step}: {tombstone}");
    let events = admin(&control, "GET", "/v1/audit-events?action=tenant.destroyed", None).json();
    assert_eq!(events["data"].as_array().unwrap().len(), 1, "{step}");
}
