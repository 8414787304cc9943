//! Who may import whom, read from the manifests.

use std::path::Path;
use toml::Table;

/// Each crate and those of ours that it may depend on; tests may use more.
const ALLOWED: &[(&str, &[&str])] = &[
    ("engine", &[]),
    ("cells", &["engine"]),
    ("proto", &["engine"]),
    ("oracle", &["engine"]),
    ("store", &["proto", "engine"]),
    ("sidecar", &["cells", "store", "proto", "engine"]),
    ("control", &["oracle", "proto", "engine"]),
    ("cli", &["oracle", "proto", "engine"]),
    ("xtask", &["engine"]),
];

pub(crate) fn check(root: &Path) -> Vec<String> {
    let mut findings = Vec::new();
    let Ok(workspace) = std::fs::read_to_string(root.join("Cargo.toml")) else {
        return vec!["Cargo.toml cannot be read".to_owned()];
    };
    let members = workspace.parse::<Table>().ok().and_then(|table| {
        let members = table.get("workspace")?.get("members")?.as_array()?.clone();
        Some(members.iter().filter_map(|m| m.as_str().map(str::to_owned)).collect::<Vec<_>>())
    });
    for member in members.unwrap_or_default() {
        let Some((_, allowed)) = ALLOWED.iter().find(|(name, _)| *name == member) else {
            findings.push(format!("`{member}` has no line in xtask/src/imports.rs"));
            continue;
        };
        let manifest = root.join(&member).join("Cargo.toml");
        let table = std::fs::read_to_string(&manifest).ok().and_then(|t| t.parse::<Table>().ok());
        let Some(table) = table else {
            findings.push(format!("{member}/Cargo.toml cannot be read"));
            continue;
        };
        for section in ["dependencies", "build-dependencies"] {
            let names = table.get(section).and_then(|s| s.as_table()).into_iter().flatten();
            for (name, _) in names {
                let Some(ours) = name.strip_prefix("tollgate-") else { continue };
                if !allowed.contains(&ours) {
                    findings.push(format!("{member} must not depend on {ours}"));
                }
            }
        }
    }
    findings
}
