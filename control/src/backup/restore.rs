//! Brings a whole platform back, into a database that is empty; it stays closed until a new epoch is begun.

use super::{Dump, Manifest, Tools, verify};
use crate::chain::PLATFORM;
use crate::clusters;
use crate::config::Config;
use crate::database::{Addresses, OWNER_ROLE};
use crate::epochs::{self, KEPT};
use crate::migrate::{ensure_roles, prepare_cluster};
use crate::operations::work::said;
use crate::provision::login;
use crate::secret::MasterKey;
use crate::serve;
use crate::sql::{self, Queries, bigint, quoted, text};
use serde_json::{Value as Json, json};
use std::path::Path;
use tokio_postgres::Client;

/// Restores the platform and every tenant of a backup, and holds each log against its head.
///
/// # Errors
/// A sentence. What ended early is begun again with empty databases.
pub async fn restore(config: &Config, tools: &Tools, from: &Path) -> Result<Json, String> {
    let master = MasterKey::read(&config.secrets.master_key_file)?;
    let manifest = verify(from, &master, tools)?;
    let platform = manifest.platform();
    let platform = platform.ok_or("the backup is of one tenant: restore --tenant ID")?;
    if manifest.platform_id != config.platform.id {
        let (wanted, got) = (&config.platform.id, &manifest.platform_id);
        return Err(format!("expected a backup of platform.id `{wanted}`, got one of `{got}`"));
    }
    let addresses = Addresses::read(&config.database.url, config.database.direct_url.as_deref())?;
    let database = addresses.platform_database().to_owned();
    let admin = addresses.admin(&database).await.map_err(said)?;
    is_empty(&admin, &database).await?;
    ensure_roles(&admin, &master).await.map_err(said)?;
    filled(tools, &addresses, &database, &from.join(&platform.file)).await?;
    drop(admin);
    // To head, with the rights that a dump of one database has not.
    drop(serve::prepare(config).await?);
    let mut admin = addresses.admin(&database).await.map_err(said)?;
    epochs::close(&mut admin, &manifest.made_at).await?;
    let tenants = Restoring { tools, from, master, addresses, admin }.tenants(&manifest).await?;
    Ok(json!({
        "platform": database, "made_at": manifest.made_at, "tenants": tenants, "is_open": false,
        "next": "tollgate-control epoch --reason TEXT --keys keep|revoke",
    }))
}

async fn is_empty(admin: &Client, database: &str) -> Result<(), String> {
    let statement = "SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'public' LIMIT 1";
    match sql::first(admin, statement, &[]).await.map_err(said)? {
        None => Ok(()),
        Some(_) => {
            Err(format!("expected the database {database} to be empty; it was left as it is"))
        }
    }
}

/// A dump into a database that is there.
pub(super) async fn filled(
    tools: &Tools,
    addresses: &Addresses,
    database: &str,
    file: &Path,
) -> Result<(), String> {
    let (tools, addresses) = (tools.clone(), addresses.clone());
    let (database, file) = (database.to_owned(), file.to_owned());
    let filled = tokio::task::spawn_blocking(move || tools.restore(&addresses, &database, &file));
    filled.await.map_err(|error| error.to_string())?
}

struct Restoring<'r> {
    tools: &'r Tools,
    from: &'r Path,
    master: MasterKey,
    addresses: Addresses,
    admin: Client,
}

impl Restoring<'_> {
    async fn tenants(&self, manifest: &Manifest) -> Result<Vec<Json>, String> {
        let clusters = clusters::all(&self.admin, &self.addresses, &self.master).await?;
        for addresses in clusters.values() {
            prepare_cluster(addresses).await?;
        }
        let statement = format!(
            "SELECT p.tenant_id, p.database_name, p.role_name, p.password_generation, p.cluster_id \
            FROM placements p JOIN tenants t ON t.id = p.tenant_id WHERE {KEPT} ORDER BY 1"
        );
        let mut restored = Vec::new();
        for row in self.admin.rows(&statement, &[]).await.map_err(said)? {
            let (tenant, database, role): (String, String, String) =
                (row.get(0), row.get(1), row.get(2));
            let addresses = clusters.get(&row.get::<_, String>(4)).ok_or("a cluster is gone")?;
            let there = addresses.admin(addresses.platform_database()).await.map_err(said)?;
            let known = "SELECT FROM pg_database WHERE datname = $1";
            let is_kept = sql::first(&there, known, &[text(&database)]).await.map_err(said)?;
            let is_kept = is_kept.is_some();
            login(&there, &role, (&self.master, &tenant, row.get(3))).await?;
            if !is_kept {
                let dump = manifest.of(&tenant);
                let dump = dump.ok_or_else(|| format!("{tenant}: the backup has no dump of it"))?;
                make(&there, &database).await?;
                filled(self.tools, addresses, &database, &self.from.join(&dump.file)).await?;
                set_head(&self.admin, &tenant, dump).await?;
            }
            open_to(&there, &database, &role).await?;
            let inside = addresses.admin(&database).await.map_err(said)?;
            let walked = epochs::whole(&self.admin, &inside, &tenant).await?;
            restored.push(json!({
                "tenant": tenant, "database": database, "was_there": is_kept, "sequenced": walked["sequenced"],
            }));
        }
        epochs::whole(&self.admin, &self.admin, PLATFORM).await?;
        Ok(restored)
    }
}

/// An empty database that nobody but whoever provisions comes into.
pub(super) async fn make(there: &Client, database: &str) -> Result<(), String> {
    let database = quoted(database);
    for statement in [
        format!("CREATE DATABASE {database} OWNER {OWNER_ROLE} TEMPLATE template0"),
        format!("REVOKE CONNECT, TEMP ON DATABASE {database} FROM PUBLIC"),
    ] {
        there.batch_execute(&statement).await.map_err(said)?;
    }
    Ok(())
}

pub(super) async fn open_to(there: &Client, database: &str, role: &str) -> Result<(), String> {
    let (database, role) = (quoted(database), quoted(role));
    let open = format!("GRANT CONNECT ON DATABASE {database} TO {role}");
    there.batch_execute(&open).await.map_err(said)
}

/// The head of a tenant's log as it was when it was dumped: the platform's own dump is from another moment.
pub(super) async fn set_head(
    platform: &impl Queries,
    tenant: &str,
    dump: &Dump,
) -> Result<(), String> {
    let statement = "INSERT INTO audit_heads (tenant_id, seq, hash, pruned_seq, pruned_hash) VALUES ($1, $2, $3, $4, $5) \
        ON CONFLICT (tenant_id) DO UPDATE SET seq = $2, hash = $3, pruned_seq = $4, pruned_hash = $5, at = now()";
    let (link, pruned) = (&dump.head.link, &dump.head.pruned);
    let params = [
        text(&tenant),
        bigint(&link.seq),
        sql::bytes(&link.hash),
        bigint(&pruned.seq),
        sql::bytes(&pruned.hash),
    ];
    sql::run(platform, statement, &params).await.map_err(said).map(drop)
}
