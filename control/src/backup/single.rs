//! Brings one tenant back beside all others: into a new database, which then takes the place of the one it has.

use super::restore::{filled, make, open_to, set_head};
use super::{Tools, verify};
use crate::audit::{Actor, Event, Origin, append};
use crate::bundle::note;
use crate::clusters;
use crate::config::Config;
use crate::database::{Addresses, OWNER_ROLE};
use crate::epochs::{self, Beginning, Keys};
use crate::migrate::{bring_to_head, tenant_schema_version};
use crate::operations::work::said;
use crate::placement::{Cluster, Placement};
use crate::provision::{login, names};
use crate::secret::MasterKey;
use crate::serve;
use crate::sql::{self, int, text};
use crate::tenants::erase::erase;
use serde_json::{Value as Json, json};
use std::path::Path;
use tokio_postgres::Client;

/// What is to be restored, why, and what becomes of its keys.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'w> {
    pub from: &'w Path,
    pub tenant: &'w str,
    pub reason: &'w str,
    pub keys: Keys,
}

/// Where the tenant is, and where it will be.
struct Move {
    old: Placement,
    new: Placement,
    epoch: i64,
}

/// Restores a suspended tenant, which stays suspended until it is resumed.
///
/// # Errors
/// A sentence: it is not suspended, the backup does not hold it, its log is not whole. Until the new database has taken the
/// old one's place nothing is changed.
pub async fn restore_tenant(
    config: &Config,
    tools: &Tools,
    wanted: Wanted<'_>,
) -> Result<Json, String> {
    let Wanted { from, tenant, .. } = wanted;
    let master = MasterKey::read(&config.secrets.master_key_file)?;
    let manifest = verify(from, &master, tools)?;
    let dump =
        manifest.of(tenant).ok_or_else(|| format!("the backup has no dump of `{tenant}`"))?;
    drop(serve::prepare(config).await?);
    let addresses = Addresses::read(&config.database.url, config.database.direct_url.as_deref())?;
    let mut platform = addresses.admin(addresses.platform_database()).await.map_err(said)?;
    epochs::ensure_open(&addresses).await?;
    let Move { old, new, epoch } = planned(&platform, tenant).await?;
    let clusters = clusters::all(&platform, &addresses, &master).await?;
    let addresses = clusters.get(&new.cluster.id).ok_or("its cluster is gone")?;
    let there = addresses.admin(addresses.platform_database()).await.map_err(said)?;
    make(&there, &new.database).await?;
    let made = async {
        filled(tools, addresses, &new.database, &from.join(&dump.file)).await?;
        let mut inside = addresses.admin(&new.database).await.map_err(said)?;
        let floor = epoch.max(dump.epoch);
        let name = format!("{tenant}-{}", new.generation);
        let Wanted { reason, keys, .. } = wanted;
        let beginning = Beginning { name: &name, floor, generation: new.generation, reason, keys };
        let version = epochs::of_tenant(&mut inside, tenant, beginning).await?;
        let walked = epochs::walked(&inside, tenant, &dump.head).await?;
        login(&there, &new.role, (&master, tenant, new.password_generation)).await?;
        open_to(&there, &new.database, &new.role).await?;
        Ok::<_, String>((version, walked))
    };
    let (version, walked) = match made.await {
        Ok(made) => made,
        Err(error) => {
            // Nobody has been told of it.
            erase(&there, &new).await.map_err(said)?;
            return Err(error);
        }
    };
    if let Err(error) = take_place(&mut platform, tenant, (&new, wanted.reason), dump).await {
        // Whether it was committed, only the platform knows.
        let known = "SELECT FROM placements WHERE database_name = $1";
        if sql::first(&platform, known, &[text(&new.database)]).await.map_err(said)?.is_none() {
            erase(&there, &new).await.map_err(said)?;
        }
        return Err(error);
    }
    note(&platform, tenant, version).await.map_err(|refusal| refusal.message)?;
    erase(&there, &old).await.map_err(said)?;
    let head = bring_to_head(addresses, &mut platform, tenant, &new.database);
    if dump.schema_version < tenant_schema_version() {
        head.await?;
    }
    Ok(json!({
        "tenant": tenant, "made_at": manifest.made_at, "database": new.database, "bundle": version.json(),
        "sequenced": walked["sequenced"], "next": format!("tollgate tenant resume {tenant}"),
    }))
}

/// A role of its own: the old one goes with the old database, and with it whoever is connected.
async fn planned(platform: &Client, tenant: &str) -> Result<Move, String> {
    let statement = "SELECT t.state, p.cluster_id, p.database_name, p.role_name, p.generation, p.password_generation, \
            coalesce((SELECT epoch FROM published_bundles b WHERE b.tenant_id = t.id), 1) \
        FROM tenants t LEFT JOIN placements p ON p.tenant_id = t.id WHERE t.id = $1";
    let row = sql::first(platform, statement, &[text(&tenant)]).await.map_err(said)?;
    let row = row.ok_or_else(|| format!("no tenant `{tenant}`"))?;
    let state: String = row.get(0);
    if state != "suspended" {
        return Err(format!(
            "expected the tenant `{tenant}` to be suspended, it is {state}: tollgate tenant suspend {tenant} --reason TEXT"
        ));
    }
    let (generation, password_generation): (i32, i32) = (row.get(4), row.get(5));
    let old = Placement {
        cluster: Cluster { id: row.get(1), address: None },
        database: row.get(2),
        role: row.get(3),
        generation,
        password_generation,
        schema_version: 0,
    };
    let (database, role) = names();
    let new = Placement { database, role, generation: generation + 1, ..old.clone() };
    Ok(Move { old, new, epoch: row.get(6) })
}

/// One transaction of the platform: from then on the tenant is where its new database is.
async fn take_place(
    platform: &mut Client,
    tenant: &str,
    (new, reason): (&Placement, &str),
    dump: &super::Dump,
) -> Result<(), String> {
    let tx = platform.transaction().await.map_err(said)?;
    tx.batch_execute(&format!("SET LOCAL ROLE {OWNER_ROLE}")).await.map_err(said)?;
    let statement = "UPDATE placements SET database_name = $2, role_name = $3, generation = $4, schema_version = $5 \
        WHERE tenant_id = $1 AND generation = $4 - 1 \
        AND EXISTS (SELECT FROM tenants WHERE id = $1 AND state = 'suspended')";
    let params = [
        text(&tenant),
        text(&new.database),
        text(&new.role),
        int(&new.generation),
        int(&dump.schema_version),
    ];
    if sql::run(&tx, statement, &params).await.map_err(said)? != 1 {
        return Err(format!("{tenant}: it was resumed or moved meanwhile; nothing was changed"));
    }
    set_head(&tx, tenant, dump).await?;
    let after = json!({"reason": reason, "generation": new.generation});
    let event = Event {
        action: "tenant.restored",
        tenant_id: Some(tenant),
        resource: ("tenant", tenant),
        before: None,
        after: Some(&after),
    };
    let origin = Origin { actor: Actor::new("bootstrap", "restore"), ..Origin::system("") };
    append(&tx, &origin, &event).await.map_err(said)?;
    tx.commit().await.map_err(said)
}
