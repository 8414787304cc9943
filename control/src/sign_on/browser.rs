//! Browsers sign in at an identity provider and come back with a code (OpenID Connect Core 1.0, 3.1; PKCE, RFC 7636;
//! `iss`, RFC 9207), for which this API gets the token that says who it is.
//!
//! What a sign-in was begun with is kept by the browser, sealed: nothing here remembers sign-ins that nobody ends, and a
//! code that another browser began is refused.

use super::claims::Identity;
use super::native::{self, Program};
use super::provider::{Kind, Provider};
use super::token::{Purpose, Rules, Unverified};
use super::{Reason, cookie, exchange, session, signed_out};
use crate::api_keys::format::{self, Presented};
use crate::audit::Origin;
use crate::call::Reply;
use crate::code::Refusal;
use crate::random::{base62, now_ms};
use crate::sealed;
use crate::service::Service;
use ::http::{HeaderMap, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Whoever takes longer begins anew.
const SIGN_IN_SECONDS: u64 = 600;
/// RFC 7636, 4.1: 43 to 128.
const VERIFIER_CHARS: usize = 64;
const STATE_CHARS: usize = 32;
const RETURN_BYTES_MAX: usize = 2_000;
const PARAMETER_BYTES_MAX: usize = 255;
/// What a sign-in is sealed for.
const SIGN_IN_LABEL: &str = "sign-ins";
const CALLBACK: &str = "/v1/auth/callback";

type Query = BTreeMap<String, String>;

/// What a sign-in was begun with.
#[derive(Serialize, Deserialize)]
struct SignIn {
    provider: String,
    state: String,
    nonce: String,
    verifier: String,
    organisation: Option<String>,
    return_to: String,
    program: Option<Program>,
    expires_ms: u64,
}

/// `GET /v1/auth/login?provider=&organisation=&acr_values=&return_to=`: to the identity provider; with `port` and
/// `code_challenge` for a program of this machine.
///
/// # Errors
/// `invalid`; `unauthenticated` where the provider does not say where people sign in.
pub(crate) async fn login(service: &Service, query: &Query) -> Result<Reply, Refusal> {
    let known = ["provider", "organisation", "acr_values", "return_to", "port", "code_challenge"];
    if let Some(name) = query.keys().find(|name| !known.contains(&name.as_str())) {
        let expected = format!("one of {}", known.join(", "));
        return Err(Refusal::invalid(&format!("/{name}"), &expected, name.clone()));
    }
    for name in known.iter().take(3) {
        let is_right = |value: &String| {
            (1..=PARAMETER_BYTES_MAX).contains(&value.len()) && !value.chars().any(char::is_control)
        };
        if !query.get(*name).is_none_or(is_right) {
            return Err(Refusal::invalid(&format!("/{name}"), "1-255 bytes", "another text"));
        }
    }
    let provider = chosen(service, query.get("provider").map(String::as_str)).await?;
    let sign_in = SignIn {
        provider: provider.id.clone(),
        state: base62(STATE_CHARS),
        nonce: base62(STATE_CHARS),
        verifier: base62(VERIFIER_CHARS),
        organisation: query.get("organisation").cloned(),
        return_to: return_to(query.get("return_to"))?,
        program: native::of(query)?,
        expires_ms: now_ms() + SIGN_IN_SECONDS * 1_000,
    };
    let issuer = issuer(service, &provider).await?;
    let place = issuer.authorization_endpoint.ok_or(Reason::Provider)?;
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(sign_in.verifier.as_bytes()));
    let redirect = redirect_uri(service);
    let scope = scope(provider.kind, sign_in.organisation.as_deref());
    let mut parameters = vec![
        ("response_type", "code"),
        ("client_id", provider.client_id.as_deref().unwrap_or_default()),
        ("redirect_uri", &redirect),
        ("scope", &scope),
        ("state", &sign_in.state),
        ("nonce", &sign_in.nonce),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ];
    let required = query.get("acr_values").or(provider.required_acr.as_ref());
    parameters.extend(required.map(|values| ("acr_values", values.as_str())));
    let kept = sealed::seal(
        service.pools.master(),
        SIGN_IN_LABEL,
        "",
        json!(sign_in).to_string().as_bytes(),
    );
    let kept = URL_SAFE_NO_PAD.encode(kept);
    let mut reply = Reply::empty().status(StatusCode::FOUND);
    reply.location = Some(with_query(&place, &parameters));
    reply.cookies = vec![cookie::set(cookie::SIGN_IN, &kept, SIGN_IN_SECONDS)];
    Ok(reply)
}

/// The provider of an id, or the only one that people can sign in at.
async fn chosen(service: &Service, id: Option<&str>) -> Result<Provider, Refusal> {
    let platform = service.pools.platform().await?;
    let mut found = Provider::with_client(&platform, id).await?;
    match (found.pop(), found.is_empty()) {
        (Some(only), true) => Ok(only),
        (Some(_), false) => Err(Refusal::invalid(
            "/provider",
            "the id of one of several identity providers",
            "none",
        )),
        (None, _) => {
            let expected = "the id of an identity provider that has a `client_id`";
            Err(Refusal::invalid("/provider", expected, id.unwrap_or("none")))
        }
    }
}

pub(super) async fn issuer(
    service: &Service,
    provider: &Provider,
) -> Result<super::discovery::Issuer, Refusal> {
    let found = service.issuer_keys.issuer(&provider.issuer, now_ms()).await;
    found.map_err(|cause| no_provider(provider, &cause))
}

pub(super) fn no_provider(provider: &Provider, cause: &str) -> Refusal {
    tracing::warn!(issuer = provider.issuer, cause, "a sign-in failed at an identity provider");
    Reason::Provider.into()
}

/// A path of this host alone: no link sends people elsewhere.
fn return_to(wanted: Option<&String>) -> Result<String, Refusal> {
    let Some(path) = wanted else { return Ok("/v1/me".to_owned()) };
    let is_own = path.len() <= RETURN_BYTES_MAX
        && path.starts_with('/')
        && !path.starts_with("//")
        && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    match is_own {
        true => Ok(path.clone()),
        false => Err(Refusal::invalid(
            "/return_to",
            "a path of this host that begins with one slash",
            "another text",
        )),
    }
}

pub(super) fn redirect_uri(service: &Service) -> String {
    format!("{}{CALLBACK}", service.config.platform.public_url.trim_end_matches('/'))
}

/// What is to be told of a person: name, address, organisations.
fn scope(kind: Kind, organisation: Option<&str>) -> String {
    let more = match (kind, organisation) {
        (Kind::Oidc, _) => String::new(),
        (Kind::Logto, _) => {
            " urn:logto:scope:organizations urn:logto:scope:organization_roles".to_owned()
        }
        (Kind::Keycloak, Some(alias)) => format!(" organization:{alias}"),
        (Kind::Keycloak, None) => " organization".to_owned(),
    };
    format!("openid profile email{more}")
}

/// An address with parameters behind those that it has.
pub(super) fn with_query(place: &str, parameters: &[(&str, &str)]) -> String {
    let mut whole = place.to_owned();
    for (name, value) in parameters {
        whole.push(if whole.contains('?') { '&' } else { '?' });
        whole.push_str(name);
        whole.push('=');
        for byte in value.bytes() {
            match byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                true => whole.push(char::from(byte)),
                false => whole.push_str(&format!("%{byte:02X}")),
            }
        }
    }
    whole
}

/// `GET /v1/auth/callback?code=&state=`: back from the identity provider, with a session from then on.
///
/// # Errors
/// Those of a token, and `unauthenticated` where this browser began no such sign-in or the provider refuses.
pub(crate) async fn callback(
    service: &Service,
    headers: &HeaderMap,
    query: &Query,
    origin: &Origin,
) -> Result<Reply, Refusal> {
    let sign_in = begun(service, headers, query).ok_or(Reason::State)?;
    let provider = chosen(service, Some(&sign_in.provider)).await?;
    if query.get("iss").is_some_and(|issuer| *issuer != provider.issuer) {
        return Err(Reason::Issuer.into());
    }
    let code = query.get("code").filter(|code| !code.is_empty()).ok_or_else(|| {
        no_provider(
            &provider,
            query.get("error").map_or("neither `code` nor `error`", String::as_str),
        )
    })?;
    let token = exchange::token(service, &provider, code, &sign_in.verifier).await?;
    let unverified = Unverified::read(&token, Purpose::SignIn)?;
    if unverified.issuer() != provider.issuer {
        return Err(Reason::Issuer.into());
    }
    let client: Vec<String> = provider.client_id.iter().cloned().collect();
    let rules =
        Rules { audience: &client, algorithms: &provider.algorithms, purpose: Purpose::SignIn };
    let claims = super::verified(service, &provider, &rules, &unverified).await?;
    exchange::check(claims, &client, &sign_in.nonce)?;
    let identity = Identity::read(&provider, claims, sign_in.organisation.as_deref())?;
    let mut known = super::signed_in(service, &provider, &identity).await?;
    let origin = Origin {
        actor: crate::audit::Actor::new(known.caller.kind.name(), &known.caller.id),
        ..origin.clone()
    };
    let secret = session::begin(service, &mut known, &identity, &origin).await?;
    if let Some(program) = &sign_in.program {
        return Ok(native::back(service, program, &secret));
    }
    let life = u64::from(service.config.session.max_hours) * 3_600;
    let mut reply = Reply::empty().status(StatusCode::SEE_OTHER);
    reply.location = Some(service.link(&sign_in.return_to));
    reply.cookies = vec![
        cookie::set(cookie::SESSION, secret.expose(), life),
        cookie::set(cookie::SIGN_IN, "", 0),
    ];
    Ok(reply)
}

/// The sign-in that this browser began with this state.
fn begun(service: &Service, headers: &HeaderMap, query: &Query) -> Option<SignIn> {
    let kept = cookie::values(headers, cookie::SIGN_IN);
    let [kept] = kept.as_slice() else { return None };
    let kept = URL_SAFE_NO_PAD.decode(kept).ok()?;
    let opened = sealed::open(service.pools.masters(), SIGN_IN_LABEL, "", &kept)?;
    let sign_in: SignIn = serde_json::from_slice(&opened).ok()?;
    let is_this = query.get("state") == Some(&sign_in.state) && sign_in.expires_ms > now_ms();
    is_this.then_some(sign_in)
}

/// `POST /v1/auth/logout`: ends this browser's session; says where the provider's own is ended.
///
/// # Errors
/// Those of the database.
pub(crate) async fn logout(
    service: &Service,
    headers: &HeaderMap,
    origin: &Origin,
) -> Result<Reply, Refusal> {
    let mut place = None;
    for presented in cookie::values(headers, cookie::SESSION).into_iter().filter_map(session_of) {
        let issuer = session::end(service, &presented, origin.clone()).await?;
        place = end_session(service, issuer.as_deref()).await.or(place);
    }
    let mut reply = Reply::ok(json!({"end_session_url": place}));
    reply.cookies = vec![cookie::set(cookie::SESSION, "", 0)];
    Ok(reply)
}

/// A session as a cookie presents it.
pub(crate) fn session_of(text: &str) -> Option<Presented> {
    format::read(text).filter(|presented| matches!(presented.holder, format::Holder::Session(_)))
}

/// Where a provider ends its own session (OpenID Connect RP-Initiated Logout 1.0), if it says so.
async fn end_session(service: &Service, issuer: Option<&str>) -> Option<String> {
    let platform = service.pools.platform().await.ok()?;
    let provider = Provider::of_issuer(&platform, issuer?).await.ok()??;
    drop(platform);
    let issuer = service.issuer_keys.issuer(&provider.issuer, now_ms()).await.ok()?;
    let client = provider.client_id.as_deref()?;
    Some(with_query(&issuer.end_session_endpoint?, &[("client_id", client)]))
}

/// `POST /v1/auth/backchannel-logout`: a provider says that sessions have ended.
///
/// # Errors
/// `invalid` without a logout token, `malformed` for one that is not to be believed.
pub(crate) async fn backchannel_logout(
    service: &Service,
    form: &Query,
    origin: &Origin,
) -> Result<Reply, Refusal> {
    let token = form.get("logout_token");
    let token = token.ok_or_else(|| Refusal::invalid("/logout_token", "a logout token", "none"))?;
    signed_out::by_token(service, token, origin).await?;
    Ok(Reply::empty().status(StatusCode::OK))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_sent_back_to_this_host_alone() {
        for (path, is_own) in [
            ("/docs", true),
            ("/v1/me?a=b#c", true),
            ("/", true),
            ("", false),
            ("docs", false),
            ("//evil.example", false),
            ("/\\evil.example", false),
            ("https://evil.example", false),
            ("/a b", false),
            ("/a\r\nset-cookie: x=y", false),
        ] {
            assert_eq!(return_to(Some(&path.to_owned())).is_ok(), is_own, "{path:?}");
        }
    }

    #[test]
    fn parameters_are_escaped_behind_what_is_there() {
        let whole = with_query("https://id/auth?tenant=1", &[("scope", "a b&c"), ("x", "ä~")]);
        assert_eq!(whole, "https://id/auth?tenant=1&scope=a%20b%26c&x=%C3%A4~");
    }
}
