//! Behind PgBouncer in transaction mode, of the kind that knows no prepared statements (1.18): everything works, and no
//! connection that is handed from one call to the next carries anything over.

use crate::cluster::{Cluster, PASSWORD, command};
use crate::service::{Control, READY};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Instant;

const PORT: u16 = 6432;
const TENANTS: usize = 4;
const CALLERS: usize = 8;
const ROUNDS: usize = 25;

/// The pooler of a cluster; it ends when this is dropped.
struct Pooler(Child);

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// On the path, or where `make setup` put it.
fn program(folder: &Path) -> String {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache");
    let ours = cache.unwrap_or_else(home).join("tollgate/tools/pgbouncer");
    if !ours.exists() {
        return "pgbouncer".to_owned();
    }
    // Whoever runs it instead of root may not come into a home.
    let copy = folder.join("pgbouncer");
    std::fs::copy(ours, &copy).unwrap();
    copy.display().to_string()
}

impl Pooler {
    fn start(cluster: &Cluster) -> Pooler {
        let folder = &cluster.folder;
        let shown = folder.display();
        let settings = [
            "[databases]".to_owned(),
            format!("* = host={shown} port=5432"),
            "[pgbouncer]".to_owned(),
            "listen_addr =".to_owned(),
            format!("listen_port = {PORT}"),
            format!("unix_socket_dir = {shown}"),
            "pool_mode = transaction".to_owned(),
            "max_client_conn = 500".to_owned(),
            // Fewer than the service opens: transactions of several clients share each.
            "default_pool_size = 2".to_owned(),
            "auth_type = scram-sha-256".to_owned(),
            format!("auth_file = {shown}/users.txt"),
            "auth_user = tollgate".to_owned(),
            "auth_query = SELECT usename, passwd FROM pg_shadow WHERE usename = $1".to_owned(),
        ];
        std::fs::write(folder.join("pgbouncer.ini"), settings.join("\n")).unwrap();
        std::fs::write(folder.join("users.txt"), format!("\"tollgate\" \"{PASSWORD}\"\n")).unwrap();
        let log = std::fs::File::create(folder.join("pgbouncer.log")).unwrap();
        let mut pooler = command(&program(folder));
        pooler.arg(folder.join("pgbouncer.ini"));
        pooler.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let pooler = Pooler(pooler.spawn().expect("make setup installs PgBouncer"));
        let began = Instant::now();
        while !folder.join(format!(".s.PGSQL.{PORT}")).exists() {
            assert!(began.elapsed() < READY, "{}", said(folder));
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        pooler
    }
}

fn said(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("pgbouncer.log")).unwrap_or_default()
}

/// The same address at the pooler.
fn pooled(url: &str) -> String {
    let (host, database) = url.rsplit_once('/').unwrap();
    format!("{host}:{PORT}/{database}")
}

#[test]
fn everything_works_behind_a_pooler_in_transaction_mode() {
    let cluster = Cluster::start("pooler");
    let pooler = Pooler::start(&cluster);
    let (direct, bouncer) =
        (cluster.url("platform_pooled"), pooled(&cluster.url("platform_pooled")));
    cluster.psql("postgres", "CREATE DATABASE platform_pooled").unwrap();
    let control = Control::start_on(
        &cluster,
        &[
            ("TOLLGATE_DATABASE__URL", &bouncer),
            ("TOLLGATE_DATABASE__DIRECT_URL", &direct),
            ("TOLLGATE_DATABASE__NAMED_STATEMENTS", "false"),
        ],
    );
    let tenants: Vec<String> = (0..TENANTS).map(|at| format!("tenant-{at}")).collect();
    let keys: Vec<String> = tenants
        .iter()
        .map(|tenant| {
            control.tenant(tenant);
            control.key(tenant, &["tenant-admin"], &[])
        })
        .collect();
    std::thread::scope(|scope| {
        for caller in 0..CALLERS {
            let (control, tenants, keys) = (&control, &tenants, &keys);
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let at = (caller + round) % TENANTS;
                    works(control, (&tenants[at], &keys[at]), &format!("{caller}-{round}"));
                }
            });
        }
    });
    for (tenant, key) in tenants.iter().zip(&keys) {
        let path = format!("/v1/tenants/{tenant}/audit-events/verify");
        let began = Instant::now();
        let verified = loop {
            let verified = control.ask(key, "POST", &path, None).json();
            if verified["waiting"] == 0 {
                break verified;
            }
            assert!(began.elapsed() < READY, "{verified}\n{}", control.log());
            std::thread::sleep(std::time::Duration::from_millis(50));
        };
        assert_eq!(verified["whole"], true, "{verified}");
        let users = control.ask(key, "GET", &format!("/v1/tenants/{tenant}/users?limit=200"), None);
        let users = users.json()["data"].as_array().unwrap().clone();
        assert_eq!(users.len(), CALLERS * ROUNDS / TENANTS);
        let is_own = |user: &serde_json::Value| {
            user["subject"].as_str().unwrap().starts_with(tenant.as_str())
        };
        assert!(users.iter().all(is_own), "{users:?}");
    }
    // The requests went through it.
    let statement = "SELECT count(*) FROM pg_stat_activity WHERE usename LIKE 'r\\_%'";
    let open: usize = cluster.psql("postgres", statement).unwrap().parse().unwrap();
    assert!((1..=2 * TENANTS).contains(&open), "{open}");
    drop(pooler);
}

/// A change with its event, one that is refused and rolled back, a dry run, a list.
fn works(control: &Control, (tenant, key): (&str, &str), name: &str) {
    let users = format!("/v1/tenants/{tenant}/users");
    let subject = format!("{tenant} {name}");
    let body = || Some(json!({"issuer": "https://id.example.com", "subject": subject}));
    let made = control.ask(key, "POST", &users, body());
    assert_eq!(made.status, 201, "{}\n{}\n{}", made.text, control.causes(), said(&control.folder));
    let again = control.ask(key, "POST", &users, body());
    assert_eq!(again.code(), "already-exists", "{}", again.text);
    let other =
        Some(json!({"issuer": "https://id.example.com", "subject": format!("dry {subject}")}));
    let dry = control.ask(key, "POST", &format!("{users}?dry_run=true"), other);
    assert_eq!(dry.status, 200, "{}", dry.text);
    let id = made.json()["id"].as_str().unwrap().to_owned();
    let found = control.ask(key, "GET", &format!("{users}/{id}"), None);
    assert_eq!(found.json()["subject"], subject, "{}", found.text);
    let other = control.ask(key, "GET", "/v1/tenants/nobody/users", None);
    assert_eq!(other.code(), "tenant-not-found");
}
