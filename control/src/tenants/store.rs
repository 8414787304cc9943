//! All SQL of tenants.

use crate::sql::{self, bigint, jsonb, text, texts};
use serde_json::{Value as Json, json};
use tokio_postgres::{GenericClient, Row};

type Found<T> = Result<T, tokio_postgres::Error>;

const COLUMNS: &str = "t.id, t.display_name, t.state, t.jurisdictions, t.labels, t.version, \
    rfc3339(t.created_at) AS created_at, rfc3339(t.updated_at) AS updated_at, c.id AS cluster, c.region, \
    (extract(epoch FROM t.created_at) * 1000000)::int8 AS created_us";
const FROM: &str = "FROM tenants t LEFT JOIN placements p ON p.tenant_id = t.id LEFT JOIN clusters c ON c.id = p.cluster_id";

/// A tenant as the API shows it.
#[derive(Debug)]
pub struct Tenant {
    pub json: Json,
    pub state: String,
    pub version: i64,
    /// Where it stands in the list of all.
    pub position: String,
}

impl Tenant {
    fn of(row: &Row) -> Tenant {
        let text = |name: &str| row.get::<_, Option<String>>(name);
        let version: i64 = row.get("version");
        let placement =
            text("cluster").map(|cluster| json!({"cluster": cluster, "region": text("region")}));
        let json = json!({
            "id": text("id"), "display_name": text("display_name"), "state": text("state"),
            "jurisdictions": row.get::<_, Vec<String>>("jurisdictions"), "labels": row.get::<_, Json>("labels"),
            "placement": placement, "version": version,
            "created_at": text("created_at"), "updated_at": text("updated_at"),
        });
        let created: i64 = row.get("created_us");
        let position = format!("{created} {}", text("id").unwrap_or_default());
        Tenant { json, state: text("state").unwrap_or_default(), version, position }
    }
}

/// One tenant; locked until the transaction ends if it is to be changed.
pub async fn by_id(client: &impl GenericClient, id: &str, lock: bool) -> Found<Option<Tenant>> {
    let lock = if lock { "FOR UPDATE OF t" } else { "" };
    let statement = format!("SELECT {COLUMNS} {FROM} WHERE t.id = $1 {lock}");
    Ok(sql::first(client, &statement, &[text(&id)]).await?.map(|row| Tenant::of(&row)))
}

/// Oldest first, behind a position; served by `tenants_oldest`, with a state by `tenants_state`.
pub async fn page(
    client: &impl GenericClient,
    state: Option<&str>,
    after: &str,
    limit: i64,
) -> Found<Vec<Tenant>> {
    let (created, id) = after.split_once(' ').unwrap_or(("-1", ""));
    let created: i64 = created.parse().unwrap_or(-1);
    let filter = if state.is_some() { "AND t.state = $4" } else { "AND $4::text IS NULL" };
    let statement = format!(
        "SELECT {COLUMNS} {FROM} WHERE (t.created_at, t.id) > (to_timestamp(0) + $1 * interval '1 microsecond', $2) \
         {filter} ORDER BY t.created_at, t.id LIMIT $3"
    );
    let params = [bigint(&created), text(&id), bigint(&limit), text(&state)];
    Ok(client.query_typed(&statement, &params).await?.iter().map(Tenant::of).collect())
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
pub async fn insert(client: &impl GenericClient, new: &NewTenant<'_>) -> Found<()> {
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
    client: &impl GenericClient,
    id: &str,
    display_name: &str,
    labels: &Json,
) -> Found<()> {
    let statement = "UPDATE tenants SET display_name = $2, labels = $3, version = version + 1, updated_at = now() WHERE id = $1";
    let params = [text(&id), text(&display_name), jsonb(labels)];
    sql::run(client, statement, &params).await.map(|_| ())
}

pub async fn set_state(client: &impl GenericClient, id: &str, state: &str) -> Found<()> {
    let statement =
        "UPDATE tenants SET state = $2, version = version + 1, updated_at = now() WHERE id = $1";
    sql::run(client, statement, &[text(&id), text(&state)]).await.map(|_| ())
}

/// Jurisdictions that have a cluster, the first cluster's first.
pub async fn jurisdictions(client: &impl GenericClient) -> Found<Vec<String>> {
    let statement =
        "SELECT jurisdiction FROM clusters WHERE state = 'active' ORDER BY created_at, id";
    Ok(client.query_typed(statement, &[]).await?.iter().map(|row| row.get(0)).collect())
}
