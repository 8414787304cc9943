//! Keys: made, rotated, revoked at once, never found anywhere.

use crate::cluster::cluster;
use crate::service::Control;
use serde_json::json;

#[test]
fn a_key_lives_from_its_creation_to_its_revocation() {
    let control = Control::start();
    control.tenant("acme");
    let path = "/v1/tenants/acme/api-keys";
    let admin = control.key("acme", &["tenant-admin"], &[]);
    let me = control.ask(&admin, "GET", "/v1/me", None).json();
    assert_eq!((&me["tenant"], &me["roles"]), (&json!("acme"), &json!(["tenant-admin"])));
    let made = control.ask(
        &admin,
        "POST",
        path,
        Some(json!({"name": "ci", "roles": ["service"], "scopes": ["setting:read"]})),
    );
    assert_eq!(made.status, 201, "{}", made.text);
    let (id, old) = (
        made.json()["id"].as_str().unwrap().to_owned(),
        made.json()["secret"].as_str().unwrap().to_owned(),
    );
    let setting = "/v1/tenants/acme/settings/tenant.currency";
    assert_eq!(control.ask(&old, "GET", setting, None).status, 200);
    assert_eq!(control.ask(&old, "GET", path, None).code(), "forbidden");
    let rotate = |overlap: u64| {
        let body = Some(json!({"overlap_seconds": overlap}));
        control.ask(&admin, "POST", &format!("{path}/{id}/rotate"), body)
    };
    let second = rotate(60).json()["secret"].as_str().unwrap().to_owned();
    for key in [&old, &second] {
        assert_eq!(control.ask(key, "GET", setting, None).status, 200);
    }
    let third = rotate(0).json()["secret"].as_str().unwrap().to_owned();
    for (key, status) in [(&old, 401), (&second, 401), (&third, 200)] {
        assert_eq!(control.ask(key, "GET", setting, None).status, status);
    }
    assert_eq!(rotate(604_801).code(), "invalid");
    let shown = control.ask(&admin, "GET", &format!("{path}/{id}"), None);
    let matching = format!("if-match: {}\r\n", shown.header("etag").unwrap());
    let revoked = control.ask_with(&admin, "DELETE", &format!("{path}/{id}"), &matching, None);
    assert_eq!(revoked.status, 204, "{}", revoked.text);
    assert_eq!(control.ask(&third, "GET", setting, None).code(), "credential-revoked");
    control.ask(&admin, "GET", path, None);
    let events =
        control.ask(&admin, "GET", "/v1/tenants/acme/audit-events?resource=api-key", None).json();
    let actions: Vec<_> = events["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["action"].as_str().unwrap())
        .collect();
    assert_eq!(
        actions,
        [
            "api_key.created",
            "api_key.created",
            "api_key.rotated",
            "api_key.rotated",
            "api_key.revoked"
        ]
    );
}

#[test]
fn nobody_grants_more_than_they_hold_and_the_last_administrator_stays() {
    let control = Control::start();
    control.tenant("acme");
    let admin = control.key("acme", &["tenant-admin"], &[]);
    let path = "/v1/tenants/acme/api-keys";
    for (roles, scopes, status, code) in [
        (json!(["member"]), json!([]), 201, ""),
        (json!(["billing"]), json!([]), 201, ""),
        (json!(["auditor"]), json!([]), 403, "forbidden"),
        (json!(["platform-admin"]), json!([]), 422, "invalid"),
        (json!(["service"]), json!(["tenant:suspend"]), 403, "forbidden"),
        (json!(["service"]), json!(["no:such"]), 422, "invalid"),
        (json!([]), json!([]), 422, "invalid"),
    ] {
        let body = json!({"name": "k", "roles": roles, "scopes": scopes});
        let made = control.ask(&admin, "POST", path, Some(body));
        assert_eq!(
            (made.status, made.code().as_str()),
            (status, code),
            "{roles} {scopes}: {}",
            made.text
        );
    }
    for (list, key) in [(path, &admin), ("/v1/api-keys", &control.admin)] {
        let keys = control.ask(key, "GET", list, None).json();
        let first = keys["data"][0]["id"].as_str().unwrap().to_owned();
        let gone =
            control.ask_with(key, "DELETE", &format!("{list}/{first}"), "if-match: *\r\n", None);
        assert_eq!(gone.code(), "last-admin", "{}", gone.text);
    }
}

#[test]
fn bootstrap_makes_one_key_and_recovers_loudly() {
    let control = Control::start();
    let file = cluster().folder.join("again.key");
    let out = file.display().to_string();
    assert_eq!(control.run(&["bootstrap", "--out", &out]).status.code(), Some(1));
    assert_eq!(control.run(&["bootstrap"]).status.code(), Some(1));
    let recovered = control.run(&["bootstrap", "--out", &out, "--recover", "--reason", "lost"]);
    assert!(recovered.status.success());
    let key = std::fs::read_to_string(&file).unwrap();
    assert_eq!(control.ask(key.trim(), "GET", "/v1/me", None).status, 200);
    let events = control
        .ask(&control.admin, "GET", "/v1/audit-events?action=api_key.recovered", None)
        .json();
    assert_eq!(events["data"][0]["actor"]["type"], "bootstrap");
}

#[test]
fn no_secret_is_found_in_a_log_or_a_table() {
    let control = Control::start();
    control.tenant("acme");
    let secret = control.key("acme", &["tenant-admin"], &[]);
    control.ask(&secret, "GET", "/v1/me", None);
    control.ask(
        &secret,
        "POST",
        "/v1/tenants/acme/api-keys",
        Some(json!({"name": secret, "roles": []})),
    );
    let (database, _) = control.placement("acme");
    let dump = |database: &str| {
        let tables = "SELECT string_agg(query_to_xml('SELECT * FROM ' || quote_ident(tablename), true, false, '')::text, '') \
            FROM pg_tables WHERE schemaname = 'public'";
        cluster().psql(database, tables).unwrap()
    };
    for canary in [&secret[4..], &control.admin[4..]] {
        for (name, text) in [
            ("platform", dump(&control.database)),
            ("tenant", dump(&database)),
            ("log", control.log()),
        ] {
            assert!(!text.contains(canary), "a secret stands in the {name}");
        }
    }
}
