//! The API below a path prefix, whether a proxy in front takes it away or not.

use crate::service::Control;
use serde_json::json;

#[test]
fn it_works_below_any_prefix() {
    let control =
        Control::start_with(&[("TOLLGATE_PLATFORM__PUBLIC_URL", "https://api.example.com/a/b/")]);
    control.tenant("acme");
    let admin = &control.admin;
    for prefix in ["", "/a/b"] {
        for path in ["/healthz", "/readyz"] {
            assert_eq!(control.call("GET", &format!("{prefix}{path}"), "", None).status, 200);
        }
        for path in
            ["/v1/me", "/v1/tenants/acme", "/v1/tenants/acme/settings", "/openapi.json", "/docs"]
        {
            let answer = control.ask(admin, "GET", &format!("{prefix}{path}"), None);
            assert_eq!(answer.status, 200, "{prefix}{path}: {}", answer.text);
        }
        let new = json!({"id": format!("tenant-{}", prefix.len()), "display_name": "T"});
        let made = control.ask(admin, "POST", &format!("{prefix}/v1/tenants"), Some(new));
        let location = made.header("location").unwrap().to_owned();
        assert!(location.starts_with("/a/b/v1/operations/op_"), "{location}");
        let operation = control.ask(admin, "GET", &format!("{location}?wait_ms=20000"), None);
        assert_eq!(operation.json()["state"], "succeeded", "{}", operation.text);
    }
    // A key of idempotency and a cursor are the same call's, by either way.
    let body = || Some(json!({"name": "k", "roles": ["member"]}));
    let key = "idempotency-key: one\r\n";
    let path = "/v1/tenants/acme/api-keys";
    let first = control.ask_with(admin, "POST", path, key, body());
    let again = control.ask_with(admin, "POST", &format!("/a/b{path}"), key, body());
    assert_eq!(first.json()["id"], again.json()["id"], "{}", again.text);
    let page = control.ask(admin, "GET", "/v1/tenants?limit=1", None).json();
    let next = format!("/a/b/v1/tenants?limit=1&cursor={}", page["next_cursor"].as_str().unwrap());
    assert_eq!(control.ask(admin, "GET", &next, None).status, 200);
    // Another prefix is none.
    for path in ["/a/v1/me", "/a/bv1/me", "/a/b/a/b/v1/me", "/b/v1/me"] {
        assert_eq!(control.ask(admin, "GET", path, None).code(), "route-not-found", "{path}");
    }
    let document = control.ask(admin, "GET", "/openapi.json", None).json();
    assert_eq!(document["servers"][0]["url"], "https://api.example.com/a/b/");
}
