//! What was taken: bundles and their floors on the disk, signed with a key of our own.
//!
//! Stand-alone, the folder is the truth and the bundle its copy: it is served only when the folder
//! does not load. A tenant whose content is what it was keeps its version; any other content is the
//! floor plus one, also an old file that came back.

use crate::metrics::Metrics;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use tollgate_engine::{TenantState, Version};
use tollgate_proto::bundle::{
    self, File, Folder, Manifest, SectionEntry, SigningSecret, TrustSet, entry, seal,
};
use tollgate_store::{Accepted, Bundles, Opened, State, StoreError};

/// The epoch of folders: only a control plane begins another.
const EPOCH: u32 = 1;

/// Bundles on the disk, and the key that signs them.
pub(crate) struct Vault {
    bundles: Bundles,
    state: Arc<State>,
    secret: SigningSecret,
    trust: TrustSet,
    /// What was taken while this process ran: it holds even where the disk refused it.
    taken: HashMap<String, Manifest>,
    /// Tenants that serve rows which are not taken yet, under the version that these will have.
    ahead: HashSet<String>,
    /// Folders that the disk refused, to be written again.
    pending: BTreeMap<String, Pending>,
}

struct Pending {
    tenants: Vec<String>,
    changed: Vec<Accepted>,
    /// The refusal is said once; the metric counts every one.
    is_reported: bool,
}

impl Vault {
    /// Opens the databases below the data folder; makes the key at the first start.
    pub(crate) fn open(data: &Path, state: Arc<State>) -> Result<Vault, String> {
        let secret = signing_key(&data.join("keys/bundle-signing.pem"))?;
        let trust = TrustSet::new(vec![secret.public()])?;
        let opened = Bundles::open(&data.join("bundles"));
        let bundles = settled(opened, "bundles")?;
        let (taken, ahead, pending) = (HashMap::new(), HashSet::new(), BTreeMap::new());
        Ok(Vault { bundles, state, secret, trust, taken, ahead, pending })
    }

    /// The version of rows that are served before they are taken: that which they will be taken under.
    pub(crate) fn version_ahead(&mut self, tenant: &str) -> Version {
        self.ahead.insert(tenant.to_owned());
        let last = self.last(tenant);
        self.next_version(tenant, last.as_ref())
    }

    /// Gives a folder's tenants their versions and keeps what changed.
    pub(crate) fn accept(
        &mut self,
        name: &str,
        folder: Folder,
        files: &[File<'_>],
        metrics: &Metrics,
    ) -> Vec<Arc<TenantState>> {
        let sections = bundle::sections(&folder, files);
        let mut served = Vec::new();
        let mut changed = Vec::new();
        for (state, sections) in folder.tenants.into_iter().zip(sections) {
            let tenant = state.name().to_owned();
            let entries: Vec<SectionEntry> =
                sections.iter().map(|(kind, bytes)| entry(*kind, bytes)).collect();
            let before = self.last(&tenant);
            // What was served since has the next version, also where it was taken back.
            let was_ahead = self.ahead.remove(&tenant);
            let same =
                before.as_ref().filter(|manifest| manifest.sections == entries && !was_ahead);
            if let Some(manifest) = same {
                served.push(Arc::new(state.with_version(manifest.version())));
                self.taken.insert(tenant, manifest.clone());
                continue;
            }
            let version = self.next_version(&tenant, before.as_ref());
            let manifest = Manifest {
                tenant: tenant.clone(),
                epoch: version.epoch,
                seq: version.seq,
                parent: before.map_or([0; 32], |manifest| manifest.digest()),
                key_id: Default::default(),
                sections: Vec::new(),
            };
            if let Some((manifest, bytes)) = seal(manifest, &sections, &self.secret) {
                self.taken.insert(tenant.clone(), manifest);
                changed.push(Accepted { tenant, version, bytes });
            }
            served.push(Arc::new(state.with_version(version)));
        }
        let tenants = served.iter().map(|state| state.name().to_owned()).collect();
        let earlier = self.pending.remove(name).map(|pending| pending.changed);
        let is_new = |one: &Accepted| changed.iter().all(|new| new.tenant != one.tenant);
        let kept: Vec<Accepted> = earlier.unwrap_or_default().into_iter().filter(is_new).collect();
        changed.extend(kept);
        self.pending.insert(name.to_owned(), Pending { tenants, changed, is_reported: false });
        self.write_pending(metrics);
        served
    }

    /// Writes what the disk refused before.
    pub(crate) fn write_pending(&mut self, metrics: &Metrics) {
        let (bundles, state) = (&self.bundles, &self.state);
        let write = |name: &String, pending: &Pending| {
            // The second copy first: a floor that is too high is safe.
            for one in &pending.changed {
                state.put_floor(&one.tenant, one.version)?;
            }
            let tenants: Vec<&str> = pending.tenants.iter().map(String::as_str).collect();
            bundles.accept(name, &tenants, &pending.changed)
        };
        self.pending.retain(|name, pending| match write(name, pending) {
            Ok(()) => false,
            Err(error) => {
                metrics.store_failures_bundles.increment(1);
                if !std::mem::replace(&mut pending.is_reported, true) {
                    let error = error.to_string();
                    tracing::warn!(folder = name, error, "served, but not kept on the disk yet");
                }
                true
            }
        });
    }

    /// The tenants that a folder gave when it last loaded, from their bundles.
    pub(crate) fn last_good(&self, folder: &str, seed: u64) -> Vec<Arc<TenantState>> {
        let names = self.bundles.tenants(folder).unwrap_or_else(|error| {
            tracing::error!(folder, error = error.to_string(), "no last-known-good bundles");
            Vec::new()
        });
        let load = |tenant: &String| {
            let compiled =
                self.bundles.get(tenant, &self.trust, |bundle| bundle::compile(bundle, seed));
            let problem = match compiled {
                Ok(Some(Ok(state))) => return Some(Arc::new(state)),
                Ok(Some(Err(error))) => error.to_string(),
                Ok(None) => "it is not there".to_owned(),
                Err(error) => error.to_string(),
            };
            tracing::error!(tenant, problem, "the last-known-good bundle cannot be served");
            None
        };
        names.iter().filter_map(load).collect()
    }

    /// The manifest that was taken last.
    fn last(&self, tenant: &str) -> Option<Manifest> {
        if let Some(manifest) = self.taken.get(tenant) {
            return Some(manifest.clone());
        }
        let kept = self.bundles.get(tenant, &self.trust, |bundle| bundle.manifest.clone());
        kept.unwrap_or_else(|error| {
            tracing::warn!(tenant, error = error.to_string(), "the bundle on the disk is lost");
            None
        })
    }

    /// Above every version that was ever taken, as far as anything remembers.
    fn next_version(&self, tenant: &str, last: Option<&Manifest>) -> Version {
        let floors = [self.bundles.floor(tenant), self.state.floor(tenant)];
        let floors = floors.into_iter().filter_map(|floor| floor.ok().flatten());
        let floor = floors.chain(last.map(Manifest::version)).max();
        let floor = floor.unwrap_or(Version { epoch: EPOCH, seq: 0 });
        Version { epoch: floor.epoch.max(EPOCH), seq: floor.seq.saturating_add(1) }
    }
}

/// A database that is open, whatever had to be set aside for it.
pub(crate) fn settled<T>(opened: Result<Opened<T>, StoreError>, name: &str) -> Result<T, String> {
    let opened = opened.map_err(|error| format!("the database `{name}`: {error}"))?;
    if let Some((place, error)) = opened.set_aside {
        let (place, error) = (place.display().to_string(), error.to_string());
        tracing::error!(database = name, place, error, "a corrupt database was set aside");
    }
    Ok(opened.database)
}

/// The key of this installation, made at the first start with mode 0600.
fn signing_key(path: &Path) -> Result<SigningSecret, String> {
    let said = |error: std::io::Error| format!("{}: {error}", path.display());
    match std::fs::read_to_string(path) {
        Ok(text) => SigningSecret::from_pem(&text)
            .map_err(|error| format!("{}: {error}; move it away", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let mut seed = [0; 32];
            getrandom::fill(&mut seed).map_err(|error| format!("no randomness: {error}"))?;
            let secret = SigningSecret::from_bytes(&seed);
            let pem = secret.to_pem().ok_or("the new key cannot be written as PEM")?;
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder).map_err(said)?;
            }
            let mut options = std::fs::OpenOptions::new();
            let partial = path.with_extension("partial");
            let file = options.write(true).create(true).truncate(true).mode(0o600).open(&partial);
            let mut file = file.map_err(said)?;
            file.write_all(pem.as_ref()).and_then(|()| file.sync_all()).map_err(said)?;
            std::fs::rename(&partial, path).map_err(said)?;
            Ok(secret)
        }
        Err(error) => Err(said(error)),
    }
}
