//! A connection that goes back to its pool when it is dropped.

use super::{Idle, Pool, Session, Tx};
use crate::sql::{Param, Queries};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;
use tokio_postgres::{Error, Row};

/// For the end of a transaction that was left open.
const CLEAN_TIMEOUT: Duration = Duration::from_secs(1);

/// A connection that goes back when it is dropped; if its transaction was left open, rolled back before.
#[allow(missing_debug_implementations, reason = "holds a client")]
pub struct Conn {
    /// Taken when it is dropped.
    session: Option<Session>,
    pool: Arc<Pool>,
    backend: Option<OwnedSemaphorePermit>,
    place: Option<OwnedSemaphorePermit>,
    /// Set while a transaction is open.
    is_open: bool,
}

/// A connection to one tenant's database: made from a verified tenant only.
#[allow(missing_debug_implementations, reason = "holds a client")]
pub struct TenantConn {
    conn: Conn,
    tenant: String,
}

impl Conn {
    pub(super) fn new(
        session: Session,
        pool: &Arc<Pool>,
        backend: Option<OwnedSemaphorePermit>,
        place: OwnedSemaphorePermit,
    ) -> Conn {
        let session = Some(session);
        Conn { session, pool: Arc::clone(pool), backend, place: Some(place), is_open: false }
    }

    fn session(&self) -> &Session {
        self.session.as_ref().expect("a connection holds its session until it is dropped")
    }

    /// Begins a transaction.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn begin(&mut self) -> Result<Tx<'_>, Error> {
        let session = self.session.as_mut();
        let session = session.expect("a connection holds its session until it is dropped");
        session.begin(&mut self.is_open).await
    }
}

impl Conn {
    /// The rows of a statement whose best plan depends on its values: planned for them, never prepared.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn planned(&self, statement: &str, params: &[Param<'_>]) -> Result<Vec<Row>, Error> {
        self.session().client.query_typed(statement, params).await
    }
}

impl Queries for Conn {
    async fn rows(&self, statement: &str, params: &[Param<'_>]) -> Result<Vec<Row>, Error> {
        self.session().rows(statement, params).await
    }

    async fn count(&self, statement: &str, params: &[Param<'_>]) -> Result<u64, Error> {
        self.session().count(statement, params).await
    }
}

impl TenantConn {
    pub(super) fn new(conn: Conn, tenant: String) -> TenantConn {
        TenantConn { conn, tenant }
    }

    /// Whose database it is.
    pub fn tenant(&self) -> &str {
        &self.tenant
    }
}

impl Deref for TenantConn {
    type Target = Conn;

    fn deref(&self) -> &Conn {
        &self.conn
    }
}

impl DerefMut for TenantConn {
    fn deref_mut(&mut self) -> &mut Conn {
        &mut self.conn
    }
}

/// A connection to where an object lives: the platform's database, or a tenant's.
#[allow(missing_debug_implementations, reason = "holds a client")]
pub enum Home {
    Platform(Conn),
    Tenant(TenantConn),
}

impl Home {
    /// The connection, if it is a tenant's.
    pub(crate) fn tenants(self) -> Option<TenantConn> {
        match self {
            Home::Platform(_) => None,
            Home::Tenant(conn) => Some(conn),
        }
    }
}

impl Deref for Home {
    type Target = Conn;

    fn deref(&self) -> &Conn {
        match self {
            Home::Platform(conn) => conn,
            Home::Tenant(conn) => conn,
        }
    }
}

impl DerefMut for Home {
    fn deref_mut(&mut self) -> &mut Conn {
        match self {
            Home::Platform(conn) => conn,
            Home::Tenant(conn) => conn,
        }
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        let session = self.session.take().filter(|session| !session.client.is_closed());
        let Some(session) = session else { return };
        let idle = Idle { session, since: Instant::now(), backend: self.backend.take() };
        match (self.is_open, Handle::try_current(), self.place.take()) {
            (false, _, _) => self.pool.keep(idle),
            (true, Ok(runtime), Some(place)) => {
                drop(runtime.spawn(cleaned(idle, Arc::clone(&self.pool), place)));
            }
            _ => {}
        }
    }
}

/// A transaction was left open, by a refusal or a call that was given up: its end is awaited, then
/// the connection goes back. One that does not answer is closed.
async fn cleaned(mut idle: Idle, pool: Arc<Pool>, _place: OwnedSemaphorePermit) {
    let end = idle.session.client.batch_execute("ROLLBACK");
    if matches!(tokio::time::timeout(CLEAN_TIMEOUT, end).await, Ok(Ok(()))) {
        idle.since = Instant::now();
        pool.keep(idle);
    }
}
