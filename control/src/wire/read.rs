//! What a request says: its id, path, query, body and the headers that are read.

use crate::code::{Code, Refusal};
use crate::random::{id, now_ms};
use crate::routes::Route;
use axum::body::{Body, to_bytes};
use bytes::Bytes;
use http::header::{self, HeaderName};
use http::request::Parts;
use http::{HeaderMap, Method};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::net::IpAddr;

pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REQUEST_ID_CHARS_MAX: usize = 128;
const IDEMPOTENCY_KEY_CHARS_MAX: usize = 128;

pub(super) fn new_request_id() -> String {
    id("req", now_ms())
}

/// The request's id, made where there is none.
pub(super) fn request_id(headers: &HeaderMap) -> Result<String, Refusal> {
    let Some(value) = headers.get(REQUEST_ID) else { return Ok(new_request_id()) };
    let text = value.to_str().unwrap_or("");
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    match (1..=REQUEST_ID_CHARS_MAX).contains(&text.len()) && text.bytes().all(is_known) {
        true => Ok(text.to_owned()),
        false => {
            let message = "X-Request-Id: expected 1-128 of A-Z a-z 0-9 . _ -";
            Err(Refusal::new(Code::InvalidRequestId, message))
        }
    }
}

/// Who calls: the peer, or what the nearest proxies that are trusted say of it. The rightmost address that is
/// no trusted proxy's counts: what stands left of it, the caller may have written.
pub(super) fn source_address(trusted: &[IpAddr], headers: &HeaderMap, peer: IpAddr) -> IpAddr {
    let named = headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
    let named: Vec<&str> = named.flat_map(|value| value.split(',')).collect();
    let mut address = peer;
    for name in named.iter().rev() {
        match name.trim().parse() {
            Ok(next) if trusted.contains(&address) => address = next,
            _ => break,
        }
    }
    address
}

/// The decoded segments of a path.
pub(super) fn segments(path: &str) -> Result<Vec<String>, Refusal> {
    let segments = path.split('/').skip(1).map(|segment| unescape(segment, false));
    segments
        .collect::<Option<_>>()
        .ok_or_else(|| Refusal::new(Code::Malformed, "the path cannot be decoded"))
}

pub(super) fn query(query: &str) -> Result<BTreeMap<String, String>, Refusal> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        Some((unescape(name, true)?, unescape(value, true)?))
    });
    let malformed = || Refusal::new(Code::Malformed, "the query cannot be decoded");
    pairs.collect::<Option<_>>().ok_or_else(malformed)
}

/// Percent escapes as text; `None` if they are none or no UTF-8.
fn unescape(text: &str, plus_is_blank: bool) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                u8::try_from(digit(rest.next())? * 16 + digit(rest.next())?).ok()?
            }
            b'+' if plus_is_blank => b' ',
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

pub(super) async fn body(
    most: usize,
    parts: &Parts,
    body: Body,
    route: &Route,
) -> Result<Option<Json>, Refusal> {
    let too_large =
        || Refusal::new(Code::TooLarge, format!("expected a body of at most {most} bytes"));
    let length = header_text(&parts.headers, &header::CONTENT_LENGTH);
    if length.and_then(|length| length.parse::<usize>().ok()).is_some_and(|length| length > most) {
        return Err(too_large());
    }
    let bytes: Bytes = to_bytes(body, most).await.map_err(|_| too_large())?;
    if bytes.is_empty() || route.method == Method::GET || route.method == Method::DELETE {
        return Ok(None);
    }
    let kind = header_text(&parts.headers, &header::CONTENT_TYPE).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    if !matches!(kind.as_str(), "application/json" | "application/merge-patch+json") {
        return Err(Refusal::new(
            Code::UnsupportedMediaType,
            "expected Content-Type: application/json",
        ));
    }
    let parsed = serde_json::from_slice::<Json>(&bytes);
    let parsed = parsed.map_err(|error| {
        Refusal::new(Code::MalformedJson, format!("the body is no JSON: {error}"))
    })?;
    match parsed.is_object() {
        true => Ok(Some(parsed)),
        false => Err(Refusal::invalid("", "an object", "another value")),
    }
}

/// Refuses members of the query that the route does not know; whether it is a dry run.
pub(super) fn is_dry_run(query: &BTreeMap<String, String>, route: &Route) -> Result<bool, Refusal> {
    let known = route.query();
    if let Some(name) = query.keys().find(|name| !known.contains(&name.as_str())) {
        let expected = match known.is_empty() {
            true => "no query".to_owned(),
            false => format!("one of {}", known.join(", ")),
        };
        return Err(Refusal::invalid(&format!("/{name}"), &expected, name.clone()));
    }
    match query.get("dry_run").map(String::as_str) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        // Whoever means a dry run must not change anything by a typing error.
        Some(other) => Err(Refusal::invalid("/dry_run", "true or false", other)),
    }
}

pub(super) fn idempotency_key(parts: &Parts) -> Result<Option<String>, Refusal> {
    let name = HeaderName::from_static("idempotency-key");
    let Some(value) = parts.headers.get(&name).filter(|_| parts.method == Method::POST) else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or("");
    let text = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
    let is_visible = text.bytes().all(|byte| byte.is_ascii_graphic());
    match is_visible && (1..=IDEMPOTENCY_KEY_CHARS_MAX).contains(&text.len()) {
        true => Ok(Some(text.to_owned())),
        false => Err(Refusal::invalid(
            "/Idempotency-Key",
            "1-128 visible ASCII characters",
            "something else",
        )),
    }
}

pub(super) fn header_text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}
