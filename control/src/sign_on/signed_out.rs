//! Whom identity providers have signed out (OpenID Connect Back-Channel Logout 1.0): sessions and tokens from before are
//! refused from the next call on, in every tenant.
//!
//! The platform's database keeps one row for a person or a session of a provider: a keyed digest, from which nobody learns
//! who it is, and when. A logout token that names a person ends all that it has, with or without a session.

use super::Reason;
use super::provider::Provider;
use super::token::{Purpose, Rules, Unverified};
use crate::audit::{Event, Origin, append};
use crate::code::Refusal;
use crate::pools::Conn;
use crate::random::{id, now_ms};
use crate::secret::MasterKey;
use crate::service::Service;
use crate::sql::{self, Queries, bigint, text, texts};
use hkdf::hmac::{Hmac, KeyInit, Mac};
use serde_json::Value as Json;
use sha2::Sha256;

/// A person of an issuer's, one of its sessions, or both.
pub(super) struct Who<'w> {
    pub(super) issuer: &'w str,
    pub(super) subject: Option<&'w str>,
    pub(super) session: Option<&'w str>,
}

impl Who<'_> {
    /// What is kept of the person or the session.
    fn target(&self, master: &MasterKey, kind: &str, name: &str) -> String {
        let key = master.derive("signed-out", "1");
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&key).expect("any length is a key");
        for part in [kind, self.issuer, name] {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part.as_bytes());
        }
        mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn named(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let subject = self.subject.map(|name| ("subject", name));
        subject.into_iter().chain(self.session.map(|name| ("session", name)))
    }
}

/// Whether somebody was signed out at or after a time.
///
/// # Errors
/// Those of the database.
pub(super) async fn is_since(
    service: &Service,
    platform: &Conn,
    who: &Who<'_>,
    since_ms: i64,
) -> Result<bool, Refusal> {
    let masters = service.pools.masters();
    let targets: Vec<String> = masters
        .flat_map(|master| who.named().map(|(kind, name)| who.target(master, kind, name)))
        .collect();
    let statement = "SELECT FROM revocations WHERE kind IN ('subject', 'session') AND target = ANY ($1) \
        AND created_at >= to_timestamp($2::bigint / 1000.0)";
    Ok(!platform.rows(statement, &[texts(&targets), bigint(&since_ms)]).await?.is_empty())
}

/// Holds a logout token against its rules and signs out whom it names.
///
/// # Errors
/// Why it is refused, or those of the database.
pub(super) async fn by_token(
    service: &Service,
    token: &str,
    origin: &Origin,
) -> Result<(), Refusal> {
    let unverified = Unverified::read(token, Purpose::SignOut)?;
    let platform = service.pools.platform().await?;
    let provider =
        Provider::of_issuer(&platform, unverified.issuer()).await?.ok_or(Reason::Issuer)?;
    drop(platform);
    let client: Vec<String> = provider.client_id.iter().cloned().collect();
    let rules =
        Rules { audience: &client, algorithms: &provider.algorithms, purpose: Purpose::SignOut };
    let claims = super::verified(service, &provider, &rules, &unverified).await?;
    let named = |name: &str| claims.get(name).and_then(Json::as_str);
    let token_id = named("jti").ok_or(Reason::Claims)?;
    let who = Who { issuer: &provider.issuer, subject: named("sub"), session: named("sid") };
    let mut platform = service.pools.platform().await?;
    let tx = platform.begin().await?;
    // The same token again changes nothing: whoever kept it cannot sign anybody out anew.
    let statement = "INSERT INTO revocations (id, kind, target, reason) VALUES ($1, $2, $3, $4) \
        ON CONFLICT (kind, target) WHERE kind IN ('subject', 'session') \
        DO UPDATE SET created_at = now(), reason = $4 WHERE revocations.reason <> $4 RETURNING id";
    for (kind, name) in who.named() {
        let master = service.pools.master();
        let (target, reason) =
            (who.target(master, kind, name), who.target(master, "token", token_id));
        let revocation = id("rev", now_ms());
        let params = [text(&revocation), text(&kind), text(&target), text(&reason)];
        if let Some(row) = sql::first(&tx, statement, &params).await? {
            let event = Event {
                action: "revocation.created",
                tenant_id: None,
                resource: ("revocation", row.get(0)),
                before: None,
                after: None,
            };
            append(&tx, origin, &event).await?;
        }
    }
    tx.commit().await?;
    service.noted.note(None);
    Ok(())
}
