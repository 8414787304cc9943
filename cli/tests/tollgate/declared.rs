//! `tollgate export, diff, apply`: a folder becomes what is in force and back; what is somebody else's stays.

use crate::up::Up;
use crate::{Folder, PROGRAM, ROOT, text};
use std::process::Command;

/// A line of a shell beside what `up` started; its code, and what it printed.
fn shell(up: &Up, line: &str) -> (Option<i32>, String) {
    let line = line.replace("tollgate ", &format!("{PROGRAM} --data data --run run "));
    let output = Command::new("sh")
        .args(["-c", &line])
        .current_dir(&up.folder.0)
        .env("XDG_CONFIG_HOME", up.folder.0.join("config"))
        .env("NO_COLOR", "1")
        .output()
        .unwrap();
    (output.status.code(), text(&output.stdout) + &text(&output.stderr))
}

/// How many events a tenant's log has.
fn events(up: &Up) -> usize {
    let (_, out) = shell(up, "tollgate audit list --tenant acme --json");
    let list: serde_json::Value = serde_json::from_str(&out).unwrap();
    list["data"].as_array().unwrap().len()
}

const ONE: &str = r#"{"meter": "requests", "bucket": {"rate": "10/s", "burst": 20}}"#;

#[test]
fn a_folder_is_brought_in_force_and_back() {
    let up = Up::start(Folder::new());
    let rows = |rows: &[(&str, i32, &str)]| {
        for (line, code, said) in rows {
            let (got, out) = shell(&up, line);
            assert_eq!(got, Some(*code), "{line}: {out}");
            assert!(out.contains(said), "{line}: {out}");
        }
    };
    rows(&[
        (
            "tollgate tenant create acme --json > made.json && tollgate operation wait $(sed 's/.*\"id\":\"\\(op_[^\"]*\\)\".*/\\1/' made.json)",
            0,
            "succeeded",
        ),
        (&format!("cp -r {ROOT}/policies/rest-api acme"), 0, ""),
        ("tollgate diff acme", 2, "--tenant"),
        ("tollgate diff nowhere --tenant acme", 2, "nowhere"),
        // Of two tenants: it cannot be one's, and is refused before anything is asked.
        (&format!("tollgate apply {ROOT}/policies/llm-gateway --tenant acme"), 4, "foreign-domain"),
        ("tollgate diff acme --tenant nobody", 1, "tenant-not-found (404)"),
        ("tollgate apply acme --tenant acme --dry-run", 0, "+ acme policy main"),
        ("tollgate policy show main --tenant acme", 1, "not-found"),
        ("tollgate diff acme --tenant acme", 1, "plan: "),
        // The platform's defaults were there before: they are nobody's.
        ("tollgate apply acme --tenant acme", 0, "+ acme limit "),
        ("tollgate diff acme --tenant acme", 0, "plan: 0 created, 0 updated, 0 deleted"),
    ]);
    let before = events(&up);
    rows(&[(
        "tollgate apply acme --tenant acme --prune",
        0,
        "plan: 0 created, 0 updated, 0 deleted",
    )]);
    assert_eq!(events(&up), before, "a second apply writes nothing");
    rows(&[
        // Back, and nothing differs; the platform's login writes a folder per tenant.
        (
            "tollgate export out --tenant acme && diff -r -x README.md -x limits.toml acme out",
            0,
            "policy main",
        ),
        ("tollgate diff out --tenant acme", 0, "plan: 0 created, 0 updated, 0 deleted"),
        ("tollgate policy test out", 0, "0 failed"),
        ("tollgate export all --json && ls all/acme all/demo", 0, "limits.toml"),
        ("tollgate diff all", 0, "plan: 0 created, 0 updated, 0 deleted"),
        (
            "touch -d 2001-01-01 out/*; tollgate export out --tenant acme; find out -newermt 2002-01-01",
            0,
            "limits",
        ),
        // Drift, of both kinds.
        (
            "sed -i 's/manager, .api/manager, \\/xpi/' acme/policy.csv; tollgate diff acme --tenant acme",
            1,
            "~ acme policy main (policy.csv)",
        ),
        ("tollgate apply acme --tenant acme", 2, "policy-tests-failed"),
        ("tollgate diff acme --tenant acme", 1, "~ acme policy main (policy.csv)"),
        ("echo broken >> acme/policy.csv; tollgate apply acme --tenant acme", 4, "does not load"),
        (
            &format!(
                "cp {ROOT}/policies/rest-api/policy.csv acme; tollgate apply acme --tenant acme"
            ),
            0,
            "plan: 0 created, 0 updated, 0 deleted",
        ),
        (&format!("tollgate limit set by-hand '{ONE}' --tenant acme"), 0, "version       1"),
        ("tollgate diff acme --tenant acme", 0, "= acme limit by-hand (left alone"),
        // A limit of ours that is written over by hand is brought back.
        (
            "printf '\\n[[limit]]\\nid = \"extra\"\\nmeter = \"requests\"\\nbucket = { rate = \"5/s\", burst = 5 }\\n' >> acme/limits.toml; tollgate apply acme --tenant acme",
            0,
            "plan: 1 created, 0 updated, 0 deleted",
        ),
        ("tollgate limit show extra --tenant acme --json", 0, "\"managed_by\":\"tollgate-apply\""),
        (&format!("tollgate limit set extra '{ONE}' --tenant acme"), 0, "version       2"),
        ("tollgate diff acme --tenant acme", 1, "~ acme limit extra (bucket)"),
        ("tollgate apply acme --tenant acme --json", 0, "\"updated\":1"),
        // What goes, goes with --prune, and only what is ours.
        (
            "head -n -5 acme/limits.toml > shorter && mv shorter acme/limits.toml; tollgate apply acme --tenant acme",
            0,
            "= acme limit extra (kept: --prune removes it)",
        ),
        ("tollgate limit show extra --tenant acme", 0, "extra"),
        ("tollgate diff acme --tenant acme", 1, "- acme limit extra"),
        ("tollgate apply acme --tenant acme --prune", 0, "plan: 0 created, 0 updated, 1 deleted"),
        ("tollgate limit show extra --tenant acme", 1, "not-found"),
        ("tollgate limit show by-hand --tenant acme", 0, "by-hand"),
        ("tollgate apply acme --tenant acme --prune", 0, "plan: 0 created, 0 updated, 0 deleted"),
        ("printf 'x' > acme/limits.toml; tollgate diff acme --tenant acme", 4, "limits.toml"),
        (
            "printf '[[limit]]\\nmeter = \"requests\"\\n' > acme/limits.toml; tollgate diff acme --tenant acme",
            4,
            "limits.toml",
        ),
    ]);
    somebody_elses_draft(&up);
}

/// What another works on is not written over; a tenant's own key needs no --tenant.
fn somebody_elses_draft(up: &Up) {
    let made = shell(up, "tollgate key create ci --role tenant-admin --tenant acme --json").1;
    let made: serde_json::Value = serde_json::from_str(&made).unwrap();
    let (key, url) = (made["secret"].as_str().unwrap(), format!("http://127.0.0.1:{}", up.port));
    for (line, code, said) in [
        (
            format!("printf %s {key} | tollgate login --url {url} --key-stdin --profile ci"),
            0,
            "of acme",
        ),
        (
            "rm -r acme/limits.toml; tollgate diff acme --profile ci".to_owned(),
            0,
            "plan: 0 created",
        ),
        (format!("tollgate policy draft main {ROOT}/policies/documents --tenant acme"), 0, "main"),
        (
            "echo '# changed' >> acme/policy.csv; tollgate apply acme --profile ci".to_owned(),
            1,
            "works on a draft of the policy main",
        ),
        (
            "tollgate apply acme --tenant acme".to_owned(),
            0,
            "plan: 0 created, 1 updated, 0 deleted",
        ),
        ("tollgate diff acme --profile ci".to_owned(), 0, "plan: 0 created"),
        ("tollgate diff acme --tenant demo --profile ci".to_owned(), 1, "tenant-not-found"),
    ] {
        let (got, out) = shell(up, &line);
        assert_eq!(got, Some(code), "{line}: {out}");
        assert!(out.contains(said), "{line}: {out}");
    }
}
