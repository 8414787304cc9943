//! Folders to tenants: reads what changed, keeps what still serves, says what does not load.
//!
//! The folder is the truth: an edit is served or refused as a whole, a folder that vanished serves
//! nobody. What does not compile keeps its last good tenants: those in memory, else those of the
//! bundles on the disk. A change of limits alone compiles no policy.

use crate::log;
use crate::metrics::Metrics;
use crate::status::TenantStatus;
use crate::table::Tenants;
use crate::vault::Vault;
use crate::watch::Seen;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tollgate_engine::{Code, Diagnostic, Diagnostics, PolicySet, Source, TenantState, Version};
use tollgate_proto::bundle::{self, FILES, File, Options};

/// Tenants by name; `None`: known, but no configuration of it ever loaded.
pub(crate) type Served = Tenants<Option<Arc<TenantState>>>;

/// Everything the loader knows between two looks.
pub(crate) struct Loader {
    seed: u64,
    vault: Vault,
    seen: Seen,
    folders: BTreeMap<PathBuf, Folder>,
    conflicts: BTreeSet<String>,
}

/// One policy folder.
#[derive(Debug, Default)]
struct Folder {
    name: String,
    files: Vec<(String, Vec<u8>)>,
    tenants: Vec<Arc<TenantState>>,
    error: Option<String>,
    since_ms: u64,
}

impl Loader {
    /// `seed` keys the hash tables of compiled policies.
    pub(crate) fn new(seed: u64, vault: Vault) -> Loader {
        let (seen, folders, conflicts) = Default::default();
        Loader { seed, vault, seen, folders, conflicts }
    }

    /// Takes in what a look saw; the tenants if anything is to be served differently.
    pub(crate) fn update(&mut self, seen: Seen, now_ms: u64, metrics: &Metrics) -> Option<Served> {
        self.vault.write_pending(metrics);
        if seen == self.seen {
            return None;
        }
        let mut changed = false;
        let gone: Vec<PathBuf> =
            self.folders.keys().filter(|path| !seen.contains_key(*path)).cloned().collect();
        for path in gone {
            self.folders.remove(&path);
            tracing::info!(folder = %path.display(), "policy folder removed");
            changed = true;
        }
        let touched = |path: &PathBuf| self.seen.get(path) != seen.get(path);
        let paths: Vec<PathBuf> = seen.keys().filter(|path| touched(path)).cloned().collect();
        for path in paths {
            changed |= self.reload(&path, now_ms, metrics);
        }
        self.seen = seen;
        changed.then(|| self.served())
    }

    /// Reads and compiles one folder; false if its content is what it was.
    fn reload(&mut self, path: &Path, now_ms: u64, metrics: &Metrics) -> bool {
        let files = read_files(path);
        let name = path.file_name().map_or("default".into(), |name| name.to_string_lossy());
        let folder = self.folders.entry(path.to_path_buf()).or_default();
        if folder.files == files && folder.since_ms != 0 {
            return false;
        }
        let borrowed = borrow(&files);
        let known = match folder.error.is_none() && alike(&folder.files, &files) {
            true => folder.tenants.iter().map(named_policy).collect(),
            false => Vec::new(),
        };
        let options = Options { policies: &known, ..Options::new(self.seed, Version::default()) };
        let shown = path.display().to_string();
        match bundle::from_files(&name, &borrowed, options) {
            Ok(compiled) => {
                metrics.reloads_loaded.increment(1);
                log::diagnostics(&compiled.warnings);
                folder.tenants = self.vault.accept(&name, compiled, &borrowed, metrics);
                folder.error = None;
                let versions = folder.tenants.iter().map(|state| state.version());
                let newest = versions.max().unwrap_or_default();
                let version = format!("{}.{}", newest.epoch, newest.seq);
                let tenants = folder.tenants.len();
                tracing::info!(folder = shown, tenants, version, "policy folder loaded");
            }
            Err(found) => {
                metrics.reloads_refused.increment(1);
                log::diagnostics(&found);
                folder.error = found.iter().next().map(first_line);
                if folder.tenants.is_empty() {
                    folder.tenants = self.vault.last_good(&name, self.seed);
                }
                let kept = folder.tenants.len();
                tracing::error!(
                    folder = shown,
                    kept,
                    "policy folder refused; what loaded before keeps serving"
                );
            }
        }
        folder.files = files;
        folder.name = name.into_owned();
        folder.since_ms = now_ms.max(1);
        true
    }

    fn served(&mut self) -> Served {
        let mut tenants = Served::default();
        let mut conflicts = BTreeSet::new();
        for folder in self.folders.values() {
            if folder.tenants.is_empty() && folder.error.is_some() {
                tenants.entry(folder.name.clone()).or_insert(None);
            }
            for state in &folder.tenants {
                let name = state.name().to_owned();
                match tenants.get(&name) {
                    Some(Some(_)) => {
                        conflicts.insert(name);
                    }
                    _ => {
                        tenants.insert(name, Some(Arc::clone(state)));
                    }
                }
            }
        }
        for name in &conflicts {
            tenants.insert(name.clone(), None);
            if !self.conflicts.contains(name) {
                report_conflict(name);
            }
        }
        self.conflicts = conflicts;
        tenants
    }

    /// What is served, for people.
    pub(crate) fn status(&self) -> Vec<TenantStatus> {
        let mut rows = Vec::new();
        for folder in self.folders.values() {
            let row = |id: &str,
                       version: Option<Version>,
                       state: &'static str,
                       error: Option<String>| {
                TenantStatus { id: id.to_owned(), version, state, since_ms: folder.since_ms, error }
            };
            if folder.tenants.is_empty() {
                rows.push(row(&folder.name, None, "no-bundle", folder.error.clone()));
            }
            for tenant in &folder.tenants {
                let (version, name) = (Some(tenant.version()), tenant.name());
                rows.push(match (&folder.error, self.conflicts.contains(name)) {
                    (_, true) => {
                        let error = "two folders name this tenant".to_owned();
                        row(name, None, "no-bundle", Some(error))
                    }
                    (Some(error), _) => row(name, version, "last-known-good", Some(error.clone())),
                    (None, _) => row(name, version, "active", None),
                });
            }
        }
        rows
    }
}

fn borrow(files: &[(String, Vec<u8>)]) -> Vec<File<'_>> {
    files.iter().map(|(path, bytes)| File { path, bytes }).collect()
}

/// Whether two readings of a folder differ in nothing but limits.
fn alike(before: &[(String, Vec<u8>)], now: &[(String, Vec<u8>)]) -> bool {
    let policy = |file: &&(String, Vec<u8>)| !file.0.ends_with("limits.toml");
    before.iter().filter(policy).eq(now.iter().filter(policy))
}

fn named_policy(state: &Arc<TenantState>) -> (String, Arc<PolicySet>) {
    (state.name().to_owned(), Arc::clone(state.policy()))
}

fn read_files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let read = |name: &&str| {
        let path = folder.join(name);
        std::fs::read(&path).ok().map(|bytes| (path.display().to_string(), bytes))
    };
    FILES.iter().filter(|name| **name != "tests.yaml").filter_map(read).collect()
}

fn first_line(finding: &Diagnostic) -> String {
    let (name, number) = (finding.code.name(), finding.code.number());
    format!("{}:{}: {name} {number}: {}", finding.file, finding.span.line, finding.message)
}

fn report_conflict(tenant: &str) {
    let source = Source { file: tenant, text: "" };
    let mut found = Diagnostics::default();
    let message = format!("two folders name the tenant `{tenant}`; neither is served");
    found.push(
        Diagnostic::error(source, source.span(0, 0), Code::DuplicateTenant, message)
            .help("rename a folder, or set `tenant` in its tenant.toml"),
    );
    log::diagnostics(&found);
}
