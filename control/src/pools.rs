//! Connections, counted: one pool for the platform database, one small pool per placed tenant, and a cap
//! over all of them.
//!
//! A tenant's pool is keyed by database and placement generation. A connection is checked when it is taken out:
//! database, role, generation. One whose transaction was left open is rolled back before it is handed on.
//! Fairness: a tenant waits for its own places first, then in order of arrival for a backend, so one
//! tenant holds at most `per_tenant_max` places in the queue; while somebody waits, a connection that is given
//! back is closed for them.

mod conn;
mod pool;
mod session;

pub use conn::{Conn, Home, TenantConn};
pub use session::Tx;

use crate::code::{Code, Refusal};
use crate::database::{Addresses, PLATFORM_ROLE};
use crate::migrate::tenant_schema_version;
use crate::placement::{Cluster, Hints, VerifiedTenant};
use crate::planted::planted;
use crate::secret::MasterKey;
use crate::{clusters, ops, sealed, sql};
use metrics::histogram;
use pool::{Backends, Idle, Pool, Waiting, locked};
use session::Session;
use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;

/// Connections to the platform database.
const PLATFORM_MAX: usize = 16;

/// All pools.
#[allow(missing_debug_implementations, reason = "holds the master key")]
pub struct Pools {
    addresses: Arc<Addresses>,
    master: Arc<MasterKey>,
    /// What it was before, while not everything has been rekeyed.
    previous: Option<MasterKey>,
    limits: crate::config::Pools,
    named_statements: bool,
    platform: Arc<Pool>,
    tenants: Mutex<HashMap<Key, Arc<Pool>>>,
    backends: Arc<Backends>,
    hints: Hints,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    database: String,
    generation: i32,
}

impl Pools {
    pub fn new(
        addresses: Addresses,
        master: Arc<MasterKey>,
        previous: Option<MasterKey>,
        limits: crate::config::Pools,
        named_statements: bool,
    ) -> Pools {
        Pools {
            addresses: Arc::new(addresses),
            master,
            previous,
            platform: Arc::new(Pool::new(PLATFORM_MAX, None)),
            tenants: Mutex::default(),
            backends: Arc::new(Backends {
                open: Arc::new(Semaphore::new(limits.backends_max)),
                waiting: AtomicUsize::new(0),
            }),
            limits,
            named_statements,
            hints: Hints::default(),
        }
    }

    pub(crate) fn hints(&self) -> &Hints {
        &self.hints
    }

    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    pub fn master(&self) -> &MasterKey {
        &self.master
    }

    /// The key in use, and the one before it while it is still accepted.
    pub fn masters(&self) -> impl Iterator<Item = &MasterKey> {
        std::iter::once(self.master()).chain(&self.previous)
    }

    /// How a cluster is reached; without an address it is the platform's own.
    ///
    /// # Errors
    /// `internal` for an address that does not open under the master key.
    pub fn addresses_of(&self, cluster: &Cluster) -> Result<Arc<Addresses>, Refusal> {
        let Some(sealed) = &cluster.address else { return Ok(Arc::clone(&self.addresses)) };
        let opened = sealed::open(self.masters(), clusters::LABEL, &cluster.id, sealed);
        let addresses = opened.and_then(|opened| Addresses::unsealed(&opened));
        let lost = || {
            Refusal::internal(format!("the address of the cluster {} does not open", cluster.id))
        };
        addresses.map(Arc::new).ok_or_else(lost)
    }

    /// Opens a connection with the first password that is taken: of the master key in use or the one before it, of this
    /// generation or one that a rotation is just giving.
    async fn open(
        &self,
        addresses: &Addresses,
        (database, role): (&str, &str),
        (whose, generations): (&str, RangeInclusive<i32>),
    ) -> Result<Session, Refusal> {
        let began = Instant::now();
        let passwords = self.masters().flat_map(|master| {
            let generations = generations.clone();
            generations.map(move |generation| master.database_password(whose, generation))
        });
        let mut refused = "no password is known".to_owned();
        for password in passwords {
            match addresses.requests(database, role, &password).await {
                Ok(client) => {
                    histogram!(ops::CONNECT_SECONDS).record(began.elapsed().as_secs_f64());
                    return Ok(Session::new(client, self.named_statements));
                }
                Err(error) => {
                    refused = crate::said(&error);
                    if error.code() != Some(&SqlState::INVALID_PASSWORD) {
                        break;
                    }
                }
            }
        }
        // Whatever it says: nobody can be asked there now.
        Err(Refusal::unavailable(refused))
    }

    /// A connection to the platform database.
    ///
    /// # Errors
    /// `overloaded` when none gets free in time, `database-unavailable`.
    pub async fn platform(&self) -> Result<Conn, Refusal> {
        let place = self.place(&self.platform).await?;
        if let Some(idle) = self.platform.take_idle() {
            return Ok(Conn::new(idle.session, &self.platform, None, place));
        }
        let at = (self.addresses.platform_database(), PLATFORM_ROLE);
        let session = self.open(&self.addresses, at, ("platform", 1..=1)).await?;
        Ok(Conn::new(session, &self.platform, None, place))
    }

    /// A connection to a tenant's database.
    ///
    /// # Errors
    /// `overloaded` when none gets free in time, `database-unavailable`, `internal` when the connection
    /// is not what it should be.
    pub async fn tenant(&self, tenant: &VerifiedTenant) -> Result<TenantConn, Refusal> {
        let conn = self.checked_out(tenant).await?;
        assert_is(&conn, tenant).await?;
        Ok(TenantConn::new(conn, tenant.id().to_owned()))
    }

    /// The same with the first row of a statement, in one round trip: the row is given to nobody unless the
    /// connection is the tenant's.
    ///
    /// # Errors
    /// Those of `tenant`.
    pub async fn tenant_and_row(
        &self,
        tenant: &VerifiedTenant,
        statement: &str,
        params: &[sql::Param<'_>],
    ) -> Result<(TenantConn, Option<Row>), Refusal> {
        let (conn, row) = self.tenant_and(tenant, statement, params).await?;
        Ok((conn, row?))
    }

    /// The same for a statement whose failure means something.
    ///
    /// # Errors
    /// Those of `tenant`.
    pub async fn tenant_and(
        &self,
        tenant: &VerifiedTenant,
        statement: &str,
        params: &[sql::Param<'_>],
    ) -> Result<(TenantConn, Result<Option<Row>, tokio_postgres::Error>), Refusal> {
        let conn = self.checked_out(tenant).await?;
        let (is_theirs, row) =
            tokio::join!(assert_is(&conn, tenant), sql::first(&conn, statement, params));
        is_theirs?;
        Ok((TenantConn::new(conn, tenant.id().to_owned()), row))
    }

    async fn checked_out(&self, tenant: &VerifiedTenant) -> Result<Conn, Refusal> {
        let (found, wanted) = (tenant.placement().schema_version, tenant_schema_version());
        if found < wanted && !tenant.is_being_provisioned() {
            let cause = format!(
                "a tenant's database has schema {found}, this needs {wanted}; a migration brings it there"
            );
            return Err(Refusal::unavailable(cause));
        }
        let pool = self.pool_of(tenant);
        let place = self.place(&pool).await?;
        if let Some(idle) = pool.take_idle() {
            return Ok(Conn::new(idle.session, &pool, idle.backend, place));
        }
        let backend = self.backend().await?;
        let placement = tenant.placement();
        let generation = placement.password_generation;
        let addresses = self.addresses_of(&placement.cluster)?;
        let at = (placement.database.as_str(), placement.role.as_str());
        let whose = (tenant.id(), generation..=generation + 1);
        let session = self.open(&addresses, at, whose).await?;
        Ok(Conn::new(session, &pool, Some(backend), place))
    }

    fn pool_of(&self, tenant: &VerifiedTenant) -> Arc<Pool> {
        let placement = tenant.placement();
        let mut key =
            Key { database: placement.database.clone(), generation: placement.generation };
        if planted("pool-key") {
            key.database = String::new();
        }
        let mut tenants = locked(&self.tenants);
        let new =
            || Arc::new(Pool::new(self.limits.per_tenant_max, Some(Arc::clone(&self.backends))));
        let pool = tenants.entry(key).or_insert_with(new);
        Arc::clone(pool)
    }

    async fn place(&self, pool: &Pool) -> Result<OwnedSemaphorePermit, Refusal> {
        self.in_time("place", Arc::clone(&pool.places).acquire_owned()).await
    }

    /// The right to open one more connection; makes room by closing what was idle longest.
    async fn backend(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        let waiting = Waiting::begin(&self.backends.waiting);
        if self.backends.open.available_permits() == 0 {
            self.close_longest_idle();
        }
        let permit = self.in_time("backend", Arc::clone(&self.backends.open).acquire_owned()).await;
        drop(waiting);
        permit
    }

    async fn in_time(
        &self,
        what: &'static str,
        permit: impl Future<Output = Result<OwnedSemaphorePermit, tokio::sync::AcquireError>>,
    ) -> Result<OwnedSemaphorePermit, Refusal> {
        let limit = Duration::from_millis(self.limits.wait_ms_max);
        let began = Instant::now();
        let waited = tokio::time::timeout(limit, permit).await;
        histogram!(ops::POOL_WAIT_SECONDS, "for" => what).record(began.elapsed().as_secs_f64());
        waited.ok().and_then(Result::ok).ok_or_else(|| {
            Refusal::new(Code::Overloaded, "no database connection got free in time; try again")
        })
    }

    fn close_longest_idle(&self) {
        let tenants = locked(&self.tenants);
        let oldest = tenants.values().filter(|pool| pool.idle_since().is_some());
        if let Some(pool) = oldest.min_by_key(|pool| pool.idle_since()) {
            // Another may have taken it since.
            let mut idle = locked(&pool.idle);
            let closed = if idle.is_empty() { None } else { Some(idle.remove(0)) };
            drop((idle, closed));
        }
    }

    /// Closes what has been idle too long, and forgets pools without connections.
    pub fn sweep(&self) {
        let limit = Duration::from_millis(self.limits.idle_ms);
        let mut tenants = locked(&self.tenants);
        for pool in tenants.values().chain([&self.platform]) {
            locked(&pool.idle).retain(|idle| idle.since.elapsed() < limit);
        }
        tenants.retain(|_, pool| Arc::strong_count(pool) > 1 || !locked(&pool.idle).is_empty());
    }
}

/// The last look before a tenant's connection is used.
async fn assert_is(conn: &Conn, tenant: &VerifiedTenant) -> Result<(), Refusal> {
    let placement = tenant.placement();
    let statement = "SELECT current_database()::text, current_user::text, (SELECT placement_generation FROM tenant_meta), \
        (SELECT tenant_id FROM tenant_meta)";
    let row = sql::first(conn, statement, &[]).await?;
    let found = row.map(|row| {
        let (database, role): (String, String) = (row.get(0), row.get(1));
        let generation: Option<i32> = row.get(2);
        (database, role, generation, row.get::<_, Option<String>>(3))
    });
    let is_right = found.is_some_and(|(database, role, generation, id)| {
        // A database that is being provisioned does not say yet whose it is.
        let is_theirs = match (generation, id) {
            (Some(generation), Some(id)) => generation == placement.generation && id == tenant.id(),
            _ => tenant.is_being_provisioned(),
        };
        database == placement.database && role == placement.role && is_theirs
    });
    match is_right {
        true => Ok(()),
        false => Err(Refusal::internal("a pooled connection is not the tenant's")),
    }
}
