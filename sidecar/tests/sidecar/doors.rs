//! One table of requests through all three doors: equal answers.

use crate::common::*;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value as Json, json};
use std::pin::Pin;
use std::task::{Context, Poll};
use tollgate_engine::Part;
use tollgate_proto::authzen::{DecisionBody, TenantHeader};
use tollgate_proto::gate::gate_client::GateClient;
use tollgate_proto::gate::{
    self, BatchCheckRequest, CheckRequest, CheckResponse, Semantic, SettleRequest,
};
use tollgate_proto::{authzen, frame};
use tonic::codegen::Service;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

const MODEL: &str = "[request_definition]\nr = sub, obj, act, env\n[policy_definition]\n\
    p = sub, obj, act, eft\n[policy_effect]\n\
    e = some(where (p.eft == allow)) && !some(where (p.eft == deny))\n[matchers]\n\
    m = r.sub.team == p.sub && keyMatch2(r.obj, p.obj) && r.act == p.act && r.env.age > 1.5\n";
const POLICY: &str = "p, search, /v1/:x, read, allow\np, search, /v1/no, read, deny\n";
const LIMITS: &str = "[[limit]]\nid = \"some\"\nmeter = \"requests\"\n\
    bucket = { rate = \"1/h\", burst = 9 }\ndimensions = [\"subject\"]\n\
    [[limit]]\nid = \"soft\"\nmeter = \"tokens\"\nbucket = { rate = \"10/h\" }\n\
    mode = \"soft\"\ndefault_amount = 100\nwhen = 'r.obj == \"/v1/soft\"'\n";

/// An h2 connection as a service for generated clients.
#[derive(Clone)]
struct Channel(SendRequest<tonic::body::Body>);

impl Service<http::Request<tonic::body::Body>> for Channel {
    type Response = http::Response<hyper::body::Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

fn origin() -> http::Uri {
    http::Uri::from_static("http://sidecar")
}

impl Channel {
    async fn to(sidecar: &Sidecar) -> Channel {
        let stream = tokio::net::UnixStream::connect(sidecar.http_socket()).await.unwrap();
        let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Channel(sender)
    }
}

fn value(json: &Json) -> prost_types::Value {
    use prost_types::value::Kind;
    let kind = match json {
        Json::Null => Kind::NullValue(0),
        Json::Bool(bool) => Kind::BoolValue(*bool),
        Json::Number(number) => Kind::NumberValue(number.as_f64().unwrap()),
        Json::String(text) => Kind::StringValue(text.clone()),
        Json::Array(items) => {
            Kind::ListValue(prost_types::ListValue { values: items.iter().map(value).collect() })
        }
        Json::Object(_) => Kind::StructValue(object(json)),
    };
    prost_types::Value { kind: Some(kind) }
}

fn object(json: &Json) -> prost_types::Struct {
    let fields = json.as_object().unwrap().iter();
    prost_types::Struct { fields: fields.map(|(name, json)| (name.clone(), value(json))).collect() }
}

fn message(body: &Json) -> CheckRequest {
    let text = |pointer: &str| body.pointer(pointer).unwrap().as_str().unwrap().to_owned();
    let properties = |pointer: &str| body.pointer(pointer).map(object);
    CheckRequest {
        subject: Some(gate::Subject {
            r#type: text("/subject/type"),
            id: text("/subject/id"),
            properties: properties("/subject/properties"),
        }),
        action: Some(gate::Action {
            name: text("/action/name"),
            properties: properties("/action/properties"),
        }),
        resource: Some(gate::Resource {
            r#type: text("/resource/type"),
            id: text("/resource/id"),
            properties: properties("/resource/properties"),
        }),
        context: body.get("context").map(object),
    }
}

/// A gRPC answer in the shape of the HTTP door's.
fn as_json(response: &CheckResponse) -> Json {
    let context = response.context.as_ref().unwrap();
    let mut json = json!({
        "reason": context.reason,
        "reason_code": context.reason_code,
        "limits": context.limits.iter().map(|limit| json!({
            "id": limit.id, "remaining": limit.remaining, "of": limit.of, "mode": limit.mode,
            "exceeded": limit.exceeded,
        })).collect::<Vec<_>>(),
        "warnings": context.warnings,
    });
    for (name, text) in [
        ("rule", &context.rule),
        ("version", &context.version),
        ("limit", &context.limit),
        ("request_id", &context.request_id),
    ] {
        if !text.is_empty() {
            json[name] = Json::from(text.as_str());
        }
    }
    if let Some(wait) = context.retry_after_ms {
        json["retry_after_ms"] = Json::from(wait);
    }
    json!({"decision": response.decision, "context": json})
}

fn by_frame(sidecar: &Sidecar, body: &Json) -> Json {
    let text = body.to_string();
    let request = authzen::evaluation(text.as_bytes(), TenantHeader::Missing).unwrap();
    assert!(request.attributes.iter().all(|(part, _, _)| *part != Part::Tenant));
    let mut out = Vec::new();
    request.with(|request| frame::put_check(&mut out, 1, request));
    let mut stream = sidecar.connect();
    std::io::Write::write_all(&mut stream, &out).unwrap();
    let (_, _, reply) = read_frame(&mut stream).unwrap();
    let reply = frame::read_decision(&reply).unwrap();
    serde_json::to_value(DecisionBody::from_reply(&reply)).unwrap()
}

/// Waits differ by the time between the doors, and frames do not say when a limit is whole again; every refusal has an id
/// of its own.
fn without_wait(mut answer: Json) -> Json {
    let id = answer["context"].as_object_mut().unwrap().remove("request_id");
    assert_eq!(id.is_some_and(|id| id != ""), answer["decision"] == false, "{answer}");
    for limit in answer["context"]["limits"].as_array_mut().unwrap() {
        limit.as_object_mut().unwrap().remove("reset_ms");
    }
    if let Some(wait) = answer["context"].as_object_mut().unwrap().remove("retry_after_ms") {
        assert!((3_500_000..=3_600_000).contains(&wait.as_u64().unwrap()), "{wait}");
    }
    answer
}

#[tokio::test]
async fn every_door_gives_the_same_answer() {
    let folder = folder();
    write(&folder, "acme/model.conf", MODEL);
    write(&folder, "acme/policy.csv", POLICY);
    write(&folder, "acme/limits.toml", LIMITS);
    write(&folder, "broken/model.conf", "nothing");
    write(&folder, "broken/policy.csv", "");
    let sidecar = Sidecar::start(folder, &[]);
    let mut client = GateClient::with_origin(Channel::to(&sidecar).await, origin());
    let base = json!({
        "subject": {"type": "user", "id": "alice", "properties": {"team": "search", "tags": ["a", 1, null]}},
        "action": {"name": "read", "properties": {"soft": true}},
        "resource": {"type": "path", "id": "/v1/x"},
        "context": {"tenant": "acme", "age": 2.5, "deep": {"a": {"b": 0.1}}, "quota": {}},
    });
    let mut reasons = std::collections::BTreeMap::new();
    for (pointer, member) in [
        ("/context/age", json!(3)),
        ("/context/age", json!(1.5)),
        ("/context/age", json!("3")),
        ("/context/age", json!(9_007_199_254_740_992_i64)),
        ("/context/tenant", json!("nobody")),
        ("/context/tenant", json!("")),
        ("/context/tenant", json!("broken")),
        ("/context/quota", json!({"requests": 10})),
        ("/context/quota", json!({"requests": 0, "tokens": 5})),
        ("/resource/id", json!("/v1/no")),
        ("/resource/id", json!("/v1/%2f")),
        ("/resource/id", json!("/v1/soft")),
        ("/resource/id", json!("")),
        ("/resource/id", json!("caf\u{e9}\n\"")),
        ("/resource/id", json!("x".repeat(4097))),
        ("/subject/properties/team", json!("sales")),
        ("/subject/properties/team", json!(null)),
        ("/subject/properties", json!({})),
    ] {
        let mut body = base.clone();
        *body.pointer_mut(pointer).unwrap() = member;
        let (status, http) = sidecar.evaluate("/access/v1/evaluation", &body.to_string());
        assert_eq!(status, 200, "{body}: {http}");
        let grpc = client.check(message(&body)).await.unwrap().into_inner();
        let (http, grpc) = (without_wait(http), without_wait(as_json(&grpc)));
        assert_eq!(http, grpc, "{body}");
        assert_eq!(http, without_wait(by_frame(&sidecar, &body)), "{body}");
        *reasons.entry(http["context"]["reason"].to_string()).or_insert(0) += 1;
    }
    // The table meets the reasons that a folder can give.
    assert_eq!(reasons.len(), 8, "{reasons:?}");
}

#[tokio::test]
async fn the_grpc_door_refuses_what_is_no_request() {
    let sidecar = Sidecar::start(folder(), &[]);
    let channel = Channel::to(&sidecar).await;
    let mut client = GateClient::with_origin(channel.clone(), origin());
    let body = json!({
        "subject": {"type": "user", "id": "alice"}, "action": {"name": "read"},
        "resource": {"type": "path", "id": "/v1/x"}, "context": {},
    });
    let asked = |tenant: Option<&'static str>| {
        let mut request = tonic::Request::new(message(&body));
        if let Some(tenant) = tenant {
            request.metadata_mut().insert("x-tenant-id", tenant.parse().unwrap());
        }
        request
    };
    let reason = |response: tonic::Response<CheckResponse>| {
        response.into_inner().context.unwrap_or_default().reason
    };
    assert_eq!(reason(client.check(asked(Some("acme"))).await.unwrap()), "allow");
    assert_eq!(reason(client.check(asked(None)).await.unwrap()), "bad-request");
    for (name, context) in [
        ("infinite", prost_types::value::Kind::NumberValue(f64::INFINITY)),
        ("inexact", prost_types::value::Kind::NumberValue(1e20)),
    ] {
        let mut request = message(&body);
        let fields = &mut request.context.as_mut().unwrap().fields;
        fields.insert("x".to_owned(), prost_types::Value { kind: Some(context) });
        let status = client.check(request).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::InvalidArgument, "{name}");
        assert!(status.message().contains("/context/x"), "{status}");
    }
    let status = client.check(CheckRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
    let batch = |semantic| BatchCheckRequest {
        defaults: Some(message(&body)),
        evaluations: vec![
            CheckRequest { subject: Some(gate::Subject::default()), ..CheckRequest::default() },
            CheckRequest::default(),
        ],
        semantic,
    };
    let mut request = tonic::Request::new(batch(Semantic::PermitOnFirstPermit.into()));
    request.metadata_mut().insert("x-tenant-id", "acme".parse().unwrap());
    let answers = client.batch_check(request).await.unwrap().into_inner().evaluations;
    assert_eq!(answers.iter().map(|answer| answer.decision).collect::<Vec<_>>(), [false, true]);
    let status = client.batch_check(batch(7)).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
    let status = client.settle(SettleRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
    let unknown = SettleRequest { release: true, ..SettleRequest::default() };
    assert_eq!(client.settle(unknown).await.unwrap_err().code(), tonic::Code::NotFound);
    let large = "x".repeat(70_000);
    let large = CheckRequest {
        subject: Some(gate::Subject { id: large, ..gate::Subject::default() }),
        ..CheckRequest::default()
    };
    assert!(client.check(large).await.is_err());
    let mut health = HealthClient::with_origin(channel, origin());
    for service in ["", "tollgate.v1.Gate"] {
        let asked = HealthCheckRequest { service: service.to_owned() };
        assert_eq!(health.check(asked).await.unwrap().into_inner().status, 1, "{service}");
    }
    sidecar.still_answers();
}
