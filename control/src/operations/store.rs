//! All SQL of operations and their steps.

use crate::audit::Origin;
use crate::call::Reply;
use crate::listing::{Key, Listing, Order};
use crate::page::Page;
use crate::pools::Conn;
use crate::random::{id, now_ms};
use crate::sql::{self, Queries, int, jsonb, text};
use crate::write::Stop;
use serde_json::{Value as Json, json};
use tokio_postgres::Row;

type Found<T> = Result<T, tokio_postgres::Error>;

/// An operation as the API shows it.
#[derive(Debug)]
pub struct Operation {
    pub id: String,
    pub kind: String,
    pub tenant_id: Option<String>,
    pub state: String,
    pub version: i64,
    pub json: Json,
}

const COLUMNS: &str = "o.id, o.kind, o.tenant_id, o.state, o.result, o.error, o.actor, o.request_id, o.version, \
    rfc3339(o.created_at) AS created_at, rfc3339(o.updated_at) AS updated_at, \
    (SELECT coalesce(jsonb_agg(jsonb_build_object('name', s.name, 'state', s.state, 'attempts', s.attempts, \
    'started_at', rfc3339(s.started_at), 'finished_at', rfc3339(s.finished_at), 'error', s.error) ORDER BY s.position), '[]') \
    FROM operation_steps s WHERE s.operation_id = o.id) AS steps";
const FROM: &str = "FROM operations o";
/// Their ids begin with their time.
const ORDERS: &[Order] = &[Order { name: "created_at", key: Key::Unique("o.id") }];

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
        let result = json("result");
        // Of a migration: tenants.
        let progress = result.as_ref().map(|result| result["progress"].clone());
        let progress = progress.filter(|progress| !progress.is_null());
        let progress = progress.unwrap_or_else(|| json!({"done": done, "total": all}));
        let shown = json!({
            "id": text("id"), "kind": text("kind"), "tenant_id": text("tenant_id"), "state": text("state"),
            "steps": steps, "progress": progress, "result": result, "error": json("error"),
            "actor": json("actor"), "request_id": text("request_id"), "version": version,
            "created_at": text("created_at"), "updated_at": text("updated_at"),
        });
        Operation {
            id: text("id").unwrap_or_default(),
            kind: text("kind").unwrap_or_default(),
            tenant_id: text("tenant_id"),
            state: text("state").unwrap_or_default(),
            version,
            json: shown,
        }
    }
}

/// What a new operation is made of.
#[derive(Debug)]
pub struct NewOperation<'o> {
    pub kind: &'o str,
    /// None is the platform.
    pub tenant_id: Option<&'o str>,
    pub steps: &'o [&'o str],
    /// What is known of its result from the beginning.
    pub result: Option<Json>,
}

/// A new operation with its steps; answers its id.
pub async fn insert(
    client: &impl Queries,
    new: &NewOperation<'_>,
    origin: &Origin,
) -> Found<String> {
    let id = id("op", now_ms());
    let actor = origin.actor.json();
    let statement = "INSERT INTO operations (id, kind, tenant_id, actor, request_id, result) VALUES ($1, $2, $3, $4, $5, $6)";
    let params = [
        text(&id),
        text(&new.kind),
        text(&new.tenant_id),
        jsonb(&actor),
        text(&origin.request_id),
        jsonb(&new.result),
    ];
    sql::run(client, statement, &params).await?;
    let statement = "INSERT INTO operation_steps (operation_id, position, name) \
        SELECT $1, position, name FROM unnest($2::text[]) WITH ORDINALITY AS s(name, position)";
    let steps: Vec<&str> = new.steps.to_vec();
    sql::run(client, statement, &[text(&id), sql::texts(&steps)]).await?;
    Ok(id)
}

pub async fn by_id(client: &impl Queries, id: &str) -> Found<Option<Operation>> {
    let statement = format!("SELECT {COLUMNS} {FROM} WHERE o.id = $1");
    Ok(sql::first(client, &statement, &[text(&id)]).await?.map(|row| Operation::of(&row)))
}

/// Oldest first; served by `operations_tenant`, `operations_state` and `operations_search`.
pub async fn list(
    conn: &Conn,
    page: &Page<'_>,
    tenant: Option<&str>,
    state: Option<&str>,
) -> Result<Reply, Stop> {
    let mut listing = Listing::new(COLUMNS, FROM, ORDERS);
    let (tenant, state) = (tenant.as_ref(), state.as_ref());
    listing.only("o.tenant_id = {}", tenant.map(|tenant| text(tenant)));
    listing.only("o.state = {}", state.map(|state| text(state)));
    listing.search(page, &["o.tenant_id COLLATE \"C\""]);
    listing.answer(page, conn, |row| Operation::of(row).json).await
}

/// Those of one kind, oldest first; served by `operations_kind`.
pub async fn list_of_kind(conn: &Conn, page: &Page<'_>, kind: &str) -> Result<Reply, Stop> {
    let mut listing = Listing::new(COLUMNS, FROM, ORDERS);
    listing.only("o.kind = {}", Some(text(&kind)));
    listing.answer(page, conn, |row| Operation::of(row).json).await
}

/// Operations whose next try is due; served by `operations_due`.
pub async fn due(client: &impl Queries) -> Found<Vec<String>> {
    let statement = "SELECT id FROM operations WHERE state IN ('pending', 'running') AND due_at <= now() ORDER BY due_at LIMIT 100";
    Ok(client.rows(statement, &[]).await?.iter().map(|row| row.get(0)).collect())
}

pub async fn set_state(client: &impl Queries, id: &str, state: &str) -> Found<()> {
    let statement = "UPDATE operations SET state = $2, error = NULL, version = version + 1, updated_at = now() WHERE id = $1";
    sql::run(client, statement, &[text(&id), text(&state)]).await.map(|_| ())
}

/// It has failed, unless somebody gave it up; whether it has.
pub async fn fail(client: &impl Queries, id: &str, error: &Json) -> Found<bool> {
    let statement = "UPDATE operations SET state = 'failed', error = $2, version = version + 1, updated_at = now() \
        WHERE id = $1 AND state = 'running'";
    Ok(sql::run(client, statement, &[text(&id), jsonb(error)]).await? == 1)
}

/// It is being worked on, unless somebody gave it up.
pub async fn begin(client: &impl Queries, id: &str) -> Found<()> {
    let statement = "UPDATE operations SET state = 'running', version = version + 1, updated_at = now() \
        WHERE id = $1 AND state = 'pending'";
    sql::run(client, statement, &[text(&id)]).await.map(|_| ())
}

/// Adds members to its result.
pub async fn add_result(client: &impl Queries, id: &str, members: &Json) -> Found<()> {
    let statement = "UPDATE operations SET result = coalesce(result, '{}') || $2, version = version + 1, updated_at = now() \
        WHERE id = $1";
    sql::run(client, statement, &[text(&id), jsonb(members)]).await.map(|_| ())
}

/// The next try is not before this much time.
pub async fn set_due(client: &impl Queries, id: &str, after_seconds: f64) -> Found<()> {
    let statement = "UPDATE operations SET due_at = now() + make_interval(secs => $2), updated_at = now() WHERE id = $1";
    sql::run(client, statement, &[text(&id), sql::double(&after_seconds)]).await.map(|_| ())
}

/// The first step that is not done of one that is worked on: its position, name and tries so far.
pub async fn next_step(client: &impl Queries, id: &str) -> Found<Option<(i32, String, i32)>> {
    let statement = "SELECT s.position, s.name, s.attempts FROM operation_steps s JOIN operations o ON o.id = s.operation_id \
        WHERE o.id = $1 AND o.state = 'running' AND s.state <> 'succeeded' ORDER BY s.position LIMIT 1";
    let row = sql::first(client, statement, &[text(&id)]).await?;
    Ok(row.map(|row| (row.get(0), row.get(1), row.get(2))))
}

pub async fn begin_step(client: &impl Queries, id: &str, position: i32) -> Found<()> {
    let statement = "UPDATE operation_steps SET state = 'running', attempts = attempts + 1, error = NULL, \
        started_at = coalesce(started_at, clock_timestamp()) WHERE operation_id = $1 AND position = $2";
    sql::run(client, statement, &[text(&id), int(&position)]).await.map(|_| ())
}

/// Nothing went wrong: it is no try.
pub async fn wait(client: &impl Queries, id: &str, position: i32, seconds: f64) -> Found<()> {
    let statement = "UPDATE operation_steps SET attempts = greatest(attempts - 1, 0) WHERE operation_id = $1 AND position = $2";
    sql::run(client, statement, &[text(&id), int(&position)]).await?;
    set_due(client, id, seconds).await
}

pub async fn end_step(
    client: &impl Queries,
    id: &str,
    position: i32,
    error: Option<&str>,
) -> Found<()> {
    let statement = "UPDATE operation_steps SET state = CASE WHEN $3::text IS NULL THEN 'succeeded' ELSE 'failed' END, error = $3, \
        finished_at = CASE WHEN $3::text IS NULL THEN clock_timestamp() END WHERE operation_id = $1 AND position = $2";
    sql::run(client, statement, &[text(&id), int(&position), text(&error)]).await.map(|_| ())
}

/// Tries are counted from zero again.
pub async fn reset_steps(client: &impl Queries, id: &str) -> Found<()> {
    let statement = "UPDATE operation_steps SET attempts = 0, state = 'pending', error = NULL \
        WHERE operation_id = $1 AND state <> 'succeeded'";
    sql::run(client, statement, &[text(&id)]).await.map(|_| ())
}
