//! Who gains and who loses by a policy.

use super::Files;
use crate::bundle::compile;
use serde_json::{Value as Json, json};
use tollgate_engine::compare::{Answer, Changed, Example, compare as compared};
use tollgate_engine::{Diagnostics, Now};

/// What changes for a tenant; before its first policy everything is refused.
///
/// # Errors
/// What keeps the new policy from loading.
pub(super) fn compare(
    tenant: &str,
    before: Option<&Files>,
    after: &Files,
    limits: &str,
) -> Result<Json, Diagnostics> {
    let after = compile(tenant, after, limits)?;
    // What was published loaded then; where it does not any more, nothing of it is served.
    let before = before.and_then(|files| compile(tenant, files, limits).ok());
    let state = |folder: Option<&tollgate_proto::bundle::Folder>| {
        folder
            .and_then(|folder| folder.tenants.iter().find(|state| state.name() == tenant).cloned())
    };
    let (before, after) = (state(before.as_ref()), state(Some(&after)));
    let found = compared(tenant, before.as_ref(), after.as_ref(), Now(0));
    Ok(json!({
        "gain": changed(&found.gain), "lose": changed(&found.lose), "change": changed(&found.change),
        "asked": found.asked, "exact": found.is_exact,
    }))
}

fn changed(changed: &Changed) -> Json {
    let answer = |answer: &Answer| json!({"reason": answer.reason.name(), "rule": answer.line.map(|line| format!("policy.csv:{line}"))});
    let example = |one: &Example| {
        json!({
            "subject": one.subject, "resource": one.resource, "action": one.action, "others": one.others,
            "before": answer(&one.before), "after": answer(&one.after),
        })
    };
    let examples: Vec<Json> = changed.examples.iter().map(example).collect();
    json!({"count": changed.count, "examples": examples})
}
