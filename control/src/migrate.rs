//! Forward-only migrations, embedded and checksummed: the platform database, and the template that every
//! tenant's database is a copy of.
//!
//! A file that has landed is never edited: its checksum is compared with the one that was applied.

mod plan;

pub use plan::plan;

use crate::audit::{Event, Origin, append};
use crate::database::{Addresses, OWNER_ROLE, PLATFORM_ROLE, TENANT_ROLE, platform_password};
use crate::random::bytes;
use crate::secret::{MasterKey, scram_verifier};
use crate::sql::{self, Queries, int, literal, quoted, text};
use sha2::{Digest, Sha256};
use tokio_postgres::Client;

/// A file of `migrations/`; its place in the list is its version.
struct Migration {
    name: &'static str,
    text: &'static str,
}

macro_rules! migrations {
    ($folder:literal: $($name:literal)*) => {
        &[$(Migration { name: $name, text: include_str!(concat!("../migrations/", $folder, "/", $name, ".sql")) },)*]
    };
}

const PLATFORM: &[Migration] = migrations!("platform": "0001_platform" "0002_copies_and_tables" "0003_search" "0004_published_bundles" "0005_audit_chain" "0006_sign_on" "0007_sessions" "0008_offboarding" "0009_retention" "0010_fleet" "0011_clusters" "0012_leaf" "0013_epochs" "0014_passwords" "0015_kill_switches" "0016_people");
const TENANT: &[Migration] = migrations!("tenant": "0001_tenant" "0002_tables" "0003_search" "0004_configuration" "0005_audit_chain" "0006_people" "0007_sign_on" "0008_sessions" "0009_retention" "0010_erasure" "0011_leaf" "0012_break_glass" "0013_managed_by");

/// The version that a tenant's database should have.
pub fn tenant_schema_version() -> i32 {
    i32::try_from(TENANT.len()).unwrap_or(i32::MAX)
}

/// The name of the template: another schema is another template.
pub fn template_name() -> String {
    let mut hash = Sha256::new();
    for migration in TENANT {
        hash.update(migration.text.as_bytes());
    }
    let hex: String = hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    format!("tollgate_template_{hex}")
}

/// Brings roles, platform database and template to head; tenants' databases are the fleet's (`fleet`). Safe to run twice, also at once.
///
/// # Errors
/// A sentence; nothing is half done: each migration is one transaction.
pub async fn run(addresses: &Addresses, master: &MasterKey) -> Result<(), String> {
    let said = |error: tokio_postgres::Error| crate::said(&error);
    let admin = addresses.admin(addresses.platform_database()).await.map_err(said)?;
    // Serialises everybody who migrates this cluster, also for another platform database: such a lock
    // belongs to one database, so it is taken in the one that every cluster has. It ends with its connection.
    let everybody = addresses.admin("postgres").await;
    let locked = everybody.as_ref().unwrap_or(&admin);
    let lock = "SELECT pg_advisory_lock(hashtext('tollgate migrations'))";
    locked.batch_execute(lock).await.map_err(said)?;
    ensure_roles(&admin, master).await.map_err(said)?;
    let platform = quoted(addresses.platform_database());
    let close = format!(
        "REVOKE CONNECT, TEMP ON DATABASE {platform} FROM PUBLIC; \
         GRANT CONNECT ON DATABASE {platform} TO {PLATFORM_ROLE}; \
         REVOKE CREATE ON SCHEMA public FROM PUBLIC; GRANT ALL ON SCHEMA public TO {OWNER_ROLE}; \
         GRANT USAGE ON SCHEMA public TO {PLATFORM_ROLE}"
    );
    admin.batch_execute(&close).await.map_err(said)?;
    apply(&admin, PLATFORM).await?;
    ensure_template(addresses, &admin).await?;
    Ok(())
}

/// Tenants whose database has an older schema than this program knows, and that database: one read.
async fn behind(admin: &Client) -> Result<Vec<(String, String)>, tokio_postgres::Error> {
    let statement = "SELECT p.tenant_id, p.database_name FROM placements p JOIN tenants t ON t.id = p.tenant_id \
        WHERE p.schema_version < $1 AND t.state IN ('active', 'suspended', 'offboarding') ORDER BY 1";
    let rows = admin.rows(statement, &[int(&tenant_schema_version())]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Migrates one tenant's database, and writes down in both places how far it is.
pub(crate) async fn bring_to_head(
    addresses: &Addresses,
    admin: &mut Client,
    tenant: &str,
    database: &str,
) -> Result<(), String> {
    let said = |error: tokio_postgres::Error| crate::said(&error);
    let mut inside = addresses.admin(database).await.map_err(said)?;
    // Whoever waits for a table stops everybody behind it: it is tried again later.
    inside.batch_execute("SET lock_timeout = '2s'").await.map_err(said)?;
    apply(&inside, TENANT).await?;
    let version = tenant_schema_version();
    let event = |resource| Event {
        action: "schema.migrated",
        tenant_id: None,
        resource: (resource, tenant),
        before: None,
        after: None,
    };
    for (client, resource, statement) in [
        (&mut inside, "tenant", "UPDATE tenant_meta SET schema_version = $1 WHERE tenant_id = $2"),
        (admin, "placement", "UPDATE placements SET schema_version = $1 WHERE tenant_id = $2"),
    ] {
        let tx = client.transaction().await.map_err(said)?;
        let params = [int(&version), text(&tenant)];
        let set_role = format!("SET LOCAL ROLE {OWNER_ROLE}");
        tx.batch_execute(&set_role).await.map_err(said)?;
        sql::run(&tx, statement, &params).await.map_err(said)?;
        append(&tx, &Origin::system("migrate"), &event(resource)).await.map_err(said)?;
        tx.commit().await.map_err(said)?;
    }
    Ok(())
}

/// Makes a cluster ready for tenants: roles, and the template at head. Safe to run twice.
///
/// # Errors
/// A sentence.
pub(crate) async fn prepare_cluster(addresses: &Addresses) -> Result<(), String> {
    let said = |error: tokio_postgres::Error| crate::said(&error);
    let admin = addresses.admin(addresses.platform_database()).await.map_err(said)?;
    let lock = "SELECT pg_advisory_lock(hashtext('tollgate migrations'))";
    admin.batch_execute(lock).await.map_err(said)?;
    make_roles(&admin, &[(OWNER_ROLE, false), (TENANT_ROLE, false)]).await.map_err(said)?;
    // Nobody but whoever provisions comes into the database that is always there.
    let database = quoted(addresses.platform_database());
    let close = format!("REVOKE CONNECT, TEMP ON DATABASE {database} FROM PUBLIC");
    admin.batch_execute(&close).await.map_err(said)?;
    ensure_template(addresses, &admin).await
}

pub(crate) async fn ensure_roles(
    admin: &Client,
    master: &MasterKey,
) -> Result<(), tokio_postgres::Error> {
    make_roles(admin, &[(OWNER_ROLE, false), (TENANT_ROLE, false), (PLATFORM_ROLE, true)]).await?;
    let password = literal(&scram_verifier(&platform_password(master), &bytes()));
    admin.batch_execute(&format!("ALTER ROLE {PLATFORM_ROLE} PASSWORD {password}")).await
}

async fn make_roles(admin: &Client, roles: &[(&str, bool)]) -> Result<(), tokio_postgres::Error> {
    for (role, login) in roles {
        let known = "SELECT FROM pg_roles WHERE rolname = $1";
        if sql::first(admin, known, &[text(role)]).await?.is_none() {
            let login = if *login { "LOGIN" } else { "NOLOGIN" };
            admin.batch_execute(&format!("CREATE ROLE {role} {login}")).await?;
        }
    }
    // What the provisioning role makes must belong to the owner.
    admin.batch_execute(&format!("GRANT {OWNER_ROLE} TO CURRENT_USER")).await
}

/// Applies what is missing, each file in its own transaction as the owner of all tables.
async fn apply(client: &Client, migrations: &[Migration]) -> Result<(), String> {
    let said = |error: tokio_postgres::Error| crate::said(&error);
    let table = format!(
        "CREATE TABLE IF NOT EXISTS schema_migrations (version integer PRIMARY KEY, name text NOT NULL, \
         checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now()); \
         ALTER TABLE schema_migrations OWNER TO {OWNER_ROLE}"
    );
    client.batch_execute(&table).await.map_err(said)?;
    let applied = "SELECT version, checksum FROM schema_migrations ORDER BY version";
    let applied = client.rows(applied, &[]).await.map_err(said)?;
    for row in &applied {
        let (version, checksum): (i32, String) = (row.get(0), row.get(1));
        let place = usize::try_from(version).unwrap_or(0).wrapping_sub(1);
        let Some(known) = migrations.get(place) else {
            return Err(format!(
                "the database has schema {version}, this program knows {}; run a newer tollgate-control",
                migrations.len()
            ));
        };
        if checksum_of(known) != checksum {
            return Err(format!("migration {} was edited after it was applied", known.name));
        }
    }
    for (at, migration) in migrations.iter().enumerate().skip(applied.len()) {
        let version = i32::try_from(at + 1).unwrap_or(i32::MAX);
        let (name, checksum) = (literal(migration.name), literal(&checksum_of(migration)));
        let whole = format!(
            "BEGIN; SET LOCAL ROLE {OWNER_ROLE}; {}; INSERT INTO schema_migrations (version, name, checksum) \
             VALUES ({version}, {name}, {checksum}); COMMIT",
            migration.text
        );
        let done = client.batch_execute(&whole).await;
        if let Err(error) = done {
            let _ = client.batch_execute("ROLLBACK").await;
            return Err(format!("migration {}: {}", migration.name, crate::said(&error)));
        }
    }
    Ok(())
}

fn checksum_of(migration: &Migration) -> String {
    Sha256::digest(migration.text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Makes the template under another name and renames it whole; from then on nobody connects to it.
async fn ensure_template(addresses: &Addresses, admin: &Client) -> Result<(), String> {
    let said = |error: tokio_postgres::Error| crate::said(&error);
    let name = template_name();
    let known = "SELECT FROM pg_database WHERE datname = $1";
    if sql::first(admin, known, &[text(&name)]).await.map_err(said)?.is_some() {
        return Ok(());
    }
    let partial = format!("{name}_partial");
    let (quoted_name, quoted_partial) = (quoted(&name), quoted(&partial));
    let make = [
        format!("DROP DATABASE IF EXISTS {quoted_partial}"),
        format!("CREATE DATABASE {quoted_partial} OWNER {OWNER_ROLE} TEMPLATE template0"),
        format!("REVOKE CONNECT, TEMP ON DATABASE {quoted_partial} FROM PUBLIC"),
    ];
    for statement in make {
        admin.batch_execute(&statement).await.map_err(said)?;
    }
    {
        let inside = addresses.admin(&partial).await.map_err(said)?;
        let rights = format!(
            "REVOKE CREATE ON SCHEMA public FROM PUBLIC; GRANT ALL ON SCHEMA public TO {OWNER_ROLE}; \
             GRANT USAGE ON SCHEMA public TO {TENANT_ROLE}"
        );
        inside.batch_execute(&rights).await.map_err(said)?;
        apply(&inside, TENANT).await?;
        inside
            .batch_execute(&format!("GRANT SELECT ON schema_migrations TO {TENANT_ROLE}"))
            .await
            .map_err(said)?;
    }
    // The connection above ends shortly after it was dropped; a rename waits for nobody.
    for _ in 0..100 {
        let busy = "SELECT FROM pg_stat_activity WHERE datname = $1";
        if sql::first(admin, busy, &[text(&partial)]).await.map_err(said)?.is_none() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let finish = [
        format!("ALTER DATABASE {quoted_partial} RENAME TO {quoted_name}"),
        format!("ALTER DATABASE {quoted_name} WITH IS_TEMPLATE true ALLOW_CONNECTIONS false"),
    ];
    for statement in finish {
        admin.batch_execute(&statement).await.map_err(said)?;
    }
    Ok(())
}
