//! Who may insert into a stripe, and who is attached: locks on bytes of the file, which the kernel takes back from a
//! process that ends.
//!
//! They belong to the open file (OFD locks), not to the process: threads of one process share its descriptor and are
//! kept apart by a mutex per stripe; a child that was forked shares it too and must attach for itself. The bytes that
//! are locked say nothing of the words that stand there.

use crate::fetch::fetch;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc::{F_RDLCK, F_UNLCK, F_WRLCK, SEEK_SET, flock, off_t};
use std::fs::File;
use std::os::fd::AsFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tollgate_engine::CellHost;

/// Processes that may be attached at once.
const MEMBERS_MAX: u16 = 64;
/// The byte of whoever makes or attaches.
const ONLY: off_t = 0;
/// The bytes of the members.
const MEMBERS: off_t = 1;
/// The byte of the first stripe.
const STRIPES: off_t = 4096;

fn lock(kind: i32, start: off_t, len: off_t) -> flock {
    // The constants are small numbers.
    let narrow = |number: i32| i16::try_from(number).unwrap_or_default();
    flock { l_type: narrow(kind), l_whence: narrow(SEEK_SET), l_start: start, l_len: len, l_pid: 0 }
}

/// Waits for a byte.
fn wait(file: &File, start: off_t) -> Result<(), Errno> {
    loop {
        match fcntl(file.as_fd(), FcntlArg::F_OFD_SETLKW(&lock(F_WRLCK, start, 1))) {
            Err(Errno::EINTR) => {}
            answer => return answer.map(drop),
        }
    }
}

fn unlock(file: &File, start: off_t) {
    // Giving up a lock that is held cannot fail.
    let _ = fcntl(file.as_fd(), FcntlArg::F_OFD_SETLK(&lock(F_UNLCK, start, 1)));
}

/// Whether anybody but this open file holds one of these bytes.
fn is_held(file: &File, start: off_t, len: off_t) -> Result<bool, Errno> {
    let mut held = lock(F_WRLCK, start, len);
    fcntl(file.as_fd(), FcntlArg::F_OFD_GETLK(&mut held))?;
    Ok(i32::from(held.l_type) == F_WRLCK || i32::from(held.l_type) == F_RDLCK)
}

/// Held by whoever makes or attaches, so that one at a time does.
pub(super) struct Only(File);

impl Only {
    pub(super) fn wait(file: &File) -> std::io::Result<Only> {
        let file = file.try_clone()?;
        wait(&file, ONLY)?;
        Ok(Only(file))
    }
}

impl Drop for Only {
    fn drop(&mut self) {
        unlock(&self.0, ONLY);
    }
}

/// The locks of an attached process.
pub(super) struct Locks {
    file: File,
    stripes: Box<[Mutex<()>]>,
    /// From 1.
    member: u16,
    /// The process that attached: a child of it must not use its locks.
    process: u32,
}

impl Locks {
    /// Whether nobody is attached.
    pub(super) fn nobody(file: &File) -> std::io::Result<bool> {
        Ok(!is_held(file, MEMBERS, MEMBERS_MAX.into())?)
    }

    /// Becomes a member; `None` if there are as many as can be.
    pub(super) fn join(file: File, stripes: usize) -> std::io::Result<Option<Locks>> {
        for member in 1..=MEMBERS_MAX {
            let byte = lock(F_WRLCK, byte_of(member), 1);
            match fcntl(file.as_fd(), FcntlArg::F_OFD_SETLK(&byte)) {
                Ok(_) => {
                    let stripes = (0..stripes).map(|_| Mutex::new(())).collect();
                    let process = std::process::id();
                    return Ok(Some(Locks { file, stripes, member, process }));
                }
                Err(Errno::EAGAIN | Errno::EACCES) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }

    pub(super) fn member(&self) -> u16 {
        self.member
    }

    /// How many are attached.
    pub(super) fn members(&self) -> usize {
        (1..=MEMBERS_MAX).filter(|member| !self.is_gone(*member)).count()
    }

    fn hold(&self, stripe: usize) -> Option<StripeLock<'_>> {
        let mutex = self.stripes.get(stripe).filter(|_| self.process == std::process::id())?;
        // A panic under the lock leaves whole words behind: the protocol needs no repair.
        let guard = mutex.lock().unwrap_or_else(PoisonError::into_inner);
        let byte = off_t::try_from(stripe).ok()?.checked_add(STRIPES)?;
        wait(&self.file, byte).ok()?;
        Some(StripeLock { file: &self.file, byte, _guard: guard })
    }
}

fn byte_of(member: u16) -> off_t {
    MEMBERS + off_t::from(member) - 1
}

/// A stripe that nobody else changes.
struct StripeLock<'l> {
    file: &'l File,
    byte: off_t,
    _guard: MutexGuard<'l, ()>,
}

impl Drop for StripeLock<'_> {
    fn drop(&mut self) {
        unlock(self.file, self.byte);
    }
}

impl CellHost for Locks {
    fn fetch(&self, lines: &[*const u8]) {
        fetch(lines);
    }

    fn locked(&self, stripe: usize, work: &mut dyn FnMut()) {
        let held = self.hold(stripe);
        if held.is_some() {
            work();
        }
    }

    fn is_gone(&self, member: u16) -> bool {
        // Doubt says that it is there: nobody takes what may be another's.
        let is_member = (1..=MEMBERS_MAX).contains(&member) && member != self.member;
        is_member && is_held(&self.file, byte_of(member), 1) == Ok(false)
    }
}

/// The host of a table that nobody else has: whoever makes a region fills it before others attach.
pub(super) struct Alone;

impl CellHost for Alone {
    fn locked(&self, _stripe: usize, work: &mut dyn FnMut()) {
        work();
    }
}

/// The host of a table that is only read.
pub(super) struct Nobody;

impl CellHost for Nobody {
    fn locked(&self, _stripe: usize, _work: &mut dyn FnMut()) {}
}
