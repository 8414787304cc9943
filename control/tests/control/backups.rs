//! Backups: what was written comes back in another cluster, closed until a new epoch, with its audit logs whole; what was
//! changed in between does not.

use crate::cluster::{Cluster, cluster};
use crate::service::{Answer, Control, READY};
use serde_json::{Value as Json, json};
use std::path::{Path, PathBuf};
use std::process::Output;

const MODEL: &str = "[request_definition]\nr = sub, obj, act\n[policy_definition]\np = sub, obj, act, eft\n[policy_effect]\ne = some(where (p.eft == allow)) && !some(where (p.eft == deny))\n[matchers]\nm = r.sub == p.sub && keyMatch2(r.obj, p.obj) && r.act == p.act\n";

fn admin(control: &Control, method: &str, path: &str, body: Option<Json>) -> Answer {
    control.ask_with(&control.admin, method, path, "if-match: *\r\n", body)
}

fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

/// A command that must succeed; what it printed.
fn run(control: &Control, arguments: &[&str]) -> String {
    let ran = control.run(arguments);
    assert!(ran.status.success(), "{arguments:?}: {}", said(&ran));
    String::from_utf8_lossy(&ran.stdout).into_owned()
}

/// A command that must be refused, with these words.
fn refused(control: &Control, arguments: &[&str], words: &str) {
    let ran = control.run(arguments);
    assert!(!ran.status.success() && said(&ran).contains(words), "{arguments:?}: {}", said(&ran));
}

fn backup(control: &Control, name: &str, more: &[&str]) -> PathBuf {
    let out = control.folder.join(format!("{}-{name}", control.database));
    let shown = out.display().to_string();
    run(control, &[&["backup", "--out", &shown], more].concat());
    out
}

/// A tenant with a policy in force and a limit; its administrator's key.
fn furnished(control: &Control, tenant: &str) -> String {
    control.tenant(tenant);
    let key = control.key(tenant, &["tenant-admin"], &[]);
    let at = |path: &str| format!("/v1/tenants/{tenant}/{path}");
    let files = json!({"files": {"model.conf": MODEL, "policy.csv": "p, ada, /reports/:id, read, allow\n"}});
    for (method, path, body) in [
        ("PUT", "policies/main/draft", Some(files)),
        ("POST", "policies/main/publish", None),
        (
            "PUT",
            "limits/calls",
            Some(json!({"meter": "requests", "bucket": {"rate": "10/s", "burst": 5}})),
        ),
    ] {
        let done = control.ask_with(&key, method, &at(path), "if-match: *\r\n", body);
        assert_eq!(done.status, 200, "{path}: {}", done.text);
    }
    // Somebody is signed in.
    let session = "SET session_replication_role = replica; \
        INSERT INTO users (id, issuer, subject, display_name) VALUES ('usr_1', 'i', 's', 'Ada'); \
        INSERT INTO sessions (id, user_id, hash, expires_at) VALUES ('ses_1', 'usr_1', 'h', now() + interval '1 hour')";
    inside(control, tenant, session);
    key
}

fn inside(control: &Control, tenant: &str, statement: &str) -> String {
    let (database, _) = control.placement(tenant);
    crate::cluster::psql_in(&control.folder, &database, statement).unwrap()
}

fn events(control: &Control, tenant: &str, action: &str) -> usize {
    let path = format!("/v1/tenants/{tenant}/audit-events?action={action}&limit=200");
    admin(control, "GET", &path, None).json()["data"].as_array().unwrap().len()
}

/// Every event of the platform's log and of each tenant's has its number.
fn until_numbered(control: &Control) {
    let began = std::time::Instant::now();
    let tenants = admin(control, "GET", "/v1/tenants?state=active", None).json();
    let tenants = tenants["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tenant| tenant["id"].as_str().unwrap().to_owned());
    let logs = tenants.map(|id| format!("/v1/tenants/{id}/audit-events/verify"));
    for path in logs.chain(["/v1/audit-events/verify".to_owned()]) {
        while admin(control, "POST", &path, None).json()["waiting"] != 0 {
            assert!(began.elapsed() < READY, "{}", control.log());
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }
}

fn is_whole(control: &Control, path: &str) {
    let verified = admin(control, "POST", path, None);
    assert_eq!(verified.json()["whole"], true, "{}", verified.text);
    assert!(verified.json()["sequenced"].as_i64().unwrap() > 0, "{}", verified.text);
}

/// The same installation on an empty database of another cluster.
fn elsewhere(control: &mut Control, fresh: &Cluster) {
    control.kill();
    fresh.psql("postgres", &format!("CREATE DATABASE {}", control.database)).unwrap();
    control.set("TOLLGATE_DATABASE__URL", &fresh.url(&control.database));
    control.folder.clone_from(&fresh.folder);
}

#[test]
fn a_platform_comes_back_in_a_fresh_cluster_closed_until_a_new_epoch() {
    let mut control = Control::start();
    let key = furnished(&control, "acme");
    furnished(&control, "beta");
    until_numbered(&control);
    let from = backup(&control, "backup", &[]);
    let shown = from.display().to_string();
    assert!(run(&control, &["verify", "--from", &shown]).contains("3 databases"));
    refused(&control, &["backup", "--out", &shown], "new or empty folder");
    refused(&control, &["restore", "--from", &shown], "to be empty");
    refused(&control, &["epoch", "--reason", "none", "--keys", "keep"], "is open");
    // After the backup: it does not come back.
    let late = control.key("acme", &["auditor"], &[]);
    control.tenant("late");

    let fresh = Cluster::start("restored");
    elsewhere(&mut control, &fresh);
    let restored: Json =
        serde_json::from_str(run(&control, &["restore", "--from", &shown]).trim()).unwrap();
    assert_eq!(restored["is_open"], false, "{restored}");
    assert_eq!(restored["tenants"].as_array().unwrap().len(), 2, "{restored}");
    refused(&control, &["serve"], "it was restored from a backup");
    let begun = run(&control, &["epoch", "--reason", "the disk died", "--keys", "revoke"]);
    assert!(begun.contains("\"epoch\":2"), "{begun}");
    refused(&control, &["epoch", "--reason", "again", "--keys", "keep"], "is open");
    // No administrator is left: the host makes one.
    let file = fresh.folder.join("again.key");
    run(&control, &["bootstrap", "--out", &file.display().to_string()]);
    control.again();
    for old in [&key, &late, &control.admin] {
        let answer = control.ask(old, "GET", "/v1/me", None);
        assert_eq!(answer.status, 401, "{}", answer.text);
    }
    std::fs::read_to_string(&file).unwrap().trim().clone_into(&mut control.admin);
    is_what_it_was(&control);
}

fn is_what_it_was(control: &Control) {
    assert_eq!(admin(control, "GET", "/v1/tenants/late", None).status, 404);
    for tenant in ["acme", "beta"] {
        let at = |path: &str| format!("/v1/tenants/{tenant}/{path}");
        let policy = admin(control, "GET", &at("policies/main"), None).json();
        assert_eq!(policy["files"]["model.conf"], MODEL);
        let bundle = admin(control, "GET", &at("bundle"), None);
        assert_eq!(bundle.status, 200, "{}", bundle.text);
        assert_eq!(bundle.json()["version"]["epoch"], 2, "{}", bundle.text);
        assert_eq!(events(control, tenant, "epoch.begun"), 1);
        assert_eq!(events(control, tenant, "policy.published"), 1);
        assert_eq!(inside(control, tenant, "SELECT count(*) FROM sessions"), "0", "all have ended");
        // It goes on: changes are audited, numbered, and the chain is one.
        let changed =
            admin(control, "PUT", &at("settings/tenant.currency"), Some(json!({"value": "USD"})));
        assert_eq!(changed.status, 200, "{}", changed.text);
    }
    until_numbered(control);
    is_whole(control, "/v1/tenants/acme/audit-events/verify");
    is_whole(control, "/v1/tenants/beta/audit-events/verify");
    is_whole(control, "/v1/audit-events/verify");
    // A change without an event is refused as before: no id of the old cluster's transactions is taken for one of this.
    let old = "SELECT count(*) FROM audit_events WHERE xid::text::bigint > 3 AND at < (SELECT min(at) FROM audit_events WHERE action = 'epoch.begun')";
    assert_eq!(inside(control, "acme", old), "0");
    control.tenant("another");
}

#[test]
fn a_database_that_was_copied_by_other_means_is_closed_too() {
    let mut control = Control::start();
    control.kill();
    control
        .psql("SET session_replication_role = replica; UPDATE epochs SET system_identifier = 7")
        .unwrap();
    refused(&control, &["serve"], "made in another Postgres cluster");
    run(&control, &["epoch", "--reason", "a copy", "--keys", "keep"]);
    control.again();
    assert_eq!(admin(&control, "GET", "/v1/me", None).status, 200);
    until_numbered(&control);
    is_whole(&control, "/v1/audit-events/verify");
}

#[test]
fn one_tenant_comes_back_beside_the_others() {
    let control = Control::start();
    let key = furnished(&control, "acme");
    let beta = furnished(&control, "beta");
    until_numbered(&control);
    let from = backup(&control, "one", &["--tenant", "acme"]);
    let shown = from.display().to_string();
    let restore = [
        "restore",
        "--from",
        &shown,
        "--tenant",
        "acme",
        "--reason",
        "by mistake",
        "--keys",
        "keep",
    ];
    let (old, _) = control.placement("acme");
    // After the backup.
    let limit = "/v1/tenants/acme/limits/calls";
    assert_eq!(admin(&control, "DELETE", limit, None).status, 204);
    refused(&control, &restore, "to be suspended");
    let reason = Some(json!({"reason": "restoring"}));
    assert_eq!(admin(&control, "POST", "/v1/tenants/acme/suspend", reason.clone()).status, 200);
    refused(&control, &["restore", "--from", &shown], "of one tenant");
    refused(
        &control,
        &["restore", "--from", &shown, "--tenant", "beta", "--reason", "x", "--keys", "keep"],
        "no dump",
    );
    let restored: Json = serde_json::from_str(run(&control, &restore).trim()).unwrap();
    assert_eq!(restored["bundle"]["epoch"], 2, "{restored}");
    // Closed, as it was.
    assert_eq!(control.ask(&key, "GET", limit, None).code(), "tenant-suspended");
    assert_eq!(admin(&control, "POST", "/v1/tenants/acme/resume", reason).status, 200);
    assert_eq!(control.ask(&key, "GET", limit, None).status, 200);
    assert_eq!(control.ask(&beta, "GET", "/v1/tenants/beta/limits/calls", None).status, 200);
    let (new, _) = control.placement("acme");
    let there = |name: &str| {
        let statement = format!("SELECT count(*) FROM pg_database WHERE datname = '{name}'");
        control.psql(&statement).unwrap()
    };
    assert_eq!((there(&old).as_str(), there(&new).as_str()), ("0", "1"));
    assert_eq!(events(&control, "acme", "epoch.begun"), 1);
    let sessions = "SELECT count(*) FROM sessions";
    assert_eq!(
        [inside(&control, "acme", sessions), inside(&control, "beta", sessions)],
        ["0", "1"]
    );
    until_numbered(&control);
    is_whole(&control, "/v1/tenants/acme/audit-events/verify");
    is_whole(&control, "/v1/audit-events/verify");
}

#[test]
fn a_backup_that_was_changed_is_refused() {
    let control = Control::start();
    control.tenant("acme");
    let from = backup(&control, "changed", &[]);
    let shown = from.display().to_string();
    let changed = |file: &str, change: &dyn Fn(Vec<u8>) -> Vec<u8>, words: &str| {
        let path = from.join(file);
        let was = std::fs::read(&path).unwrap();
        std::fs::write(&path, change(was.clone())).unwrap();
        refused(&control, &["verify", "--from", &shown], words);
        std::fs::write(&path, was).unwrap();
    };
    let flipped = |mut bytes: Vec<u8>| {
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        bytes
    };
    changed("acme.dump", &flipped, "expected");
    changed("acme.dump", &|mut bytes| bytes.split_off(100), "bytes with sha256");
    changed("platform.dump", &flipped, "platform.dump");
    let replaced = |bytes: Vec<u8>| {
        String::from_utf8(bytes).unwrap().replace("\"acme\"", "\"beta\"").into_bytes()
    };
    changed("manifest.json", &replaced, "another master key");
    assert!(run(&control, &["verify", "--from", &shown]).contains("2 databases"));
    private(&from);
    // Under another master key nobody vouches for it.
    let other = control.folder.join("backup-other.key");
    let random: Vec<u8> = (0..32u8).map(|at| at.wrapping_mul(97) ^ 0x5a).collect();
    use base64::Engine as _;
    std::fs::write(&other, base64::engine::general_purpose::STANDARD.encode(random)).unwrap();
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(&other, std::fs::Permissions::from_mode(0o600)).unwrap();
    let other = other.display().to_string();
    let ran = control.run_with(
        "TOLLGATE_SECRETS__MASTER_KEY_FILE",
        &other,
        &["verify", "--from", &shown],
    );
    assert!(said(&ran).contains("another master key"), "{}", said(&ran));
}

/// Nobody but its owner reads a backup.
fn private(from: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(from), 0o700);
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[test]
fn passwords_of_tenants_are_rotated_while_they_call() {
    let control = Control::start_with(&[("TOLLGATE_POOLS__IDLE_MS", "1")]);
    control.tenant("acme");
    control.tenant("beta");
    let key = control.key("acme", &["tenant-admin"], &[]);
    let verifier = |tenant: &str| {
        let (_, role) = control.placement(tenant);
        let statement = format!("SELECT rolpassword FROM pg_authid WHERE rolname = '{role}'");
        cluster().psql("postgres", &statement).unwrap()
    };
    let (acme, beta) = (verifier("acme"), verifier("beta"));
    let is_over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let calls = scope.spawn(|| {
            let mut count = 0;
            while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                let answer = control.ask(&key, "GET", "/v1/tenants/acme/settings", None);
                assert_eq!(answer.status, 200, "{}", control.causes());
                count += 1;
            }
            count
        });
        for round in 0..5 {
            assert!(
                run(&control, &["rekey", "--passwords", "--tenant", "acme"]).starts_with("1 "),
                "{round}"
            );
        }
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(calls.join().unwrap() > 0);
    });
    assert_ne!(verifier("acme"), acme);
    assert_eq!(verifier("beta"), beta);
    assert_eq!(
        control
            .psql("SELECT password_generation FROM placements WHERE tenant_id = 'acme'")
            .unwrap(),
        "6"
    );
    assert!(run(&control, &["rekey", "--passwords"]).starts_with("2 "));
    assert_ne!(verifier("beta"), beta);
    refused(&control, &["rekey", "--passwords", "--tenant", "nobody"], "no tenant `nobody`");
    // The role has the next one, and the platform does not know yet: as if it was ended in between.
    control.psql("SET session_replication_role = replica; UPDATE placements SET password_generation = password_generation - 1").unwrap();
    std::thread::sleep(std::time::Duration::from_millis(50));
    assert_eq!(control.ask(&key, "GET", "/v1/tenants/acme/settings", None).status, 200);
}
