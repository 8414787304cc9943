//! All SQL of tenants.

use crate::call::Reply;
use crate::listing::{Key, Listing, Order};
use crate::page::Page;
use crate::pools::Conn;
use crate::sql::{self, Queries, jsonb, text, texts};
use crate::write::Stop;
use serde_json::{Value as Json, json};
use tokio_postgres::Row;

type Found<T> = Result<T, tokio_postgres::Error>;

const COLUMNS: &str = "t.id, t.display_name, t.state, t.jurisdictions, t.labels, t.version, \
    rfc3339(t.created_at) AS created_at, rfc3339(t.updated_at) AS updated_at, c.id AS cluster, c.region, t.certificate";
const FROM: &str = "FROM tenants t LEFT JOIN placements p ON p.tenant_id = t.id LEFT JOIN clusters c ON c.id = p.cluster_id";

const ORDERS: &[Order] = &[
    Order { name: "created_at", key: Key::Time("t.created_at", "t.id") },
    Order { name: "id", key: Key::Unique("t.id") },
    Order { name: "display_name", key: Key::Text("lower(t.display_name COLLATE \"C\")", "t.id") },
];

/// A tenant as the API shows it.
#[derive(Debug)]
pub struct Tenant {
    pub json: Json,
    pub state: String,
    pub version: i64,
}

impl Tenant {
    fn of(row: &Row) -> Tenant {
        let text = |name: &str| row.get::<_, Option<String>>(name);
        let version: i64 = row.get("version");
        let placement =
            text("cluster").map(|cluster| json!({"cluster": cluster, "region": text("region")}));
        let mut json = json!({
            "id": text("id"), "display_name": text("display_name"), "state": text("state"),
            "jurisdictions": row.get::<_, Vec<String>>("jurisdictions"), "labels": row.get::<_, Json>("labels"),
            "placement": placement, "version": version,
            "created_at": text("created_at"), "updated_at": text("updated_at"),
        });
        if let Some(certificate) = row.get::<_, Option<Json>>("certificate") {
            json["certificate"] = certificate;
        }
        Tenant { json, state: text("state").unwrap_or_default(), version }
    }
}

/// One tenant; locked until the transaction ends if it is to be changed.
pub async fn by_id(client: &impl Queries, id: &str, lock: bool) -> Found<Option<Tenant>> {
    let lock = if lock { "FOR UPDATE OF t" } else { "" };
    let statement = format!("SELECT {COLUMNS} {FROM} WHERE t.id = $1 {lock}");
    Ok(sql::first(client, &statement, &[text(&id)]).await?.map(|row| Tenant::of(&row)))
}

/// Served by `tenants_oldest`, `tenants_state`, `tenants_search` and `tenants_display_name`.
pub async fn list(conn: &Conn, page: &Page<'_>, state: Option<&str>) -> Result<Reply, Stop> {
    let mut listing = Listing::new(COLUMNS, FROM, ORDERS);
    let state = state.as_ref();
    listing.only("t.state = {}", state.map(|state| text(state)));
    listing.search(page, &["t.id COLLATE \"C\"", "lower(t.display_name COLLATE \"C\")"]);
    listing.answer(page, conn, |row| Tenant::of(row).json).await
}

/// What a new tenant is made of.
#[derive(Debug)]
pub struct NewTenant<'t> {
    pub id: &'t str,
    pub display_name: &'t str,
    pub jurisdictions: &'t [String],
    pub labels: &'t Json,
    pub key_reference: &'t str,
}

/// A violated `tenants_id` says that the id was used before.
pub async fn insert(client: &impl Queries, new: &NewTenant<'_>) -> Found<()> {
    let statement = "INSERT INTO tenants (id, display_name, jurisdictions, labels, key_reference) VALUES ($1, $2, $3, $4, $5)";
    let params = [
        text(&new.id),
        text(&new.display_name),
        texts(&new.jurisdictions),
        jsonb(new.labels),
        text(&new.key_reference),
    ];
    sql::run(client, statement, &params).await.map(|_| ())
}

pub async fn set_names(
    client: &impl Queries,
    id: &str,
    display_name: &str,
    labels: &Json,
) -> Found<()> {
    let statement = "UPDATE tenants SET display_name = $2, labels = $3, version = version + 1, updated_at = now() WHERE id = $1";
    let params = [text(&id), text(&display_name), jsonb(labels)];
    sql::run(client, statement, &params).await.map(|_| ())
}

pub async fn set_state(client: &impl Queries, id: &str, state: &str) -> Found<()> {
    let statement =
        "UPDATE tenants SET state = $2, version = version + 1, updated_at = now() WHERE id = $1";
    sql::run(client, statement, &[text(&id), text(&state)]).await.map(|_| ())
}

/// Jurisdictions that have a cluster, the first cluster's first.
pub async fn jurisdictions(client: &impl Queries) -> Found<Vec<String>> {
    let statement =
        "SELECT jurisdiction FROM clusters WHERE state = 'active' ORDER BY created_at, id";
    Ok(client.rows(statement, &[]).await?.iter().map(|row| row.get(0)).collect())
}
