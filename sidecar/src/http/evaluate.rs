//! The AuthZEN evaluation endpoints.

use super::answer::{Answer, Refused, client_id, json};
use super::limits;
use super::route::Session;
use crate::metrics::Door;
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
    single(session, &request, &head.headers)
}

/// `POST /access/v1/evaluations`.
pub(super) async fn many(
    session: &Session,
    request: Request<Incoming>,
    age: Duration,
) -> Result<Answer, Refused> {
    let (head, body) = read(session, request, age).await?;
    let asked = authzen::evaluations(&body, tenant(&head.headers))?;
    let (items, semantic) = match asked {
        Asked::One(request) => return single(session, &request, &head.headers),
        Asked::Many { items, semantic } => (items, semantic),
    };
    let mut decider = session.shared().decider(Door::Http);
    let mut scratch = session.scratch();
    let client_id = client_id(&head.headers);
    let mut answers: Vec<Box<RawValue>> = Vec::with_capacity(items.len());
    for item in &items {
        let (is_allow, body) = match item {
            Ok(request) if request.explain => {
                let explained = explained(session, request, &mut scratch)?;
                (explained.get("decision") == Some(&true.into()), raw(&explained))
            }
            Ok(request) => request.with(|request| {
                decider.decide(request, &mut scratch, client_id, |state, decision, id| {
                    (decision.is_allow(), raw(&DecisionBody::of(state, decision, id)))
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

fn single(
    session: &Session,
    request: &OwnedRequest<'_>,
    headers: &HeaderMap,
) -> Result<Answer, Refused> {
    let mut scratch = session.scratch();
    if request.explain {
        return Ok(json(StatusCode::OK, &explained(session, request, &mut scratch)?));
    }
    let mut decider = session.shared().decider(Door::Http);
    Ok(request.with(|request| {
        decider.decide(request, &mut scratch, client_id(headers), |state, decision, id| {
            let mut answer = json(StatusCode::OK, &DecisionBody::of(state, decision, id));
            if !decision.is_allow() {
                limits::put(answer.headers_mut(), state, decision);
            }
            answer
        })
    }))
}

/// A decision with its explanation as `context.explanation`; takes nothing.
fn explained(
    session: &Session,
    request: &OwnedRequest<'_>,
    scratch: &mut Scratch,
) -> Result<serde_json::Value, Refused> {
    if !session.may_explain() {
        let message = "only root and the sidecar's own user may ask for explanations";
        return Err(Refused::new(StatusCode::FORBIDDEN, "not-permitted", message));
    }
    let bytes = request.with(|request| session.shared().explain(request, scratch));
    let mut body: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let mut explanation = serde_json::Map::new();
    for member in ["rules", "values", "not_met", "estimates"] {
        if let Some(value) = body.as_object_mut().and_then(|body| body.remove(member)) {
            explanation.insert(member.to_owned(), value);
        }
    }
    if let Some(context) = body.get_mut("context").and_then(|context| context.as_object_mut()) {
        context.insert("explanation".to_owned(), explanation.into());
    }
    Ok(body)
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
