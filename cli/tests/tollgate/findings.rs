//! Everything that does not load is found and said: a bad folder for each code, and a page for each.

use crate::{Folder, MODEL, ROOT, ROWS, TESTS, golden, lint, run, text};
use std::path::Path;

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
