//! Clusters: where tenants' databases can be. The first holds the platform's database too; others are added with an address,
//! and made ready (roles, template) before a tenant is placed there.

use crate::call::{Call, Reply};
use crate::code::{Code, Refusal};
use crate::database::Addresses;
use crate::listing::{Key, Order};
use crate::migrate;
use crate::noun::Noun;
use crate::sealed;
use crate::secret::MasterKey;
use crate::sql::{self, Queries, bytes, int, text};
use crate::tenants::model::TenantId;
use crate::write::{Stop, Write};
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio_postgres::Row;

const CLUSTER: Noun = Noun {
    name: "cluster",
    columns: "id, version, jsonb_build_object('id', id, 'region', region, 'jurisdiction', jurisdiction, 'state', state, \
        'tenants_max', tenants_max, 'is_platforms', address IS NULL, 'version', version, \
        'tenants', (SELECT count(*) FROM placements p WHERE p.cluster_id = clusters.id), \
        'created_at', rfc3339(created_at), 'updated_at', rfc3339(updated_at)) AS object",
    from: "FROM clusters",
    id: "id",
    orders: &[Order { name: "id", key: Key::Unique("id") }],
    searched: &["id COLLATE \"C\""],
};

/// What addresses are sealed for.
pub(crate) const LABEL: &str = "cluster-addresses";
const STATES: [&str; 3] = ["active", "full", "retired"];
const NAME_CHARS_MAX: usize = 40;
const ADDRESS_BYTES_MAX: usize = 2_000;
const TENANTS_DEFAULT: i32 = 1_000;
const TENANTS_MAX: i32 = 100_000;
/// A cluster that takes longer to be made ready is not.
const PREPARE_TIMEOUT: Duration = Duration::from_secs(20);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct New {
    id: String,
    region: String,
    jurisdiction: String,
    url: String,
    direct_url: Option<String>,
    tenants_max: Option<i32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Patch {
    state: Option<String>,
    tenants_max: Option<i32>,
    url: Option<String>,
    direct_url: Option<String>,
}

/// How every cluster is reached, by its id; one without an address is the platform's own.
///
/// # Errors
/// A sentence: the database, or an address that does not open under the master key.
pub(crate) async fn all(
    platform: &impl Queries,
    own: &Addresses,
    master: &MasterKey,
) -> Result<BTreeMap<String, Addresses>, String> {
    let rows = platform.rows("SELECT id, address FROM clusters", &[]).await;
    let rows = rows.map_err(|error| crate::said(&error))?;
    let reached = |row: &Row| {
        let (id, sealed): (String, Option<Vec<u8>>) = (row.get(0), row.get(1));
        let Some(sealed) = sealed else { return Ok((id, own.clone())) };
        let opened = sealed::open([master], LABEL, &id, &sealed);
        let addresses = opened.and_then(|opened| Addresses::unsealed(&opened));
        let lost = || format!("the address of the cluster {id} does not open");
        addresses.ok_or_else(lost).map(|addresses| (id.clone(), addresses))
    };
    rows.iter().map(reached).collect()
}

/// `GET /v1/clusters`.
pub async fn list(call: &Call) -> Result<Reply, Stop> {
    CLUSTER.list(call, &call.platform().await?, Vec::new()).await
}

/// `GET /v1/clusters/{id}`.
pub async fn show(call: &Call) -> Result<Reply, Stop> {
    CLUSTER.show(call, &call.platform().await?).await
}

/// `POST /v1/clusters`: reached, made ready, then known.
pub async fn create(call: &Call) -> Result<Reply, Stop> {
    let new: New = call.read()?;
    TenantId::read(&new.id, true)?;
    name("/region", &new.region)?;
    name("/jurisdiction", &new.jurisdiction)?;
    let most = tenants_max(new.tenants_max)?.unwrap_or(TENANTS_DEFAULT);
    let address = prepared(call, &new.id, (&new.url, new.direct_url.as_deref())).await?;
    let mut conn = call.platform().await?;
    let write = Write::begin(call, &mut conn).await?;
    let statement = "INSERT INTO clusters (id, region, jurisdiction, tenants_max, address) VALUES ($1, $2, $3, $4, $5) \
        ON CONFLICT (id) DO NOTHING";
    let params =
        [text(&new.id), text(&new.region), text(&new.jurisdiction), int(&most), bytes(&address)];
    if sql::run(&write.tx, statement, &params).await? == 0 {
        let message = format!("the cluster `{}` is known already", new.id);
        return Err(write.refuse(Refusal::new(Code::AlreadyExists, message)).await);
    }
    CLUSTER.made(write, &new.id, "cluster.created").await
}

/// `PATCH /v1/clusters/{id}`: where it is and whose law holds there never change.
pub async fn update(call: &Call) -> Result<Reply, Stop> {
    let patch: Patch = call.read()?;
    if let Some(state) = patch.state.as_deref().filter(|state| !STATES.contains(state)) {
        return Err(Refusal::invalid("/state", "active, full or retired", state).into());
    }
    tenants_max(patch.tenants_max)?;
    let address = match (&patch.url, &patch.direct_url) {
        (Some(url), direct) => {
            Some(prepared(call, call.parameter(0), (url, direct.as_deref())).await?)
        }
        (None, Some(_)) => {
            let expected = "the same with `url`: both are kept as one";
            return Err(Refusal::invalid("/direct_url", expected, "`direct_url` alone").into());
        }
        (None, None) => None,
    };
    let mut conn = call.platform().await?;
    let (write, before) = CLUSTER.begin(call, &mut conn).await?;
    if address.is_some() && before.json["is_platforms"] == true {
        let expected = "no address: that of the platform's own cluster is `database.url`";
        return Err(write.refuse(Refusal::invalid("/url", expected, "an address")).await);
    }
    let statement = "UPDATE clusters SET state = coalesce($2, state), tenants_max = coalesce($3, tenants_max), \
        address = coalesce($4, address), version = version + 1, updated_at = now() WHERE id = $1";
    let params = [text(&before.id), text(&patch.state), int(&patch.tenants_max), bytes(&address)];
    sql::run(&write.tx, statement, &params).await?;
    CLUSTER.changed(write, &before, "cluster.updated").await
}

fn name(pointer: &str, value: &str) -> Result<(), Refusal> {
    let is_right = (1..=NAME_CHARS_MAX).contains(&value.chars().count())
        && !value.chars().any(|letter| letter.is_control() || letter.is_whitespace());
    match is_right {
        true => Ok(()),
        false => Err(Refusal::invalid(pointer, "1-40 characters without blanks", value)),
    }
}

fn tenants_max(most: Option<i32>) -> Result<Option<i32>, Refusal> {
    match most.filter(|most| !(1..=TENANTS_MAX).contains(most)) {
        None => Ok(most),
        Some(other) => {
            let expected = format!("1 to {TENANTS_MAX} tenants");
            Err(Refusal::invalid("/tenants_max", &expected, other.to_string()))
        }
    }
}

/// The address of a cluster that is ready, sealed.
async fn prepared(
    call: &Call,
    id: &str,
    (url, direct_url): (&str, Option<&str>),
) -> Result<Vec<u8>, Refusal> {
    let refuse = |got: &str| {
        Refusal::invalid("/url", "postgres://user:password@host/database that can be reached", got)
    };
    if [Some(url), direct_url].into_iter().flatten().any(|url| url.len() > ADDRESS_BYTES_MAX) {
        return Err(refuse("a longer text"));
    }
    let addresses = Addresses::read(url, direct_url).map_err(|_| refuse("no such address"))?;
    let ready = tokio::time::timeout(PREPARE_TIMEOUT, migrate::prepare_cluster(&addresses)).await;
    // What Postgres says holds no password.
    ready.map_err(|_| refuse("one that does not answer"))?.map_err(|error| refuse(&error))?;
    let text = json!({"url": url, "direct_url": direct_url}).to_string();
    Ok(sealed::seal(call.service.pools.master(), LABEL, id, text.as_bytes()))
}
