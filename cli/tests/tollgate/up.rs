//! `tollgate up`, and what an administrator types beside it.

use crate::{Folder, PROGRAM, ROOT, run, text};
use std::process::Command;

/// Runs `up` for a folder of its own; the sidecar is stopped when dropped.
pub(crate) struct Up {
    pub(crate) folder: Folder,
    shown: String,
    pub(crate) port: String,
}

/// A port that nobody listens on, nor 1 000 above it; below those that outgoing connections are given.
pub(crate) fn free_port() -> u16 {
    static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let first = usize::try_from(std::process::id()).unwrap() * 31;
    let port = |_| {
        let next = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        u16::try_from(10_000 + (first + next) % 20_000).unwrap()
    };
    let is_free = |port: u16| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok();
    (0..1_000).map(port).find(|port| is_free(*port) && is_free(port + 1_000)).unwrap()
}

impl Up {
    pub(crate) fn start(folder: Folder) -> Up {
        let port = free_port().to_string();
        let output = run(&folder.0, &["up", "--data", "data", "--run", "run", "--port", &port]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        Up { shown: text(&output.stdout), folder, port }
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = run(&self.folder.0, &["down", "--data", "data", "--run", "run"]);
    }
}

#[test]
fn up_prints_lines_that_answer_as_they_say() {
    let up = Up::start(Folder::new());
    let lines: Vec<&str> = up.shown.lines().collect();
    let first = lines.iter().position(|line| line.starts_with("Try ")).unwrap() + 1;
    let printed: Vec<(&str, &str)> = lines[first..]
        .iter()
        .take_while(|line| line.starts_with("  "))
        .map(|line| {
            let (command, expected) = line.trim().split_once("   ").unwrap();
            (command.trim(), expected.trim())
        })
        .collect();
    assert_eq!(printed.len(), 3, "{}", up.shown);
    let shell = |command: &str| {
        let output =
            Command::new("sh").args(["-c", command]).current_dir(&up.folder.0).output().unwrap();
        text(&output.stdout)
    };
    assert_eq!(shell(printed[0].0).trim_end(), printed[0].1);
    assert_eq!(printed[1].1, "deny   no-rule, nearest policy.csv:14");
    let explained = shell(printed[1].0);
    assert!(explained.starts_with("DENY   no-rule (2052)"), "{explained}");
    assert!(explained.contains("\n  nearest policy.csv:14 "), "{explained}");
    assert_eq!(printed[2].1, "3 × allow, then deny quota-exceeded");
    let answers = shell(printed[2].0);
    let answers: Vec<&str> = answers.lines().collect();
    assert_eq!(answers.len(), 4);
    assert!(answers[..3].iter().all(|answer| *answer == "allow  policy.csv:9"), "{answers:?}");
    assert!(
        answers[3].starts_with("deny   quota-exceeded  requests-per-user  retry in "),
        "{answers:?}"
    );
}

#[test]
fn up_finds_its_state_again_and_down_leaves_nothing() {
    let up = Up::start(Folder::new());
    let places = ["--data", "data", "--run", "run"];
    let at = |words: &[&str]| run(&up.folder.0, &[words, &places[..]].concat());
    let check = |subject: &str, more: &[&str]| {
        at(&[&["check", subject, "/v1/models/small", "create"], more].concat())
    };
    let json: serde_json::Value =
        serde_json::from_slice(&check("alice", &["--json"]).stdout).unwrap();
    assert_eq!(json["decision"], true);
    assert_eq!(json["context"]["rule"], "policy.csv:9");
    assert_eq!(json["context"]["version"], "1.1");
    assert_eq!(json["context"]["limits"][0]["id"], "requests-per-tenant");
    let warned = check("carol", &["--quota", "tokens=50001"]);
    assert!(
        text(&warned.stdout).contains("soft limit tokens-per-user"),
        "{}",
        text(&warned.stdout)
    );
    assert_eq!(check("alice", &["-t", "nobody"]).status.code(), Some(1));
    assert_eq!(check("alice", &["--attr", "colour=1"]).status.code(), Some(2));
    assert_eq!(check("alice", &["--attr", "subject.x=\"y\""]).status.code(), Some(0));
    let again = at(&["up", "--json", "--port", &up.port]);
    assert_eq!(again.status.code(), Some(0), "{}", text(&again.stderr));
    let object: serde_json::Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(object["tenant"], "demo");
    assert_eq!(object["api"], format!("http://127.0.0.1:{}", up.port));
    for file in ["admin_key_file", "tenant_key_file"] {
        let key = std::fs::read_to_string(object[file].as_str().unwrap()).unwrap();
        assert_eq!(key.trim().len(), 48, "{file}");
    }
    let status = at(&["status"]);
    assert!(text(&status.stdout).contains("demo") && text(&status.stdout).contains("active"));
    assert!(text(&status.stdout).ends_with("running postgres, control, sidecar\n"));
    assert!(text(&at(&["logs"]).stdout).contains("policy folder loaded"));
    assert_eq!(at(&["down"]).status.code(), Some(0));
    assert_eq!(check("alice", &["-t", "demo"]).status.code(), Some(3));
    assert_eq!(check("alice", &[]).status.code(), Some(3));
    assert_eq!(at(&["status"]).status.code(), Some(3));
    assert_eq!(at(&["down"]).status.code(), Some(0), "nothing to stop is no error");
}

#[test]
fn an_administrator_works_from_the_shell() {
    let up = Up::start(Folder::new());
    let shell = |line: &str| {
        let places = "--data data --run run";
        let line = line.replace("tollgate ", &format!("{PROGRAM} {places} "));
        let output = Command::new("sh")
            .args(["-c", &line])
            .current_dir(&up.folder.0)
            .env("XDG_CONFIG_HOME", up.folder.0.join("config"))
            .output()
            .unwrap();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let json = |line: &str| -> serde_json::Value {
        let (code, out, err) = shell(line);
        assert_eq!(code, Some(0), "{line}: {err}");
        serde_json::from_str(&out).unwrap()
    };
    let made = json("tollgate tenant create acme --display-name Acme --label team=a --json");
    let operation = made["operation"]["id"].as_str().unwrap();
    assert_eq!(json(&format!("tollgate operation wait {operation} --json"))["state"], "succeeded");
    let key =
        json("tollgate key create ci --role service --scope setting:read --tenant acme --json");
    let secret = key["secret"].as_str().unwrap();
    let url = format!("http://127.0.0.1:{}", up.port);
    let other = json("tollgate key create second --role platform-admin --json");
    let second = other["secret"].as_str().unwrap();
    let asked = "$(tollgate kill-switch list --json | grep -o 'kil_[0-9A-Z]*')";
    for (line, code, said) in [
        ("tollgate tenant list", 0, "acme  Acme"),
        ("tollgate tenant show acme --json", 0, "\"labels\":{\"team\":\"a\"}"),
        ("tollgate tenant show nobody", 1, "tenant-not-found (404)"),
        ("tollgate tenant show 'acme/../demo'", 1, "tenant-not-found (404)"),
        ("tollgate tenant list --search AC --sort -id", 0, "acme  Acme"),
        ("tollgate tenant list --sort state", 2, "invalid (422): /sort"),
        ("tollgate audit list --sort -at --outcome ok --action tenant.created", 0, "acme"),
        ("tollgate setting list --search tenant. --tenant acme", 0, "tenant.currency"),
        ("tollgate tenant create acme", 1, "already-exists"),
        ("tollgate tenant create Acme", 2, "invalid (422)"),
        (
            "tollgate tenant update acme --display-name Other --dry-run",
            0,
            "would         tenant.updated [\"display_name\"]",
        ),
        ("tollgate tenant update acme --label team=", 0, "acme"),
        ("tollgate setting set tenant.currency USD --tenant acme", 0, "origin        tenant"),
        ("tollgate setting get tenant.currency --tenant acme", 0, "value         USD"),
        ("tollgate setting unset tenant.currency --tenant acme", 0, ""),
        ("tollgate setting list", 0, "tenant.time_zone"),
        ("tollgate tenant suspend acme --reason test", 0, "state         suspended"),
        ("tollgate tenant resume acme --reason test", 0, "state         active"),
        ("tollgate check -t demo alice /v1/models/small create", 0, "allow"),
        ("tollgate tenant suspend demo --reason test; sleep 1", 0, ""),
        ("tollgate check -t demo alice /v1/models/small create", 1, "tenant-suspended"),
        ("tollgate tenant resume demo --reason test; sleep 1", 0, ""),
        ("tollgate check -t demo alice /v1/models/small create", 0, "allow"),
        ("tollgate check -t acme alice /v1/models/small create", 1, "no-rule"),
        (
            &format!("echo {second} | tollgate login --url {url} --key-stdin --profile second"),
            0,
            "platform-admin",
        ),
        ("tollgate kill-switch create leaked; sleep 1", 0, "state         pending"),
        ("tollgate check -t demo bob /v1/models/small create", 0, "allow"),
        (&format!("tollgate kill-switch confirm {asked}"), 5, "forbidden (403)"),
        (
            &format!("tollgate kill-switch confirm {asked} --profile second; sleep 1"),
            0,
            "state         on",
        ),
        ("tollgate check -t demo bob /v1/models/small create", 1, "killed"),
        ("tollgate check -t acme alice /v1/models/small create", 1, "killed"),
        (&format!("tollgate kill-switch end {asked}; sleep 1"), 0, ""),
        ("tollgate check -t demo bob /v1/models/small create", 0, "allow"),
        ("tollgate kill-switch list", 0, "leaked"),
        ("tollgate policy publish main --tenant acme", 1, "not-found (404)"),
        ("tollgate limit list --tenant demo", 0, "requests-per-user"),
        (&format!("tollgate policy draft main {ROOT}/cli --tenant acme"), 4, "no file of a policy"),
        (&format!("tollgate policy draft main {ROOT}/policies/rest-api"), 2, "--tenant"),
        (
            &format!("tollgate policy draft main {ROOT}/policies/rest-api --tenant acme"),
            0,
            "version       1",
        ),
        (
            "tollgate policy publish main --tenant acme --dry-run",
            0,
            "would         policy.published",
        ),
        ("tollgate policy publish main --tenant acme; sleep 1", 0, "number        1"),
        ("tollgate check -t acme carl /api/orders/7 PATCH", 0, "allow"),
        (
            "tollgate limit set one '{\"meter\": \"requests\", \"bucket\": {\"rate\": \"1/d\"}}' --tenant acme; sleep 1",
            0,
            "version       1",
        ),
        ("tollgate check -t acme carl /api/orders/7 PATCH", 0, "allow"),
        ("tollgate check -t acme carl /api/orders/7 PATCH", 1, "quota-exceeded"),
        ("tollgate limit set one '{\"meter\": \"requests\"}' --tenant acme", 2, "invalid (422)"),
        ("tollgate limit unset one --tenant acme", 0, ""),
        (
            &format!("tollgate policy draft main {ROOT}/policies/saas --tenant acme"),
            0,
            "version       2",
        ),
        (
            "tollgate policy publish main --tenant acme",
            2,
            "foreign-domain: this folder is the tenant",
        ),
        (
            &format!("tollgate policy draft main {ROOT}/policies/documents --tenant acme"),
            0,
            "version       3",
        ),
        ("tollgate policy publish main --tenant acme; sleep 1", 0, "number        2"),
        ("tollgate check -t acme carl /api/orders/7 PATCH", 1, "no-rule"),
        ("tollgate policy rollback main 1 --tenant acme; sleep 1", 0, "number        3"),
        ("tollgate check -t acme carl /api/orders/7 PATCH", 0, "allow"),
        ("tollgate policy list --tenant acme", 0, "main  3"),
        ("tollgate policy versions main --tenant acme", 0, "main  3"),
        ("tollgate role set limit-reader limit:read --tenant acme", 0, "origin        custom"),
        ("tollgate role set wide tenant:suspend --tenant acme", 5, "role-too-wide (403)"),
        ("tollgate role list --tenant acme", 0, "limit-reader"),
        (
            "tollgate user create --issuer https://id.example --subject alice --tenant acme",
            0,
            "active",
        ),
        (
            "tollgate binding create user $(tollgate user list --tenant acme --json | grep -o 'usr_[0-9A-Z]*') limit-reader --tenant acme",
            0,
            "limit-reader",
        ),
        ("tollgate access list --permission limit:read --tenant acme", 0, "alice"),
        ("tollgate role unset limit-reader --tenant acme", 1, "in-use (409)"),
        ("tollgate group create Search --tenant acme", 0, "Search"),
        ("tollgate group list", 2, "--tenant"),
        ("tollgate user create --issuer https://id.example --subject root", 0, "active"),
        (
            "tollgate binding create user $(tollgate user list --json | grep -o 'usr_[0-9A-Z]*') auditor",
            0,
            "auditor",
        ),
        ("tollgate binding list", 0, "auditor"),
        ("tollgate audit list", 0, "tenant.suspended"),
        ("sleep 2; tollgate audit verify", 0, "whole         true"),
        ("tollgate audit verify --tenant acme", 0, "tampered      0"),
        ("tollgate migration start", 0, "progress.total 0"),
        ("sleep 1; tollgate migration list", 0, "succeeded"),
        (
            "TOLLGATE_CLIENT_SECRET=canary tollgate idp create https://id.example --audience api --client-id us --role admin=tenant-admin --json",
            0,
            "\"has_client_secret\":true",
        ),
        ("tollgate idp link https://id.example '*' acme", 0, "https://id.example"),
        ("tollgate idp links", 0, "acme"),
        (
            "tollgate idp delete $(tollgate idp list --json | grep -o 'idp_[0-9A-Z]*')",
            1,
            "in-use (409)",
        ),
        ("tollgate audit export --out acme.ndjson --tenant acme", 0, "the log is whole"),
        ("grep -c '\"seq\":1,' acme.ndjson", 0, "1"),
        ("tollgate audit export --out /nowhere/x --tenant acme", 2, "/nowhere/x"),
        (
            "tollgate tenant create gone; tollgate operation wait $(tollgate operation list --json | grep -o 'op_[0-9A-Z]*' | tail -n1)",
            0,
            "succeeded",
        ),
        ("tollgate tenant offboard gone --reason over --grace-days 7", 0, "offboarding"),
        ("tollgate tenant reinstate gone --reason back", 0, "active"),
        ("tollgate tenant offboard gone --reason over --grace-days 0", 0, "offboarding"),
        (
            "tollgate operation wait $(tollgate operation list --json | grep -o 'op_[0-9A-Z]*' | tail -n1)",
            0,
            "succeeded",
        ),
        ("tollgate tenant show gone --json", 0, "\"wal_checkpointed\":true"),
        ("tollgate tenant show gone --json", 0, "\"files_rewritten\":true"),
        ("tollgate tenant reinstate gone --reason back", 1, "tenant-not-found"),
        ("tollgate me", 0, "platform-admin"),
        (
            &format!("echo {secret} | tollgate login --url {url} --key-stdin --profile ci"),
            0,
            "as service of acme",
        ),
        ("tollgate setting get tenant.currency --tenant acme --profile ci", 0, "value         EUR"),
        (
            "tollgate setting set tenant.currency USD --tenant acme --profile ci",
            5,
            "forbidden (403)",
        ),
        ("tollgate me --profile nobody", 2, "no login `nobody`"),
        (&format!("echo wrong | tollgate login --url {url} --key-stdin"), 5, "unauthenticated"),
        (&format!("tollgate key revoke {} --tenant acme", key["id"].as_str().unwrap()), 0, ""),
        ("tollgate me --profile ci", 5, "credential-revoked"),
    ] {
        let (ended, out, err) = shell(line);
        assert_eq!(ended, Some(code), "{line}: {out}{err}");
        assert!(out.contains(said) || err.contains(said), "{line}: {out}{err}");
    }
    // The page for operators runs as it stands; a sidecar follows within a second.
    let page = std::fs::read_to_string(format!("{ROOT}/docs/operating/onboarding.md")).unwrap();
    let lines: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("$ ")).collect();
    assert!(lines.len() > 12, "{lines:?}");
    for line in lines {
        let line =
            if line.starts_with("tollgate check") { &format!("sleep 1; {line}") } else { line };
        let (ended, out, err) = shell(line);
        assert_eq!(ended, Some(0), "{line}: {out}{err}");
    }
    // What is collected for somebody else holds nothing that opens anything.
    let (ended, out, _) = shell("echo n | tollgate debug bundle --out refused");
    assert!(
        ended == Some(1) && out.contains("control.toml") && !up.folder.0.join("refused").exists()
    );
    let (ended, out, err) = shell("tollgate debug bundle --out debug --yes");
    assert_eq!(ended, Some(0), "{out}{err}");
    let collected: String =
        ["control.toml", "control.log", "sidecar.log", "status.json", "control-metrics.txt"]
            .map(|name| std::fs::read_to_string(up.folder.0.join("debug").join(name)).unwrap())
            .concat();
    assert!(
        collected.contains("tollgate_control_refusals_total") && collected.contains("\"demo\"")
    );
    for file in ["admin.key", "provisioner.password", "master.key"] {
        let secret = std::fs::read_to_string(up.folder.0.join("data/keys").join(file)).unwrap();
        assert!(!collected.contains(secret.trim()), "{file}");
    }
    assert_eq!(shell("tollgate debug bundle --out debug --yes").0, Some(2), "it is there");
    let (ended, _, err) = shell("tollgate down >&2; tollgate me");
    assert!(ended == Some(3) && err.contains("127.0.0.1"), "{err}");
    let kept = std::fs::metadata(up.folder.0.join("config/tollgate/profiles.json")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&kept.permissions()) & 0o777, 0o600);
}
