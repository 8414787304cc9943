//! The fleet's migrations: every tenant's database brought to the schema of this program, one first, then one in a hundred,
//! one in ten, all.
//!
//! A migration is an operation: it can be killed anywhere and taken up by anybody, for what is to be done is read from the
//! placements each time. The first stages stop at the first failure, the last goes on around failures up to its budget. Until
//! a tenant's database is at head, its calls are `database-unavailable`; those of others are answered.

use crate::audit::{Event, Origin, append};
use crate::call::{Call, Reply};
use crate::code::{Code, Refusal};
use crate::migrate::{bring_to_head, tenant_schema_version};
use crate::operations::store::{self, NewOperation, Operation};
use crate::operations::work::{Job, Step, refused, said};
use crate::page::Page;
use crate::placement::Cluster;
use crate::pools::{Conn, Pools};
use crate::sql::{self, Queries, bigint, int, text, texts};
use crate::write::{Stop, Write};
use http::StatusCode;
use serde_json::{Value as Json, json};
use tokio_postgres::Row;

pub(crate) const KIND: &str = "migration";
/// Stages, in order, and which part of the fleet is at head behind each.
const STAGES: [(&str, i64); 4] =
    [("canary", 0), ("one-percent", 100), ("ten-percent", 10), ("all", 1)];
const STEPS: [&str; 4] = ["canary", "one-percent", "ten-percent", "all"];
/// Of the last stage: one tenant in so many may fail before it stops.
const BUDGET_PART: i64 = 100;
/// A migration that is paused is looked at so often, beside when it is resumed.
const PAUSED_SECONDS: f64 = 3_600.0;

/// Tenants whose database is behind this program's schema; `$1` is the schema.
const BEHIND: &str = "FROM placements p JOIN tenants t ON t.id = p.tenant_id \
    WHERE p.schema_version < $1 AND t.state IN ('active', 'suspended', 'offboarding')";

/// Begins a migration if there is something to do and none is under way: one read if there is not. Answers the id of the
/// one that is under way.
///
/// # Errors
/// Those of the database.
pub async fn ensure(pools: &Pools) -> Result<Option<String>, Refusal> {
    let mut platform = pools.platform().await?;
    if behind(&platform).await? == 0 {
        return Ok(None);
    }
    let tx = platform.begin().await?;
    let operation = match under_way(&tx).await? {
        Some(operation) => operation,
        None => begin(&tx, &Origin::system("serve")).await?,
    };
    tx.commit().await?;
    Ok(Some(operation.id))
}

async fn behind(client: &impl Queries) -> Result<i64, Refusal> {
    let statement = format!("SELECT count(*) {BEHIND}");
    let row = sql::first(client, &statement, &[int(&tenant_schema_version())]).await?;
    Ok(row.map_or(0, |row| row.get(0)))
}

/// The migration that has not ended; whoever asks is alone with it until the transaction ends.
async fn under_way(tx: &impl Queries) -> Result<Option<Operation>, Refusal> {
    sql::run(tx, "SELECT pg_advisory_xact_lock(hashtext('tollgate fleet'))", &[]).await?;
    let statement = "SELECT id FROM operations WHERE kind = $1 AND state IN ('pending', 'running') ORDER BY id LIMIT 1";
    match sql::first(tx, statement, &[text(&KIND)]).await? {
        Some(row) => Ok(store::by_id(tx, row.get(0)).await?),
        None => Ok(None),
    }
}

async fn begin(tx: &impl Queries, origin: &Origin) -> Result<Operation, Refusal> {
    let total = behind(tx).await?;
    let result = json!({
        "schema_version": tenant_schema_version(), "paused": false, "progress": {"done": 0, "total": total},
    });
    let new = NewOperation { kind: KIND, tenant_id: None, steps: &STEPS, result: Some(result) };
    let id = store::insert(tx, &new, origin).await?;
    let made = store::by_id(tx, &id).await?;
    let made = made.ok_or_else(|| Refusal::internal("an operation vanished"))?;
    let event = Event {
        action: "migration.created",
        tenant_id: None,
        resource: ("operation", &id),
        before: None,
        after: Some(&made.json),
    };
    append(tx, origin, &event).await?;
    Ok(made)
}

/// Does one stage of a migration.
///
/// # Errors
/// A sentence that names the first tenant that failed.
pub(crate) async fn step(job: &Job<'_>, name: &str) -> Result<Step, String> {
    let total = job.operation.json["result"]["progress"]["total"].as_i64().unwrap_or(0);
    let part = STAGES.iter().find(|(stage, _)| *stage == name).map_or(1, |(_, part)| *part);
    let wanted = if part == 0 { 1 } else { (total + part - 1) / part };
    let budget = if part == 1 { total / BUDGET_PART } else { 0 };
    let (mut failed, mut first): (Vec<String>, String) = (Vec::new(), String::new());
    loop {
        let now = store::by_id(job.platform, &job.operation.id).await.map_err(said)?;
        let now = now.ok_or("the operation is gone")?;
        if now.json["result"]["paused"] == true || now.state != "running" {
            return Ok(Step::Waits(PAUSED_SECONDS));
        }
        let left = behind(job.platform).await.map_err(refused)?;
        let done = (total - left).max(0);
        let progress = json!({"progress": {"done": done, "total": total}});
        store::add_result(job.platform, &job.operation.id, &progress).await.map_err(said)?;
        let room = i64::try_from(job.service.config.pools.chores_max.max(1)).unwrap_or(1);
        let next = match wanted - done {
            missing if missing > 0 => next(job.platform, &failed, missing.min(room)).await?,
            _ => Vec::new(),
        };
        if next.is_empty() {
            break;
        }
        for (tenant, ended) in migrated(job, next).await {
            if let Err(error) = ended {
                tracing::warn!(tenant, error, "a tenant's database could not be migrated");
                if failed.is_empty() {
                    first = format!("{tenant}: {error}");
                }
                failed.push(tenant);
            }
        }
        if i64::try_from(failed.len()).unwrap_or(i64::MAX) > budget {
            break;
        }
    }
    if !failed.is_empty() {
        return Err(format!("{} of {total} failed; {first}", failed.len()));
    }
    if part == 1 {
        // With the operation its last stage: nobody looks at it again.
        let last = i32::try_from(STEPS.len()).unwrap_or(i32::MAX);
        store::end_step(job.platform, &job.operation.id, last, None).await.map_err(said)?;
        store::set_state(job.platform, &job.operation.id, "succeeded").await.map_err(said)?;
    }
    Ok(Step::Done)
}

/// A tenant that is behind, and where its database is.
struct Behind {
    tenant: String,
    cluster: Cluster,
    database: String,
}

/// The next tenants, those with the label `canary` first.
async fn next(platform: &Conn, failed: &[String], most: i64) -> Result<Vec<Behind>, String> {
    let statement = format!(
        "SELECT t.id, p.cluster_id, (SELECT address FROM clusters c WHERE c.id = p.cluster_id), p.database_name {BEHIND} AND t.id <> ALL ($2) \
         ORDER BY t.labels ->> 'canary' = 'true' DESC NULLS LAST, t.id LIMIT $3"
    );
    let (head, failed) = (tenant_schema_version(), failed.to_vec());
    let params = [int(&head), texts(&failed), bigint(&most)];
    let rows = platform.rows(&statement, &params).await.map_err(said)?;
    let behind = |row: &Row| Behind {
        tenant: row.get(0),
        cluster: Cluster { id: row.get(1), address: row.get(2) },
        database: row.get(3),
    };
    Ok(rows.iter().map(behind).collect())
}

/// Some tenants at once, and what became of each.
async fn migrated(job: &Job<'_>, tenants: Vec<Behind>) -> Vec<(String, Result<(), String>)> {
    let mut tasks = tokio::task::JoinSet::new();
    for Behind { tenant, cluster, database } in tenants {
        let platform = job.service.pools.addresses().clone();
        let addresses = job.service.pools.addresses_of(&cluster);
        tasks.spawn(async move {
            let ended = match (addresses, platform.admin(platform.platform_database()).await) {
                (Ok(addresses), Ok(mut admin)) => {
                    bring_to_head(&addresses, &mut admin, &tenant, &database).await
                }
                (Err(refusal), _) => Err(refused(refusal)),
                (_, Err(error)) => Err(said(error)),
            };
            (tenant, ended)
        });
    }
    let mut all = Vec::new();
    while let Some(done) = tasks.join_next().await {
        all.extend(done);
    }
    all
}

/// `GET /v1/migrations`.
pub async fn list(call: &Call) -> Result<Reply, Stop> {
    let page = Page::read(call)?;
    store::list_of_kind(&call.platform().await?, &page, KIND).await
}

/// `GET /v1/migrations/{id}`.
pub async fn show(call: &Call) -> Result<Reply, Stop> {
    let found = store::by_id(&call.platform().await?, call.parameter(0)).await?;
    let found = found.filter(|operation| operation.kind == KIND);
    let found = found.ok_or_else(|| Refusal::not_found("migration", call.parameter(0)))?;
    Ok(Reply::ok(found.json).etag(found.version))
}

/// `POST /v1/migrations`: the one that is under way, or a new one, be there nothing to do.
pub async fn create(call: &Call) -> Result<Reply, Stop> {
    let mut conn = call.platform().await?;
    let write = Write::begin(call, &mut conn).await?;
    let operation = match under_way(&write.tx).await? {
        Some(operation) => operation,
        None => begin(&write.tx, &call.origin).await?,
    };
    let mut reply = Reply::ok(operation.json).status(StatusCode::ACCEPTED).etag(operation.version);
    reply.location = Some(call.service.link(&format!("/v1/operations/{}", operation.id)));
    let reply = write.finish(reply).await?;
    call.service.wake.notify_one();
    Ok(reply)
}

/// `POST /v1/migrations/{id}/pause`: no further tenant is begun.
pub async fn pause(call: &Call) -> Result<Reply, Stop> {
    switch(call, true, "migration.paused").await
}

/// `POST /v1/migrations/{id}/resume`.
pub async fn resume(call: &Call) -> Result<Reply, Stop> {
    switch(call, false, "migration.resumed").await
}

async fn switch(call: &Call, is_paused: bool, action: &str) -> Result<Reply, Stop> {
    let mut conn = call.platform().await?;
    let mut write = Write::begin(call, &mut conn).await?;
    let id = call.parameter(0);
    let found = store::by_id(&write.tx, id).await?.filter(|operation| operation.kind == KIND);
    let before = found.ok_or_else(|| Refusal::not_found("migration", id))?;
    let was_paused = before.json["result"]["paused"] == true;
    let is_open = matches!(before.state.as_str(), "pending" | "running");
    if !is_open || was_paused == is_paused {
        let state = if was_paused { "paused" } else { before.state.as_str() };
        let allowed: Json =
            if is_paused { json!(["pending", "running"]) } else { json!(["paused"]) };
        let message = format!("the migration is {state}");
        let details = json!({"state": state, "allowed": allowed});
        return Err(write.refuse(Refusal::new(Code::InvalidState, message).with(details)).await);
    }
    store::add_result(&write.tx, id, &json!({ "paused": is_paused })).await?;
    store::set_due(&write.tx, id, 0.0).await?;
    let after = store::by_id(&write.tx, id).await?;
    let after = after.ok_or_else(|| Refusal::internal("an operation vanished"))?;
    let event = Event {
        action,
        tenant_id: None,
        resource: ("operation", id),
        before: Some(&before.json),
        after: Some(&after.json),
    };
    write.audit(&event).await?;
    let reply = write.finish(Reply::ok(after.json).etag(after.version)).await?;
    call.service.wake.notify_one();
    Ok(reply)
}
