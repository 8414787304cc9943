//! A decision as one line of JSON, with what must not be seen masked or hashed.

use crate::decisions::recent::Kept;
use serde_json::{Map, Value as Json};
use tollgate_engine::{Part, Value};
use tollgate_proto::frame;

/// What stands in the place of a masked value.
const MASKED: &str = "***";
const HASH_CHARS: usize = 16;

/// Which fields are hidden: dotted, such as `subject.id` or `context.address`.
pub(super) struct Hiding {
    pub(super) masks: Vec<String>,
    pub(super) hashes: Vec<String>,
    /// Keys the hashes: equal values of one sidecar's log are equal, and nobody else can compute them.
    pub(super) secret: [u8; 32],
}

impl Hiding {
    fn hide(&self, field: &str, value: Json) -> Json {
        let names = |list: &[String]| list.iter().any(|name| name == field);
        if names(&self.masks) {
            return Json::from(MASKED);
        }
        if !names(&self.hashes) {
            return value;
        }
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let hash = blake3::keyed_hash(&self.secret, text.as_bytes()).to_hex();
        Json::from(hash.chars().take(HASH_CHARS).collect::<String>())
    }
}

/// The line of one decision.
pub(super) fn line(kept: &Kept, hiding: &Hiding) -> Json {
    let mut line = Map::new();
    let mut put = |name: &str, value: Json| line.insert(name.to_owned(), value);
    let at = i64::try_from(kept.at.0 / 1_000)
        .ok()
        .and_then(|us| jiff::Timestamp::from_microsecond(us).ok());
    put("at", Json::from(at.unwrap_or_default().to_string()));
    put("request_id", Json::from(kept.id.to_string()));
    if !kept.client_id.is_empty() {
        put(
            "client_request_id",
            hiding.hide("client_request_id", Json::from(kept.client_id.as_str())),
        );
    }
    put("door", Json::from(kept.door.name()));
    put("decision", Json::from(kept.decision.is_allow()));
    put("reason", Json::from(kept.decision.reason.name()));
    put("reason_code", Json::from(kept.decision.reason.number()));
    let version = kept.decision.version;
    put("version", Json::from(format!("{}.{}", version.epoch, version.seq)));
    if let Some((state, rule)) = kept.state.as_ref().zip(kept.decision.rule) {
        put("rule", Json::from(format!("policy.csv:{}", state.policy().rule_line(rule))));
    }
    if let Some((state, limit)) = kept.state.as_ref().zip(kept.decision.binding) {
        put("limit", Json::from(state.quotas().id(limit)));
    }
    if let Some(shadow) = kept.shadow_line() {
        put("shadow", serde_json::to_value(shadow).unwrap_or_default());
    }
    let request = frame::check(&kept.request, |request| request_members(request, hiding));
    for (name, value) in request.unwrap_or_default() {
        put(name, value);
    }
    Json::Object(line)
}

fn request_members(
    request: &tollgate_engine::Request<'_>,
    hiding: &Hiding,
) -> Vec<(&'static str, Json)> {
    let of = |part: Part| {
        let mut members = Map::new();
        for attribute in request.attributes.iter().filter(|attribute| attribute.part == part) {
            let field = format!("{}.{}", part.name(), attribute.path);
            members.insert(attribute.path.to_owned(), hiding.hide(&field, json(&attribute.value)));
        }
        members
    };
    let entity = |part: Part, kind: &str, id: &str| {
        let mut members = of(part);
        if !kind.is_empty() {
            members.insert("type".to_owned(), Json::from(kind));
        }
        let field = format!("{}.id", part.name());
        members.insert("id".to_owned(), hiding.hide(&field, Json::from(id)));
        Json::Object(members)
    };
    let mut all = vec![
        ("tenant", hiding.hide("tenant", Json::from(request.tenant))),
        ("subject", entity(Part::Subject, request.subject.kind, request.subject.id)),
        ("action", hiding.hide("action", Json::from(request.action))),
        ("resource", entity(Part::Resource, request.resource.kind, request.resource.id)),
    ];
    let context = of(Part::Context);
    if !context.is_empty() {
        all.push(("context", Json::Object(context)));
    }
    all
}

fn json(value: &Value<'_>) -> Json {
    match value {
        Value::Missing | Value::Null => Json::Null,
        Value::Bool(bool) => Json::from(*bool),
        Value::Int(int) => Json::from(*int),
        // As text: no reader of the log shall make a float of it.
        Value::Dec { mantissa, scale } => Json::from(format!("{mantissa}e-{scale}")),
        Value::Str(text) => Json::from(*text),
        Value::List(items) => items.iter().map(json).collect(),
    }
}
