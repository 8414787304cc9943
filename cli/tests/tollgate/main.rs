//! The command line as people run it: golden findings, exit codes, `up` and the lines it prints,
//! and the console blocks of the README.

mod declared;
mod findings;
mod lint;
mod pages;
mod policy;
mod sign_on;
mod up;

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
