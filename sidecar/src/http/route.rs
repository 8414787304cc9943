//! From a request to its handler. Health is found first: it never waits for anything.

use super::answer::{Answer, Refused, echo, request_id};
use super::stream::Watch;
use super::{authorize, evaluate, ops, search, settle};
use crate::grpc::Grpc;
use crate::http::reaper::TICK;
use crate::metrics::Door;
use crate::shared::Shared;
use bytes::Bytes;
use http::header::{ALLOW, HeaderValue};
use http::{Method, Request, StatusCode, Version};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};
use tollgate_engine::Scratch;
use tollgate_engine::bounds::FRAME_BYTES_MAX;
use tollgate_engine::search::Sought;

/// What a connection may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admitted {
    Whole,
    /// One connection too many: health and metrics, the rest is told so.
    Shed,
    /// The loopback listener: health and metrics.
    OpsOnly,
}

/// What all connections share.
pub(crate) struct Router {
    pub(crate) shared: Arc<Shared>,
    grpc: Grpc,
}

/// One connection's way to its answers.
pub(crate) struct Session {
    pub(crate) router: Arc<Router>,
    watch: Arc<Watch>,
    admitted: Admitted,
    /// Explanations show rules and values.
    may_explain: bool,
    scratch: Mutex<Scratch>,
}

impl Router {
    pub(crate) fn new(shared: Arc<Shared>) -> Router {
        Router { grpc: Grpc::new(Arc::clone(&shared)), shared }
    }

    pub(crate) async fn report_health(&self) {
        self.grpc.report_health().await;
    }

    pub(crate) fn session(
        self: &Arc<Self>,
        watch: Arc<Watch>,
        admitted: Admitted,
        may_explain: bool,
    ) -> Arc<Session> {
        let scratch = Mutex::default();
        Arc::new(Session { router: Arc::clone(self), watch, admitted, may_explain, scratch })
    }
}

impl Session {
    pub(crate) fn shared(&self) -> &Shared {
        &self.router.shared
    }

    pub(crate) fn may_explain(&self) -> bool {
        self.may_explain
    }

    /// Memory for decisions; never held across an await.
    pub(crate) fn scratch(&self) -> MutexGuard<'_, Scratch> {
        self.scratch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers one request.
    pub(crate) async fn answer(&self, request: Request<Incoming>) -> Answer {
        let age = TICK.saturating_mul(u32::try_from(self.watch.begin_answer()).unwrap_or(u32::MAX));
        let id = request_id(request.headers());
        let answered = self.route(request, age).await;
        let mut answer = answered.unwrap_or_else(|refused| {
            self.shared().metrics.door(Door::Http).fault(refused.code);
            refused.answer()
        });
        echo(&mut answer, id);
        self.watch.end_answer();
        answer
    }

    async fn route(&self, request: Request<Incoming>, age: Duration) -> Result<Answer, Refused> {
        let (path, method) = (request.uri().path(), request.method());
        let is_read = matches!(*method, Method::GET | Method::HEAD);
        match path {
            "/healthz" | "/readyz" | "/metrics" if !is_read => return Ok(not_allowed("GET, HEAD")),
            "/healthz" => return Ok(ops::health()),
            "/readyz" => return Ok(ops::ready(self.shared())),
            "/metrics" => return Ok(ops::metrics(self.shared())),
            _ if self.admitted == Admitted::OpsOnly => return Err(not_found(path)),
            _ if self.admitted == Admitted::Shed => {
                let message = "too many connections; reuse those you have";
                return Err(Refused::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", message));
            }
            _ => {}
        }
        let is_post = *method == Method::POST;
        let discovery = self.shared().config.authzen.as_ref();
        match path {
            "/access/v1/evaluation" | "/access/v1/evaluations" | "/v1/settle" if !is_post => {
                Ok(not_allowed("POST"))
            }
            _ if sought(path).is_some() && !is_post => Ok(not_allowed("POST")),
            "/access/v1/evaluation" => {
                self.timed(Door::Http, evaluate::one(self, request, age)).await
            }
            "/access/v1/evaluations" => {
                self.timed(Door::Http, Box::pin(evaluate::many(self, request, age))).await
            }
            "/access/v1/search/subject"
            | "/access/v1/search/resource"
            | "/access/v1/search/action" => {
                let sought = sought(path).unwrap_or(Sought::Subject);
                Box::pin(search::answer(self, request, sought, age)).await
            }
            "/v1/authorize" => Ok(authorize::answer(self, &request)),
            "/v1/settle" => {
                self.timed(Door::Http, Box::pin(settle::answer(self, request, age))).await
            }
            "/v1/status" if !is_read => Ok(not_allowed("GET, HEAD")),
            "/v1/status" => Ok(ops::status(self.shared())),
            _ if Grpc::is_call(path) && request.version() == Version::HTTP_2 => {
                let limit = self.shared().config.frame_timeout.saturating_sub(age);
                let answer = async { Ok(self.router.grpc.answer(request, limit).await) };
                self.timed(Door::Grpc, Box::pin(answer)).await
            }
            _ if Grpc::is_call(path) => {
                let message = "gRPC needs HTTP/2; connect with prior knowledge";
                Err(Refused::new(StatusCode::BAD_REQUEST, "invalid", message))
            }
            _ => match discovery.and_then(|authzen| authzen.metadata(path)) {
                Some(_) if !is_read => Ok(not_allowed("GET, HEAD")),
                Some(metadata) => Ok(ops::discovery(&metadata)),
                None => Err(not_found(path)),
            },
        }
    }

    async fn timed(
        &self,
        door: Door,
        answer: impl Future<Output = Result<Answer, Refused>>,
    ) -> Result<Answer, Refused> {
        let began = Instant::now();
        let answer = answer.await;
        let seconds = began.elapsed().as_secs_f64();
        self.shared().metrics.door(door).request_seconds.record(seconds);
        answer
    }

    /// The whole body of a request that began `age` ago.
    pub(crate) async fn body(&self, body: Incoming, age: Duration) -> Result<Bytes, Refused> {
        if body.size_hint().lower() > FRAME_BYTES_MAX as u64 {
            return Err(too_large());
        }
        let mut collecting = std::pin::pin!(collect(body));
        // Most bodies are there already; only for the others a timer is made.
        let polled = std::future::poll_fn(|cx| Poll::Ready(collecting.as_mut().poll(cx))).await;
        if let Poll::Ready(collected) = polled {
            return collected;
        }
        let limit = self.shared().config.frame_timeout.saturating_sub(age);
        let late = tokio::time::timeout(limit, collecting).await;
        late.unwrap_or_else(|_| {
            let message = "the request did not end within door.frame_timeout_ms; write it whole";
            Err(Refused::new(StatusCode::REQUEST_TIMEOUT, "timeout", message))
        })
    }
}

/// All data of a body, within the bound.
async fn collect(mut body: Incoming) -> Result<Bytes, Refused> {
    let mut whole = Bytes::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| {
            let message = "the body ended before its end";
            Refused::new(StatusCode::BAD_REQUEST, "malformed-json", message)
        })?;
        let Ok(data) = frame.into_data() else { continue };
        if whole.len() + data.len() > FRAME_BYTES_MAX {
            return Err(too_large());
        }
        whole = match whole.is_empty() {
            true => data,
            false => [whole, data].concat().into(),
        };
    }
    Ok(whole)
}

/// The part of a request that a path of the search API seeks.
fn sought(path: &str) -> Option<Sought> {
    match path.strip_prefix("/access/v1/search/")? {
        "subject" => Some(Sought::Subject),
        "resource" => Some(Sought::Resource),
        "action" => Some(Sought::Action),
        _ => None,
    }
}

fn too_large() -> Refused {
    let message = format!("expected a body of at most {FRAME_BYTES_MAX} bytes; send less");
    Refused::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", &message)
}

fn not_found(path: &str) -> Refused {
    let message = format!("nothing is served at {path}; see docs/reference/http.md");
    Refused::new(StatusCode::NOT_FOUND, "route-not-found", &message)
}

fn not_allowed(allow: &'static str) -> Answer {
    let message = format!("expected one of: {allow}");
    let refused = Refused::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", &message);
    let mut answer = refused.answer();
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    answer
}
