//! What a policy is held against before it is published: it loads, and each row of its tests holds.

use super::Files;
use crate::bundle::{compile, folder_of};
use crate::code::{Code, Refusal};
use serde_json::{Value as Json, json};
use tollgate_engine::{Diagnostic, Diagnostics, Now, Scratch};
use tollgate_proto::bundle::{File, Folder, suite};
use tollgate_proto::findings::findings;
use tollgate_proto::lint::lint_files;
use tollgate_proto::tests_file::TestRow;

/// Failures that an answer shows.
const FAILURES_MAX: usize = 100;

/// What a run of the tests found.
#[derive(Debug, Default)]
pub(super) struct Tested {
    passed: usize,
    failures: Vec<Json>,
}

impl Tested {
    pub(super) fn json(&self) -> Json {
        let shown: Vec<&Json> = self.failures.iter().take(FAILURES_MAX).collect();
        json!({"passed": self.passed, "failed": self.failures.len(), "failures": shown})
    }
}

/// The findings of a policy with the limits beside it: what keeps it from loading, or else what lint says.
pub(super) fn lint(tenant: &str, files: &Files, limits: &str) -> Json {
    let all = folder_of(tenant, files, limits);
    let all: Vec<File<'_>> =
        all.iter().map(|(path, text)| File { path, bytes: text.as_bytes() }).collect();
    match lint_files(tenant, &all) {
        Ok(found) => json!({"loads": true, "findings": findings(&found)}),
        Err(found) => json!({"loads": false, "findings": findings(&found)}),
    }
}

/// Runs the rows of tests.yaml; policy only, never limits.
///
/// # Errors
/// What keeps the policy or its tests from loading.
pub(super) fn test(tenant: &str, files: &Files) -> Result<Tested, Diagnostics> {
    let folder = compile(tenant, files, "")?;
    let all = folder_of(tenant, files, "");
    let all: Vec<File<'_>> =
        all.iter().map(|(path, text)| File { path, bytes: text.as_bytes() }).collect();
    let mut tested = Tested::default();
    for row in suite(&all)?.unwrap_or_default().tests {
        match failure(tenant, &folder, &row) {
            None => tested.passed += 1,
            Some(failure) => tested.failures.push(failure),
        }
    }
    Ok(tested)
}

/// What is wrong with the answer to a row.
fn failure(tenant: &str, folder: &Folder, row: &TestRow) -> Option<Json> {
    let mut request = row.request.clone();
    if request.tenant.is_empty() {
        request.tenant = tenant.to_owned().into();
    }
    let now = row.at.map_or(0, |at| u64::try_from(at.as_nanosecond()).unwrap_or(0));
    request.with(|request| {
        let state = folder.tenants.iter().find(|state| state.name() == request.tenant);
        let decision =
            state.map(|state| state.decide_policy(request, Now(now), &mut Scratch::default()));
        let is_allow = decision.is_some_and(|decision| decision.is_allow());
        let line = state
            .zip(decision)
            .and_then(|(state, decision)| decision.rule.map(|rule| state.policy().rule_line(rule)));
        let is_by = row.rule_line.is_none_or(|wanted| line == Some(wanted));
        if is_allow == row.expect_allow && is_by {
            return None;
        }
        let word = |is_allow: bool| if is_allow { "allow" } else { "deny" };
        let place = |line: u32| format!("policy.csv:{line}");
        Some(json!({
            "line": row.line, "subject": request.subject.id, "resource": request.resource.id,
            "action": request.action, "expected": word(row.expect_allow), "got": word(is_allow),
            "reason": decision.map_or("unknown-tenant", |decision| decision.reason.name()),
            "expected_rule": row.rule_line.map(place), "rule": line.map(place),
        }))
    })
}

/// Refuses what does not load, or has a test that fails.
///
/// # Errors
/// `policy-invalid` with the findings, `policy-tests-failed` with the failures.
pub(super) fn publishable(tenant: &str, files: &Files, limits: &str) -> Result<(), Refusal> {
    let loaded = compile(tenant, files, limits).map(drop).and_then(|()| test(tenant, files));
    let tested = loaded.map_err(|found| invalid(found.iter()))?;
    match tested.failures.len() {
        0 => Ok(()),
        failed => Err(Refusal::new(
            Code::PolicyTestsFailed,
            format!(
                "{failed} tests of the policy fail, expected none; mend the policy or its tests"
            ),
        )
        .with(tested.json())),
    }
}

/// The refusal of a policy that does not load.
pub(super) fn invalid<'d>(found: impl Iterator<Item = &'d Diagnostic>) -> Refusal {
    let message = "the policy does not load; its findings say where and why";
    Refusal::new(Code::PolicyInvalid, message).with(json!({"diagnostics": findings(found)}))
}
