//! The command line as people run it: golden findings, exit codes, `up` and the lines it prints,
//! and the console blocks of the README.

mod declared;
mod lint;
mod policy;
mod sign_on;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

const PROGRAM: &str = env!("CARGO_BIN_EXE_tollgate");
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// A folder of its own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("tgc-{}-{next}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn write(&self, name: &str, content: &[u8]) {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(PROGRAM)
        .args(arguments)
        .current_dir(folder)
        .env("NO_COLOR", "1")
        .env_remove("TOLLGATE_RUN")
        .env_remove("TOLLGATE_DATA")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

const MODEL: &str = "[request_definition]\nr = sub, obj, act\n\n[policy_definition]\np = sub, obj, act, eft\n\n\
    [role_definition]\ng = _, _\n\n[policy_effect]\ne = some(where (p.eft == allow))\n\n\
    [matchers]\nm = g(r.sub, p.sub) && keyMatch2(r.obj, p.obj) && r.act == p.act\n";
const ROWS: &str = "p, staff, /docs/:id, read, allow\ng, alice, staff\n";
const TESTS: &str =
    "tests:\n  - {subject: alice, resource: /docs/1, action: read, expect: allow}\n";
const DOMAINS: &str = "[request_definition]\nr = sub, dom, obj\n\n[policy_definition]\np = sub, dom, obj\n\n\
    [role_definition]\ng = _, _, _\n\n[policy_effect]\ne = some(where (p.eft == allow))\n\n\
    [matchers]\nm = g(r.sub, p.sub, r.dom) && r.dom == p.dom && r.obj == p.obj\n";

/// File names and contents.
type Files = Vec<(&'static str, Vec<u8>)>;

/// One bad folder: a label, and the files that differ from the good ones.
fn bad_folders() -> Vec<(&'static str, Files)> {
    let model = |from: &str, to: &str| vec![("model.conf", MODEL.replace(from, to).into_bytes())];
    let rows = |rows: &str| vec![("policy.csv", rows.as_bytes().to_vec())];
    let limits = |text: &str| vec![("limits.toml", text.as_bytes().to_vec())];
    let tenant = |text: &str| vec![("tenant.toml", text.as_bytes().to_vec())];
    let schema = |text: &str| vec![("schema.json", text.as_bytes().to_vec())];
    let tests = |text: &str| vec![("tests.yaml", text.as_bytes().to_vec())];
    let limit = |from: &str, to: &str| {
        let good = "[[limit]]\nid = \"calls\"\nmeter = \"requests\"\nbucket = { rate = \"10/s\", burst = 20 }\n";
        limits(&good.replace(from, to))
    };
    let matcher =
        |text: &str| model("g(r.sub, p.sub) && keyMatch2(r.obj, p.obj) && r.act == p.act", text);
    let domains =
        |rows: &str| vec![("model.conf", DOMAINS.into()), ("policy.csv", rows.as_bytes().to_vec())];
    let many = (0..9).map(|i| format!("r.act == \"{i}\" && r.sub == p.sub")).collect::<Vec<_>>();
    let chain: String = (0..11).map(|i| format!("g, r{i}, r{}\n", i + 1)).collect();
    vec![
        ("missing-section", model("e = some(where (p.eft == allow))\n", "")),
        ("field-count", rows("p, staff, /docs/:id, read\n# two errors in one load\np, a\n")),
        ("unknown-section", model("[matchers]", "[matcher]")),
        ("malformed-line", model("g = _, _", "g _, _")),
        ("duplicate-definition", model("g = _, _", "g = _, _\ng = _, _")),
        ("unknown-effect", model("some(where (p.eft == allow))", "any(allow)")),
        ("unknown-token", model("p.act\n", "p.actt\n")),
        ("syntax", model("&& r.act", "& r.act")),
        ("unknown-function", model("keyMatch2", "keyMatsh2")),
        ("unsupported-function", model("keyMatch2", "timeMatch")),
        ("argument-count", model("keyMatch2(r.obj, p.obj)", "keyMatch2(r.obj)")),
        ("argument-kind", model("keyMatch2(r.obj, p.obj)", "keyMatch2(r.obj, r.sub)")),
        ("unbound-token", model("r = sub, obj, act", "r = sub, obj, act, mood")),
        (
            "domain-not-implied",
            vec![
                ("model.conf", DOMAINS.replace(" && r.dom == p.dom", "").into_bytes()),
                ("policy.csv", b"p, a, t, x\n".to_vec()),
            ],
        ),
        ("unknown-ptype", rows("g1, alice, staff\n")),
        ("malformed-row", rows("p, \"staff, /docs/:id, read, allow\n")),
        ("duplicate-row", rows("g, alice, staff\ng, alice, staff\n")),
        ("unknown-effect-value", rows("p, staff, /docs/:id, read, allowed\n")),
        ("bad-priority", {
            let model = MODEL
                .replace("p = sub, obj, act, eft", "p = priority, sub, obj, act, eft")
                .replace("some(where (p.eft == allow))", "priority(p.eft) || deny");
            vec![
                ("model.conf", model.into_bytes()),
                (
                    "policy.csv",
                    b"p, 10, staff, /docs/:id, read, allow\np, first, staff, /x, read, deny\n"
                        .to_vec(),
                ),
            ]
        }),
        ("bad-pattern", rows("p, staff, /docs/(a|b), read, allow\n")),
        ("pattern-too-large", {
            let mut files = matcher("regexMatch(r.obj, p.obj)");
            files.extend(rows("p, staff, (\\w{50}){50}, read, allow\n"));
            files
        }),
        ("role-depth", rows(&chain)),
        (
            "bound-exceeded",
            matcher(
                &(0..33).map(|i| format!("r.sub.a{i} == \"x\"")).collect::<Vec<_>>().join(" && "),
            ),
        ),
        ("wildcard-link", domains("p, a, t, x\ng, a, b, *\n")),
        ("foreign-domain", {
            let mut files = domains("p, a, north, x\np, a, south, x\n");
            files.extend(tenant("tenant = \"north\"\n"));
            files
        }),
        ("unsupported-definition", model("r = sub, obj, act", "r = sub, obj, act\nr2 = sub")),
        ("not-utf8", vec![("policy.csv", b"p, staff, /docs/\xff, read, allow\n".to_vec())]),
        ("missing-file", vec![("policy.csv", Vec::new())]),
        (
            "allows-by-default",
            model("some(where (p.eft == allow))", "!some(where (p.eft == deny))"),
        ),
        ("comment-in-value", model("g = _, _", "g = _, _ # roles")),
        ("scanned-policy", matcher(&many.join(" || "))),
        ("toml-syntax", limits("[[limit]\n")),
        ("unknown-key", limit("burst", "brust")),
        ("wrong-type", limit("20", "\"20\"")),
        ("missing-key", limit("meter = \"requests\"\n", "")),
        ("bad-rate", limit("10/s", "ten a second")),
        ("out-of-range", limit("20", "5_000_000_000")),
        ("duplicate-limit", {
            let one =
                "[[limit]]\nid = \"calls\"\nmeter = \"requests\"\nbucket = { rate = \"10/s\" }\n";
            limits(&format!("{one}{one}"))
        }),
        ("unknown-dimension", limit("burst = 20 }", "burst = 20 }\ndimensions = [\"subjekt\"]")),
        ("bad-name", limit("\"calls\"", "\"Calls!\"")),
        ("yaml-syntax", tests("tests: [\n")),
        ("no-tests", tests("tests: []\n")),
        ("json-syntax", schema("{\"properties\": {,}}")),
        ("schema-violation", {
            let mut files = matcher("r.sub.levle > 3 && r.obj == p.obj");
            let text = r#"{"properties": {"subject": {"properties": {"level": {"type": "integer"}}, "additionalProperties": false}}}"#;
            files.extend(schema(text));
            files
        }),
        ("bad-time", tests(&TESTS.replace("expect: allow", "expect: allow, at: noon"))),
    ]
}

#[test]
fn every_finding_looks_as_it_should() {
    let mut all = String::new();
    for (label, files) in bad_folders() {
        let folder = Folder::new();
        for (name, content) in [("model.conf", MODEL), ("policy.csv", ROWS), ("tests.yaml", TESTS)]
        {
            folder.write(&format!("bad/{name}"), content.as_bytes());
        }
        for (name, content) in &files {
            folder.write(&format!("bad/{name}"), content);
        }
        if label == "missing-file" {
            std::fs::remove_file(folder.0.join("bad/policy.csv")).unwrap();
        }
        let output = run(&folder.0, &["policy", "test", "bad"]);
        let shown = text(&output.stderr);
        assert!(shown.contains(&format!("[{label} ")), "{label}: {shown}");
        let warns = ["allows-by-default", "scanned-policy"].contains(&label);
        let code = output.status.code();
        assert!(if warns { code != Some(4) } else { code == Some(4) }, "{label}: {code:?}");
        all.push_str(&format!("── {label}\n{}\n", shown.trim_end()));
    }
    golden("findings.txt", &all);
}

/// What is shown is what a file keeps.
fn golden(name: &str, shown: &str) {
    let path = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(Path::new(&path).parent().unwrap()).unwrap();
        std::fs::write(&path, shown).unwrap();
    }
    assert!(
        std::fs::read_to_string(&path).unwrap_or_default() == shown,
        "UPDATE_GOLDEN=1 shows the change:\n{shown}"
    );
}

#[test]
fn every_code_has_a_bad_folder_or_a_test_of_the_sidecar() {
    let mut labels: Vec<&str> = bad_folders().iter().map(|(label, _)| *label).collect();
    labels.extend(lint::folders().iter().map(|(label, ..)| *label));
    let elsewhere = ["duplicate-tenant", "unknown-variable"];
    for code in tollgate_engine::Code::ALL {
        let name = code.name();
        assert!(labels.contains(&name) || elsewhere.contains(&name), "{name}");
    }
}

#[test]
fn a_page_of_every_code_is_printed_offline() {
    let names = tollgate_engine::Code::ALL.iter().map(|code| (code.name(), code.number()));
    let reasons = tollgate_engine::Reason::ALL.iter().map(|r| (r.name(), r.number()));
    let doors = tollgate_proto::frame::FrameError::ALL.iter().map(|e| (e.name(), e.number()));
    let settles = tollgate_engine::SettleCode::ALL.iter().map(|s| (s.name(), s.number()));
    for (name, number) in names.chain(reasons).chain(settles).chain(doors) {
        for wanted in [name.to_owned(), number.to_string()] {
            let output = run(Path::new(ROOT), &["errors", &wanted]);
            let page = text(&output.stdout);
            assert!(page.contains(&format!("### {number} {name}\n")), "{wanted}: {page}");
            let sections = page.matches("###").count();
            assert_eq!(page.matches("**What to do:**").count(), sections, "{page}");
            // Some words are the API's too, under a status.
            let is_shared = wanted == name && ["overloaded", "tenant-suspended"].contains(&name);
            assert_eq!(sections, if is_shared { 2 } else { 1 }, "{page}");
        }
    }
    for (wanted, sections) in [("if-match-required", 1), ("428", 1), ("404", 3)] {
        let page = text(&run(Path::new(ROOT), &["errors", wanted]).stdout);
        assert_eq!(page.matches("**What to do:**").count(), sections, "{page}");
    }
    assert_eq!(run(Path::new(ROOT), &["errors", "no-such"]).status.code(), Some(2));
}

#[test]
fn the_seven_cases_and_the_demo_pass_their_tests() {
    let output = run(Path::new(ROOT), &["policy", "test", "policies", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let (mut passed, mut uncovered) = (0, 0);
    let lines = text(&output.stdout);
    assert_eq!(lines.lines().count(), 7);
    for line in lines.lines() {
        let report: serde_json::Value = serde_json::from_str(line).unwrap();
        passed += report["passed"].as_u64().unwrap();
        uncovered += report["uncovered"].as_array().unwrap().len();
        assert_eq!(report["casbin"]["differing"], 0, "{line}");
    }
    assert!(passed >= 150, "{passed}");
    assert_eq!(uncovered, 0);
    let demo = run(Path::new(ROOT), &["policy", "test", "cli/demo"]);
    assert_eq!(demo.status.code(), Some(0), "{}", text(&demo.stdout));
}

#[test]
fn a_failing_row_says_where_why_and_by_which_path() {
    let folder = Folder::new();
    folder.write("bad/model.conf", MODEL.as_bytes());
    folder.write("bad/policy.csv", "p, staff, /docs/:id, read, allow\np, boss, /x, read, allow\ng, search, staff\ng, alice, search\n".as_bytes());
    folder.write("bad/tests.yaml", b"tests:\n  - {subject: alice, resource: /docs/1, action: read, expect: deny}\n  - {subject: alice, resource: /docs/1, action: read, expect: allow, rule: \"policy.csv:2\"}\n  - {subject: bob, resource: /docs/1, action: read, expect: allow}\n");
    let output = run(&folder.0, &["policy", "test", "bad"]);
    assert_eq!(output.status.code(), Some(1));
    let shown = text(&output.stdout);
    for line in [
        "FAIL  tests.yaml:2   bad  alice  /docs/1  read      expected deny, got allow",
        "      allowed by   policy.csv:1    p, staff, /docs/:id, read, allow",
        "      as           alice → search (policy.csv:4) → staff (policy.csv:3)",
        "FAIL  tests.yaml:3   bad  alice  /docs/1  read      expected policy.csv:2 to decide, policy.csv:1 did",
        "      reason       no-rule",
        "not covered        policy.csv:2   p, boss, /x, read, allow",
        "bad: 0 passed, 3 failed, 0 skipped · casbin agrees on 3/3 · 1 of 2 rules covered",
    ] {
        assert!(shown.contains(line), "{line}\nin\n{shown}");
    }
    let filtered = run(&folder.0, &["policy", "test", "bad", "--filter", "bob"]);
    assert!(text(&filtered.stdout).contains("0 passed, 1 failed, 2 skipped"));
    let nothing = run(&folder.0, &["policy", "test", "bad", "--filter", "zzz"]);
    assert_eq!(nothing.status.code(), Some(1), "no row is a failure");
}

#[test]
fn enforce_answers_as_casbins_own_tools_do() {
    let folder = Folder::new();
    folder.write("m.conf", MODEL.as_bytes());
    folder.write("p.csv", ROWS.as_bytes());
    folder.write(
        "abac.conf",
        MODEL.replace("g(r.sub, p.sub)", "r.sub.age > 17 && r.sub.name == p.sub").as_bytes(),
    );
    folder.write("requests", b"[\"alice\",\"/docs/1\",\"read\"]\n\n[\"alice\"]\n[\"alice\",\"/docs/1\",\"write\"]\n{}\nnot json\n[\"a\",\"b\",{\"x\":[[1]]}]\n");
    let base = ["policy", "enforce", "-m", "m.conf", "-p", "p.csv"];
    let ask = |more: &[&str]| {
        let output = run(&folder.0, &[&base[..], more].concat());
        (output.status.code().unwrap(), text(&output.stdout))
    };
    let row = "[\"staff\",\"/docs/:id\",\"read\",\"allow\"]";
    assert_eq!(
        ask(&["alice", "/docs/1", "read"]),
        (0, format!("{{\"allow\":true,\"explain\":{row}}}\n"))
    );
    assert_eq!(
        ask(&["bob", "/docs/1", "read"]),
        (1, "{\"allow\":false,\"explain\":[]}\n".to_owned())
    );
    assert_eq!(ask(&["--dialect", "casbin-rs", "alice", "/docs/1", "read"]).0, 0);
    assert_eq!(ask(&["alice"]).0, 2);
    assert_eq!(ask(&["--dialect", "other", "alice", "/docs/1", "read"]).0, 2);
    let refused = |code| format!("{{\"allow\":false,\"explain\":[],\"error\":\"{code}\"}}\n");
    let expected = [
        format!("{{\"allow\":true,\"explain\":{row}}}\n"),
        refused("argument-count"),
        "{\"allow\":false,\"explain\":[]}\n".to_owned(),
        refused("invalid"),
        refused("malformed-json"),
        refused("invalid"),
    ]
    .concat();
    assert_eq!(ask(&["--requests", "requests"]), (0, expected));
    let abac = |subject: &str| {
        let arguments =
            ["policy", "enforce", "-m", "abac.conf", "-p", "p.csv", subject, "/docs/1", "read"];
        run(&folder.0, &arguments).status.code()
    };
    assert_eq!(abac("{\"name\":\"staff\",\"age\":18}"), Some(0));
    assert_eq!(abac("{\"name\":\"staff\",\"age\":17.5}"), Some(0));
    assert_eq!(abac("{\"name\":\"staff\",\"age\":17}"), Some(1));
    assert_eq!(abac("{\"name\":\"staff\"}"), Some(1));
    assert_eq!(abac("{\"name\":"), Some(2));
    folder.write("p.csv", b"p, too, short\n");
    assert_eq!(ask(&["alice", "/docs/1", "read"]), (4, String::new()));
}

/// Runs `up` for a folder of its own; the sidecar is stopped when dropped.
struct Up {
    folder: Folder,
    shown: String,
    port: String,
}

/// A port that nobody listens on, nor 1 000 above it; below those that outgoing connections are given.
fn free_port() -> u16 {
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
    fn start(folder: Folder) -> Up {
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
        ("tollgate user list", 2, "--tenant"),
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

#[test]
fn the_console_blocks_of_the_readme_run() {
    let readme = std::fs::read_to_string(format!("{ROOT}/README.md")).unwrap();
    let mut checked = 0;
    for block in readme.split("```console\n").skip(1) {
        let block = block.split("```").next().unwrap();
        let mut lines = block.lines().peekable();
        while let Some(line) = lines.next() {
            let Some(command) = line.strip_prefix("$ tollgate ") else { continue };
            let mut expected = Vec::new();
            while let Some(next) = lines.next_if(|next| !next.starts_with("$ ")) {
                expected.push(next);
            }
            let script = format!("{PROGRAM} {command}");
            let output =
                Command::new("sh").args(["-c", &script]).current_dir(ROOT).output().unwrap();
            let got = text(&output.stdout);
            let stable = |line: &str| {
                line.rsplit_once(" · ")
                    .filter(|(_, t)| t.ends_with("ms"))
                    .map_or(line.to_owned(), |(head, _)| head.to_owned())
            };
            let got: Vec<String> = got.lines().map(stable).collect();
            let expected: Vec<String> = expected.into_iter().map(stable).collect();
            assert_eq!(got, expected, "{command}");
            checked += 1;
        }
    }
    assert!(checked >= 3, "the README shows {checked} commands");
}

#[test]
fn a_bundle_is_built_inspected_and_verified() {
    let own = Folder::new();
    let folder = own.0.clone();
    let key = |name: &str| {
        let path = folder.join(name);
        let made = Command::new("openssl")
            .args(["genpkey", "-algorithm", "ed25519", "-out"])
            .arg(&path)
            .output();
        assert!(made.expect("openssl").status.success());
        path.display().to_string()
    };
    let (ours, theirs) = (key("ours.pem"), key("theirs.pem"));
    let out = folder.join("out").display().to_string();
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../policies");
    let source = format!("{root}/saas");
    let version = ["--version", "1.4"];
    let built = run(
        &folder,
        &[&["bundle", "build", &source, "--key", &ours, "--out", &out][..], &version].concat(),
    );
    assert_eq!(built.status.code(), Some(0), "{}", String::from_utf8_lossy(&built.stderr));
    let first = std::fs::read_dir(&out).unwrap().next().unwrap().unwrap().path();
    let (tenant, first) =
        (first.file_stem().unwrap().to_string_lossy().into_owned(), first.display().to_string());
    let inspected = run(&folder, &["bundle", "inspect", "--json", &first]);
    let inspected: serde_json::Value = serde_json::from_slice(&inspected.stdout).unwrap();
    assert_eq!(
        (&inspected["tenant"], &inspected["version"]),
        (&tenant.as_str().into(), &"1.4".into())
    );
    let bytes = std::fs::read(&first).unwrap();
    let damaged = folder.join("damaged").display().to_string();
    let mut changed = bytes.clone();
    *changed.last_mut().unwrap() ^= 1;
    std::fs::write(&damaged, changed).unwrap();
    let cut = folder.join("cut").display().to_string();
    std::fs::write(&cut, &bytes[..40]).unwrap();
    for (file, arguments, code, said) in [
        (&first, vec!["--trust", &ours], 0, "good"),
        (&first, vec!["--trust", &theirs, "--trust", &ours, "--above", "1.3"], 0, "good"),
        (&first, vec!["--trust", &theirs], 1, "bundle-key 1203"),
        (&first, vec!["--trust", &ours, "--above", "1.4"], 1, "bundle-version 1207"),
        (&first, vec!["--trust", &ours, "--tenant", "nobody"], 1, "bundle-tenant 1206"),
        (&damaged, vec!["--trust", &ours], 1, "bundle-damaged 1205"),
        (&cut, vec!["--trust", &ours], 4, "bundle-malformed 1201"),
        (&first, vec!["--trust", &first], 2, "error: "),
    ] {
        let arguments = [&["bundle", "verify", file][..], &arguments].concat();
        let got = run(&folder, &arguments);
        let text = [got.stdout, got.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        assert_eq!(got.status.code(), Some(code), "{arguments:?} {text}");
        assert!(text.contains(said), "{said} in {text}");
    }
    let broken = folder.join("broken");
    std::fs::create_dir_all(&broken).unwrap();
    std::fs::write(broken.join("model.conf"), "x").unwrap();
    let broken = broken.display().to_string();
    let got = run(&folder, &["bundle", "build", &broken, "--key", &ours, "--out", &out]);
    assert_eq!(got.status.code(), Some(4));
}

#[test]
fn a_case_is_copied_run_around_a_command_and_reported() {
    let own = Folder::new();
    let folder = &own.0;
    let made = run(folder, &["init", "mine", "--from", "saas"]);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    assert_eq!(run(folder, &["init", "mine", "--from", "saas"]).status.code(), Some(2));
    assert_eq!(run(folder, &["init", "other", "--from", "nothing"]).status.code(), Some(2));
    let tested = run(folder, &["policy", "test", "mine", "--junit", "report.xml"]);
    assert_eq!(tested.status.code(), Some(0), "{}", text(&tested.stdout));
    let report = std::fs::read_to_string(folder.join("report.xml")).unwrap();
    let rows = report.matches("<testcase ").count();
    assert!(rows > 10 && report.contains(&format!("tests=\"{rows}\" failures=\"0\"")), "{report}");
    own.write("bad/model.conf", b"nothing");
    own.write("bad/policy.csv", b"");
    let tested = run(folder, &["policy", "test", "bad", "--junit", "report.xml"]);
    assert_eq!(tested.status.code(), Some(4));
    let report = std::fs::read_to_string(folder.join("report.xml")).unwrap();
    assert!(report.contains("errors=\"1\""), "{report}");
    let status = format!("{PROGRAM} status && test -S $TOLLGATE_HTTP_SOCKET && exit 7");
    let ran = run(folder, &["run", "--policies", "mine", "--", "sh", "-c", &status]);
    assert_eq!(ran.status.code(), Some(7), "{}", text(&ran.stderr));
    assert!(text(&ran.stdout).contains("active"), "{}", text(&ran.stdout));
    let ran = run(folder, &["run", "--policies", "bad", "--", "true"]);
    assert_eq!(ran.status.code(), Some(4), "{}", text(&ran.stderr));
    assert_eq!(run(folder, &["run", "--policies", "none", "--", "true"]).status.code(), Some(2));
}

const LIMITS: &str = "[[limit]]\nid = \"tokens\"\nmeter = \"tokens\"\n\
    bucket = { rate = \"1/h\", burst = 5 }\ndefault_amount = 1\n\
    [[limit]]\nid = \"writes\"\nmeter = \"requests\"\nbucket = { rate = \"1/h\", burst = 1 }\n\
    when = 'r.act == \"write\"'\n";

#[test]
fn explain_and_doctor_say_what_to_change() {
    let own = Folder::new();
    let folder = &own.0;
    for (name, content) in [
        ("policies/acme/model.conf", MODEL),
        ("policies/acme/policy.csv", ROWS),
        ("policies/broken/model.conf", "nothing"),
        ("policies/broken/policy.csv", ""),
        ("policies/acme/limits.toml", LIMITS),
    ] {
        own.write(name, content.as_bytes());
    }
    let doctor = run(folder, &["--run", "nowhere", "--data", "nothing", "doctor"]);
    assert_eq!(doctor.status.code(), Some(1));
    assert!(
        text(&doctor.stdout).contains("is not there\n  mend  tollgate"),
        "{}",
        text(&doctor.stdout)
    );
    std::fs::remove_dir_all(folder.join("policies/broken")).unwrap();
    let script = format!(
        "{PROGRAM} explain -t acme alice /docs/1 read; echo $?; \
         {PROGRAM} explain -t acme bob /docs/1 read; echo $?; \
         {PROGRAM} explain -t acme alice /docs/1 write --json; echo $?; \
         {PROGRAM} explain -t acme alice /docs/1 read --quota tokens=6; echo $?; \
         {PROGRAM} check -t acme bob /docs/1 read --json; sleep 0.2; \
         {PROGRAM} tail --no-follow --effect deny --reason no-rule; echo $?; \
         {PROGRAM} explain --request-id 00000000-1; echo $?; \
         {PROGRAM} explain --request-id $({PROGRAM} tail --no-follow -n 1 --json | sed 's/.*request_id\":\"//; s/\".*//'); \
         {PROGRAM} --data data doctor; echo $?; \
         echo 'p, staff' > policies/acme/policy.csv; sleep 2; \
         {PROGRAM} --data data doctor; echo $?"
    );
    let ran = run(folder, &["run", "--", "sh", "-c", &script]);
    let said = text(&ran.stdout);
    for expected in [
        "ALLOW   acme · bundle 1.1 · sidecar ",
        "  rule    policy.csv:1   p, staff, /docs/:id, read, allow\n  role    alice → staff (policy.csv:2)\n",
        "DENY   no-rule (2052) · acme",
        "2 of 3 hold\n          ✗ role: needs staff, bob has no role   ✓ path   ✓ action\n  \
         would match with  g, bob, staff\n",
        "\"would_match\":\"r.act = read\"",
        "  limits  tokens                  5 of 5 left\n  \
         not met writes                  condition `r.act == \"write\"` is false\n0\n",
        "DENY   quota-exceeded (2060) · acme",
        "tokens                  5 of 5 left   refuses; the request never fits\n",
        "deny   no-rule         acme  bob  /docs/1  read   ",
        "\n  asked   bob  /docs/1  read\n  nearest policy.csv:1 ",
        "Nothing is wrong.\n0\n",
        "tenant `acme` is last-known-good: ",
        "mend  tollgate errors 1102, then mend the folder\n1 finding.\n1\n",
    ] {
        assert!(said.contains(expected), "{expected}\n--- in\n{said}");
    }
}

#[test]
fn completions_are_printed() {
    for shell in ["bash", "zsh", "fish"] {
        let printed = run(Path::new("/"), &["completions", shell]);
        assert!(text(&printed.stdout).contains("tollgate"), "{shell}");
    }
}

/// Each command of a page's console blocks, and the lines that it should print.
fn console(page: &str) -> Vec<(String, Vec<String>)> {
    let text = std::fs::read_to_string(format!("{ROOT}/{page}")).unwrap();
    let mut commands: Vec<(String, Vec<String>)> = Vec::new();
    for block in text.split("```console\n").skip(1) {
        for line in block.split("```").next().unwrap().lines() {
            match (line.strip_prefix("$ "), commands.last_mut()) {
                (Some(command), _) => commands.push((command.to_owned(), Vec::new())),
                (None, Some((_, expected))) => expected.push(line.to_owned()),
                (None, None) => panic!("{page} shows output before a command"),
            }
        }
    }
    commands
}

/// Whether lines are what was expected; `…` stands for any number of lines.
fn matches(got: &[String], expected: &[String]) -> bool {
    match (got, expected) {
        ([], []) => true,
        (_, [any, rest @ ..]) if any == "…" => {
            (0..=got.len()).any(|skipped| matches(&got[skipped..], rest))
        }
        ([line, got @ ..], [wanted, rest @ ..]) => line == wanted && matches(got, rest),
        _ => false,
    }
}

/// The files that a page shows, by name: blocks that begin with "text file=NAME".
fn shown_files(page: &str) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(format!("{ROOT}/{page}")).unwrap();
    let block = |block: &str| {
        let (name, rest) = block.split_once('\n').unwrap();
        (name.to_owned(), rest.split("```").next().unwrap().to_owned())
    };
    text.split("```text file=").skip(1).map(block).collect()
}

/// Runs the commands of a page one behind the other, in a folder with the files that it shows.
fn run_page(page: &str) -> usize {
    let own = Folder::new();
    for (name, content) in shown_files(page) {
        own.write(&name, content.as_bytes());
    }
    let commands = console(page);
    let mut script = String::new();
    for (command, _) in &commands {
        script.push_str(&format!("echo '@@@'\n{command}\n"));
    }
    let programs = Path::new(PROGRAM).parent().unwrap().display();
    let path = format!("{programs}:{}", std::env::var("PATH").unwrap());
    let ran = Command::new("sh")
        .args(["-c", &script])
        .current_dir(&own.0)
        .env("PATH", path)
        .env("NO_COLOR", "1")
        .env("TOLLGATE_PORT", free_port().to_string())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let stable = |line: &str| match line.rsplit_once(" · ") {
        Some((head, time)) if time.ends_with(" ms") => head.to_owned(),
        _ => line.to_owned(),
    };
    let printed = text(&ran.stdout);
    let outputs: Vec<&str> = printed.split("@@@\n").skip(1).collect();
    assert_eq!(outputs.len(), commands.len(), "{printed}\n{}", text(&ran.stderr));
    for ((command, expected), output) in commands.iter().zip(outputs) {
        let got: Vec<String> = output.lines().map(stable).collect();
        let expected: Vec<String> = expected.iter().map(|line| stable(line)).collect();
        assert!(matches(&got, &expected), "{command}\n{got:#?}\n{}", text(&ran.stderr));
    }
    commands.len()
}

#[test]
fn the_tutorial_runs() {
    assert!(run_page("docs/tutorial/README.md") > 15);
}

#[test]
fn the_recipes_run() {
    assert!(run_page("docs/recipes/coming-from-casbin.md") > 3);
    assert!(run_page("docs/recipes/coming-from-opa.md") > 0);
    assert!(run_page("docs/recipes/coming-from-kong.md") > 2);
    assert!(run_page("docs/recipes/coming-from-litellm.md") > 1);
    assert!(run_page("docs/recipes/policy-shell.md") > 0);
}

#[test]
fn fmt_puts_columns_in_line_and_says_what_it_would_do() {
    let folder = Folder::new();
    let policy = folder.0.join("policy.csv");
    std::fs::write(folder.0.join("model.conf"), MODEL).unwrap();
    let rows = "# ours\np, staff, /docs/:id, read, allow\np, lead,/x,read,deny\ng, alice, staff\n";
    std::fs::write(&policy, rows).unwrap();
    let fmt = |flags: &[&str]| {
        let output = run(&folder.0, &[&["policy", "fmt", "."], flags].concat());
        (output.status.code(), text(&output.stdout))
    };
    assert_eq!(fmt(&["--check"]), (Some(1), "./policy.csv\n".to_owned()));
    let diff = "./policy.csv:3\n-p, lead,/x,read,deny\n+p, lead,  /x,        read, deny\n";
    assert_eq!(fmt(&["--diff"]), (Some(1), diff.to_owned()));
    assert_eq!(std::fs::read_to_string(&policy).unwrap(), rows, "nothing is written");
    assert_eq!(fmt(&["--json"]).1, "{\"changed_lines\":1,\"file\":\"./policy.csv\"}\n");
    assert_eq!(fmt(&["--check"]), (Some(0), String::new()));
    let written = "# ours\np, staff, /docs/:id, read, allow\np, lead,  /x,        read, deny\ng, alice, staff\n";
    assert_eq!(std::fs::read_to_string(&policy).unwrap(), written);
    std::fs::remove_file(&policy).unwrap();
    assert_eq!(fmt(&[]).0, Some(4));
    let ours = run(Path::new(ROOT), &["policy", "fmt", "policies", "--check"]);
    assert_eq!(ours.status.code(), Some(0), "{}", text(&ours.stdout));
}
