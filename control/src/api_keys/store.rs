//! All SQL of keys; the same for `platform_api_keys` and a tenant's `api_keys`.

use crate::admins::Level;
use crate::call::Reply;
use crate::listing::{Key, Listing, Order};
use crate::page::Page;
use crate::pools::Conn;
use crate::sql::{self, Queries, bigint, bytes, text, texts};
use crate::write::Stop;
use serde_json::{Value as Json, json};
use tokio_postgres::Row;

type Found<T> = Result<T, tokio_postgres::Error>;

/// One of two tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    Platform,
    Tenant,
}

impl Table {
    fn name(self) -> &'static str {
        match self {
            Table::Platform => "platform_api_keys",
            Table::Tenant => "api_keys",
        }
    }

    /// Whose administrators its keys can be.
    pub(super) fn level(self) -> Level {
        match self {
            Table::Platform => Level::Platform,
            Table::Tenant => Level::Tenant,
        }
    }

    fn from(self) -> &'static str {
        match self {
            Table::Platform => "FROM platform_api_keys",
            Table::Tenant => "FROM api_keys",
        }
    }
}

const COLUMNS: &str = "id, name, roles, scopes, created_by, version, revoked_at IS NOT NULL AS is_revoked, \
    rfc3339(expires_at) AS expires_at, rfc3339(revoked_at) AS revoked_at, rfc3339(last_used_at) AS last_used_at, \
    rfc3339(previous_expires_at) AS previous_expires_at, rfc3339(created_at) AS created_at, rfc3339(updated_at) AS updated_at";

const ORDERS: &[Order] = &[
    Order { name: "created_at", key: Key::Unique("id") },
    Order { name: "name", key: Key::Text("lower(name COLLATE \"C\")", "id") },
];

/// A key as the API shows it: never its hash.
#[derive(Debug)]
pub struct ApiKey {
    pub id: String,
    pub roles: Vec<String>,
    pub scopes: Vec<String>,
    pub is_revoked: bool,
    pub version: i64,
    pub json: Json,
}

impl ApiKey {
    fn of(row: &Row) -> ApiKey {
        let text = |name: &str| row.get::<_, Option<String>>(name);
        let version: i64 = row.get("version");
        let (roles, scopes): (Vec<String>, Vec<String>) = (row.get("roles"), row.get("scopes"));
        let json = json!({
            "id": text("id"), "name": text("name"), "roles": roles, "scopes": scopes,
            "expires_at": text("expires_at"), "revoked_at": text("revoked_at"), "last_used_at": text("last_used_at"),
            "previous_expires_at": text("previous_expires_at"), "created_by": text("created_by"), "version": version,
            "created_at": text("created_at"), "updated_at": text("updated_at"),
        });
        let id = text("id").unwrap_or_default();
        ApiKey { id, roles, scopes, is_revoked: row.get("is_revoked"), version, json }
    }
}

/// What a new key is made of; `expires_at` is RFC 3339.
#[derive(Debug)]
pub struct NewKey<'k> {
    pub id: &'k str,
    pub name: &'k str,
    pub roles: &'k [String],
    pub scopes: &'k [String],
    pub hash: &'k [u8],
    pub expires_at: &'k str,
    pub created_by: &'k str,
}

pub async fn insert(client: &impl Queries, table: Table, new: &NewKey<'_>) -> Found<()> {
    let statement = format!(
        "INSERT INTO {} (id, name, roles, scopes, hash, expires_at, created_by) VALUES ($1, $2, $3, $4, $5, $6::text::timestamptz, $7)",
        table.name()
    );
    let params = [
        text(&new.id),
        text(&new.name),
        texts(&new.roles),
        texts(&new.scopes),
        bytes(&new.hash),
        text(&new.expires_at),
        text(&new.created_by),
    ];
    sql::run(client, &statement, &params).await.map(|_| ())
}

pub async fn by_id(
    client: &impl Queries,
    table: Table,
    id: &str,
    lock: bool,
) -> Found<Option<ApiKey>> {
    let lock = if lock { "FOR UPDATE" } else { "" };
    let statement = format!("SELECT {COLUMNS} FROM {} WHERE id = $1 {lock}", table.name());
    Ok(sql::first(client, &statement, &[text(&id)]).await?.map(|row| ApiKey::of(&row)))
}

/// Oldest first: their ids begin with their time.
pub async fn list(conn: &Conn, table: Table, page: &Page<'_>) -> Result<Reply, Stop> {
    let mut listing = Listing::new(COLUMNS, table.from(), ORDERS);
    listing.search(page, &["id COLLATE \"C\"", "lower(name COLLATE \"C\")"]);
    listing.answer(page, conn, |row| ApiKey::of(row).json).await
}

pub async fn set_name(client: &impl Queries, table: Table, id: &str, name: &str) -> Found<()> {
    let statement = format!(
        "UPDATE {} SET name = $2, version = version + 1, updated_at = now() WHERE id = $1",
        table.name()
    );
    sql::run(client, &statement, &[text(&id), text(&name)]).await.map(|_| ())
}

pub async fn revoke(client: &impl Queries, table: Table, id: &str) -> Found<()> {
    let statement = format!(
        "UPDATE {} SET revoked_at = now(), previous_hash = NULL, version = version + 1, updated_at = now() WHERE id = $1",
        table.name()
    );
    sql::run(client, &statement, &[text(&id)]).await.map(|_| ())
}

/// The old hash stays valid for so long.
pub async fn rotate(
    client: &impl Queries,
    table: Table,
    id: &str,
    hash: &[u8],
    overlap_seconds: i64,
) -> Found<()> {
    let statement = format!(
        "UPDATE {} SET previous_hash = CASE WHEN $3 > 0 THEN hash END, \
         previous_expires_at = CASE WHEN $3 > 0 THEN now() + $3 * interval '1 second' END, \
         hash = $2, version = version + 1, updated_at = now() WHERE id = $1",
        table.name()
    );
    sql::run(client, &statement, &[text(&id), bytes(&hash), bigint(&overlap_seconds)])
        .await
        .map(|_| ())
}
