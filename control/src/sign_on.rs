//! Sign-on: who a token of an identity provider is, in which tenant, with which roles.
//!
//! A token is a JWT (RFC 7519) that an identity provider signed for this API. `token` holds it against its issuer's
//! keys (`keys`), `claims` reads from it who it is and for which organisation, `people` finds or makes the user in the
//! database of the tenant that the organisation is linked to, or finds it among the people of the platform. Nothing about a token outlives its call: providers, links,
//! users and roles are read anew, so that what is taken away is gone with the next call. Keys of issuers alone are kept.
//! A browser signs in by `browser` (code and PKCE) and has a `session` then; `signed_out` is whom a provider signed out.
//! To add a shape of claims: a variant of `provider::Kind`, its arm in `claims::organisations`, rows in its tests.

pub(crate) mod browser;
pub(crate) mod claims;
pub(crate) mod cookie;
mod discovery;
pub(crate) mod exchange;
mod http;
pub mod keys;
pub(crate) mod native;
pub(crate) mod people;
pub(crate) mod provider;
pub(crate) mod session;
mod signed_out;
pub mod token;

use crate::code::{Code, Refusal};
use crate::credential::Known;
use crate::placement::KnownTenant;
use crate::random::now_ms;
use crate::service::Service;
use claims::Identity;
use metrics::counter;
use provider::Provider;
use serde_json::{Map, Value as Json};
use signed_out::Who;
use token::{Purpose, Rules, Unverified};

/// `outcome` is ok or refused, `reason` one of `Reason`.
pub const SIGN_IN: &str = "sign_in_total";

macro_rules! reasons {
    ($($variant:ident $name:literal $code:ident $message:literal,)*) => {
        /// Why a token is refused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Reason { $($variant,)* }

        impl Reason {
            pub const ALL: &[Reason] = &[$(Reason::$variant,)*];

            pub fn name(self) -> &'static str {
                match self { $(Reason::$variant => $name,)* }
            }

            fn refusal(self) -> Refusal {
                match self { $(Reason::$variant => Refusal::new(Code::$code, $message),)* }
            }
        }
    };
}

reasons! {
    Malformed "malformed" Unauthenticated "expected a signed JWT (RFC 7519) as bearer token",
    Issuer "issuer" Unauthenticated "no identity provider is known that issued this token",
    Algorithm "algorithm" Unauthenticated "this token's algorithm is none that its identity provider may use here",
    Key "key" Unauthenticated "this token is signed by no key that its issuer publishes",
    Signature "signature" Unauthenticated "this token's signature is not its issuer's",
    Claims "claims" Unauthenticated "this token's claims are not as RFC 7519 and OpenID Connect say",
    Audience "audience" Unauthenticated "this token is for somebody else; ask your identity provider for one for this API",
    NotYetValid "not-yet-valid" Unauthenticated "this token is not valid yet; compare clocks",
    Expired "expired" CredentialExpired "this token has expired; sign in again",
    SignedOut "signed-out" CredentialRevoked "this user was signed out; sign in again",
    Disabled "disabled" CredentialRevoked "this user is disabled",
    StepUp "step-up" StepUpRequired "this needs a stronger authentication; sign in with one of `acr_values`",
    AmbiguousTenant "ambiguous-tenant" AmbiguousTenant "this token is for several organisations; ask for one for a single one",
    NoTenant "no-tenant" NoTenant "no tenant is linked to this token's organisation",
    NoUser "no-user" NoTenant "nobody of this name is known there; an administrator makes the user first",
    State "state" Unauthenticated "this sign-in was not begun in this browser, or longer ago than 10 minutes; begin again",
    Provider "provider" Unauthenticated "the identity provider did not sign you in; begin again",
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Refusal {
        counter!(SIGN_IN, "outcome" => "refused", "reason" => reason.name()).increment(1);
        reason.refusal()
    }
}

/// Registers every series.
pub fn register() {
    metrics::describe_counter!(SIGN_IN, "Tokens of identity providers, by outcome and reason.");
    counter!(SIGN_IN, "outcome" => "ok", "reason" => "ok").absolute(0);
    for reason in Reason::ALL {
        counter!(SIGN_IN, "outcome" => "refused", "reason" => reason.name()).absolute(0);
    }
}

/// Who presents a token.
///
/// # Errors
/// `unauthenticated`, `credential-expired`, `credential-revoked`, `step-up-required`, `ambiguous-tenant`, `no-tenant`, and
/// those of the database.
pub(crate) async fn look_up(service: &Service, text: &str) -> Result<Known, Refusal> {
    let unverified = Unverified::read(text, Purpose::SignIn)?;
    let platform = service.pools.platform().await?;
    let provider = Provider::of_issuer(&platform, unverified.issuer()).await?;
    let provider = provider.ok_or(Reason::Issuer)?;
    drop(platform);
    let (audience, algorithms) = (&provider.audience, &provider.algorithms);
    let rules = Rules { audience, algorithms, purpose: Purpose::SignIn };
    let claims = verified(service, &provider, &rules, &unverified).await?;
    let identity = Identity::read(&provider, claims, None)?;
    signed_in(service, &provider, &identity).await
}

/// The claims of a token that its issuer signed.
async fn verified<'u>(
    service: &Service,
    provider: &Provider,
    rules: &Rules<'_>,
    unverified: &'u Unverified<'_>,
) -> Result<&'u Map<String, Json>, Refusal> {
    rules.check_algorithm(unverified)?;
    let key = service.issuer_keys.find(provider, unverified, now_ms).await.ok_or(Reason::Key)?;
    Ok(rules.verify(unverified, &key, now_ms())?)
}

/// The user behind an identity, in the tenant that its organisation is linked to, or of the platform.
async fn signed_in(
    service: &Service,
    provider: &Provider,
    identity: &Identity,
) -> Result<Known, Refusal> {
    let platform = service.pools.platform().await?;
    let (issuer, organisation) = (provider.issuer.as_str(), identity.organisation.as_str());
    let tenant = KnownTenant::by_organisation(&platform, issuer, organisation).await?;
    let tenant = tenant.ok_or(Reason::NoTenant)?;
    let subject = Some(identity.subject.as_str());
    let who = Who { issuer, subject, session: identity.sid.as_deref() };
    // A token that does not say when it was issued is older than any signing out.
    let issued_at_ms = identity.issued_at.unwrap_or(0).saturating_mul(1_000);
    if signed_out::is_since(service, &platform, &who, issued_at_ms).await? {
        return Err(Reason::SignedOut.into());
    }
    drop(platform);
    let known = people::known(service, provider, identity, tenant).await?;
    counter!(SIGN_IN, "outcome" => "ok", "reason" => "ok").increment(1);
    Ok(known)
}
