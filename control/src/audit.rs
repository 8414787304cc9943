//! The one way to write an audit event: in the transaction that changes what it tells of.

use crate::random::{bytes, id, now_ms};
use crate::sql::{self, Queries, text, texts};
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};
use tokio_postgres::Row;

/// Who did it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    pub kind: &'static str,
    pub id: String,
    /// Whom a key says that it acts for.
    pub on_behalf_of: Option<String>,
}

impl Actor {
    pub fn new(kind: &'static str, id: &str) -> Actor {
        Actor { kind, id: id.to_owned(), on_behalf_of: None }
    }

    pub fn system(id: &str) -> Actor {
        Actor::new("system", id)
    }

    pub fn json(&self) -> Json {
        json!({"type": self.kind, "id": self.id, "on_behalf_of": self.on_behalf_of})
    }
}

/// Where a change came from.
#[derive(Debug, Clone)]
pub struct Origin {
    pub actor: Actor,
    pub request_id: Option<String>,
    pub trace_id: Option<String>,
    pub source_address: Option<String>,
}

impl Origin {
    pub fn system(id: &str) -> Origin {
        Origin { actor: Actor::system(id), request_id: None, trace_id: None, source_address: None }
    }
}

/// What happened: `<noun>.<past verb>` to one resource, and what it was before and after.
#[derive(Debug)]
pub struct Event<'e> {
    pub action: &'e str,
    pub tenant_id: Option<&'e str>,
    pub resource: (&'e str, &'e str),
    pub before: Option<&'e Json>,
    pub after: Option<&'e Json>,
}

/// Appends an event.
///
/// # Errors
/// Those of the database.
pub async fn append(
    tx: &impl Queries,
    origin: &Origin,
    event: &Event<'_>,
) -> Result<(), tokio_postgres::Error> {
    let salt = bytes::<16>().to_vec();
    let (before, after) = (digest(&salt, event.before), digest(&salt, event.after));
    let changed = changed(event.before, event.after);
    let id = id("ev", now_ms());
    let statement = "INSERT INTO audit_events (id, actor_type, actor_id, tenant_id, action, resource_type, resource_id, \
        outcome, request_id, trace_id, source_address, changed, salt, before_digest, after_digest, on_behalf_of) \
        VALUES ($1, $2, $3, $4, $5, $6, $7, 'ok', $8, $9, $10, $11, $12, $13, $14, $15)";
    let params = [
        text(&id),
        text(&origin.actor.kind),
        text(&origin.actor.id),
        text(&event.tenant_id),
        text(&event.action),
        text(&event.resource.0),
        text(&event.resource.1),
        text(&origin.request_id),
        text(&origin.trace_id),
        text(&origin.source_address),
        texts(&changed),
        sql::bytes(&salt),
        sql::bytes(&before),
        sql::bytes(&after),
        text(&origin.actor.on_behalf_of),
    ];
    sql::run(tx, statement, &params).await.map(|_| ())
}

/// Appends refused calls: outside of any change, so many as one.
///
/// # Errors
/// Those of the database.
pub(crate) async fn denied(
    client: &impl Queries,
    actor: &Actor,
    tenant_id: Option<&str>,
    (code, permission): (&str, &str),
    source_address: &str,
    count: i64,
) -> Result<(), tokio_postgres::Error> {
    let (salt, id) = (bytes::<16>().to_vec(), id("ev", now_ms()));
    let statement = "INSERT INTO audit_events (id, actor_type, actor_id, tenant_id, action, resource_type, resource_id, \
        outcome, count, source_address, salt) VALUES ($1, $2, $3, $4, $5, 'permission', $6, 'denied', $7, $8, $9)";
    let action = format!("call.{code}");
    let params = [
        text(&id),
        text(&actor.kind),
        text(&actor.id),
        text(&tenant_id),
        text(&action),
        text(&permission),
        sql::bigint(&count),
        text(&source_address),
        sql::bytes(&salt),
    ];
    sql::run(client, statement, &params).await.map(|_| ())
}

/// Salted, so that erasing a tenant's data leaves nothing that could be guessed back.
fn digest(salt: &[u8], value: Option<&Json>) -> Option<Vec<u8>> {
    let text = value?.to_string();
    Some(Sha256::new().chain_update(salt).chain_update(text.as_bytes()).finalize().to_vec())
}

/// Members that differ.
pub(crate) fn changed(before: Option<&Json>, after: Option<&Json>) -> Vec<String> {
    let (Some(Json::Object(before)), Some(Json::Object(after))) = (before, after) else {
        return Vec::new();
    };
    let differs = |name: &&String| before.get(*name) != after.get(*name);
    after
        .keys()
        .filter(|name| !matches!(name.as_str(), "version" | "updated_at"))
        .filter(differs)
        .cloned()
        .collect()
}

pub(crate) const COLUMNS: &str = "id, seq, rfc3339(at) AS at, actor_type, actor_id, on_behalf_of, tenant_id, action, \
    resource_type, resource_id, outcome, count, request_id, trace_id, source_address, changed, \
    encode(before_digest, 'hex') AS before_digest, encode(after_digest, 'hex') AS after_digest";

/// An event as the API shows it.
pub(crate) fn shown(row: &Row) -> Json {
    let text = |name: &str| row.get::<_, Option<String>>(name);
    json!({
        "id": text("id"), "seq": row.get::<_, Option<i64>>("seq"), "at": text("at"),
        "actor": {"type": text("actor_type"), "id": text("actor_id"), "on_behalf_of": text("on_behalf_of")},
        "tenant_id": text("tenant_id"), "action": text("action"),
        "resource": {"type": text("resource_type"), "id": text("resource_id")},
        "outcome": text("outcome"), "count": row.get::<_, i64>("count"), "request_id": text("request_id"),
        "trace_id": text("trace_id"), "source_address": text("source_address"),
        "changed": row.get::<_, Vec<String>>("changed"),
        "before_digest": text("before_digest"), "after_digest": text("after_digest"),
    })
}
