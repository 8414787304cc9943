//! Makes the client of the API from control/openapi.json: a function per operation, a struct per body and per query. What
//! the document does not know does not compile in the commands.

use serde_json::Value as Json;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::PathBuf;

const DOCUMENT: &str = "../control/openapi.json";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed={DOCUMENT}");
    let document: Json = serde_json::from_str(&std::fs::read_to_string(DOCUMENT)?)?;
    let (mut out, mut structs) = (String::new(), BTreeSet::new());
    for (path, methods) in members(&document["paths"]) {
        for (method, operation) in members(methods) {
            let call = Operation { document: &document, path, method, operation };
            out += &call.function();
            structs.extend(call.structs());
        }
    }
    out.extend(structs);
    let folder = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    Ok(std::fs::write(folder.join("calls.rs"), out)?)
}

fn members(json: &Json) -> impl Iterator<Item = (&str, &Json)> {
    json.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value))
}

fn text(json: &Json) -> &str {
    json.as_str().unwrap_or("")
}

/// The last part of a reference: `TenantList`.
fn named(schema: &Json) -> Option<&str> {
    schema["$ref"].as_str()?.rsplit('/').next()
}

struct Operation<'d> {
    document: &'d Json,
    path: &'d str,
    method: &'d str,
    operation: &'d Json,
}

impl<'d> Operation<'d> {
    fn parameters(&self, place: &'d str) -> impl Iterator<Item = &'d Json> {
        let all = self.operation["parameters"].as_array().into_iter().flatten();
        all.filter(move |parameter| parameter["in"] == place)
    }

    fn body(&self) -> Option<&'d str> {
        named(&self.operation["requestBody"]["content"]["application/json"]["schema"])
    }

    /// Of a list after its items, of another after the operation; `dry_run` stands beside.
    fn query(&self) -> Option<String> {
        self.parameters("query").find(|parameter| parameter["name"] != "dry_run")?;
        let answer = &self.operation["responses"]["200"]["content"]["application/json"]["schema"];
        let list = named(answer).and_then(|name| name.strip_suffix("List"));
        let words = text(&self.operation["operationId"]).split('_').map(|word| {
            let (first, rest) = word.split_at(word.len().min(1));
            format!("{}{rest}", first.to_uppercase())
        });
        Some(format!("{}Query", list.map_or_else(|| words.collect(), str::to_owned)))
    }

    fn function(&self) -> String {
        let mut arguments: Vec<String> = Vec::new();
        for parameter in self.parameters("path") {
            arguments.push(format!("{}: &str", text(&parameter["name"])));
        }
        // In the order of the path: `segment(tenant_id), segment(id)`.
        let mut template = self.path.to_owned();
        let mut values: Vec<String> = Vec::new();
        for argument in self.path.split(['{', '}']).skip(1).step_by(2) {
            template = template.replace(&format!("{{{argument}}}"), "{}");
            values.push(format!("segment({argument})"));
        }
        if self.query().is_some() {
            template += "{}";
            values.push("query.text()".to_owned());
        }
        arguments.extend(self.query().map(|name| format!("query: &{name}")));
        arguments.extend(self.body().map(|name| format!("body: &{name}")));
        let path = match values.is_empty() {
            true => format!("{template:?}.to_owned()"),
            false => format!("format!({template:?}, {})", values.join(", ")),
        };
        let body = if self.body().is_some() { "Some(body.json())" } else { "None" };
        format!(
            "/// {}: `{} {}`\npub(crate) fn {}({}) -> Call {{\n    let path = {path};\n    \
             Call {{ method: {:?}, path, body: {body}, needs_etag: {} }}\n}}\n\n",
            text(&self.operation["summary"]),
            self.method.to_uppercase(),
            self.path,
            text(&self.operation["operationId"]),
            arguments.join(", "),
            self.method.to_uppercase(),
            self.parameters("header").any(|header| header["name"] == "If-Match"),
        )
    }

    fn structs(&self) -> Vec<String> {
        let query = self.query().map(|name| {
            let known = self.parameters("query").filter(|one| one["name"] != "dry_run");
            let fields = known.map(|one| (text(&one["name"]), &one["schema"], false));
            structure(&name, &fields.collect::<Vec<_>>())
        });
        let body = self.body().map(|name| {
            let schema = &self.document["components"]["schemas"][name];
            let required = schema["required"].as_array().cloned().unwrap_or_default();
            let fields = members(&schema["properties"])
                .map(|(name, schema)| (name, schema, required.contains(&Json::from(name))));
            structure(name, &fields.collect::<Vec<_>>())
        });
        query.into_iter().chain(body).collect()
    }
}

/// A struct of borrowed members, and its JSON and its query.
fn structure(name: &str, fields: &[(&str, &Json, bool)]) -> String {
    let has_texts = fields
        .iter()
        .any(|(_, schema, _)| !["integer", "boolean"].contains(&text(&schema["type"])));
    let (of, borrowed) = if has_texts { ("<'a>", "<'_>") } else { ("", "") };
    let (mut declared, mut put) = (String::new(), String::new());
    for (field, schema, is_required) in fields {
        let kind = match text(&schema["type"]) {
            "string" => "&'a str",
            "integer" => "i64",
            "boolean" => "bool",
            "array" => "&'a [String]",
            "object" => "&'a Map<String, Json>",
            _ => "&'a Json",
        };
        // A word of the language needs its raw form.
        let member = if *field == "type" { "r#type" } else { field };
        let _ = match is_required {
            true => {
                writeln!(declared, "    pub(crate) {member}: {kind},").and_then(|()| {
                    writeln!(put, "        all.insert({field:?}.to_owned(), json!(self.{member}));")
                })
            }
            false => writeln!(declared, "    pub(crate) {member}: Option<{kind}>,").and_then(|()| {
                writeln!(
                    put,
                    "        if let Some(value) = self.{member} {{ all.insert({field:?}.to_owned(), json!(value)); }}"
                )
            }),
        };
    }
    let default =
        if fields.iter().any(|(_, _, is_required)| *is_required) { "" } else { "Default, " };
    format!(
        "#[derive({default}Debug, Clone)]\npub(crate) struct {name}{of} {{\n{declared}}}\n\n\
         impl {name}{borrowed} {{\n    fn json(&self) -> Json {{\n        let mut all = Map::new();\n{put}        \
         Json::Object(all)\n    }}\n\n    fn text(&self) -> String {{\n        query_of(&self.json())\n    }}\n}}\n\n"
    )
}
