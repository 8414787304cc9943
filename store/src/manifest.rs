//! A look at a database's manifest before RocksDB reads it.
//!
//! A manifest is a log of records in blocks, each with checksum, length and type. Of a record whose type belongs to logs
//! that are used again, RocksDB 11.8 asks for the next one for ever: one damaged byte, and a database never opens nor
//! fails. No manifest has such records, so they are found here. Everything else that may be wrong RocksDB says itself.

use crate::database::StoreError;
use std::path::Path;

const BLOCK_BYTES: usize = 32_768;
/// Checksum (4), length (2), type (1).
const HEADER_BYTES: usize = 7;
/// Whole, first, middle and last; 0 is room that was made and not used.
const LAST_TYPE: u8 = 4;

/// Refuses a manifest that would be read for ever. One that cannot be read is left to RocksDB.
pub(crate) fn check(database: &Path) -> Result<(), StoreError> {
    let Ok(name) = std::fs::read_to_string(database.join("CURRENT")) else { return Ok(()) };
    let Ok(bytes) = std::fs::read(database.join(name.trim())) else { return Ok(()) };
    match bytes.chunks(BLOCK_BYTES).find_map(foreign_type) {
        None => Ok(()),
        Some(found) => {
            Err(StoreError::Corrupt(format!("{} has a record of type {found}", name.trim())))
        }
    }
}

/// The first type in a block that no manifest has.
fn foreign_type(block: &[u8]) -> Option<u8> {
    let mut rest = block;
    loop {
        let [.., low, high, kind] = *rest.first_chunk::<HEADER_BYTES>()?;
        if kind > LAST_TYPE {
            return Some(kind);
        }
        let length = usize::from(u16::from_le_bytes([low, high]));
        rest = rest.get(HEADER_BYTES + length..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_found_where_records_begin() {
        let record = |length: u8, kind: u8| {
            let mut bytes = vec![9, 9, 9, 9, length, 0, kind];
            bytes.extend(vec![200; length.into()]);
            bytes
        };
        for (records, expected) in [
            (vec![], None),
            (vec![record(3, 1), record(0, 4)], None),
            (vec![record(3, 1), record(250, 5)], Some(5)),
            (vec![record(3, 255)], Some(255)),
            // Room that was made: no record is longer than nothing.
            (vec![record(3, 2), vec![0; 100]], None),
            // Cut off within a record: RocksDB says so.
            (vec![record(3, 1), vec![9, 9, 9, 9, 77, 0, 1, 5, 5, 5, 5, 5, 5, 5, 5]], None),
        ] {
            assert_eq!(foreign_type(&records.concat()), expected, "{records:?}");
        }
    }
}
