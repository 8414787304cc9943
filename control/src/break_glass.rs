//! Break-glass: what a tenant's people said or did is shown to an administrator of the platform only under a grant, for
//! some hours, with a reason, and where the tenant works by two persons (`policy.second_person`) with another's yes. The tenant sees each grant and can end it; each use is an event in the tenant's log.

use crate::audit::{Event, append};
use crate::call::{Call, Reply};
use crate::code::{Code, Refusal};
use crate::credential::Owner;
use crate::listing::{Key, Order};
use crate::noun::Noun;
use crate::pools::TenantConn;
use crate::random::{id, now_ms};
use crate::settings::is_second_person_needed;
use crate::sql::{self, int, text};
use crate::tenants;
use crate::write::{Stop, Write};
use serde::Deserialize;
use serde_json::json;
use tokio_postgres::types::Type;

const GRANT: Noun = Noun {
    name: "break-glass-grant",
    columns: "id, version, jsonb_build_object('id', id, 'holder', holder, 'reason', reason, \
        'needs_approval', needs_approval, 'approved_by', approved_by, 'expires_at', rfc3339(expires_at), \
        'ended_at', rfc3339(ended_at), 'version', version, 'created_at', rfc3339(created_at), \
        'state', CASE WHEN ended_at IS NOT NULL THEN 'ended' WHEN expires_at <= now() THEN 'expired' \
            WHEN needs_approval AND approved_by IS NULL THEN 'pending' ELSE 'active' END) AS object",
    from: "FROM break_glass_grants",
    id: "id",
    orders: &[Order { name: "created_at", key: Key::Unique("id") }],
    searched: &["id COLLATE \"C\""],
};

const MINUTES_DEFAULT: i32 = 60;
const MINUTES_MAX: i32 = 240;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct New {
    reason: String,
    minutes: Option<i32>,
}

/// `GET T/break-glass-grants`.
pub async fn list(call: &Call) -> Result<Reply, Stop> {
    GRANT.list(call, &*call.tenant_conn().await?, vec![]).await
}

/// `GET T/break-glass-grants/{id}`.
pub async fn show(call: &Call) -> Result<Reply, Stop> {
    GRANT.show(call, &*call.tenant_conn().await?).await
}

/// `POST T/break-glass-grants`: for whoever calls.
pub async fn create(call: &Call) -> Result<Reply, Stop> {
    let New { reason, minutes } = call.read()?;
    let minutes = minutes.unwrap_or(MINUTES_DEFAULT);
    if !(1..=MINUTES_MAX).contains(&minutes) {
        let expected = format!("whole minutes from 1 to {MINUTES_MAX}");
        return Err(Refusal::invalid("/minutes", &expected, minutes.to_string()).into());
    }
    tenants::api::reason(&reason)?;
    let needs_approval = is_second_person_needed(call).await?;
    let mut conn = call.tenant_conn().await?;
    let write = Write::begin(call, &mut conn).await?;
    let grant = id("bgg", now_ms());
    let statement = "INSERT INTO break_glass_grants (id, holder, reason, needs_approval, expires_at) \
        VALUES ($1, $2, $3, $4, now() + make_interval(mins => $5))";
    let holder = &call.caller.id;
    let params =
        [text(&grant), text(holder), text(&reason), (&needs_approval, Type::BOOL), int(&minutes)];
    sql::run(&write.tx, statement, &params).await?;
    GRANT.made(write, &grant, "break_glass_grant.created").await
}

/// `POST T/break-glass-grants/{id}/approve`: by somebody else of the platform, or the tenant.
pub async fn approve(call: &Call) -> Result<Reply, Stop> {
    let mut conn = call.tenant_conn().await?;
    let write = Write::begin(call, &mut conn).await?;
    let before = GRANT.find(&write.tx, call.parameter(0), true).await?;
    if before.json["holder"] == call.caller.id.as_str() {
        let message = "whoever asked for a grant may not approve it; ask another";
        let details = json!({"permission": "break-glass:update"});
        return Err(write.refuse(Refusal::new(Code::Forbidden, message).with(details)).await);
    }
    if before.json["state"] != "pending" {
        let message = "only a grant that is pending can be approved";
        let details = json!({"state": before.json["state"], "allowed": ["pending"]});
        return Err(write.refuse(Refusal::new(Code::InvalidState, message).with(details)).await);
    }
    let statement =
        "UPDATE break_glass_grants SET approved_by = $2, version = version + 1 WHERE id = $1";
    sql::run(&write.tx, statement, &[text(&before.id), text(&call.caller.id)]).await?;
    GRANT.changed(write, &before, "break_glass_grant.approved").await
}

/// `DELETE T/break-glass-grants/{id}`: over from the next call on; the grant stays to be seen.
pub async fn end(call: &Call) -> Result<Reply, Stop> {
    let mut conn = call.tenant_conn().await?;
    let (mut write, before) = GRANT.begin(call, &mut conn).await?;
    let statement = "UPDATE break_glass_grants SET ended_at = coalesce(ended_at, now()), version = version + 1 \
        WHERE id = $1";
    sql::run(&write.tx, statement, &[text(&before.id)]).await?;
    let after = GRANT.find(&write.tx, &before.id, false).await?;
    GRANT.record(&mut write, "break_glass_grant.ended", Some(&before), Some(&after)).await?;
    write.finish(Reply::empty()).await
}

/// Before an administrator of the platform is shown something of a tenant's people: under a grant of its own, told to the
/// tenant. The tenant's own people need none.
///
/// # Errors
/// `forbidden` without a grant, and those of the database.
pub(crate) async fn used(
    call: &Call,
    conn: &mut TenantConn,
    resource: (&str, &str),
) -> Result<(), Refusal> {
    if call.caller.owner != Owner::Platform {
        return Ok(());
    }
    let tx = conn.begin().await?;
    let statement = "SELECT id FROM break_glass_grants WHERE holder = $1 AND ended_at IS NULL AND expires_at > now() \
        AND (NOT needs_approval OR approved_by IS NOT NULL) ORDER BY expires_at DESC LIMIT 1";
    let Some(row) = sql::first(&tx, statement, &[text(&call.caller.id)]).await? else {
        tx.rollback().await?;
        let message = "what is a tenant's people's own is shown to the platform under a grant alone: POST T/break-glass-grants";
        let details = json!({"permission": "break-glass:create"});
        return Err(Refusal::new(Code::Forbidden, message).with(details));
    };
    let grant: String = row.get(0);
    for (action, resource) in [
        ("break_glass_grant.used", ("break-glass-grant", grant.as_str())),
        ("user.exported", resource),
    ] {
        let tenant_id = Some(call.tenant()?.id.as_str());
        let event = Event { action, tenant_id, resource, before: None, after: None };
        append(&tx, &call.origin, &event).await?;
    }
    tx.commit().await?;
    call.service.noted.note(Some(&call.tenant()?.id));
    Ok(())
}
