//! Codes that need a world in some state: locked, expired, away, broken.

use crate::cluster::cluster;
use crate::service::Control;
use serde_json::json;
use std::time::Duration;

/// Holds a table of a database for so long, in the background; returns when it is held.
fn hold(database: &str, table: &str, seconds: f64) -> std::thread::JoinHandle<()> {
    let (database, table) = (database.to_owned(), table.to_owned());
    let held = format!(
        "SELECT count(*) FROM pg_locks WHERE relation = '{table}'::regclass AND mode = 'AccessExclusiveLock'"
    );
    let inside = database.clone();
    let holder = std::thread::spawn(move || {
        let statement = format!(
            "BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep({seconds}); COMMIT"
        );
        cluster().psql(&inside, &statement).unwrap();
    });
    while cluster().psql(&database, &held).unwrap() == "0" {
        std::thread::sleep(Duration::from_millis(5));
    }
    holder
}

#[test]
fn an_expired_key_says_so() {
    let control = Control::start();
    control.tenant("acme");
    let key = control.key("acme", &["tenant-admin"], &[]);
    let (database, _) = control.placement("acme");
    let expire = "SET session_replication_role = replica; UPDATE api_keys SET expires_at = now()";
    cluster().psql(&database, expire).unwrap();
    let answer = control.ask(&key, "GET", "/v1/me", None);
    assert_eq!((answer.status, answer.code().as_str()), (401, "credential-expired"));
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
}

#[test]
fn a_tenant_without_a_database_is_not_ready() {
    let control = Control::start_with(&[("TOLLGATE_JOBS__ENABLED", "false")]);
    let body = json!({"id": "acme", "display_name": "A"});
    assert_eq!(control.ask(&control.admin, "POST", "/v1/tenants", Some(body)).status, 202);
    let key = json!({"name": "k", "roles": ["member"]});
    let answer = control.ask(&control.admin, "POST", "/v1/tenants/acme/api-keys", Some(key));
    assert_eq!((answer.status, answer.code().as_str()), (409, "tenant-not-ready"));
    let shown = control.ask(&control.admin, "GET", "/v1/tenants/acme", None);
    assert_eq!(shown.json()["state"], "provisioning");
}

#[test]
fn a_credential_that_calls_too_often_waits() {
    let control = Control::start_with(&[("TOLLGATE_API__RATE_PER_MINUTE", "3")]);
    let answers: Vec<_> =
        (0..5).map(|_| control.ask(&control.admin, "GET", "/v1/me", None)).collect();
    assert_eq!(answers[2].status, 200);
    assert_eq!((answers[4].status, answers[4].code().as_str()), (429, "rate-limited"));
    assert!(answers[4].header("retry-after").is_some());
    // What is not permitted is said before.
    let refused = control.call(
        "GET",
        "/v1/nothing",
        &format!("authorization: Bearer {}\r\n", control.admin),
        None,
    );
    assert_eq!(refused.code(), "route-not-found");
}

#[test]
fn a_place_that_does_not_get_free_is_overloaded_and_a_slow_call_a_timeout() {
    let mut control = Control::start_with(&[
        ("TOLLGATE_POOLS__PER_TENANT_MAX", "1"),
        ("TOLLGATE_POOLS__WAIT_MS_MAX", "100"),
    ]);
    control.tenant("acme");
    control.tenant("beta");
    let (key, other) =
        (control.key("acme", &["tenant-admin"], &[]), control.key("beta", &["tenant-admin"], &[]));
    let (database, _) = control.placement("acme");
    // Only now: a machine that is busy may make a tenant more slowly than this.
    control.kill();
    control.set("TOLLGATE_API__TIMEOUT_MS", "1000");
    control.again();
    let holder = hold(&database, "api_keys", 2.5);
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| control.ask(&key, "GET", "/v1/me", None));
        std::thread::sleep(Duration::from_millis(200));
        let second = control.ask(&key, "GET", "/v1/me", None);
        assert_eq!((second.status, second.code().as_str()), (503, "overloaded"));
        assert_eq!(second.header("retry-after"), Some("1"));
        assert_eq!(control.ask(&other, "GET", "/v1/me", None).status, 200, "nobody else waits");
        let slow = slow.join().unwrap();
        assert_eq!((slow.status, slow.code().as_str()), (504, "timeout"));
    });
    holder.join().unwrap();
    // The place of the call that was given up is free again.
    let began = std::time::Instant::now();
    while control.ask(&key, "GET", "/v1/me", None).status != 200 {
        assert!(began.elapsed().as_secs() < 5);
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_call_with_a_key_that_is_being_answered_is_in_progress() {
    let control = Control::start();
    let ask = || {
        let body = json!({"id": "acme", "display_name": "A"});
        control.ask_with(
            &control.admin,
            "POST",
            "/v1/tenants",
            "idempotency-key: one\r\n",
            Some(body),
        )
    };
    let holder = hold(&control.database, "tenants", 1.0);
    std::thread::scope(|scope| {
        let first = scope.spawn(ask);
        std::thread::sleep(Duration::from_millis(300));
        let second = ask();
        assert_eq!((second.status, second.code().as_str()), (409, "idempotency-in-progress"));
        assert_eq!(first.join().unwrap().status, 202);
    });
    holder.join().unwrap();
    assert_eq!(ask().header("idempotent-replayed"), Some("true"));
}

#[test]
fn what_is_broken_is_internal_and_what_is_away_unavailable() {
    let control = Control::start();
    control.tenant("acme");
    let key = control.key("acme", &["tenant-admin"], &[]);
    let (database, role) = control.placement("acme");
    cluster().psql(&database, "ALTER TABLE settings RENAME TO hidden").unwrap();
    let answer = control.ask(&key, "GET", "/v1/tenants/acme/settings/tenant.currency", None);
    assert_eq!((answer.status, answer.code().as_str()), (500, "internal"));
    assert!(!answer.text.contains("settings") && !answer.text.contains("42P01"), "{}", answer.text);
    assert!(control.log().contains("settings"), "the cause is in the log");
    let away = format!(
        "ALTER DATABASE {database} ALLOW_CONNECTIONS false; \
         SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'"
    );
    control.psql(&away).unwrap();
    let answer = control.ask(&key, "GET", "/v1/me", None);
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (503, "database-unavailable"),
        "{}",
        answer.text
    );
    assert_eq!(answer.header("retry-after"), Some("1"));
    control.psql(&format!("ALTER DATABASE {database} ALLOW_CONNECTIONS true")).unwrap();
    assert_eq!(control.ask(&key, "GET", "/v1/me", None).status, 200, "without a restart");
    let full = format!(
        "ALTER ROLE {role} CONNECTION LIMIT 0; \
         SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'"
    );
    control.psql(&full).unwrap();
    let answer = control.ask(&key, "GET", "/v1/me", None);
    assert_eq!((answer.status, answer.code().as_str()), (503, "database-unavailable"));
}

#[test]
fn another_master_key_takes_over_without_a_pause() {
    let cluster = crate::cluster::Cluster::start("rekey");
    let mut control = Control::start_on(&cluster, &[]);
    control.tenant("acme");
    let key = control.key("acme", &["tenant-admin"], &[]);
    let page = control.ask(&control.admin, "GET", "/v1/audit-events?limit=1", None).json();
    let cursor =
        format!("/v1/audit-events?limit=1&cursor={}", page["next_cursor"].as_str().unwrap());
    let provider = json!({
        "issuer": "https://id.example.com", "audience": ["a"], "client_id": "tollgate", "client_secret": "a canary",
    });
    assert_eq!(
        control.ask(&control.admin, "POST", "/v1/identity-providers", Some(provider)).status,
        201
    );
    // The key that certificates are signed with is made with the first, and goes on.
    control.tenant("gone");
    let signer = |control: &Control, tenant: &str| {
        let body = json!({"reason": "x", "grace_days": 0});
        let path = format!("/v1/tenants/{tenant}/offboard");
        let made = control.ask(&control.admin, "POST", &path, Some(body));
        let path = format!("{}?wait_ms=20000", made.header("location").unwrap());
        let ended = control.ask(&control.admin, "GET", &path, None).json();
        assert_eq!(ended["state"], "succeeded", "{ended}");
        let tombstone = control.ask(&control.admin, "GET", &format!("/v1/tenants/{tenant}"), None);
        tombstone.json()["certificate"]["jwk"]["x"].as_str().unwrap().to_owned()
    };
    let first = signer(&control, "gone");
    let (old, new) = (cluster.folder.join("master.key"), cluster.folder.join("new.key"));
    let make = format!("umask 077; head -c 32 /dev/urandom | base64 > {}", new.display());
    assert!(std::process::Command::new("sh").args(["-c", &make]).status().unwrap().success());
    control.set("TOLLGATE_SECRETS__MASTER_KEY_FILE", &new.display().to_string());
    control.set("TOLLGATE_SECRETS__PREVIOUS_MASTER_KEY_FILE", &old.display().to_string());
    control.kill();
    control.again();
    assert_eq!(control.ask(&key, "GET", "/v1/me", None).status, 200, "by the previous key");
    assert_eq!(control.ask(&control.admin, "GET", &cursor, None).status, 200);
    // What is sealed is opened under the old key and sealed under the new one, once.
    for resealed in ["2 secrets", "0 secrets"] {
        let rekeyed = control.run(&["rekey"]);
        assert!(rekeyed.status.success(), "{}", String::from_utf8_lossy(&rekeyed.stderr));
        let said = String::from_utf8_lossy(&rekeyed.stdout).into_owned();
        assert!(said.contains(resealed) && !said.contains("canary"), "{said}");
    }
    control.unset("TOLLGATE_SECRETS__PREVIOUS_MASTER_KEY_FILE");
    control.kill();
    control.again();
    assert_eq!(control.ask(&key, "GET", "/v1/me", None).status, 200, "by the new key alone");
    assert_eq!(control.ask(&control.admin, "GET", &cursor, None).code(), "invalid-cursor");
    assert_eq!(signer(&control, "acme"), first);
}
