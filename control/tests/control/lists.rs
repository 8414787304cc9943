//! Every list at 100 000 rows, its real statements explained by the server: no sequential scan of what grows.

use crate::cluster::Cluster;
use crate::service::Control;
use serde_json::{Value as Json, json};

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
            "INSERT INTO users (id, issuer, subject, display_name) SELECT 'usr_' || lpad(n::text, 26, '0'), 'x', n::text, 'U' || n FROM {rows}",
            "INSERT INTO groups (id, display_name) SELECT 'grp_' || lpad(n::text, 26, '0'), 'G' || n FROM {rows}",
            "INSERT INTO group_members (group_id, user_id) SELECT 'grp_' || lpad((n % 1000 + 1)::text, 26, '0'), 'usr_' || lpad(n::text, 26, '0') FROM {rows}",
            "INSERT INTO role_bindings (id, subject_type, subject_id, role) SELECT 'rb_' || lpad(n::text, 26, '0'), 'user', 'usr_' || lpad(n::text, 26, '0'), 'auditor' FROM {rows}",
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
        "sort=-at",
        "action=tenant.updated&sort=-at&count=true",
        "count=true",
    ];
    let mut asked = 0;
    let mut ask = |credential: &str, path: &str| {
        let mut path = path.to_owned();
        let wants_total = path.contains("count=true");
        // The first page and the next: a position in the middle is another plan.
        for _ in 0..2 {
            let answer = control.ask(credential, "GET", &path, None);
            assert_eq!(answer.status, 200, "{path}: {}", answer.text);
            assert_eq!(answer.json()["total"].is_u64(), wants_total, "{path}");
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
        "/v1/migrations?limit=50",
        "/v1/migrations?limit=50&sort=-created_at&count=true",
        "/v1/sidecars?limit=50",
        "/v1/tenants?limit=50&sort=-created_at&count=true",
        "/v1/tenants?limit=50&sort=display_name&count=true",
        "/v1/tenants?limit=50&sort=-id&search=tenant-7&count=true",
        "/v1/tenants?limit=50&search=tenant-77",
        "/v1/tenants?limit=50&search=t&state=suspended&count=true",
        "/v1/tenants?limit=50&search=nobody&count=true",
        "/v1/operations?limit=50&sort=-created_at&count=true",
        "/v1/operations?limit=50&search=tenant-77&count=true",
        "/v1/operations?limit=50&search=nobody",
        "/v1/api-keys?limit=50&sort=-name&count=true",
        "/v1/api-keys?limit=50&search=key_00000000000000000000000077&count=true",
        "/v1/api-keys?limit=50&search=nobody&sort=name",
        "/v1/clusters?limit=50",
        "/v1/settings?limit=50",
    ] {
        ask(&control.admin, path);
    }
    ask(&key, "/v1/tenants/acme/api-keys?limit=50");
    ask(&key, "/v1/tenants/acme/api-keys?limit=50&search=k&sort=-name&count=true");
    ask(&key, "/v1/tenants/acme/api-keys?limit=50&search=nobody");
    ask(&key, "/v1/operations?limit=50");
    let (user, group) = ("usr_00000000000000000000000077", "grp_00000000000000000000000077");
    for path in [
        "users?limit=50".to_owned(),
        "users?limit=50&search=U77&sort=-display_name&count=true".to_owned(),
        "users?limit=50&state=disabled".to_owned(),
        "groups?limit=50&sort=display_name".to_owned(),
        format!("groups/{group}/members?limit=50"),
        format!("role-bindings?limit=50&subject={user}"),
        "role-bindings?limit=50&role=billing".to_owned(),
        "access?limit=50".to_owned(),
        "access?limit=50&sort=-id".to_owned(),
        "access?limit=50&permission=limit:update".to_owned(),
    ] {
        ask(&key, &format!("/v1/tenants/acme/{path}"));
    }
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
        "users",
        "groups",
        "group_members",
        "role_bindings",
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

/// One list as its naive twin gives it: all objects, sorted, filtered and cut in memory.
fn expected(all: &[Json], sort: &str, search: Option<&str>) -> Vec<String> {
    let text = |object: &Json, name: &str| object[name].as_str().unwrap().to_ascii_lowercase();
    let (name, is_descending) = sort.strip_prefix('-').map_or((sort, false), |name| (name, true));
    let is_found = |object: &&Json| {
        let search = search.map(str::to_ascii_lowercase);
        search.is_none_or(|search| {
            ["id", "display_name"].iter().any(|name| text(object, name).starts_with(&search))
        })
    };
    let mut found: Vec<&Json> = all.iter().filter(is_found).collect();
    found.sort_by_key(|object| (text(object, name), text(object, "id")));
    if is_descending {
        found.reverse();
    }
    found.iter().map(|object| text(object, "id")).collect()
}

#[test]
fn lists_are_searched_sorted_and_counted_like_their_naive_twin() {
    let control = Control::start();
    let names = ["Zeta", "zeta", "ÄRGER", "a_c", "a%c", "abc", "AbC", "", "日本", "a", "z'); --"];
    let rows: Vec<String> = (0..60)
        .map(|n| {
            let (name, id) =
                (names[n % names.len()], format!("{}{n:02}", ["ab", "zeta", "b"][n % 3]));
            let name = if name.is_empty() { id.clone() } else { name.replace('\'', "''") };
            // Several of one time: the id decides.
            format!(
                "('{id}', '{name}', 'active', '{{local}}', 'r{n}', now() - {} * interval '1 hour')",
                n / 4
            )
        })
        .collect();
    let fill = format!(
        "SET session_replication_role = replica; INSERT INTO tenants \
         (id, display_name, state, jurisdictions, key_reference, created_at) VALUES {}",
        rows.join(", ")
    );
    crate::cluster::cluster().psql(&control.database, &fill).unwrap();
    let read = |query: &str| {
        let answer = control.ask(&control.admin, "GET", &format!("/v1/tenants?{query}"), None);
        assert_eq!(answer.status, 200, "{query}: {}", answer.text);
        answer.json()
    };
    let all = read("limit=200")["data"].as_array().unwrap().clone();
    assert_eq!(all.len(), 60);
    let searches =
        ["", "a", "AB", "z", "a%25", "a_", "%C3%84r", "%E6%97%A5", "z%27", "nobody", "zeta0"];
    let mut found = 0;
    for sort in ["created_at", "-created_at", "id", "-id", "display_name", "-display_name"] {
        for search in searches {
            let decoded = match search {
                "a%25" => "a%",
                "%C3%84r" => "Är",
                "%E6%97%A5" => "日",
                "z%27" => "z'",
                plain => plain,
            };
            let filter =
                if search.is_empty() { String::new() } else { format!("&search={search}") };
            let wanted = expected(&all, sort, Some(decoded).filter(|text| !text.is_empty()));
            let (mut seen, mut cursor) = (Vec::new(), String::new());
            loop {
                let page = read(&format!("limit=7&count=true&sort={sort}{filter}{cursor}"));
                assert_eq!(page["total"], wanted.len(), "{sort} {search}");
                assert_eq!(page["total_is_exact"], true);
                let ids = page["data"].as_array().unwrap().iter();
                seen.extend(ids.map(|one| one["id"].as_str().unwrap().to_owned()));
                let Some(next) = page["next_cursor"].as_str() else { break };
                cursor = format!("&cursor={next}");
            }
            assert_eq!(seen, wanted, "{sort} {search}");
            found += seen.len();
        }
    }
    assert!(found > 600, "{found}");
    // What is no sort, no search, no count; a cursor of another order.
    let next = read("limit=7&sort=id")["next_cursor"].as_str().unwrap().to_owned();
    for (query, code) in [
        ("sort=state", "invalid"),
        ("sort=", "invalid"),
        ("sort=--id", "invalid"),
        ("search=", "invalid"),
        ("count=yes", "invalid"),
        (&format!("sort=-id&limit=7&cursor={next}"), "invalid-cursor"),
        (&format!("sort=id&search=a&limit=7&cursor={next}"), "invalid-cursor"),
    ] {
        let answer = control.ask(&control.admin, "GET", &format!("/v1/tenants?{query}"), None);
        assert_eq!(answer.code(), code, "{query}: {}", answer.text);
    }
    let short = |path: &str| control.ask(&control.admin, "GET", path, None).json();
    let settings = short("/v1/settings?search=api_key&sort=-key&count=true&limit=1");
    assert_eq!(settings["data"][0]["key"], "api_key.rotation_notice_days");
    assert_eq!((&settings["total"], settings["next_cursor"].is_string()), (&json!(2), true));
    let roles = short("/v1/roles?search=a&count=true");
    assert_eq!((&roles["total"], &roles["data"][0]["name"]), (&json!(1), &json!("auditor")));
}
