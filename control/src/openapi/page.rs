//! The document as a page: one section per noun, each operation with its parameters, bodies, examples and every
//! code; nothing is loaded from elsewhere.

use super::document;
use super::operation::tag;
use crate::routes::{ROUTES, Route};
use serde_json::Value as Json;
use std::fmt::Write;

const HEAD: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
    <meta name=\"viewport\" content=\"width=device-width\"><title>Tollgate API</title><style>\
    body{font:16px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem}\
    code,pre{font:14px ui-monospace,monospace}pre{background:#f4f4f4;padding:.7rem;overflow:auto}\
    summary{cursor:pointer;padding:.3rem 0}details details{margin-left:1rem}\
    summary b{display:inline-block;min-width:4.5rem}i{color:#666;font-style:normal}\
    table{border-collapse:collapse;width:100%}td{border-top:1px solid #ddd;padding:.25rem .6rem .25rem 0;vertical-align:top}\
    h4{margin:.8rem 0 .2rem}</style><h1>Tollgate control plane</h1>\
    <p>OpenAPI 3.1: <a href=\"openapi.json\">openapi.json</a></p>";

/// The page; `server` is where the API is reached.
pub fn page(server: &str) -> String {
    let document = document(server);
    let mut out = String::from(HEAD);
    let mut tags: Vec<&str> = Vec::new();
    for tag in ROUTES.iter().map(tag) {
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    for name in tags {
        let _ = write!(out, "<h2>{name}</h2>");
        ROUTES
            .iter()
            .filter(|route| tag(route) == name)
            .for_each(|route| out += &operation(&document, route));
    }
    out += "<h2>Objects</h2>";
    for (name, schema) in members(&document["components"]["schemas"]) {
        let _ = write!(
            out,
            "<details id=\"{name}\"><summary><code>{name}</code> ",
            name = escaped(name)
        );
        let _ =
            write!(out, "{}</summary>{}</details>", text(&schema["description"]), object(schema));
    }
    out + "</html>"
}

fn members(json: &Json) -> impl Iterator<Item = (&str, &Json)> {
    json.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value))
}

fn operation(document: &Json, route: &Route) -> String {
    let operation = &document["paths"][route.path][route.method.as_str().to_lowercase()];
    let mut out = format!(
        "<details><summary><b>{}</b><code>{}</code> {} <i>{}</i></summary><h4>Parameters</h4><table>",
        route.method,
        escaped(route.path),
        escaped(route.summary),
        route.permission
    );
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        let name = parameter["$ref"].as_str().and_then(|path| path.rsplit('/').next());
        let parameter = name.map_or(parameter, |name| &document["components"]["parameters"][name]);
        let is_required = if parameter["required"] == true { ", required" } else { "" };
        let _ = write!(
            out,
            "<tr><td><code>{}</code><td>{}{is_required}<td>{}<td>{}",
            text(&parameter["name"]),
            text(&parameter["in"]),
            kind(&parameter["schema"]),
            text(&parameter["description"])
        );
    }
    out += "</table>";
    let body = &operation["requestBody"]["content"]["application/json"]["schema"];
    if !body.is_null() {
        let _ = write!(out, "<h4>Body: {}</h4>{}", kind(body), example(document, body));
    }
    for (status, answer) in members(&operation["responses"]) {
        let content = &answer["content"]["application/json"];
        let said = text(&answer["description"]).replace('\n', "<br>");
        let schema = &content["schema"];
        let shown = if schema.is_null() { String::new() } else { kind(schema) };
        let _ = write!(out, "<h4>{status} {shown}</h4><p>{said}</p>");
        if content["examples"].is_null() {
            out += &example(document, schema);
        }
    }
    out + "</details>"
}

/// The members of an object and its example.
fn object(schema: &Json) -> String {
    let mut out = String::from("<table>");
    let required = schema["required"].as_array();
    for (name, member) in members(&schema["properties"]) {
        let is_required = required.is_some_and(|names| names.contains(&Json::from(name)));
        let _ = write!(
            out,
            "<tr><td><code>{}</code><td>{}<td>{}<td>{}",
            escaped(name),
            if is_required { "" } else { "optional" },
            kind(member),
            text(
                member["oneOf"]
                    .get(0)
                    .filter(|_| member["description"].is_null())
                    .map_or(&member["description"], |first| &first["description"])
            )
        );
    }
    out + "</table>" + &pretty(schema["examples"].get(0))
}

/// What a value is, in words: type, unit, range, the words that it may be.
fn kind(schema: &Json) -> String {
    let all = schema["allOf"].get(0).or(schema["oneOf"].get(0));
    let name = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next());
    let mut said = match (name, all) {
        (Some(name), _) => format!("<a href=\"#{name}\">{name}</a>"),
        (None, Some(first)) => kind(first),
        (None, None) => match &schema["type"] {
            Json::Array(kinds) => kinds.iter().map(text).collect::<Vec<_>>().join(" or "),
            one => text(one),
        },
    };
    if schema["oneOf"].as_array().is_some_and(|any| any.iter().any(|one| one["type"] == "null")) {
        said += " or null";
    }
    if schema["items"].is_object() {
        let _ = write!(said, " of {}", kind(&schema["items"]));
    }
    for (key, before) in [
        ("x-unit", " of "),
        ("minimum", ", from "),
        ("maximum", ", to "),
        ("default", ", default "),
        ("format", ", "),
        ("pattern", ", "),
    ] {
        if !schema[key].is_null() {
            let _ = write!(said, "{before}{}", text(&schema[key]));
        }
    }
    if let Some(words) = schema["enum"].as_array() {
        let words: Vec<String> = words.iter().map(text).collect();
        let _ = write!(said, ": {}", words.join(", "));
    }
    said
}

/// The example of a schema that is named, or of the one that it widens.
fn example(document: &Json, schema: &Json) -> String {
    let named = schema["$ref"].as_str().or(schema["allOf"][0]["$ref"].as_str());
    let name = named.and_then(|path| path.rsplit('/').next()).unwrap_or("");
    pretty(document["components"]["schemas"][name]["examples"].get(0))
}

fn pretty(example: Option<&Json>) -> String {
    let shown = example.and_then(|example| serde_json::to_string_pretty(example).ok());
    shown.map_or_else(String::new, |shown| format!("<pre>{}</pre>", escaped(&shown)))
}

fn text(json: &Json) -> String {
    match json {
        Json::Null => String::new(),
        Json::String(text) => escaped(text),
        other => escaped(&other.to_string()),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
