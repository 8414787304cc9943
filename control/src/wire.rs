//! The conventions of the API in one layer, in their order of precedence: request id, credential, headers that must
//! agree, tenant and its state, route, permission, rate, body. A handler is called when all of it holds.

use crate::audit::{Actor, Origin};
use crate::call::{Call, Reply};
use crate::code::{Code, Refusal};
use crate::credential::{self, Known, Owner};
use crate::placement::KnownTenant;
use crate::random::{id, now_ms};
use crate::routes::{self, Found, Route, Scope};
use crate::service::Service;
use crate::write::Stop;
use crate::{openapi, ops};
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, State};
use axum::response::Response;
use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};
use metrics::{counter, histogram};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REQUEST_ID_CHARS_MAX: usize = 128;
const IDEMPOTENCY_KEY_CHARS_MAX: usize = 128;

/// Answers any request.
pub async fn answer(
    State(service): State<Arc<Service>>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    request: axum::extract::Request,
) -> Response {
    let began = Instant::now();
    let (parts, body) = request.into_parts();
    let address = source_address(&service, &parts.headers, address.ip());
    let (request_id, is_valid) = request_id(&parts.headers);
    let limit = Duration::from_millis(service.config.api.timeout_ms);
    let answered = match is_valid {
        false => Err(Stop::Refused(Refusal::new(
            Code::InvalidRequestId,
            "X-Request-Id: expected 1-128 of A-Z a-z 0-9 . _ -",
        ))),
        true => {
            let work = route(&service, &parts, body, address, &request_id);
            let late = || {
                Refusal::new(Code::Timeout, "the call took too long; nothing may be assumed of it")
            };
            tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err(late().into()))
        }
    };
    let mut response = match answered {
        Ok(reply) => shown(reply, &parts),
        Err(Stop::Replayed(reply)) => {
            let mut response = shown(*reply, &parts);
            let replayed = HeaderName::from_static("idempotent-replayed");
            response.headers_mut().insert(replayed, HeaderValue::from_static("true"));
            response
        }
        Err(Stop::Refused(refusal)) => refused(&refusal, &request_id),
    };
    if let Ok(value) = HeaderValue::from_str(&request_id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    measure(&parts, began);
    response
}

/// Who calls: the peer, or what the nearest proxies that are trusted say of it. The rightmost address that is
/// no trusted proxy's counts: what stands left of it, the caller may have written.
fn source_address(service: &Service, headers: &HeaderMap, peer: IpAddr) -> IpAddr {
    let trusted = &service.config.api.trusted_proxies;
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

/// The time of a call under its route; what leads to none is one series.
fn measure(parts: &Parts, began: Instant) {
    let segments = segments(parts.uri.path()).unwrap_or_default();
    let (method, route) = match routes::find(&parts.method, &segments) {
        Found::Route(route, _) => (parts.method.to_string(), route.path),
        _ => (String::new(), ops::NO_ROUTE),
    };
    let seconds = began.elapsed().as_secs_f64();
    histogram!(ops::REQUEST_SECONDS, "method" => method, "route" => route).record(seconds);
}

/// The request's id, made where there is none, and whether the given one may be echoed.
fn request_id(headers: &HeaderMap) -> (String, bool) {
    let made = || id("req", now_ms());
    let Some(value) = headers.get(REQUEST_ID) else { return (made(), true) };
    let text = value.to_str().unwrap_or("");
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    match (1..=REQUEST_ID_CHARS_MAX).contains(&text.len()) && text.bytes().all(is_known) {
        true => (text.to_owned(), true),
        false => (made(), false),
    }
}

async fn route(
    service: &Arc<Service>,
    parts: &Parts,
    body: Body,
    address: IpAddr,
    request_id: &str,
) -> Result<Reply, Stop> {
    let path = parts.uri.path();
    match path {
        "/healthz" => return Ok(Reply::ok(json!({"status": "ok"}))),
        "/readyz" => {
            service.pools.platform().await?;
            return Ok(Reply::ok(json!({"status": "ready"})));
        }
        _ => {}
    }
    let is_docs = matches!(path, "/openapi.json" | "/docs") && parts.method == Method::GET;
    if is_docs && service.config.api.public_docs {
        return Ok(docs(service, path));
    }
    let segments = segments(path)?;
    let query = query(parts.uri.query().unwrap_or(""))?;
    let mut known = authenticate(service, &parts.headers, address).await?;
    check_headers(service, &parts.headers, &known, &segments)?;
    if is_docs {
        return Ok(docs(service, path));
    }
    let tenant = tenant_of(service, &known, &segments).await?;
    let found = routes::find(&parts.method, &segments);
    check_state(&known, tenant.as_ref(), &found)?;
    let (route, parameters) = match found {
        Found::Route(route, parameters) => (route, parameters),
        Found::OtherMethods(allowed) => {
            let message = format!("expected one of: {}", allowed.join(", "));
            let refusal = Refusal::new(Code::MethodNotAllowed, message);
            return Err(refusal.with(json!({ "allowed": allowed })).into());
        }
        Found::Nothing => {
            return Err(
                Refusal::new(Code::RouteNotFound, format!("nothing is served at {path}")).into()
            );
        }
    };
    let object = match route.scope {
        Scope::Tenant => tenant.as_ref().map(|tenant| tenant.id.as_str()),
        Scope::Platform => None,
        Scope::Own => known.caller.tenant(),
    };
    let permitted = service.authority.permit(&known.caller, route.permission, object);
    let permitted = permitted.inspect_err(|refusal| {
        let (caller, own, ip) = (&known.caller, known.own_tenant.as_ref(), address.to_string());
        let permission = Some(route.permission);
        service.denials.of_caller(caller, own, permission, refusal.code, &ip, now_ms());
    })?;
    if service.rates.check_key(&known.caller.id).is_err() {
        return Err(Refusal::new(
            Code::RateLimited,
            "this credential calls too often; wait a little",
        )
        .into());
    }
    let body = read_body(service, parts, body, route).await?;
    let is_dry_run = check_query(&query, route)?;
    let call = Call {
        origin: origin(&known, parts, address, request_id),
        service: Arc::clone(service),
        permitted,
        tenant,
        parameters,
        is_dry_run,
        query,
        body,
        if_match: header_text(&parts.headers, &header::IF_MATCH),
        idempotency_key: idempotency_key(parts)?,
        route: format!("{} {path}", parts.method),
        // Held only by a call that will use it.
        conn: Mutex::new(known.conn.take().filter(|_| route.scope == Scope::Tenant)),
        caller: known.caller,
    };
    (route.handler)(&call).await
}

/// The API's own description.
fn docs(service: &Service, path: &str) -> Reply {
    let server = &service.config.platform.public_url;
    match path {
        "/docs" => Reply { html: Some(openapi::page(server)), body: None, ..Reply::ok(Json::Null) },
        _ => Reply::ok(openapi::document(server)),
    }
}

/// The decoded segments of a path.
fn segments(path: &str) -> Result<Vec<String>, Refusal> {
    let segments = path.split('/').skip(1).map(|segment| unescape(segment, false));
    segments
        .collect::<Option<_>>()
        .ok_or_else(|| Refusal::new(Code::Malformed, "the path cannot be decoded"))
}

fn query(query: &str) -> Result<BTreeMap<String, String>, Refusal> {
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

async fn authenticate(
    service: &Service,
    headers: &HeaderMap,
    address: IpAddr,
) -> Result<Known, Refusal> {
    let known = match credential::presented(headers) {
        Ok(presented) => credential::look_up(&service.pools, &presented).await,
        Err(refusal) => Err(refusal),
    };
    known.map_err(|refusal| {
        let is_failure = refusal.code.status() == StatusCode::UNAUTHORIZED;
        if is_failure {
            service.denials.of_address(refusal.code, &address.to_string(), now_ms());
        }
        match is_failure && service.failures.check_key(&address.to_string()).is_err() {
            true => Refusal::new(
                Code::RateLimited,
                "too many refused credentials from this address; wait a minute",
            ),
            false => refusal,
        }
    })
}

/// Headers that say who is meant must agree with the credential and the path.
fn check_headers(
    service: &Service,
    headers: &HeaderMap,
    known: &Known,
    segments: &[String],
) -> Result<(), Refusal> {
    let text = |name: &'static str| header_text(headers, &HeaderName::from_static(name));
    if text("x-platform-id").is_some_and(|id| id != service.config.platform.id) {
        return Err(Refusal::new(Code::PlatformMismatch, "X-Platform-Id names another platform"));
    }
    if let Some(named) = text("x-tenant-id") {
        let is_right = match (path_tenant(segments), &known.caller.owner) {
            (Some(id), _) => id == named,
            (None, Owner::Tenant(own)) => *own == named,
            (None, Owner::Platform) => true,
        };
        if !is_right {
            return Err(Refusal::new(
                Code::TenantMismatch,
                "X-Tenant-Id names another tenant than the path or the credential",
            ));
        }
    }
    match text("x-user-id").is_some_and(|id| id != known.caller.id) {
        true => Err(Refusal::new(Code::UserMismatch, "X-User-Id names somebody else")),
        false => Ok(()),
    }
}

fn path_tenant(segments: &[String]) -> Option<&str> {
    match segments {
        [v1, tenants, id, ..] if v1 == "v1" && tenants == "tenants" => Some(id),
        _ => None,
    }
}

/// The tenant that the path names, if the caller may know of it.
async fn tenant_of(
    service: &Service,
    known: &Known,
    segments: &[String],
) -> Result<Option<KnownTenant>, Refusal> {
    let Some(id) = path_tenant(segments) else { return Ok(None) };
    let tenant = match &known.own_tenant {
        Some(own) if own.id == id => Some(own.clone()),
        Some(_) => None,
        None => KnownTenant::by_id(&*service.pools.platform().await?, id).await?,
    };
    // The same bytes whether it is not there or not to be seen.
    tenant.map(Some).ok_or_else(|| Refusal::new(Code::TenantNotFound, "there is no such tenant"))
}

/// What a tenant's state leaves to its own callers.
fn check_state(known: &Known, tenant: Option<&KnownTenant>, found: &Found) -> Result<(), Refusal> {
    let Some(own) = known.own_tenant.as_ref() else {
        let is_gone = tenant.is_some_and(|tenant| tenant.state == "destroyed");
        let is_read = matches!(found, Found::Route(route, _) if route.method == Method::GET);
        return match is_gone && !is_read {
            true => Err(Refusal::new(Code::TenantNotFound, "there is no such tenant")),
            false => Ok(()),
        };
    };
    let may_see_suspended =
        known.caller.roles.iter().any(|role| role == "tenant-admin" || role == "auditor");
    match own.state.as_str() {
        "active" => Ok(()),
        "provisioning" | "failed" => Err(Refusal::new(
            Code::TenantNotReady,
            "the tenant is not ready yet; ask its operation",
        )),
        "suspended" => match found {
            Found::Route(route, _) if may_see_suspended && route.while_suspended => Ok(()),
            _ => Err(Refusal::new(Code::TenantSuspended, "the tenant is suspended")),
        },
        "offboarding" => Err(Refusal::new(Code::TenantSuspended, "the tenant is being offboarded")),
        _ => Err(Refusal::new(Code::TenantNotFound, "there is no such tenant")),
    }
}

async fn read_body(
    service: &Service,
    parts: &Parts,
    body: Body,
    route: &Route,
) -> Result<Option<Json>, Refusal> {
    let most = service.config.api.body_bytes_max;
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
fn check_query(query: &BTreeMap<String, String>, route: &Route) -> Result<bool, Refusal> {
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

fn idempotency_key(parts: &Parts) -> Result<Option<String>, Refusal> {
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

fn origin(known: &Known, parts: &Parts, address: IpAddr, request_id: &str) -> Origin {
    let trace = header_text(&parts.headers, &HeaderName::from_static("traceparent"));
    let trace = trace.and_then(|value| value.split('-').nth(1).map(str::to_owned));
    let trace =
        trace.or_else(|| header_text(&parts.headers, &HeaderName::from_static("x-trace-id")));
    let is_trace = |id: &String| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    Origin {
        actor: Actor { kind: "api-key", id: known.caller.id.clone() },
        request_id: Some(request_id.to_owned()),
        trace_id: trace.filter(is_trace),
        source_address: Some(address.to_string()),
    }
}

fn header_text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
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
    if let Some(html) = reply.html {
        *response.body_mut() = Body::from(html);
        let kind = HeaderValue::from_static("text/html; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    for (name, value) in [(header::ETAG, &reply.etag), (header::LOCATION, &reply.location)] {
        if let Some(value) = value.as_ref().and_then(|value| HeaderValue::from_str(value).ok()) {
            response.headers_mut().insert(name, value);
        }
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
