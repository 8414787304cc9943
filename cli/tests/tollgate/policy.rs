//! `policy diff`: what it says first, how it exits, and what it does not pretend to know.

use crate::{Folder, MODEL, ROWS, run, text};
use serde_json::Value as Json;

const EQUAL: &str = "[request_definition]\nr = sub, act\n[policy_definition]\np = sub, act\n\
    [role_definition]\ng = _, _\n[policy_effect]\ne = some(where (p.eft == allow))\n[matchers]\n\
    m = g(r.sub, p.sub) && r.act == p.act\n";

#[test]
fn diff_opens_with_its_counts_and_says_how_it_knows() {
    let folder = Folder::new();
    for (name, model, rows) in [
        ("one", EQUAL, "p, staff, read\ng, alice, staff\n"),
        ("two", EQUAL, "p, staff, read\ng, bob, staff\n"),
        ("paths", MODEL, ROWS),
        ("bad", MODEL, "p, staff\n"),
    ] {
        folder.write(&format!("{name}/model.conf"), model.as_bytes());
        folder.write(&format!("{name}/policy.csv"), rows.as_bytes());
    }
    let diff = |arguments: &[&str]| {
        let output = run(&folder.0, &[&["policy", "diff"], arguments].concat());
        (output.status.code(), text(&output.stdout))
    };
    let (code, shown) = diff(&["one", "two"]);
    assert_eq!(code, Some(1));
    assert_eq!(
        shown,
        "1 gain, 1 lose, 0 change · exact\n\
         gain    bob  any  read   no-rule → allow policy.csv:1\n\
         lose    alice  any  read   allow policy.csv:1 → no-rule\n"
    );
    assert_eq!(diff(&["one", "one"]), (Some(0), "0 gain, 0 lose, 0 change · exact\n".to_owned()));
    let (code, shown) = diff(&["paths", "paths"]);
    assert_eq!(code, Some(0));
    assert!(shown.starts_with("0 gain, 0 lose, 0 change · sampled from "), "{shown}");
    let (_, shown) = diff(&["one", "two", "--json"]);
    let json: Json = serde_json::from_str(&shown).unwrap();
    assert_eq!(json["gain"], 1);
    assert_eq!(json["exact"], true);
    assert_eq!(json["tenants"][0]["lose"]["examples"][0]["subject"], "alice");
    assert_eq!(diff(&["one", "bad"]).0, Some(4));
    assert_eq!(diff(&["one", "nowhere"]).0, Some(2));
}

#[test]
fn who_can_and_what_can_name_people_and_rules() {
    let folder = Folder::new();
    let rows = "p, staff, read\np, bob, write\ng, alice, staff\ng, carl, staff\n";
    folder.write("one/model.conf", EQUAL.as_bytes());
    folder.write("one/policy.csv", rows.as_bytes());
    let ask = |arguments: &[&str]| {
        let output = run(&folder.0, &[&["policy"], arguments].concat());
        (output.status.code(), text(&output.stdout))
    };
    let who = "alice  read  x   policy.csv:1\ncarl  read  x   policy.csv:1\n2 answers · exact\n";
    assert_eq!(ask(&["who-can", "one", "read", "x"]), (Some(0), who.to_owned()));
    let (_, first) = ask(&["who-can", "one", "read", "x", "--limit", "1"]);
    assert!(first.ends_with("1 answers · exact · more with --after \"alice\"\n"), "{first}");
    let (_, next) = ask(&["who-can", "one", "read", "x", "--after", "bob"]);
    assert!(next.starts_with("carl  read"), "{next}");
    assert_eq!(ask(&["who-can", "one", "fly", "x"]), (Some(1), "0 answers · exact\n".to_owned()));
    let (code, shown) = ask(&["who-can", "one", "read", "x", "--json"]);
    let json: Json = serde_json::from_str(&shown).unwrap();
    assert_eq!((code, &json["answers"][0]["rule"]), (Some(0), &Json::from("policy.csv:1")));
    assert_eq!(ask(&["who-can", "one", "read", "x", "-t", "other"]).0, Some(2));

    folder.write("two/model.conf", MODEL.as_bytes());
    folder.write("two/policy.csv", ROWS.as_bytes());
    let (code, shown) = ask(&["what-can", "two", "alice"]);
    assert_eq!(code, Some(0));
    assert!(shown.starts_with("alice  read  /docs/one   policy.csv:1\n"), "{shown}");
    assert!(shown.contains("others may, too"), "{shown}");
}

#[test]
fn a_casbin_policy_is_imported_with_a_report_and_tests() {
    let folder = Folder::new();
    let model = EQUAL
        .replace("r = sub, act", "r = user, deed")
        .replace("r.sub", "r.user")
        .replace("r.act", "r.deed");
    folder.write("m.conf", model.as_bytes());
    folder.write("p.csv", b"p, staff, read\ng, alice, staff\n");
    let import = |policy: &str, dir: &str| {
        let output = run(&folder.0, &["import", "casbin", "-m", "m.conf", "-p", policy, dir]);
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, said, _) = import("p.csv", "strict");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("`deed` is taken for the resource"), "{said}");
    assert!(said.contains("answer alike here"), "{said}");
    let tests = std::fs::read_to_string(folder.0.join("strict/tests.yaml")).unwrap();
    let row = "  - {subject: \"alice\", resource: \"read\", action: \"any\", expect: allow}\n";
    assert!(tests.contains(row), "{tests}");
    let output = run(&folder.0, &["policy", "test", "strict"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    // Rows of the wrong length load in Casbin, and are errors when they are reached.
    folder.write("odd.csv", b"p, staff, read\np, short\ng, alice, staff\n");
    let (code, said, _) = import("odd.csv", "lazy");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("in the dialect `casbin-rs`"), "{said}");
    assert!(said.contains("policy.csv:2: casbin-only"), "{said}");
    let tenant = std::fs::read_to_string(folder.0.join("lazy/tenant.toml")).unwrap();
    assert!(tenant.starts_with("dialect = \"casbin-rs\"\n"), "{tenant}");
    assert_eq!(import("p.csv", "strict").0, Some(2), "never over something");
    // Casbin for Go takes strings in single quotes, and lets a chain of roles be too long for strict.
    let go = model.replace("r.deed == p", "r.deed in ('read', 'write') && r.deed == p");
    folder.write("go.conf", go.as_bytes());
    let arguments =
        ["import", "casbin", "-m", "go.conf", "-p", "p.csv", "--dialect", "casbin-go", "go"];
    let output = run(&folder.0, &arguments);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let tenant = std::fs::read_to_string(folder.0.join("go/tenant.toml")).unwrap();
    assert!(tenant.starts_with("dialect = \"casbin-go\"\n"), "{tenant}");
    let ask = |deed: &str| {
        let files = ["-m", "go.conf", "-p", "p.csv", "--dialect", "casbin-go"];
        run(&folder.0, &[&["policy", "enforce"], &files[..], &["alice", deed]].concat())
    };
    assert_eq!(ask("read").status.code(), Some(0));
    assert_eq!(ask("delete").status.code(), Some(1));
    folder.write("bad.conf", b"[matchers]\nm = (\n");
    let output = run(&folder.0, &["import", "casbin", "-m", "bad.conf", "-p", "p.csv", "none"]);
    assert_eq!(output.status.code(), Some(4));
    assert!(!folder.0.join("none").exists());
}

#[test]
fn an_import_of_limits_refuses_what_holds_none_and_writes_over_nothing() {
    let folder = Folder::new();
    folder.write("broken.yml", b"plugins: [\n");
    folder.write("none.yml", b"plugins: [{name: cors}]\n");
    folder.write(
        "odd.json",
        br#"{"plugins": [{"name": "rate-limiting", "config": {"minute": 0, "second": "5"}}]}"#,
    );
    folder.write(
        "good.json",
        br#"{"plugins": [{"name": "rate-limiting", "config": {"minute": 5}}]}"#,
    );
    let import = |arguments: &[&str]| {
        let output = run(&folder.0, &[&["import"], arguments].concat());
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    for (arguments, code, said) in [
        (["kong", "missing.yml"], Some(2), "missing.yml"),
        (["kong", "broken.yml"], Some(4), "broken.yml:2: "),
        (["kong", "none.yml"], Some(4), "no limit was found"),
        (["kong", "odd.json"], Some(4), "no limit was found"),
        (["litellm", "none.yml"], Some(4), "no limit was found"),
    ] {
        let (got, out, err) = import(&arguments);
        assert_eq!((got, out.as_str()), (code, ""), "{arguments:?}: {err}");
        assert!(err.contains(said), "{arguments:?}: {err}");
    }
    let (code, out, _) = import(&["kong", "good.json", "-o", "limits.toml"]);
    assert_eq!((code, out.as_str()), (Some(0), "limits.toml: 1 limits\n"));
    let written = std::fs::read_to_string(folder.0.join("limits.toml")).unwrap();
    assert!(written.contains("id = \"all-minute\"\n"), "{written}");
    assert_eq!(
        import(&["kong", "good.json", "-o", "limits.toml"]).0,
        Some(2),
        "never over something"
    );
}

#[test]
fn coverage_is_rounded_down_and_can_be_demanded() {
    let folder = Folder::new();
    folder.write("one/model.conf", EQUAL.as_bytes());
    folder.write("one/policy.csv", b"p, alice, a\np, alice, b\np, alice, c\n");
    let tests = "tests:\n  - {subject: alice, resource: a, action: a, expect: allow}\n  - {subject: alice, resource: b, action: b, expect: allow}\n";
    folder.write("one/tests.yaml", tests.as_bytes());
    folder.write("one/tenant.toml", b"");
    let test = |arguments: &[&str]| {
        let output = run(&folder.0, &[&["policy", "test", "one"], arguments].concat());
        (output.status.code(), text(&output.stdout))
    };
    let (code, shown) = test(&["--json"]);
    let json: Json = serde_json::from_str(&shown).unwrap();
    assert_eq!((code, &json["coverage_percent"]), (Some(0), &Json::from(66)), "two of three");
    assert_eq!(test(&["--coverage-min", "66"]).0, Some(0));
    let (code, shown) = test(&["--coverage-min", "67"]);
    assert_eq!(code, Some(1));
    assert!(shown.ends_with("one: 66 % of rules covered, 67 % demanded\n"), "{shown}");
    assert_eq!(test(&["--coverage-min", "101"]).0, Some(2));
}

#[test]
fn bench_times_the_rows_of_a_folder() {
    let folder = Folder::new();
    folder.write("one/model.conf", MODEL.as_bytes());
    folder.write("one/policy.csv", ROWS.as_bytes());
    assert_eq!(run(&folder.0, &["policy", "bench", "one"]).status.code(), Some(1), "no tests");
    folder.write("one/tests.yaml", crate::TESTS.as_bytes());
    let output = run(&folder.0, &["policy", "bench", "one", "--json"]);
    let json: Json = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &json["requests"]), (Some(0), &Json::from(1)));
    assert!(json["tollgate"]["p50_ns"].as_f64().unwrap() > 0.0, "{json}");
    assert!(json["casbin"]["p50_ns"].as_f64().unwrap() > 0.0, "{json}");
}
