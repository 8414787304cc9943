//! The first page of a region: what it is, how large, whose.

use super::RegionSpec;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use tollgate_engine::RESERVATION_WORDS;
use tollgate_engine::cell::{CELL_WORDS, STRIPE_CELLS};

/// `TGREGION`.
const MAGIC: u64 = u64::from_be_bytes(*b"TGREGION");
/// Grows with each change of what words mean.
pub(super) const LAYOUT: u64 = 2;
/// Bytes before the first cell.
pub(super) const HEADER_BYTES: usize = 4096;
const WORD_BYTES: usize = size_of::<u64>();
/// Words of the header that are read and written as one.
const WORDS: usize = 11;
/// The word that says the region is whole: written last.
pub(super) const READY: usize = 2;
/// The word at which the search for a free reservation goes on.
pub(super) const NEXT: usize = 16;

/// What a header says. In the order of its words: magic, layout, ready, boot (two), secret (two), cells, reservations,
/// run, 0.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) boot: [u64; 2],
    pub(super) secret: [u64; 2],
    pub(super) cells: usize,
    pub(super) reservations: usize,
    pub(super) run: u64,
}

/// What stands where a header is expected.
pub(super) enum Read {
    Whole(Header),
    /// Whoever made it ended before it was ready.
    Unfinished,
    Foreign,
}

impl Header {
    pub(super) fn of(spec: &RegionSpec) -> Header {
        Header {
            boot: spec.boot,
            secret: *spec.secret.words(),
            cells: spec.cells.div_ceil(STRIPE_CELLS).max(1) * STRIPE_CELLS,
            reservations: spec.reservations,
            run: spec.run,
        }
    }

    pub(super) fn is_sized_as(&self, other: &Header) -> bool {
        (self.cells, self.reservations) == (other.cells, other.reservations)
    }

    pub(super) fn stripes(&self) -> usize {
        self.cells / STRIPE_CELLS
    }

    pub(super) fn cell_words(&self) -> usize {
        self.cells.saturating_mul(CELL_WORDS)
    }

    pub(super) fn reservation_words(&self) -> usize {
        self.reservations.saturating_mul(RESERVATION_WORDS)
    }

    /// Bytes of the whole file; `None` beyond what there can be.
    pub(super) fn bytes(&self) -> Option<u64> {
        let words = self.cell_words().checked_add(self.reservation_words())?;
        let bytes = words.checked_mul(WORD_BYTES)?.checked_add(HEADER_BYTES)?;
        u64::try_from(bytes).ok()
    }

    fn words(&self) -> [u64; WORDS] {
        let ([boot, boot_low], [secret, secret_low]) = (self.boot, self.secret);
        let (cells, reservations) = (self.cells as u64, self.reservations as u64);
        [MAGIC, LAYOUT, 0, boot, boot_low, secret, secret_low, cells, reservations, self.run, 0]
    }

    fn of_words(words: [u64; WORDS]) -> Read {
        let [magic, layout, ready, boot, boot_low, secret, secret_low, cells, places, run, _] =
            words;
        let sizes = (usize::try_from(cells), usize::try_from(places));
        match (magic, layout, ready, sizes) {
            (MAGIC, LAYOUT, 1, (Ok(cells), Ok(reservations)))
                if cells > 0 && cells.is_multiple_of(STRIPE_CELLS) =>
            {
                let (boot, secret) = ([boot, boot_low], [secret, secret_low]);
                Read::Whole(Header { boot, secret, cells, reservations, run })
            }
            (MAGIC, LAYOUT, 0, _) | (0, 0, 0, _) => Read::Unfinished,
            _ => Read::Foreign,
        }
    }
}

pub(super) fn read(file: &File) -> std::io::Result<Read> {
    let mut bytes = [0; WORDS * WORD_BYTES];
    match file.read_exact_at(&mut bytes, 0) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            return Ok(Read::Foreign);
        }
        Err(error) => return Err(error),
    }
    let mut words = [0; WORDS];
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(WORD_BYTES)) {
        *word = bytes.try_into().map_or(0, u64::from_ne_bytes);
    }
    Ok(Header::of_words(words))
}

/// Makes the file anew: all its bytes are had now, so that no later write finds no room.
pub(super) fn make(file: &File, header: &Header) -> std::io::Result<()> {
    let bytes = header.bytes().and_then(|bytes| i64::try_from(bytes).ok());
    let bytes = bytes.ok_or_else(|| std::io::Error::other("more cells than memory has"))?;
    file.set_len(0)?;
    if let Err(error) = nix::fcntl::posix_fallocate(file.as_fd(), 0, bytes) {
        file.set_len(0)?;
        return Err(error.into());
    }
    let words = header.words();
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    file.write_all_at(&bytes, 0)
}
