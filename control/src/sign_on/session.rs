//! Sessions of browsers: a row in the database of the user's tenant, or the platform's, found by the digest of a cookie's
//! secret.
//!
//! A session is read anew with every call, with the user, its roles and the link of its organisation: what is taken away
//! is gone with the next call. It ends when it is not used for `session.idle_minutes` and `session.max_hours` after the
//! sign-in, whatever comes first.

use super::Reason;
use super::claims::Identity;
use super::people::check_acr;
use super::signed_out::{self, Who};
use crate::api_keys::format::{Holder, Presented, generate, hash};
use crate::audit::{Event, Origin, append};
use crate::code::{Code, Refusal};
use crate::credential::{Caller, CallerKind, Known, Owner, SignedIn};
use crate::placement::KnownTenant;
use crate::pools::Home;
use crate::random::{id, now_ms};
use crate::secret::SecretText;
use crate::service::Service;
use crate::sql::{self, bigint, bytes, int, text, texts};
use serde_json::Value as Json;
use tokio_postgres::Row;

/// Whose sessions are the platform's; a tenant's reference is random.
const PLATFORM_REFERENCE: &str = "platform";

/// Of one user: with one more, the one that was used least recently ends.
const SESSIONS_MAX: i64 = 50;

/// `$1` the digest, `$2` the minutes that it may rest.
const FIND: &str = "WITH found AS (SELECT s.*, u.display_name, u.state, u.issuer, u.subject, \
        roles_of(u.id) || s.roles AS all_roles FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.hash = $1) \
    SELECT id, user_id, display_name, state, issuer, subject, organisation, all_roles, permissions_of(all_roles) AS grants, \
        expires_at <= now() OR last_used_at < now() - make_interval(mins => $2) AS is_expired, \
        last_used_at < now() - interval '1 minute' AS is_to_note, acr, rfc3339(authenticated_at) AS authenticated_at, \
        provider_session, floor(extract(epoch FROM created_at) * 1000)::bigint AS created_at_ms, \
        (SELECT value FROM settings WHERE key = 'sign_on.required_acr') AS required_acr FROM found";

fn unknown() -> Refusal {
    Refusal::new(Code::Unauthenticated, "this session is not known, or was ended; sign in again")
}

/// The tenant of a session, none for the platform's, and a connection to where it is.
async fn home(
    service: &Service,
    presented: &Presented,
) -> Result<(Option<KnownTenant>, Home), Refusal> {
    let Holder::Session(reference) = &presented.holder else { return Err(unknown()) };
    let platform = service.pools.platform().await?;
    if reference == PLATFORM_REFERENCE {
        return Ok((None, Home::Platform(platform)));
    }
    let tenant = KnownTenant::by_reference(&platform, reference).await?.ok_or_else(unknown)?;
    drop(platform);
    let verified = tenant.for_key().ok_or_else(unknown)?;
    let conn = service.pools.tenant(&verified).await?;
    Ok((Some(tenant), Home::Tenant(conn)))
}

/// Whose session a cookie is.
///
/// # Errors
/// `unauthenticated`, `credential-expired`, `credential-revoked`, `step-up-required`, and those of the database.
pub(crate) async fn look_up(service: &Service, presented: &Presented) -> Result<Known, Refusal> {
    let (tenant, home) = home(service, presented).await?;
    let idle = i32::try_from(service.config.session.idle_minutes).unwrap_or(i32::MAX);
    let row = sql::first(&*home, FIND, &[bytes(&&presented.hash[..]), int(&idle)]).await?;
    let row = row.ok_or_else(unknown)?;
    if row.get("is_expired") {
        return Err(Refusal::new(Code::CredentialExpired, "this session has ended; sign in again"));
    }
    if row.get::<_, String>("state") != "active" {
        return Err(Refusal::new(Code::CredentialRevoked, "this user is disabled"));
    }
    let platform_acr = still_linked(service, &row, (tenant.as_ref(), &home)).await?;
    let own: Option<Json> = row.get("required_acr");
    if let Some(required) = own.or(platform_acr).as_ref().and_then(Json::as_str) {
        check_acr(required, row.get("acr"))?;
    }
    if row.get("is_to_note") {
        for used in [
            "UPDATE sessions SET last_used_at = now() WHERE hash = $1",
            "UPDATE users SET last_used_at = now() WHERE id = (SELECT user_id FROM sessions WHERE hash = $1)",
        ] {
            sql::run(&*home, used, &[bytes(&&presented.hash[..])]).await?;
        }
    }
    let caller = Caller {
        kind: CallerKind::User,
        id: row.get("user_id"),
        name: row.get("display_name"),
        owner: tenant.as_ref().map_or(Owner::Platform, |tenant| Owner::Tenant(tenant.id.clone())),
        roles: row.get("all_roles"),
        scopes: Vec::new(),
        grants: row.get("grants"),
        on_behalf_of: None,
        signed_in: Some(SignedIn {
            authenticated_at: row.get("authenticated_at"),
            acr: row.get("acr"),
        }),
    };
    Ok(Known { caller, own_tenant: tenant, conn: home.tenants(), is_session: true })
}

/// Refuses where the organisation is linked to this tenant, or the platform, no more, or its provider has signed the user
/// out since; answers what the platform asks of every sign-in.
async fn still_linked(
    service: &Service,
    row: &Row,
    (tenant, home): (Option<&KnownTenant>, &Home),
) -> Result<Option<Json>, Refusal> {
    let own;
    let platform = match home {
        // Whoever holds one and waits for another may wait for whoever does the same.
        Home::Platform(conn) => conn,
        Home::Tenant(_) => {
            own = service.pools.platform().await?;
            &own
        }
    };
    let (issuer, organisation): (String, String) = (row.get("issuer"), row.get("organisation"));
    let statement = "SELECT (SELECT value FROM settings WHERE key = 'sign_on.required_acr') FROM organisations \
        WHERE issuer = $1 AND organisation = $2 AND tenant_id IS NOT DISTINCT FROM $3";
    let tenant = tenant.map(|tenant| tenant.id.as_str());
    let params = [text(&issuer), text(&organisation), text(&tenant)];
    let linked = sql::first(platform, statement, &params).await?;
    let linked = linked.ok_or_else(|| Refusal::from(Reason::NoTenant))?;
    let (subject, sid): (String, Option<String>) =
        (row.get("subject"), row.get("provider_session"));
    let who = Who { issuer: &issuer, subject: Some(&subject), session: sid.as_deref() };
    match signed_out::is_since(service, platform, &who, row.get("created_at_ms")).await? {
        true => {
            Err(Refusal::new(Code::CredentialRevoked, "this user was signed out; sign in again"))
        }
        false => Ok(linked.get(0)),
    }
}

/// Begins a session for whoever has just signed in; answers the secret.
///
/// # Errors
/// Those of the database.
pub(super) async fn begin(
    service: &Service,
    known: &mut Known,
    identity: &Identity,
    origin: &Origin,
) -> Result<SecretText, Refusal> {
    let mut home = match (&known.own_tenant, known.conn.take()) {
        (None, _) => Home::Platform(service.pools.platform().await?),
        (Some(_), Some(conn)) => Home::Tenant(conn),
        (Some(_), None) => {
            let message = "the tenant has no database yet; ask its operation";
            return Err(Refusal::new(Code::TenantNotReady, message));
        }
    };
    let tenant = known.own_tenant.as_ref();
    let (user, roles): (&str, &[String]) = match tenant {
        Some(_) => (&known.caller.id, &identity.roles),
        None => (&known.caller.id, &[]),
    };
    let reference = tenant.map_or(PLATFORM_REFERENCE, |tenant| &tenant.key_reference);
    let secret = generate(&Holder::Session(reference.to_owned()));
    let (session, digest) = (id("ses", now_ms()), hash(secret.expose()).to_vec());
    let hours = i32::try_from(service.config.session.max_hours).unwrap_or(i32::MAX);
    let tx = home.begin().await?;
    let old = "DELETE FROM sessions WHERE user_id = $1 AND (expires_at <= now() OR id IN \
        (SELECT id FROM sessions WHERE user_id = $1 ORDER BY last_used_at DESC OFFSET $2))";
    sql::run(&tx, old, &[text(&user), bigint(&(SESSIONS_MAX - 1))]).await?;
    let statement = "INSERT INTO sessions (id, user_id, hash, expires_at, organisation, roles, acr, authenticated_at, provider_session) \
        VALUES ($1, $2, $3, now() + make_interval(hours => $4), $5, $6, $7, to_timestamp($8::bigint), $9)";
    let params = [
        text(&session),
        text(&user),
        bytes(&digest),
        int(&hours),
        text(&identity.organisation),
        texts(&roles),
        text(&identity.acr),
        bigint(&identity.authenticated_at),
        text(&identity.sid),
    ];
    sql::run(&tx, statement, &params).await?;
    let tenant = tenant.map(|tenant| tenant.id.as_str());
    append(&tx, origin, &event("session.created", tenant, &session)).await?;
    tx.commit().await?;
    service.noted.note(tenant);
    Ok(secret)
}

/// Ends a session; answers the issuer that it was signed in with. One that is not there has ended.
///
/// # Errors
/// Those of the database.
pub(super) async fn end(
    service: &Service,
    presented: &Presented,
    origin: Origin,
) -> Result<Option<String>, Refusal> {
    let (tenant, mut home) = match home(service, presented).await {
        Ok(found) => found,
        Err(refusal) if refusal.code == Code::Unauthenticated => return Ok(None),
        Err(refusal) => return Err(refusal),
    };
    let tenant = tenant.as_ref().map(|tenant| tenant.id.as_str());
    let tx = home.begin().await?;
    let statement = "DELETE FROM sessions s USING users u WHERE s.hash = $1 AND u.id = s.user_id \
        RETURNING s.id, u.id, u.issuer";
    let Some(row) = sql::first(&tx, statement, &[bytes(&&presented.hash[..])]).await? else {
        tx.rollback().await?;
        return Ok(None);
    };
    let origin =
        Origin { actor: crate::audit::Actor::new(CallerKind::User.name(), row.get(1)), ..origin };
    append(&tx, &origin, &event("session.ended", tenant, row.get(0))).await?;
    tx.commit().await?;
    service.noted.note(tenant);
    Ok(Some(row.get(2)))
}

fn event<'e>(action: &'e str, tenant_id: Option<&'e str>, session: &'e str) -> Event<'e> {
    Event { action, tenant_id, resource: ("session", session), before: None, after: None }
}
