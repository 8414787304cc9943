//! A span per call, sent by OTLP over HTTP: its name is the route, its parent the caller's `traceparent`.
//!
//! Attributes are those of OpenTelemetry's semantic conventions for HTTP servers, and `tollgate.request_id`. Without
//! `otel.endpoint` nothing is made and nothing sent.

use http::{HeaderMap, Request, Response};
use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags,
    TraceId, TraceState, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::{Bytes, HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{
    IdGenerator, RandomIdGenerator, SdkTracer, SdkTracerProvider, Span as SdkSpan,
};
use std::cell::Cell;
use std::fmt;
use std::time::Duration;
use ureq::tls::{RootCerts, TlsConfig};

const SEND_TIMEOUT: Duration = Duration::from_secs(10);
const TRACES: &str = "/v1/traces";

/// Where spans go, if anywhere.
#[derive(Debug, Default)]
pub struct Spans(Option<(SdkTracerProvider, SdkTracer)>);

/// The span of one call.
#[derive(Debug)]
pub struct CallSpan {
    span: Option<SdkSpan>,
    trace_id: Option<String>,
}

/// Whom the machine trusts is trusted.
pub(crate) fn trusted() -> TlsConfig {
    TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build()
}

impl Spans {
    /// # Errors
    /// The endpoint is none.
    pub fn to(endpoint: &str) -> Result<Spans, String> {
        if endpoint.is_empty() {
            return Ok(Spans(None));
        }
        let endpoint = endpoint.trim_end_matches('/');
        let whole = match endpoint.ends_with(TRACES) {
            true => endpoint.to_owned(),
            false => format!("{endpoint}{TRACES}"),
        };
        let agent = ureq::Agent::config_builder().tls_config(trusted());
        let agent = agent.timeout_global(Some(SEND_TIMEOUT)).build();
        let exporter = SpanExporter::builder().with_http().with_http_client(Sender(agent.into()));
        let exporter = exporter.with_endpoint(whole).with_protocol(Protocol::HttpBinary);
        let exporter = exporter.with_timeout(SEND_TIMEOUT).build();
        let exporter = exporter.map_err(|error| format!("otel.endpoint {endpoint}: {error}"))?;
        let resource = Resource::builder()
            .with_service_name("tollgate-control")
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_id_generator(Ids::default())
            .with_resource(resource)
            .build();
        let tracer = provider.tracer("tollgate-control");
        Ok(Spans(Some((provider, tracer))))
    }

    /// Begins the span of a call; `route` is `None` for what leads to none.
    pub fn begin(
        &self,
        method: &str,
        route: Option<&'static str>,
        headers: &HeaderMap,
    ) -> CallSpan {
        let caller = parent(headers);
        let trace_id = caller.as_ref().map(|(trace, _)| *trace).or_else(|| bare_trace(headers));
        let Some((_, tracer)) = &self.0 else {
            return CallSpan { span: None, trace_id: trace_id.map(|id| id.to_string()) };
        };
        let name = route.map_or_else(|| method.to_owned(), |route| format!("{method} {route}"));
        let mut attributes = vec![KeyValue::new("http.request.method", method.to_owned())];
        attributes.extend(route.map(|route| KeyValue::new("http.route", route)));
        let builder = SpanBuilder::from_name(name).with_kind(SpanKind::Server);
        let context = match caller {
            Some((_, span)) => Context::new().with_remote_span_context(span),
            None => Context::new(),
        };
        GIVEN.set(trace_id);
        let span = tracer.build_with_context(builder.with_attributes(attributes), &context);
        GIVEN.set(None);
        let trace_id = span.span_context().trace_id().to_string();
        CallSpan { span: Some(span), trace_id: Some(trace_id) }
    }

    /// Sends what was not sent yet.
    pub fn end(&self) {
        let Some((provider, _)) = &self.0 else { return };
        if let Err(error) = provider.shutdown() {
            tracing::warn!(error = error.to_string(), "the last spans were not sent");
        }
    }
}

impl CallSpan {
    /// The caller's trace, or the one that begins here.
    pub fn trace_id(&self) -> Option<&str> {
        self.trace_id.as_deref()
    }

    /// Ends it with the answer; `code` is the refusal's.
    pub fn end(self, status: u16, code: Option<&'static str>, request_id: &str) {
        let Some(mut span) = self.span else { return };
        span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status)));
        span.set_attribute(KeyValue::new("tollgate.request_id", request_id.to_owned()));
        if let Some(code) = code {
            span.set_attribute(KeyValue::new("error.type", code));
        }
        // A refusal is the caller's error, not this service's.
        if status >= 500 {
            span.set_status(Status::error(code.unwrap_or_default()));
        }
        span.end();
    }
}

/// The parent that `traceparent` names (W3C Trace Context, version 00).
fn parent(headers: &HeaderMap) -> Option<(TraceId, SpanContext)> {
    let value = headers.get("traceparent")?.to_str().ok()?;
    let mut parts = value.split('-');
    let (version, trace) = (parts.next()?, trace_of(parts.next()?)?);
    let (span, flags) = (parts.next()?, parts.next()?);
    let is_right = version.len() == 2 && version != "ff" && span.len() == 16 && flags.len() == 2;
    let span = SpanId::from_hex(span).ok().filter(|span| is_right && *span != SpanId::INVALID)?;
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?);
    Some((trace, SpanContext::new(trace, span, flags, true, TraceState::default())))
}

/// `X-Trace-Id` alone: a trace without a parent.
fn bare_trace(headers: &HeaderMap) -> Option<TraceId> {
    trace_of(headers.get("x-trace-id")?.to_str().ok()?)
}

fn trace_of(text: &str) -> Option<TraceId> {
    let is_hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    TraceId::from_hex(text).ok().filter(|id| is_hex && *id != TraceId::INVALID)
}

thread_local! {
    /// The trace of the span that is being made, if the caller named it without a parent.
    static GIVEN: Cell<Option<TraceId>> = const { Cell::new(None) };
}

#[derive(Debug, Default)]
struct Ids(RandomIdGenerator);

impl IdGenerator for Ids {
    fn new_trace_id(&self) -> TraceId {
        GIVEN.get().unwrap_or_else(|| self.0.new_trace_id())
    }

    fn new_span_id(&self) -> SpanId {
        self.0.new_span_id()
    }
}

/// Sends on the thread of the exporter: nobody waits for it.
struct Sender(ureq::Agent);

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sender")
    }
}

#[async_trait::async_trait]
impl HttpClient for Sender {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (parts, body) = request.into_parts();
        let sent = self.0.run(Request::from_parts(parts, &body[..]))?;
        let (parts, mut body) = sent.into_parts();
        Ok(Response::from_parts(parts, body.read_to_vec()?.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[test]
    fn a_trace_is_the_callers_if_it_names_one() {
        let parent = |value: &str| Some(("traceparent", value.to_owned()));
        let bare = |value: &str| Some(("x-trace-id", value.to_owned()));
        let rows = [
            ("whole", parent(&format!("00-{TRACE}-00f067aa0ba902b7-01")), true),
            ("a later version", parent(&format!("01-{TRACE}-00f067aa0ba902b7-01-more")), true),
            ("bare", bare(TRACE), true),
            ("no version", parent(&format!("ff-{TRACE}-00f067aa0ba902b7-01")), false),
            ("no span", parent(&format!("00-{TRACE}-0000000000000000-01")), false),
            ("no flags", parent(&format!("00-{TRACE}-00f067aa0ba902b7")), false),
            ("zeros", bare(&"0".repeat(32)), false),
            ("short", bare("4bf9"), false),
            ("no hex", bare(&"g".repeat(32)), false),
            ("nothing", None, false),
        ];
        for (name, header, is_kept) in rows {
            let mut headers = HeaderMap::new();
            if let Some((name, value)) = header {
                headers.insert(name, value.parse().unwrap());
            }
            let span = Spans::default().begin("GET", None, &headers);
            assert_eq!(span.trace_id(), is_kept.then_some(TRACE), "{name}");
        }
    }
}
