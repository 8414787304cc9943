//! What offboarding erases: the tenant's database and role, then what the platform keeps of it. Each step finds out what
//! is there and can be done again.

use crate::audit::{Event, Origin, append};
use crate::operations::store;
use crate::operations::work::{Job, said};
use crate::placement::Placement;
use crate::sql::{self, quoted, text, texts};
use serde_json::json;
use std::time::{Duration, Instant};
use tokio_postgres::Client;

/// Longer than a transaction of the service may last.
const OLDER_MAX: Duration = Duration::from_secs(15);
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Rows of the platform that tell of a tenant; `$1` is its id.
const ROWS: [(&str, &str); 6] = [
    ("organisation links", "DELETE FROM organisations WHERE tenant_id = $1"),
    ("published bundle", "DELETE FROM published_bundles WHERE tenant_id = $1"),
    ("events to be copied", "DELETE FROM audit_copies WHERE tenant_id = $1"),
    ("head of the audit log", "DELETE FROM audit_heads WHERE tenant_id = $1"),
    (
        "answers to be repeated",
        "DELETE FROM idempotency_keys WHERE route LIKE '% /v1/tenants/' || $1 || '/%' \
         OR route LIKE '% /v1/tenants/' || $1 OR body -> 'tenant' ->> 'id' = $1",
    ),
    ("placement", "DELETE FROM placements WHERE tenant_id = $1"),
];

/// Nobody connects any more, and whoever is connected is not.
pub(super) async fn quiesce(job: &Job<'_>) -> Result<(), String> {
    let (admin, placement) = (job.admin().await?, job.placement().await?);
    let names = json!({
        "cluster": placement.cluster.id, "database": placement.database, "role": placement.role,
    });
    let known = json!({ "erased": names });
    store::add_result(job.platform, &job.operation.id, &known).await.map_err(said)?;
    close(&admin, &placement).await.map_err(said)
}

async fn close(admin: &Client, placement: &Placement) -> Result<(), tokio_postgres::Error> {
    let (database, role) = (&placement.database, &placement.role);
    let known = "SELECT FROM pg_database WHERE datname = $1";
    if sql::first(admin, known, &[text(database)]).await?.is_some() {
        let close = format!("ALTER DATABASE {} ALLOW_CONNECTIONS false", quoted(database));
        admin.batch_execute(&close).await?;
    }
    let known = "SELECT FROM pg_roles WHERE rolname = $1";
    if sql::first(admin, known, &[text(role)]).await?.is_some() {
        // Whoever provisions is no superuser: it may end the connections of a role that it is a member of.
        let role = quoted(role);
        admin
            .batch_execute(&format!("ALTER ROLE {role} NOLOGIN; GRANT {role} TO CURRENT_USER"))
            .await?;
    }
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = $1";
    sql::first(admin, end, &[text(database)]).await?;
    Ok(())
}

/// Drops a database with whoever is connected to it, and its role.
///
/// # Errors
/// Those of the database.
pub(crate) async fn erase(
    admin: &Client,
    placement: &Placement,
) -> Result<(), tokio_postgres::Error> {
    close(admin, placement).await?;
    for statement in [
        format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", quoted(&placement.database)),
        format!("DROP ROLE IF EXISTS {}", quoted(&placement.role)),
    ] {
        admin.batch_execute(&statement).await?;
    }
    Ok(())
}

/// What the platform keeps: its rows, its names, and what stands in its files of both.
pub(super) async fn forget(job: &Job<'_>) -> Result<(), String> {
    let mut conn = job.conn().await?;
    let tx = conn.begin().await.map_err(said)?;
    let id = job.tenant_id();
    let operation = store::by_id(&tx, &job.operation.id).await.map_err(said)?;
    let operation = operation.ok_or("the operation is gone")?.json;
    let mut erased = operation["result"]["erased"].clone();
    if erased["rows"].is_null() {
        let mut rows = json!({});
        for (what, statement) in ROWS {
            rows[what] = json!(sql::run(&tx, statement, &[text(&id)]).await.map_err(said)?);
        }
        erased["rows"] = rows;
        let names = "UPDATE tenants SET display_name = id, labels = '{}', version = version + 1, updated_at = now() \
            WHERE id = $1";
        sql::run(&tx, names, &[text(&id)]).await.map_err(said)?;
        let event = Event {
            action: "tenant.erased",
            tenant_id: None,
            resource: ("tenant", id),
            before: None,
            after: None,
        };
        append(&tx, &Origin::system("offboard"), &event).await.map_err(said)?;
        let members = json!({ "erased": erased });
        store::add_result(&tx, &job.operation.id, &members).await.map_err(said)?;
    }
    tx.commit().await.map_err(said)?;
    let admin = job.platform_admin().await?;
    erased["files_rewritten"] = json!(is_rewritten(&admin).await);
    // Of the tenant's cluster before, of the platform's now.
    let is_over = operation["result"]["is_checkpointed"] == true;
    erased["wal_checkpointed"] = json!(is_checkpointed(&admin).await && is_over);
    let members = json!({ "erased": erased });
    store::add_result(job.platform, &job.operation.id, &members).await.map_err(said)
}

/// A row that is gone stands in its file until the file is written anew while nobody can still see it, and what was common
/// among the values of a column in the planner's statistics.
async fn is_rewritten(admin: &Client) -> bool {
    let mut is_done = admin.batch_execute("SET lock_timeout = '2s'").await.is_ok();
    for table in ["tenants", "idempotency_keys", "pg_statistic"] {
        let analyze = if table.starts_with("pg_") { "" } else { ", ANALYZE" };
        let rewrite = format!("VACUUM (FULL{analyze}) {table}");
        is_done &= is_seen_by_nobody(admin).await && admin.batch_execute(&rewrite).await.is_ok();
    }
    is_done
}

/// Waits until every transaction that runs now is over: those that begin later do not see what is gone.
async fn is_seen_by_nobody(admin: &Client) -> bool {
    let running = "SELECT coalesce(array_agg(l.virtualtransaction), '{}') \
        FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE l.locktype = 'virtualxid' AND l.granted \
        AND a.datname = current_database() AND l.pid <> pg_backend_pid()";
    let Ok(Some(row)) = sql::first(admin, running, &[]).await else { return false };
    let older: Vec<String> = row.get(0);
    let began = Instant::now();
    let left = "SELECT FROM pg_locks WHERE locktype = 'virtualxid' AND granted \
        AND virtualtransaction = ANY ($1) LIMIT 1";
    while began.elapsed() < OLDER_MAX {
        match sql::first(admin, left, &[texts(&older)]).await {
            Ok(None) => return true,
            Ok(Some(_)) => tokio::time::sleep(LOOK_INTERVAL).await,
            Err(_) => return false,
        }
    }
    false
}

/// The segment of the write-ahead log that tells of it is over and goes with the checkpoint (with `wal_recycle = off`;
/// else it is written over in time), where the provisioning role may say so.
pub(super) async fn is_checkpointed(admin: &Client) -> bool {
    let mut is_done = true;
    for statement in ["SELECT pg_switch_wal()", "CHECKPOINT"] {
        is_done &= admin.batch_execute(statement).await.is_ok();
    }
    is_done
}
