//! The first key: made on the host, by whoever holds the database and the master key.

use crate::api_keys::format::{Holder, generate, hash};
use crate::api_keys::store::{self, NewKey, Table};
use crate::audit::{Actor, Event, Origin, append};
use crate::pools::Pools;
use crate::random::{id, now_ms};
use crate::secret::SecretText;
use crate::sql::Queries;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

const KEY_DAYS: i64 = 365;
/// A recovery key is for one sitting.
const RECOVERY_MINUTES: i64 = 60;

/// Keys without scopes that administer the platform now.
const ACTIVE: &str = "SELECT FROM platform_api_keys WHERE 'platform-admin' = ANY (roles) \
    AND cardinality(scopes) = 0 AND revoked_at IS NULL AND expires_at > now() LIMIT 1";

/// Makes a platform-admin key if none is active; with a reason, one for an hour in any case.
///
/// # Errors
/// A sentence: there is an active administrator, or the database said no.
pub async fn run(pools: &Pools, recovery: Option<&str>) -> Result<SecretText, String> {
    let said = |error: tokio_postgres::Error| crate::said(&error);
    let mut conn =
        pools.platform().await.map_err(|refusal| refusal.cause.unwrap_or(refusal.message))?;
    let tx = conn.begin().await.map_err(said)?;
    tx.batch_execute("SELECT pg_advisory_xact_lock(hashtext('tollgate bootstrap'))")
        .await
        .map_err(said)?;
    let active = tx.rows(ACTIVE, &[]).await.map_err(said)?;
    if !active.is_empty() && recovery.is_none() {
        return Err(
            "a platform-admin key is active; use it, or --recover --reason TEXT if it is lost"
                .to_owned(),
        );
    }
    let life = match recovery {
        Some(_) => SignedDuration::from_mins(RECOVERY_MINUTES),
        None => SignedDuration::from_hours(24 * KEY_DAYS),
    };
    let (key_id, secret) = (id("key", now_ms()), generate(&Holder::Platform));
    let expires_at = (Timestamp::now() + life).to_string();
    let name = if recovery.is_some() { "recovery" } else { "bootstrap" };
    let roles = ["platform-admin".to_owned()];
    let new = NewKey {
        id: &key_id,
        name,
        roles: &roles,
        scopes: &[],
        hash: &hash(secret.expose()),
        expires_at: &expires_at,
        created_by: "bootstrap",
    };
    store::insert(&tx, Table::Platform, &new).await.map_err(said)?;
    let origin = Origin { actor: Actor::new("bootstrap", "bootstrap"), ..Origin::system("") };
    let action = if recovery.is_some() { "api_key.recovered" } else { "api_key.created" };
    let after = json!({"name": name, "roles": roles, "expires_at": expires_at, "reason": recovery});
    let event = Event {
        action,
        tenant_id: None,
        resource: ("api-key", &key_id),
        before: None,
        after: Some(&after),
    };
    append(&tx, &origin, &event).await.map_err(said)?;
    tx.commit().await.map_err(said)?;
    if let Some(reason) = recovery {
        tracing::error!(key = key_id, reason, "a platform-admin key was recovered on the host");
    }
    Ok(secret)
}
