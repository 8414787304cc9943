//! Epochs of the platform's data. What was restored is closed until somebody on the host begins a new epoch and says why:
//! what had happened after the backup is not known there, above all which keys were revoked.
//!
//! In the first transaction of its new epoch a database ends all sessions, and all keys where the operator says so; its
//! bundles begin at a higher epoch, so that no sidecar takes them for older ones; and the transaction ids in its audit log,
//! which are another cluster's, are forgotten.

use crate::audit::{Actor, Event, Origin, append};
use crate::bundle::{BundleVersion, note};
use crate::chain::{Head, PLATFORM, head, verify::walk};
use crate::clusters;
use crate::database::{Addresses, OWNER_ROLE};
use crate::operations::work::said;
use crate::secret::MasterKey;
use crate::sql::{self, Queries, bigint, int, text};
use serde_json::{Value as Json, json};
use tokio_postgres::{Client, Transaction};

/// What becomes of the API keys that a backup brought back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    /// None was revoked since: the operator says so.
    Keep,
    Revoke,
}

/// Tenants `t` that have a database which is not being erased.
pub(crate) const KEPT: &str = "t.state IN ('active', 'suspended', 'offboarding') AND NOT EXISTS \
    (SELECT FROM operations o JOIN operation_steps s ON s.operation_id = o.id WHERE o.tenant_id = t.id \
    AND o.kind = 'tenant.offboard' AND o.state <> 'cancelled' AND s.name = 'grace' AND s.state = 'succeeded')";

/// Whether the data may be served; the first start of a new database begins the first epoch.
///
/// # Errors
/// A sentence: closed, and what opens it; or the database's.
pub async fn ensure_open(addresses: &Addresses) -> Result<(), String> {
    let mut admin = addresses.admin(addresses.platform_database()).await.map_err(said)?;
    let Some((number, cluster, is_open)) = newest(&admin).await? else {
        let tx = admin.transaction().await.map_err(said)?;
        begin(&tx, 1, "the first start").await?;
        return tx.commit().await.map_err(said);
    };
    let why = match (is_open, cluster == system_identifier(&admin).await?) {
        (true, true) => return Ok(()),
        (false, _) => "it was restored from a backup",
        (true, false) => "it was made in another Postgres cluster",
    };
    Err(format!(
        "the platform's data of epoch {number} is closed: {why}; begin a new epoch: tollgate-control epoch --reason TEXT --keys keep|revoke"
    ))
}

/// The newest epoch: its number, its cluster, whether it is open.
async fn newest(client: &impl Queries) -> Result<Option<(i64, i64, bool)>, String> {
    let statement = "SELECT number, system_identifier, opened_at IS NOT NULL FROM epochs ORDER BY number DESC LIMIT 1";
    let row = sql::first(client, statement, &[]).await.map_err(said)?;
    Ok(row.map(|row| (row.get(0), row.get(1), row.get(2))))
}

async fn system_identifier(client: &impl Queries) -> Result<i64, String> {
    let statement = "SELECT system_identifier FROM pg_control_system()";
    let row = sql::first(client, statement, &[]).await.map_err(said)?;
    row.map(|row| row.get(0)).ok_or_else(|| "the database does not say which it is".to_owned())
}

/// Closes what was restored, until a new epoch is begun.
///
/// # Errors
/// A sentence.
pub(crate) async fn close(admin: &mut Client, made_at: &str) -> Result<(), String> {
    let tx = admin.transaction().await.map_err(said)?;
    as_owner(&tx).await?;
    let statement = "INSERT INTO epochs (number, system_identifier) \
        SELECT coalesce(max(number), 1) + 1, (SELECT system_identifier FROM pg_control_system()) FROM epochs";
    sql::run(&tx, statement, &[]).await.map_err(said)?;
    let made = json!({ "made_at": made_at });
    tell(&tx, "platform.restored", ("backup", made_at), &made).await?;
    tx.commit().await.map_err(said)
}

async fn as_owner(tx: &Transaction<'_>) -> Result<(), String> {
    tx.batch_execute(&format!("SET LOCAL ROLE {OWNER_ROLE}")).await.map_err(said)
}

async fn tell(
    tx: &impl Queries,
    action: &str,
    resource: (&str, &str),
    after: &Json,
) -> Result<(), String> {
    let actor = Actor::new("bootstrap", "restore");
    let origin = Origin { actor, ..Origin::system("") };
    let event = Event { action, tenant_id: None, resource, before: None, after: Some(after) };
    append(tx, &origin, &event).await.map_err(said)
}

/// The open row of an epoch.
async fn begin(tx: &Transaction<'_>, number: i64, reason: &str) -> Result<(), String> {
    as_owner(tx).await?;
    let statement = "INSERT INTO epochs (number, system_identifier, opened_at, reason) \
        SELECT $1, system_identifier, now(), $2 FROM pg_control_system() \
        ON CONFLICT (number) DO UPDATE SET opened_at = now(), reason = $2, system_identifier = excluded.system_identifier";
    sql::run(tx, statement, &[bigint(&number), text(&reason)]).await.map_err(said)?;
    let name = number.to_string();
    tell(tx, "epoch.begun", ("epoch", &name), &json!({ "reason": reason })).await
}

/// Begins a new epoch: of every tenant, then of the platform, which opens it. Safe to run again where it ended early.
///
/// # Errors
/// A sentence: nothing to begin, a log that is not whole, a database that is not its placement's.
pub async fn start(
    addresses: &Addresses,
    master: &MasterKey,
    reason: &str,
    keys: Keys,
) -> Result<Json, String> {
    let mut admin = addresses.admin(addresses.platform_database()).await.map_err(said)?;
    let number = match newest(&admin).await? {
        Some((number, _, false)) => number,
        Some((number, cluster, true)) if cluster != system_identifier(&admin).await? => number + 1,
        _ => return Err("the platform's data is open: nothing was restored".to_owned()),
    };
    let clusters = clusters::all(&admin, addresses, master).await?;
    let statement = format!(
        "SELECT p.tenant_id, p.database_name, p.cluster_id, p.generation FROM placements p \
        JOIN tenants t ON t.id = p.tenant_id WHERE {KEPT} ORDER BY 1"
    );
    let name = number.to_string();
    let mut begun = Vec::new();
    for row in admin.rows(&statement, &[]).await.map_err(said)? {
        let (tenant, database): (String, String) = (row.get(0), row.get(1));
        let cluster = clusters.get(&row.get::<_, String>(2)).ok_or("a cluster is gone")?;
        let mut inside = cluster.admin(&database).await.map_err(said)?;
        let generation = row.get(3);
        is_of(&inside, &tenant, generation).await?;
        let beginning = Beginning { name: &name, floor: number - 1, generation, reason, keys };
        let version = of_tenant(&mut inside, &tenant, beginning).await?;
        whole(&admin, &inside, &tenant).await?;
        note(&admin, &tenant, version).await.map_err(|refusal| refusal.message)?;
        begun.push(json!({"tenant": tenant, "bundle": version.json()}));
    }
    whole(&admin, &admin, PLATFORM).await?;
    let tx = admin.transaction().await.map_err(said)?;
    as_owner(&tx).await?;
    forget_transactions(&tx).await?;
    sql::run(&tx, "DELETE FROM platform_sessions", &[]).await.map_err(said)?;
    if keys == Keys::Revoke {
        let revoke = "UPDATE platform_api_keys SET revoked_at = now() WHERE revoked_at IS NULL";
        sql::run(&tx, revoke, &[]).await.map_err(said)?;
    }
    begin(&tx, number, reason).await?;
    tx.commit().await.map_err(said)?;
    Ok(json!({"epoch": number, "tenants": begun}))
}

/// The platform's placement and the database itself say the same.
async fn is_of(inside: &Client, tenant: &str, generation: i32) -> Result<(), String> {
    let statement = "SELECT tenant_id, placement_generation FROM tenant_meta";
    let row = sql::first(inside, statement, &[]).await.map_err(said)?;
    let found = row.map(|row| (row.get::<_, String>(0), row.get::<_, i32>(1)));
    match found {
        Some((id, found)) if (id.as_str(), found) == (tenant, generation) => Ok(()),
        found => Err(format!(
            "{tenant}: expected its database to be of generation {generation}, got {found:?}"
        )),
    }
}

/// Ids of another cluster's transactions would be taken for this one's.
async fn forget_transactions(tx: &Transaction<'_>) -> Result<(), String> {
    sql::run(tx, "UPDATE audit_events SET xid = '3' WHERE xid <> '3'", &[])
        .await
        .map_err(said)
        .map(drop)
}

/// How a tenant's database begins its next epoch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Beginning<'b> {
    /// Among those of the tenant.
    pub(crate) name: &'b str,
    /// Its bundles' epoch is above this one.
    pub(crate) floor: i64,
    pub(crate) generation: i32,
    pub(crate) reason: &'b str,
    pub(crate) keys: Keys,
}

/// A tenant's database in a new epoch; the version of its bundle there.
///
/// # Errors
/// A sentence: it is another tenant's, or the database said no.
pub(crate) async fn of_tenant(
    inside: &mut Client,
    tenant: &str,
    beginning: Beginning<'_>,
) -> Result<BundleVersion, String> {
    let Beginning { name, floor, generation, reason, keys } = beginning;
    let tx = inside.transaction().await.map_err(said)?;
    as_owner(&tx).await?;
    let statement =
        "SELECT bundle_epoch, bundle_seq FROM tenant_meta WHERE tenant_id = $1 FOR UPDATE";
    let row = sql::first(&tx, statement, &[text(&tenant)]).await.map_err(said)?;
    let row = row.ok_or_else(|| format!("{tenant}: its database is not its own"))?;
    let (epoch, seq): (i64, i64) = (row.get(0), row.get(1));
    let is_begun =
        "SELECT FROM audit_events WHERE action = 'epoch.begun' AND resource_id = $1 AND xid <> '3'";
    if sql::first(&tx, is_begun, &[text(&name)]).await.map_err(said)?.is_some() {
        return Ok(BundleVersion { epoch, seq });
    }
    forget_transactions(&tx).await?;
    let next = epoch.max(floor) + 1;
    let set = "UPDATE tenant_meta SET bundle_epoch = $1, placement_generation = $2";
    sql::run(&tx, set, &[bigint(&next), int(&generation)]).await.map_err(said)?;
    sql::run(&tx, "DELETE FROM sessions", &[]).await.map_err(said)?;
    if keys == Keys::Revoke {
        let revoke = "UPDATE api_keys SET revoked_at = now() WHERE revoked_at IS NULL";
        sql::run(&tx, revoke, &[]).await.map_err(said)?;
    }
    tell(&tx, "epoch.begun", ("epoch", name), &json!({"reason": reason, "bundle_epoch": next}))
        .await?;
    tx.commit().await.map_err(said)?;
    Ok(BundleVersion { epoch: next, seq })
}

/// Whether a log is what its head says.
///
/// # Errors
/// A sentence with what was found.
pub(crate) async fn whole(
    platform: &impl Queries,
    inside: &impl Queries,
    log: &str,
) -> Result<Json, String> {
    let known = head(platform, log).await;
    let known = known.map_err(|refusal| refusal.cause.unwrap_or(refusal.message))?;
    walked(inside, log, &known).await
}

/// The same with a head that the platform's database does not know.
///
/// # Errors
/// A sentence with what was found.
pub(crate) async fn walked(inside: &impl Queries, log: &str, known: &Head) -> Result<Json, String> {
    let walked = walk(inside, known).await;
    let walked: Json = walked.map_err(|refusal| refusal.cause.unwrap_or(refusal.message))?;
    match walked["whole"] == true {
        true => Ok(walked),
        false => Err(format!("the audit log of `{log}` is not what it was: {walked}")),
    }
}
