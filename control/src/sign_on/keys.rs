//! The public keys of issuers (RFC 7517), fetched when they are needed, never so often that a flood of tokens reaches
//! the issuer.
//!
//! Each issuer has a `KeySet`: a state machine that is told the time. Whoever needs a key asks its `plan`; of all who are
//! told to fetch one does, the others wait for it. A key that the issuer took away is used for at most `FRESH_MS` more; while
//! the issuer does not answer, those that are there serve for `STALE_MS`.

use super::discovery::Issuer;
use super::http::get;
use super::provider::Provider;
use super::token::Unverified;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value as Json;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Between two fetches: with the discovery at most six in a minute.
const FETCH_INTERVAL_MS: u64 = 13_000;
/// Keys are looked at again after so long.
const FRESH_MS: u64 = 600_000;
/// The longest that keys serve while their issuer does not answer.
const STALE_MS: u64 = 86_400_000;
/// What an issuer says of itself is looked at again after so long.
const DISCOVERY_MS: u64 = 3_600_000;
const KEYS_MAX: usize = 100;
/// NIST SP 800-131A: shorter RSA keys are broken.
const RSA_BITS_MIN: usize = 2_048;
const ISSUERS_MAX: usize = 1_000;

/// One key of an issuer.
#[derive(Debug, Clone)]
pub struct IssuerKey {
    id: Option<String>,
    /// What it may verify.
    algorithms: Vec<Algorithm>,
    pub(super) decoding: DecodingKey,
}

impl IssuerKey {
    /// A key that can verify signatures; `None` for any other.
    pub fn read(json: &Json) -> Option<IssuerKey> {
        let jwk: Jwk = serde_json::from_value(json.clone()).ok()?;
        let is_for_signatures = jwk
            .common
            .public_key_use
            .as_ref()
            .is_none_or(|wanted| *wanted == PublicKeyUse::Signature);
        let operations = json.get("key_ops").and_then(Json::as_array);
        let can_verify = operations.is_none_or(|all| all.iter().any(|one| one == "verify"));
        if !is_for_signatures || !can_verify {
            return None;
        }
        let mut algorithms = match &jwk.algorithm {
            AlgorithmParameters::RSA(key) if bits(&key.n)? >= RSA_BITS_MIN => vec![
                Algorithm::RS256,
                Algorithm::RS384,
                Algorithm::RS512,
                Algorithm::PS256,
                Algorithm::PS384,
                Algorithm::PS512,
            ],
            AlgorithmParameters::EllipticCurve(key) => match key.curve {
                EllipticCurve::P256 => vec![Algorithm::ES256],
                EllipticCurve::P384 => vec![Algorithm::ES384],
                _ => return None,
            },
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
                vec![Algorithm::EdDSA]
            }
            _ => return None,
        };
        if let Some(named) = json.get("alg").and_then(Json::as_str) {
            algorithms.retain(|known| format!("{known:?}") == named);
        }
        let decoding = DecodingKey::from_jwk(&jwk).ok()?;
        (!algorithms.is_empty()).then(|| IssuerKey { id: jwk.common.key_id, algorithms, decoding })
    }

    pub(super) fn is_for(&self, algorithm: Algorithm) -> bool {
        self.algorithms.contains(&algorithm)
    }
}

fn bits(modulus: &str) -> Option<usize> {
    let bytes = URL_SAFE_NO_PAD.decode(modulus).ok()?;
    let significant = bytes.iter().skip_while(|byte| **byte == 0).count();
    Some(significant * 8)
}

/// What is to be done for a key.
#[derive(Debug)]
pub enum Plan {
    Use(IssuerKey),
    /// It may have changed; the key that serves if nothing is fetched.
    Fetch(Option<IssuerKey>),
    Refuse,
}

/// The keys of one issuer, and when they were asked for.
#[derive(Debug, Default)]
pub struct KeySet {
    keys: Vec<IssuerKey>,
    fetched_at_ms: Option<u64>,
    tried_at_ms: Option<u64>,
}

impl KeySet {
    /// What to do for the key with an id, or for the only key.
    pub fn plan(&self, id: Option<&str>, now_ms: u64) -> Plan {
        let age = |at: Option<u64>| at.map(|at| now_ms.saturating_sub(at));
        let serves = age(self.fetched_at_ms).is_some_and(|age| age < STALE_MS);
        let found = match (id, self.keys.as_slice()) {
            _ if !serves => None,
            (Some(id), keys) => keys.iter().find(|key| key.id.as_deref() == Some(id)),
            (None, [only]) => Some(only),
            (None, _) => None,
        };
        let is_fresh = age(self.fetched_at_ms).is_some_and(|age| age < FRESH_MS);
        let is_due = age(self.tried_at_ms).is_none_or(|age| age >= FETCH_INTERVAL_MS);
        match found.cloned() {
            Some(key) if is_fresh || !is_due => Plan::Use(key),
            found if is_due => Plan::Fetch(found),
            _ => Plan::Refuse,
        }
    }

    /// What a fetch brought: nothing if the issuer did not answer with keys.
    pub fn fetched(&mut self, keys: Option<Vec<IssuerKey>>, now_ms: u64) {
        self.tried_at_ms = Some(now_ms);
        if let Some(keys) = keys {
            self.keys = keys;
            self.fetched_at_ms = Some(now_ms);
        }
    }
}

/// One issuer's keys, and the turn of whoever fetches them; what it says of itself, and when it was asked.
#[derive(Debug, Default)]
struct Shared {
    set: Mutex<KeySet>,
    turn: tokio::sync::Mutex<()>,
    issuer: tokio::sync::Mutex<Option<(Result<Issuer, String>, u64)>>,
}

/// The keys of all issuers.
#[derive(Debug, Default)]
pub struct IssuerKeys(Mutex<HashMap<String, Arc<Shared>>>);

impl IssuerKeys {
    /// The key that a token names, fetched if it must be.
    pub(super) async fn find(
        &self,
        provider: &Provider,
        token: &Unverified<'_>,
        now_ms: fn() -> u64,
    ) -> Option<IssuerKey> {
        let shared = self.of(&provider.issuer);
        let plan = || lock(&shared.set).plan(token.key_id.as_deref(), now_ms());
        if let Plan::Use(key) = plan() {
            return Some(key);
        }
        let _turn = shared.turn.lock().await;
        // Whoever had the turn before may have brought it.
        match plan() {
            Plan::Use(key) => return Some(key),
            Plan::Refuse => return None,
            Plan::Fetch(_) => {}
        }
        let fetched = match &provider.jwks_uri {
            Some(_) => fetch(provider, None).await,
            None => match self.issuer(&provider.issuer, now_ms()).await {
                Ok(issuer) => fetch(provider, issuer.jwks_uri).await,
                Err(cause) => Err(cause),
            },
        };
        let mut set = lock(&shared.set);
        match fetched {
            Ok(keys) => set.fetched(Some(keys), now_ms()),
            Err(cause) => {
                tracing::warn!(
                    issuer = provider.issuer,
                    cause,
                    "the keys of an identity provider could not be fetched"
                );
                set.fetched(None, now_ms());
            }
        }
        match set.plan(token.key_id.as_deref(), now_ms()) {
            Plan::Use(key) | Plan::Fetch(Some(key)) => Some(key),
            _ => None,
        }
    }

    /// What an issuer says of itself: asked once an hour, after a failure not at once again.
    ///
    /// # Errors
    /// A sentence.
    pub(super) async fn issuer(&self, issuer: &str, now_ms: u64) -> Result<Issuer, String> {
        let shared = self.of(issuer);
        let mut known = shared.issuer.lock().await;
        if let Some((answer, at)) = &*known {
            let life = if answer.is_ok() { DISCOVERY_MS } else { FETCH_INTERVAL_MS };
            if now_ms.saturating_sub(*at) < life {
                return answer.clone();
            }
        }
        let answer = Issuer::discovered(issuer).await;
        *known = Some((answer.clone(), now_ms));
        answer
    }

    fn of(&self, issuer: &str) -> Arc<Shared> {
        let mut all = lock(&self.0);
        if all.len() >= ISSUERS_MAX && !all.contains_key(issuer) {
            all.clear();
        }
        Arc::clone(all.entry(issuer.to_owned()).or_default())
    }
}

fn lock<T>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn fetch(provider: &Provider, place: Option<String>) -> Result<Vec<IssuerKey>, String> {
    let place = provider.jwks_uri.clone().or(place);
    let place = place.ok_or("its discovery document names no `jwks_uri` that is an https URL")?;
    let document = get(&place).await?;
    let keys = document["keys"].as_array().ok_or("no `keys` in the key set")?;
    Ok(keys.iter().take(KEYS_MAX).filter_map(IssuerKey::read).collect())
}
