//! An identity provider as it is configured: whose tokens, for which audience, and how their claims are read.

use crate::code::Refusal;
use crate::sql::{self, Queries, text};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::net::IpAddr;
use tokio_postgres::Row;

/// Algorithms of JWS (RFC 7518, 3.1 and RFC 8037) that a provider may be allowed: public keys alone.
pub(crate) const ALGORITHMS: [&str; 9] =
    ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];

/// How an identity provider says for which organisation a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// A claim that is named, or none: then all of its people belong to one tenant.
    Oidc,
    /// `organization_id` of a token for an organisation; `organizations` of others.
    Logto,
    /// `organization`: an alias, a list of them, or an object by them.
    Keycloak,
}

/// What stands under `settings`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    #[serde(default = "oidc")]
    pub(crate) kind: Kind,
    /// A token must be for one of them.
    pub(crate) audience: Vec<String>,
    #[serde(default = "default_algorithms")]
    pub(crate) algorithms: Vec<String>,
    /// Left out: what its discovery document says.
    #[serde(default)]
    pub(crate) jwks_uri: Option<String>,
    #[serde(default)]
    pub(crate) organisation_claim: Option<String>,
    #[serde(default)]
    pub(crate) roles_claim: Option<String>,
    /// A role of the provider's and the role that it is here; others give nothing.
    #[serde(default)]
    pub(crate) role_mapping: BTreeMap<String, String>,
    /// This API as a client of the provider's: people sign in with a browser.
    #[serde(default)]
    pub(crate) client_id: Option<String>,
    /// Whoever comes with a good token becomes a user.
    #[serde(default = "yes")]
    pub(crate) just_in_time: bool,
}

fn oidc() -> Kind {
    Kind::Oidc
}

fn yes() -> bool {
    true
}

fn default_algorithms() -> Vec<String> {
    ["RS256", "PS256", "ES256", "ES384", "EdDSA"].map(str::to_owned).to_vec()
}

/// One that is asked for a token.
#[derive(Debug)]
pub(crate) struct Provider {
    pub(crate) id: String,
    pub(crate) issuer: String,
    pub(crate) settings: Settings,
    /// What the platform asks of every sign-in, as `sign_on.required_acr`.
    pub(crate) required_acr: Option<String>,
}

impl std::ops::Deref for Provider {
    type Target = Settings;

    fn deref(&self) -> &Settings {
        &self.settings
    }
}

const KNOWN: &str = "SELECT p.id, p.issuer, p.settings, s.value FROM identity_providers p \
    LEFT JOIN settings s ON s.key = 'sign_on.required_acr'";

impl Provider {
    /// The one with this issuer, to the letter.
    ///
    /// # Errors
    /// Those of the database.
    pub(super) async fn of_issuer(
        platform: &impl Queries,
        issuer: &str,
    ) -> Result<Option<Provider>, Refusal> {
        let statement = format!("{KNOWN} WHERE p.issuer = $1");
        let row = sql::first(platform, &statement, &[text(&issuer)]).await?;
        row.as_ref().map(Provider::of).transpose()
    }

    /// Those that this API is a client of; with an id, that one alone.
    ///
    /// # Errors
    /// Those of the database.
    pub(super) async fn with_client(
        platform: &impl Queries,
        id: Option<&str>,
    ) -> Result<Vec<Provider>, Refusal> {
        let statement = format!(
            "{KNOWN} WHERE p.settings ->> 'client_id' IS NOT NULL AND ($1 IS NULL OR p.id = $1) ORDER BY p.id LIMIT 2"
        );
        let rows = platform.rows(&statement, &[text(&id)]).await?;
        rows.iter().map(Provider::of).collect()
    }

    fn of(row: &Row) -> Result<Provider, Refusal> {
        let settings = serde_json::from_value(row.get(2)).map_err(Refusal::internal)?;
        let acr: Option<Json> = row.get(3);
        let required_acr = acr.and_then(|acr| acr.as_str().map(str::to_owned));
        Ok(Provider { id: row.get(0), issuer: row.get(1), settings, required_acr })
    }
}

/// An https URL, or http to this very machine: keys that come another way are anybody's.
pub(crate) fn is_reachable(url: &str) -> bool {
    let Ok(url) = url.parse::<http::Uri>() else { return false };
    let Some(host) = url.host().filter(|host| !host.is_empty()) else { return false };
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    let is_here = host == "localhost" || address.as_ref().is_ok_and(IpAddr::is_loopback);
    // Where clouds keep their machines' credentials (RFC 3927).
    let is_link_local = matches!(address, Ok(IpAddr::V4(address)) if address.is_link_local());
    let is_plain = url.authority().is_none_or(|authority| !authority.as_str().contains('@'));
    is_plain
        && !is_link_local
        && (url.scheme_str() == Some("https") || (url.scheme_str() == Some("http") && is_here))
}
