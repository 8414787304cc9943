//! The lint of a policy folder: its files, compiled and looked at.

use crate::bundle::{File, Options, find, from_files};
use tollgate_engine::lint::{Subject, lint};
use tollgate_engine::{Diagnostic, Diagnostics, PolicySet, Version, parse_model, parse_rows};

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
    Ok(lint(&Subject {
        model: &model,
        model_source,
        rows: &rows,
        rows_source,
        policies: &policies,
        warnings: &folder.warnings,
    }))
}
