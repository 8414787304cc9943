//! The few calls of the API that `up` makes.

use super::ground::Ground;
use super::{Failed, LOOK_INTERVAL, READY_TIMEOUT};
use crate::api::{Answer, Api};
use crate::exit::Exit;
use serde_json::{Value as Json, json};
use std::time::Instant;

pub(crate) fn is_ready(ground: &Ground) -> bool {
    let answer = Api::new(&ground.api(), "").call("GET", "/readyz", None, None);
    answer.is_ok_and(|answer| answer.is_ok())
}

/// Makes the tenant `demo` and its administrator's key, if there is none; whether it was made now.
pub(crate) fn ensure_demo(ground: &Ground) -> Result<bool, Failed> {
    let key = std::fs::read_to_string(ground.keys().join("admin.key"))?;
    let api = Api::new(&ground.api(), &key);
    let call = |method: &str, path: &str, body: Option<&Json>| {
        api.call(method, path, body, None).map_err(|message| Failed(Exit::Unreachable, message))
    };
    let is_new = call("GET", "/v1/tenants/demo", None)?.status == 404;
    if is_new {
        let tenant = json!({"id": "demo", "display_name": "Demo"});
        let made = call("POST", "/v1/tenants", Some(&tenant))?;
        let operation = made.json["operation"]["id"].as_str().unwrap_or_default();
        let ended = call("GET", &format!("/v1/operations/{operation}?wait_ms=10000"), None)?;
        if ended.json["state"] != "succeeded" {
            return Err(strange("the tenant `demo` was not made", &ended));
        }
    }
    let file = ground.keys().join("demo.key");
    if is_new || !file.exists() {
        let key = json!({"name": "up", "roles": ["tenant-admin"]});
        let made = call("POST", "/v1/tenants/demo/api-keys", Some(&key))?;
        let Some(secret) = made.json["secret"].as_str() else {
            return Err(strange("the tenant `demo` got no key", &made));
        };
        ground.write_private(&file, &format!("{secret}\n"))?;
    }
    Ok(is_new)
}

/// Waits until the control plane has published the tenant: what the sidecar decides by.
pub(crate) fn await_published(ground: &Ground) -> Result<(), Failed> {
    let (began, folder) = (Instant::now(), ground.policies().join("demo"));
    while !folder.is_symlink() || !folder.join("tenant.toml").exists() {
        if began.elapsed() > READY_TIMEOUT {
            let message =
                format!("{} was not published: {}", folder.display(), ground.last_word("control"));
            return Err(Failed(Exit::Unreachable, message));
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
    Ok(())
}

fn strange(what: &str, answer: &Answer) -> Failed {
    Failed(Exit::Unreachable, format!("{what}: {}", answer.json))
}
