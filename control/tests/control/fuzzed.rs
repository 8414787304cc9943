//! Calls that schemathesis makes up from the API's own description, with the credentials of the platform and of two tenants:
//! nothing fails inside, nothing is answered that is not described, nobody gets in without a credential.

use crate::service::{Control, exchange};
use serde_json::json;
use std::path::PathBuf;
use std::process::Command;

const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
    response_headers_conformance,response_schema_conformance,ignored_auth,use_after_free";

/// So many calls at least are to be made.
const CALLS_MIN: u64 = 2_000;
/// What is shown of findings.
const SAID_CHARS_MAX: usize = 8_000;

fn program() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").expect("a home")).join(".cache");
    let program = cache.unwrap_or_else(home).join("tollgate/tools/schemathesis/bin/schemathesis");
    assert!(program.exists(), "{} is missing: make setup-test", program.display());
    program
}

#[test]
fn no_call_that_is_made_up_breaks_the_description() {
    let many = [
        ("TOLLGATE_API__UNAUTHENTICATED_PER_MINUTE", "1000000"),
        ("TOLLGATE_API__PUBLIC_DOCS", "true"),
    ];
    let control = Control::start_with(&many);
    control.tenant("acme");
    control.tenant("beta");
    // The platform's last: it may suspend and offboard the others.
    let keys = [
        control.key("acme", &["tenant-admin"], &[]),
        control.key("beta", &["auditor"], &[]),
        control.admin.clone(),
    ];
    for tenant in ["acme", "beta"] {
        let group = json!({"display_name": "Search"});
        let path = format!("/v1/tenants/{tenant}/groups");
        assert_eq!(control.ask(&control.admin, "POST", &path, Some(group)).status, 201);
    }
    let url = format!("http://127.0.0.1:{}", control.port);
    for (at, key) in keys.iter().enumerate() {
        let mut command = Command::new(program());
        command.args(["run", &format!("{url}/openapi.json"), "--url", &url, "--checks", CHECKS]);
        command.args(["--phases", "examples,coverage,fuzzing", "--max-examples", "3"]);
        command.args(["--seed", &at.to_string(), "--continue-on-failure", "--no-shrink"]);
        command.args(["--no-color", "--generation-database", "none"]);
        command.args(["--exclude-path-regex", "^/v1/auth/"]);
        command.args(["-H", &format!("Authorization: Bearer {key}")]);
        let done = command.current_dir(&control.folder).output().unwrap();
        let said: String =
            String::from_utf8_lossy(&done.stdout).chars().take(SAID_CHARS_MAX).collect();
        assert!(done.status.success(), "{said}\n{}", control.causes());
    }
    assert_eq!(control.causes(), "");
    let metrics = exchange(control.ops, "GET", "/metrics", "", "").text;
    let counts = metrics
        .lines()
        .filter(|line| line.starts_with("tollgate_control_request_duration_seconds_count"));
    let calls: u64 = counts.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum();
    assert!(calls >= CALLS_MIN, "{calls}");
}
