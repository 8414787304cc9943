//! Provisioning: a machine of eight steps, each of which looks before it acts, so that it can be killed
//! anywhere and taken up by anybody.
//!
//! A worker takes the operation's lease, does the first step that is not done, records it, and goes on. A
//! step that fails is tried again later, at most `TRIES_MAX` times; then the tenant is `failed`.

use crate::audit::{Event, Origin, append};
use crate::code::Refusal;
use crate::database::{OWNER_ROLE, TENANT_ROLE};
use crate::lease::Lease;
use crate::migrate::{bring_to_head, template_name, tenant_schema_version};
use crate::operations::store::{self, Operation};
use crate::placement::{self, KnownTenant, Placement};
use crate::pools::{Conn, Tx};
use crate::random::{base32, bytes};
use crate::secret::scram_verifier;
use crate::service::Service;
use crate::sql::{self, int, literal, quoted, text};
use crate::tenants;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::Client;

const TRIES_MAX: i32 = 8;
const BACKOFF_SECONDS: f64 = 0.1;
const BACKOFF_SECONDS_MAX: f64 = 10.0;
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
const NAME_CHARS: usize = 16;

/// Works until the service ends.
pub async fn work(service: Arc<Service>) {
    let holder = base32(NAME_CHARS);
    loop {
        tokio::select! {
            () = service.wake.notified() => {}
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
        }
        if let Err(refusal) = look(&service, &holder).await {
            let cause = refusal.cause.unwrap_or(refusal.message);
            tracing::warn!(cause, "provisioning waits for the database");
        }
    }
}

/// Takes up whatever is due, `provision.workers` at a time.
async fn look(service: &Arc<Service>, holder: &str) -> Result<(), Refusal> {
    let due = store::due(&service.pools.platform().await?).await?;
    let workers = Arc::new(tokio::sync::Semaphore::new(service.config.provision.workers.max(1)));
    let mut tasks = tokio::task::JoinSet::new();
    for id in due {
        let (service, holder, workers) =
            (Arc::clone(service), holder.to_owned(), Arc::clone(&workers));
        tasks.spawn(async move {
            let _place = workers.acquire_owned().await;
            drive(&service, &holder, &id).await
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.map_err(Refusal::internal)??;
    }
    clean_up(service, holder).await
}

/// Erases what was made for tenants that were given up before they were ready: database, role, placement.
async fn clean_up(service: &Service, holder: &str) -> Result<(), Refusal> {
    let platform = service.pools.platform().await?;
    for (tenant, placement) in placement::given_up(&platform).await? {
        let Some(lease) = Lease::take(&platform, &format!("erase/{tenant}"), holder).await? else {
            continue;
        };
        let addresses = service.pools.addresses();
        let admin = addresses.admin(addresses.platform_database()).await?;
        let database = quoted(&placement.database);
        admin.batch_execute(&format!("DROP DATABASE IF EXISTS {database} WITH (FORCE)")).await?;
        admin.batch_execute(&format!("DROP ROLE IF EXISTS {}", quoted(&placement.role))).await?;
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

/// Does the steps of one operation until it ends or fails a step.
async fn drive(service: &Service, holder: &str, id: &str) -> Result<(), Refusal> {
    let platform = service.pools.platform().await?;
    let Some(lease) = Lease::take(&platform, &format!("operation/{id}"), holder).await? else {
        return Ok(());
    };
    let Some(operation) = store::by_id(&platform, id).await? else { return Ok(()) };
    if matches!(operation.state.as_str(), "pending") {
        store::set_state(&platform, id, "running", None).await?;
    }
    while let Some((position, name, attempts)) = store::next_step(&platform, id).await? {
        if !lease.renew(&platform).await? {
            return Ok(());
        }
        store::begin_step(&platform, id, position).await?;
        let job = Job { service, platform: &platform, operation: &operation, lease: &lease };
        match job.step(&name).await {
            Ok(()) => store::end_step(&platform, id, position, None).await?,
            Err(error) => {
                tracing::warn!(operation = id, step = name, attempts, error, "a step failed");
                store::end_step(&platform, id, position, Some(&error)).await?;
                job.fail_or_wait(attempts + 1, &name, &error).await?;
                break;
            }
        }
    }
    lease.give_back(&platform).await?;
    Ok(())
}

/// One operation in the hands of one worker.
struct Job<'j> {
    service: &'j Service,
    platform: &'j Conn,
    operation: &'j Operation,
    lease: &'j Lease,
}

impl Job<'_> {
    fn tenant_id(&self) -> &str {
        self.operation.tenant_id.as_deref().unwrap_or("")
    }

    async fn step(&self, name: &str) -> Result<(), String> {
        match name {
            "place" => self.place().await,
            "role" => self.role().await,
            "database" => self.database().await,
            "grants" => self.grants().await,
            "schema" => self.schema().await,
            "defaults" => self.defaults().await,
            "probe" => self.probe().await,
            "activate" => self.activate().await,
            other => Err(format!("unknown step `{other}`")),
        }
    }

    async fn tenant(&self) -> Result<KnownTenant, String> {
        let found = KnownTenant::by_id(self.platform, self.tenant_id()).await.map_err(said)?;
        found.ok_or_else(|| "the tenant is gone".to_owned())
    }

    async fn placement(&self) -> Result<Placement, String> {
        let verified = self.tenant().await?.for_job(self.lease);
        verified
            .map(|tenant| tenant.placement().clone())
            .ok_or_else(|| "the tenant is not placed".to_owned())
    }

    async fn admin(&self) -> Result<Client, String> {
        let addresses = self.service.pools.addresses();
        addresses.admin(addresses.platform_database()).await.map_err(said)
    }

    /// A cluster in one of the tenant's jurisdictions with the most room, and random names.
    async fn place(&self) -> Result<(), String> {
        if self.tenant().await?.for_job(self.lease).is_some() {
            return Ok(());
        }
        let mut conn = self.service.pools.platform().await.map_err(|refusal| refusal.message)?;
        let tx = conn.begin().await.map_err(said)?;
        let statement = "INSERT INTO placements (tenant_id, cluster_id, database_name, role_name, schema_version) \
            SELECT t.id, c.id, $2, $3, $4 FROM tenants t, clusters c WHERE t.id = $1 AND c.state = 'active' \
            AND c.jurisdiction = ANY (t.jurisdictions) \
            AND (SELECT count(*) FROM placements p WHERE p.cluster_id = c.id) < c.tenants_max \
            ORDER BY (SELECT count(*) FROM placements p WHERE p.cluster_id = c.id) - c.tenants_max, c.id LIMIT 1";
        let (database, role) =
            (format!("d_{}", base32(NAME_CHARS)), format!("r_{}", base32(NAME_CHARS)));
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
        let role = quoted(&placement.role);
        let known = "SELECT FROM pg_roles WHERE rolname = $1";
        if sql::first(&admin, known, &[text(&placement.role)]).await.map_err(said)?.is_none() {
            admin.batch_execute(&format!("CREATE ROLE {role} LOGIN")).await.map_err(said)?;
        }
        let password =
            self.service.pools.master().database_password(self.tenant_id(), placement.generation);
        let password = literal(&scram_verifier(&password, &bytes()));
        let set =
            format!("ALTER ROLE {role} LOGIN PASSWORD {password}; GRANT {TENANT_ROLE} TO {role}");
        admin.batch_execute(&set).await.map_err(said)
    }

    async fn database(&self) -> Result<(), String> {
        let (admin, placement) = (self.admin().await?, self.placement().await?);
        let known = "SELECT FROM pg_database WHERE datname = $1";
        if sql::first(&admin, known, &[text(&placement.database)]).await.map_err(said)?.is_some() {
            return Ok(());
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
        let (mut admin, placement) = (self.admin().await?, self.placement().await?);
        let addresses = self.service.pools.addresses();
        bring_to_head(addresses, &mut admin, self.tenant_id(), &placement.database).await
    }

    async fn open(&self) -> Result<crate::pools::TenantConn, String> {
        let verified = self.tenant().await?.for_job(self.lease);
        let verified = verified.ok_or_else(|| "the tenant is not placed".to_owned())?;
        let conn = self.service.pools.tenant(&verified).await;
        conn.map_err(|refusal| refusal.cause.unwrap_or(refusal.message))
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
        let password = pools.master().database_password(self.tenant_id(), placement.generation);
        let addresses = pools.addresses();
        let elsewhere =
            addresses.requests(addresses.platform_database(), &placement.role, &password).await;
        match elsewhere {
            Err(_) => Ok(()),
            Ok(_) => Err("the tenant's role can connect to the platform's database".to_owned()),
        }
    }

    async fn activate(&self) -> Result<(), String> {
        let mut conn = self.service.pools.platform().await.map_err(|refusal| refusal.message)?;
        let tx = conn.begin().await.map_err(said)?;
        let tenant = tenants::store::by_id(&tx, self.tenant_id(), true).await.map_err(said)?;
        if tenant.is_some_and(|tenant| tenant.state == "provisioning") {
            tenants::store::set_state(&tx, self.tenant_id(), "active").await.map_err(said)?;
            self.event(&tx, "tenant.activated").await?;
        }
        // With the operation its last step: nobody looks at it again.
        let last = i32::try_from(store::PROVISION.len()).unwrap_or(i32::MAX);
        store::end_step(&tx, &self.operation.id, last, None).await.map_err(said)?;
        store::set_state(&tx, &self.operation.id, "succeeded", None).await.map_err(said)?;
        tx.commit().await.map_err(said)?;
        self.service.to_publish.notify_one();
        Ok(())
    }

    /// Waits longer after each try; after the last the tenant is failed.
    async fn fail_or_wait(&self, tries: i32, step: &str, error: &str) -> Result<(), Refusal> {
        if tries < TRIES_MAX {
            let wait =
                (BACKOFF_SECONDS * f64::from(1 << tries.clamp(0, 20))).min(BACKOFF_SECONDS_MAX);
            return Ok(store::set_due(self.platform, &self.operation.id, wait).await?);
        }
        let mut conn = self.service.pools.platform().await?;
        let tx = conn.begin().await?;
        let said = json!({"code": "step-failed", "step": step, "message": error});
        store::set_state(&tx, &self.operation.id, "failed", Some(&said)).await?;
        tenants::store::set_state(&tx, self.tenant_id(), "failed").await?;
        self.event(&tx, "tenant.failed").await.map_err(Refusal::internal)?;
        tx.commit().await?;
        Ok(())
    }

    async fn event(&self, tx: &Tx<'_>, action: &str) -> Result<(), String> {
        let origin = Origin {
            request_id: self.operation.json["request_id"].as_str().map(str::to_owned),
            ..Origin::system("provision")
        };
        let id = self.tenant_id();
        let event = Event {
            action,
            tenant_id: Some(id),
            resource: ("tenant", id),
            before: None,
            after: None,
        };
        append(tx, &origin, &event).await.map_err(said)
    }
}

#[allow(clippy::needless_pass_by_value, reason = "`map_err` hands it over")]
fn said(error: tokio_postgres::Error) -> String {
    crate::said(&error)
}
