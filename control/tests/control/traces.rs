//! Spans as a collector receives them, and the series of metrics: one of each for every route.

use crate::service::{Control, exchange};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tollgate_control::routes::ROUTES;

/// A collector: every span that it was sent.
struct Collector {
    url: String,
    spans: Arc<Mutex<Vec<Span>>>,
}

impl Collector {
    fn start() -> Collector {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let spans = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&spans);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (request, sent) = received(stream.unwrap());
                assert!(request.starts_with("POST /v1/traces "), "{request}");
                let spans = sent.resource_spans.into_iter().flat_map(|one| one.scope_spans);
                kept.lock().unwrap().extend(spans.flat_map(|one| one.spans));
            }
        });
        Collector { url, spans }
    }
}

/// One request with its body, answered and closed.
fn received(mut stream: TcpStream) -> (String, ExportTraceServiceRequest) {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 65536]);
    loop {
        let got = stream.read(&mut buffer).unwrap();
        bytes.extend_from_slice(&buffer[..got]);
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        let body = &bytes[end + 4..];
        if body.len() < length.parse::<usize>().unwrap() {
            continue;
        }
        let sent = ExportTraceServiceRequest::decode(body).unwrap();
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
            .unwrap();
        return (String::from_utf8_lossy(&bytes[..end]).into_owned(), sent);
    }
}

fn attribute(span: &Span, name: &str) -> String {
    let found = span.attributes.iter().find(|one| one.key == name);
    let value = found.and_then(|one| one.value.clone()?.value);
    format!("{value:?}")
}

#[test]
fn every_route_has_a_span_and_a_series() {
    let collector = Collector::start();
    let control = Control::start_with(&[("TOLLGATE_OTEL__ENDPOINT", &collector.url)]);
    control.tenant("acme");
    let trace = |at: usize| format!("{:032x}", at + 1);
    for (at, route) in ROUTES.iter().enumerate() {
        let path = route.path.replace("{tenant_id}", "acme").replace("{id}", "none");
        let path = path.replace("{key}", "tenant.currency");
        // The even ones come from a caller with a span of its own, the odd ones name a trace alone.
        let header = match at % 2 {
            0 => format!("traceparent: 00-{}-00f067aa0ba902b7-01\r\n", trace(at)),
            _ => format!("x-trace-id: {}\r\n", trace(at)),
        };
        control.ask_with(&control.admin, route.method.as_str(), &path, &header, None);
    }
    control.call("GET", "/nothing/here", "", None);
    let wanted = ROUTES.len() + 1;
    let began = Instant::now();
    while collector.spans.lock().unwrap().len() < wanted {
        assert!(began.elapsed() < Duration::from_secs(20), "{}", control.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    let spans = collector.spans.lock().unwrap().clone();
    let metrics = exchange(control.ops, "GET", "/metrics", "", "").text;
    for (at, route) in ROUTES.iter().enumerate() {
        let id: Vec<u8> = (at as u128 + 1).to_be_bytes().to_vec();
        let span = spans.iter().find(|span| span.trace_id == id);
        let span = span.unwrap_or_else(|| panic!("{route:?} has no span"));
        assert_eq!(span.name, format!("{} {}", route.method, route.path));
        let parent = if at % 2 == 0 { "00f067aa0ba902b7" } else { "" };
        let hex: String = span.parent_span_id.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, parent, "{route:?}");
        assert!(attribute(span, "http.route").contains(route.path));
        assert!(attribute(span, "tollgate.request_id").contains("req_"));
        let status = attribute(span, "http.response.status_code");
        let is_refused = ["(4", "(5"].iter().any(|start| status.contains(start));
        assert_eq!(is_refused, attribute(span, "error.type") != "None", "{route:?} {status}");
        let series = format!(
            "tollgate_control_request_duration_seconds_count{{method=\"{}\",route=\"{}\"}} ",
            route.method, route.path
        );
        let line = metrics.lines().find(|line| line.starts_with(&series));
        assert!(line.is_some_and(|line| !line.ends_with(" 0")), "{series} {line:?}");
    }
    let secrets = format!("{spans:?}");
    assert!(!secrets.contains(control.admin.as_str()) && !secrets.contains("nothing/here"));
}

#[test]
fn an_event_names_the_trace_of_its_call() {
    let collector = Collector::start();
    let control = Control::start_with(&[("TOLLGATE_OTEL__ENDPOINT", &collector.url)]);
    control.tenant("acme");
    let events = control.ask(&control.admin, "GET", "/v1/audit-events?action=tenant.created", None);
    let trace = events.json()["data"][0]["trace_id"].as_str().unwrap_or("").to_owned();
    let is_there = || {
        let spans = collector.spans.lock().unwrap();
        let hex = |span: &Span| -> String {
            span.trace_id.iter().map(|byte| format!("{byte:02x}")).collect()
        };
        spans.iter().any(|span| hex(span) == trace && span.name == "POST /v1/tenants")
    };
    let began = Instant::now();
    while !is_there() {
        assert!(began.elapsed() < Duration::from_secs(20), "{trace:?} {}", events.text);
        std::thread::sleep(Duration::from_millis(50));
    }
}
