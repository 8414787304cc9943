//! Folders to tenants: reads what changed, keeps what still serves, says what does not load.
//!
//! The folder is the truth: an edit is served or refused as a whole, a folder that vanished serves
//! nobody. What does not compile keeps its last good tenants: those in memory, else those of the
//! bundles on the disk. A change of limits alone compiles no policy. A change of a few rows is served
//! at once, beside what was compiled; the next look compiles the folder whole.

use crate::log;
use crate::metrics::Metrics;
use crate::status::TenantStatus;
use crate::table::Tenants;
use crate::vault::Vault;
use crate::watch::Seen;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tollgate_engine::{
    Code, Diagnostic, Diagnostics, KillLane, PolicySet, Source, TenantState, Version,
};
use tollgate_proto::bundle::{self, FILES, File, Options};
use tollgate_proto::tenant_file::read_tenant;

/// A smaller policy.csv compiles in less time than a person notices, and is compiled at once.
const COMPILED_AT_ONCE_BYTES: usize = 128 * 1024;
const TENANT_FILE: &str = "tenant.toml";

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
    /// What was served before a few rows changed that are served, but not compiled yet.
    compiled: Option<Vec<Arc<TenantState>>>,
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
        let mut changed = false;
        if seen == self.seen {
            let half = |(path, folder): (&PathBuf, &Folder)| {
                folder.compiled.as_ref().map(|_| path.clone())
            };
            for path in self.folders.iter().filter_map(half).collect::<Vec<_>>() {
                self.compile(&path, &[], now_ms, metrics);
                changed = true;
            }
            return changed.then(|| self.served());
        }
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

    /// Reads one folder and serves it; false if its content is what it was.
    fn reload(&mut self, path: &Path, now_ms: u64, metrics: &Metrics) -> bool {
        let files = read_files(path);
        let folder = self.folders.entry(path.to_path_buf()).or_default();
        if folder.files == files && folder.since_ms != 0 {
            return false;
        }
        folder.name =
            path.file_name().map_or("default".into(), |name| name.to_string_lossy()).into_owned();
        let is_settled = folder.error.is_none() && folder.compiled.is_none();
        let is_large = |(path, bytes): &(String, Vec<u8>)| {
            path.ends_with("policy.csv") && bytes.len() > COMPILED_AT_ONCE_BYTES
        };
        let is_served = is_settled
            && files.iter().any(is_large)
            && (self.silence(path, &files) || self.serve_changed_rows(path, &files));
        if is_served {
            let Some(folder) = self.folders.get_mut(path) else { return true };
            (folder.files, folder.since_ms) = (files, now_ms.max(1));
            return true;
        }
        let Some(folder) = self.folders.get_mut(path) else { return true };
        let known = match is_settled && alike(&folder.files, &files) {
            true => folder.tenants.iter().map(named_policy).collect(),
            false => Vec::new(),
        };
        folder.files = files;
        self.compile(path, &known, now_ms, metrics);
        true
    }

    /// Silences a folder of which only tenant.toml changed; false if that is no news, or more changed. What ends the silence is
    /// compiled first: the rest of tenant.toml may be new too.
    fn silence(&mut self, path: &Path, files: &[(String, Vec<u8>)]) -> bool {
        let Some(folder) = self.folders.get_mut(path) else { return false };
        let others = |file: &&(String, Vec<u8>)| !file.0.ends_with(TENANT_FILE);
        let is_alone = folder.files.iter().filter(others).eq(files.iter().filter(others));
        let lane = kill_lane(files).filter(|lane| is_alone && *lane != KillLane::Open);
        let is_news = |lane: &KillLane| folder.tenants.iter().any(|one| one.kill_lane() != *lane);
        let Some(lane) = lane.filter(is_news) else { return false };
        let turned = folder.tenants.iter().map(|state| {
            let version = self.vault.version_ahead(state.name());
            Arc::new(TenantState::clone(state).with_kill_lane(lane).with_version(version))
        });
        let tenants = turned.collect();
        folder.compiled = Some(std::mem::replace(&mut folder.tenants, tenants));
        tracing::info!(folder = %path.display(), ?lane, "silenced before the folder is compiled");
        true
    }

    /// Serves a folder of which a few rows changed; false if it has to be compiled.
    fn serve_changed_rows(&mut self, path: &Path, files: &[(String, Vec<u8>)]) -> bool {
        let Some(folder) = self.folders.get_mut(path) else { return false };
        let (before, after) = (borrow(&folder.files), borrow(files));
        let states = bundle::changed(&folder.name, &before, &after, &folder.tenants);
        let Some(states) = states.filter(|states| !states.is_empty()) else { return false };
        let kept = folder.tenants.iter().zip(states).map(|(state, changed)| match changed {
            Some(changed) => {
                let version = self.vault.version_ahead(state.name());
                Arc::new(changed.with_version(version))
            }
            None => Arc::clone(state),
        });
        let tenants = kept.collect();
        folder.compiled = Some(std::mem::replace(&mut folder.tenants, tenants));
        tracing::info!(folder = %path.display(), "a few rows changed; served before they are compiled");
        true
    }

    /// Compiles the files that were read, but for policies that are known.
    fn compile(
        &mut self,
        path: &Path,
        known: &[(String, Arc<PolicySet>)],
        now_ms: u64,
        metrics: &Metrics,
    ) {
        let Some(folder) = self.folders.get_mut(path) else { return };
        let (name, files) = (folder.name.clone(), std::mem::take(&mut folder.files));
        let before = folder.compiled.take();
        let borrowed = borrow(&files);
        let options = Options { policies: known, ..Options::new(self.seed, Version::default()) };
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
                if let Some(before) = before {
                    folder.tenants = before;
                }
                if folder.tenants.is_empty() {
                    folder.tenants = self.vault.last_good(&name, self.seed);
                }
                // Whoever silences a tenant is heard, whatever else does not load.
                if let Some(lane) = kill_lane(&files) {
                    for state in &mut folder.tenants {
                        *state = Arc::new(TenantState::clone(state).with_kill_lane(lane));
                    }
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
        folder.since_ms = now_ms.max(1);
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
                    (error, _) => row(name, version, shown(tenant, error.is_some()), error.clone()),
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

/// The state of a tenant that is served, by what loaded before or not.
fn shown(tenant: &TenantState, is_kept: bool) -> &'static str {
    match tenant.kill_lane() {
        KillLane::Killed => "killed",
        KillLane::Suspended => "suspended",
        KillLane::Open if is_kept => "last-known-good",
        KillLane::Open => "active",
    }
}

/// What tenant.toml says, if it is there and can be read.
fn kill_lane(files: &[(String, Vec<u8>)]) -> Option<KillLane> {
    let (path, bytes) = files.iter().find(|file| file.0.ends_with(TENANT_FILE))?;
    let source = Source { file: path, text: std::str::from_utf8(bytes).ok()? };
    read_tenant(source).ok().map(|file| file.kill_lane)
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
