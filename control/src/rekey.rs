//! Another master key: what was derived from the one before, or sealed under it, is made anew.

use crate::audit::{Event, Origin, append};
use crate::clusters;
use crate::database::Addresses;
use crate::migrate::ensure_roles;
use crate::random::bytes;
use crate::sealed;
use crate::secret::{MasterKey, scram_verifier};
use crate::sign_on::exchange::SECRET_LABEL;
use crate::signing;
use crate::sql::{self, Queries, literal, quoted, text};
use tokio_postgres::Client;

/// Sealed columns: table, column, what they are sealed for, the noun of the table; the row's id is the context.
const SEALED: [(&str, &str, &str, &str); 3] = [
    ("clusters", "address", clusters::LABEL, "cluster"),
    ("identity_providers", "client_secret", SECRET_LABEL, "identity-provider"),
    ("signing_keys", "sealed", signing::LABEL, "signing-key"),
];

/// Gives every role of requests the password that the master key in use gives; answers how many tenants' roles.
/// Whoever still holds the key before it goes on until its connections end. Addresses are sealed under the key in use by then.
///
/// # Errors
/// A sentence: a database, or an address that does not open.
pub async fn passwords(
    admin: &Client,
    addresses: &Addresses,
    master: &MasterKey,
) -> Result<usize, String> {
    let said = |error: tokio_postgres::Error| crate::said(&error);
    ensure_roles(admin, master).await.map_err(said)?;
    let mut count = 0;
    for (cluster, addresses) in clusters::all(admin, addresses, master).await? {
        let there = addresses.admin(addresses.platform_database()).await.map_err(said)?;
        count += of_cluster(admin, &there, &cluster, master).await.map_err(said)?;
    }
    Ok(count)
}

/// Gives tenants' roles passwords of another generation, one after the other: whoever connects meanwhile is let in with the
/// one or the other. Answers how many.
///
/// # Errors
/// A sentence; run again, it gives everybody the next.
pub async fn next_passwords(
    addresses: &Addresses,
    master: &MasterKey,
    tenant: Option<&str>,
) -> Result<usize, String> {
    let said = |error: tokio_postgres::Error| crate::said(&error);
    let mut admin = addresses.admin(addresses.platform_database()).await.map_err(said)?;
    let clusters = clusters::all(&admin, addresses, master).await?;
    let statement = "SELECT tenant_id, cluster_id FROM placements WHERE $1 IS NULL OR tenant_id = $1 ORDER BY 1";
    let placed = admin.rows(statement, &[text(&tenant)]).await.map_err(said)?;
    for row in &placed {
        let (tenant, cluster): (String, String) = (row.get(0), row.get(1));
        let addresses = clusters.get(&cluster).ok_or_else(|| format!("no cluster `{cluster}`"))?;
        let there = addresses.admin(addresses.platform_database()).await.map_err(said)?;
        next_password(&mut admin, &there, &tenant, master).await.map_err(said)?;
    }
    match (placed.len(), tenant) {
        (0, Some(tenant)) => Err(format!("no tenant `{tenant}` with a database")),
        (count, _) => Ok(count),
    }
}

/// The role first: what the platform says of a password is then never ahead of it by more than one.
async fn next_password(
    admin: &mut Client,
    there: &Client,
    tenant: &str,
    master: &MasterKey,
) -> Result<(), tokio_postgres::Error> {
    let tx = admin.transaction().await?;
    let statement =
        "SELECT role_name, password_generation FROM placements WHERE tenant_id = $1 FOR UPDATE";
    let Some(row) = sql::first(&tx, statement, &[text(&tenant)]).await? else { return Ok(()) };
    let (role, next): (String, i32) = (row.get(0), row.get::<_, i32>(1) + 1);
    let password = literal(&scram_verifier(&master.database_password(tenant, next), &bytes()));
    there.batch_execute(&format!("ALTER ROLE {} PASSWORD {password}", quoted(&role))).await?;
    let set = "UPDATE placements SET password_generation = $2 WHERE tenant_id = $1";
    sql::run(&tx, set, &[text(&tenant), sql::int(&next)]).await?;
    let event = Event {
        action: "placement.password_rotated",
        tenant_id: Some(tenant),
        resource: ("placement", tenant),
        before: None,
        after: None,
    };
    append(&tx, &Origin::system("rekey"), &event).await?;
    tx.commit().await
}

/// The roles of the tenants that are placed on one cluster.
async fn of_cluster(
    platform: &Client,
    there: &Client,
    cluster: &str,
    master: &MasterKey,
) -> Result<usize, tokio_postgres::Error> {
    let statement = "SELECT tenant_id, role_name, password_generation FROM placements WHERE cluster_id = $1 ORDER BY 1";
    let placed = platform.rows(statement, &[text(&cluster)]).await?;
    for row in &placed {
        let (tenant, role): (String, String) = (row.get(0), row.get(1));
        let password = master.database_password(&tenant, row.get(2));
        let password = literal(&scram_verifier(&password, &bytes()));
        let set = format!("ALTER ROLE {} PASSWORD {password}", quoted(&role));
        let is_there = "SELECT FROM pg_roles WHERE rolname = $1";
        if sql::first(there, is_there, &[text(&role)]).await?.is_some() {
            there.batch_execute(&set).await?;
        }
    }
    Ok(placed.len())
}

/// Seals everything anew that was sealed under the master key before; answers how many secrets.
///
/// # Errors
/// A sentence: the database, or a secret that none of these keys opens.
pub async fn reseal(
    admin: &mut Client,
    master: &MasterKey,
    previous: Option<&MasterKey>,
) -> Result<usize, String> {
    let said = |error: tokio_postgres::Error| crate::said(&error);
    let tx = admin.transaction().await.map_err(said)?;
    let mut count = 0;
    for (table, column, label, noun) in SEALED {
        let all = format!(
            "SELECT id, {column} FROM {table} WHERE {column} IS NOT NULL ORDER BY id FOR UPDATE"
        );
        for row in tx.rows(&all, &[]).await.map_err(said)? {
            let (id, old): (String, Vec<u8>) = (row.get(0), row.get(1));
            if sealed::open([master], label, &id, &old).is_some() {
                continue;
            }
            let opened = sealed::open(previous, label, &id, &old);
            let secret = opened.ok_or_else(|| {
                format!("{column} of {id}: sealed under neither secrets.master_key_file nor previous_master_key_file")
            })?;
            let new = sealed::seal(master, label, &id, &secret);
            let set = format!("UPDATE {table} SET {column} = $2 WHERE id = $1");
            sql::run(&tx, &set, &[text(&id), sql::bytes(&new)]).await.map_err(said)?;
            let event = Event {
                action: "secret.rekeyed",
                tenant_id: None,
                resource: (noun, &id),
                before: None,
                after: None,
            };
            append(&tx, &Origin::system("rekey"), &event).await.map_err(said)?;
            count += 1;
        }
    }
    tx.commit().await.map_err(said)?;
    Ok(count)
}
