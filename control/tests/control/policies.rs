//! From draft to the folder that sidecars watch, and back; limits beside it.

use crate::cluster::cluster;
use crate::service::{Answer, Control, READY};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value as Json, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tollgate_proto::bundle::{PublicKey, SigningSecret, TrustSet, compile, open};

const MODEL: &str = "[request_definition]\nr = sub, obj, act\n[policy_definition]\np = sub, obj, act\n\
    [policy_effect]\ne = some(where (p.eft == allow))\n[matchers]\n\
    m = r.sub == p.sub && keyMatch2(r.obj, p.obj) && r.act == p.act\n";
const ALICE: &str = "p, alice, /v1/:x, read\n";
const BOTH: &str = "p, alice, /v1/:x, read\np, bob, /v1/:x, read\n";
const TESTS: &str = "tests:\n  - {subject: alice, resource: /v1/a, action: read, expect: allow, rule: policy.csv:1}\n  \
    - {subject: carl, resource: /v1/a, action: read, expect: deny}\n";

struct World {
    control: Control,
    folder: PathBuf,
    key: String,
}

impl World {
    fn new() -> World {
        static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let next = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let folder = cluster().folder.join(format!("policies-{next}"));
        std::fs::create_dir_all(&folder).unwrap();
        let shown = folder.display().to_string();
        let control = Control::start_with(&[("TOLLGATE_PUBLISH__DIR", &shown)]);
        control.tenant("acme");
        let key = control.key("acme", &["tenant-admin"], &[]);
        World { control, folder, key }
    }

    fn ask(&self, method: &str, path: &str, body: Option<Json>) -> Answer {
        self.control.ask(&self.key, method, &format!("/v1/tenants/acme{path}"), body)
    }

    fn at(&self, method: &str, path: &str, etag: &str, body: Option<Json>) -> Answer {
        let headers = format!("if-match: {etag}\r\n");
        self.control.ask_with(&self.key, method, &format!("/v1/tenants/acme{path}"), &headers, body)
    }

    fn draft(&self, etag: &str, rows: &str, tests: &str) -> Answer {
        let files = json!({"model.conf": MODEL, "policy.csv": rows, "tests.yaml": tests});
        self.at("PUT", "/policies/main/draft", etag, Some(json!({ "files": files })))
    }

    fn published(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.join("acme").join(name)).unwrap_or_default()
    }

    /// Waits until the folder holds this text; how long that took.
    fn until(&self, name: &str, is_there: impl Fn(&str) -> bool) -> Duration {
        let began = Instant::now();
        while !is_there(&self.published(name)) {
            assert!(began.elapsed() < READY, "{name}: {}", self.control.log());
            std::thread::sleep(Duration::from_millis(5));
        }
        began.elapsed()
    }
}

fn is_refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.code().as_str()), (status, code), "{}", answer.text);
}

#[test]
fn a_draft_is_checked_published_and_rolled_back_byte_for_byte() {
    let world = World::new();
    // Nothing is there yet.
    for path in ["/policies/main", "/policies/main/draft", "/policies/main/versions/1"] {
        is_refused(&world.ask("GET", path, None), 404, "not-found");
    }
    for path in ["lint", "test", "diff", "publish"] {
        is_refused(&world.ask("POST", &format!("/policies/main/{path}"), None), 404, "not-found");
    }
    // A draft is written whole, at the version that was read.
    is_refused(
        &world.ask("PUT", "/policies/main/draft", Some(json!({"files": {}}))),
        422,
        "invalid",
    );
    let without = json!({"files": {"model.conf": MODEL}});
    is_refused(&world.ask("PUT", "/policies/main/draft", Some(without)), 428, "if-match-required");
    for files in [json!({"limits.toml": ""}), json!({"../x": ""}), json!({"policy.csv": "a\u{0}"})]
    {
        let body = Some(json!({ "files": files }));
        is_refused(&world.at("PUT", "/policies/main/draft", "\"0\"", body), 422, "invalid");
    }
    is_refused(&world.at("PUT", "/policies/MAIN/draft", "\"0\"", None), 422, "invalid");
    let draft = world.draft("\"0\"", ALICE, TESTS);
    assert_eq!((draft.status, draft.header("etag")), (200, Some("\"1\"")), "{}", draft.text);
    is_refused(&world.draft("\"0\"", ALICE, TESTS), 412, "version-mismatch");
    // What lint, tests and diff say of it.
    let lint = world.ask("POST", "/policies/main/lint", None).json();
    assert_eq!(lint["loads"], true, "{lint}");
    let test = world.ask("POST", "/policies/main/test", None).json();
    assert_eq!((&test["passed"], &test["failed"]), (&json!(2), &json!(0)), "{test}");
    let diff = world.ask("POST", "/policies/main/diff", None).json();
    assert_eq!((&diff["gain"]["count"], &diff["lose"]["count"]), (&json!(1), &json!(0)), "{diff}");
    // Published: a version, the bundle's number, the folder.
    let dry = world.ask("POST", "/policies/main/publish?dry_run=true", None).json();
    assert_eq!(dry["changes"][0]["action"], "policy.published", "{dry}");
    let first = world.ask("POST", "/policies/main/publish", None);
    assert_eq!(first.json()["bundle"], json!({"epoch": 1, "seq": 1}), "{}", first.text);
    let took = world.until("policy.csv", |text| text == ALICE);
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert!(world.published("tenant.toml").contains("state = \"active\""));
    // Another, and the first again.
    let etag = world.ask("GET", "/policies/main/draft", None);
    let etag = etag.header("etag").unwrap();
    assert_eq!(world.draft(etag, BOTH, TESTS).status, 200);
    let stale = world.at("POST", "/policies/main/publish", etag, None);
    is_refused(&stale, 412, "version-mismatch");
    let second = world.ask("POST", "/policies/main/publish", None).json();
    assert_eq!((&second["number"], &second["bundle"]["seq"]), (&json!(2), &json!(2)), "{second}");
    world.until("policy.csv", |text| text == BOTH);
    let rollback =
        |number: i64| world.ask("POST", "/policies/main/rollback", Some(json!({"number": number})));
    is_refused(&rollback(9), 422, "invalid");
    let third = rollback(1).json();
    assert_eq!((&third["number"], &third["bundle"]["seq"]), (&json!(3), &json!(3)), "{third}");
    assert_eq!(third["files"], first.json()["files"]);
    world.until("policy.csv", |text| text == ALICE);
    let versions = world.ask("GET", "/policies/main/versions", None).json();
    let numbers: Vec<i64> = versions["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["number"].as_i64().unwrap())
        .collect();
    assert_eq!(numbers, [1, 2, 3]);
    let old = world.ask("GET", "/policies/main/versions/2", None).json();
    assert_eq!(old["files"]["policy.csv"], BOTH);
    let names = world.ask("GET", "/policies", None).json();
    let main = json!({"name": "main", "draft_version": 2, "published_number": 3, "in_force": true});
    assert_eq!(names["data"], json!([main]));
    // Each is audited, by its own transaction.
    let events = world.ask("GET", "/audit-events?limit=200", None).json();
    let events = events["data"].as_array().unwrap().iter();
    let actions: Vec<&str> = events
        .map(|event| event["action"].as_str().unwrap())
        .filter(|action| action.starts_with("policy."))
        .collect();
    let expected = [
        "policy.drafted",
        "policy.published",
        "policy.drafted",
        "policy.published",
        "policy.rolled_back",
    ];
    assert_eq!(actions, expected);
}

#[test]
fn what_does_not_load_or_fails_its_tests_is_not_published() {
    let world = World::new();
    let failing = TESTS.replace("carl", "alice");
    for (rows, tests, code) in [
        ("p, alice\n", TESTS, "policy-invalid"),
        (ALICE, "tests:\n  - {subject: alice}\n", "policy-invalid"),
        (ALICE, failing.as_str(), "policy-tests-failed"),
        (BOTH, &TESTS.replace("policy.csv:1", "policy.csv:2"), "policy-tests-failed"),
    ] {
        assert_eq!(world.draft("*", rows, tests).status, 200);
        let refused = world.ask("POST", "/policies/main/publish", None);
        is_refused(&refused, 422, code);
        let details = &refused.json()["error"]["details"];
        match code {
            "policy-invalid" => assert!(details["diagnostics"][0]["line"].is_null()),
            _ => {
                assert_eq!((&details["passed"], &details["failed"]), (&json!(1), &json!(1)));
                assert_eq!(details["failures"][0]["subject"], "alice");
            }
        }
    }
    is_refused(&world.ask("GET", "/policies/main", None), 404, "not-found");
    assert!(!world.published("policy.csv").contains("alice, /v1/:x"));
    // Given up.
    let version = world.ask("GET", "/policies/main/draft", None);
    let etag = version.header("etag").unwrap();
    assert_eq!(world.at("DELETE", "/policies/main/draft", etag, None).status, 204);
    is_refused(&world.at("DELETE", "/policies/main/draft", etag, None), 404, "not-found");
}

#[test]
fn whoever_wrote_a_draft_may_have_to_ask_another() {
    let world = World::new();
    let second = world.control.key("acme", &["tenant-admin"], &[]);
    let auditor = world.control.key("acme", &["auditor"], &[]);
    let service = world.control.key("acme", &["service"], &["policy:publish"]);
    let put =
        world.at("PUT", "/settings/policy.second_person", "\"0\"", Some(json!({"value": true})));
    assert_eq!(put.status, 200, "{}", put.text);
    assert_eq!(world.draft("\"0\"", ALICE, TESTS).status, 200);
    let path = "/v1/tenants/acme/policies/main/publish";
    for (key, status) in [(&world.key, 403), (&auditor, 403), (&second, 200), (&service, 200)] {
        let answer = world.control.ask(key, "POST", path, None);
        assert_eq!(answer.status, status, "{}", answer.text);
        if status == 403 {
            assert_eq!(answer.json()["error"]["details"]["permission"], "policy:publish");
        }
    }
    // Read by the auditor, written by none of those; unknown to another tenant.
    let read = world.control.ask(&auditor, "GET", "/v1/tenants/acme/policies/main", None);
    assert_eq!(read.json()["number"], 2);
    for key in [&auditor, &service] {
        let path = "/v1/tenants/acme/policies/main/draft";
        let body = Some(json!({"files": {"policy.csv": ""}}));
        let answer = world.control.ask_with(key, "PUT", path, "if-match: *\r\n", body);
        is_refused(&answer, 403, "forbidden");
    }
    world.control.tenant("beta");
    let beta = world.control.key("beta", &["tenant-admin"], &[]);
    let answer = world.control.ask(&beta, "GET", "/v1/tenants/acme/policies/main", None);
    is_refused(&answer, 404, "tenant-not-found");
}

#[test]
fn limits_are_the_platforms_until_they_are_changed() {
    let world = World::new();
    let limit = |rate: &str| json!({"meter": "requests", "bucket": {"rate": rate, "burst": 5}});
    let default = json!({"value": {"limit": [{"id": "all", "meter": "requests", "bucket": {"rate": "7/s"}}]}});
    let path = "/v1/settings/tenant.default_limits";
    let put = world.control.ask_with(
        &world.control.admin,
        "PUT",
        path,
        "if-match: \"0\"\r\n",
        Some(default),
    );
    assert_eq!(put.status, 200, "{}", put.text);
    world.control.tenant("beta");
    let shown =
        world.control.ask(&world.control.admin, "GET", "/v1/tenants/beta/limits", None).json();
    assert_eq!((&shown["data"][0]["id"], &shown["data"][0]["version"]), (&json!("all"), &json!(0)));
    // Edited in place they are others.
    let file = world.folder.join("acme/limits.toml");
    world.until("tenant.toml", |text| text.contains("acme"));
    std::fs::write(&file, "[[limit]").unwrap();
    is_refused(&world.ask("GET", "/limits", None), 422, "invalid");
    let own = "[[limit]]\nid = \"edited\"\nmeter = \"requests\"\nbucket = { rate = \"7/s\" }\n";
    std::fs::write(&file, own).unwrap();
    assert_eq!(world.ask("GET", "/limits", None).json()["data"][0]["id"], "edited");
    // The first change makes them the tenant's own.
    let made = world.at("PUT", "/limits/mine", "\"0\"", Some(limit("3/s")));
    assert_eq!((made.status, made.header("etag")), (200, Some("\"1\"")), "{}", made.text);
    world.until("limits.toml", |text| text.contains("3/s") && text.contains("7/s"));
    // A policy does not take them away, nor they a policy.
    assert_eq!(world.draft("\"0\"", ALICE, TESTS).status, 200);
    assert_eq!(world.ask("POST", "/policies/main/publish", None).status, 200);
    world.until("policy.csv", |text| text == ALICE);
    assert!(world.published("limits.toml").contains("3/s"));
    let shown = world.ask("GET", "/limits/mine", None);
    let mut body = shown.json();
    body["bucket"]["rate"] = json!("4/s");
    let etag = shown.header("etag").unwrap();
    assert_eq!(world.at("PUT", "/limits/mine", etag, Some(body.clone())).status, 200);
    is_refused(&world.at("PUT", "/limits/mine", etag, Some(body)), 412, "version-mismatch");
    world.until("limits.toml", |text| text.contains("4/s"));
    assert_eq!(world.published("policy.csv"), ALICE);
    for (id, body, what) in [
        ("bad", limit("many"), "bad-rate"),
        ("Bad", limit("1/s"), "bad-name"),
        ("bad", json!({"meter": "requests"}), "missing-key"),
        (
            "bad",
            json!({"meter": "requests", "bucket": {"rate": "1/s"}, "when": "r.nothing == 1"}),
            "",
        ),
        ("bad", json!({"id": "other", "meter": "requests"}), "-"),
        ("bad", json!({"meter": null}), "-"),
    ] {
        let refused = world.at("PUT", &format!("/limits/{id}"), "\"0\"", Some(body.clone()));
        is_refused(&refused, 422, "invalid");
        let found = refused.json()["error"]["details"]["diagnostics"][0]["code"].clone();
        assert!(
            what.is_empty() || found == what || (what == "-" && found.is_null()),
            "{body}: {found}"
        );
    }
    assert_eq!(world.at("DELETE", "/limits/mine", "\"2\"", None).status, 204);
    is_refused(&world.at("DELETE", "/limits/mine", "\"2\"", None), 404, "not-found");
    world.until("limits.toml", |text| !text.contains("4/s") && text.contains("7/s"));
}

/// Whoever published ended between the tenant's database and the platform's: the bundle is found nevertheless.
#[test]
fn a_bundle_that_nobody_told_of_is_published_after_a_restart() {
    let mut world = World::new();
    assert_eq!(world.draft("\"0\"", ALICE, TESTS).status, 200);
    assert_eq!(world.ask("POST", "/policies/main/publish", None).status, 200);
    world.until("policy.csv", |text| text == ALICE);
    world.control.kill();
    world.control.psql("DELETE FROM published_bundles").unwrap();
    remove(&world.folder);
    world.control.again();
    world.until("policy.csv", |text| text == ALICE);
}

fn remove(folder: &Path) {
    std::fs::remove_dir_all(folder).unwrap();
    std::fs::create_dir_all(folder).unwrap();
}

#[test]
fn the_bundle_is_what_was_published_under_one_signature() {
    let world = World::new();
    is_refused(&world.ask("GET", "/bundle", None), 404, "not-found");
    assert_eq!(world.draft("\"0\"", BOTH, TESTS).status, 200);
    let published = world.ask("POST", "/policies/main/publish", None);
    assert_eq!(published.status, 200, "{}", published.text);
    let answer = world.ask("GET", "/bundle", None);
    let shown = answer.json();
    assert_eq!(shown["version"], published.json()["bundle"]);
    assert_eq!(answer.header("etag"), Some("\"1\""));
    let bytes = STANDARD.decode(shown["bundle"].as_str().unwrap()).unwrap();
    let key = PublicKey::from_pem(shown["public_key"].as_str().unwrap()).unwrap();
    let trust = TrustSet::new(vec![key]).unwrap();
    let bundle = open(&bytes, &trust).unwrap();
    assert_eq!((bundle.manifest.tenant.as_str(), bundle.manifest.seq), ("acme", 1));
    let state = compile(&bundle, 1).unwrap();
    assert_eq!(state.name(), "acme");
    // A byte more or less is another bundle, and so is one of another key.
    for at in [10, 80, bytes.len() - 1] {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        assert!(open(&changed, &trust).is_err(), "byte {at}");
    }
    let other = TrustSet::new(vec![SigningSecret::from_bytes(&[7; 32]).public()]).unwrap();
    assert!(open(&bytes, &other).is_err());
    // A limit is the next.
    let limit = json!({"meter": "requests", "bucket": {"rate": "1/s", "burst": 1}});
    assert_eq!(world.at("PUT", "/limits/one", "\"0\"", Some(limit)).status, 200);
    let next = world.ask("GET", "/bundle", None).json();
    assert_eq!((&next["version"]["seq"], &next["key_id"]), (&json!(2), &shown["key_id"]));
    let sections: Vec<&str> = next["sections"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    assert_eq!(sections, ["policy", "limits"]);
    // Another key signs the same bundle; whoever trusts the first alone does not take it.
    let rotated = world.control.run(&["rekey", "--signing-key"]);
    assert!(rotated.status.success(), "{}", String::from_utf8_lossy(&rotated.stderr));
    let again = world.ask("GET", "/bundle", None).json();
    assert_eq!(again["version"], next["version"]);
    assert_ne!(again["key_id"], next["key_id"]);
    let bytes = STANDARD.decode(again["bundle"].as_str().unwrap()).unwrap();
    let key = PublicKey::from_pem(again["public_key"].as_str().unwrap()).unwrap();
    assert!(open(&bytes, &trust).is_err());
    assert!(open(&bytes, &TrustSet::new(vec![key]).unwrap()).is_ok());
    let retired = "/v1/audit-events?action=signing_key.retired";
    let retired = world.control.ask(&world.control.admin, "GET", retired, None).json();
    assert_eq!(retired["data"][0]["resource"]["id"], next["key_id"]);
    let sidecars = world.control.ask(&world.control.admin, "GET", "/v1/sidecars", None);
    assert_eq!((sidecars.status, &sidecars.json()["data"]), (200, &json!([])));
}
