//! What was settled since the last snapshot: for each reservation what its limits were charged, and how their cells
//! stood behind it. Whoever restores takes the larger of snapshot and journal, so that a record may be read twice.

use crate::database::{Change, Database, Opened, StoreError};
use crate::state::{bytes_of, words_of};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use tollgate_engine::cell::CELL_WORDS;
use tollgate_engine::{Now, Usage, UsageLine};

const USAGE: &str = "usage";
/// Words of a record before its lines: when it was settled, and how many lines.
const HEAD_WORDS: usize = 2;
/// Words of a line: meter (two), amount, its cell.
const LINE_WORDS: usize = 3 + CELL_WORDS;

/// The database of settled usage.
#[derive(Debug)]
pub struct Journal {
    database: Database,
    next: AtomicU64,
}

impl Journal {
    /// Opens or makes the database.
    ///
    /// # Errors
    /// The disk refuses. A corrupt database is set aside instead.
    pub fn open(path: &Path) -> Result<Opened<Journal>, StoreError> {
        let opened = Database::open(path, &[USAGE])?;
        let mut next = 0;
        opened.database.all(USAGE, &mut |key, _| {
            next = key.try_into().map_or(next, u64::from_be_bytes).saturating_add(1).max(next);
        })?;
        let journal = Journal { database: opened.database, next: AtomicU64::new(next) };
        Ok(Opened { database: journal, set_aside: opened.set_aside })
    }

    /// Keeps usage: it is on the disk when this returns.
    ///
    /// # Errors
    /// The disk refuses; then none was kept.
    pub fn put(&self, usages: &[Usage]) -> Result<(), StoreError> {
        let first = self.next.fetch_add(usages.len() as u64, Ordering::Relaxed);
        let records: Vec<([u8; 8], Vec<u8>)> =
            (first..).zip(usages).map(|(at, usage)| (at.to_be_bytes(), record(usage))).collect();
        let changes: Vec<Change<'_>> =
            records.iter().map(|(key, value)| (USAGE, key.as_slice(), Some(&**value))).collect();
        self.database.write(&changes, true)
    }

    /// Every record that can be read, the oldest first; how many could not.
    ///
    /// # Errors
    /// The database cannot be read at all.
    pub fn usages(&self, visit: &mut dyn FnMut(Usage)) -> Result<usize, StoreError> {
        let mut foreign = 0;
        let lost = self.database.all(USAGE, &mut |_, value| match usage(value) {
            Some(usage) => visit(usage),
            None => foreign += 1,
        })?;
        Ok(lost + foreign)
    }

    /// Where the journal stands: what is put later has a higher number.
    pub fn position(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    /// Forgets what was put before a position.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn forget_before(&self, position: u64) -> Result<(), StoreError> {
        self.database.remove_range(USAGE, &0_u64.to_be_bytes(), &position.to_be_bytes())
    }
}

fn record(usage: &Usage) -> Vec<u8> {
    let mut words = vec![usage.at.0, usage.lines.len() as u64];
    for line in &usage.lines {
        words.extend(line.meter);
        words.push(line.amount);
        words.extend(line.cell);
    }
    let mut bytes = bytes_of(&words);
    bytes.extend(usage.id.to_string().as_bytes());
    bytes
}

fn usage(bytes: &[u8]) -> Option<Usage> {
    let (head, rest) = bytes.split_at_checked(HEAD_WORDS * 8)?;
    let [at, count] = words_of::<HEAD_WORDS>(head)?;
    let lines_bytes = usize::try_from(count).ok()?.checked_mul(LINE_WORDS * 8)?;
    let (lines, id) = rest.split_at_checked(lines_bytes)?;
    let lines = lines.chunks_exact(LINE_WORDS * 8).map(line).collect::<Option<Vec<_>>>()?;
    let id = std::str::from_utf8(id).ok()?.parse().ok()?;
    Some(Usage { id, at: Now(at), lines })
}

fn line(bytes: &[u8]) -> Option<UsageLine> {
    let [first, second, amount, cell @ ..] = words_of::<LINE_WORDS>(bytes)?;
    Some(UsageLine { meter: [first, second], amount, cell })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(at: u64, lines: usize) -> Usage {
        let line = |n: usize| UsageLine {
            meter: [1, n as u64],
            amount: 7 * at,
            cell: std::array::from_fn(|word| word as u64 + at),
        };
        let id = format!("{at:x}-1-00000000000000ab").parse().unwrap();
        Usage { id, at: Now(at), lines: (0..lines).map(line).collect() }
    }

    fn read(journal: &Journal) -> Vec<Usage> {
        let mut found = Vec::new();
        assert_eq!(journal.usages(&mut |usage| found.push(usage)), Ok(0));
        found
    }

    #[test]
    fn a_record_is_read_as_it_was_put_and_cut_off_nowhere_else() {
        for lines in [0, 1, 16] {
            let put = settled(3, lines);
            let bytes = record(&put);
            assert_eq!(usage(&bytes), Some(put));
            for length in 0..bytes.len() {
                assert_eq!(usage(bytes.get(..length).unwrap()), None, "{length} bytes");
            }
        }
    }

    #[test]
    fn what_a_snapshot_holds_is_forgotten_and_the_rest_is_there_after_a_restart() {
        let folder = std::env::temp_dir().join(format!("journal-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let journal = Journal::open(&folder).unwrap().database;
        journal.put(&[settled(1, 1), settled(2, 2)]).unwrap();
        let position = journal.position();
        journal.put(&[settled(3, 1)]).unwrap();
        journal.forget_before(position).unwrap();
        assert_eq!(read(&journal), [settled(3, 1)]);
        drop(journal);
        let journal = Journal::open(&folder).unwrap().database;
        assert_eq!(read(&journal), [settled(3, 1)]);
        journal.put(&[settled(4, 0)]).unwrap();
        assert_eq!(read(&journal), [settled(3, 1), settled(4, 0)]);
        drop(journal);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
