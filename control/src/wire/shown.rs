//! Answers as HTTP: status, headers, body.

use crate::call::Reply;
use crate::code::{Code, Refusal};
use crate::ops;
use crate::wire::read::header_text;
use crate::write::Stop;
use axum::body::Body;
use axum::response::Response;
use http::header::{self, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, StatusCode};
use metrics::counter;
use serde_json::Value as Json;

/// The response, and the code of a refusal.
pub(super) fn of(
    answered: Result<Reply, Stop>,
    parts: &Parts,
    request_id: &str,
) -> (Response, Option<&'static str>) {
    match answered {
        Ok(reply) => (shown(reply, parts), None),
        Err(Stop::Replayed(reply)) => {
            let mut response = shown(*reply, parts);
            let replayed = HeaderName::from_static("idempotent-replayed");
            response.headers_mut().insert(replayed, HeaderValue::from_static("true"));
            (response, None)
        }
        Err(Stop::Refused(refusal)) => (refused(&refusal, request_id), Some(refusal.code.name())),
    }
}

fn shown(reply: Reply, parts: &Parts) -> Response {
    let is_same = reply.etag.is_some()
        && parts.method == Method::GET
        && header_text(&parts.headers, &header::IF_NONE_MATCH) == reply.etag;
    let (status, body) = match is_same {
        true => (StatusCode::NOT_MODIFIED, None),
        false => (reply.status, reply.body),
    };
    let mut response = json_response(status, body.as_ref());
    if let Some((kind, body)) = reply.raw {
        *response.body_mut() = body;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    for (name, value) in [(header::ETAG, &reply.etag), (header::LOCATION, &reply.location)] {
        if let Some(value) = value.as_ref().and_then(|value| HeaderValue::from_str(value).ok()) {
            response.headers_mut().insert(name, value);
        }
    }
    for cookie in reply.cookies.iter().filter_map(|cookie| HeaderValue::from_str(cookie).ok()) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    if !reply.cookies.is_empty() || reply.secret_member.is_some() {
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

fn refused(refusal: &Refusal, request_id: &str) -> Response {
    if let Some(cause) = &refusal.cause {
        tracing::error!(request_id, code = refusal.code.name(), cause, "a call failed");
    }
    counter!(ops::REFUSALS, "code" => refusal.code.name()).increment(1);
    let mut response = json_response(refusal.code.status(), Some(&refusal.body()));
    let headers = response.headers_mut();
    match refusal.code {
        Code::Overloaded | Code::DatabaseUnavailable => {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        Code::RateLimited => {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("60"));
        }
        Code::Unauthenticated | Code::CredentialExpired | Code::CredentialRevoked => {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        // RFC 9470, 3.
        Code::StepUpRequired => {
            let wanted = refusal.details["acr_values"].as_str().unwrap_or_default();
            let wanted = wanted.replace(['"', '\\'], "");
            let value = format!(
                "Bearer error=\"insufficient_user_authentication\", error_description=\"a stronger authentication is needed\", acr_values=\"{wanted}\""
            );
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(header::WWW_AUTHENTICATE, value);
            }
        }
        Code::MethodNotAllowed => {
            let allowed = refusal.details["allowed"].as_array().into_iter().flatten();
            let allowed: Vec<&str> = allowed.filter_map(Json::as_str).collect();
            if let Ok(value) = HeaderValue::from_str(&allowed.join(", ")) {
                headers.insert(header::ALLOW, value);
            }
        }
        _ => {}
    }
    response
}

fn json_response(status: StatusCode, body: Option<&Json>) -> Response {
    let mut response =
        Response::new(body.map_or_else(Body::empty, |body| Body::from(body.to_string())));
    *response.status_mut() = status;
    if body.is_some() {
        let kind = HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    response
}
