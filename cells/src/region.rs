//! A table in a file that processes map together, and that outlives each of them.
//!
//! The file is a header, the cells and the places of reservations (`header`). Whoever attaches first makes it; each
//! process is a member with a number of its own, which the kernel takes back when it ends (`locks`). What a process that
//! ends at any instruction leaves behind is put right by whoever attaches next, or by the others once a second
//! (`Cells::recover`). A region belongs to one life of the machine: after a restart it is made anew, since nobody knows
//! which of its pages reached the disk.

mod header;
mod locks;
mod memory;

use header::Header;
use locks::{Locks, Only};
use memory::Memory;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use tollgate_engine::cell::{CELL_WORDS, STRIPE_CELLS, TableSecret};
use tollgate_engine::{Cells, Now, Reservations};

/// What a region is to be, where it is made.
#[allow(missing_debug_implementations, reason = "it holds a secret")]
pub struct RegionSpec {
    pub cells: usize,
    pub reservations: usize,
    /// Keys the hash of cells; a region that is there keeps its own.
    pub secret: TableSecret,
    /// Differs with each region that is made: ids of another one's reservations mean nothing.
    pub run: u64,
    /// This life of the machine.
    pub boot: [u64; 2],
}

/// Why there is no region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegionError {
    /// The file cannot be made, read or mapped, or there is no room for it.
    Unavailable(String),
    /// A file that is no region of this version.
    Foreign(String),
    /// Others use it, and it is of another size; or there are as many as can be.
    InUse(String),
}

impl RegionError {
    /// The stable number.
    pub const fn number(&self) -> u16 {
        match self {
            RegionError::Unavailable(_) => 1213,
            RegionError::Foreign(_) => 1214,
            RegionError::InUse(_) => 1215,
        }
    }

    /// The stable word.
    pub const fn name(&self) -> &'static str {
        match self {
            RegionError::Unavailable(_) => "region-unavailable",
            RegionError::Foreign(_) => "region-foreign",
            RegionError::InUse(_) => "region-in-use",
        }
    }
}

impl std::fmt::Display for RegionError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (RegionError::Unavailable(what)
        | RegionError::Foreign(what)
        | RegionError::InUse(what)) = self;
        write!(f, "{} {}: {what}", self.name(), self.number())
    }
}

impl std::error::Error for RegionError {}

/// A table in a file.
pub struct Region {
    memory: Memory,
    header: Header,
    secret: TableSecret,
    locks: Locks,
    is_new: bool,
}

impl std::fmt::Debug for Region {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (capacity, member) = (self.capacity(), self.locks.member());
        f.debug_struct("Region")
            .field("capacity", &capacity)
            .field("member", &member)
            .finish_non_exhaustive()
    }
}

impl Region {
    /// Attaches to the region of a file, or makes it. Where nobody else is attached, a region of another size is made
    /// anew with what it counted; its reservations end, their estimates stay charged. A new one is given to `restore`, to
    /// be filled before anybody else can attach.
    ///
    /// # Errors
    /// In order of precedence: the file cannot be had, is none of ours, or is in use with another size.
    ///
    /// ```
    /// use tollgate_cells::{Region, RegionSpec};
    /// use tollgate_engine::{Now, cell::TableSecret};
    /// let path = std::env::temp_dir().join(format!("cells-{}", std::process::id()));
    /// let secret = TableSecret::new([7, 8]);
    /// let spec = RegionSpec { cells: 1_000, reservations: 10, secret, run: 1, boot: [1, 2] };
    /// let region = Region::open(&path, &spec, Now(1), &mut |cells| assert_eq!(cells.occupied(), 0))?;
    /// assert_eq!((region.capacity(), region.is_new()), (1_008, true)); // whole stripes of 16
    /// assert!(!Region::open(&path, &spec, Now(2), &mut |_| unreachable!())?.is_new());
    /// std::fs::remove_file(path).ok();
    /// # Ok::<(), tollgate_cells::RegionError>(())
    /// ```
    pub fn open(
        path: &Path,
        spec: &RegionSpec,
        now: Now,
        restore: &mut dyn FnMut(&Cells<'_>),
    ) -> Result<Region, RegionError> {
        let said = |error: std::io::Error| RegionError::Unavailable(said(path, &error));
        let file = open_file(path).map_err(said)?;
        // Who makes, attaches or makes anew does so alone.
        let only = Only::wait(&file).map_err(said)?;
        let wanted = Header::of(spec);
        let is_alone = Locks::nobody(&file).map_err(said)?;
        let (kept, carried) = match existing(&file, path, &wanted)? {
            Existing::Same(header) => (Some(header), None),
            Existing::None => (None, None),
            Existing::OtherBoot if is_alone => (None, None),
            Existing::OtherSize(header) if is_alone => {
                let memory = Memory::map(&file, &header).map_err(said)?;
                let cells = every_cell(&memory, &header);
                (None, Some((header.secret, cells)))
            }
            Existing::OtherBoot | Existing::OtherSize(_) => {
                let (path, cells, places) = (path.display(), wanted.cells, wanted.reservations);
                return Err(RegionError::InUse(format!(
                    "{path}: others are attached to a region that has not {cells} cells and \
                     {places} reservations; give each process the same sizes, or stop the others"
                )));
            }
        };
        let is_new = kept.is_none() && carried.is_none();
        let mut header = kept.unwrap_or(wanted);
        if let Some((secret, _)) = &carried {
            header.secret = *secret;
        }
        if kept.is_none() {
            header::make(&file, &header).map_err(said)?;
        }
        let memory = Memory::map(&file, &header).map_err(said)?;
        let region = Region::attach(file, memory, header, is_new)
            .map_err(said)?
            .ok_or_else(|| RegionError::InUse(format!("{}: 64 are attached", path.display())))?;
        if is_new {
            restore(&region.unshared());
        }
        for words in carried.into_iter().flat_map(|(_, cells)| cells) {
            region.unshared().restore(words, now.0);
        }
        let cells = region.cells();
        cells.recover_own();
        if is_alone {
            cells.recover();
            cells.recount_in_flight();
        }
        if kept.is_none() {
            region.memory.ready();
        }
        drop(only);
        Ok(region)
    }

    fn attach(
        file: File,
        memory: Memory,
        header: Header,
        is_new: bool,
    ) -> std::io::Result<Option<Region>> {
        let secret = TableSecret::new(header.secret);
        let locks = Locks::join(file, header.stripes())?;
        Ok(locks.map(|locks| Region { memory, header, secret, locks, is_new }))
    }

    /// Lends the table to a decision. What is settled stays until the journal has it.
    pub fn cells(&self) -> Cells<'_> {
        let (cells, places) = self.memory.parts(&self.header);
        let places = Reservations::new(places, self.memory.next(), self.header.run);
        let places = places.of_member(self.locks.member()).journaled();
        Cells::new(cells, &self.secret, &self.locks).with_reservations(places)
    }

    /// The same as long as nobody else can attach.
    fn unshared(&self) -> Cells<'_> {
        let (cells, _) = self.memory.parts(&self.header);
        Cells::new(cells, &self.secret, &locks::Alone)
    }

    /// The number of this life of the region: another where it was made anew.
    pub fn run(&self) -> u64 {
        self.header.run
    }

    /// How many cells the table has.
    pub fn capacity(&self) -> usize {
        self.header.stripes() * STRIPE_CELLS
    }

    /// Whether it was made by this process with nothing counted.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// What keys its cells: to be kept with a snapshot of them.
    pub fn secret(&self) -> &TableSecret {
        &self.secret
    }

    /// How many processes are attached, this one included.
    pub fn members(&self) -> usize {
        self.locks.members()
    }
}

/// What a file holds.
enum Existing {
    /// Nothing, or what somebody died making.
    None,
    Same(Header),
    OtherBoot,
    OtherSize(Header),
}

fn existing(file: &File, path: &Path, wanted: &Header) -> Result<Existing, RegionError> {
    let said = |error: std::io::Error| RegionError::Unavailable(said(path, &error));
    let bytes = file.metadata().map_err(said)?.len();
    if bytes == 0 {
        return Ok(Existing::None);
    }
    match header::read(file).map_err(said)? {
        header::Read::Unfinished => Ok(Existing::None),
        header::Read::Whole(header) if header.bytes() == Some(bytes) => Ok(match header {
            header if header.boot != wanted.boot => Existing::OtherBoot,
            header if header.is_sized_as(wanted) => Existing::Same(header),
            header => Existing::OtherSize(header),
        }),
        _ => Err(RegionError::Foreign(format!(
            "{}: expected a region of layout {}, found {bytes} bytes of something else; move the \
             file away",
            path.display(),
            header::LAYOUT
        ))),
    }
}

fn every_cell(memory: &Memory, header: &Header) -> Vec<[u64; CELL_WORDS]> {
    let (cells, _) = memory.parts(header);
    let secret = TableSecret::new(header.secret);
    let mut every = Vec::new();
    Cells::new(cells, &secret, &locks::Nobody).every(&mut |words| every.push(words));
    every
}

fn open_file(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options.custom_flags(nix::libc::O_NOFOLLOW);
    let file = options.open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(std::io::Error::other("expected a plain file")),
    }
}

fn said(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}
