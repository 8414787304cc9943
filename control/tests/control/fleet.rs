//! The fleet's migrations: one tenant first, then more, then all; stopped by the first failure, paused, resumed, killed.

use crate::cluster::{cluster, psql_in};
use crate::service::{Answer, Control, READY};
use serde_json::{Value as Json, json};
use std::time::{Duration, Instant};

fn admin(control: &Control, method: &str, path: &str, body: Option<Json>) -> Answer {
    let headers = if method == "PATCH" { "if-match: *\r\n" } else { "" };
    control.ask_with(&control.admin, method, path, headers, body)
}

/// Takes away what the last migration makes.
pub(crate) const NOT_THERE: &str = "ALTER TABLE limits DROP COLUMN managed_by";

/// Puts a tenant's database back by one migration; one that is broken cannot be brought forward again.
pub(crate) fn put_back(control: &Control, tenant: &str, is_broken: bool) {
    let (database, _) = control.placement(tenant);
    let inside = |statement: &str| psql_in(&control.folder, &database, statement).unwrap();
    let last = "DELETE FROM schema_migrations WHERE version = (SELECT max(version) FROM schema_migrations)";
    inside(last);
    if !is_broken {
        mend(control, tenant);
    }
    let back = "SET session_replication_role = replica; UPDATE";
    let of = "SET schema_version = schema_version - 1";
    inside(&format!("{back} tenant_meta {of}"));
    control.psql(&format!("{back} placements {of} WHERE tenant_id = '{tenant}'")).unwrap();
}

/// What the last migration makes is not there.
fn mend(control: &Control, tenant: &str) {
    let (database, _) = control.placement(tenant);
    psql_in(&control.folder, &database, NOT_THERE).unwrap();
}

fn tenants(control: &Control, count: usize) -> Vec<String> {
    let names: Vec<String> = (0..count).map(|at| format!("tenant-{at:03}")).collect();
    names.iter().for_each(|name| control.tenant(name));
    names
}

fn behind(control: &Control) -> String {
    let statement = "SELECT count(*) FROM placements WHERE schema_version < (SELECT max(schema_version) FROM placements)";
    control.psql(statement).unwrap()
}

/// The newest migration, once something holds of it.
fn until(control: &Control, is_right: impl Fn(&Json) -> bool) -> Json {
    let began = Instant::now();
    loop {
        let all = admin(control, "GET", "/v1/migrations?sort=-created_at", None).json();
        if let Some(newest) = all["data"].get(0).filter(|newest| is_right(newest)) {
            return newest.clone();
        }
        assert!(began.elapsed() < READY * 4, "{all}\n{}", control.log());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_failing_canary_stops_at_one_tenant_and_the_rest_goes_on_when_it_is_mended() {
    let mut control = Control::start();
    let names = tenants(&control, 6);
    let keys: Vec<String> =
        names.iter().map(|name| control.key(name, &["tenant-admin"], &[])).collect();
    let label = json!({"labels": {"canary": "true"}});
    assert_eq!(admin(&control, "PATCH", "/v1/tenants/tenant-003", Some(label)).status, 200);
    control.tenant("at-head");
    for name in &names {
        put_back(&control, name, name == "tenant-003");
    }
    control.kill();
    control.again();
    let running = until(&control, |newest| newest["steps"][0]["attempts"].as_i64() >= Some(3));
    assert_eq!(
        (&running["kind"], &running["progress"]),
        (&json!("migration"), &json!({"done": 0, "total": 6}))
    );
    let error = running["steps"][0]["error"].as_str().unwrap_or("tenant-003: already exists");
    assert!(error.contains("tenant-003") && error.contains("already exists"), "{running}");
    assert_eq!(behind(&control), "6", "nobody else was begun");
    // A tenant behind is unavailable, whatever it asks; others are not.
    let refused = control.ask(&keys[0], "GET", "/v1/me", None);
    assert_eq!((refused.status, refused.code().as_str()), (503, "database-unavailable"));
    assert!(refused.header("retry-after").is_some());
    assert_eq!(admin(&control, "GET", "/v1/tenants/at-head/users", None).status, 200);
    assert_eq!(admin(&control, "GET", "/v1/tenants/tenant-000/users", None).status, 503);
    // Paused, nothing is begun; resumed, it goes on where it was.
    let id = running["id"].as_str().unwrap().to_owned();
    let path = |verb: &str| format!("/v1/migrations/{id}/{verb}");
    assert_eq!(admin(&control, "POST", &path("resume"), None).code(), "invalid-state");
    let paused = admin(&control, "POST", &path("pause"), None);
    assert_eq!(
        (paused.status, &paused.json()["result"]["paused"]),
        (200, &json!(true)),
        "{}",
        paused.text
    );
    assert_eq!(admin(&control, "POST", &path("pause"), None).code(), "invalid-state");
    std::thread::sleep(Duration::from_millis(1_200));
    mend(&control, "tenant-003");
    std::thread::sleep(Duration::from_millis(1_200));
    assert_eq!(behind(&control), "6");
    assert_eq!(admin(&control, "POST", &path("resume"), None).status, 200);
    let ended = until(&control, |newest| newest["state"] == "succeeded");
    assert_eq!((&ended["id"], &ended["progress"]), (&json!(id), &json!({"done": 6, "total": 6})));
    let steps: Vec<&str> = ended["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| step["name"].as_str().unwrap())
        .collect();
    assert_eq!(steps, ["canary", "one-percent", "ten-percent", "all"]);
    for key in &keys {
        assert_eq!(control.ask(key, "GET", "/v1/me", None).status, 200);
    }
    let other = admin(&control, "GET", &format!("/v1/migrations/{}", "op_none"), None);
    assert_eq!(other.code(), "not-found");
    assert_eq!(control.ask(&keys[0], "GET", "/v1/migrations", None).code(), "forbidden");
    // Where there is nothing to do, it has ended before anybody looks.
    let made = admin(&control, "POST", "/v1/migrations", None);
    assert_eq!(made.status, 202, "{}", made.text);
    let wait = format!("{}?wait_ms=5000", made.header("location").unwrap());
    let ended = admin(&control, "GET", &wait, None).json();
    assert_eq!((&ended["state"], &ended["progress"]["total"]), (&json!("succeeded"), &json!(0)));
}

#[test]
fn a_migration_that_is_killed_anywhere_is_taken_up() {
    let mut control = Control::start();
    let count = std::env::var("FLEET").map_or(12, |count| count.parse().unwrap());
    control.tenant("at-head");
    let names = tenants(&control, count);
    names.iter().for_each(|name| put_back(&control, name, false));
    for at in 0..4 {
        control.kill();
        control.again();
        std::thread::sleep(Duration::from_millis(at * 31 % 90));
    }
    let began = Instant::now();
    let ended = until(&control, |newest| newest["state"] == "succeeded");
    assert_eq!(behind(&control), "0", "{ended} {:?}", began.elapsed());
    let all = admin(&control, "GET", "/v1/migrations", None).json();
    assert_eq!(all["data"].as_array().unwrap().len(), 1, "{all}");
    for name in &names {
        let path = format!("/v1/tenants/{name}/audit-events?action=schema.migrated");
        let events = admin(&control, "GET", &path, None).json();
        assert!(!events["data"].as_array().unwrap().is_empty(), "{name}");
        let (database, _) = control.placement(name);
        let made =
            "SELECT count(*) FROM information_schema.columns WHERE column_name = 'managed_by'";
        assert_eq!(cluster().psql(&database, made).unwrap(), "1", "{name}");
    }
}
