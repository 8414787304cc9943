//! Parameters of operations: each name with its schema, once.

use crate::routes::Route;
use http::Method;
use serde_json::{Value as Json, json};

/// All of a route: of its path, its query, its headers.
pub(super) fn of(route: &Route) -> Vec<Json> {
    let named = |name: &str, place: &str, is_required: bool| {
        let (schema, description) = schema(name, route);
        json!({"name": name, "in": place, "required": is_required, "schema": schema, "description": description})
    };
    let path = route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut all: Vec<Json> = path.map(|name| named(name, "path", true)).collect();
    all.extend(route.query().into_iter().map(|name| named(name, "query", false)));
    if [Method::PATCH, Method::PUT, Method::DELETE].contains(&route.method) {
        all.push(named("If-Match", "header", true));
    }
    if route.method == Method::GET && !route.is_list() {
        all.push(named("If-None-Match", "header", false));
    }
    if route.method == Method::POST {
        all.push(named("Idempotency-Key", "header", false));
    }
    for name in ["X-Request-Id", "X-Tenant-Id", "X-Platform-Id", "X-User-Id", "traceparent"] {
        all.push(json!({"$ref": format!("#/components/parameters/{name}")}));
    }
    all
}

/// Those of every operation, for the components.
pub(super) fn of_all() -> Json {
    let text = |pattern: &str| json!({"type": "string", "pattern": pattern});
    let header = |name: &str, schema: Json, description: &str| json!({"name": name, "in": "header", "required": false, "schema": schema, "description": description});
    let id = "^[A-Za-z0-9._-]{1,128}$";
    let trace = "^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}";
    json!({
        "X-Request-Id": header("X-Request-Id", text(id), "Echoed, and in the audit log; made where it is absent."),
        "X-Tenant-Id": header("X-Tenant-Id", json!({"type": "string"}), "Must be the path's tenant, or the credential's."),
        "X-Platform-Id": header("X-Platform-Id", json!({"type": "string"}), "Must be `platform.id`."),
        "X-User-Id": header("X-User-Id", json!({"type": "string"}), "Must be the caller."),
        "traceparent": header("traceparent", text(trace), "W3C Trace Context; its trace is in the audit log."),
    })
}

fn schema(name: &str, route: &Route) -> (Json, &'static str) {
    let text = json!({"type": "string"});
    let time =
        json!({"type": "string", "format": "date-time", "examples": ["2026-11-25T00:00:00Z"]});
    let words = |words: &[&str]| json!({"type": "string", "enum": words});
    match name {
        "tenant_id" if route.path.contains("{tenant_id}") => {
            (json!({"type": "string", "examples": ["acme"]}), "The tenant.")
        }
        "tenant_id" => (text, "Only those of this tenant."),
        "id" => (text, "Of the object."),
        "key" => {
            (json!({"type": "string", "examples": ["audit.retention_days"]}), "Of the setting.")
        }
        "limit" => (
            json!({"type": "integer", "minimum": 1, "maximum": 200, "default": 50, "x-unit": "objects"}),
            "Objects of a page.",
        ),
        "name" if route.path.ends_with("/roles/{name}") => (
            json!({"type": "string", "pattern": "^[a-z][a-z0-9-]{0,62}$", "examples": ["limit-reader"]}),
            "Of the role.",
        ),
        "issuer" => (text, "Only of this issuer."),
        "user_id" => (text, "Of the user."),
        "subject" => (text, "Only of the user or group with this id."),
        "role" => (text, "Only of this role."),
        "permission" => (
            json!({"type": "string", "examples": ["policy:publish"]}),
            "Only who has this permission.",
        ),
        "type" => (words(&["user", "api-key"]), "Only people, or only keys."),
        "name" => (
            json!({"type": "string", "pattern": "^[a-z0-9-]{1,64}$", "examples": ["main"]}),
            "Of the policy.",
        ),
        "number" => {
            (json!({"type": "integer", "minimum": 1, "x-unit": "version"}), "Of the version.")
        }
        "cursor" => {
            (text, "From `next_cursor`; of this list, order, filter and credential, for a day.")
        }
        "sort" => (
            json!({"type": "string", "enum": sorts(route)}),
            "A member of the objects; with - before it, the other way.",
        ),
        "count" => (
            json!({"type": "boolean", "default": false}),
            "Adds `total`, counted up to 100 000, and `total_is_exact`.",
        ),
        "search" => (
            json!({"type": "string", "minLength": 1, "maxLength": 100}),
            "Only objects of which id, name or display name begins so; ASCII letters in either case.",
        ),
        "dry_run" => (
            json!({"type": "boolean", "default": false}),
            "The same checks and answer, with `changes`; nothing is written.",
        ),
        "wait_ms" => (
            json!({"type": "integer", "minimum": 0, "maximum": 30_000, "default": 0, "x-unit": "ms"}),
            "Waits so long for its end.",
        ),
        "state" if route.path.ends_with("/operations") => (
            words(&["pending", "running", "succeeded", "failed", "cancelled"]),
            "Only those in this state.",
        ),
        "state" if route.path.ends_with("/users") => {
            (words(&["active", "disabled"]), "Only those in this state.")
        }
        "state" => (
            words(&["provisioning", "failed", "active", "suspended", "offboarding", "destroyed"]),
            "Only those in this state.",
        ),
        "action" => {
            (json!({"type": "string", "examples": ["tenant.suspended"]}), "Only this action.")
        }
        "actor" => (text, "Only of the actor with this id."),
        "resource" => (text, "Only of the resource with this id, or of this type."),
        "outcome" => (words(&["ok", "denied", "failed"]), "Only those that ended so."),
        "from" => (time, "Not before this time."),
        "to" => (time, "Before this time."),
        "log" => (
            words(&["tenant", "platform"]),
            "The tenant's own log, or what the platform's says of it.",
        ),
        "If-Match" => (text, "The object's ETag."),
        "If-None-Match" => (text, "An ETag: 304 where nothing changed."),
        "Idempotency-Key" => (
            json!({"type": "string", "pattern": "^[!-~]{1,128}$"}),
            "For 24 hours the same call is answered once, then replayed with `Idempotent-Replayed: true`.",
        ),
        _ => (text, ""),
    }
}

/// Each way to sort, and the other way.
fn sorts(route: &Route) -> Vec<String> {
    route.sorts.iter().flat_map(|name| [(*name).to_owned(), format!("-{name}")]).collect()
}
