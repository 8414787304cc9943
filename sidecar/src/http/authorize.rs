//! `/v1/authorize`: for gateways that ask with the client's method and URI in headers and read the status; they may hand
//! headers and body on to the client.

use super::answer::{Answer, Refused, client_id, empty, json, with};
use super::evaluate::tenant;
use super::limits;
use super::refusal::Refusal;
use super::route::Session;
use crate::decisions::Made;
use crate::metrics::Door;
use http::header::{ACCEPT, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use http::{HeaderMap, Request, StatusCode};
use hyper::body::Incoming;
use tollgate_engine::{Decision, Entity, Reason, Request as Asked, Version};
use tollgate_proto::authzen::TenantHeader;

const REASON: HeaderName = HeaderName::from_static("x-tollgate-reason");
const STATUS: HeaderName = HeaderName::from_static("x-tollgate-status");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-tollgate-request-id");
const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");
const SUBJECT: &str = "x-tollgate-subject";

/// Answers with a status and headers, and with a body if a decision refuses.
pub(super) fn answer(session: &Session, request: &Request<Incoming>) -> Answer {
    let mut answer = match decide(session, request.headers()) {
        Ok(answer) => answer,
        Err(refused) => {
            session.shared().metrics.door(Door::Http).fault(refused.code);
            let mut answer = empty(refused.status);
            let headers = answer.headers_mut();
            headers.insert(REASON, HeaderValue::from_static(refused.code));
            if refused.status == StatusCode::UNAUTHORIZED {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            answer
        }
    };
    let query = request.uri().query().unwrap_or("");
    if query.split('&').any(|pair| pair == "for=nginx") {
        let status = answer.status();
        answer.headers_mut().insert(STATUS, HeaderValue::from(status.as_u16()));
        if !matches!(status, StatusCode::OK | StatusCode::UNAUTHORIZED) {
            *answer.status_mut() = StatusCode::FORBIDDEN;
        }
    }
    answer
}

fn decide(session: &Session, headers: &HeaderMap) -> Result<Answer, Refused> {
    let invalid = |message: &str| Refused::new(StatusCode::BAD_REQUEST, "invalid", message);
    let method = either(headers, "x-forwarded-method", "x-original-method").map_err(invalid)?;
    let uri = either(headers, "x-forwarded-uri", "x-original-uri").map_err(invalid)?;
    let (Some(method), Some(uri)) = (method, uri) else {
        return Err(invalid("expected method and URI in X-Forwarded-* or X-Original-* headers"));
    };
    let Some(subject) = single(headers, SUBJECT).map_err(invalid)?.filter(|id| !id.is_empty())
    else {
        let message = "expected the subject in X-Tollgate-Subject";
        return Err(Refused::new(StatusCode::UNAUTHORIZED, "unauthenticated", message));
    };
    let path = uri.split('?').next().unwrap_or("");
    let tenant = match tenant(headers) {
        TenantHeader::Named(name) => name,
        TenantHeader::Missing | TenantHeader::Ambiguous => "",
    };
    let request = Asked {
        tenant,
        subject: Entity { kind: "", id: subject },
        resource: Entity { kind: "", id: path },
        action: method,
        ..Asked::default()
    };
    let shared = session.shared();
    let door = shared.metrics.door(Door::Http);
    if !path.starts_with('/') {
        // Only a path has one reading here: a whole URL could be matched as something else.
        door.count(Reason::AmbiguousPath, 1);
        let refusal = Decision::refuse(Reason::AmbiguousPath, Version::default());
        let id = shared.decisions.note(Made {
            door: Door::Http,
            request: &request,
            decision: &refusal,
            at: shared.clock.now(),
            client_id: client_id(headers),
        });
        let refusal = Refusal { state: None, request: &request, decision: &refusal, id };
        return Ok(of_decision(refusal, headers));
    }
    let mut decider = shared.decider(Door::Http);
    let (mut scratch, client_id) = (session.scratch(), client_id(headers));
    Ok(decider.decide(&request, &mut scratch, client_id, |state, decision, id| {
        of_decision(Refusal { state, request: &request, decision, id }, headers)
    }))
}

/// A header's only value.
fn single<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, &'static str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(only), None) => only.to_str().map(Some).map_err(|_| "a header is not visible ASCII"),
        (Some(_), Some(_)) => Err("a header that must stand once is given twice"),
    }
}

/// The value of two headers of which one or both are given, then alike.
fn either<'h>(
    headers: &'h HeaderMap,
    first: &str,
    second: &str,
) -> Result<Option<&'h str>, &'static str> {
    match (single(headers, first)?, single(headers, second)?) {
        (Some(a), Some(b)) if a != b => Err("X-Forwarded-* and X-Original-* say different things"),
        (a, b) => Ok(a.or(b)),
    }
}

fn of_decision(refusal: Refusal<'_>, asked: &HeaderMap) -> Answer {
    let Refusal { state, decision, id, .. } = refusal;
    let status = status_of(decision.reason);
    let mut answer = match status {
        StatusCode::OK => empty(status),
        _ if takes_problems(asked) => {
            with(status, PROBLEM, refusal.problem(status.as_u16()).to_string())
        }
        _ => json(status, &refusal.envelope()),
    };
    let headers = answer.headers_mut();
    headers.insert(REASON, HeaderValue::from_static(decision.reason.name()));
    if let Some(id) =
        id.is_some().then(|| HeaderValue::from_str(&id.to_string())).and_then(Result::ok)
    {
        headers.insert(REQUEST_ID, id);
    }
    limits::put(headers, state, decision);
    answer
}

/// Whether the client asks for problems of RFC 9457 by name.
fn takes_problems(headers: &HeaderMap) -> bool {
    let kinds = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut kinds = kinds.flat_map(|value| value.split(','));
    let named = |kind: &str| kind.split(';').next().unwrap_or("").trim().to_owned();
    kinds.any(|kind| named(kind).eq_ignore_ascii_case("application/problem+json"))
}

fn status_of(reason: Reason) -> StatusCode {
    match reason {
        Reason::Allow | Reason::FailedOpen => StatusCode::OK,
        Reason::QuotaExceeded => StatusCode::TOO_MANY_REQUESTS,
        Reason::NoBundle | Reason::Stale | Reason::QuotaStoreFull => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        _ => StatusCode::FORBIDDEN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_status() {
        for reason in Reason::ALL {
            let expected = match reason.number() {
                0 | 1 => 200,
                2060 => 429,
                2021 | 2022 | 2061 => 503,
                _ => 403,
            };
            assert_eq!(status_of(*reason).as_u16(), expected, "{}", reason.name());
        }
    }
}
