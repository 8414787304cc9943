//! Last-known-good bundles: which each folder gave, and the highest version ever taken.

use crate::database::{Change, Database, Opened, StoreError};
use std::path::Path;
use tollgate_engine::Version;
use tollgate_proto::bundle::{self, Bundle, TrustSet};

const BUNDLES: &str = "bundles";
const FLOORS: &str = "floors";
const FOLDERS: &str = "folders";

/// The database of bundles.
#[derive(Debug)]
pub struct Bundles(Database);

/// A bundle that was taken.
#[derive(Debug, Clone)]
pub struct Accepted {
    pub tenant: String,
    pub version: Version,
    pub bytes: Vec<u8>,
}

impl Bundles {
    /// Opens or makes the database.
    ///
    /// # Errors
    /// The disk refuses. A corrupt database is set aside instead.
    pub fn open(path: &Path) -> Result<Opened<Bundles>, StoreError> {
        let opened = Database::open(path, &[BUNDLES, FLOORS, FOLDERS])?;
        Ok(Opened { database: Bundles(opened.database), set_aside: opened.set_aside })
    }

    /// Keeps the bundles that a folder gives now, and their versions as floors: all or none, on the
    /// disk when this returns.
    ///
    /// # Errors
    /// The disk refuses; then nothing was kept.
    pub fn accept(
        &self,
        folder: &str,
        tenants: &[&str],
        changed: &[Accepted],
    ) -> Result<(), StoreError> {
        let floors: Vec<[u8; 12]> = changed.iter().map(|one| floor_bytes(one.version)).collect();
        let names = tenants.join("\n");
        let mut changes: Vec<Change<'_>> =
            vec![(FOLDERS, folder.as_bytes(), Some(names.as_bytes()))];
        for (one, floor) in changed.iter().zip(&floors) {
            changes.push((BUNDLES, one.tenant.as_bytes(), Some(&one.bytes)));
            changes.push((FLOORS, one.tenant.as_bytes(), Some(floor)));
        }
        self.0.write(&changes, true)
    }

    /// The tenants that a folder gave when it last loaded.
    ///
    /// # Errors
    /// The record is corrupt or cannot be read.
    pub fn tenants(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        let names = self.0.get(FOLDERS, folder.as_bytes())?.unwrap_or_default();
        let names = String::from_utf8(names).unwrap_or_default();
        Ok(names.split('\n').filter(|name| !name.is_empty()).map(str::to_owned).collect())
    }

    /// The highest version of a tenant that was ever taken.
    ///
    /// # Errors
    /// The record is corrupt or cannot be read.
    pub fn floor(&self, tenant: &str) -> Result<Option<Version>, StoreError> {
        Ok(self.0.get(FLOORS, tenant.as_bytes())?.and_then(|bytes| floor_of(&bytes)))
    }

    /// A tenant's bundle, verified again.
    ///
    /// # Errors
    /// The record is corrupt, no bundle of this tenant, or signed by none of these keys.
    pub fn get<T>(
        &self,
        tenant: &str,
        trust: &TrustSet,
        take: impl FnOnce(&Bundle<'_>) -> T,
    ) -> Result<Option<T>, StoreError> {
        let Some(bytes) = self.0.get(BUNDLES, tenant.as_bytes())? else { return Ok(None) };
        let opened = bundle::open(&bytes, trust);
        let opened = opened.map_err(|error| StoreError::Corrupt(error.to_string()))?;
        match opened.manifest.tenant == tenant {
            true => Ok(Some(take(&opened))),
            false => Err(StoreError::Corrupt(format!("the bundle of `{tenant}` is another's"))),
        }
    }
}

/// A version as twelve bytes.
pub(crate) fn floor_bytes(version: Version) -> [u8; 12] {
    let mut bytes = [0; 12];
    let (epoch, seq) = (version.epoch.to_le_bytes(), version.seq.to_le_bytes());
    bytes.iter_mut().zip(epoch.iter().chain(&seq)).for_each(|(to, from)| *to = *from);
    bytes
}

pub(crate) fn floor_of(bytes: &[u8]) -> Option<Version> {
    let (epoch, seq) = bytes.split_first_chunk()?;
    let seq = seq.try_into().ok()?;
    Some(Version { epoch: u32::from_le_bytes(*epoch), seq: u64::from_le_bytes(seq) })
}
