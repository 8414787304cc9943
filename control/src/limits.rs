//! Limits of a tenant: each a document as limits.toml has it; a change is a publish.
//!
//! Until the first change of its bundle a tenant has the limits of its published folder, which may be edited in place, and
//! begins with the platform's `tenant.default_limits`; that change makes them its own.

pub mod api;

use crate::bundle::{BundleVersion, version};
use crate::call::Call;
use crate::code::Refusal;
use crate::settings::default_limits;
use crate::sql::{self, Queries, jsonb, text as string};
use serde_json::{Map, Value as Json, json};
use toml::Table;

/// A limit, as the API shows it: its members, its version.
#[derive(Debug, Clone)]
pub(crate) struct Limit {
    pub(crate) id: String,
    pub(crate) document: Map<String, Json>,
    /// Who keeps it, such as a folder that is applied.
    pub(crate) managed_by: Option<String>,
    /// 0 is one from before its first bundle.
    pub(crate) version: i64,
}

impl Limit {
    fn json(&self) -> Json {
        let mut json = self.document.clone();
        json.insert("id".to_owned(), json!(self.id));
        json.insert("version".to_owned(), json!(self.version));
        if let Some(managed_by) = &self.managed_by {
            json.insert("managed_by".to_owned(), json!(managed_by));
        }
        Json::Object(json)
    }
}

/// What a tenant has before the first change of its bundle.
///
/// # Errors
/// `invalid`: its folder's limits.toml was edited and is none; those of the database.
pub(crate) async fn before(call: &Call) -> Result<String, Refusal> {
    let file = call.service.config.publish.dir.join(&call.tenant()?.id).join("limits.toml");
    let Ok(text) = std::fs::read_to_string(&file) else {
        return default_limits(&call.platform().await?).await;
    };
    let parsed = text.parse::<Table>().map(drop);
    parsed.map(|()| text).map_err(|error| {
        Refusal::invalid("/limits.toml", "the published folder's to be TOML", error.message())
    })
}

/// All of a tenant's, by their ids.
pub(crate) async fn all(client: &impl Queries, defaults: &str) -> Result<Vec<Limit>, Refusal> {
    if version(client).await?.seq == 0 {
        return Ok(of_text(defaults));
    }
    let rows = client
        .rows("SELECT id, document, managed_by, version FROM limits ORDER BY id", &[])
        .await?;
    let limit = |row: &tokio_postgres::Row| Limit {
        id: row.get(0),
        document: row.get::<_, Json>(1).as_object().cloned().unwrap_or_default(),
        managed_by: row.get(2),
        version: row.get(3),
    };
    Ok(rows.iter().map(limit).collect())
}

/// The same as limits.toml.
///
/// # Errors
/// Those of the database.
pub async fn text(client: &impl Queries, defaults: &str) -> Result<String, Refusal> {
    text_of(&all(client, defaults).await?)
}

fn text_of(limits: &[Limit]) -> Result<String, Refusal> {
    let one = |limit: &Limit| {
        let mut document = limit.document.clone();
        document.insert("id".to_owned(), json!(limit.id));
        Json::Object(document)
    };
    let limits: Vec<Json> = limits.iter().map(one).collect();
    match limits.is_empty() {
        true => Ok(String::new()),
        false => toml::to_string(&json!({ "limit": limits })).map_err(Refusal::internal),
    }
}

fn of_text(text: &str) -> Vec<Limit> {
    let table: Table = text.parse().unwrap_or_default();
    let found = serde_json::to_value(table).unwrap_or_default();
    let limits = found["limit"].as_array().cloned().unwrap_or_default();
    let one = |limit: Json| {
        let mut document = limit.as_object().cloned()?;
        let id = document.remove("id")?.as_str()?.to_owned();
        Some(Limit { id, document, managed_by: None, version: 0 })
    };
    limits.into_iter().filter_map(one).collect()
}

/// In the transaction of a tenant's first bundle: what it had before becomes its own.
pub(crate) async fn settle(
    tx: &impl Queries,
    bundle: BundleVersion,
    defaults: &str,
) -> Result<(), Refusal> {
    if bundle.seq != 1 {
        return Ok(());
    }
    for limit in of_text(defaults) {
        put(tx, &limit.id, &limit.document, None).await?;
    }
    Ok(())
}

pub(crate) async fn put(
    tx: &impl Queries,
    id: &str,
    document: &Map<String, Json>,
    managed_by: Option<&str>,
) -> Result<(), Refusal> {
    let statement = "INSERT INTO limits (id, document, managed_by) VALUES ($1, $2, $3) ON CONFLICT (id) \
        DO UPDATE SET document = $2, managed_by = $3, version = limits.version + 1, updated_at = now()";
    let document = Json::Object(document.clone());
    sql::run(tx, statement, &[string(&id), jsonb(&document), string(&managed_by)]).await?;
    Ok(())
}

pub(crate) async fn delete(tx: &impl Queries, id: &str) -> Result<(), Refusal> {
    sql::run(tx, "DELETE FROM limits WHERE id = $1", &[string(&id)]).await?;
    Ok(())
}
