//! The conventions of the API in one layer, in their order of precedence: request id, credential, headers that must
//! agree, tenant and its state, route, permission, rate, body. A handler is called when all of it holds.

mod caught;
mod doors;
mod read;
mod shown;

use crate::audit::{Actor, Origin};
use crate::call::{Call, Reply};
use crate::code::{Code, Refusal};
use crate::credential::{self, Credential, Known, Owner};
use crate::placement::KnownTenant;
use crate::random::now_ms;
use crate::routes::{self, Found, Scope, Until};
use crate::service::Service;
use crate::sign_on;
use crate::write::Stop;
use crate::{openapi, ops};
use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::response::Response;
use caught::caught;
use http::header::{self, HeaderName, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};
use metrics::histogram;
use read::{header_text, segments};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Of whom a key acts for.
const USER_ID_CHARS_MAX: usize = 128;
const HTML: &str = "text/html; charset=utf-8";

/// What is known of a request before anything is looked up.
struct Asked {
    parts: Parts,
    /// Without the prefix of `platform.public_url`.
    path: String,
    segments: Result<Vec<String>, Refusal>,
    query: Result<BTreeMap<String, String>, Refusal>,
    found: Found,
    address: IpAddr,
    request_id: Result<String, Refusal>,
    trace_id: Option<String>,
}

/// Answers any request.
pub async fn answer(
    State(service): State<Arc<Service>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: axum::extract::Request,
) -> Response {
    let began = Instant::now();
    let (parts, body) = request.into_parts();
    let mut asked = Asked::of(&service, parts, peer.ip());
    let (method, route) = asked.route();
    let span = service.spans.begin(method, route, &asked.parts.headers);
    asked.trace_id = span.trace_id().map(str::to_owned);
    let request_id = match &asked.request_id {
        Ok(id) => id.clone(),
        Err(_) => read::new_request_id(),
    };
    let limit = Duration::from_millis(service.config.api.timeout_ms);
    let work = tokio::time::timeout(limit, served(&service, &asked, body));
    let answered = match caught(work).await {
        Ok(Ok(answered)) => answered,
        Ok(Err(_)) => {
            let message = "the call took too long; nothing may be assumed of it";
            Err(Refusal::new(Code::Timeout, message).into())
        }
        Err(said) => Err(Refusal::internal(said).into()),
    };
    let (mut response, code) = shown::of(answered, &asked.parts, &request_id);
    if let Ok(value) = HeaderValue::from_str(&request_id) {
        response.headers_mut().insert(read::REQUEST_ID, value);
    }
    let series = [
        ("method", route.map_or("", |_| method).to_owned()),
        ("route", route.unwrap_or(ops::NO_ROUTE).to_owned()),
    ];
    histogram!(ops::REQUEST_SECONDS, &series).record(began.elapsed().as_secs_f64());
    span.end(response.status().as_u16(), code, &request_id);
    response
}

impl Asked {
    fn of(service: &Service, parts: Parts, peer: IpAddr) -> Asked {
        let path = service.own_path(parts.uri.path()).to_owned();
        let segments = segments(&path);
        let found = match &segments {
            Ok(segments) => routes::find(&parts.method, segments),
            Err(_) => Found::Nothing,
        };
        let trusted = &service.config.api.trusted_proxies;
        let address = read::source_address(trusted, &parts.headers, peer);
        let request_id = read::request_id(&parts.headers);
        let query = read::query(parts.uri.query().unwrap_or(""));
        Asked { parts, path, segments, query, found, address, request_id, trace_id: None }
    }

    /// Whether it needs no credential.
    fn is_door(&self) -> bool {
        matches!(self.path.as_str(), "/healthz" | "/readyz")
            || self.path.starts_with(doors::SIGN_ON)
    }

    /// Method and path for metrics and spans: none that a caller could make up.
    fn route(&self) -> (&'static str, Option<&'static str>) {
        match self.found {
            Found::Route(route, _) => (route.method.as_str(), Some(route.path)),
            _ => ("HTTP", None),
        }
    }
}

/// What needs no credential, and the answer to all else.
async fn served(service: &Arc<Service>, asked: &Asked, body: Body) -> Result<Reply, Stop> {
    let early = match (&asked.segments, &asked.query, &asked.request_id) {
        (Err(refusal), _, _) | (_, Err(refusal), _) | (_, _, Err(refusal)) => Some(refusal.clone()),
        _ => None,
    };
    if let Some(refusal) = early {
        // In a flood of calls without a credential, 429 is before all others.
        if service.floods.is_over(asked.address) {
            authenticate(service, asked).await?;
        }
        return Err(refusal.into());
    }
    if asked.is_door() {
        return Ok(doors::answer(service, asked, body).await?);
    }
    let is_docs = matches!(asked.path.as_str(), "/openapi.json" | "/docs")
        && asked.parts.method == Method::GET;
    if is_docs && service.config.api.public_docs {
        return Ok(docs(service, &asked.path));
    }
    let mut known = authenticate(service, asked).await?;
    if known.is_session && !asked.parts.method.is_safe() {
        doors::check_origin(service, asked)?;
    }
    let segments = asked.segments.as_deref().unwrap_or_default();
    known.caller.on_behalf_of = check_headers(service, &asked.parts.headers, &known, segments)?;
    if is_docs {
        return Ok(docs(service, &asked.path));
    }
    let tenant = tenant_of(service, &known, segments).await?;
    check_state(&known, tenant.as_ref(), &asked.found)?;
    permitted(service, asked, known, tenant, body).await
}

/// The route, its permission, the caller's rate, the body; then the handler.
async fn permitted(
    service: &Arc<Service>,
    asked: &Asked,
    mut known: Known,
    tenant: Option<KnownTenant>,
    body: Body,
) -> Result<Reply, Stop> {
    let (route, parameters) = match &asked.found {
        Found::Route(route, parameters) => (*route, parameters.clone()),
        Found::OtherMethods(allowed) => {
            let message = format!("expected one of: {}", allowed.join(", "));
            let refusal = Refusal::new(Code::MethodNotAllowed, message);
            return Err(refusal.with(json!({ "allowed": allowed })).into());
        }
        Found::Nothing => {
            let message = format!("nothing is served at {}", asked.path);
            return Err(Refusal::new(Code::RouteNotFound, message).into());
        }
    };
    let object = match route.scope {
        Scope::Tenant => tenant.as_ref().map(|tenant| tenant.id.as_str()),
        Scope::Platform => None,
        Scope::Own => known.caller.tenant(),
    };
    let permission = route.permission_for(&known.caller, &parameters);
    let permitted = service.authority.permit(&known.caller, permission, object);
    let permitted = permitted.inspect_err(|refusal| {
        let (caller, own, ip) = (&known.caller, known.own_tenant.as_ref(), asked.address);
        let (permission, ip) = (Some(permission), ip.to_string());
        service.denials.of_caller(caller, own, permission, refusal.code, &ip, now_ms());
    })?;
    if service.rates.check_key(&known.caller.id).is_err() {
        let message = "this credential calls too often; wait a little";
        return Err(Refusal::new(Code::RateLimited, message).into());
    }
    let query = asked.query.clone()?;
    let body = read::body(service.config.api.body_bytes_max, &asked.parts, body, route).await?;
    let is_dry_run = read::is_dry_run(&query, route)?;
    let call = Call {
        origin: origin(&known, asked),
        service: Arc::clone(service),
        permitted,
        tenant,
        parameters,
        is_dry_run,
        query,
        body,
        if_match: header_text(&asked.parts.headers, &header::IF_MATCH),
        idempotency_key: read::idempotency_key(&asked.parts)?,
        route: format!("{} {}", asked.parts.method, asked.path),
        served: route,
        // Held only by a call that will use it.
        conn: Mutex::new(known.conn.take().filter(|_| route.scope == Scope::Tenant)),
        caller: known.caller,
    };
    (route.handler)(&call).await
}

fn origin(known: &Known, asked: &Asked) -> Origin {
    Origin {
        actor: Actor {
            on_behalf_of: known.caller.on_behalf_of.clone(),
            ..Actor::new(known.caller.kind.name(), &known.caller.id)
        },
        request_id: asked.request_id.as_ref().ok().cloned(),
        trace_id: asked.trace_id.clone(),
        source_address: Some(asked.address.to_string()),
    }
}

/// The API's own description.
fn docs(service: &Service, path: &str) -> Reply {
    let server = &service.config.platform.public_url;
    match path {
        "/docs" => {
            let page = Body::from(openapi::page(server));
            Reply { raw: Some((HTML, page)), body: None, ..Reply::ok(Json::Null) }
        }
        _ => Reply::ok(openapi::document(server)),
    }
}

async fn authenticate(service: &Service, asked: &Asked) -> Result<Known, Refusal> {
    let known = match credential::presented(&asked.parts.headers) {
        Ok(Credential::Key(key)) => credential::look_up(&service.pools, &key).await,
        Ok(Credential::Token(token)) => sign_on::look_up(service, &token).await,
        Ok(Credential::Session(session)) => sign_on::session::look_up(service, &session).await,
        Err(refusal) => Err(refusal),
    };
    known.map_err(|refusal| unless_too_many(service, asked, refusal))
}

/// Counts a credential that is refused; in a flood of them, 429 is before all others.
fn unless_too_many(service: &Service, asked: &Asked, refusal: Refusal) -> Refusal {
    let is_failure = refusal.code.status() == StatusCode::UNAUTHORIZED;
    if is_failure {
        service.denials.of_address(refusal.code, &asked.address.to_string(), now_ms());
    }
    let is_over = match (is_failure, refusal.code) {
        (true, _) => service.floods.count(asked.address),
        (_, Code::AmbiguousCredential) => service.floods.is_over(asked.address),
        _ => false,
    };
    match is_over {
        true => Refusal::new(
            Code::RateLimited,
            "too many refused credentials from this address; wait a minute",
        ),
        false => refusal,
    }
}

/// Headers that say who is meant must agree with the credential and the path; answers for whom a key acts that may say so.
fn check_headers(
    service: &Service,
    headers: &HeaderMap,
    known: &Known,
    segments: &[String],
) -> Result<Option<String>, Refusal> {
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
    match text("x-user-id").filter(|id| *id != known.caller.id) {
        None => Ok(None),
        Some(user) if known.caller.may_impersonate() && is_name(&user) => Ok(Some(user)),
        Some(_) => Err(Refusal::new(Code::UserMismatch, "X-User-Id names somebody else")),
    }
}

/// What can be written down of whom a key acts for.
fn is_name(user: &str) -> bool {
    (1..=USER_ID_CHARS_MAX).contains(&user.len())
        && user.bytes().all(|byte| byte.is_ascii_graphic())
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
        None => KnownTenant::by_id(&service.pools.platform().await?, id).await?,
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
    let sees_all =
        known.caller.roles.iter().any(|role| role == "tenant-admin" || role == "auditor");
    let may_call =
        |state: Until| sees_all && matches!(found, Found::Route(route, _) if route.until >= state);
    match own.state.as_str() {
        "active" => Ok(()),
        "provisioning" | "failed" => Err(Refusal::new(
            Code::TenantNotReady,
            "the tenant is not ready yet; ask its operation",
        )),
        "suspended" if may_call(Until::Suspended) => Ok(()),
        "suspended" => Err(Refusal::new(Code::TenantSuspended, "the tenant is suspended")),
        "offboarding" if may_call(Until::Offboarding) => Ok(()),
        "offboarding" => Err(Refusal::new(Code::TenantSuspended, "the tenant is being offboarded")),
        _ => Err(Refusal::new(Code::TenantNotFound, "there is no such tenant")),
    }
}
