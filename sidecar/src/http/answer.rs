//! Responses: JSON bodies, the error envelope, and what every answer carries.

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Response, StatusCode};
use http_body_util::{Either, Full};
use serde::Serialize;
use tollgate_proto::authzen::Fault;

/// A body of ours, or one of the gRPC door's.
pub(crate) type Body = Either<Full<Bytes>, tonic::body::Body>;
pub(crate) type Answer = Response<Body>;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Bytes of a request id that is echoed.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// An error envelope with its status: `{"error":{"code","message","details"}}`.
#[derive(Debug, Clone)]
pub(crate) struct Refused {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    details: serde_json::Value,
}

impl Refused {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: &str) -> Refused {
        let details = serde_json::json!({});
        Refused { status, code, message: message.to_owned(), details }
    }

    pub(crate) fn answer(&self) -> Answer {
        let error = serde_json::json!({"code": self.code, "message": self.message, "details": self.details});
        let mut answer = json(self.status, &serde_json::json!({ "error": error }));
        let headers = answer.headers_mut();
        match self.status {
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            StatusCode::REQUEST_TIMEOUT | StatusCode::PAYLOAD_TOO_LARGE => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
        answer
    }
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Refused {
        let fields = fault.field.iter().map(|field| {
            serde_json::json!({
                "pointer": field.pointer, "expected": field.expected, "got": field.got,
            })
        });
        let fields: Vec<_> = fields.collect();
        let details = match fields.is_empty() {
            true => serde_json::json!({}),
            false => serde_json::json!({ "fields": fields }),
        };
        let (status, code) = (StatusCode::BAD_REQUEST, fault.code.name());
        Refused { status, code, message: fault.message, details }
    }
}

/// A JSON answer.
pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Answer {
    let mut bytes = Vec::with_capacity(512);
    // Writing plain values into memory cannot fail.
    let _ = serde_json::to_writer(&mut bytes, body);
    with(status, JSON, bytes)
}

/// An answer with a body of any type.
pub(crate) fn with(status: StatusCode, kind: HeaderValue, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Either::Left(Full::new(body.into())));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Either::Left(Full::default()));
    *answer.status_mut() = status;
    answer
}

/// The request's id if it is one that is echoed: at most 128 visible bytes.
pub(crate) fn request_id(headers: &HeaderMap) -> Option<HeaderValue> {
    let id = headers.get(REQUEST_ID)?;
    let is_visible = id.as_bytes().iter().all(u8::is_ascii_graphic);
    (is_visible && (1..=REQUEST_ID_BYTES_MAX).contains(&id.len())).then(|| id.clone())
}

/// The same as text; empty if there is none.
pub(crate) fn client_id(headers: &HeaderMap) -> &str {
    let id = request_id(headers).and(headers.get(REQUEST_ID));
    id.and_then(|id| id.to_str().ok()).unwrap_or("")
}

/// Echoes a request's id.
pub(crate) fn echo(answer: &mut Answer, id: Option<HeaderValue>) {
    if let Some(id) = id {
        answer.headers_mut().insert(REQUEST_ID, id);
    }
}

/// A time in milliseconds since 1970 as RFC 3339 in UTC.
pub(crate) fn since_text(unix_ms: u64) -> String {
    let time =
        i64::try_from(unix_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    time.unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_echoed_if_it_is_short_and_visible() {
        for (id, expected) in [
            ("abc-1", true),
            ("", false),
            ("a b", false),
            (&"x".repeat(128), true),
            (&"x".repeat(129), false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_str(id).unwrap());
            assert_eq!(request_id(&headers).is_some(), expected, "{id}");
        }
        assert_eq!(since_text(0), "1970-01-01T00:00:00Z");
    }
}
