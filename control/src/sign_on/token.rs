//! A token held against its rules: shape, algorithm, signature, issuer, audience, times (RFC 7515, 7519, 8725, 9068).

use super::Reason;
use super::keys::IssuerKey;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use jsonwebtoken::crypto;
use serde_json::{Map, Value as Json};

/// A token with all its claims; more than headers of common servers hold.
pub const TOKEN_BYTES_MAX: usize = 16_384;
pub const KEY_ID_BYTES_MAX: usize = 128;
/// An identifier of OpenID Connect Core 1.0, 2.
const SUBJECT_BYTES_MAX: usize = 255;
/// Clocks may differ by so much.
const LEEWAY_SECONDS: i64 = 60;
/// Header parameters that change what is signed, or that only other kinds of token have.
const REFUSED_PARAMETERS: [&str; 4] = ["crit", "b64", "enc", "zip"];
/// What a logout token says that it is (OpenID Connect Back-Channel Logout 1.0, 2.4).
const LOGOUT_EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// What a token is for; a token for one is none for the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To say who somebody is.
    SignIn,
    /// To say whose sessions have ended.
    SignOut,
}

impl Purpose {
    /// What its tokens may say that they are.
    fn types(self) -> &'static [&'static str] {
        match self {
            Purpose::SignIn => &["jwt", "at+jwt", "application/at+jwt"],
            Purpose::SignOut => &["jwt", "logout+jwt", "application/logout+jwt"],
        }
    }
}

impl Purpose {
    /// Whether claims are those of such a token: a logout token is nobody's credential, and nothing else signs out.
    fn is_of(self, claims: &Map<String, Json>) -> bool {
        let is_name = |name: &Json| {
            let name = name.as_str().unwrap_or_default();
            (1..=SUBJECT_BYTES_MAX).contains(&name.len()) && !name.contains('\0')
        };
        let (subject, session) = (claims.get("sub"), claims.get("sid"));
        match self {
            Purpose::SignIn => subject.is_some_and(is_name) && !claims.contains_key("events"),
            Purpose::SignOut => {
                let events = claims.get("events").and_then(Json::as_object);
                let event = events.and_then(|events| events.get(LOGOUT_EVENT));
                event.is_some_and(Json::is_object)
                    && !claims.contains_key("nonce")
                    && claims.contains_key("iat")
                    && claims.get("jti").is_some_and(is_name)
                    && (subject.is_some() || session.is_some())
                    && [subject, session].into_iter().flatten().all(is_name)
            }
        }
    }
}

/// A token as it came; nothing in it is to be believed but for whose it claims to be.
#[derive(Debug)]
pub struct Unverified<'t> {
    /// What is signed.
    message: &'t str,
    signature: &'t str,
    algorithm: Algorithm,
    pub(super) key_id: Option<String>,
    claims: Map<String, Json>,
    issuer: String,
}

fn part(text: &str) -> Option<Map<String, Json>> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    match serde_json::from_slice(&bytes).ok()? {
        Json::Object(members) => Some(members),
        _ => None,
    }
}

impl<'t> Unverified<'t> {
    /// # Errors
    /// `Malformed`, `Algorithm`.
    pub fn read(text: &'t str, purpose: Purpose) -> Result<Unverified<'t>, Reason> {
        if text.len() > TOKEN_BYTES_MAX {
            return Err(Reason::Malformed);
        }
        let (message, signature) = text.rsplit_once('.').ok_or(Reason::Malformed)?;
        let (header, claims) = message.split_once('.').ok_or(Reason::Malformed)?;
        let is_signed = URL_SAFE_NO_PAD.decode(signature).is_ok_and(|bytes| !bytes.is_empty());
        if claims.contains('.') || !is_signed {
            return Err(Reason::Malformed);
        }
        let header = part(header).ok_or(Reason::Malformed)?;
        let claims = part(claims).ok_or(Reason::Malformed)?;
        if REFUSED_PARAMETERS.iter().any(|name| header.contains_key(*name)) {
            return Err(Reason::Malformed);
        }
        let is_type = |kind: &Json| {
            kind.as_str()
                .is_some_and(|kind| purpose.types().contains(&kind.to_ascii_lowercase().as_str()))
        };
        if !header.get("typ").is_none_or(is_type) {
            return Err(Reason::Malformed);
        }
        let algorithm = header.get("alg").and_then(Json::as_str).ok_or(Reason::Malformed)?;
        let algorithm = algorithm.parse().map_err(|_| Reason::Algorithm)?;
        let key_id = match header.get("kid") {
            None => None,
            Some(Json::String(id)) if (1..=KEY_ID_BYTES_MAX).contains(&id.len()) => {
                Some(id.clone())
            }
            Some(_) => return Err(Reason::Malformed),
        };
        let issuer = claims.get("iss").and_then(Json::as_str).ok_or(Reason::Claims)?.to_owned();
        Ok(Unverified { message, signature, algorithm, key_id, claims, issuer })
    }

    /// Whose it claims to be.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }
}

/// What a provider's tokens must be.
#[derive(Debug)]
pub struct Rules<'r> {
    pub audience: &'r [String],
    pub algorithms: &'r [String],
    pub purpose: Purpose,
}

impl Rules<'_> {
    /// # Errors
    /// `Algorithm`: one that the provider is not allowed, none and symmetric ones among them.
    pub fn check_algorithm(&self, token: &Unverified<'_>) -> Result<(), Reason> {
        let name = format!("{:?}", token.algorithm);
        match self.algorithms.contains(&name)
            && super::provider::ALGORITHMS.contains(&name.as_str())
        {
            true => Ok(()),
            false => Err(Reason::Algorithm),
        }
    }

    /// The claims of a token that is its issuer's, for us and valid at a time.
    ///
    /// # Errors
    /// The first that does not hold: `Algorithm`, `Signature`, `Claims`, `Audience`, `Expired`, `NotYetValid`.
    pub fn verify<'u>(
        &self,
        token: &'u Unverified<'_>,
        key: &IssuerKey,
        now_ms: u64,
    ) -> Result<&'u Map<String, Json>, Reason> {
        self.check_algorithm(token)?;
        // The key says what it is for; the token has no say in it.
        if !key.is_for(token.algorithm) {
            return Err(Reason::Algorithm);
        }
        let message = token.message.as_bytes();
        let verified = crypto::verify(token.signature, message, &key.decoding, token.algorithm);
        if !verified.unwrap_or(false) {
            return Err(Reason::Signature);
        }
        self.check_claims(&token.claims, i64::try_from(now_ms / 1_000).unwrap_or(i64::MAX))?;
        Ok(&token.claims)
    }

    fn check_claims(&self, claims: &Map<String, Json>, now: i64) -> Result<(), Reason> {
        if !self.purpose.is_of(claims) {
            return Err(Reason::Claims);
        }
        let is_ours = |name: &Json| name.as_str().is_some_and(|name| self.is_audience(name));
        let is_for_us = match claims.get("aud") {
            Some(name @ Json::String(_)) => is_ours(name),
            Some(Json::Array(names)) => {
                names.iter().all(Json::is_string) && names.iter().any(is_ours)
            }
            _ => return Err(Reason::Claims),
        };
        if !is_for_us {
            return Err(Reason::Audience);
        }
        let expires = time(claims, "exp")?.ok_or(Reason::Claims)?;
        if expires <= now.saturating_sub(LEEWAY_SECONDS) {
            return Err(Reason::Expired);
        }
        for name in ["nbf", "iat"] {
            if time(claims, name)?.is_some_and(|at| at > now.saturating_add(LEEWAY_SECONDS)) {
                return Err(Reason::NotYetValid);
            }
        }
        Ok(())
    }

    fn is_audience(&self, name: &str) -> bool {
        self.audience.iter().any(|known| known == name)
    }
}

/// A NumericDate in seconds, if it is there: a text is none.
///
/// # Errors
/// `Claims`: another type, or beyond what a time can be.
pub(super) fn time(claims: &Map<String, Json>, name: &str) -> Result<Option<i64>, Reason> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let number = value.as_number().ok_or(Reason::Claims)?;
    // RFC 7519, 2 allows a fraction; the second that it is in counts.
    let text = number.to_string();
    let whole = text.split('.').next().unwrap_or_default();
    let seconds = whole.parse::<i64>().ok().filter(|seconds| (0..1 << 40).contains(seconds));
    seconds.map(Some).ok_or(Reason::Claims)
}
