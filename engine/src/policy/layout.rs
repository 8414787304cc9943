//! One conjunction laid out for memory: who asks, what they may, which texts.
//!
//! A decision reads one 64-byte line for its subject, which holds the places of the blocks of all
//! its roles, and of each block the few bytes that may match: second keys first, then rows, then
//! their texts. `index` holds the same rows in hash tables; tests meet the two.

pub(crate) mod block;
mod build;

use crate::policy::layout::block::Block;
use crate::text::{Texts, Word};
use foldhash::fast::FixedState;
use std::collections::BTreeSet;
use std::hash::BuildHasher;

/// A line and the unit of a block's place.
const LINE_BYTES: usize = 64;
/// Longer names stand behind the lines.
const NAME_BYTES: usize = 36;
/// More places than this stand behind the lines.
const BLOCKS_INLINE: usize = 5;
/// The length of a name that stands behind the lines.
const LONG: u16 = u16::MAX;
/// Lines of a block that are fetched before the first of them is read.
const LINES_AHEAD: usize = 4;
/// The domain of names without one.
const NO_DOMAIN: u32 = u32::MAX;

/// Told which memory a decision reads. `()` looks away.
pub(crate) trait Reads {
    fn read<T: ?Sized>(&mut self, _what: &T) {}

    /// These lines will be read soon.
    fn soon(&mut self, _lines: &[*const u8]) {}
}

impl Reads for () {}

/// The distinct lines that were read, by their number in memory.
#[derive(Debug, Default)]
pub(crate) struct LinesRead(BTreeSet<usize>);

impl Reads for LinesRead {
    fn read<T: ?Sized>(&mut self, what: &T) {
        let start = std::ptr::from_ref(what).addr();
        let end = start + size_of_val(what);
        self.0.extend(start / LINE_BYTES..end.div_ceil(LINE_BYTES));
    }
}

impl LinesRead {
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }
}

/// The rows of one conjunction by who asks.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    hasher: FixedState,
    /// Open addressing, never full.
    lines: Vec<Line>,
    /// Names and block places that no line has room for.
    long_names: Vec<u8>,
    long_places: Vec<u32>,
    bytes: Vec<u8>,
    /// Where the first block begins: blocks begin on a line of the cache.
    base: usize,
    domains: Domains,
    /// The block of rows that match whoever asks.
    pub(crate) any: Option<u32>,
    /// The rows' patterns stand among their texts.
    pub(crate) has_patterns: bool,
}

/// What one name may: 64 bytes.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line {
    name: [u8; NAME_BYTES],
    domain: u32,
    blocks: [u32; BLOCKS_INLINE],
    name_len: u16,
    /// How many blocks; 0 is an empty place.
    count: u16,
}

const EMPTY: Line = Line {
    name: [0; NAME_BYTES],
    domain: NO_DOMAIN,
    blocks: [0; BLOCKS_INLINE],
    name_len: 0,
    count: 0,
};

/// The domains of role links: a tenant's policy has one, and then its text is at hand.
#[derive(Debug, Clone)]
enum Domains {
    One(Word, u32),
    Many,
}

impl Layout {
    /// The places of the blocks of a name without a domain.
    pub(crate) fn places(&self, name: &str, reads: &mut impl Reads) -> &[u32] {
        self.line(NO_DOMAIN, name, reads).map_or(&[], |line| self.places_of(line, reads))
    }

    /// The places of the blocks of everything that `name` reaches in `domain`, itself included.
    pub(crate) fn places_in(
        &self,
        texts: &Texts,
        domain: &str,
        name: &str,
        reads: &mut impl Reads,
    ) -> &[u32] {
        let id = match &self.domains {
            Domains::One(text, id) => text.is(domain).then_some(*id),
            Domains::Many => texts.find(domain),
        };
        match id.and_then(|id| self.line(id, name, reads)) {
            Some(line) => self.places_of(line, reads),
            // Nobody there links the name to anything: it is only itself.
            None => self.places(name, reads),
        }
    }

    fn line(&self, domain: u32, name: &str, reads: &mut impl Reads) -> Option<&Line> {
        let mut at = place(self.hasher.hash_one((domain, name)), self.lines.len());
        loop {
            let line = self.lines.get(at)?;
            reads.read(line);
            if line.count == 0 {
                return None;
            }
            if line.domain == domain && self.name_of(line) == name.as_bytes() {
                return Some(line);
            }
            at = if at + 1 == self.lines.len() { 0 } else { at + 1 };
        }
    }

    fn name_of<'l>(&'l self, line: &'l Line) -> &'l [u8] {
        match line.name_len {
            LONG => {
                let (start, end) = (number(&line.name, 0), number(&line.name, 4));
                self.long_names.get(start..end).unwrap_or(&[])
            }
            len => line.name.get(..usize::from(len)).unwrap_or(&[]),
        }
    }

    fn places_of<'l>(&'l self, line: &'l Line, reads: &mut impl Reads) -> &'l [u32] {
        let count = usize::from(line.count);
        if let Some(places) = line.blocks.get(..count) {
            return places;
        }
        let start = line.blocks.first().map_or(0, |start| *start as usize);
        let places = self.long_places.get(start..start + count).unwrap_or(&[]);
        reads.read(places);
        places
    }

    /// The block at a place.
    pub(crate) fn block(&self, place: u32) -> Block<'_> {
        Block::new(self.bytes.get(self.base + place as usize * LINE_BYTES..).unwrap_or(&[]))
    }

    /// Asks for the first lines of blocks before one is needed: memory fetches them together.
    pub(crate) fn fetch(&self, places: &[u32], reads: &mut impl Reads) {
        for place in places.iter().take(BLOCKS_INLINE) {
            let start = self.base + *place as usize * LINE_BYTES;
            // Lines behind the last block are only asked for, never read.
            let line = |at| self.bytes.as_ptr().wrapping_add(start + at * LINE_BYTES);
            reads.soon(&std::array::from_fn::<_, LINES_AHEAD, _>(line));
        }
    }

    /// What second keys are compared by before their texts are. Never `block::ANY_SECOND`.
    pub(crate) fn second_hash(&self, text: &str) -> u32 {
        let [.., a, b, c, d] = self.hasher.hash_one(text).to_le_bytes();
        u32::from_le_bytes([a, b, c, d]).max(block::ANY_SECOND + 1)
    }
}

/// A hash spread over `len` places without dividing.
fn place(hash: u64, len: usize) -> usize {
    usize::try_from((u128::from(hash) * len as u128) >> 64).unwrap_or(0)
}

/// The little-endian `u32` at a position; 0 behind the end.
fn number(bytes: &[u8], at: usize) -> usize {
    let four = bytes.get(at..).and_then(|rest| rest.first_chunk());
    four.map_or(0, |four| u32::from_le_bytes(*four) as usize)
}
