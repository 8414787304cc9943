//! The platform, and each tenant, keeps somebody who administers it.

use crate::call::Call;
use crate::code::{Code, Refusal};
use crate::sql::{self, Queries};

/// Keys without scopes and people, by a role of their own or of a group, who are tenant-admin now.
const OF_TENANT: &str = "SELECT (SELECT count(*) FROM api_keys WHERE 'tenant-admin' = ANY (roles) \
        AND cardinality(scopes) = 0 AND revoked_at IS NULL AND expires_at > now()) \
    + (SELECT count(*) FROM users WHERE state = 'active' AND id IN (SELECT users_with('{tenant-admin}')))";
/// The same of platform-admins.
const OF_PLATFORM: &str = "SELECT (SELECT count(*) FROM platform_api_keys WHERE 'platform-admin' = ANY (roles) \
        AND cardinality(scopes) = 0 AND revoked_at IS NULL AND expires_at > now()) \
    + (SELECT count(*) FROM platform_users WHERE state = 'active' AND id IN ( \
        SELECT user_id FROM platform_role_bindings b \
        WHERE b.role = 'platform-admin' AND (b.expires_at IS NULL OR b.expires_at > now())))";

/// Held by changes that may take an administrator away: two of them must not each leave the other's.
const LOCK: &str = "SELECT pg_advisory_xact_lock(hashtextextended('tollgate administrators', 0))";

/// Whose administrators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    Platform,
    Tenant,
}

impl Level {
    /// That of what a call is about.
    pub(crate) fn of(call: &Call) -> Level {
        if call.tenant.is_some() { Level::Tenant } else { Level::Platform }
    }
}

/// How many there were before a change.
#[derive(Debug)]
pub(crate) struct Admins {
    level: Level,
    before: i64,
}

impl Admins {
    /// Counts them, and lets no other such change in until the end of the transaction.
    ///
    /// # Errors
    /// Those of the database.
    pub(crate) async fn before(tx: &impl Queries, level: Level) -> Result<Admins, Refusal> {
        tx.rows(LOCK, &[]).await?;
        Ok(Admins { level, before: count(tx, level).await? })
    }

    /// # Errors
    /// `last-admin` if there were some and none is left.
    pub(crate) async fn are_left(self, tx: &impl Queries) -> Result<(), Refusal> {
        if self.before == 0 || count(tx, self.level).await? > 0 {
            return Ok(());
        }
        let role = match self.level {
            Level::Platform => "platform-admin",
            Level::Tenant => "tenant-admin",
        };
        let message = format!("this is the last {role}; make another first");
        Err(Refusal::new(Code::LastAdmin, message))
    }
}

async fn count(tx: &impl Queries, level: Level) -> Result<i64, Refusal> {
    let statement = match level {
        Level::Platform => OF_PLATFORM,
        Level::Tenant => OF_TENANT,
    };
    let row = sql::first(tx, statement, &[]).await?;
    Ok(row.map_or(0, |row| row.get(0)))
}
