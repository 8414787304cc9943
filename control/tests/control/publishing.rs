//! What a new tenant's folder holds.

use crate::cluster::cluster;
use crate::service::{Control, READY};
use serde_json::{Value as Json, json};
use std::time::{Duration, Instant};

#[test]
fn default_limits_load_or_are_refused_and_stand_in_a_new_tenants_folder() {
    let folder = cluster().folder.join("published");
    std::fs::create_dir_all(&folder).unwrap();
    let shown = folder.display().to_string();
    let control = Control::start_with(&[("TOLLGATE_PUBLISH__DIR", &shown)]);
    let path = "/v1/settings/tenant.default_limits";
    let put = |value: Json| {
        let body = Some(json!({ "value": value }));
        control.ask_with(&control.admin, "PUT", path, "if-match: \"0\"\r\n", body)
    };
    let limit = |rate: &str| {
        let bucket = json!({"rate": rate, "burst": 5});
        json!({"limit": [{"id": "all", "meter": "requests", "bucket": bucket}]})
    };
    for (value, code) in [
        (limit("many"), "bad-rate"),
        (json!({"limits": []}), "unknown-key"),
        (json!({"limit": [{"id": "all"}]}), "missing-key"),
        (json!({"limit": null}), ""),
        (json!([]), ""),
    ] {
        let refused = put(value.clone());
        assert_eq!(refused.code(), "invalid", "{value}: {}", refused.text);
        let details = &refused.json()["error"]["details"];
        assert_eq!(details["fields"][0]["pointer"], "/value");
        let found = &details["diagnostics"][0];
        assert_eq!(found["code"].as_str().unwrap_or(""), code, "{value}: {}", refused.text);
        assert_eq!(found["file"].as_str().unwrap_or("limits.toml"), "limits.toml");
        assert_eq!(found["number"].is_u64(), !code.is_empty(), "{}", refused.text);
    }
    assert_eq!(put(limit("7/s")).status, 200);
    control.tenant("acme");
    let file = folder.join("acme/limits.toml");
    let began = Instant::now();
    while !file.exists() {
        assert!(began.elapsed() < READY, "{}", control.log());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(std::fs::read_to_string(file).unwrap().contains("rate = \"7/s\""));
}
