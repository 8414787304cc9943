//! The SDKs that clients really use, against refusals: how often they ask, and what they understand.

use crate::common::*;
use serde_json::Value as Json;
use std::path::PathBuf;
use std::process::Command;

/// One call is in each budget and bucket; the second finds it empty: for a long time, for half a second, for an hour.
const LIMITS: &str = r#"
[[limit]]
id = "budget"
meter = "requests"
budget = { amount = 1, window = "year" }
dimensions = ["subject"]
when = 'r.obj == "/budget"'

[[limit]]
id = "bucket"
meter = "requests"
bucket = { rate = "100/min", burst = 1 }
dimensions = ["subject"]
when = 'r.obj == "/bucket"'

[[limit]]
id = "far"
meter = "requests"
bucket = { rate = "1/h", burst = 1 }
dimensions = ["subject"]
when = 'r.obj == "/far"'
"#;

fn python() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").expect("a home")).join(".cache");
    let python = cache.unwrap_or_else(home).join("tollgate/tools/sdks/bin/python");
    assert!(python.exists(), "{} is missing: make setup-test", python.display());
    python
}

#[test]
fn sdks_ask_once_where_a_budget_is_used_up_and_wait_for_a_bucket() {
    let folder = folder();
    write(&folder, "acme/policy.csv", "p, openai, /:x, POST\np, anthropic, /:x, POST\n");
    write(&folder, "acme/limits.toml", LIMITS);
    let sidecar = Sidecar::start(folder, &[]);
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/sidecar/sdks.py");
    let mut drive = Command::new(python());
    drive.arg(script).arg(sidecar.http_socket());
    let driven = output(drive);
    let said = String::from_utf8_lossy(&driven.stdout).into_owned();
    assert!(driven.status.success(), "{said}{}", String::from_utf8_lossy(&driven.stderr));
    let calls: Vec<Json> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(calls.len(), 12);
    for call in &calls {
        let (limit, which) = (call["limit"].as_str().unwrap(), call["call"].as_u64().unwrap());
        // Whoever is told when to come again comes once more, and passes.
        let requests = if (limit, which) == ("bucket", 2) { 2 } else { 1 };
        assert_eq!(call["requests"], requests, "{call}");
        let error = &call["error"];
        let kind = match (limit, which) {
            ("budget", 2) => "insufficient_quota",
            ("far", 2) => "rate_limit_error",
            _ => {
                assert!(error.is_null(), "{call}");
                continue;
            }
        };
        let found = [&error["class"], &error["type"], &error["code"], &error["limit"]];
        assert_eq!(found, ["RateLimitError", kind, "quota-exceeded", limit], "{call}");
        assert_eq!(error["status"], 429, "{call}");
    }
}
