//! What counters hold, as of the last second; beside them the secret of their keys, what single counters
//! have instead of their limit's amount, and a second copy of the floors, should the bundles be lost.

use crate::bundles::{floor_bytes, floor_of};
use crate::database::{Change, Database, Opened, StoreError};
use std::path::Path;
use tollgate_engine::Version;
use tollgate_engine::cell::{CELL_WORDS, TableSecret};

const CELLS: &str = "cells";
const FLOORS: &str = "floors";
const META: &str = "meta";
const OVERRIDES: &str = "overrides";
const SECRET: &[u8] = b"secret";
const RUN: &[u8] = b"run";
/// Words of a cell that are its key.
const KEY_WORDS: usize = 2;

/// The database of counters.
#[derive(Debug)]
pub struct State(Database);

impl State {
    /// Opens or makes the database.
    ///
    /// # Errors
    /// The disk refuses. A corrupt database is set aside instead: its counters begin anew.
    pub fn open(path: &Path) -> Result<Opened<State>, StoreError> {
        let opened = Database::open(path, &[CELLS, FLOORS, META, OVERRIDES])?;
        Ok(Opened { database: State(opened.database), set_aside: opened.set_aside })
    }

    /// The secret that keys the cells; `fresh` if there is none yet, which is then kept.
    ///
    /// # Errors
    /// The record is corrupt, or the disk refuses.
    pub fn secret(&self, fresh: TableSecret) -> Result<TableSecret, StoreError> {
        if let Some(bytes) = self.0.get(META, SECRET)? {
            let words = words_of::<2>(&bytes);
            return words.map(TableSecret::new).ok_or_else(|| {
                StoreError::Corrupt("the secret of the cells is cut off".to_owned())
            });
        }
        self.0.write(&[(META, SECRET, Some(&bytes_of(fresh.words())))], true)?;
        Ok(fresh)
    }

    /// Keeps another secret than the one there was: cells are found by it.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn put_secret(&self, secret: &TableSecret) -> Result<(), StoreError> {
        self.0.write(&[(META, SECRET, Some(&bytes_of(secret.words())))], true)
    }

    /// The number of the region that the cells here are of; `None` before the first.
    ///
    /// # Errors
    /// The record is corrupt or cannot be read.
    pub fn run(&self) -> Result<Option<u64>, StoreError> {
        let bytes = self.0.get(META, RUN)?;
        Ok(bytes.and_then(|bytes| words_of::<1>(&bytes)).map(|[run]| run))
    }

    /// Keeps the number of the region that cells are of from now on.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn put_run(&self, run: u64) -> Result<(), StoreError> {
        self.0.write(&[(META, RUN, Some(&bytes_of(&[run])))], true)
    }

    /// Keeps cells: they are on the disk when this returns.
    ///
    /// # Errors
    /// The disk refuses; then none was kept.
    pub fn put_cells(&self, cells: &[[u64; CELL_WORDS]]) -> Result<(), StoreError> {
        let bytes: Vec<Vec<u8>> = cells.iter().map(|cell| bytes_of(cell)).collect();

        let changes: Vec<Change<'_>> = bytes
            .iter()
            .filter_map(|cell| cell.split_at_checked(KEY_WORDS * 8))
            .map(|(key, value)| (CELLS, key, Some(value)))
            .collect();
        self.0.write(&changes, true)
    }

    /// Every cell that can be read; how many could not.
    ///
    /// # Errors
    /// The database cannot be read at all.
    pub fn cells(&self, visit: &mut dyn FnMut([u64; CELL_WORDS])) -> Result<usize, StoreError> {
        self.0.all(CELLS, &mut |key, value| {
            if let (Some(key), Some(value)) = (words_of(key), words_of(value)) {
                visit(joined(key, value));
            }
        })
    }

    /// Forgets cells by their words.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn remove_cells(&self, cells: &[[u64; CELL_WORDS]]) -> Result<(), StoreError> {
        let bytes: Vec<Vec<u8>> = cells.iter().map(|cell| bytes_of(cell)).collect();
        let keys = bytes.iter().filter_map(|cell| cell.get(..KEY_WORDS * 8));
        let changes: Vec<Change<'_>> = keys.map(|key| (CELLS, key, None)).collect();
        self.0.write(&changes, false)
    }

    /// Keeps what a counter has instead of its limit's amount, under its name, or forgets it.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn put_override(&self, name: &[u8], content: Option<&[u8]>) -> Result<(), StoreError> {
        self.0.write(&[(OVERRIDES, name, content)], true)
    }

    /// Every override that can be read; how many could not.
    ///
    /// # Errors
    /// The database cannot be read at all.
    pub fn overrides(&self, visit: &mut dyn FnMut(&[u8])) -> Result<usize, StoreError> {
        self.0.all(OVERRIDES, &mut |_, content| visit(content))
    }

    /// Keeps a second copy of a floor.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn put_floor(&self, tenant: &str, floor: Version) -> Result<(), StoreError> {
        self.0.write(&[(FLOORS, tenant.as_bytes(), Some(&floor_bytes(floor)))], true)
    }

    /// The second copy of a floor.
    ///
    /// # Errors
    /// The record is corrupt or cannot be read.
    pub fn floor(&self, tenant: &str) -> Result<Option<Version>, StoreError> {
        Ok(self.0.get(FLOORS, tenant.as_bytes())?.and_then(|bytes| floor_of(&bytes)))
    }
}

/// The words of a cell: its key and the rest.
fn joined(
    [first, second]: [u64; KEY_WORDS],
    [state, end, warned, fifth, floor, seventh]: [u64; CELL_WORDS - KEY_WORDS],
) -> [u64; CELL_WORDS] {
    [first, second, state, end, warned, fifth, floor, seventh]
}

pub(crate) fn bytes_of(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

pub(crate) fn words_of<const N: usize>(bytes: &[u8]) -> Option<[u64; N]> {
    let mut words = [0; N];
    if bytes.len() != N * 8 {
        return None;
    }
    for (word, chunk) in words.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = u64::from_le_bytes(chunk.try_into().ok()?);
    }
    Some(words)
}
