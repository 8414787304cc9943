//! The HTTP door by its contract: AuthZEN, authorize, health, errors.

use crate::common::*;
use serde_json::{Value as Json, json};

const ONE: &str = "/access/v1/evaluation";
const MANY: &str = "/access/v1/evaluations";

fn body(subject: &str, resource: &str) -> Json {
    json!({
        "subject": {"type": "user", "id": subject},
        "action": {"name": "read"},
        "resource": {"type": "path", "id": resource},
        "context": {"tenant": "acme"},
    })
}

#[test]
fn an_evaluation_is_a_decision_and_always_200() {
    let sidecar = Sidecar::start(folder(), &[]);
    for (asked, decision, reason, code) in [
        (body("alice", "/v1/x"), true, "allow", 0),
        (body("bob", "/v1/x"), false, "no-rule", 2052),
        (body("alice", "/v1/%2fx"), false, "ambiguous-path", 2011),
        (body("", "/v1/x"), false, "bad-request", 2010),
        (json!({"context": {"tenant": "nobody"}}), false, "unknown-tenant", 2020),
        (json!({"context": {}}), false, "bad-request", 2010),
        (json!({"context": null, "unknown": [1, {"a": 1e99}]}), false, "", 0),
    ] {
        let mut whole = body("alice", "/v1/x");
        for (name, member) in asked.as_object().unwrap() {
            whole[name] = member.clone();
        }
        let (status, answer) = sidecar.evaluate(ONE, &whole.to_string());
        if reason.is_empty() {
            assert_eq!(status, 400, "{whole}");
            continue;
        }
        assert_eq!(status, 200, "{whole}");
        assert_eq!(answer["decision"], decision, "{answer}");
        assert_eq!(answer["context"]["reason"], reason, "{answer}");
        assert_eq!(answer["context"]["reason_code"], code, "{answer}");
    }
    let (_, answer) = sidecar.evaluate(ONE, &body("alice", "/v1/x").to_string());
    assert_eq!(
        answer,
        json!({"decision": true, "context": {"reason": "allow", "reason_code": 0,
            "rule": "policy.csv:1", "version": "1.1", "limits": [], "warnings": []}})
    );
}

#[test]
fn the_tenant_comes_from_header_or_context_and_both_must_agree() {
    let sidecar = Sidecar::start(folder(), &[]);
    let json_type = "content-type: application/json; charset=utf-8\r\n";
    let mut without = body("alice", "/v1/x");
    without["context"] = json!({});
    for (headers, asked, reason) in [
        ("x-tenant-id: acme\r\n", without.to_string(), "allow"),
        ("x-tenant-id: acme\r\n", body("alice", "/v1/x").to_string(), "allow"),
        ("x-tenant-id: beta\r\n", body("alice", "/v1/x").to_string(), "bad-request"),
        ("x-tenant-id: acme\r\nx-tenant-id: acme\r\n", without.to_string(), "bad-request"),
        ("", without.to_string(), "bad-request"),
    ] {
        let headers = format!("{json_type}{headers}");
        let (status, _, answer) = sidecar.http(&format!("POST {ONE}"), &headers, &asked);
        let answer: Json = serde_json::from_str(&answer).unwrap();
        assert_eq!((status, answer["context"]["reason"].as_str()), (200, Some(reason)));
    }
}

#[test]
fn what_is_no_request_is_400_with_the_member_at_fault() {
    let sidecar = Sidecar::start(folder(), &[]);
    let good = body("alice", "/v1/x").to_string();
    let deep = format!("{}{}", "[".repeat(30_000), "]".repeat(30_000));
    let nested = |levels: usize| format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
    let with = |path: &str, member: &str| {
        let mut whole = body("alice", "/v1/x");
        *whole.pointer_mut(path).unwrap() = Json::from("@");
        whole.to_string().replace("\"@\"", member)
    };
    let many: Vec<String> = (0..129).map(|i| format!("\"a{i}\":1")).collect();
    let long = format!("[{}1]", "1,".repeat(256));
    let rows: Vec<(&str, String, &str, &str)> = vec![
        ("empty", String::new(), "malformed-json", ""),
        ("syntax", good.replace(':', ";"), "malformed-json", ""),
        ("trailing", format!("{good} {{}}"), "malformed-json", ""),
        ("no object", "[]".to_owned(), "invalid", ""),
        ("deep", deep, "malformed-json", ""),
        ("twice", good.replace("\"type\"", "\"id\""), "malformed-json", ""),
        ("escaped twice", with("/context", "{\"a\":1,\"\\u0061\":2}"), "malformed-json", ""),
        ("huge number", with("/context", "{\"a\":1e400}"), "malformed-json", ""),
        ("long number", with("/context", "{\"a\":99999999999999999999}"), "malformed-json", ""),
        ("lone surrogate", with("/action/name", "\"\\ud800\""), "malformed-json", ""),
        ("no subject", good.replace("\"subject\"", "\"sub\""), "invalid", "/subject"),
        ("id a number", with("/subject/id", "7"), "invalid", "/subject/id"),
        ("action a string", with("/action", "\"read\""), "invalid", "/action"),
        ("resource a list", with("/resource", "[]"), "invalid", "/resource"),
        ("context null", with("/context", "null"), "invalid", "/context"),
        ("tenant a number", with("/context/tenant", "1"), "invalid", "/context/tenant"),
        ("quota a list", with("/context", "{\"quota\":[]}"), "invalid", "/context/quota"),
        (
            "quota negative",
            with("/context", "{\"quota\":{\"t\":-1}}"),
            "invalid",
            "/context/quota/t",
        ),
        (
            "quota a fraction",
            with("/context", "{\"quota\":{\"t\":1.5}}"),
            "invalid",
            "/context/quota/t",
        ),
        ("nested", with("/context", &nested(9)), "invalid", "/context"),
        ("many", with("/context", &format!("{{{}}}", many.join(","))), "invalid", "/context"),
        ("long list", with("/context", &format!("{{\"l\":{long}}}")), "invalid", "/context"),
    ];
    for (name, asked, code, pointer) in rows {
        let (status, answer) = sidecar.evaluate(ONE, &asked);
        assert_eq!(status, 400, "{name}: {answer}");
        assert_eq!(answer["error"]["code"], code, "{name}: {answer}");
        assert!(!answer["error"]["message"].as_str().unwrap().is_empty());
        let found = &answer["error"]["details"]["fields"][0]["pointer"];
        if !pointer.is_empty() {
            assert_eq!(found, pointer, "{name}: {answer}");
        }
    }
    for levels in [7, 8] {
        let (status, _) = sidecar.evaluate(ONE, &with("/context", &nested(levels)));
        assert_eq!(status, 200, "{levels}");
    }
    let (status, _, _) =
        sidecar.http(&format!("POST {ONE}"), "content-type: text/plain\r\n", &good);
    assert_eq!(status, 400);
    let (status, _, _) = sidecar.http(&format!("POST {ONE}"), "", &good);
    assert_eq!(status, 400);
    let (status, answer) = sidecar.evaluate(ONE, &" ".repeat(65_537));
    assert_eq!((status, answer["error"]["code"].as_str()), (413, Some("too-large")));
    let chunked = "content-type: application/json\r\ntransfer-encoding: chunked\r\n";
    let head = format!("POST {ONE} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{chunked}\r\n");
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(65_536));
    let answer = sidecar.http_raw(format!("{head}{chunk}{chunk}0\r\n\r\n").as_bytes());
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    sidecar.still_answers();
}

#[test]
fn a_batch_has_three_semantics_and_inherits_whole_members() {
    let sidecar = Sidecar::start(folder(), &[]);
    let ask = |asked: Json| {
        let (status, answer) = sidecar.evaluate(MANY, &asked.to_string());
        assert_eq!(status, 200, "{answer}");
        let items = answer["evaluations"].as_array().unwrap_or_else(|| panic!("{answer}"));
        items.iter().map(|item| item["decision"].as_bool().unwrap()).collect::<Vec<_>>()
    };
    let items = json!([
        {"subject": {"type": "user", "id": "bob"}},
        {},
        {"resource": {"type": "path"}},
        {"subject": {"type": "user", "id": "carol"}},
    ]);
    let mut asked = body("alice", "/v1/x");
    asked["evaluations"] = items;
    assert_eq!(ask(asked.clone()), [false, true, false, false]);
    asked["options"] = json!({"evaluations_semantic": "deny_on_first_deny", "other": 1});
    assert_eq!(ask(asked.clone()), [false]);
    asked["options"] = json!({"evaluations_semantic": "permit_on_first_permit"});
    assert_eq!(ask(asked.clone()), [false, true]);
    asked["options"] = json!({"evaluations_semantic": "sometimes"});
    assert_eq!(sidecar.evaluate(MANY, &asked.to_string()).0, 400);
    asked["options"] = json!({});
    let (_, answer) = sidecar.evaluate(MANY, &asked.to_string());
    let error = &answer["evaluations"][2]["context"]["error"];
    assert_eq!(error["status"], 400, "{answer}");
    assert!(error["message"].as_str().unwrap().contains("/resource/id"), "{answer}");
    for empty in [json!([]), Json::Null] {
        let mut asked = body("alice", "/v1/x");
        if empty.is_array() {
            asked["evaluations"] = empty;
        }
        let (status, answer) = sidecar.evaluate(MANY, &asked.to_string());
        assert_eq!((status, &answer["decision"]), (200, &Json::Bool(true)));
    }
    for (count, status) in [(256, 200), (257, 400)] {
        let mut asked = body("alice", "/v1/x");
        asked["evaluations"] = Json::Array(vec![json!({}); count]);
        assert_eq!(sidecar.evaluate(MANY, &asked.to_string()).0, status, "{count}");
    }
}

#[test]
fn authorize_answers_with_a_status() {
    let folder = folder();
    write(&folder, "acme/policy.csv", "p, alice, /v1/:x, GET\n");
    write(
        &folder,
        "acme/limits.toml",
        "[[limit]]\nid = \"one\"\nmeter = \"requests\"\nbucket = { rate = \"1/h\", burst = 1 }\n\
         dimensions = [\"subject\"]\nwhen = 'r.obj == \"/v1/few\"'\n",
    );
    write(&folder, "broken/model.conf", "nothing");
    write(&folder, "broken/policy.csv", "");
    let sidecar = Sidecar::start(folder, &[]);
    let good = "x-tenant-id: acme\r\nx-tollgate-subject: alice\r\nx-forwarded-method: GET\r\n";
    let rows = [
        ("x-forwarded-uri: /v1/x?q=1", 200, "allow"),
        ("x-original-uri: /v1/x", 200, "allow"),
        ("x-original-uri: /v1/x\r\nx-forwarded-uri: /v1/x", 200, "allow"),
        ("x-original-uri: /v1/y\r\nx-forwarded-uri: /v1/x", 400, "invalid"),
        ("x-forwarded-uri: /v1/x\r\nx-forwarded-uri: /v1/x", 400, "invalid"),
        ("", 400, "invalid"),
        ("x-forwarded-uri: /v2/x", 403, "no-rule"),
        ("x-forwarded-uri: /v1//x", 403, "ambiguous-path"),
        ("x-forwarded-uri: http://h/v1/x", 403, "ambiguous-path"),
        ("x-forwarded-uri: /v1/few", 200, "allow"),
        ("x-forwarded-uri: /v1/few", 429, "quota-exceeded"),
    ];
    for (headers, status, reason) in rows {
        let end = if headers.is_empty() { "" } else { "\r\n" };
        let (got, head, body) =
            sidecar.http("PUT /v1/authorize", &format!("{good}{headers}{end}"), "");
        assert_eq!(got, status, "{headers}: {head}");
        assert!(head.contains(&format!("x-tollgate-reason: {reason}")), "{head}");
        let is_refused = status == 403 || status == 429;
        assert_eq!(body.contains(&format!("\"code\":\"{reason}\"")), is_refused, "{body}");
        assert_eq!(head.contains("retry-after: 3600"), status == 429, "{head}");
    }
    let uri = "x-forwarded-method: GET\r\nx-forwarded-uri: /v1/x\r\n";
    for (headers, status, nginx) in [
        ("x-tenant-id: acme\r\nx-tollgate-subject: alice\r\n", 200, 200),
        ("x-tenant-id: acme\r\n", 401, 401),
        ("x-tenant-id: nobody\r\nx-tollgate-subject: alice\r\n", 403, 403),
        ("x-tollgate-subject: alice\r\n", 403, 403),
        ("x-tenant-id: broken\r\nx-tollgate-subject: alice\r\n", 503, 403),
    ] {
        let headers = format!("{uri}{headers}");
        let (got, _, _) = sidecar.http("GET /v1/authorize", &headers, "");
        assert_eq!(got, status, "{headers}");
        let (got, head, _) = sidecar.http("GET /v1/authorize?a=b&for=nginx", &headers, "");
        assert_eq!(got, nginx, "{headers}");
        assert!(head.contains(&format!("x-tollgate-status: {status}")), "{head}");
    }
}

#[test]
fn routes_methods_ids_and_discovery() {
    let sidecar = Sidecar::start(
        folder(),
        &[
            ("TOLLGATE_AUTHZEN__PUBLIC_URL", "https://pdp.example"),
            ("TOLLGATE_OPS__LISTEN", "127.0.0.1:0"),
        ],
    );
    for (line, status, code) in [
        ("GET /healthz", 200, ""),
        ("HEAD /healthz", 200, ""),
        ("POST /healthz", 405, "method-not-allowed"),
        ("GET /readyz", 200, ""),
        ("GET /v1/status", 200, ""),
        ("DELETE /v1/status", 405, "method-not-allowed"),
        ("GET /access/v1/evaluation", 405, "method-not-allowed"),
        ("GET /v1/settle", 405, "method-not-allowed"),
        ("POST /v1/settle", 400, "invalid"),
        ("GET /nothing", 404, "route-not-found"),
        ("GET /.well-known/authzen-configuration", 200, ""),
        ("POST /tollgate.v1.Gate/Check", 400, "invalid"),
    ] {
        let id = "x-request-id: abc/1\r\n";
        let (got, head, body) = sidecar.http(line, id, "");
        assert_eq!(got, status, "{line}: {body}");
        assert!(head.contains("x-request-id: abc/1"), "{head}");
        if !code.is_empty() {
            let body: Json = serde_json::from_str(&body).unwrap();
            assert_eq!(body["error"]["code"], code, "{line}");
        }
    }
    let (_, _, metadata) = sidecar.http("GET /.well-known/authzen-configuration", "", "");
    let metadata: Json = serde_json::from_str(&metadata).unwrap();
    assert_eq!(
        metadata["access_evaluations_endpoint"],
        "https://pdp.example/access/v1/evaluations"
    );
    let (_, _, status) = sidecar.http("GET /v1/status", "", "");
    let status: Json = serde_json::from_str(&status).unwrap();
    let tenant = &status["tenants"][0];
    assert_eq!((tenant["id"].as_str(), tenant["state"].as_str()), (Some("acme"), Some("active")));
    assert_eq!(tenant["version"], "1.1");
    assert!(tenant["since"].as_str().unwrap().ends_with('Z'));
    assert_eq!(
        Sidecar::start(folder(), &[]).http("GET /.well-known/authzen-configuration", "", "").0,
        404
    );
}

#[test]
fn readiness_follows_the_tenants_and_probe_says_so() {
    let folder = folder();
    write(&folder, "broken/model.conf", "nothing");
    write(&folder, "broken/policy.csv", "");
    let sidecar = Sidecar::start(folder, &[]);
    let probe = |sidecar: &Sidecar| {
        let mut command = std::process::Command::new(PROGRAM);
        command.arg("probe").arg("--run").arg(sidecar.folder.join("run"));
        output(command).status.code()
    };
    assert_eq!(sidecar.http("GET /readyz", "", "").0, 503);
    assert_eq!(sidecar.http("GET /healthz", "", "").0, 200);
    assert_eq!(probe(&sidecar), Some(1));
    std::fs::remove_dir_all(sidecar.folder.join("policies/broken")).unwrap();
    let began = std::time::Instant::now();
    while sidecar.http("GET /readyz", "", "").0 != 200 {
        assert!(began.elapsed() < READY, "{}", sidecar.log());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(probe(&sidecar), Some(0));
    let mut nobody = std::process::Command::new(PROGRAM);
    nobody.arg("probe").arg("--run").arg("/nonexistent");
    assert_eq!(output(nobody).status.code(), Some(3));
}

#[test]
fn a_live_scrape_passes_promtool() {
    use std::io::Write;
    use std::process::{Command, Stdio};
    let sidecar = Sidecar::start(folder(), &[]);
    sidecar.still_answers();
    assert_eq!(sidecar.evaluate(ONE, &body("bob", "/v1/x").to_string()).0, 200);
    assert_eq!(sidecar.evaluate(ONE, "{").0, 400);
    // What histograms hold is folded in every five seconds.
    let began = std::time::Instant::now();
    let scrape = loop {
        let (_, head, scrape) = sidecar.http("GET /metrics", "", "");
        assert!(head.contains("text/plain; version=0.0.4"), "{head}");
        if scrape.contains("request_duration_seconds_count{door=\"http\"} 2") {
            break scrape;
        }
        assert!(began.elapsed() < READY, "{scrape}");
        std::thread::sleep(std::time::Duration::from_millis(100));
    };
    for line in [
        "tollgate_sidecar_decisions_total{door=\"http\",reason=\"no-rule\"} 1",
        "tollgate_sidecar_decisions_total{door=\"frame\",reason=\"allow\"} 1",
        "tollgate_sidecar_faults_total{door=\"http\",code=\"malformed-json\"} 1",
        "tollgate_sidecar_tenant_decisions_total{tenant=\"acme\",effect=\"deny\"} 1",
        "tollgate_sidecar_tenants{state=\"active\"} 1",
    ] {
        assert!(scrape.contains(line), "{line}\n{scrape}");
    }
    assert!(!scrape.contains("alice") && !scrape.contains("/v1/x"), "{scrape}");
    let home = std::env::var("HOME").unwrap_or_default();
    let cache = std::env::var("XDG_CACHE_HOME").unwrap_or(format!("{home}/.cache"));
    let own = std::path::PathBuf::from(cache).join("tollgate/tools/promtool");
    let program = if own.exists() { own } else { "promtool".into() };
    let promtool = Command::new(&program)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut promtool = promtool.expect("promtool is installed by `make setup-test`");
    promtool.stdin.take().unwrap().write_all(scrape.as_bytes()).unwrap();
    let checked = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success() && said.is_empty(), "{said}");
}

#[test]
fn the_loopback_listener_serves_health_and_metrics_alone() {
    use std::io::{Read, Write};
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let address = free.to_string();
    let sidecar = Sidecar::start(folder(), &[("TOLLGATE_OPS__LISTEN", &address)]);
    let ask = |path: &str| {
        let mut stream = std::net::TcpStream::connect(free).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer[9..12].to_owned()
    };
    // The socket answers before the listener is bound.
    assert_eq!(sidecar.http("GET /healthz", "", "").0, 200);
    for (path, status) in [
        ("/healthz", "200"),
        ("/readyz", "200"),
        ("/metrics", "200"),
        ("/v1/status", "404"),
        ("/v1/authorize", "404"),
        ("/access/v1/evaluation", "404"),
    ] {
        assert_eq!(ask(path), status, "{path}");
    }
    for (variable, value) in [
        ("TOLLGATE_OPS__LISTEN", "0.0.0.0:9090"),
        ("TOLLGATE_OPS__LISTEN", "localhost"),
        ("TOLLGATE_AUTHZEN__PUBLIC_URL", "http://pdp.example"),
    ] {
        let mut refused = command(&sidecar.folder);
        refused.env(variable, value);
        let refused = output(refused);
        assert_eq!(refused.status.code(), Some(2), "{variable}={value}");
        assert!(String::from_utf8_lossy(&refused.stderr).contains(value));
    }
}

#[test]
fn searches_find_who_may_page_by_page() {
    let folder = folder();
    write(
        &folder,
        "acme/policy.csv",
        "p, alice, /v1/:x, read\np, bob, /v1/:x, read\np, carl, /v1/:x, write\np, dora, /v1/:x, read\n",
    );
    let sidecar = Sidecar::start(folder, &[]);
    let subject = "/access/v1/search/subject";
    let asked = |page: Json| {
        let mut asked = body("x", "/v1/x");
        asked["subject"] = json!({"type": "user"});
        asked["page"] = page;
        asked
    };
    let (status, first) = sidecar.evaluate(subject, &asked(json!({"limit": 2})).to_string());
    assert_eq!(status, 200, "{first}");
    let people = |names: &[&str]| -> Json {
        names.iter().map(|name| json!({"type": "user", "id": name})).collect()
    };
    assert_eq!(first["results"], people(&["alice", "bob"]));
    assert_eq!(first["page"]["count"], 2);
    assert_eq!(first["context"], json!({"exact": true, "version": "1.1"}));
    let token = first["page"]["next_token"].as_str().unwrap().to_owned();
    assert!(!token.is_empty());
    let (_, next) = sidecar.evaluate(subject, &asked(json!({"token": token})).to_string());
    assert_eq!(next["results"], people(&["dora"]));
    assert_eq!(next["page"]["next_token"], "");
    for (name, member, pointer) in [
        ("page", json!({"token": "guess"}), "/page/token"),
        ("page", json!({"limit": -1}), "/page/limit"),
        ("subject", json!({"id": "alice"}), "/subject/type"),
        ("resource", json!({"type": "path"}), "/resource/id"),
        ("resource", json!({"type": "path", "id": "/v1/y"}), "/page/token"),
    ] {
        let mut asked = asked(json!({"token": token}));
        asked[name] = member;
        let (status, answer) = sidecar.evaluate(subject, &asked.to_string());
        assert_eq!(status, 400, "{answer}");
        assert_eq!(answer["error"]["details"]["fields"][0]["pointer"], pointer, "{answer}");
    }
    let (_, found) =
        sidecar.evaluate("/access/v1/search/action", &body("carl", "/v1/x").to_string());
    assert_eq!(found["results"], json!([{"name": "write"}]));
    let mut resources = body("alice", "ignored");
    resources["resource"] = json!({"type": "path"});
    let (_, found) = sidecar.evaluate("/access/v1/search/resource", &resources.to_string());
    assert_eq!(found["context"]["exact"], false, "a pattern matches more than is named");
    assert_eq!(found["results"], json!([{"type": "path", "id": "/v1/one"}]));
    let mut foreign = asked(json!({}));
    foreign["context"]["tenant"] = json!("nobody");
    let (status, found) = sidecar.evaluate(subject, &foreign.to_string());
    assert_eq!((status, &found["results"]), (200, &json!([])));
    let (status, ..) = sidecar.http(&format!("GET {subject}"), "", "");
    assert_eq!(status, 405);
    let (status, ..) = sidecar.http("POST /access/v1/search/policy", "", "");
    assert_eq!(status, 404);
}
