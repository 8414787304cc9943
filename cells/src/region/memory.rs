//! The mapping of a region: the only place where its bytes become words.

#![allow(unsafe_code, reason = "a mapping is no part of safe Rust")]

use super::header::{HEADER_BYTES, Header, NEXT, READY};
use memmap2::{Advice, MmapOptions, MmapRaw};
use std::fs::File;
use std::sync::atomic::{AtomicU64, Ordering};

/// Words of the header.
const HEADER_WORDS: usize = HEADER_BYTES / size_of::<AtomicU64>();

/// A mapped region, of at least the bytes that its header says.
pub(super) struct Memory(MmapRaw);

impl Memory {
    /// Maps the whole file, which must have the length that the header says.
    pub(super) fn map(file: &File, header: &Header) -> std::io::Result<Memory> {
        let wrong = || std::io::Error::other("the file has another length than its header says");
        let bytes = header.bytes().and_then(|bytes| usize::try_from(bytes).ok());
        let bytes = bytes.ok_or_else(wrong)?;
        let map = MmapOptions::new().len(bytes).populate().map_raw(file)?;
        if file.metadata()?.len() < map.len() as u64 {
            return Err(wrong());
        }
        // Larger pages are faster where the system gives them; where not, nothing is lost.
        let _ = map.advise(Advice::HugePage);
        Ok(Memory(map))
    }

    /// Every word of the file.
    fn words(&self) -> &[AtomicU64] {
        let count = self.0.len() / size_of::<AtomicU64>();
        let first = self.0.as_mut_ptr().cast::<AtomicU64>();
        // SAFETY: the mapping begins on a page, so that each word is aligned; it holds `count` whole words and lives as
        // long as `self`, which is borrowed; every bit pattern is a word; all access, here and in other processes, is
        // atomic. The file is never made shorter while anybody is attached: who makes it anew holds its lock and has
        // seen that nobody is. Where another program does so nevertheless, the kernel ends the process.
        unsafe { std::slice::from_raw_parts(first, count) }
    }

    /// The words of the cells, and those of the reservations.
    pub(super) fn parts(&self, header: &Header) -> (&[AtomicU64], &[AtomicU64]) {
        let cells_end = HEADER_WORDS + header.cell_words();
        let words = self.words();
        let part = |from: usize, to: usize| words.get(from..to).unwrap_or_default();
        (part(HEADER_WORDS, cells_end), part(cells_end, cells_end + header.reservation_words()))
    }

    /// Where the search for a free reservation goes on.
    pub(super) fn next(&self) -> &AtomicU64 {
        static NOWHERE: AtomicU64 = AtomicU64::new(0);
        self.words().get(NEXT).unwrap_or(&NOWHERE)
    }

    /// Says that the region is whole.
    pub(super) fn ready(&self) {
        if let Some(ready) = self.words().get(READY) {
            ready.store(1, Ordering::Release);
        }
    }
}
