//! The AuthZEN evaluation endpoints.

use super::answer::{Answer, Refused, json};
use super::route::Session;
use crate::metrics::Door;
use crate::shared::Decider;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderMap, Request, StatusCode};
use hyper::body::Incoming;
use serde_json::value::RawValue;
use std::time::Duration;
use tollgate_engine::Scratch;
use tollgate_proto::authzen::{self, Asked, DecisionBody, Fault, TenantHeader};
use tollgate_proto::owned::OwnedRequest;

const TENANT: &str = "x-tenant-id";

/// `POST /access/v1/evaluation`.
pub(super) async fn one(
    session: &Session,
    request: Request<Incoming>,
    age: Duration,
) -> Result<Answer, Refused> {
    let (head, body) = read(session, request, age).await?;
    let request = authzen::evaluation(&body, tenant(&head.headers))?;
    let mut decider = session.shared().decider(session.shared().metrics.door(Door::Http));
    Ok(single(&request, &mut decider, &mut session.scratch()))
}

/// `POST /access/v1/evaluations`.
pub(super) async fn many(
    session: &Session,
    request: Request<Incoming>,
    age: Duration,
) -> Result<Answer, Refused> {
    let (head, body) = read(session, request, age).await?;
    let asked = authzen::evaluations(&body, tenant(&head.headers))?;
    let mut decider = session.shared().decider(session.shared().metrics.door(Door::Http));
    let mut scratch = session.scratch();
    let (items, semantic) = match asked {
        Asked::One(request) => return Ok(single(&request, &mut decider, &mut scratch)),
        Asked::Many { items, semantic } => (items, semantic),
    };
    let mut answers: Vec<Box<RawValue>> = Vec::with_capacity(items.len());
    for item in &items {
        let (is_allow, body) = match item {
            Ok(request) => request.with(|request| {
                decider.decide(request, &mut scratch, |state, decision| {
                    (decision.is_allow(), raw(&DecisionBody::of(state, decision)))
                })
            }),
            Err(fault) => (false, raw(&item_error(fault))),
        };
        answers.extend(body);
        if semantic.ends_after(is_allow) {
            break;
        }
    }
    Ok(json(StatusCode::OK, &serde_json::json!({ "evaluations": answers })))
}

/// The head of a request and its whole body, which says that it is JSON.
pub(super) async fn read(
    session: &Session,
    request: Request<Incoming>,
    age: Duration,
) -> Result<(Parts, Bytes), Refused> {
    check_type(request.headers())?;
    let (head, body) = request.into_parts();
    Ok((head, session.body(body, age).await?))
}

fn single(request: &OwnedRequest<'_>, decider: &mut Decider<'_>, scratch: &mut Scratch) -> Answer {
    request.with(|request| {
        decider.decide(request, scratch, |state, decision| {
            json(StatusCode::OK, &DecisionBody::of(state, decision))
        })
    })
}

fn raw(body: &impl serde::Serialize) -> Option<Box<RawValue>> {
    serde_json::value::to_raw_value(body).ok()
}

/// The answer to an item that is no request: a denial by AuthZEN's rule.
fn item_error(fault: &Fault) -> serde_json::Value {
    let error = serde_json::json!({"status": 400, "message": fault.message});
    serde_json::json!({"decision": false, "context": {"error": error}})
}

fn check_type(headers: &HeaderMap) -> Result<(), Refused> {
    let named = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = named.map(|value| value.split(';').next().unwrap_or("").trim());
    match kind {
        Some(kind) if kind.eq_ignore_ascii_case("application/json") => Ok(()),
        _ => {
            Err(Fault::invalid("", "Content-Type: application/json", kind.unwrap_or("none")).into())
        }
    }
}

/// The tenant that headers or metadata name.
pub(crate) fn tenant(headers: &HeaderMap) -> TenantHeader<'_> {
    let mut named = headers.get_all(TENANT).iter();
    match (named.next(), named.next()) {
        (None, _) => TenantHeader::Missing,
        (Some(only), None) => only.to_str().map_or(TenantHeader::Ambiguous, TenantHeader::Named),
        (Some(_), Some(_)) => TenantHeader::Ambiguous,
    }
}
