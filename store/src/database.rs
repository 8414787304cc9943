//! One RocksDB database that is set aside when it is corrupt and opened again after a failed write.
//!
//! A write that failed leaves a database that may refuse everything that follows, also when the
//! disk has room again: it is closed, and the next write opens it anew.

use crate::manifest;
use rocksdb::{
    ColumnFamilyDescriptor, DB, DBCompressionType, DBRecoveryMode, ErrorKind, LogLevel, Options,
    WriteBatch, WriteOptions,
};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Bytes of a family that are gathered in memory before they are written as a file.
const WRITE_BUFFER_BYTES: usize = 4 * 1024 * 1024;
/// Bytes of the write-ahead log before the oldest family is flushed.
const WAL_BYTES_MAX: u64 = 16 * 1024 * 1024;
const OPEN_FILES_MAX: i32 = 64;
const LOG_FILES: usize = 2;
const LOG_BYTES_MAX: usize = 256 * 1024;
/// Databases set aside before the oldest is removed.
const SET_ASIDE_MAX: u32 = 4;
/// Bytes of the digest behind each value.
const DIGEST_BYTES: usize = 8;

/// What the store could not do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreError {
    /// A record is not what was written.
    Corrupt(String),
    /// The disk, or whoever keeps it, refuses.
    Unavailable(String),
}

impl StoreError {
    /// The stable number.
    pub const fn number(&self) -> u16 {
        match self {
            StoreError::Corrupt(_) => 1211,
            StoreError::Unavailable(_) => 1212,
        }
    }

    /// The stable word.
    pub const fn name(&self) -> &'static str {
        match self {
            StoreError::Corrupt(_) => "store-corrupt",
            StoreError::Unavailable(_) => "store-unavailable",
        }
    }
}

impl std::fmt::Display for StoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (StoreError::Corrupt(what) | StoreError::Unavailable(what)) = self;
        write!(f, "{} {}: {what}", self.name(), self.number())
    }
}

impl From<rocksdb::Error> for StoreError {
    fn from(error: rocksdb::Error) -> StoreError {
        let what = error.to_string();
        match error.kind() {
            ErrorKind::Corruption | ErrorKind::InvalidArgument | ErrorKind::NotSupported => {
                StoreError::Corrupt(what)
            }
            // A file that is missing or too short is reported as an IO error.
            ErrorKind::IOError if what.contains("No such file") => StoreError::Corrupt(what),
            _ => StoreError::Unavailable(what),
        }
    }
}

/// A database, and what had to be set aside to open it.
#[derive(Debug)]
pub struct Opened<T> {
    pub database: T,
    /// Where the corrupt one went, and what was wrong with it.
    pub set_aside: Option<(PathBuf, StoreError)>,
}

/// One database.
#[derive(Debug)]
pub(crate) struct Database {
    path: PathBuf,
    families: &'static [&'static str],
    /// `None` after a failed write.
    db: Mutex<Option<DB>>,
}

/// What is written in one step: family, key, and the value or its removal.
pub(crate) type Change<'c> = (&'static str, &'c [u8], Option<&'c [u8]>);

impl Database {
    /// Opens or makes the database; a corrupt one is set aside and an empty one made.
    pub(crate) fn open(
        path: &Path,
        families: &'static [&'static str],
    ) -> Result<Opened<Database>, StoreError> {
        let of = |db| Database { path: path.to_owned(), families, db: Mutex::new(Some(db)) };
        let corrupt = match open(path, families) {
            Ok(db) => return Ok(Opened { database: of(db), set_aside: None }),
            Err(error @ StoreError::Unavailable(_)) => return Err(error),
            Err(corrupt) => corrupt,
        };
        let aside = set_aside(path).map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let database = of(open(path, families)?);
        Ok(Opened { database, set_aside: Some((aside, corrupt)) })
    }

    fn db(&self) -> MutexGuard<'_, Option<DB>> {
        self.db.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works with the open database, opening it if a write failed before.
    fn with<T>(&self, work: impl FnOnce(&DB) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let mut held = self.db();
        let db = match held.take() {
            Some(db) => db,
            None => open(&self.path, self.families)?,
        };
        let outcome = work(&db);
        if !matches!(outcome, Err(StoreError::Unavailable(_))) {
            *held = Some(db);
        }
        outcome
    }

    /// Writes all changes or none. `sync`: they are on the disk when this returns; else they
    /// survive the process, not the machine.
    pub(crate) fn write(&self, changes: &[Change<'_>], sync: bool) -> Result<(), StoreError> {
        self.with(|db| {
            let mut batch = WriteBatch::default();
            for (family, key, value) in changes {
                let family = handle(db, family)?;
                match value {
                    Some(value) => batch.put_cf(family, key, sealed(key, value)),
                    None => batch.delete_cf(family, key),
                }
            }
            let mut options = WriteOptions::default();
            options.set_sync(sync);
            Ok(db.write_opt(batch, &options)?)
        })
    }

    /// Removes every key from `first` on that is before `end`.
    pub(crate) fn remove_range(
        &self,
        family: &str,
        first: &[u8],
        end: &[u8],
    ) -> Result<(), StoreError> {
        self.with(|db| Ok(db.delete_range_cf(handle(db, family)?, first, end)?))
    }

    /// A value.
    pub(crate) fn get(&self, family: &str, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.with(|db| {
            let found = db.get_cf(handle(db, family)?, key)?;
            found.map(|value| unsealed(key, &value).map(<[u8]>::to_vec)).transpose()
        })
    }

    /// Every value of a family that can be read, and how many cannot.
    pub(crate) fn all(
        &self,
        family: &str,
        visit: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<usize, StoreError> {
        self.with(|db| {
            let mut lost = 0;
            let mut records = db.raw_iterator_cf(handle(db, family)?);
            records.seek_to_first();
            while let Some((key, value)) = records.item() {
                match unsealed(key, value) {
                    Ok(value) => visit(key, value),
                    Err(_) => lost += 1,
                }
                records.next();
            }
            // What lies behind a bad block cannot be reached.
            Ok(lost + usize::from(records.status().is_err()))
        })
    }
}

fn handle<'d>(db: &'d DB, family: &str) -> Result<&'d rocksdb::ColumnFamily, StoreError> {
    db.cf_handle(family).ok_or_else(|| StoreError::Corrupt(format!("no family {family}")))
}

fn open(path: &Path, families: &[&str]) -> Result<DB, StoreError> {
    manifest::check(path)?;
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    // A torn tail, as a power cut leaves it, is cut off; a hole before it is an error.
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    options.set_paranoid_checks(true);
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_max_total_wal_size(WAL_BYTES_MAX);
    options.set_max_open_files(OPEN_FILES_MAX);
    options.set_max_background_jobs(2);
    options.set_keep_log_file_num(LOG_FILES);
    options.set_max_log_file_size(LOG_BYTES_MAX);
    options.set_log_level(LogLevel::Warn);
    options.set_stats_dump_period_sec(0);
    let family = |name: &str| {
        let mut options = Options::default();
        options.set_write_buffer_size(WRITE_BUFFER_BYTES);
        options.set_compression_type(DBCompressionType::Lz4);
        ColumnFamilyDescriptor::new(name, options)
    };
    let mut names: Vec<String> = families.iter().map(|name| (*name).to_owned()).collect();
    // A later version may have made more: each that exists must be opened.
    for known in DB::list_cf(&options, path).unwrap_or_default() {
        if !names.contains(&known) {
            names.push(known);
        }
    }
    let families = names.iter().map(|name| family(name));
    Ok(DB::open_cf_descriptors(&options, path, families)?)
}

/// Moves the folder away, keeping the last few.
fn set_aside(path: &Path) -> std::io::Result<PathBuf> {
    let place = |number: u32| path.with_extension(format!("corrupt-{number}"));
    let free = (1..=SET_ASIDE_MAX).map(place).find(|place| !place.exists());
    let target = match free {
        Some(free) => free,
        None => {
            std::fs::remove_dir_all(place(1))?;
            for number in 2..=SET_ASIDE_MAX {
                std::fs::rename(place(number), place(number - 1))?;
            }
            place(SET_ASIDE_MAX)
        }
    };
    std::fs::rename(path, &target)?;
    Ok(target)
}

/// A value with the digest of itself and its key: blocks have checksums of their own, this one also
/// catches a value that stands under another key.
fn sealed(key: &[u8], value: &[u8]) -> Vec<u8> {
    [value, &digest(key, value)].concat()
}

fn unsealed<'v>(key: &[u8], sealed: &'v [u8]) -> Result<&'v [u8], StoreError> {
    let length = sealed.len().saturating_sub(DIGEST_BYTES);
    match sealed.split_at_checked(length) {
        Some((value, found)) if found == digest(key, value) => Ok(value),
        _ => Err(StoreError::Corrupt("a value is not what was written".to_owned())),
    }
}

fn digest(key: &[u8], value: &[u8]) -> [u8; DIGEST_BYTES] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(key.len() as u64).to_le_bytes()).update(key).update(value);
    let mut digest = [0; DIGEST_BYTES];
    hasher.finalize_xof().fill(&mut digest);
    digest
}
