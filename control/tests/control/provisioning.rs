//! Tenants' lives: provisioned through any crash, suspended, resumed, audited.

use crate::cluster::{Cluster, cluster};
use crate::service::Control;
use serde_json::json;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

#[test]
fn a_tenant_is_made_through_any_number_of_kills() {
    let mut control = Control::start();
    let count = 6;
    for at in 0..count {
        let body = json!({"id": format!("tenant-{at}"), "display_name": "T"});
        assert_eq!(control.ask(&control.admin, "POST", "/v1/tenants", Some(body)).status, 202);
        // Somewhere in the middle of the steps.
        std::thread::sleep(std::time::Duration::from_millis(at * 23 % 120));
        control.kill();
        control.again();
    }
    let operations = control.ask(&control.admin, "GET", "/v1/operations", None).json();
    for operation in operations["data"].as_array().unwrap() {
        let path = format!("/v1/operations/{}?wait_ms=15000", operation["id"].as_str().unwrap());
        let ended = control.ask(&control.admin, "GET", &path, None);
        assert_eq!(ended.json()["state"], "succeeded", "{}", ended.text);
    }
    // Nothing is left over: as many databases and roles as placements.
    let placed = control.psql("SELECT count(*) FROM placements").unwrap();
    assert_eq!(placed, count.to_string());
    let orphans = "SELECT count(*) FROM pg_database d WHERE datname IN (SELECT database_name FROM placements)";
    assert_eq!(control.psql(orphans).unwrap(), placed);
    let events =
        control.ask(&control.admin, "GET", "/v1/audit-events?action=tenant.activated", None).json();
    assert_eq!(events["data"].as_array().unwrap().len(), usize::try_from(count).unwrap());
}

/// Holds whoever has done a step before it is written down.
const HOLD: &str = "CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
    IF NEW.name = TG_ARGV[0] AND NEW.state = 'succeeded' THEN PERFORM pg_sleep(60); END IF; RETURN NEW; END $$";

#[test]
fn each_step_may_be_killed_behind_its_effect() {
    let steps = ["place", "role", "database", "grants", "schema", "defaults", "probe", "activate"];
    std::thread::scope(|scope| {
        for step in steps {
            scope.spawn(move || killed_behind(step));
        }
    });
}

/// From now on whoever has done this step waits before it is written down.
pub(crate) fn hold(control: &Control, step: &str) {
    control.psql(HOLD).unwrap();
    let trigger = format!(
        "CREATE TRIGGER hold BEFORE UPDATE ON operation_steps FOR EACH ROW EXECUTE FUNCTION hold('{step}')"
    );
    control.psql(&trigger).unwrap();
}

pub(crate) fn wait_until_held(control: &Control, step: &str) {
    let held = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()";
    let began = std::time::Instant::now();
    while control.psql(held).unwrap() == "0" {
        assert!(began.elapsed() < crate::service::READY, "{step}: {}", control.log());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

pub(crate) fn let_go(control: &Control) {
    let free = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()";
    control.psql(free).unwrap();
    control.psql("DROP TRIGGER hold ON operation_steps").unwrap();
}

fn killed_behind(step: &str) {
    let mut control = Control::start();
    hold(&control, step);
    let body = json!({"id": "acme", "display_name": "Acme"});
    let made = control.ask(&control.admin, "POST", "/v1/tenants", Some(body)).json();
    wait_until_held(&control, step);
    control.kill();
    let_go(&control);
    control.again();
    let path =
        format!("/v1/operations/{}?wait_ms=15000", made["operation"]["id"].as_str().unwrap());
    let ended = control.ask(&control.admin, "GET", &path, None).json();
    assert_eq!(
        (&ended["state"], &ended["progress"]["done"]),
        (&json!("succeeded"), &json!(8)),
        "{step}: {ended}"
    );
    control.key("acme", &["member"], &[]);
    // Once each, however often it was tried.
    let log = control.ask(&control.admin, "GET", "/v1/audit-events?resource=acme", None).json();
    let actions: Vec<_> = log["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["action"].as_str().unwrap())
        .collect();
    assert_eq!(actions, ["tenant.created", "tenant.placed", "tenant.activated"], "{step}");
}

#[test]
fn what_cannot_be_made_is_retried_or_cleaned_up() {
    let control = Control::start();
    // While everybody may connect to the platform's database, no tenant passes its probe.
    let open = |to: &str| control.psql(&format!("{to} PUBLIC")).unwrap();
    open(&format!("GRANT CONNECT ON DATABASE {} TO", control.database));
    let operations: Vec<String> = ["acme", "beta"]
        .iter()
        .map(|id| {
            let body = json!({"id": id, "display_name": id});
            let made = control.ask(&control.admin, "POST", "/v1/tenants", Some(body)).json();
            made["operation"]["id"].as_str().unwrap().to_owned()
        })
        .collect();
    for operation in &operations {
        let path = format!("/v1/operations/{operation}?wait_ms=15000");
        let ended = (0..4)
            .map(|_| control.ask(&control.admin, "GET", &path, None).json())
            .find(|one| one["state"] == "failed");
        let ended = ended.expect("it fails for good after eight tries");
        assert_eq!(
            (&ended["error"]["step"], &ended["steps"][6]["attempts"]),
            (&json!("probe"), &json!(8))
        );
    }
    assert_eq!(
        control.ask(&control.admin, "GET", "/v1/tenants/acme", None).json()["state"],
        "failed"
    );
    let (database, role) = control.placement("beta");
    open(&format!("REVOKE CONNECT ON DATABASE {} FROM", control.database));
    let act = |at: usize, what: &str| {
        control.ask(
            &control.admin,
            "POST",
            &format!("/v1/operations/{}/{what}", operations[at]),
            Some(json!({})),
        )
    };
    assert_eq!(act(0, "retry").json()["state"], "pending");
    let path = format!("/v1/operations/{}?wait_ms=15000", operations[0]);
    assert_eq!(control.ask(&control.admin, "GET", &path, None).json()["state"], "succeeded");
    assert_eq!(act(0, "cancel").code(), "invalid-state");
    assert_eq!(act(1, "cancel").json()["state"], "cancelled");
    let left = format!(
        "SELECT (SELECT count(*) FROM pg_database WHERE datname = '{database}') + (SELECT count(*) FROM pg_roles WHERE rolname = '{role}')"
    );
    let began = std::time::Instant::now();
    while control.psql(&left).unwrap() != "0" {
        assert!(began.elapsed() < crate::service::READY, "{}", control.log());
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!(
        control.ask(&control.admin, "GET", "/v1/tenants/beta", None).json()["state"],
        "destroyed"
    );
    let again = json!({"id": "beta", "display_name": "Again"});
    assert_eq!(
        control.ask(&control.admin, "POST", "/v1/tenants", Some(again)).code(),
        "already-exists"
    );
}

/// Postgres stops at once and comes back; whoever writes tries again until it is told that it is done.
#[test]
fn a_database_that_restarts_loses_nothing_and_does_nothing_twice() {
    let cluster = Cluster::start("restart");
    let control = Control::start_on(&cluster, &[]);
    control.tenant("acme");
    let key = control.key("acme", &["tenant-admin"], &[]);
    let (stop, written) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let (control, key, stop, written) = (&control, &key, &stop, &written);
            scope.spawn(move || {
                for at in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let name = format!("{writer}-{at}");
                    let header = format!("idempotency-key: {name}\r\n");
                    let body = || Some(json!({"name": name, "roles": ["member"]}));
                    let began = std::time::Instant::now();
                    while control
                        .ask_with(key, "POST", "/v1/tenants/acme/api-keys", &header, body())
                        .status
                        != 201
                    {
                        assert!(began.elapsed() < crate::service::READY, "{}", control.log());
                        std::thread::sleep(std::time::Duration::from_millis(20));
                    }
                    written.lock().unwrap().push(name);
                }
            });
        }
        for _ in 0..2 {
            std::thread::sleep(std::time::Duration::from_millis(500));
            cluster.restart();
        }
        std::thread::sleep(std::time::Duration::from_millis(500));
        stop.store(true, Ordering::Relaxed);
    });
    let (database, _) = control.placement("acme");
    let names = cluster
        .psql(&database, "SELECT name FROM api_keys WHERE name <> 'test' ORDER BY name")
        .unwrap();
    let mut written = written.into_inner().unwrap();
    written.sort();
    assert!(written.len() > 20, "{}", written.len());
    let found: Vec<&str> = names.lines().collect();
    assert_eq!(found, written, "each once, none lost");
}

#[test]
fn a_suspended_tenant_is_silent_until_it_is_resumed() {
    let control = Control::start();
    control.tenant("acme");
    let admin = control.key("acme", &["tenant-admin"], &[]);
    let member = control.key("acme", &["member"], &[]);
    let reason = || Some(json!({"reason": "unpaid"}));
    let suspended = control.ask(&control.admin, "POST", "/v1/tenants/acme/suspend", reason());
    assert_eq!(suspended.json()["state"], "suspended", "{}", suspended.text);
    for (key, path, code) in [
        (&member, "/v1/me", "tenant-suspended"),
        (&admin, "/v1/me", ""),
        (&admin, "/v1/tenants/acme", ""),
        (&admin, "/v1/tenants/acme/audit-events", ""),
        (&admin, "/v1/tenants/acme/settings", "tenant-suspended"),
        (&control.admin, "/v1/tenants/acme/settings", ""),
    ] {
        assert_eq!(control.ask(key, "GET", path, None).code(), code, "{path}");
    }
    let twice = control.ask(&control.admin, "POST", "/v1/tenants/acme/suspend", reason());
    assert_eq!(
        twice.json()["error"]["details"],
        json!({"state": "suspended", "allowed": ["active"]})
    );
    assert_eq!(
        control.ask(&control.admin, "POST", "/v1/tenants/acme/resume", reason()).status,
        200
    );
    assert_eq!(control.ask(&member, "GET", "/v1/me", None).status, 200);
    let log = control.ask(&control.admin, "GET", "/v1/audit-events?resource=acme", None).json();
    let actions: Vec<_> = log["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["action"].as_str().unwrap())
        .collect();
    let expected = [
        "tenant.created",
        "tenant.placed",
        "tenant.activated",
        "tenant.suspended",
        "tenant.resumed",
    ];
    assert_eq!(actions, expected);
}

#[test]
fn a_change_without_an_event_does_not_commit() {
    let control = Control::start();
    control.tenant("acme");
    control.key("acme", &["member"], &[]);
    control.ask_with(
        &control.admin,
        "PUT",
        "/v1/settings/tenant.currency",
        "if-match: \"0\"\r\n",
        Some(json!({"value": "USD"})),
    );
    control.ask_with(
        &control.admin,
        "PUT",
        "/v1/tenants/acme/settings/tenant.currency",
        "if-match: \"0\"\r\n",
        Some(json!({"value": "CHF"})),
    );
    let (tenant, _) = control.placement("acme");
    for (database, statement) in [
        (&control.database, "UPDATE clusters SET region = 'x'"),
        (&control.database, "UPDATE tenants SET display_name = 'x'"),
        (&control.database, "UPDATE placements SET generation = 2"),
        (&control.database, "UPDATE settings SET value = '1'"),
        (&control.database, "UPDATE platform_api_keys SET name = 'x'"),
        (&control.database, "DELETE FROM platform_api_keys"),
        (&tenant, "UPDATE tenant_meta SET bundle_seq = 9"),
        (&tenant, "UPDATE settings SET value = '1'"),
        (&tenant, "UPDATE api_keys SET roles = '{tenant-admin}'"),
        (&tenant, "DELETE FROM api_keys"),
        (&control.database, "INSERT INTO platform_users VALUES ('u', 'i', 's', 'n')"),
        (
            &control.database,
            "INSERT INTO platform_users VALUES ('u', 'i', 's', 'n'); INSERT INTO platform_role_bindings VALUES ('b', 'u', 'auditor')",
        ),
        (&control.database, "INSERT INTO identity_providers VALUES ('p', 'i')"),
        (&control.database, "INSERT INTO organisations VALUES ('i', 'o', 'acme')"),
        (&control.database, "INSERT INTO revocations VALUES ('r', 'acme', 'key', 'k', 'x')"),
        (&control.database, "INSERT INTO sidecars VALUES ('s', 'n')"),
        (&tenant, "INSERT INTO users VALUES ('u', 'i', 's', 'n')"),
        (&tenant, "INSERT INTO groups VALUES ('g', 'n')"),
        (&tenant, "INSERT INTO roles VALUES ('r', '{me}')"),
        (&tenant, "INSERT INTO role_bindings VALUES ('b', 'user', 'u', 'r')"),
        (&tenant, "INSERT INTO policy_drafts VALUES ('p', '{}')"),
        (&tenant, "INSERT INTO policy_versions VALUES ('p', 1, '{}', 'u')"),
        (&tenant, "INSERT INTO limits VALUES ('l', '{}')"),
    ] {
        let refused = cluster().psql(database, statement).unwrap_err();
        assert!(refused.contains("has no audit event"), "{statement}: {refused}");
    }
    // No table is left out but those that are no configuration; `published_bundles` repeats what tenants' databases say.
    let unguarded = "SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class c WHERE relkind = 'r' \
        AND relnamespace = 'public'::regnamespace AND NOT EXISTS \
        (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND t.tgname = 'audited')";
    let known = "audit_copies audit_events audit_heads idempotency_keys job_leases operation_steps operations \
        published_bundles schema_migrations";
    assert_eq!(control.psql(unguarded).unwrap(), known);
    let known = "audit_events idempotency_keys schema_migrations";
    assert_eq!(cluster().psql(&tenant, unguarded).unwrap(), known);
    // What only notes a use needs no event.
    assert!(cluster().psql(&tenant, "UPDATE api_keys SET last_used_at = now()").is_ok());
}

#[test]
fn settings_come_from_the_nearest_level_that_has_one() {
    let control = Control::start();
    control.tenant("acme");
    let admin = control.key("acme", &["tenant-admin"], &[]);
    let (platform, own) =
        ("/v1/settings/tenant.time_zone", "/v1/tenants/acme/settings/tenant.time_zone");
    let origin =
        || control.ask(&admin, "GET", own, None).json()["origin"].as_str().unwrap().to_owned();
    assert_eq!(origin(), "default");
    let put = |key: &str, path: &str, version: u32, value: &str| {
        let headers = format!("if-match: \"{version}\"\r\n");
        control.ask_with(key, "PUT", path, &headers, Some(json!({ "value": value })))
    };
    assert_eq!(put(&control.admin, platform, 0, "Europe/Berlin").status, 200);
    assert_eq!(origin(), "platform");
    assert_eq!(put(&admin, own, 0, "Asia/Tokyo").status, 200);
    assert_eq!(origin(), "tenant");
    assert_eq!(put(&admin, own, 1, "Mars/Base").code(), "invalid");
    assert_eq!(put(&admin, own, 0, "UTC").code(), "version-mismatch");
    assert_eq!(put(&admin, platform, 1, "UTC").code(), "forbidden");
    assert_eq!(
        put(&admin, "/v1/tenants/acme/settings/offboarding.grace_days", 0, "1").code(),
        "forbidden"
    );
    let gone = control.ask_with(&admin, "DELETE", own, "if-match: \"1\"\r\n", None);
    assert_eq!((gone.status, origin().as_str()), (204, "platform"));
}

#[test]
fn refused_calls_are_counted_in_the_log_that_they_belong_to() {
    let control = Control::start();
    control.tenant("acme");
    let (admin, member) =
        (control.key("acme", &["tenant-admin"], &[]), control.key("acme", &["member"], &[]));
    for _ in 0..7 {
        assert_eq!(control.ask(&member, "GET", "/v1/tenants/acme", None).code(), "forbidden");
        assert_eq!(control.call("GET", "/v1/me", "", None).code(), "unauthenticated");
    }
    let denied = |key: &str, path: &str| {
        let path = format!("{path}?outcome=denied");
        let began = std::time::Instant::now();
        loop {
            let list = control.ask(key, "GET", &path, None).json();
            let events = list["data"].as_array().unwrap().clone();
            let count: i64 = events.iter().map(|event| event["count"].as_i64().unwrap()).sum();
            if count >= 7 || began.elapsed() > crate::service::READY {
                return (events[0].clone(), count, events.len());
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
    };
    let (event, count, events) = denied(&admin, "/v1/tenants/acme/audit-events");
    assert_eq!(
        (&event["action"], &event["resource"]["id"]),
        (&json!("call.forbidden"), &json!("tenant:read"))
    );
    assert!(count == 7 && events <= 2, "{count} in {events}");
    let (event, count, events) = denied(&control.admin, "/v1/audit-events");
    assert_eq!(
        (&event["action"], &event["source_address"]),
        (&json!("call.unauthenticated"), &json!("127.0.0.1"))
    );
    assert!(count == 7 && events <= 2, "{count} in {events}");
}

#[test]
fn what_the_platform_did_stands_in_the_tenants_log_too() {
    let control = Control::start();
    control.tenant("acme");
    let key = control.key("acme", &["auditor"], &[]);
    let version = control.ask(&control.admin, "GET", "/v1/tenants/acme", None);
    let header = format!("if-match: {}\r\n", version.header("etag").unwrap());
    let patch = Some(json!({"display_name": "Acme and sons"}));
    let path = "/v1/tenants/acme";
    assert_eq!(control.ask_with(&control.admin, "PATCH", path, &header, patch).status, 200);
    let began = std::time::Instant::now();
    let seen = || {
        let log = control.ask(&key, "GET", "/v1/tenants/acme/audit-events?limit=200", None);
        let log = log.json();
        let events = log["data"].as_array().unwrap().clone();
        let of = |action: &str| events.iter().filter(|one| one["action"] == action).count();
        [of("tenant.created"), of("tenant.activated"), of("tenant.updated")]
    };
    while seen() != [1, 1, 1] {
        assert!(began.elapsed().as_secs() < 10, "{:?}", seen());
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let waiting = "SELECT count(*) FROM audit_copies";
    while control.psql(waiting).unwrap() != "0" {
        assert!(began.elapsed().as_secs() < 10);
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!(seen(), [1, 1, 1], "each once");
}

#[test]
fn a_database_of_an_older_schema_is_brought_to_head() {
    let mut control = Control::start();
    control.tenant("acme");
    let key = control.key("acme", &["auditor"], &[]);
    let (tenant, _) = control.placement("acme");
    let head = "SELECT count(*) FROM schema_migrations";
    let wanted = cluster().psql(&tenant, head).unwrap();
    // As an older program left it.
    let older = "SET session_replication_role = replica; DROP TABLE group_members, sessions, users, groups, roles, \
        role_bindings, policy_drafts, policy_versions, limits, break_glass_grants; \
        DROP INDEX audit_events_tenant, audit_events_actor, audit_events_resource, audit_events_resource_type, \
        audit_events_outcome, audit_events_at, api_keys_search, api_keys_name; \
        DROP FUNCTION forget_salts, prune_audit, sequence_audit, audit_leaf, audit_part, roles_of, users_with, permissions_of; ALTER TABLE audit_events DROP COLUMN hash; \
        DROP INDEX audit_events_waiting; \
        DELETE FROM schema_migrations WHERE version > 1; UPDATE tenant_meta SET schema_version = 1";
    cluster().psql(&tenant, older).unwrap();
    let behind = "SET session_replication_role = replica; UPDATE placements SET schema_version = 1";
    control.psql(behind).unwrap();
    control.kill();
    // By hand, before anything is served; then there is nothing to do.
    let migrated = control.run(&["migrate"]);
    let said = String::from_utf8_lossy(&migrated.stdout).into_owned();
    assert!(migrated.status.success() && said.contains("\"succeeded\""), "{said}");
    assert!(control.run(&["migrate"]).stdout.is_empty());
    control.again();
    assert_eq!(cluster().psql(&tenant, head).unwrap(), wanted);
    assert_eq!(cluster().psql(&tenant, "SELECT schema_version FROM tenant_meta").unwrap(), wanted);
    assert_eq!(control.psql("SELECT schema_version FROM placements").unwrap(), wanted);
    let log =
        control.ask(&key, "GET", "/v1/tenants/acme/audit-events?action=schema.migrated", None);
    assert_eq!(log.json()["data"].as_array().unwrap().len(), 1, "{}", log.text);
}
