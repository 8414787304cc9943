//! Sections of a bundle: source, never an index. Each carries what it is compiled from, so that none
//! looks at another.

use super::container::{BundleError, SectionKind};
use super::{File, Folder, Options, codec, from_files};
use bincode::{Decode, Encode};
use tollgate_engine::TenantState;

/// The policy of one tenant: its own rows of its folder's policy.csv.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct PolicySection {
    pub model: String,
    pub tenant_file: String,
    pub rows: String,
    /// The line of policy.csv that each line of `rows` was; empty if they are the same.
    pub lines: Vec<u32>,
}

/// The limits of one tenant, with what their conditions read.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct LimitsSection {
    pub model: String,
    pub tenant_file: String,
    pub limits: String,
}

/// The sections of one tenant.
pub type Sections = Vec<(SectionKind, Vec<u8>)>;

/// The sections of each tenant of a folder that compiled from `files`, in the order of its tenants.
pub fn sections(folder: &Folder, files: &[File<'_>]) -> Vec<Sections> {
    let text = |name: &str| {
        let file = files.iter().find(|file| file.path.rsplit('/').next() == Some(name));
        let text = file.and_then(|file| std::str::from_utf8(file.bytes).ok());
        text.unwrap_or_default()
    };
    let (model, tenant_file) = (text("model.conf"), text("tenant.toml"));
    let (policy, limits, schema) = (text("policy.csv"), text("limits.toml"), text("schema.json"));
    let all: Vec<&str> = policy.split('\n').collect();
    let line = |number: &u32| all.get(*number as usize - 1).copied().unwrap_or("");
    let one = |lines: &Vec<u32>| {
        let rows = match lines.is_empty() {
            true => policy.to_owned(),
            false => lines.iter().map(line).collect::<Vec<_>>().join("\n"),
        };
        let (model, tenant_file) = (model.to_owned(), tenant_file.to_owned());
        let section = PolicySection { model, tenant_file, rows, lines: lines.clone() };
        let mut sections = Vec::new();
        sections.extend(codec::encode(&section).map(|bytes| (SectionKind::Policy, bytes)));
        if !limits.is_empty() {
            let PolicySection { model, tenant_file, .. } = section;
            let section = LimitsSection { model, tenant_file, limits: limits.to_owned() };
            sections.extend(codec::encode(&section).map(|bytes| (SectionKind::Limits, bytes)));
        }
        if !schema.is_empty() {
            let bytes = codec::encode(&schema.to_owned());
            sections.extend(bytes.map(|bytes| (SectionKind::Schema, bytes)));
        }
        sections
    };
    folder.lines.iter().map(one).collect()
}

/// Compiles an opened bundle into its tenant's state.
///
/// # Errors
/// `Content`: a section is missing, unknown here, cannot be read or does not compile.
pub fn compile(bundle: &super::Bundle<'_>, seed: u64) -> Result<TenantState, BundleError> {
    let content = |message: &str| BundleError::Content(message.to_owned());
    let known = [SectionKind::Policy, SectionKind::Limits, SectionKind::Schema];
    let strange = bundle.manifest.sections.iter().find(|entry| !known.contains(&entry.kind));
    if let Some(entry) = strange {
        let name = entry.kind.name();
        return Err(content(&format!("the section `{name}` is not read by this version")));
    }
    let policy = bundle.section(SectionKind::Policy);
    let policy = policy.ok_or_else(|| content("it has no section `policy`"))?;
    let policy: PolicySection =
        codec::decode(policy).ok_or_else(|| content("the section `policy` cannot be read"))?;
    let limits: Option<LimitsSection> = match bundle.section(SectionKind::Limits) {
        None => None,
        Some(bytes) => Some(
            codec::decode(bytes).ok_or_else(|| content("the section `limits` cannot be read"))?,
        ),
    };
    let schema: Option<String> = match bundle.section(SectionKind::Schema) {
        None => None,
        Some(bytes) => Some(
            codec::decode(bytes).ok_or_else(|| content("the section `schema` cannot be read"))?,
        ),
    };
    let mut files = vec![
        File { path: "model.conf", bytes: policy.model.as_bytes() },
        File { path: "policy.csv", bytes: policy.rows.as_bytes() },
    ];
    if !policy.tenant_file.is_empty() {
        files.push(File { path: "tenant.toml", bytes: policy.tenant_file.as_bytes() });
    }
    if let Some(limits) = &limits {
        files.push(File { path: "limits.toml", bytes: limits.limits.as_bytes() });
    }
    if let Some(schema) = &schema {
        files.push(File { path: "schema.json", bytes: schema.as_bytes() });
    }
    let (tenant, version) = (bundle.manifest.tenant.as_str(), bundle.manifest.version());
    let options = Options { seed, version, lines: &policy.lines, policies: &[] };
    let folder = from_files(tenant, &files, options).map_err(|found| {
        let first = found.iter().next().map_or("", |finding| finding.message.as_str());
        content(&format!("it does not compile: {first}"))
    })?;
    let state = folder.tenants.into_iter().find(|state| state.name() == tenant);
    state.ok_or_else(|| content("it holds no rows of its tenant"))
}
