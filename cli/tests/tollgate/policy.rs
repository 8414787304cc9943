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
