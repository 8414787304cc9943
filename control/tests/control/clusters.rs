//! More than one cluster: tenants are placed where their jurisdictions allow, and nowhere else.

use crate::cluster::{Cluster, cluster, psql_in};
use crate::fleet::NOT_THERE;
use crate::service::{Answer, Control};
use serde_json::{Value as Json, json};

fn admin(control: &Control, method: &str, path: &str, body: Option<Json>) -> Answer {
    let headers = if method == "PATCH" { "if-match: *\r\n" } else { "" };
    control.ask_with(&control.admin, method, path, headers, body)
}

fn is_refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.code().as_str()), (status, code), "{}", answer.text);
}

fn tenant(control: &Control, id: &str, jurisdictions: &[&str]) -> Json {
    let body = json!({"id": id, "display_name": id, "jurisdictions": jurisdictions});
    let made = admin(control, "POST", "/v1/tenants", Some(body));
    assert_eq!(made.status, 202, "{}", made.text);
    let path = format!("{}?wait_ms=20000", made.header("location").unwrap());
    let ended = admin(control, "GET", &path, None).json();
    assert_eq!(ended["state"], "succeeded", "{ended}\n{}", control.log());
    admin(control, "GET", &format!("/v1/tenants/{id}"), None).json()
}

#[test]
fn tenants_are_placed_within_their_jurisdictions_and_stay_there() {
    let (mut control, second) = (Control::start(), Cluster::start("second"));
    let new = |id: &str, url: &str| json!({"id": id, "region": "eu-central", "jurisdiction": "eu", "url": url, "tenants_max": 2});
    // What cannot be reached, or is no address, is not known; nothing shows a password.
    for url in
        ["", "http://x", "postgres://u:canary@127.0.0.1:1/x", "postgres://u:canary@%2Fnowhere/x"]
    {
        let refused = admin(&control, "POST", "/v1/clusters", Some(new("eu-1", url)));
        is_refused(&refused, 422, "invalid");
        assert!(!refused.text.contains("canary"), "{}", refused.text);
    }
    is_refused(
        &admin(&control, "POST", "/v1/clusters", Some(new("Eu", &second.url("postgres")))),
        422,
        "invalid",
    );
    let made = admin(&control, "POST", "/v1/clusters", Some(new("eu-1", &second.url("postgres"))));
    assert_eq!(made.status, 201, "{}", made.text);
    assert_eq!(
        (&made.json()["is_platforms"], &made.json()["state"]),
        (&json!(false), &json!("active"))
    );
    assert!(
        !made.text.contains(crate::cluster::PASSWORD)
            && !control.log().contains(crate::cluster::PASSWORD)
    );
    let kept = control.psql("SELECT string_agg(c::text, '') FROM clusters c").unwrap();
    assert!(!kept.contains(crate::cluster::PASSWORD), "{kept}");
    is_refused(
        &admin(&control, "POST", "/v1/clusters", Some(new("eu-1", &second.url("postgres")))),
        409,
        "already-exists",
    );
    // Each where it may be: the tenant's own data is in no other cluster's files.
    let here = tenant(&control, "here", &["local"]);
    let there = tenant(&control, "there", &["eu"]);
    assert_eq!(here["placement"], json!({"cluster": "local", "region": "local"}));
    assert_eq!(there["placement"], json!({"cluster": "eu-1", "region": "eu-central"}));
    let (database, role) = control.placement("there");
    let count = |folder, name: &str| {
        psql_in(
            folder,
            "postgres",
            &format!("SELECT count(*) FROM pg_database WHERE datname = '{name}'"),
        )
        .unwrap()
    };
    assert_eq!(
        (count(&second.folder, &database), count(&cluster().folder, &database)),
        ("1".to_owned(), "0".to_owned())
    );
    let roles = format!("SELECT count(*) FROM pg_roles WHERE rolname = '{role}'");
    assert_eq!(cluster().psql("postgres", &roles).unwrap(), "0");
    let key = control.key("there", &["tenant-admin"], &[]);
    let group = json!({"display_name": "canary-of-there"});
    assert_eq!(control.ask(&key, "POST", "/v1/tenants/there/groups", Some(group)).status, 201);
    assert_eq!(
        control.ask(&key, "GET", "/v1/tenants/there/groups", None).json()["data"][0]["display_name"],
        "canary-of-there"
    );
    // The constraint is the database's: no code can place it elsewhere.
    let moved =
        control.psql("UPDATE placements SET cluster_id = 'local' WHERE tenant_id = 'there'");
    assert!(moved.unwrap_err().contains("outside the jurisdictions"));
    // A full cluster is given nobody; one more would be in another jurisdiction, so nobody takes it.
    tenant(&control, "second", &["eu"]);
    let full = json!({"id": "third", "display_name": "T", "jurisdictions": ["eu"]});
    let made = admin(&control, "POST", "/v1/tenants", Some(full));
    std::thread::sleep(std::time::Duration::from_millis(700));
    let path = made.header("location").unwrap().to_owned();
    let waits = admin(&control, "GET", &path, None).json();
    assert_eq!(
        (&waits["steps"][0]["name"], waits["steps"][0]["error"].is_string()),
        (&json!("place"), true),
        "{waits}"
    );
    for (body, status) in [
        (json!({"state": "closed"}), 422),
        (json!({"tenants_max": 0}), 422),
        (json!({"direct_url": "postgres://x/y"}), 422),
        (json!({"region": "us"}), 422),
        (json!({"tenants_max": 10}), 200),
    ] {
        let patched = admin(&control, "PATCH", "/v1/clusters/eu-1", Some(body.clone()));
        assert_eq!(patched.status, status, "{body} {}", patched.text);
    }
    let own = admin(
        &control,
        "PATCH",
        "/v1/clusters/local",
        Some(json!({"url": second.url("postgres")})),
    );
    is_refused(&own, 422, "invalid");
    let ended = admin(&control, "GET", &format!("{path}?wait_ms=20000"), None).json();
    assert_eq!(ended["state"], "succeeded", "{ended}");
    is_refused(&control.ask(&key, "GET", "/v1/clusters", None), 403, "forbidden");
    // A migration reaches both, and so does an offboarding.
    for name in ["here", "there"] {
        let (database, _) = control.placement(name);
        let folder = if name == "here" { &cluster().folder } else { &second.folder };
        let back = format!(
            "{NOT_THERE}; DELETE FROM schema_migrations WHERE version = (SELECT max(version) FROM schema_migrations)"
        );
        psql_in(folder, &database, &back).unwrap();
    }
    let behind = "SET session_replication_role = replica; UPDATE placements SET schema_version = schema_version - 1 WHERE tenant_id <> 'second'";
    control.psql(behind).unwrap();
    control.kill();
    control.again();
    let migrated = admin(&control, "GET", "/v1/migrations", None).json();
    let path =
        format!("/v1/operations/{}?wait_ms=20000", migrated["data"][0]["id"].as_str().unwrap());
    // The third was at head: what is there already is not made twice.
    let ended = admin(&control, "GET", &path, None).json();
    assert_eq!(ended["progress"]["total"], 3, "{ended}");
    assert_eq!(control.ask(&key, "GET", "/v1/me", None).status, 200);
    let why = json!({"reason": "x", "grace_days": 0});
    let made = admin(&control, "POST", "/v1/tenants/there/offboard", Some(why));
    let path = format!("{}?wait_ms=20000", made.header("location").unwrap());
    assert_eq!(
        admin(&control, "GET", &path, None).json()["state"],
        "succeeded",
        "{}",
        control.log()
    );
    assert_eq!(count(&second.folder, &database), "0");
}
