//! What needs no credential: whether it runs, and how people sign in and out.

use super::{Asked, read, unless_too_many};
use crate::audit::{Actor, Origin};
use crate::call::Reply;
use crate::code::{Code, Refusal};
use crate::service::Service;
use crate::sign_on::{browser, native};
use axum::body::{Body, to_bytes};
use http::{Method, StatusCode, header};
use serde_json::json;
use std::collections::BTreeMap;

/// A logout token in a form.
const FORM_BYTES_MAX: usize = 65_536;

/// Where people sign in and out.
pub(super) const SIGN_ON: &str = "/v1/auth/";

/// The answer of a door.
pub(super) async fn answer(service: &Service, asked: &Asked, body: Body) -> Result<Reply, Refusal> {
    match asked.path.as_str() {
        "/healthz" => Ok(Reply::ok(json!({"status": "ok"}))),
        "/readyz" => {
            service.pools.platform().await?;
            Ok(Reply::ok(json!({"status": "ready"})))
        }
        path => {
            let door = path.strip_prefix(SIGN_ON).unwrap_or_default();
            let answered = sign_on(service, asked, door, body).await;
            answered.map_err(|refusal| unless_too_many(service, asked, refusal))
        }
    }
}

async fn sign_on(
    service: &Service,
    asked: &Asked,
    door: &str,
    body: Body,
) -> Result<Reply, Refusal> {
    let method = match door {
        "login" | "callback" => Method::GET,
        "logout" | "backchannel-logout" | "token" => Method::POST,
        _ => {
            return Err(Refusal::new(
                Code::RouteNotFound,
                format!("nothing is served at {}", asked.path),
            ));
        }
    };
    if asked.parts.method != method {
        let refusal = Refusal::new(Code::MethodNotAllowed, format!("expected {method}"));
        return Err(refusal.with(json!({"allowed": [method.as_str()]})));
    }
    if service.floods.is_over(asked.address) {
        return Err(Refusal::new(
            Code::RateLimited,
            "too many refused sign-ins from this address; wait a minute",
        ));
    }
    let query = asked.query.as_ref().map_err(Clone::clone)?;
    let (headers, origin) = (&asked.parts.headers, origin(asked, door));
    match door {
        "login" => browser::login(service, query).await,
        "callback" => browser::callback(service, headers, query, &origin).await,
        "logout" => {
            check_origin(service, asked)?;
            browser::logout(service, headers, &origin).await
        }
        "token" => native::token(service, &form(asked, body).await?),
        _ => {
            let form = form(asked, body).await?;
            let answered = browser::backchannel_logout(service, &form, &origin).await;
            answered.map_err(|refusal| believed(unless_too_many(service, asked, refusal)))
        }
    }
}

/// A token that is refused is no sign-in that failed: 400 (OpenID Connect Back-Channel Logout 1.0, 2.8).
fn believed(refusal: Refusal) -> Refusal {
    match refusal.code.status() {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            Refusal::new(Code::Malformed, refusal.message)
        }
        _ => refusal,
    }
}

fn origin(asked: &Asked, door: &str) -> Origin {
    Origin {
        actor: Actor::system(door),
        request_id: asked.request_id.as_ref().ok().cloned(),
        trace_id: asked.trace_id.clone(),
        source_address: Some(asked.address.to_string()),
    }
}

async fn form(asked: &Asked, body: Body) -> Result<BTreeMap<String, String>, Refusal> {
    let expected = "application/x-www-form-urlencoded";
    let kind = read::header_text(&asked.parts.headers, &header::CONTENT_TYPE).unwrap_or_default();
    if !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(expected) {
        return Err(Refusal::new(
            Code::UnsupportedMediaType,
            format!("expected Content-Type: {expected}"),
        ));
    }
    let too_large = |_| {
        Refusal::new(Code::TooLarge, format!("expected a body of at most {FORM_BYTES_MAX} bytes"))
    };
    let bytes = to_bytes(body, FORM_BYTES_MAX).await.map_err(too_large)?;
    let text = std::str::from_utf8(&bytes);
    read::query(text.map_err(|_| Refusal::new(Code::Malformed, "the form is no UTF-8"))?)
}

/// A change that a browser's session stands for must have begun at a page of this host: no other site has a say.
pub(super) fn check_origin(service: &Service, asked: &Asked) -> Result<(), Refusal> {
    let expected = service.origin();
    let mut named = asked.parts.headers.get_all(header::ORIGIN).iter();
    match (named.next(), named.next()) {
        (Some(origin), None) if origin.as_bytes() == expected.as_bytes() => Ok(()),
        _ => {
            let message = format!("a change with a session needs `Origin: {expected}`");
            Err(Refusal::new(Code::Forbidden, message).with(json!({"origin": expected})))
        }
    }
}
