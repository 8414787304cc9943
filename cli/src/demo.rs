//! The demo tenant's policy folder: `policies/llm-gateway` without its tenant token.

use std::io;
use std::path::Path;

/// File names and contents.
pub(crate) const FILES: &[(&str, &str)] = &[
    ("model.conf", include_str!("../demo/model.conf")),
    ("policy.csv", include_str!("../demo/policy.csv")),
    ("limits.toml", include_str!("../demo/limits.toml")),
    ("tests.yaml", include_str!("../demo/tests.yaml")),
];

/// What to try, and what to see. The first word stands for this program.
pub(crate) const TRY: &[(&str, &str)] = &[
    ("{} check{run} -t demo alice /v1/models/small create", "allow  policy.csv:9"),
    (
        "{} explain{run} -t demo mallory /v1/admin/keys delete",
        "deny   no-rule, nearest policy.csv:14",
    ),
    (
        "for i in 1 2 3 4; do {} check{run} -t demo bob /v1/models/small create; done",
        "3 × allow, then deny quota-exceeded",
    ),
];

/// Writes the folder unless it is there: an edited demo is the user's.
pub(crate) fn write(folder: &Path) -> io::Result<bool> {
    if folder.exists() {
        return Ok(false);
    }
    std::fs::create_dir_all(folder)?;
    for (name, content) in FILES {
        std::fs::write(folder.join(name), content)?;
    }
    Ok(true)
}
