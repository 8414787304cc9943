//! Every list at 100 000 rows, its real statements explained by the server: no sequential scan of what grows.

use crate::cluster::Cluster;
use crate::service::Control;

const ROWS: u32 = 100_000;

/// Fills tables of a database and forgets who was connected, so that new connections explain what they run.
fn fill(cluster: &Cluster, database: &str, statements: &[&str]) {
    let statements: Vec<String> = statements
        .iter()
        .map(|text| text.replace("{rows}", &format!("generate_series(1, {ROWS}) n")))
        .collect();
    let all = format!("SET session_replication_role = replica; {}", statements.join("; "));
    cluster.psql(database, &all).unwrap();
    cluster.psql(database, "VACUUM ANALYZE").unwrap();
    let settings =
        ["session_preload_libraries = 'auto_explain'", "auto_explain.log_min_duration = 0"];
    for setting in settings {
        cluster.psql("postgres", &format!("ALTER DATABASE {database} SET {setting}")).unwrap();
    }
    let end = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'"
    );
    cluster.psql("postgres", &end).unwrap();
}

const EVENTS: &str = "INSERT INTO audit_events (id, actor_type, actor_id, tenant_id, action, resource_type, resource_id, outcome, salt, at) \
    SELECT 'ev_' || lpad(n::text, 26, '0'), 'api-key', 'key_' || n % 1000, CASE WHEN n % 2 = 0 THEN 'acme' END, 'tenant.updated', 'tenant', \
    'tenant-' || n % 1000, 'ok', '', now() - n * interval '1 minute' FROM {rows}";

#[test]
fn no_list_reads_a_whole_table() {
    let cluster = Cluster::start("lists");
    let control = Control::start_on(&cluster, &[]);
    control.tenant("acme");
    let key = control.key("acme", &["tenant-admin"], &[]);
    let (tenant, _) = control.placement("acme");
    fill(
        &cluster,
        &control.database,
        &[
            "INSERT INTO tenants (id, display_name, state, jurisdictions, key_reference, created_at) \
         SELECT 'tenant-' || n, 'T', CASE WHEN n % 100 = 0 THEN 'suspended' ELSE 'active' END, '{local}', 'r' || n, now() + n * interval '1 ms' FROM {rows}",
            "INSERT INTO placements (tenant_id, cluster_id, database_name, role_name, schema_version) SELECT 'tenant-' || n, 'local', 'd' || n, 'r' || n, 99 FROM {rows}",
            "INSERT INTO operations (id, kind, tenant_id, state, actor) SELECT 'op_' || lpad(n::text, 26, '0'), 'tenant.provision', 'tenant-' || n % 1000, 'succeeded', '{}' FROM {rows}",
            "INSERT INTO operation_steps (operation_id, position, name, state) SELECT 'op_' || lpad(n::text, 26, '0'), 1, 'place', 'succeeded' FROM {rows}",
            "INSERT INTO platform_api_keys (id, name, roles, hash, expires_at, created_by) SELECT 'key_' || lpad(n::text, 26, '0'), 'k', '{auditor}', sha256(n::text::bytea), now(), 'x' FROM {rows}",
            EVENTS,
        ],
    );
    fill(
        &cluster,
        &tenant,
        &[
            "INSERT INTO api_keys (id, name, roles, hash, expires_at, created_by) SELECT 'key_' || lpad(n::text, 26, '0'), 'k', '{auditor}', sha256(n::text::bytea), now(), 'x' FROM {rows}",
            EVENTS,
        ],
    );
    let before = cluster.log().len();
    let filters = [
        "",
        "action=tenant.updated",
        "actor=key_7",
        "resource=tenant-7",
        "resource=tenant",
        "outcome=ok",
        "from=2020-01-01T00:00:00Z",
        "to=2020-01-01T00:00:00Z",
        "action=none.such",
        "outcome=denied",
    ];
    let mut asked = 0;
    let mut ask = |credential: &str, path: &str| {
        let mut path = path.to_owned();
        // The first page and the next: a position in the middle is another plan.
        for _ in 0..2 {
            let answer = control.ask(credential, "GET", &path, None);
            assert_eq!(answer.status, 200, "{path}: {}", answer.text);
            asked += 1;
            let Some(cursor) = answer.json()["next_cursor"].as_str().map(str::to_owned) else {
                break;
            };
            let (start, _) = path.split_once("&cursor=").unwrap_or((&path, ""));
            path = format!("{start}&cursor={cursor}");
        }
    };
    for filter in filters {
        ask(&control.admin, &format!("/v1/audit-events?limit=50&{filter}"));
        ask(
            &control.admin,
            &format!("/v1/tenants/acme/audit-events?limit=50&log=platform&{filter}"),
        );
        ask(&key, &format!("/v1/tenants/acme/audit-events?limit=50&{filter}"));
    }
    for path in [
        "/v1/tenants?limit=50",
        "/v1/tenants?limit=50&state=suspended",
        "/v1/tenants?limit=50&state=failed",
        "/v1/operations?limit=50",
        "/v1/operations?limit=50&state=failed",
        "/v1/operations?limit=50&tenant_id=tenant-7",
        "/v1/operations?limit=50&tenant_id=tenant-7&state=succeeded",
        "/v1/api-keys?limit=50",
        "/v1/clusters?limit=50",
        "/v1/settings?limit=50",
    ] {
        ask(&control.admin, path);
    }
    ask(&key, "/v1/tenants/acme/api-keys?limit=50");
    ask(&key, "/v1/operations?limit=50");
    std::thread::sleep(std::time::Duration::from_millis(200));
    let log = cluster.log();
    let plans: Vec<&str> = log[before..].split("plan:").skip(1).collect();
    assert!(plans.len() > asked, "the server explains: {} plans of {asked} calls", plans.len());
    let grown = [
        "tenants",
        "placements",
        "operations",
        "operation_steps",
        "platform_api_keys",
        "audit_events",
        "api_keys",
    ];
    for plan in plans {
        // A job that works through all tenants reads all tenants.
        if plan.contains("state <> 'provisioning'") {
            continue;
        }
        for table in grown {
            assert!(
                !plan.contains(&format!("Seq Scan on {table} ")),
                "{}",
                &plan[..plan.len().min(2000)]
            );
        }
    }
}
