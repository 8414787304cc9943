//! The OpenAPI 3.1 document, made from the table of routes and `openapi/schemas.json`, and a page to browse it.
//!
//! `openapi.json` beside the manifest is the golden copy: a test compares it.

mod doors;
mod operation;
mod page;
mod parameters;

pub use page::page;

use crate::code::Code;
use crate::listing::COUNT_MAX;
use crate::routes::ROUTES;
use crate::sign_on::cookie;
use operation::operation;
use serde_json::{Map, Value as Json, json};

const SCHEMAS: &str = include_str!("openapi/schemas.json");

/// The whole document; `server` is where it is reached.
pub fn document(server: &str) -> Json {
    let mut paths: Map<String, Json> = Map::new();
    for route in ROUTES {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method.as_str().to_lowercase()] = operation(route);
    }
    doors::add(&mut paths);
    let mut schemas: Json = serde_json::from_str(SCHEMAS).unwrap_or_default();
    let names: Vec<String> =
        ROUTES.iter().filter_map(|route| list_of(route.answer.1)).map(str::to_owned).collect();
    for name in names {
        let item = json!({"$ref": format!("#/components/schemas/{name}")});
        let cursor = json!({"type": ["string", "null"], "description": "Of the next page."});
        schemas[format!("{name}List")] = json!({
            "type": "object", "required": ["data", "next_cursor"],
            "properties": {
                "data": {"type": "array", "items": item, "description": "Those of this page."}, "next_cursor": cursor,
                "total": {"type": "integer", "x-unit": "objects", "maximum": COUNT_MAX, "description": "With `count=true`."},
                "total_is_exact": {"type": "boolean", "description": "With `count=true`: false where there may be more."},
            },
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
        "security": [{"key": []}, {"session": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "parameters": parameters::of_all(),
            "headers": operation::all_headers(),
            "examples": operation::refusals(),
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "An API key (tgp_… or tgk_…), or a token of an identity provider."},
                "session": {"type": "apiKey", "in": "cookie", "name": cookie::SESSION, "description": "Of a browser that signed in at /v1/auth/login; a change needs `Origin` too."},
            },
        },
    })
}

/// `TenantList` is a list of `Tenant`.
fn list_of(schema: &str) -> Option<&str> {
    schema.strip_suffix("List")
}

#[cfg(test)]
mod tests {
    use super::operation::{operation_id, tag};
    use super::*;
    use crate::routes::Route;
    use std::collections::BTreeSet;

    #[test]
    fn the_document_is_the_golden_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
        let text = serde_json::to_string_pretty(&document("http://127.0.0.1:8082")).unwrap() + "\n";
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(path, &text).unwrap();
        }
        let golden = std::fs::read_to_string(path).unwrap_or_default();
        let other = golden.lines().zip(text.lines()).find(|(golden, now)| golden != now);
        assert_eq!((other, golden.len()), (None, text.len()), "UPDATE_GOLDEN=1 rewrites it");
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
        assert!(ROUTES.iter().all(|route: &Route| !tag(route).is_empty()));
        assert!(page("/").contains("<code>/v1/tenants/{tenant_id}</code>"));
    }
}
