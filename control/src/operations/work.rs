//! Work in steps, in the background: each step looks before it acts, so that the work can be killed anywhere and taken up
//! by anybody.
//!
//! A worker takes the operation's lease, does the first step that is not done, records it, and goes on. A step that fails
//! is tried again later, at most `TRIES_MAX` times; then the operation is `failed`. What steps there are, and what they do,
//! says the module of the operation's kind.

use super::store::{self, Operation};
use crate::audit::{Event, Origin, append};
use crate::audit_exports;
use crate::code::Refusal;
use crate::database::Addresses;
use crate::fleet;
use crate::lease::Lease;
use crate::placement::{KnownTenant, Placement};
use crate::pools::{Conn, TenantConn, Tx};
use crate::provision;
use crate::random::base32;
use crate::service::Service;
use crate::tenants::{self, offboard};
use serde_json::json;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio_postgres::Client;

const TRIES_MAX: i32 = 8;
const BACKOFF_SECONDS: f64 = 0.1;
const BACKOFF_SECONDS_MAX: f64 = 10.0;
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// Well before the lease ends.
const RENEW_INTERVAL: Duration = Duration::from_secs(3);
const NAME_CHARS: usize = 16;

/// What a step came to.
pub(crate) enum Step {
    Done,
    /// Nothing is wrong; it is to be looked at again after so many seconds.
    Waits(f64),
}

/// Whoever works here, and what is worked on: a long operation keeps nobody from taking up the next.
struct Workers {
    holder: String,
    places: Arc<Semaphore>,
    in_hand: Mutex<HashSet<String>>,
}

/// Works until the service ends, on `provision.workers` at a time.
pub async fn work(service: Arc<Service>) {
    let workers = Arc::new(Workers {
        holder: base32(NAME_CHARS),
        places: Arc::new(Semaphore::new(service.config.provision.workers.max(1))),
        in_hand: Mutex::default(),
    });
    loop {
        tokio::select! {
            () = service.wake.notified() => {}
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
        }
        if let Err(refusal) = look(&service, &workers).await {
            tracing::warn!(cause = refused(refusal), "operations wait for the database");
        }
    }
}

/// Works on one operation alone until it has ended; answers how.
///
/// # Errors
/// Those of the database.
pub async fn until_ended(service: &Service, id: &str) -> Result<Operation, Refusal> {
    let holder = base32(NAME_CHARS);
    loop {
        drive(service, &holder, id).await?;
        let now = store::by_id(&service.pools.platform().await?, id).await?;
        match now.filter(|now| !matches!(now.state.as_str(), "pending" | "running")) {
            Some(ended) => return Ok(ended),
            None => tokio::time::sleep(LOOK_INTERVAL).await,
        }
    }
}

/// Takes up whatever is due.
async fn look(service: &Arc<Service>, workers: &Arc<Workers>) -> Result<(), Refusal> {
    let due = store::due(&service.pools.platform().await?).await?;
    for id in due {
        if !lock(&workers.in_hand).insert(id.clone()) {
            continue;
        }
        let (service, workers) = (Arc::clone(service), Arc::clone(workers));
        tokio::spawn(async move {
            let _place = workers.places.acquire().await;
            if let Err(refusal) = drive(&service, &workers.holder, &id).await {
                tracing::warn!(operation = id, cause = refused(refusal), "an operation waits");
            }
            lock(&workers.in_hand).remove(&id);
        });
    }
    provision::clean_up(service, &workers.holder).await
}

fn lock(shared: &Mutex<HashSet<String>>) -> MutexGuard<'_, HashSet<String>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does the steps of one operation until it ends, waits or fails a step.
async fn drive(service: &Service, holder: &str, id: &str) -> Result<(), Refusal> {
    let platform = service.pools.platform().await?;
    let Some(lease) = Lease::take(&platform, &format!("operation/{id}"), holder).await? else {
        return Ok(());
    };
    let Some(operation) = store::by_id(&platform, id).await? else { return Ok(()) };
    if operation.state == "pending" {
        store::begin(&platform, id).await?;
    }
    while let Some((position, name, attempts)) = store::next_step(&platform, id).await? {
        if !lease.renew(&platform).await? {
            return Ok(());
        }
        store::begin_step(&platform, id, position).await?;
        let job = Job { service, platform: &platform, operation: &operation, lease: &lease };
        match kept(&lease, &platform, job.step(&name)).await {
            Ok(Step::Done) => store::end_step(&platform, id, position, None).await?,
            Ok(Step::Waits(seconds)) => {
                store::wait(&platform, id, position, seconds).await?;
                break;
            }
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

/// Does a step and keeps the lease while it lasts.
async fn kept<T>(lease: &Lease, platform: &Conn, step: impl Future<Output = T>) -> T {
    let mut step = std::pin::pin!(step);
    loop {
        match tokio::time::timeout(RENEW_INTERVAL, &mut step).await {
            Ok(done) => return done,
            // One that is lost is found out before the next step.
            Err(_) => drop(lease.renew(platform).await),
        }
    }
}

/// One operation in the hands of one worker.
pub(crate) struct Job<'j> {
    pub(crate) service: &'j Service,
    pub(crate) platform: &'j Conn,
    pub(crate) operation: &'j Operation,
    pub(crate) lease: &'j Lease,
}

impl Job<'_> {
    async fn step(&self, name: &str) -> Result<Step, String> {
        match self.operation.kind.as_str() {
            "tenant.provision" => provision::step(self, name).await,
            "tenant.offboard" => offboard::step(self, name).await,
            fleet::KIND => fleet::step(self, name).await,
            "audit.export" => audit_exports::step(self, name).await,
            other => Err(format!("unknown kind of operation `{other}`")),
        }
    }

    pub(crate) fn tenant_id(&self) -> &str {
        self.operation.tenant_id.as_deref().unwrap_or("")
    }

    pub(crate) async fn tenant(&self) -> Result<KnownTenant, String> {
        let found = KnownTenant::by_id(self.platform, self.tenant_id()).await.map_err(said)?;
        found.ok_or_else(|| "the tenant is gone".to_owned())
    }

    pub(crate) async fn placement(&self) -> Result<Placement, String> {
        let verified = self.tenant().await?.for_job(self.lease);
        verified
            .map(|tenant| tenant.placement().clone())
            .ok_or_else(|| "the tenant is not placed".to_owned())
    }

    /// How the tenant's cluster is reached.
    pub(crate) async fn addresses(&self) -> Result<Arc<Addresses>, String> {
        let cluster = self.placement().await?.cluster;
        self.service.pools.addresses_of(&cluster).map_err(refused)
    }

    /// Whoever provisions, on the tenant's cluster.
    pub(crate) async fn admin(&self) -> Result<Client, String> {
        let addresses = self.addresses().await?;
        addresses.admin(addresses.platform_database()).await.map_err(said)
    }

    /// Whoever provisions, in the platform's database.
    pub(crate) async fn platform_admin(&self) -> Result<Client, String> {
        let addresses = self.service.pools.addresses();
        addresses.admin(addresses.platform_database()).await.map_err(said)
    }

    /// A connection to the tenant's database.
    pub(crate) async fn open(&self) -> Result<TenantConn, String> {
        let verified = self.tenant().await?.for_job(self.lease);
        let verified = verified.ok_or_else(|| "the tenant is not placed".to_owned())?;
        self.service.pools.tenant(&verified).await.map_err(refused)
    }

    /// A connection to change the platform's database with.
    pub(crate) async fn conn(&self) -> Result<Conn, String> {
        self.service.pools.platform().await.map_err(refused)
    }

    /// Waits longer after each try; after the last the operation is failed, and a tenant that it was to make with it.
    async fn fail_or_wait(&self, tries: i32, step: &str, error: &str) -> Result<(), Refusal> {
        if tries < TRIES_MAX {
            let wait =
                (BACKOFF_SECONDS * f64::from(1 << tries.clamp(0, 20))).min(BACKOFF_SECONDS_MAX);
            return Ok(store::set_due(self.platform, &self.operation.id, wait).await?);
        }
        let mut conn = self.service.pools.platform().await?;
        let tx = conn.begin().await?;
        let said = json!({"code": "step-failed", "step": step, "message": error});
        let has_failed = store::fail(&tx, &self.operation.id, &said).await?;
        if has_failed && self.operation.kind == "tenant.provision" {
            tenants::store::set_state(&tx, self.tenant_id(), "failed").await?;
            self.event(&tx, "tenant.failed").await.map_err(Refusal::internal)?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Says in the audit log what became of the tenant.
    pub(crate) async fn event(&self, tx: &Tx<'_>, action: &str) -> Result<(), String> {
        let kind = self.operation.kind.as_str();
        let origin = Origin {
            request_id: self.operation.json["request_id"].as_str().map(str::to_owned),
            ..Origin::system(kind.strip_prefix("tenant.").unwrap_or(kind))
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
pub(crate) fn said(error: tokio_postgres::Error) -> String {
    crate::said(&error)
}

/// Why something was refused, for the operator.
pub(crate) fn refused(refusal: Refusal) -> String {
    refusal.cause.unwrap_or(refusal.message)
}
