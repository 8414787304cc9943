//! Every answer that any test gets is held against the API's own description.

use crate::service::Answer;
use jsonschema::Validator;
use serde_json::{Value as Json, json};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};
use tollgate_control::openapi::document;
use tollgate_control::routes::{Found, find};

static DOCUMENT: LazyLock<Json> = LazyLock::new(|| document("http://127.0.0.1:8082"));
static SCHEMAS: Mutex<Option<HashMap<String, Arc<Validator>>>> = Mutex::new(None);

/// Status, code and body are among those that the operation names.
pub(crate) fn check(method: &str, path: &str, answer: &Answer) {
    let path = path.split('?').next().unwrap_or("");
    let path = path.strip_prefix("/a/b").unwrap_or(path);
    let segments: Vec<String> = path.split('/').skip(1).map(str::to_owned).collect();
    let Found::Route(route, _) = find(&method.parse().unwrap(), &segments) else { return };
    let operation = &DOCUMENT["paths"][route.path][route.method.as_str().to_lowercase()];
    let response = &operation["responses"][answer.status.to_string()];
    assert!(response.is_object(), "{route:?} answers {}: {}", answer.status, answer.text);
    let content = &response["content"]["application/json"];
    if answer.status >= 400 {
        let code = &content["examples"][answer.code()];
        assert!(code.is_object(), "{route:?} refuses with {}", answer.text);
    }
    if !response["content"]["application/x-ndjson"].is_null() {
        let kind = answer.header("content-type");
        assert_eq!(kind, Some("application/x-ndjson"), "{route:?}");
        return;
    }
    if content.is_null() {
        assert_eq!(answer.text, "", "{route:?} {}", answer.status);
        return;
    }
    let name = format!("{} {} {}", route.method, route.path, answer.status);
    let errors: Vec<String> = schema(&name, &content["schema"])
        .iter_errors(&answer.json())
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{name}: {errors:?}\n{}", answer.text);
}

fn schema(name: &str, schema: &Json) -> Arc<Validator> {
    let mut known = SCHEMAS.lock().unwrap();
    let known = known.get_or_insert_default();
    let made = || {
        // Nothing that is not described: the description itself is open, so that it can grow.
        let whole = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema", "allOf": [schema],
            "unevaluatedProperties": false, "components": DOCUMENT["components"],
        });
        Arc::new(jsonschema::validator_for(&whole).unwrap())
    };
    Arc::clone(known.entry(name.to_owned()).or_insert_with(made))
}

#[test]
fn the_document_is_whole() {
    let document = &*DOCUMENT;
    // Each example is of its schema.
    for (name, one) in document["components"]["schemas"].as_object().unwrap() {
        if name.ends_with("List") {
            continue;
        }
        let example = one["examples"].get(0).unwrap_or_else(|| panic!("{name} has no example"));
        let reference = json!({"$ref": format!("#/components/schemas/{name}")});
        let errors: Vec<String> =
            schema(name, &reference).iter_errors(example).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{name}: {errors:?}");
    }
    // What is not described is found.
    let tenant = json!({"$ref": "#/components/schemas/Tenant"});
    let mut example = document["components"]["schemas"]["Tenant"]["examples"][0].clone();
    example["more"] = json!(1);
    assert!(!schema("Tenant", &tenant).is_valid(&example));
    // Numbers have units, and whatever has a name says what it is.
    let mut numbers = 0;
    walk(document, "", &mut |path, node| {
        if node["type"] == "integer" || node["type"] == "number" {
            numbers += 1;
            assert!(node["x-unit"].is_string(), "{path} has no unit");
        }
        if node["in"].is_string() {
            assert_ne!(node["description"].as_str().unwrap_or(""), "", "{path} says nothing");
        }
        for (name, member) in node["properties"].as_object().into_iter().flatten() {
            let says = |node: &Json| node["description"].is_string() || node["$ref"].is_string();
            let is_said = says(member)
                || member["oneOf"].as_array().is_some_and(|any| any.iter().any(says))
                || member["properties"].is_object();
            assert!(is_said, "{path}/{name} says nothing");
        }
    });
    assert!(numbers > 20, "{numbers}");
}

fn walk(node: &Json, path: &str, look: &mut impl FnMut(&str, &Json)) {
    look(path, node);
    let members = node.as_object().into_iter().flatten().map(|(name, node)| (name.clone(), node));
    let items = node.as_array().into_iter().flatten().enumerate();
    for (name, node) in members.chain(items.map(|(at, node)| (at.to_string(), node))) {
        // An example is data, not a schema.
        if name != "examples" {
            walk(node, &format!("{path}/{name}"), look);
        }
    }
}
