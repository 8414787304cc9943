//! A tenant's bundle: the policy in force and its limits, as of one version, and what compiles them.

pub mod signed;

use crate::call::Call;
use crate::code::Refusal;
use crate::limits;
use crate::policies::{Files, store};
use crate::publish::with_settings;
use crate::sql::{self, Queries, bigint, text};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use tollgate_engine::{Diagnostics, Version};
use tollgate_proto::bundle::{File, Folder, Options, from_files};

/// Which bundle: it only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BundleVersion {
    pub epoch: i64,
    pub seq: i64,
}

impl BundleVersion {
    pub fn json(self) -> Json {
        json!({"epoch": self.epoch, "seq": self.seq})
    }
}

/// The version that a tenant's bundle has.
///
/// # Errors
/// Those of the database.
pub async fn version(client: &impl Queries) -> Result<BundleVersion, Refusal> {
    of(client, "SELECT bundle_epoch, bundle_seq FROM tenant_meta").await
}

/// The next version, in the transaction that makes it: whoever changes the bundle waits here for whoever does.
///
/// # Errors
/// Those of the database.
pub async fn bump(tx: &impl Queries) -> Result<BundleVersion, Refusal> {
    let statement =
        "UPDATE tenant_meta SET bundle_seq = bundle_seq + 1 RETURNING bundle_epoch, bundle_seq";
    of(tx, statement).await
}

async fn of(client: &impl Queries, statement: &str) -> Result<BundleVersion, Refusal> {
    let row = sql::first(client, statement, &[]).await?;
    let row =
        row.ok_or_else(|| Refusal::internal("a tenant's database does not know whose it is"))?;
    Ok(BundleVersion { epoch: row.get(0), seq: row.get(1) })
}

/// Tells whoever publishes, in every process, that a tenant's bundle is another. What is not told is found by a look at all.
pub async fn tell(call: &Call, version: BundleVersion) {
    let Ok(tenant) = call.tenant() else { return };
    let told = match call.platform().await {
        Ok(platform) => note(&platform, &tenant.id, version).await,
        Err(refusal) => Err(refusal),
    };
    if let Err(refusal) = told {
        let cause = refusal.cause.unwrap_or(refusal.message);
        tracing::warn!(tenant = tenant.id, cause, "a bundle is published later");
    }
    call.service.to_publish.notify_one();
}

/// Notes in the platform's database how far a tenant's bundle is.
///
/// # Errors
/// Those of the database.
pub(crate) async fn note(
    platform: &impl Queries,
    tenant: &str,
    version: BundleVersion,
) -> Result<(), Refusal> {
    let statement = "INSERT INTO published_bundles (tenant_id, epoch, seq) VALUES ($1, $2, $3) \
        ON CONFLICT (tenant_id) DO UPDATE SET epoch = excluded.epoch, seq = excluded.seq, updated_at = now() \
        WHERE (published_bundles.epoch, published_bundles.seq) < (excluded.epoch, excluded.seq)";
    let params = [text(&tenant), bigint(&version.epoch), bigint(&version.seq)];
    sql::run(platform, statement, &params).await?;
    Ok(())
}

/// Runs on a thread that may take its time.
///
/// # Errors
/// `internal` if it fails.
pub(crate) async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work).await.map_err(Refusal::internal)
}

/// The files of the bundle, as a folder holds them; of the policy none before the first was published.
///
/// # Errors
/// Those of the database.
pub async fn contents(
    client: &impl Queries,
    default_limits: &str,
) -> Result<(BundleVersion, BTreeMap<String, String>), Refusal> {
    let version = version(client).await?;
    let mut files = store::in_force(client).await?.map_or_else(Files::default, |own| own.files);
    let limits = limits::text(client, default_limits).await?;
    files.put("limits.toml", limits);
    Ok((version, files.into_map()))
}

/// Compiles what a tenant would decide by.
///
/// # Errors
/// Every finding.
pub fn compile(tenant: &str, files: &Files, limits: &str) -> Result<Folder, Diagnostics> {
    let all = folder_of(tenant, files, limits);
    let all: Vec<File<'_>> =
        all.iter().map(|(path, text)| File { path, bytes: text.as_bytes() }).collect();
    from_files(tenant, &all, Options::new(0, Version { epoch: 1, seq: 1 }))
}

/// The files of a policy and limits as the folder of a tenant holds them.
pub fn folder_of(tenant: &str, files: &Files, limits: &str) -> BTreeMap<String, String> {
    let mut files = files.clone();
    files.put("limits.toml", limits.to_owned());
    let mut files = files.into_map();
    with_settings(&mut files, tenant, "active");
    files
}
