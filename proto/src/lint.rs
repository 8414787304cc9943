//! The lint of a policy folder: its files, compiled and looked at.

use crate::bundle::{File, Options, find, from_files};
use crate::bundle::{Folder, suite};
use std::collections::BTreeSet;
use tollgate_engine::lint::{Subject, lint};
use tollgate_engine::{
    Code, Diagnostic, Diagnostics, PolicySet, Severity, Source, Version, parse_model, parse_rows,
};

/// Every finding of the folder `name` that its author has not allowed, in the order of files and lines.
///
/// # Errors
/// What keeps the folder from loading.
pub fn lint_files(name: &str, files: &[File<'_>]) -> Result<Vec<Diagnostic>, Diagnostics> {
    let folder = from_files(name, files, Options::new(0, Version::default()))?;
    let mut found = Diagnostics::default();
    let sources = (find(files, "model.conf", &mut found), find(files, "policy.csv", &mut found));
    let (Some(model_source), Some(rows_source)) = sources else { return Err(found) };
    let model = parse_model(model_source, folder.tenant_file.dialect)?;
    let rows = parse_rows(rows_source, &model)?;
    let policies: Vec<&PolicySet> = folder.tenants.iter().map(|t| t.policy().as_ref()).collect();
    let mut all = lint(&Subject {
        model: &model,
        model_source,
        rows: &rows,
        rows_source,
        policies: &policies,
        warnings: &folder.warnings,
    });
    all.extend(unmet_limits(name, files, &folder)?);
    all.sort_by(|a, b| (&a.file, a.span.line, a.code).cmp(&(&b.file, b.span.line, b.code)));
    Ok(all)
}

/// Limits whose condition no row of tests.yaml meets: nobody has seen them count. Without rows nothing is known.
fn unmet_limits(
    name: &str,
    files: &[File<'_>],
    folder: &Folder,
) -> Result<Vec<Diagnostic>, Diagnostics> {
    let mut found = Diagnostics::default();
    let Some(source) = find(files, "limits.toml", &mut found) else { return Ok(Vec::new()) };
    let rows = suite(files)?.unwrap_or_default().tests;
    let default_tenant = folder.tenant_file.tenant.as_deref().unwrap_or(name);
    let mut met = BTreeSet::new();
    for row in &rows {
        row.request.with(|request| {
            let asked = if request.tenant.is_empty() { default_tenant } else { request.tenant };
            let tenant = folder.tenants.iter().find(|tenant| tenant.name() == asked);
            met.extend(tenant.map(|tenant| tenant.limits_met(request)).unwrap_or_default());
        });
    }
    let Some(tenant) = folder.tenants.first().filter(|_| !rows.is_empty()) else {
        return Ok(Vec::new());
    };
    let limits = 0..u16::try_from(tenant.quotas().len()).unwrap_or(u16::MAX);
    let unmet = limits.filter(|limit| !met.contains(limit));
    Ok(unmet.map(|limit| unmet_limit(source, tenant.quotas().id(limit))).collect())
}

fn unmet_limit(source: Source<'_>, id: &str) -> Diagnostic {
    let quoted = format!("\"{id}\"");
    let lines = source.text.lines().filter(|line| line.trim_start().starts_with("id"));
    let named = lines.filter_map(|line| line.find(&quoted).and_then(|at| line.get(at..)));
    let span = named.map(|at| source.span_of(at.get(..quoted.len()).unwrap_or(at))).next();
    let message = format!("no row of tests.yaml meets the condition of the limit `{id}`");
    let found = Diagnostic::error(source, span.unwrap_or_default(), Code::UnmetLimit, message);
    let found = found.help("add a row that the limit is for, or mend its `when`");
    Diagnostic { severity: Severity::Info, ..found }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODEL: &str = "[request_definition]\nr = sub, obj, act\n[policy_definition]\n\
        p = sub, obj, act\n[policy_effect]\ne = some(where (p.eft == allow))\n[matchers]\n\
        m = r.sub == p.sub && r.obj == p.obj && r.act == p.act\n";
    const LIMITS: &str = "[[limit]]\nid = \"all\"\nmeter = \"requests\"\n\
        bucket = { rate = \"1/s\", burst = 1 }\n[[limit]]\nid = \"large\"\nmeter = \"requests\"\n\
        bucket = { rate = \"1/s\", burst = 1 }\nwhen = 'r.obj == \"/large\"'\n";

    fn unmet(tests: Option<&str>) -> Vec<(usize, String)> {
        let mut files = vec![
            File { path: "model.conf", bytes: MODEL.as_bytes() },
            File { path: "policy.csv", bytes: b"p, alice, /large, read\np, alice, /small, read\n" },
            File { path: "limits.toml", bytes: LIMITS.as_bytes() },
        ];
        files.extend(tests.map(|tests| File { path: "tests.yaml", bytes: tests.as_bytes() }));
        let found = lint_files("acme", &files).unwrap();
        let found = found.into_iter().filter(|one| one.code == Code::UnmetLimit);
        found.map(|one| (one.span.line, one.message)).collect()
    }

    #[test]
    fn a_limit_that_no_row_meets_is_told() {
        let row = |resource: &str| {
            format!(
                "tests:\n  - {{subject: alice, resource: {resource}, action: read, expect: allow}}\n"
            )
        };
        assert_eq!(unmet(Some(&row("/large"))), []);
        let told = unmet(Some(&row("/small")));
        let [(6, message)] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!(message, "no row of tests.yaml meets the condition of the limit `large`");
        assert_eq!(unmet(None), []);
    }
}
