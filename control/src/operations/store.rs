//! All SQL of operations and their steps.

use crate::audit::Origin;
use crate::random::{id, now_ms};
use crate::sql::{self, bigint, int, jsonb, text};
use serde_json::{Value as Json, json};
use tokio_postgres::{GenericClient, Row};

type Found<T> = Result<T, tokio_postgres::Error>;

/// Steps of `tenant.provision`, in order.
pub const PROVISION: [&str; 8] =
    ["place", "role", "database", "grants", "schema", "defaults", "probe", "activate"];

/// An operation as the API shows it.
#[derive(Debug)]
pub struct Operation {
    pub id: String,
    pub tenant_id: Option<String>,
    pub state: String,
    pub version: i64,
    pub json: Json,
}

const SELECT: &str = "SELECT o.id, o.kind, o.tenant_id, o.state, o.result, o.error, o.actor, o.request_id, o.version, \
    rfc3339(o.created_at) AS created_at, rfc3339(o.updated_at) AS updated_at, \
    (SELECT coalesce(jsonb_agg(jsonb_build_object('name', s.name, 'state', s.state, 'attempts', s.attempts, \
    'started_at', rfc3339(s.started_at), 'finished_at', rfc3339(s.finished_at), 'error', s.error) ORDER BY s.position), '[]') \
    FROM operation_steps s WHERE s.operation_id = o.id) AS steps FROM operations o";

impl Operation {
    fn of(row: &Row) -> Operation {
        let text = |name: &str| row.get::<_, Option<String>>(name);
        let json = |name: &str| row.get::<_, Option<Json>>(name);
        let steps: Json = row.get("steps");
        let all = steps.as_array().map_or(0, Vec::len);
        let done = steps
            .as_array()
            .into_iter()
            .flatten()
            .filter(|step| step["state"] == "succeeded")
            .count();
        let version: i64 = row.get("version");
        let shown = json!({
            "id": text("id"), "kind": text("kind"), "tenant_id": text("tenant_id"), "state": text("state"),
            "steps": steps, "progress": {"done": done, "total": all}, "result": json("result"), "error": json("error"),
            "actor": json("actor"), "request_id": text("request_id"), "version": version,
            "created_at": text("created_at"), "updated_at": text("updated_at"),
        });
        Operation {
            id: text("id").unwrap_or_default(),
            tenant_id: text("tenant_id"),
            state: text("state").unwrap_or_default(),
            version,
            json: shown,
        }
    }
}

/// A new provisioning with its steps; answers its id.
pub async fn insert_provision(
    client: &impl GenericClient,
    tenant_id: &str,
    origin: &Origin,
) -> Found<String> {
    let id = id("op", now_ms());
    let actor = origin.actor.json();
    let statement = "INSERT INTO operations (id, kind, tenant_id, actor, request_id) VALUES ($1, 'tenant.provision', $2, $3, $4)";
    let params = [text(&id), text(&tenant_id), jsonb(&actor), text(&origin.request_id)];
    sql::run(client, statement, &params).await?;
    let statement = "INSERT INTO operation_steps (operation_id, position, name) \
        SELECT $1, position, name FROM unnest($2::text[]) WITH ORDINALITY AS s(name, position)";
    let steps = PROVISION.map(str::to_owned).to_vec();
    sql::run(client, statement, &[text(&id), sql::texts(&steps)]).await?;
    Ok(id)
}

pub async fn by_id(client: &impl GenericClient, id: &str) -> Found<Option<Operation>> {
    let statement = format!("{SELECT} WHERE o.id = $1");
    Ok(sql::first(client, &statement, &[text(&id)]).await?.map(|row| Operation::of(&row)))
}

/// Oldest first; a tenant's are served by `operations_tenant`.
pub async fn page(
    client: &impl GenericClient,
    tenant: Option<&str>,
    state: Option<&str>,
    after: &str,
    limit: i64,
) -> Found<Vec<Operation>> {
    let tenant_filter = if tenant.is_some() { "o.tenant_id = $3" } else { "$3::text IS NULL" };
    let state_filter = if state.is_some() { "o.state = $4" } else { "$4::text IS NULL" };
    let statement = format!(
        "{SELECT} WHERE o.id > $1 AND {tenant_filter} AND {state_filter} ORDER BY o.id LIMIT $2"
    );
    let params = [text(&after), bigint(&limit), text(&tenant), text(&state)];
    Ok(client.query_typed(&statement, &params).await?.iter().map(Operation::of).collect())
}

/// Operations whose next try is due; served by `operations_due`.
pub async fn due(client: &impl GenericClient) -> Found<Vec<String>> {
    let statement = "SELECT id FROM operations WHERE state IN ('pending', 'running') AND due_at <= now() ORDER BY due_at LIMIT 100";
    Ok(client.query_typed(statement, &[]).await?.iter().map(|row| row.get(0)).collect())
}

pub async fn set_state(
    client: &impl GenericClient,
    id: &str,
    state: &str,
    error: Option<&Json>,
) -> Found<()> {
    let statement = "UPDATE operations SET state = $2, error = $3, version = version + 1, updated_at = now() WHERE id = $1";
    sql::run(client, statement, &[text(&id), text(&state), jsonb(&error)]).await.map(|_| ())
}

/// The next try is not before this much time.
pub async fn set_due(client: &impl GenericClient, id: &str, after_seconds: f64) -> Found<()> {
    let statement = "UPDATE operations SET due_at = now() + make_interval(secs => $2), updated_at = now() WHERE id = $1";
    sql::run(client, statement, &[text(&id), sql::double(&after_seconds)]).await.map(|_| ())
}

/// The first step that is not done: its position, name and tries so far.
pub async fn next_step(client: &impl GenericClient, id: &str) -> Found<Option<(i32, String, i32)>> {
    let statement = "SELECT position, name, attempts FROM operation_steps WHERE operation_id = $1 AND state <> 'succeeded' \
        ORDER BY position LIMIT 1";
    let row = sql::first(client, statement, &[text(&id)]).await?;
    Ok(row.map(|row| (row.get(0), row.get(1), row.get(2))))
}

pub async fn begin_step(client: &impl GenericClient, id: &str, position: i32) -> Found<()> {
    let statement = "UPDATE operation_steps SET state = 'running', attempts = attempts + 1, error = NULL, \
        started_at = coalesce(started_at, clock_timestamp()) WHERE operation_id = $1 AND position = $2";
    sql::run(client, statement, &[text(&id), int(&position)]).await.map(|_| ())
}

pub async fn end_step(
    client: &impl GenericClient,
    id: &str,
    position: i32,
    error: Option<&str>,
) -> Found<()> {
    let statement = "UPDATE operation_steps SET state = CASE WHEN $3::text IS NULL THEN 'succeeded' ELSE 'failed' END, error = $3, \
        finished_at = CASE WHEN $3::text IS NULL THEN clock_timestamp() END WHERE operation_id = $1 AND position = $2";
    sql::run(client, statement, &[text(&id), int(&position), text(&error)]).await.map(|_| ())
}

/// Tries are counted from zero again.
pub async fn reset_steps(client: &impl GenericClient, id: &str) -> Found<()> {
    let statement = "UPDATE operation_steps SET attempts = 0, state = 'pending', error = NULL \
        WHERE operation_id = $1 AND state <> 'succeeded'";
    sql::run(client, statement, &[text(&id)]).await.map(|_| ())
}
