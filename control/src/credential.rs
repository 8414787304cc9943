//! Who calls: the bearer key or token of a request or its session, looked up anew each time.

use crate::api_keys::format::{self, Holder, Presented};
use crate::code::{Code, Refusal};
use crate::placement::{KnownTenant, VerifiedTenant};
use crate::pools::{Conn, Pools, TenantConn};
use crate::sign_on::{browser, cookie};
use crate::sql::{self, Queries, bytes, text};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use tokio_postgres::Row;

/// Whom a credential belongs to: the platform or one tenant, never both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    Platform,
    Tenant(String),
}

/// What a caller is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallerKind {
    ApiKey,
    User,
}

impl CallerKind {
    /// As the audit log and `me` say it.
    pub fn name(self) -> &'static str {
        match self {
            CallerKind::ApiKey => "api-key",
            CallerKind::User => "user",
        }
    }
}

/// What an identity provider says of a sign-in.
#[derive(Debug, Clone)]
pub struct SignedIn {
    pub authenticated_at: Option<String>,
    /// Authentication context class (OpenID Connect Core 1.0, 2).
    pub acr: Option<String>,
}

/// A credential as it came.
#[derive(Debug, PartialEq, Eq)]
pub enum Credential {
    Key(Presented),
    /// Of an identity provider, whole.
    Token(String),
    /// Of a browser.
    Session(Presented),
}

/// The scope of keys that may name another user in `X-User-Id`.
const IMPERSONATE: &str = "user:impersonate";

/// Who calls, for the length of one request.
#[derive(Debug, Clone)]
pub struct Caller {
    pub kind: CallerKind,
    pub id: String,
    pub name: String,
    pub owner: Owner,
    pub roles: Vec<String>,
    pub scopes: Vec<String>,
    /// The permissions of those roles that are the tenant's own.
    pub grants: Vec<String>,
    /// Whom a key that may impersonate says that it acts for: written down, it gives nothing.
    pub on_behalf_of: Option<String>,
    /// How a user signed in.
    pub signed_in: Option<SignedIn>,
}

impl Caller {
    /// A key whose scopes say so in as many words.
    pub fn may_impersonate(&self) -> bool {
        self.kind == CallerKind::ApiKey && self.scopes.iter().any(|scope| scope == IMPERSONATE)
    }

    pub fn tenant(&self) -> Option<&str> {
        match &self.owner {
            Owner::Platform => None,
            Owner::Tenant(id) => Some(id),
        }
    }
}

/// Who calls, and the tenant that the credential belongs to.
#[allow(missing_debug_implementations, reason = "holds a client")]
pub struct Known {
    pub caller: Caller,
    pub own_tenant: Option<KnownTenant>,
    /// The connection on which the key was found, for whoever answers the call.
    pub conn: Option<TenantConn>,
    /// A browser's, which sends it whoever asks: the origin of a change counts.
    pub is_session: bool,
}

/// The one credential that a request presents.
///
/// # Errors
/// `ambiguous-credential` for several, `unauthenticated` for none or one that can be no credential.
pub fn presented(headers: &HeaderMap) -> Result<Credential, Refusal> {
    let mut named = headers.get_all(AUTHORIZATION).iter();
    let (first, second) = (named.next(), named.next());
    let sessions = cookie::values(headers, cookie::SESSION);
    if second.is_some() || sessions.len() + usize::from(first.is_some()) > 1 {
        return Err(Refusal::new(
            Code::AmbiguousCredential,
            "expected one Authorization header or one session, got several",
        ));
    }
    if let [session] = sessions.as_slice() {
        let session = browser::session_of(session).map(Credential::Session);
        return session.ok_or_else(unauthenticated);
    }
    let value = first.and_then(|value| value.to_str().ok()).unwrap_or("");
    let (scheme, key) = value.split_once(' ').unwrap_or((value, ""));
    let key = if scheme.eq_ignore_ascii_case("bearer") { key.trim() } else { "" };
    // A key has no dot, a token two.
    match key.contains('.') {
        true => Ok(Credential::Token(key.to_owned())),
        false => format::read(key).map(Credential::Key).ok_or_else(unauthenticated),
    }
}

fn unauthenticated() -> Refusal {
    Refusal::new(
        Code::Unauthenticated,
        "expected `Authorization: Bearer <key>` with a key that is known here",
    )
}

/// Looks a key up: one indexed read where it lives.
///
/// # Errors
/// `unauthenticated`, `credential-expired`, `credential-revoked`, and those of the database.
pub async fn look_up(pools: &Pools, presented: &Presented) -> Result<Known, Refusal> {
    let platform = pools.platform().await?;
    match &presented.holder {
        Holder::Platform => {
            let table = "platform_api_keys";
            let row = sql::first(
                &platform,
                &key_of(table, "'{}'::text[]"),
                &[bytes(&&presented.hash[..])],
            )
            .await?;
            let row = row.ok_or_else(unauthenticated)?;
            note_use(&platform, table, &row).await?;
            let caller = caller(&row, Owner::Platform)?;
            Ok(Known { caller, own_tenant: None, conn: None, is_session: false })
        }
        Holder::Tenant(reference) => {
            let (tenant, conn, row) = tenants_key(pools, &platform, reference, presented).await?;
            drop(platform);
            let row = row.ok_or_else(unauthenticated)?;
            note_use(&*conn, "api_keys", &row).await?;
            let caller = caller(&row, Owner::Tenant(tenant.id.clone()))?;
            Ok(Known { caller, own_tenant: Some(tenant), conn: Some(conn), is_session: false })
        }
        // Of a cookie alone.
        Holder::Session(_) => Err(unauthenticated()),
    }
}

/// The tenant of a reference and the row of a key in its database. Where the database was last time is asked at the
/// same time as where it is now; what came from another place is thrown away.
async fn tenants_key(
    pools: &Pools,
    platform: &Conn,
    reference: &str,
    presented: &Presented,
) -> Result<(KnownTenant, TenantConn, Option<Row>), Refusal> {
    let (statement, hash) = (key_of("api_keys", "permissions_of(roles)"), &presented.hash[..]);
    let params = [bytes(&hash)];
    let guess = pools.hints().get(reference).and_then(|tenant| tenant.for_key());
    let (now, guessed) = match guess {
        Some(guess) => {
            let read = pools.tenant_and_row(&guess, &statement, &params);
            let (now, read) = tokio::join!(KnownTenant::by_reference(platform, reference), read);
            (now?, Some((guess, read)))
        }
        None => (KnownTenant::by_reference(platform, reference).await?, None),
    };
    let tenant = now.ok_or_else(unauthenticated)?;
    let verified = tenant.for_key().ok_or_else(unauthenticated)?;
    let is_same = |guess: &VerifiedTenant| {
        guess.id() == verified.id() && guess.placement() == verified.placement()
    };
    let (conn, row) = match guessed.filter(|(guess, _)| is_same(guess)) {
        Some((_, read)) => read?,
        None => pools.tenant_and_row(&verified, &statement, &params).await?,
    };
    pools.hints().put(reference, &tenant);
    Ok((tenant, conn, row))
}

/// The statement for the row of a key, by its hash or that of its predecessor while both are valid.
fn key_of(table: &str, grants: &str) -> String {
    format!(
        "SELECT id, name, roles, scopes, revoked_at IS NOT NULL, expires_at <= now(), \
         coalesce(last_used_at < now() - interval '1 minute', true), {grants} \
         FROM {table} WHERE hash = $1 OR (previous_hash = $1 AND previous_expires_at > now())"
    )
}

/// Notes the use of a key, once a minute.
async fn note_use(
    client: &impl Queries,
    table: &str,
    row: &Row,
) -> Result<(), tokio_postgres::Error> {
    if row.get(6) {
        let id: String = row.get(0);
        let used = format!("UPDATE {table} SET last_used_at = now() WHERE id = $1");
        sql::run(client, &used, &[text(&id)]).await?;
    }
    Ok(())
}

fn caller(row: &Row, owner: Owner) -> Result<Caller, Refusal> {
    if row.get(4) {
        return Err(Refusal::new(Code::CredentialRevoked, "this key was revoked; use another"));
    }
    if row.get(5) {
        return Err(Refusal::new(
            Code::CredentialExpired,
            "this key has expired; rotate it or use another",
        ));
    }
    Ok(Caller {
        kind: CallerKind::ApiKey,
        id: row.get(0),
        name: row.get(1),
        owner,
        roles: row.get(2),
        scopes: row.get(3),
        grants: row.get(7),
        on_behalf_of: None,
        signed_in: None,
    })
}
