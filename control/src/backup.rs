//! Backups: one dump by `pg_dump` for the platform and for each tenant, beside a manifest that the master key vouches for;
//! and what becomes of them.
//!
//! A dump is a snapshot of one database, and none is taken at the same moment as another. What one database says of another
//! is therefore in the manifest: the head of each audit log, read before the log was dumped, so that a restored log reaches
//! it at least. The master key is in no backup: without it a backup's sealed secrets stay sealed and nobody vouches for it.

pub mod make;
mod manifest;
mod restore;
mod single;
mod tools;

pub use manifest::{Dump, Manifest};
pub use restore::restore;
pub use single::{Wanted, restore_tenant};
pub use tools::Tools;

use crate::secret::MasterKey;
use std::path::Path;

/// Reads a backup and proves that it is what was written: the manifest under the master key, each file by its digest.
///
/// # Errors
/// A sentence: which file, what was expected, what came.
pub fn verify(from: &Path, master: &MasterKey, tools: &Tools) -> Result<Manifest, String> {
    let manifest = Manifest::read(from, master)?;
    for dump in &manifest.dumps {
        dump.check(from)?;
        tools.list(&from.join(&dump.file))?;
    }
    Ok(manifest)
}
