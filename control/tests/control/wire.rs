//! The conventions: codes in their order of precedence, ids, versions, cursors, idempotency.

use crate::service::{Control, exchange};
use serde_json::{Value as Json, json};

#[test]
fn each_refusal_has_its_code_and_the_earlier_one_wins() {
    let control = Control::start_with(&[("TOLLGATE_API__BODY_BYTES_MAX", "2000")]);
    control.tenant("acme");
    control.tenant("beta");
    let (admin, member) = (control.admin.clone(), control.key("acme", &["member"], &[]));
    let acme_admin = control.key("acme", &["tenant-admin"], &[]);
    let good = "content-type: application/json\r\n";
    let auth = |key: &str| format!("authorization: Bearer {key}\r\n");
    let twice = format!("{}{}", auth(&admin), auth(&member));
    let mut wrong = admin.clone();
    wrong.replace_range(20..21, if &admin[20..21] == "a" { "b" } else { "a" });
    let tenants = "/v1/tenants";
    let acme = "/v1/tenants/acme";
    let new = r#"{"id":"gamma","display_name":"G"}"#;
    let long = format!("{{\"id\":\"{}\"}}", "x".repeat(3000));
    for (name, method, path, headers, body, status, code) in [
        ("no key", "GET", acme, String::new(), "", 401, "unauthenticated"),
        ("bad checksum", "GET", acme, auth(&wrong), "", 401, "unauthenticated"),
        (
            "other scheme",
            "GET",
            acme,
            format!("authorization: Basic {admin}\r\n"),
            "",
            401,
            "unauthenticated",
        ),
        ("two keys", "GET", acme, twice.clone(), "", 400, "ambiguous-credential"),
        (
            "bad request id",
            "GET",
            acme,
            format!("{twice}x-request-id: a b\r\n"),
            "",
            400,
            "invalid-request-id",
        ),
        ("bad escape", "GET", "/v1/tenants/%zz", auth(&admin), "", 400, "malformed"),
        (
            "other platform",
            "GET",
            acme,
            format!("{}x-platform-id: other\r\n", auth(&admin)),
            "",
            403,
            "platform-mismatch",
        ),
        (
            "other tenant header",
            "GET",
            acme,
            format!("{}x-tenant-id: beta\r\n", auth(&admin)),
            "",
            403,
            "tenant-mismatch",
        ),
        (
            "tenant header on me",
            "GET",
            "/v1/me",
            format!("{}x-tenant-id: beta\r\n", auth(&member)),
            "",
            403,
            "tenant-mismatch",
        ),
        (
            "other user",
            "GET",
            acme,
            format!("{}x-user-id: bob\r\n", auth(&admin)),
            "",
            403,
            "user-mismatch",
        ),
        ("no tenant", "GET", "/v1/tenants/nobody", auth(&admin), "", 404, "tenant-not-found"),
        (
            "foreign tenant",
            "GET",
            "/v1/tenants/beta",
            auth(&acme_admin),
            "",
            404,
            "tenant-not-found",
        ),
        ("no route", "GET", "/v1/nothing", auth(&admin), "", 404, "route-not-found"),
        (
            "no route below a foreign tenant",
            "GET",
            "/v1/tenants/beta/x",
            auth(&acme_admin),
            "",
            404,
            "tenant-not-found",
        ),
        ("method", "DELETE", acme, auth(&member), "", 405, "method-not-allowed"),
        ("not permitted", "PATCH", acme, auth(&member), "not json", 403, "forbidden"),
        ("clusters", "GET", "/v1/clusters", auth(&acme_admin), "", 403, "forbidden"),
        ("too large", "POST", tenants, auth(&admin), &long, 413, "too-large"),
        ("media type", "POST", tenants, auth(&admin), new, 415, "unsupported-media-type"),
        ("no json", "POST", tenants, auth(&admin) + good, "{", 400, "malformed-json"),
        ("no object", "POST", tenants, auth(&admin) + good, "[]", 422, "invalid"),
        ("missing member", "POST", tenants, auth(&admin) + good, "{}", 422, "invalid"),
        (
            "unknown member",
            "POST",
            tenants,
            auth(&admin) + good,
            r#"{"id":"gamma","display_name":"G","x":1}"#,
            422,
            "invalid",
        ),
        (
            "bad id",
            "POST",
            tenants,
            auth(&admin) + good,
            r#"{"id":"G","display_name":"G"}"#,
            422,
            "invalid",
        ),
        (
            "reserved id",
            "POST",
            tenants,
            auth(&admin) + good,
            r#"{"id":"platform","display_name":"G"}"#,
            422,
            "invalid",
        ),
        (
            "jurisdiction",
            "POST",
            tenants,
            auth(&admin) + good,
            r#"{"id":"gamma","display_name":"G","jurisdictions":["moon"]}"#,
            422,
            "invalid",
        ),
        ("limit", "GET", "/v1/tenants?limit=201", auth(&admin), "", 422, "invalid"),
        ("unknown filter", "GET", "/v1/tenants?color=red", auth(&admin), "", 422, "invalid"),
        ("cursor", "GET", "/v1/tenants?cursor=abc", auth(&admin), "", 400, "invalid-cursor"),
        ("no key of that id", "GET", "/v1/api-keys/key_0", auth(&admin), "", 404, "not-found"),
        ("no setting", "GET", "/v1/settings/no.such", auth(&admin), "", 404, "not-found"),
        (
            "no If-Match",
            "PATCH",
            acme,
            auth(&admin) + good,
            r#"{"display_name":"A"}"#,
            428,
            "if-match-required",
        ),
        (
            "old If-Match",
            "PATCH",
            acme,
            auth(&admin) + good + "if-match: \"1\"\r\n",
            r#"{"display_name":"A"}"#,
            412,
            "version-mismatch",
        ),
        (
            "used id",
            "POST",
            tenants,
            auth(&admin) + good,
            r#"{"id":"acme","display_name":"A"}"#,
            409,
            "already-exists",
        ),
        (
            "wrong state",
            "POST",
            "/v1/tenants/acme/resume",
            auth(&admin) + good,
            r#"{"reason":"x"}"#,
            409,
            "invalid-state",
        ),
    ] {
        let answer = control.call(method, path, &headers, Some(body));
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (status, code),
            "{name}: {}",
            answer.text
        );
        assert!(answer.header("x-request-id").is_some(), "{name}");
    }
    // There or not, what may not be seen is the same, byte for byte.
    let foreign = control.call("GET", "/v1/tenants/beta", &auth(&acme_admin), None);
    let missing = control.call("GET", "/v1/tenants/nobody", &auth(&acme_admin), None);
    assert_eq!(foreign.text, missing.text);
    let invalid =
        control.ask(&admin, "POST", tenants, Some(json!({"id": "gamma", "display_name": 7})));
    assert_eq!(invalid.json()["error"]["details"]["fields"][0]["pointer"], "/display_name");
    let denied = control.ask(&member, "GET", acme, None);
    assert_eq!(denied.json()["error"]["details"], json!({"permission": "tenant:read"}));
    assert_eq!(control.call("GET", "/healthz", "", None).status, 200);
    assert!(!control.log().contains("panicked"), "{}", control.log());
}

#[test]
fn a_flood_of_bad_credentials_is_429_and_a_good_one_still_passes() {
    let control = Control::start_with(&[("TOLLGATE_API__UNAUTHENTICATED_PER_MINUTE", "5")]);
    let bad = || control.call("GET", "/v1/me", "", None);
    let statuses: Vec<u16> = (0..7).map(|_| bad().status).collect();
    assert_eq!(statuses[..5], [401; 5]);
    assert_eq!(statuses[6], 429);
    // Before all others: what would be 400 is 429 too, unless the credential is good.
    let bad_id = "x-request-id: no spaces\r\n";
    let two = "authorization: Bearer a\r\nauthorization: Bearer b\r\n";
    for (path, headers) in [("/v1/me", bad_id), ("/v1/%zz", ""), ("/v1/me", two)] {
        assert_eq!(bad().status, 429);
        assert_eq!(control.call("GET", path, headers, None).code(), "rate-limited", "{headers}");
    }
    assert_eq!(control.ask(&control.admin, "GET", "/v1/me", None).status, 200);
    assert_eq!(bad().status, 429);
    let known = control.ask_with(&control.admin, "GET", "/v1/me", bad_id, None);
    assert_eq!(known.code(), "invalid-request-id");
}

#[test]
fn versions_cursors_and_dry_runs() {
    // Behind a pooler that keeps no statements everything is the same.
    let control = Control::start_with(&[("TOLLGATE_DATABASE__NAMED_STATEMENTS", "false")]);
    for id in ["one", "two", "three"] {
        control.tenant(id);
    }
    let admin = &control.admin;
    let shown = control.ask(admin, "GET", "/v1/tenants/one", None);
    let etag = shown.header("etag").unwrap().to_owned();
    let same = control.ask_with(
        admin,
        "GET",
        "/v1/tenants/one",
        &format!("if-none-match: {etag}\r\n"),
        None,
    );
    assert_eq!((same.status, same.text.as_str()), (304, ""));
    let patch = json!({"display_name": "First", "labels": {"team": "a", "gone": null}});
    let matching = format!("if-match: {etag}\r\n");
    let dry = control.ask_with(
        admin,
        "PATCH",
        "/v1/tenants/one?dry_run=true",
        &matching,
        Some(patch.clone()),
    );
    assert_eq!(dry.status, 200, "{}", dry.text);
    assert_eq!(dry.json()["display_name"], "First");
    assert_eq!(dry.json()["changes"][0]["changed"], json!(["display_name", "labels"]));
    assert_eq!(control.ask(admin, "GET", "/v1/tenants/one", None).text, shown.text);
    let done = control.ask_with(admin, "PATCH", "/v1/tenants/one", &matching, Some(patch));
    assert_eq!(
        (done.status, &done.json()["labels"]),
        (200, &json!({"team": "a"})),
        "{}",
        done.text
    );
    assert_ne!(done.header("etag"), Some(etag.as_str()));
    // All pages together are the list, oldest first.
    let (mut cursor, mut seen) = (String::new(), Vec::new());
    loop {
        let page = control.ask(admin, "GET", &format!("/v1/tenants?limit=2{cursor}"), None).json();
        seen.extend(page["data"].as_array().unwrap().iter().map(|tenant| tenant["id"].clone()));
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(Json::from(seen), json!(["one", "two", "three"]));
    // A cursor belongs to its list, its filter and its credential.
    let first = control.ask(admin, "GET", "/v1/tenants?limit=1", None).json();
    let cursor = first["next_cursor"].as_str().unwrap();
    for path in ["/v1/operations?limit=1", "/v1/tenants?limit=1&state=active"] {
        let other = control.ask(admin, "GET", &format!("{path}&cursor={cursor}"), None);
        assert_eq!(other.code(), "invalid-cursor", "{path}");
    }
}

#[test]
fn an_idempotency_key_replays_and_never_repeats_a_secret() {
    let control = Control::start();
    control.tenant("acme");
    let admin = &control.admin;
    let key = "idempotency-key: \"abc-1\"\r\n";
    let body = || Some(json!({"name": "k", "roles": ["member"]}));
    let path = "/v1/tenants/acme/api-keys";
    let first = control.ask_with(admin, "POST", path, key, body());
    let again = control.ask_with(admin, "POST", path, "idempotency-key: abc-1\r\n", body());
    assert_eq!((first.status, again.status), (201, 201), "{}", again.text);
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(first.json()["id"], again.json()["id"]);
    assert!(first.json()["secret"].is_string() && again.json().get("secret").is_none());
    let other =
        control.ask_with(admin, "POST", path, key, Some(json!({"name": "x", "roles": ["member"]})));
    assert_eq!((other.status, other.code().as_str()), (422, "idempotency-mismatch"));
    // Many at once: one key is made.
    let created: Vec<_> = std::thread::scope(|scope| {
        let ask = || control.ask_with(admin, "POST", path, "idempotency-key: k2\r\n", body());
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for answer in &created {
        assert!(
            answer.status == 201 || answer.code() == "idempotency-in-progress",
            "{}",
            answer.text
        );
    }
    let list = control.ask(admin, "GET", path, None).json();
    assert_eq!(list["data"].as_array().unwrap().len(), 2, "{list}");
}

#[test]
fn every_route_and_code_has_a_series_and_the_scrape_is_apart() {
    let control = Control::start();
    let scrape = exchange(control.ops, "GET", "/metrics", "", "");
    assert_eq!(scrape.status, 200);
    control.ask(&control.admin, "GET", "/v1/me", None);
    control.call("GET", "/v1/me", "", None);
    let scrape = exchange(control.ops, "GET", "/metrics", "", "").text;
    for route in tollgate_control::routes::ROUTES {
        let series = format!("method=\"{}\",route=\"{}\"", route.method, route.path);
        assert!(scrape.contains(&series), "{series}");
    }
    for code in tollgate_control::code::Code::ALL {
        assert!(scrape.contains(&format!("code=\"{}\"", code.name())), "{code:?}");
    }
    assert!(scrape.contains("tollgate_control_refusals_total{code=\"unauthenticated\"} 1"));
    assert!(scrape.contains(
        "tollgate_control_request_duration_seconds_count{method=\"GET\",route=\"/v1/me\"} 2"
    ));
    assert_eq!(control.ask(&control.admin, "GET", "/metrics", None).code(), "route-not-found");
    assert_eq!(exchange(control.ops, "GET", "/readyz", "", "").status, 200);
}

#[test]
fn the_document_needs_a_credential_unless_it_is_public() {
    let control = Control::start();
    for path in ["/openapi.json", "/docs"] {
        assert_eq!(control.call("GET", path, "", None).code(), "unauthenticated");
        assert_eq!(control.ask(&control.admin, "GET", path, None).status, 200);
    }
    let public = Control::start_with(&[
        ("TOLLGATE_API__PUBLIC_DOCS", "true"),
        ("TOLLGATE_PLATFORM__PUBLIC_URL", "https://api.example.com/a/b/"),
    ]);
    let document = public.call("GET", "/openapi.json", "", None).json();
    assert_eq!(document["servers"][0]["url"], "https://api.example.com/a/b/");
    assert!(public.call("GET", "/docs", "", None).head.contains("text/html"));
    // Links carry the prefix behind which clients reach the API.
    let body = json!({"id": "acme", "display_name": "Acme"});
    let made = public.ask(&public.admin, "POST", "/v1/tenants", Some(body));
    assert!(
        made.header("location").unwrap().starts_with("/a/b/v1/operations/op_"),
        "{}",
        made.head
    );
}
