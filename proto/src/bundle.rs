//! A policy folder's files to compiled tenants: whole or not at all.
//!
//! The caller reads the files; here is which of them there are, in which order they are compiled
//! and how their findings come together. `section` turns them into what a bundle carries,
//! `container` signs and opens bundles, `key` holds the keys, `codec` the bytes.

mod changed;
mod codec;
mod container;
mod key;
mod section;

pub use changed::changed;
pub use container::{
    Bundle, BundleError, Manifest, SectionEntry, SectionKind, check_floor, entry, open, peek, seal,
};
pub use key::{KeyId, PublicKey, SigningSecret, TRUST_MAX, TrustSet, hex};
pub use section::{LimitsSection, PolicySection, Sections, compile, sections};

use crate::limits_file::read_limits;
use crate::schema_file::read_schema;
use crate::tenant_file::{TenantFile, read_tenant};
use crate::tests_file::{Suite, read_tests};
use std::sync::Arc;
use tollgate_engine::schema::violations;
use tollgate_engine::{
    Binding, Code, Diagnostic, Diagnostics, Model, Part, PolicySet, Quotas, Rows, Source,
    TenantState, Version, bind, parse_model, parse_rows, policy::tenants, split,
};

/// The files that a folder may hold; the first two it must.
pub const FILES: &[&str] =
    &["model.conf", "policy.csv", "limits.toml", "schema.json", "tenant.toml", "tests.yaml"];

/// One file: the path to show in findings, and its bytes.
#[derive(Debug, Clone, Copy)]
pub struct File<'a> {
    pub path: &'a str,
    pub bytes: &'a [u8],
}

/// How to compile.
#[derive(Debug, Clone, Copy)]
pub struct Options<'a> {
    /// Keys the hash tables; any number will do.
    pub seed: u64,
    pub version: Version,
    /// The line of policy.csv that each line of the file given was; empty if they are the same.
    pub lines: &'a [u32],
    /// Policies of the folder's tenants that are known to be these; none compiles them.
    pub policies: &'a [(String, Arc<PolicySet>)],
}

impl Options<'_> {
    /// Compiles everything from files as they are.
    pub fn new(seed: u64, version: Version) -> Options<'static> {
        Options { seed, version, lines: &[], policies: &[] }
    }
}

/// A folder, compiled.
#[derive(Debug)]
pub struct Folder {
    pub tenants: Vec<TenantState>,
    /// Per tenant the lines of policy.csv that are its own; empty if all are.
    pub lines: Vec<Vec<u32>>,
    pub model: Model,
    pub binding: Binding,
    pub tenant_file: TenantFile,
    pub warnings: Diagnostics,
}

/// Compiles the folder `name`.
///
/// # Errors
/// Every finding in every file, at most `DIAGNOSTICS_MAX`. Findings in tests.yaml are not among
/// them: tests do not decide (`suite` reads them).
pub fn from_files(
    name: &str,
    files: &[File<'_>],
    options: Options<'_>,
) -> Result<Folder, Diagnostics> {
    let mut found = Diagnostics::default();
    let source = |wanted: &str, found: &mut Diagnostics| find(files, wanted, found);
    let model_source = required(source("model.conf", &mut found), name, "model.conf", &mut found);
    let rows_source = required(source("policy.csv", &mut found), name, "policy.csv", &mut found);
    let tenant_source = source("tenant.toml", &mut found);
    let limits_source = source("limits.toml", &mut found);
    let schema = keep(source("schema.json", &mut found).map(read_schema), &mut found);
    let tenant_file = keep(tenant_source.map(read_tenant), &mut found).unwrap_or_default();
    let parsed = model_source.map(|source| parse_model(source, tenant_file.dialect));
    let model = keep(parsed, &mut found);
    let (Some(model), Some(model_source), Some(rows_source)) = (model, model_source, rows_source)
    else {
        return Err(found);
    };
    let rows = keep(Some(parse_rows(rows_source, &model)), &mut found);
    let binding = keep(Some(bind(&model, &tenant_file.bind, model_source)), &mut found);
    let limits = binding.as_ref().and_then(|binding| {
        keep(limits_source.map(|source| read_limits(source, &model, binding)), &mut found)
    });
    let (Some(mut rows), Some(binding), false) = (rows, binding, found.has_errors()) else {
        return Err(found);
    };
    if let Some(schema) = &schema {
        let sources = (model_source, rows_source);
        found.append(violations(schema, (&model, &binding), &rows, sources));
        if found.has_errors() {
            return Err(found);
        }
    }
    let schema = schema.map(Arc::new);
    renumber(&mut rows, options.lines);
    let all_lines = rows.all().count();
    if let Some(tenant) = &tenant_file.tenant {
        check_domains(&model, &binding, &rows, tenant, rows_source, &mut found);
    }
    let own_name = tenant_file.tenant.as_deref().unwrap_or(name);
    let parts = match split(&model, &binding, rows, own_name, model_source) {
        Ok(parts) if !found.has_errors() => parts,
        Ok(_) => return Err(found),
        Err(errors) => {
            found.append(errors);
            return Err(found);
        }
    };
    let quotas = match Quotas::compile(&limits.unwrap_or_default(), options.version.seq) {
        Ok(quotas) => quotas,
        Err(message) => {
            let source = limits_source.unwrap_or(model_source);
            let span = source.span(0, 0);
            found.push(Diagnostic::error(source, span, Code::BoundExceeded, message));
            return Err(found);
        }
    };
    let mut states = Vec::new();
    let mut lines = Vec::new();
    for (tenant, rows) in parts {
        lines.push(own_lines(&rows, all_lines));
        let sources = (model_source, rows_source);
        let known = options.policies.iter().find(|(name, _)| *name == tenant);
        let policy = match known {
            Some((_, policy)) => Arc::clone(policy),
            None => match PolicySet::compile(&model, &rows, sources, options.seed) {
                Ok(policy) => Arc::new(policy),
                Err(errors) => {
                    found.append(errors);
                    continue;
                }
            },
        };
        if states.is_empty() {
            found.append(policy.warnings().clone());
        }
        let state = TenantState::link(&tenant, options.version, policy, &binding, quotas.clone());
        let state = state.described(schema.clone()).disclosing(tenant_file.disclosure);
        states.push(state.with_kill_lane(tenant_file.kill_lane));
    }
    match found.has_errors() {
        true => Err(found),
        false => {
            Ok(Folder { tenants: states, lines, model, binding, tenant_file, warnings: found })
        }
    }
}

/// Gives rows the lines that they had in the file they were taken from.
fn renumber(rows: &mut Rows<'_>, lines: &[u32]) {
    if lines.is_empty() {
        return;
    }
    for row in rows.all_mut() {
        let line = lines.get((row.line as usize).wrapping_sub(1));
        row.line = line.copied().unwrap_or(row.line);
    }
}

/// The lines of a tenant's rows, sorted; empty if they are all there are.
fn own_lines(rows: &Rows<'_>, all: usize) -> Vec<u32> {
    let mut lines: Vec<u32> = rows.all().map(|row| row.line).collect();
    if lines.len() == all {
        return Vec::new();
    }
    lines.sort_unstable();
    lines
}

/// Reads the folder's tests.yaml; `None` if it has none.
///
/// # Errors
/// As `read_tests`.
pub fn suite(files: &[File<'_>]) -> Result<Option<Suite>, Diagnostics> {
    let mut found = Diagnostics::default();
    match find(files, "tests.yaml", &mut found) {
        _ if found.has_errors() => Err(found),
        None => Ok(None),
        Some(source) => read_tests(source).map(Some),
    }
}

/// The file with this name as text.
pub(crate) fn find<'a>(
    files: &[File<'a>],
    wanted: &str,
    found: &mut Diagnostics,
) -> Option<Source<'a>> {
    let named = |file: &&File<'_>| file.path.rsplit('/').next() == Some(wanted);
    let file = files.iter().find(named)?;
    match std::str::from_utf8(file.bytes) {
        Ok(text) => Some(Source { file: file.path, text }),
        Err(error) => {
            let readable = file.bytes.get(..error.valid_up_to()).unwrap_or(&[]);
            let text = std::str::from_utf8(readable).unwrap_or("");
            let source = Source { file: file.path, text };
            let span = source.span(text.len(), text.len());
            let message = "the file is not UTF-8 from here on".to_owned();
            found.push(Diagnostic::error(source, span, Code::NotUtf8, message));
            None
        }
    }
}

fn required<'a>(
    source: Option<Source<'a>>,
    folder: &str,
    name: &str,
    found: &mut Diagnostics,
) -> Option<Source<'a>> {
    if source.is_none() && !found.iter().any(|finding| finding.code == Code::NotUtf8) {
        let place = Source { file: folder, text: "" };
        let message = format!("the folder has no {name}");
        let missing = Diagnostic::error(place, place.span(0, 0), Code::MissingFile, message);
        found.push(missing.help("a policy folder holds model.conf and policy.csv"));
    }
    source
}

fn keep<T>(outcome: Option<Result<T, Diagnostics>>, found: &mut Diagnostics) -> Option<T> {
    match outcome? {
        Ok(value) => Some(value),
        Err(errors) => {
            found.append(errors);
            None
        }
    }
}

/// A folder that is one named tenant holds no other tenant's rows.
fn check_domains(
    model: &Model,
    binding: &Binding,
    rows: &Rows<'_>,
    tenant: &str,
    source: Source<'_>,
    found: &mut Diagnostics,
) {
    let column_of = |model: &Model, parts: &[Part]| {
        let token = parts.iter().position(|part| *part == Part::Tenant)?;
        tenants::implied_column(model, token)
    };
    let Some(column) = column_of(model, &binding.parts) else { return };
    let mut cells: Vec<&str> =
        rows.rules.iter().filter_map(|row| row.cells.get(column).copied()).collect();
    let contexts = model.contexts.iter().zip(&binding.contexts).zip(&rows.contexts);
    for ((context, parts), rules) in contexts {
        let Some(column) = column_of(&context.model, parts) else { continue };
        cells.extend(rules.iter().filter_map(|row| row.cells.get(column)));
    }
    for (links, role) in rows.links.iter().zip(&model.roles).filter(|(_, role)| role.arity == 3) {
        let tenants = links.iter().filter_map(|row| row.cells.get(2).copied());
        cells.extend(tenants.filter(|cell| !tenants::holds_in(role, cell, tenant)));
    }
    for cell in cells.into_iter().filter(|cell| *cell != tenant && *cell != "*") {
        let message = format!("this folder is the tenant `{tenant}`, the row is of `{cell}`");
        let span = source.span_of(cell);
        found.push(Diagnostic::error(source, span, Code::ForeignDomain, message));
    }
}
