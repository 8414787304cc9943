//! One operation: what it takes, what it answers, every code that it refuses with.

use super::parameters;
use crate::audit_exports::NDJSON;
use crate::code::Code;
use crate::routes::Route;
use http::Method;
use serde_json::{Map, Value as Json, json};

pub(super) fn operation(route: &Route) -> Json {
    let mut operation = json!({
        "operationId": operation_id(route), "summary": route.summary, "tags": [tag(route)],
        "x-permission": route.permission, "parameters": parameters::of(route),
        "responses": responses(route),
    });
    if let Some(name) = route.body {
        let is_patch = route.method == Method::PATCH;
        let mut body = content(&reference(name));
        if is_patch {
            body["application/merge-patch+json"] = body["application/json"].clone();
        }
        operation["requestBody"] = json!({"required": true, "content": body});
    }
    operation
}

fn responses(route: &Route) -> Json {
    let mut all: Map<String, Json> = Map::new();
    let (status, schema) = route.answer;
    let is_write = route.method != Method::GET;
    let mut answer = json!({"description": route.summary, "headers": headers(route)});
    if !schema.is_empty() {
        let schema = if is_write && status == 200 { or_dry(schema) } else { reference(schema) };
        answer["content"] = content(&schema);
    }
    all.insert(status.to_string(), answer);
    if is_write && status != 200 {
        let body = content(&or_dry(schema));
        let dry = json!({"description": "A dry run: nothing was written.", "content": body});
        all.insert("200".to_owned(), dry);
    }
    if route.method == Method::GET && !route.is_list() {
        all.insert(
            "304".to_owned(),
            json!({"description": "Nothing changed since `If-None-Match`."}),
        );
    }
    refusals_of(&mut all, route.codes());
    Json::Object(all)
}

/// Adds the refusals with these codes.
pub(super) fn refusals_of(all: &mut Map<String, Json>, codes: impl IntoIterator<Item = Code>) {
    for code in codes {
        let status = code.status().as_u16().to_string();
        let refusal = all.entry(status).or_insert_with(|| {
            let mut body = content(&reference("Error"));
            body["application/json"]["examples"] = json!({});
            json!({"description": "", "content": body, "headers": refusal_headers(code)})
        });
        let said = refusal["description"].as_str().unwrap_or("").to_owned();
        let line = format!("{said}\n- `{}`: {}", code.name(), code.meaning());
        refusal["description"] = json!(line.trim_start());
        let example = format!("#/components/examples/{}", code.name());
        refusal["content"]["application/json"]["examples"][code.name()] = json!({"$ref": example});
    }
}

/// A refusal of each code, for the components.
pub(super) fn refusals() -> Json {
    let example = |code: &Code| {
        let details = match code {
            Code::MethodNotAllowed => json!({"allowed": ["GET"]}),
            Code::Forbidden => json!({"permission": "tenant:update"}),
            Code::Invalid => {
                json!({"fields": [{"pointer": "/display_name", "expected": "1-200 characters", "got": "0 characters"}]})
            }
            Code::NotFound => json!({"resource": "api-key"}),
            Code::VersionMismatch => json!({"version": 3}),
            Code::InUse => json!({"role_bindings": 2, "api_keys": 0}),
            Code::RoleTooWide => json!({"role": "auditor", "permission": "audit:read"}),
            Code::InvalidState => json!({"state": "suspended", "allowed": ["active"]}),
            _ => json!({}),
        };
        let error = json!({"code": code.name(), "message": code.meaning(), "details": details});
        (code.name().to_owned(), json!({"summary": code.name(), "value": {"error": error}}))
    };
    Json::Object(Code::ALL.iter().map(example).collect())
}

fn headers(route: &Route) -> Json {
    let mut headers = json!({"X-Request-Id": header("X-Request-Id")});
    let has_etag = !route.is_list() && !route.answer.1.is_empty() && route.path.contains('{');
    if has_etag || route.answer.0 == 202 {
        headers["ETag"] = header("ETag");
    }
    if route.answer.0 == 202 {
        headers["Location"] = header("Location");
    }
    headers
}

fn refusal_headers(code: Code) -> Json {
    let mut headers = json!({"X-Request-Id": header("X-Request-Id")});
    match code.status().as_u16() {
        429 | 503 => headers["Retry-After"] = header("Retry-After"),
        401 => headers["WWW-Authenticate"] = header("WWW-Authenticate"),
        _ => {}
    }
    headers
}

pub(super) fn header(name: &str) -> Json {
    json!({"$ref": format!("#/components/headers/{name}")})
}

/// Those of answers, for the components.
pub(super) fn all_headers() -> Json {
    let header =
        |schema: Json, description: &str| json!({"schema": schema, "description": description});
    let text = || json!({"type": "string"});
    json!({
        "X-Request-Id": header(text(), "The call's, or the one that was made."),
        "ETag": header(text(), "The version, for If-Match."),
        "Location": header(text(), "Where to go on, below the prefix of `platform.public_url`."),
        "Set-Cookie": header(text(), "`__Host-tollgate_session`, or what a sign-in was begun with."),
        "Retry-After": header(json!({"type": "integer", "minimum": 1, "x-unit": "seconds"}), "When to try again."),
        "WWW-Authenticate": header(text(), "`Bearer`."),
    })
}

pub(super) fn reference(schema: &str) -> Json {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}

/// A schema, or the same with the changes of a dry run.
fn or_dry(schema: &str) -> Json {
    let changes =
        json!({"type": "array", "items": reference("Change"), "description": "On a dry run only."});
    let mut whole = json!({"type": "object", "properties": {"changes": changes}});
    if !schema.is_empty() {
        whole["allOf"] = json!([reference(schema)]);
    }
    whole
}

/// Lines are no JSON document.
pub(super) fn content(schema: &Json) -> Json {
    let kind = if *schema == reference("AuditLines") { NDJSON } else { "application/json" };
    json!({kind: {"schema": schema}})
}

/// The noun of a path: its last segment that is no parameter and no verb.
pub(super) fn tag(route: &Route) -> &'static str {
    let nouns = [
        "me",
        "tenants",
        "operations",
        "clusters",
        "settings",
        "api-keys",
        "audit-events",
        "policies",
        "limits",
        "bundle",
        "sidecars",
        "migrations",
        "identity-providers",
        "organisations",
        "users",
        "groups",
        "role-bindings",
        "break-glass-grants",
        "kill-switches",
        "access",
        "roles",
    ];
    route.path.rsplit('/').find(|segment| nouns.contains(segment)).unwrap_or("")
}

pub(super) fn operation_id(route: &Route) -> String {
    let segments = route
        .path
        .split('/')
        .skip(2)
        .map(|segment| segment.trim_matches(['{', '}']).replace('-', "_"));
    let segments: Vec<String> = segments.collect();
    format!("{}_{}", route.method.as_str().to_lowercase(), segments.join("_"))
}
