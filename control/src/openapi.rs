//! The OpenAPI 3.1 document, made from the table of routes and `openapi/schemas.json`, and a page to browse it.
//!
//! `openapi.json` beside the manifest is the golden copy: a test compares it.

use crate::code::Code;
use crate::routes::{ROUTES, Route};
use http::Method;
use serde_json::{Map, Value as Json, json};
use std::fmt::Write;

const SCHEMAS: &str = include_str!("openapi/schemas.json");

/// The whole document; `server` is where it is reached.
pub fn document(server: &str) -> Json {
    let mut paths: Map<String, Json> = Map::new();
    for route in ROUTES {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method.as_str().to_lowercase()] = operation(route);
    }
    let mut schemas: Json = serde_json::from_str(SCHEMAS).unwrap_or_default();
    let names: Vec<String> =
        ROUTES.iter().filter_map(|route| list_of(route.answer.1)).map(str::to_owned).collect();
    for name in names {
        let item = json!({"$ref": format!("#/components/schemas/{name}")});
        let cursor = json!({"type": ["string", "null"], "description": "Of the next page."});
        schemas[format!("{name}List")] = json!({
            "type": "object", "required": ["data", "next_cursor"],
            "properties": {"data": {"type": "array", "items": item}, "next_cursor": cursor},
        });
    }
    let codes: Vec<&str> = Code::ALL.iter().map(|code| code.name()).collect();
    schemas["Error"]["properties"]["error"]["properties"]["code"]["enum"] = json!(codes);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Tollgate control plane", "version": env!("CARGO_PKG_VERSION"),
            "description": "Tenants, keys, settings and audit. Codes stand in order of precedence.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": server}],
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "An API key: tgp_… or tgk_…"}},
        },
    })
}

/// `TenantList` is a list of `Tenant`.
fn list_of(schema: &str) -> Option<&str> {
    schema.strip_suffix("List")
}

fn operation(route: &Route) -> Json {
    let (status, schema) = route.answer;
    let answer = match schema {
        "" => json!({"description": "Done."}),
        name => json!({"description": route.summary, "content": content(name)}),
    };
    let error =
        json!({"description": "Refused: a code of the envelope.", "content": content("Error")});
    let mut operation = json!({
        "operationId": operation_id(route), "summary": route.summary, "tags": [tag(route)],
        "x-permission": route.permission, "parameters": parameters(route),
        "responses": {status.to_string(): answer, "default": error},
    });
    if let Some(name) = route.body {
        operation["requestBody"] = json!({"required": true, "content": content(name)});
    }
    operation
}

fn content(schema: &str) -> Json {
    json!({"application/json": {"schema": {"$ref": format!("#/components/schemas/{schema}")}}})
}

/// The noun of a path: its last segment that is no parameter and no verb.
fn tag(route: &Route) -> &'static str {
    let nouns = [
        "me",
        "tenants",
        "operations",
        "clusters",
        "settings",
        "api-keys",
        "audit-events",
        "roles",
    ];
    route.path.rsplit('/').find(|segment| nouns.contains(segment)).unwrap_or("")
}

fn operation_id(route: &Route) -> String {
    let segments = route
        .path
        .split('/')
        .skip(2)
        .map(|segment| segment.trim_matches(['{', '}']).replace('-', "_"));
    let segments: Vec<String> = segments.collect();
    format!("{}_{}", route.method.as_str().to_lowercase(), segments.join("_"))
}

fn parameters(route: &Route) -> Vec<Json> {
    let parameter = |name: &str, place: &str, required: bool, schema: Json, description: &str| json!({"name": name, "in": place, "required": required, "schema": schema, "description": description});
    let text = || json!({"type": "string"});
    let names =
        route.path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
    let mut all: Vec<Json> =
        names.map(|name| parameter(name, "path", true, text(), "Of the object.")).collect();
    if route.is_list() {
        let limit = json!({"type": "integer", "minimum": 1, "maximum": 200, "default": 50});
        all.push(parameter("limit", "query", false, limit, "Objects of a page."));
        all.push(parameter("cursor", "query", false, text(), "From `next_cursor`."));
    }
    for name in route.filters {
        all.push(parameter(name, "query", false, text(), "Only those."));
    }
    if route.method != Method::GET {
        let flag = json!({"type": "boolean", "default": false});
        all.push(parameter(
            "dry_run",
            "query",
            false,
            flag,
            "The same checks and answer, with `changes`; nothing is written.",
        ));
    }
    if [Method::PATCH, Method::PUT, Method::DELETE].contains(&route.method) {
        all.push(parameter("If-Match", "header", true, text(), "The object's ETag."));
    }
    if route.method == Method::POST {
        all.push(parameter(
            "Idempotency-Key",
            "header",
            false,
            text(),
            "1-128 visible ASCII characters; kept for 24 hours.",
        ));
    }
    all
}

/// The document as a page: one section per noun, nothing loaded from elsewhere.
pub fn page(server: &str) -> String {
    let document = document(server);
    let mut out = String::from(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Tollgate API</title><style>\
         body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
         code,pre{font:14px ui-monospace,monospace}summary{cursor:pointer;padding:.3rem 0}\
         b{display:inline-block;min-width:4.5rem}i{color:#666;font-style:normal}pre{background:#f4f4f4;padding:1rem;overflow:auto}\
         </style><h1>Tollgate control plane</h1><p>OpenAPI 3.1: <a href=\"openapi.json\">openapi.json</a></p>",
    );
    let mut tags: Vec<&str> = Vec::new();
    ROUTES.iter().map(tag).for_each(|tag| {
        if !tags.contains(&tag) {
            tags.push(tag)
        }
    });
    for tag_name in tags {
        let _ = write!(out, "<h2>{tag_name}</h2>");
        for route in ROUTES.iter().filter(|route| tag(route) == tag_name) {
            let operation = &document["paths"][route.path][route.method.as_str().to_lowercase()];
            let detail = serde_json::to_string_pretty(operation).unwrap_or_default();
            let _ = write!(
                out,
                "<details><summary><b>{}</b><code>{}</code> {} <i>{}</i></summary><pre>{}</pre></details>",
                route.method,
                route.path,
                route.summary,
                route.permission,
                escaped(&detail)
            );
        }
    }
    let schemas = document["components"]["schemas"].as_object().cloned().unwrap_or_default();
    out.push_str("<h2>Schemas</h2>");
    for (name, schema) in schemas {
        let detail = serde_json::to_string_pretty(&schema).unwrap_or_default();
        let _ = write!(
            out,
            "<details><summary><code>{name}</code></summary><pre>{}</pre></details>",
            escaped(&detail)
        );
    }
    out + "</html>"
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_document_is_the_golden_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
        let text = serde_json::to_string_pretty(&document("http://127.0.0.1:8082")).unwrap() + "\n";
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(path, &text).unwrap();
        }
        assert_eq!(
            std::fs::read_to_string(path).unwrap_or_default(),
            text,
            "UPDATE_GOLDEN=1 rewrites it"
        );
    }

    #[test]
    fn every_name_leads_somewhere_and_every_operation_is_one() {
        let document = document("/");
        let text = document.to_string();
        for found in text.split("#/components/schemas/").skip(1) {
            let name = found.split('"').next().unwrap();
            assert!(document["components"]["schemas"][name].is_object(), "{name}");
        }
        let ids: BTreeSet<String> = ROUTES.iter().map(operation_id).collect();
        assert_eq!(ids.len(), ROUTES.len());
        assert!(ROUTES.iter().all(|route| !tag(route).is_empty()));
        assert!(page("/").contains("<code>/v1/tenants/{tenant_id}</code>"));
    }
}
