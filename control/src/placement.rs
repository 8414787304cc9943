//! Which tenant, and where its data is: the proof that a tenant's database may be opened.

use crate::code::{Code, Refusal};
use crate::planted::planted;
use crate::sql::{self, Queries, text, texts};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use tokio_postgres::Row;

/// A cluster, and how it is reached, sealed; none is the platform's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    pub id: String,
    pub address: Option<Vec<u8>>,
}

/// Where a tenant's data is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    pub cluster: Cluster,
    pub database: String,
    pub role: String,
    pub generation: i32,
    /// Which password its role has.
    pub password_generation: i32,
    /// What its database is at.
    pub schema_version: i32,
}

/// A tenant as the platform knows it.
#[derive(Debug, Clone)]
pub struct KnownTenant {
    pub id: String,
    pub state: String,
    pub key_reference: String,
    placement: Option<Placement>,
}

/// A tenant that this call, credential or job may work on. Made here alone: from a key that carries its
/// reference, a token of its organisation, from an authorised call, from the lease of its operation.
#[derive(Debug)]
pub struct VerifiedTenant {
    id: String,
    placement: Placement,
    is_being_provisioned: bool,
}

impl VerifiedTenant {
    pub fn id(&self) -> &str {
        &self.id
    }

    pub fn placement(&self) -> &Placement {
        &self.placement
    }

    pub fn is_being_provisioned(&self) -> bool {
        self.is_being_provisioned
    }
}

/// How many tenants are remembered; then all are forgotten.
const HINTS_MAX: usize = 10_000;

/// Where tenants were when they last called, by the reference of their keys: a guess, never an answer.
#[derive(Debug, Default)]
pub struct Hints(Mutex<HashMap<String, KnownTenant>>);

impl Hints {
    pub(crate) fn get(&self, reference: &str) -> Option<KnownTenant> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(reference).cloned()
    }

    pub(crate) fn put(&self, reference: &str, tenant: &KnownTenant) {
        let mut hints = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if hints.get(reference).is_some_and(|known| known.placement == tenant.placement) {
            return;
        }
        if hints.len() >= HINTS_MAX {
            hints.clear();
        }
        hints.insert(reference.to_owned(), tenant.clone());
    }
}

/// The organisation of a provider whose people all belong to one tenant.
pub(crate) const EVERYBODY: &str = "*";

const KNOWN: &str = "SELECT t.id, t.state, t.key_reference, p.database_name, p.role_name, p.generation, p.schema_version, p.cluster_id, c.address, p.password_generation \
    FROM tenants t LEFT JOIN placements p ON p.tenant_id = t.id LEFT JOIN clusters c ON c.id = p.cluster_id";

impl KnownTenant {
    /// A tenant by its id.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn by_id(
        platform: &impl Queries,
        id: &str,
    ) -> Result<Option<KnownTenant>, tokio_postgres::Error> {
        let statement = format!("{KNOWN} WHERE t.id = $1");
        Ok(sql::first(platform, &statement, &[text(&id)]).await?.map(|row| KnownTenant::of(&row)))
    }

    /// The tenants with these ids.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn by_ids(
        platform: &impl Queries,
        ids: &[String],
    ) -> Result<Vec<KnownTenant>, tokio_postgres::Error> {
        let statement = format!("{KNOWN} WHERE t.id = ANY ($1)");
        let ids = ids.to_vec();
        let rows = platform.rows(&statement, &[texts(&ids)]).await?;
        Ok(rows.iter().map(KnownTenant::of).collect())
    }

    /// The tenant whose keys carry a reference.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn by_reference(
        platform: &impl Queries,
        reference: &str,
    ) -> Result<Option<KnownTenant>, tokio_postgres::Error> {
        let statement = format!("{KNOWN} WHERE t.key_reference = $1");
        let row = sql::first(platform, &statement, &[text(&reference)]).await?;
        let mut known = row.map(|row| KnownTenant::of(&row));
        if let Some(known) = known.as_mut().filter(|_| planted("placement-cache")) {
            static STALE: std::sync::OnceLock<Option<Placement>> = std::sync::OnceLock::new();
            known.placement = STALE.get_or_init(|| known.placement.clone()).clone();
        }
        Ok(known)
    }

    /// Where an issuer's organisation is linked to: nowhere, to the platform (`Some(None)`), or to a tenant.
    ///
    /// # Errors
    /// Those of the database.
    pub(crate) async fn by_organisation(
        platform: &impl Queries,
        issuer: &str,
        organisation: &str,
    ) -> Result<Option<Option<KnownTenant>>, tokio_postgres::Error> {
        let statement = format!(
            "{KNOWN} JOIN organisations o ON o.tenant_id = t.id WHERE o.issuer = $1 AND o.organisation = $2"
        );
        let params = [text(&issuer), text(&organisation)];
        if let Some(row) = sql::first(platform, &statement, &params).await? {
            return Ok(Some(Some(KnownTenant::of(&row))));
        }
        let statement = "SELECT FROM organisations WHERE issuer = $1 AND organisation = $2 AND tenant_id IS NULL";
        Ok(sql::first(platform, statement, &params).await?.map(|_| None))
    }

    fn of(row: &Row) -> KnownTenant {
        let database: Option<String> = row.get(3);
        let placement = database.map(|database| Placement {
            database,
            role: row.get(4),
            cluster: Cluster { id: row.get(7), address: row.get(8) },
            generation: row.get(5),
            schema_version: row.get(6),
            password_generation: row.get(9),
        });
        KnownTenant { id: row.get(0), state: row.get(1), key_reference: row.get(2), placement }
    }

    /// Whether its database is there to be asked.
    pub fn is_placed(&self) -> bool {
        self.placement.is_some()
            && !matches!(self.state.as_str(), "provisioning" | "failed" | "destroyed")
    }

    /// The tenant whose key is being looked up.
    pub(crate) fn for_key(&self) -> Option<VerifiedTenant> {
        self.is_placed().then(|| self.verified(false)).flatten()
    }

    /// The tenant of a call that was authorised.
    ///
    /// # Errors
    /// `tenant-not-ready` while it has no database.
    pub(crate) fn for_call(
        &self,
        _proof: &crate::authority::Permitted,
    ) -> Result<VerifiedTenant, Refusal> {
        let verified = self.is_placed().then(|| self.verified(false)).flatten();
        verified.ok_or_else(|| {
            Refusal::new(Code::TenantNotReady, "the tenant has no database yet; ask its operation")
        })
    }

    /// The tenant that a leased job works on.
    pub(crate) fn for_job(&self, _lease: &crate::lease::Lease) -> Option<VerifiedTenant> {
        self.verified(self.state != "active")
    }

    fn verified(&self, is_being_provisioned: bool) -> Option<VerifiedTenant> {
        let placement = self.placement.clone()?;
        Some(VerifiedTenant { id: self.id.clone(), placement, is_being_provisioned })
    }
}

/// Tenants that were given up and still have a placement.
///
/// # Errors
/// Those of the database.
pub(crate) async fn given_up(
    platform: &impl Queries,
) -> Result<Vec<(String, Placement)>, tokio_postgres::Error> {
    let statement = format!(
        "{KNOWN} WHERE t.state = 'destroyed' AND p.tenant_id IS NOT NULL ORDER BY t.id LIMIT 100"
    );
    let rows = platform.rows(&statement, &[]).await?;
    let known = rows.iter().map(KnownTenant::of);
    Ok(known.filter_map(|tenant| Some((tenant.id, tenant.placement?))).collect())
}

/// Placements on a cluster whose tenants' offboarding is at the step that drops them, with their operations: those that
/// wait longest first.
///
/// # Errors
/// Those of the database.
pub(crate) async fn to_be_dropped(
    platform: &impl Queries,
    cluster: &str,
    most: i64,
) -> Result<Vec<(String, Placement)>, tokio_postgres::Error> {
    let statement = format!(
        "SELECT k.*, o.id FROM ({KNOWN}) k JOIN operations o ON o.tenant_id = k.id AND o.kind = 'tenant.offboard' \
            JOIN operation_steps quiesced ON quiesced.operation_id = o.id AND quiesced.name = 'quiesce' \
            JOIN operation_steps dropped ON dropped.operation_id = o.id AND dropped.name = 'drop' \
        WHERE k.cluster_id = $1 AND k.state = 'offboarding' AND o.state = 'running' AND quiesced.state = 'succeeded' \
            AND dropped.state <> 'succeeded' AND NOT coalesce(o.result ? 'is_checkpointed', false) \
        ORDER BY o.updated_at, o.id LIMIT $2"
    );
    let rows = platform.rows(&statement, &[text(&cluster), sql::bigint(&most)]).await?;
    let operation = |row: &Row| Some((row.get(10), KnownTenant::of(row).placement?));
    Ok(rows.iter().filter_map(operation).collect())
}

/// Removes a placement whose database is gone.
///
/// # Errors
/// Those of the database.
pub(crate) async fn forget(
    platform: &impl Queries,
    tenant: &str,
) -> Result<(), tokio_postgres::Error> {
    sql::run(platform, "DELETE FROM placements WHERE tenant_id = $1", &[text(&tenant)])
        .await
        .map(|_| ())
}
