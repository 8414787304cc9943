//! OWASP API Security Top 10 (2023), one test each by name.

use crate::service::Control;
use http::Method;
use serde_json::{Value as Json, json};
use tollgate_control::routes::ROUTES;

/// A route's path with the tenant and other values filled in.
fn path(route: &str, tenant: &str, other: &str) -> String {
    let fill = |segment: &str| match segment {
        "{tenant_id}" => tenant.to_owned(),
        name if name.starts_with('{') => other.to_owned(),
        literal => literal.to_owned(),
    };
    route.split('/').map(fill).collect::<Vec<_>>().join("/")
}

#[test]
fn api1_broken_object_level_authorization() {
    let control = Control::start();
    control.tenant("acme");
    control.tenant("beta");
    let acme = control.key("acme", &["tenant-admin"], &[]);
    let made = json!({"name": "theirs", "roles": ["member"]});
    let theirs =
        control.ask(&control.admin, "POST", "/v1/tenants/beta/api-keys", Some(made)).json();
    let id = theirs["id"].as_str().unwrap();
    for route in ROUTES.iter().filter(|route| route.path.contains("{tenant_id}")) {
        let path = path(route.path, "beta", id);
        let answer =
            control.ask_with(&acme, route.method.as_str(), &path, "if-match: \"1\"\r\n", None);
        assert_eq!((answer.status, answer.code().as_str()), (404, "tenant-not-found"), "{route:?}");
    }
    let own = format!("/v1/tenants/acme/api-keys/{id}");
    assert_eq!(control.ask(&acme, "GET", &own, None).code(), "not-found");
    let operations =
        control.ask(&control.admin, "GET", "/v1/operations?tenant_id=beta", None).json();
    let operation = format!("/v1/operations/{}", operations["data"][0]["id"].as_str().unwrap());
    assert_eq!(control.ask(&acme, "GET", &operation, None).code(), "not-found");
}

#[test]
fn api2_broken_authentication() {
    let control = Control::start();
    let key = control.admin.clone();
    let cut = &key[..key.len() - 1];
    for headers in [
        String::new(),
        format!("authorization: Bearer {cut}\r\n"),
        format!("authorization: Bearer {key}x\r\n"),
        format!("authorization: {key}\r\n"),
        format!("authorization: Basic {key}\r\n"),
        format!("cookie: session={key}\r\n"),
        format!("x-api-key: {key}\r\n"),
    ] {
        assert_eq!(control.call("GET", "/v1/me", &headers, None).status, 401, "{headers}");
    }
    let in_query = format!("/v1/me?access_token={key}");
    assert_eq!(control.call("GET", &in_query, "", None).status, 401);
    assert!(!control.log().contains(cut));
}

#[test]
fn api3_broken_object_property_level_authorization() {
    let control = Control::start();
    control.tenant("acme");
    let key = control.key("acme", &["tenant-admin"], &[]);
    for (method, path, body) in [
        ("PATCH", "/v1/tenants/acme", json!({"state": "active"})),
        ("PATCH", "/v1/tenants/acme", json!({"placement": {"cluster": "x"}})),
        ("PATCH", "/v1/tenants/acme", json!({"id": "other"})),
        (
            "POST",
            "/v1/tenants/acme/api-keys",
            json!({"name": "k", "roles": ["member"], "hash": "00"}),
        ),
        (
            "POST",
            "/v1/tenants/acme/api-keys",
            json!({"name": "k", "roles": ["member"], "created_by": "x"}),
        ),
    ] {
        let answer = control.ask_with(&key, method, path, "if-match: *\r\n", Some(body.clone()));
        assert_eq!((answer.status, answer.code().as_str()), (422, "invalid"), "{body}");
    }
    let listed = control.ask(&key, "GET", "/v1/tenants/acme/api-keys", None);
    for hidden in ["\"secret\"", "\"hash\"", "previous_hash", &key] {
        assert!(!listed.text.contains(hidden), "{hidden}");
    }
    let tenant = control.ask(&key, "GET", "/v1/tenants/acme", None).text;
    let (database, role) = control.placement("acme");
    assert!(!tenant.contains(&database) && !tenant.contains(&role));
}

#[test]
fn api4_unrestricted_resource_consumption() {
    let control = Control::start_with(&[("TOLLGATE_API__RATE_PER_MINUTE", "20")]);
    let admin = &control.admin;
    assert_eq!(control.ask(admin, "GET", "/v1/tenants?limit=1000000", None).code(), "invalid");
    assert_eq!(
        control.ask(admin, "GET", "/v1/operations/x?wait_ms=3000000", None).code(),
        "invalid"
    );
    let long = json!({"id": "acme", "display_name": "x".repeat(2_000_000)});
    assert_eq!(control.ask(admin, "POST", "/v1/tenants", Some(long)).code(), "too-large");
    let scopes: Vec<&str> = vec!["tenant:read"; 65];
    let many = json!({"name": "k", "roles": ["auditor"], "scopes": scopes});
    assert_eq!(control.ask(admin, "POST", "/v1/api-keys", Some(many)).code(), "invalid");
    let statuses: Vec<u16> =
        (0..30).map(|_| control.ask(admin, "GET", "/v1/me", None).status).collect();
    assert!(statuses.contains(&429));
}

#[test]
fn api5_broken_function_level_authorization() {
    let control = Control::start();
    control.tenant("acme");
    let member = control.key("acme", &["member"], &[]);
    let auditor = control.key("acme", &["auditor"], &[]);
    for route in ROUTES {
        let path = path(route.path, "acme", "x");
        let answer = control.ask(&member, route.method.as_str(), &path, None);
        let expected = if route.permission == "me" { 200 } else { 403 };
        assert_eq!(answer.status, expected, "a member: {route:?}");
        // Lint, tests and diff of a draft are looked at by POST.
        if route.method != Method::GET && !route.permission.ends_with(":read") {
            let answer = control.ask(&auditor, route.method.as_str(), &path, None);
            assert_eq!(answer.code(), "forbidden", "an auditor: {route:?}");
        }
    }
}

#[test]
fn api6_unrestricted_access_to_sensitive_business_flows() {
    let control = Control::start_with(&[
        ("TOLLGATE_API__RATE_PER_MINUTE", "10"),
        ("TOLLGATE_JOBS__ENABLED", "false"),
    ]);
    let made = (0..30).filter(|at| {
        let body = json!({"id": format!("tenant-{at}"), "display_name": "T"});
        control.ask(&control.admin, "POST", "/v1/tenants", Some(body)).status == 202
    });
    assert!((1..=11).contains(&made.count()), "tenants are not made faster than the rate");
}

#[test]
fn api7_server_side_request_forgery() {
    let control = Control::start();
    let document = control.ask(&control.admin, "GET", "/openapi.json", None).json();
    // Of all that a caller sends only an identity provider's addresses are opened, and a cluster's by the protocol of
    // Postgres. The platform alone sets both: https, or this very machine.
    for url in [
        "http://id.example.com",
        "http://10.0.0.1",
        "https://169.254.169.254",
        "http://169.254.169.254/latest",
        "https://user@id.example.com",
        "http://[::ffff:127.0.0.1]",
        "http://0x7f.1",
        "http://2130706433",
        "file:///etc/passwd",
        "gopher://127.0.0.1",
        "https://",
        "https://id.example.com?x=1",
        "https://id.example.com#x",
        "",
    ] {
        for name in ["issuer", "jwks_uri"] {
            let mut body = json!({"issuer": "https://id.example.com", "audience": ["api"]});
            body[name] = json!(url);
            let answer = control.ask(&control.admin, "POST", "/v1/identity-providers", Some(body));
            assert_eq!((answer.status, answer.code().as_str()), (422, "invalid"), "{name} {url}");
        }
    }
    let paths = document["paths"].as_object().unwrap();
    let bodies = paths.values().flat_map(|path| path.as_object().unwrap().values());
    let bodies = bodies.filter_map(|one| {
        one["requestBody"]["content"]["application/json"]["schema"]["$ref"].as_str()
    });
    let known = |body: &str, member: &str| {
        member == "jwks_uri"
            || (["NewCluster", "ClusterPatch"].contains(&body)
                && ["url", "direct_url"].contains(&member))
    };
    for reference in bodies {
        let name = reference.rsplit('/').next().unwrap();
        let members = document["components"]["schemas"][name]["properties"].as_object().unwrap();
        for member in members.keys().filter(|member| !known(name, member)) {
            let is_address = |word| ["url", "uri", "host", "webhook", "callback"].contains(&word);
            assert!(!member.split('_').any(is_address), "{name}.{member}");
        }
    }
}

#[test]
fn api8_security_misconfiguration() {
    let control = Control::start();
    let open = ["--check"];
    for (variable, value) in
        [("TOLLGATE_API__LISTEN", "0.0.0.0:8082"), ("TOLLGATE_API__LISTEN", "[::]:8082")]
    {
        let output = control.run_with(variable, value, &open);
        assert_eq!(output.status.code(), Some(4), "{value}");
    }
    assert_eq!(control.call("GET", "/metrics", "", None).status, 401);
    assert_eq!(control.call("GET", "/openapi.json", "", None).status, 401);
    let preflight = "origin: https://evil.example\r\naccess-control-request-method: GET\r\n";
    let answer = control.call("OPTIONS", "/v1/me", preflight, None);
    assert!(answer.header("access-control-allow-origin").is_none());
    let shown = control.run(&open);
    assert!(!String::from_utf8_lossy(&shown.stdout).contains("postgres://"));
}

#[test]
fn api9_improper_inventory_management() {
    let control = Control::start();
    let document = control.ask(&control.admin, "GET", "/openapi.json", None).json();
    let paths = document["paths"].as_object().unwrap().values();
    let all: Vec<&Json> = paths.flat_map(|path| path.as_object().unwrap().values()).collect();
    // Those without a credential are the five doors of sign-on.
    let open = all.iter().filter(|operation| operation["security"] == json!([])).count();
    assert_eq!((all.len() - open, open), (ROUTES.len(), 5));
    for path in [
        "/v2/me",
        "/v0/me",
        "/me",
        "/v1beta/me",
        "/v1/debug",
        "/v1/admin",
        "/actuator",
        "/v1/Me",
        "/v1/me/",
    ] {
        assert_eq!(
            control.ask(&control.admin, "GET", path, None).code(),
            "route-not-found",
            "{path}"
        );
    }
}

#[test]
fn api10_unsafe_consumption_of_apis() {
    let control = Control::start();
    // What somebody else says of a call is not believed unless it is trusted.
    let forged = "x-forwarded-for: 203.0.113.9\r\nx-real-ip: 203.0.113.9\r\n";
    let body = json!({"name": "k", "roles": ["auditor"]});
    let made = control.ask_with(&control.admin, "POST", "/v1/api-keys", forged, Some(body));
    assert_eq!(made.status, 201);
    let source = |control: &Control| -> Json {
        let log = control.ask(
            &control.admin,
            "GET",
            "/v1/audit-events?action=api_key.created&limit=200",
            None,
        );
        log.json()["data"].as_array().unwrap().last().unwrap()["source_address"].clone()
    };
    assert_eq!(source(&control), "127.0.0.1");
    let control = Control::start_with(&[("TOLLGATE_API__TRUSTED_PROXIES", "[\"127.0.0.1\"]")]);
    let chain = "x-forwarded-for: 198.51.100.1, 203.0.113.9, 127.0.0.1\r\n";
    let body = json!({"name": "k", "roles": ["auditor"]});
    control.ask_with(&control.admin, "POST", "/v1/api-keys", chain, Some(body));
    assert_eq!(source(&control), "203.0.113.9");
}
