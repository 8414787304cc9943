//! The document as a page.

use super::document;
use super::operation::tag;
use crate::routes::ROUTES;
use std::fmt::Write;

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
