//! The few calls of the API that `up` makes.

use super::Failed;
use super::ground::Ground;
use crate::exit::Exit;
use serde_json::{Value as Json, json};
use std::time::Duration;
use ureq::Agent;

const CALL_TIMEOUT: Duration = Duration::from_secs(35);

fn agent() -> Agent {
    let config = Agent::config_builder()
        .timeout_global(Some(CALL_TIMEOUT))
        .http_status_as_error(false)
        .build();
    config.into()
}

pub(crate) fn is_ready(ground: &Ground) -> bool {
    let answer = agent().get(format!("{}/readyz", ground.api())).call();
    answer.is_ok_and(|answer| answer.status() == 200)
}

/// Makes the tenant `demo` and its administrator's key, if there is none; whether it was made now.
pub(crate) fn ensure_demo(ground: &Ground) -> Result<bool, Failed> {
    let (status, _) = call(ground, "/v1/tenants/demo", None)?;
    let is_new = status == 404;
    if is_new {
        let tenant = json!({"id": "demo", "display_name": "Demo"});
        let (status, made) = call(ground, "/v1/tenants", Some(&tenant))?;
        let operation = made["operation"]["id"].as_str().unwrap_or_default();
        let (_, ended) = call(ground, &format!("/v1/operations/{operation}?wait_ms=10000"), None)?;
        if status != 202 || ended["state"] != "succeeded" {
            return Err(strange("the tenant `demo` was not made", &ended));
        }
    }
    let file = ground.keys().join("demo.key");
    if is_new || !file.exists() {
        let key = json!({"name": "up", "roles": ["tenant-admin"]});
        let (_, made) = call(ground, "/v1/tenants/demo/api-keys", Some(&key))?;
        let Some(secret) = made["secret"].as_str() else {
            return Err(strange("the tenant `demo` got no key", &made));
        };
        ground.write_private(&file, &format!("{secret}\n"))?;
    }
    Ok(is_new)
}

fn strange(what: &str, answer: &Json) -> Failed {
    Failed(Exit::Unreachable, format!("{what}: {answer}"))
}

/// GET, or POST with a body; status and answer.
fn call(ground: &Ground, path: &str, body: Option<&Json>) -> Result<(u16, Json), Failed> {
    let key = std::fs::read_to_string(ground.keys().join("admin.key"))?;
    let (url, bearer) = (format!("{}{path}", ground.api()), format!("Bearer {}", key.trim()));
    let answered = match body {
        None => agent().get(&url).header("authorization", &bearer).call(),
        Some(body) => {
            let request = agent().post(&url).header("authorization", &bearer);
            request.content_type("application/json").send(body.to_string())
        }
    };
    let mut answer =
        answered.map_err(|error| Failed(Exit::Unreachable, format!("{url}: {error}")))?;
    let text = answer.body_mut().read_to_string();
    let text = text.map_err(|error| Failed(Exit::Unreachable, format!("{url}: {error}")))?;
    Ok((answer.status().as_u16(), serde_json::from_str(&text).unwrap_or_default()))
}
