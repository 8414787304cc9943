//! The rows of one role, one behind the other.
//!
//! ```text
//! rows u32, keys u32 │ keys: second key u32, its first row u32; sorted │ rows: 20 bytes │ texts
//! row:   tail u64 │ prefix length u32 │ place of its texts u32 │ ordinal u31, deny u1
//! texts: length u32, second key │ length u32, steps of its pattern
//! ```

use crate::policy::facts::Effect;
use crate::policy::layout::{Reads, number};
use std::ops::Range;

/// The second key of rows that match whatever the request has there.
pub(crate) const ANY_SECOND: u32 = 0;
pub(super) const COUNTS_BYTES: usize = 8;
pub(super) const KEY_BYTES: usize = 8;
pub(super) const ROW_BYTES: usize = 20;
/// Up to so many keys are looked at one by one; more are searched.
const LISTED_MAX: usize = 16;
/// The bit of an ordinal that says that its row denies.
pub(super) const DENY: u32 = 1 << 31;

/// One block, borrowed from its layout; the bytes of later blocks follow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Block<'l> {
    bytes: &'l [u8],
    keys: &'l [[u8; KEY_BYTES]],
    rows: &'l [[u8; ROW_BYTES]],
}

/// One row of a block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LaidRow<'l> {
    row: &'l [u8; ROW_BYTES],
    texts: &'l [u8],
}

impl<'l> Block<'l> {
    pub(super) fn new(bytes: &'l [u8]) -> Block<'l> {
        let (rows, keys) = (number(bytes, 0), number(bytes, 4));
        let rows_at = COUNTS_BYTES + KEY_BYTES * keys;
        let keys = bytes.get(COUNTS_BYTES..rows_at).unwrap_or(&[]);
        let rows = bytes.get(rows_at..rows_at + ROW_BYTES * rows).unwrap_or(&[]);
        Block { bytes, keys: keys.as_chunks().0, rows: rows.as_chunks().0 }
    }

    /// Positions of the rows with a second key.
    pub(crate) fn run(&self, second: u32, reads: &mut impl Reads) -> Range<usize> {
        reads.read(self.bytes.get(..COUNTS_BYTES).unwrap_or(&[]));
        let mut is_before = |key: &[u8; KEY_BYTES]| {
            reads.read(key);
            key_of(key) < second
        };
        let at = match self.keys.len() {
            // It stands first or nowhere.
            _ if second == ANY_SECOND => 0,
            0..=LISTED_MAX => self.keys.iter().take_while(|key| is_before(key)).count(),
            _ => self.keys.partition_point(is_before),
        };
        match self.keys.get(at) {
            Some(key) if key_of(key) == second => {
                let next = self.keys.get(at + 1).map(|next| number(next, 4));
                number(key, 4)..next.unwrap_or(self.rows.len())
            }
            _ => 0..0,
        }
    }

    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The row at a position.
    pub(crate) fn row(&self, at: usize) -> Option<LaidRow<'l>> {
        self.rows.get(at).map(|row| LaidRow { row, texts: self.bytes })
    }
}

impl<'l> LaidRow<'l> {
    pub(crate) fn ordinal(&self) -> u32 {
        self.word(16) & !DENY
    }

    pub(crate) fn effect(&self) -> Effect {
        if self.word(16) & DENY == 0 { Effect::Allow } else { Effect::Deny }
    }

    /// Whether the row's pattern may match: false only if it cannot.
    pub(crate) fn may_match(&self, text: &[u8], reads: &mut impl Reads) -> bool {
        reads.read(self.row);
        let len = self.word(8) as usize;
        let tail = self.row.first_chunk().map_or(0, |tail| u64::from_le_bytes(*tail));
        len <= text.len() && tail_of(text, len) == tail
    }

    /// The text of its second key, and the steps of its pattern.
    pub(crate) fn texts(&self, reads: &mut impl Reads) -> (&'l [u8], &'l [u8]) {
        let texts = self.texts.get(self.word(12) as usize..).unwrap_or(&[]);
        let (second, rest) = text(texts);
        let (steps, behind) = text(rest);
        reads.read(texts.get(..texts.len() - behind.len()).unwrap_or(&[]));
        (second, steps)
    }

    fn word(&self, at: usize) -> u32 {
        let four = self.row.get(at..).and_then(|rest| rest.first_chunk());
        four.map_or(0, |four| u32::from_le_bytes(*four))
    }
}

/// The second key of an entry.
fn key_of(entry: &[u8; KEY_BYTES]) -> u32 {
    let [a, b, c, d, ..] = *entry;
    u32::from_le_bytes([a, b, c, d])
}

/// A text with its length before it, and what follows.
fn text(bytes: &[u8]) -> (&[u8], &[u8]) {
    let behind = bytes.get(4..).unwrap_or(&[]);
    behind.split_at_checked(number(bytes, 0)).unwrap_or_default()
}

/// The last eight of the first `len` bytes, or all of them if they are fewer.
pub(crate) fn tail_of(text: &[u8], len: usize) -> u64 {
    let head = text.get(..len).unwrap_or(&[]);
    match head.last_chunk::<8>() {
        Some(tail) => u64::from_le_bytes(*tail),
        None => head.iter().fold(0, |tail, byte| tail << 8 | u64::from(*byte)),
    }
}
