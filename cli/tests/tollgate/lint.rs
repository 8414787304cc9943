//! `policy lint`: each finding as it looks, its formats, its exit codes, and that the cases have none.

use crate::{Folder, MODEL, ROOT, run, text};
use serde_json::Value as Json;
use std::path::Path;

/// A limit that the row below is not for.
const LIMITS: &str = "[[limit]]\nid = \"large\"\nmeter = \"requests\"\n\
    bucket = { rate = \"1/s\", burst = 1 }\nwhen = 'r.obj == \"/docs/large\"'\n";
const TESTS: &str =
    "tests:\n  - {subject: alice, resource: /docs/1, action: read, expect: allow}\n";

/// Label, model, rows: a folder in which lint finds it.
pub(crate) fn folders() -> Vec<(&'static str, String, &'static str)> {
    let good = MODEL.to_owned();
    let equal = MODEL.replace("keyMatch2(r.obj, p.obj)", "r.obj == p.obj");
    let both = "some(where (p.eft == allow)) && !some(where (p.eft == deny))";
    let both = MODEL.replace("some(where (p.eft == allow))", both);
    vec![
        ("unreachable-rule", good.clone(), "p, alice, /docs/:id, read, deny\n"),
        (
            "shadowed-rule",
            good.clone(),
            "p, staff, /docs/*, read, allow\np, alice, /docs/1, read, allow\ng, alice, staff\n",
        ),
        ("never-matches", equal, "p, alice, /docs/:id, read, allow\n"),
        ("overlapping-patterns", both, "p, a, /:x/edit, read, allow\np, a, /docs/:y, read, deny\n"),
        (
            "broad-pattern",
            MODEL.replace("r.act == p.act", "regexMatch(r.act, p.act)"),
            "p, alice, /docs/:id, read|write, allow\n",
        ),
        (
            "unknown-role",
            good.clone(),
            "p, role:stuff, /docs/:id, read, allow\np, role:staff, /x, read, allow\ng, a, role:staff\n",
        ),
        ("unused-role", good.clone(), "p, alice, /docs/:id, read, allow\ng, alice, staff\n"),
        ("dialect-difference", good.clone(), "p, alice, /docs/a.b, read, allow\n"),
        ("unmet-limit", good.clone(), "p, alice, /docs/1, read, allow\n"),
        (
            "unused-allowance",
            good,
            "# lint: allow(unused-role) gone\np, alice, /docs/1, read, allow\n",
        ),
    ]
}

fn lint(folder: &Folder, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = run(&folder.0, &[&["policy", "lint", "bad"], arguments].concat());
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn write(model: &str, rows: &str) -> Folder {
    let folder = Folder::new();
    folder.write("bad/model.conf", model.as_bytes());
    folder.write("bad/policy.csv", rows.as_bytes());
    folder
}

#[test]
fn every_lint_looks_as_it_should() {
    let mut all = String::new();
    for (label, model, rows) in folders() {
        let folder = write(&model, rows);
        if label == "unmet-limit" {
            folder.write("bad/limits.toml", LIMITS.as_bytes());
            folder.write("bad/tests.yaml", TESTS.as_bytes());
        }
        let (code, _, shown) = lint(&folder, &["--fail-level", "info"]);
        assert!(shown.contains(&format!("[{label} ")), "{label}: {shown}");
        assert_eq!(code, Some(1), "{label}");
        let (code, ..) = lint(&folder, &[]);
        assert_eq!(
            code,
            Some(i32::from(!["dialect-difference", "unmet-limit"].contains(&label))),
            "{label}"
        );
        all.push_str(&format!("── {label}\n{}\n", shown.trim_end()));
    }
    crate::golden("lints.txt", &all);
}

#[test]
fn levels_decide_the_exit_code() {
    let folder = write(MODEL, "p, alice, /docs/:id, read, allow\ng, alice, staff\n");
    for (level, code) in [("info", 1), ("warning", 1), ("error", 0), ("never", 0)] {
        assert_eq!(lint(&folder, &["--fail-level", level]).0, Some(code), "{level}");
    }
    let broken = write(MODEL, "p, alice\n");
    let (code, _, shown) = lint(&broken, &["--fail-level", "never"]);
    assert_eq!(code, Some(4), "{shown}");
    assert!(shown.contains("field-count"), "{shown}");
}

#[test]
fn one_list_of_findings_has_four_formats() {
    let folder = write(MODEL, "p, alice, /a.b, read, allow\ng, alice, <&>\n");
    let (_, shown, _) = lint(&folder, &["--json"]);
    let json: Json = serde_json::from_str(&shown).unwrap();
    assert_eq!(json["folder"], "bad");
    let found = json["findings"].as_array().unwrap();
    let list = |key: &str| found.iter().map(|one| one[key].clone()).collect::<Vec<_>>();
    assert_eq!(list("code"), ["dialect-difference", "unused-role"]);
    assert_eq!(list("severity"), ["info", "warning"]);
    assert_eq!(found[1]["span"]["line"], 2);
    assert_eq!(lint(&folder, &["--format", "json"]).1, shown);

    let (code, shown, _) = lint(&folder, &["--format", "sarif"]);
    assert_eq!(code, Some(1));
    let sarif: Json = serde_json::from_str(&shown).unwrap();
    assert_eq!(sarif["version"], "2.1.0");
    let results = sarif["runs"][0]["results"].as_array().unwrap();
    let ids: Vec<&str> = results.iter().map(|one| one["ruleId"].as_str().unwrap()).collect();
    assert_eq!(ids, ["dialect-difference", "unused-role"]);
    assert_eq!(results[0]["level"], "note");
    let place = &results[1]["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "bad/policy.csv");
    assert_eq!(place["region"], serde_json::json!({"startLine": 2, "startColumn": 11}));
    assert_eq!(sarif["runs"][0]["tool"]["driver"]["rules"].as_array().unwrap().len(), 2);

    let (_, shown, _) = lint(&folder, &["--format", "junit"]);
    assert!(shown.contains("tests=\"2\" failures=\"2\" errors=\"0\""), "{shown}");
    assert!(shown.contains("&lt;&amp;"), "{shown}");
}

#[test]
fn the_cases_have_no_finding_that_is_not_allowed() {
    let output = run(Path::new(ROOT), &["policy", "lint", "policies"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}
