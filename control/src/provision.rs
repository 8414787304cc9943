//! Provisioning: eight steps from a row to a tenant that answers.

use crate::audit::{Event, Origin, append};
use crate::code::Refusal;
use crate::database::{OWNER_ROLE, TENANT_ROLE};
use crate::lease::Lease;
use crate::migrate::{bring_to_head, prepare_cluster, template_name, tenant_schema_version};
use crate::operations::store;
use crate::operations::work::{Job, Step, said};
use crate::placement;
use crate::random::{base32, bytes};
use crate::secret::{MasterKey, scram_verifier};
use crate::service::Service;
use crate::sql::{self, int, literal, quoted, text};
use crate::tenants::{self, erase::erase};
use tokio_postgres::Client;

const NAME_CHARS: usize = 16;

/// Steps of `tenant.provision`, in order.
pub(crate) const STEPS: [&str; 8] =
    ["place", "role", "database", "grants", "schema", "defaults", "probe", "activate"];

/// Does one of them.
///
/// # Errors
/// A sentence.
pub(crate) async fn step(job: &Job<'_>, name: &str) -> Result<Step, String> {
    match name {
        "place" => job.place().await,
        "role" => job.role().await,
        "database" => job.database().await,
        "grants" => job.grants().await,
        "schema" => job.schema().await,
        "defaults" => job.defaults().await,
        "probe" => job.probe().await,
        "activate" => job.activate().await,
        other => Err(format!("unknown step `{other}`")),
    }
    .map(|()| Step::Done)
}

/// Erases what was made for tenants that were given up before they were ready: database, role, placement.
///
/// # Errors
/// Those of the database.
pub(crate) async fn clean_up(service: &Service, holder: &str) -> Result<(), Refusal> {
    let platform = service.pools.platform().await?;
    for (tenant, placement) in placement::given_up(&platform).await? {
        let Some(lease) = Lease::take(&platform, &format!("erase/{tenant}"), holder).await? else {
            continue;
        };
        let addresses = service.pools.addresses_of(&placement.cluster)?;
        let admin = addresses.admin(addresses.platform_database()).await?;
        erase(&admin, &placement).await?;
        let mut conn = service.pools.platform().await?;
        let tx = conn.begin().await?;
        placement::forget(&tx, &tenant).await?;
        let event = Event {
            action: "tenant.erased",
            tenant_id: Some(&tenant),
            resource: ("tenant", &tenant),
            before: None,
            after: None,
        };
        append(&tx, &Origin::system("provision"), &event).await?;
        tx.commit().await?;
        lease.give_back(&platform).await?;
    }
    Ok(())
}

/// New random names: of a database, and of its role.
pub(crate) fn names() -> (String, String) {
    (format!("d_{}", base32(NAME_CHARS)), format!("r_{}", base32(NAME_CHARS)))
}

/// The role of a tenant, with the password that its placement says.
pub(crate) async fn login(
    admin: &Client,
    role: &str,
    (master, tenant, generation): (&MasterKey, &str, i32),
) -> Result<(), String> {
    let known = "SELECT FROM pg_roles WHERE rolname = $1";
    let quoted = quoted(role);
    if sql::first(admin, known, &[text(&role)]).await.map_err(said)?.is_none() {
        admin.batch_execute(&format!("CREATE ROLE {quoted} LOGIN")).await.map_err(said)?;
    }
    let password =
        literal(&scram_verifier(&master.database_password(tenant, generation), &bytes()));
    let set =
        format!("ALTER ROLE {quoted} LOGIN PASSWORD {password}; GRANT {TENANT_ROLE} TO {quoted}");
    admin.batch_execute(&set).await.map_err(said)
}

impl Job<'_> {
    /// A cluster in one of the tenant's jurisdictions with the most room, and random names.
    async fn place(&self) -> Result<(), String> {
        if self.tenant().await?.for_job(self.lease).is_some() {
            return Ok(());
        }
        let mut conn = self.conn().await?;
        let tx = conn.begin().await.map_err(said)?;
        let statement = "INSERT INTO placements (tenant_id, cluster_id, database_name, role_name, schema_version) \
            SELECT t.id, c.id, $2, $3, $4 FROM tenants t, clusters c WHERE t.id = $1 AND c.state = 'active' \
            AND c.jurisdiction = ANY (t.jurisdictions) \
            AND (SELECT count(*) FROM placements p WHERE p.cluster_id = c.id) < c.tenants_max \
            ORDER BY (SELECT count(*) FROM placements p WHERE p.cluster_id = c.id) - c.tenants_max, c.id LIMIT 1";
        let (database, role) = names();
        let (tenant, version) = (self.tenant_id(), tenant_schema_version());
        let params = [text(&tenant), text(&database), text(&role), int(&version)];
        let placed = sql::run(&tx, statement, &params).await;
        if placed.map_err(said)? == 0 {
            return Err("no cluster of the tenant's jurisdictions has room; add one".to_owned());
        }
        self.event(&tx, "tenant.placed").await?;
        tx.commit().await.map_err(said)?;
        Ok(())
    }

    async fn role(&self) -> Result<(), String> {
        let (admin, placement) = (self.admin().await?, self.placement().await?);
        let whose = (self.service.pools.master(), self.tenant_id(), placement.password_generation);
        login(&admin, &placement.role, whose).await
    }

    async fn database(&self) -> Result<(), String> {
        let (admin, placement) = (self.admin().await?, self.placement().await?);
        let known = "SELECT FROM pg_database WHERE datname = $1";
        if sql::first(&admin, known, &[text(&placement.database)]).await.map_err(said)?.is_some() {
            return Ok(());
        }
        // Another program may have made it ready, for another schema.
        if sql::first(&admin, known, &[text(&template_name())]).await.map_err(said)?.is_none() {
            prepare_cluster(&*self.addresses().await?).await?;
        }
        let (database, template) = (quoted(&placement.database), quoted(&template_name()));
        let make = format!("CREATE DATABASE {database} TEMPLATE {template} OWNER {OWNER_ROLE}");
        admin.batch_execute(&make).await.map_err(said)
    }

    /// A copy brings no rights on the database itself: nobody but the tenant's role may connect.
    async fn grants(&self) -> Result<(), String> {
        let (admin, placement) = (self.admin().await?, self.placement().await?);
        let (database, role) = (quoted(&placement.database), quoted(&placement.role));
        let set = format!(
            "REVOKE CONNECT, TEMP ON DATABASE {database} FROM PUBLIC; GRANT CONNECT ON DATABASE {database} TO {role}"
        );
        admin.batch_execute(&set).await.map_err(said)?;
        let others = "SELECT count(*)::int4 FROM pg_roles r WHERE r.rolcanlogin AND NOT r.rolsuper AND r.rolname <> $2 \
            AND r.rolname <> current_user AND has_database_privilege(r.rolname, $1, 'CONNECT')";
        let row = sql::first(&admin, others, &[text(&placement.database), text(&placement.role)])
            .await
            .map_err(said)?;
        match row.map_or(-1, |row| row.get::<_, i32>(0)) {
            0 => Ok(()),
            count => Err(format!("{count} other roles may connect to the tenant's database")),
        }
    }

    /// A copy of the template is at head; one that an older program made is brought there.
    async fn schema(&self) -> Result<(), String> {
        let conn = self.open().await?;
        let statement = "SELECT coalesce(max(version), 0) FROM schema_migrations";
        let row = sql::first(&*conn, statement, &[]).await.map_err(said)?;
        let (found, wanted) = (row.map_or(0, |row| row.get::<_, i32>(0)), tenant_schema_version());
        if found == wanted {
            return Ok(());
        }
        let (mut admin, placement) = (self.platform_admin().await?, self.placement().await?);
        let addresses = self.addresses().await?;
        bring_to_head(&addresses, &mut admin, self.tenant_id(), &placement.database).await
    }

    /// The database learns whose it is.
    async fn defaults(&self) -> Result<(), String> {
        let generation = self.placement().await?.generation;
        let mut conn = self.open().await?;
        let tx = conn.begin().await.map_err(said)?;
        let statement = "INSERT INTO tenant_meta (tenant_id, placement_generation, schema_version) VALUES ($1, $2, $3) \
            ON CONFLICT (only_row) DO NOTHING";
        let version = tenant_schema_version();
        let id = self.tenant_id();
        let params = [text(&id), int(&generation), int(&version)];
        if sql::run(&tx, statement, &params).await.map_err(said)? == 1 {
            self.event(&tx, "tenant.provisioned").await?;
        }
        tx.commit().await.map_err(said)?;
        Ok(())
    }

    /// The tenant's role reaches its own database, and no other.
    async fn probe(&self) -> Result<(), String> {
        drop(self.open().await?);
        let placement = self.placement().await?;
        let pools = &self.service.pools;
        let password =
            pools.master().database_password(self.tenant_id(), placement.password_generation);
        let addresses = self.addresses().await?;
        let elsewhere =
            addresses.requests(addresses.platform_database(), &placement.role, &password).await;
        match elsewhere {
            Err(_) => Ok(()),
            Ok(_) => Err("the tenant's role can connect to the platform's database".to_owned()),
        }
    }

    async fn activate(&self) -> Result<(), String> {
        let mut conn = self.conn().await?;
        let tx = conn.begin().await.map_err(said)?;
        let tenant = tenants::store::by_id(&tx, self.tenant_id(), true).await.map_err(said)?;
        if tenant.is_some_and(|tenant| tenant.state == "provisioning") {
            tenants::store::set_state(&tx, self.tenant_id(), "active").await.map_err(said)?;
            self.event(&tx, "tenant.activated").await?;
        }
        // With the operation its last step: nobody looks at it again.
        let last = i32::try_from(STEPS.len()).unwrap_or(i32::MAX);
        store::end_step(&tx, &self.operation.id, last, None).await.map_err(said)?;
        store::set_state(&tx, &self.operation.id, "succeeded").await.map_err(said)?;
        tx.commit().await.map_err(said)?;
        self.service.to_publish.notify_one();
        Ok(())
    }
}
