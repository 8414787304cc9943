//! Takes a backup.

use super::manifest::{digest, private};
use super::{Dump, Manifest, Tools};
use crate::audit::{Event, Origin, append};
use crate::chain::{Head, PLATFORM, head};
use crate::clusters;
use crate::config::Config;
use crate::database::Addresses;
use crate::epochs::KEPT;
use crate::operations::work::said;
use crate::random::now_ms;
use crate::secret::MasterKey;
use crate::sql::{self, Queries, text};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use tokio_postgres::Client;

/// A log whose beginning goes while it is dumped is dumped again.
const TRIES: usize = 3;

struct Making<'m> {
    tools: &'m Tools,
    folder: &'m Path,
    platform: Client,
    clusters: BTreeMap<String, Addresses>,
}

/// Dumps the platform and every tenant, or one tenant, into a new folder.
///
/// # Errors
/// A sentence; what was written by then stays, without a manifest it is no backup.
pub async fn make(
    config: &Config,
    tools: &Tools,
    folder: &Path,
    tenant: Option<&str>,
) -> Result<Manifest, String> {
    let master = MasterKey::read(&config.secrets.master_key_file)?;
    let addresses = Addresses::read(&config.database.url, config.database.direct_url.as_deref())?;
    let platform = addresses.admin(addresses.platform_database()).await.map_err(said)?;
    let clusters = clusters::all(&platform, &addresses, &master).await?;
    empty(folder)?;
    let mut making = Making { tools, folder, platform, clusters };
    let mut dumps = Vec::new();
    // What a tenant is in the middle of is then known to the platform's dump, or began later.
    if tenant.is_none() {
        let database = addresses.platform_database();
        dumps.push(making.dump(None, (&addresses, database), "platform.dump").await?);
    }
    for (id, database, cluster) in making.tenants(tenant).await? {
        dumps.push(making.tenant(&id, &database, &cluster).await?);
    }
    let made_at = Timestamp::from_millisecond(now_ms().try_into().unwrap_or(0));
    let made_at = made_at.map_err(|error| error.to_string())?.to_string();
    let manifest = Manifest { platform_id: config.platform.id.clone(), made_at, dumps };
    manifest.write(folder, &master)?;
    making.tell(tenant, &manifest.made_at).await?;
    Ok(manifest)
}

/// A folder that only its owner opens, with nothing in it.
fn empty(folder: &Path) -> Result<(), String> {
    let shown = folder.display();
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| format!("{shown}: {error}"))?;
    let mut entries = std::fs::read_dir(folder).map_err(|error| format!("{shown}: {error}"))?;
    match entries.next() {
        None => Ok(()),
        Some(_) => Err(format!("{shown}: expected a new or empty folder")),
    }
}

impl Making<'_> {
    /// Tenants that have a database, with it and its cluster.
    async fn tenants(&self, wanted: Option<&str>) -> Result<Vec<(String, String, String)>, String> {
        let statement = format!(
            "SELECT t.id, p.database_name, p.cluster_id FROM tenants t JOIN placements p ON p.tenant_id = t.id \
            WHERE {KEPT} AND ($1 IS NULL OR t.id = $1) ORDER BY t.id"
        );
        let rows = self.platform.rows(&statement, &[text(&wanted)]).await.map_err(said)?;
        match (rows.is_empty(), wanted) {
            (true, Some(tenant)) => Err(format!("no tenant `{tenant}` with a database")),
            _ => Ok(rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()),
        }
    }

    async fn tenant(&self, id: &str, database: &str, cluster: &str) -> Result<Dump, String> {
        let addresses =
            self.clusters.get(cluster).ok_or_else(|| format!("no cluster `{cluster}`"))?;
        let dumped = self.dump(Some(id), (addresses, database), &format!("{id}.dump")).await;
        match dumped {
            Err(_) if self.tenants(Some(id)).await.is_err() => {
                Err(format!("{id}: it was erased meanwhile; take the backup again"))
            }
            dumped => dumped,
        }
    }

    async fn dump(
        &self,
        tenant: Option<&str>,
        (addresses, database): (&Addresses, &str),
        file: &str,
    ) -> Result<Dump, String> {
        let path = self.folder.join(file);
        let shown = path.display().to_string();
        drop(private(&path).map_err(|error| format!("{shown}: {error}"))?);
        let (schema_version, epoch) = {
            let inside = addresses.admin(database).await.map_err(said)?;
            (schema_version(&inside).await?, epoch(&inside, tenant.is_some()).await?)
        };
        for _ in 0..TRIES {
            let before = self.head(tenant).await?;
            let (tools, addresses, database, to) =
                (self.tools.clone(), addresses.clone(), database.to_owned(), path.clone());
            let dumped =
                tokio::task::spawn_blocking(move || tools.dump(&addresses, &database, &to));
            dumped.await.map_err(|error| error.to_string())??;
            if self.head(tenant).await?.pruned == before.pruned {
                let (bytes, sha256) = digest(&path)?;
                let (tenant, file) = (tenant.map(str::to_owned), file.to_owned());
                return Ok(Dump {
                    tenant,
                    file,
                    bytes,
                    sha256,
                    schema_version,
                    epoch,
                    head: before,
                });
            }
        }
        Err(format!("{shown}: the beginning of its audit log went {TRIES} times meanwhile; again"))
    }

    async fn head(&self, tenant: Option<&str>) -> Result<Head, String> {
        let known = head(&self.platform, tenant.unwrap_or(PLATFORM)).await;
        known.map_err(|refusal| refusal.cause.unwrap_or(refusal.message))
    }

    /// A backup reads everything: the platform's log tells of it.
    async fn tell(&mut self, tenant: Option<&str>, made_at: &str) -> Result<(), String> {
        let event = Event {
            action: "backup.made",
            tenant_id: tenant,
            resource: ("backup", made_at),
            before: None,
            after: None,
        };
        let tx = self.platform.transaction().await.map_err(said)?;
        append(&tx, &Origin::system("backup"), &event).await.map_err(said)?;
        tx.commit().await.map_err(said)
    }
}

async fn schema_version(inside: &Client) -> Result<i32, String> {
    let statement = "SELECT max(version) FROM schema_migrations";
    let row = sql::first(inside, statement, &[]).await.map_err(said)?;
    Ok(row.and_then(|row| row.get::<_, Option<i32>>(0)).unwrap_or(0))
}

/// The epoch of a tenant's bundles; the platform has none.
async fn epoch(inside: &Client, is_tenant: bool) -> Result<i64, String> {
    if !is_tenant {
        return Ok(0);
    }
    let row = sql::first(inside, "SELECT bundle_epoch FROM tenant_meta", &[]).await;
    Ok(row.map_err(said)?.map_or(0, |row| row.get(0)))
}
