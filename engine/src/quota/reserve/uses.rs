//! How the limits that applied to a request stand after it.

use crate::bounds::LIMITS_PER_REQUEST_MAX;
use crate::quota::limit::Mode;

/// A limit that applied to a request, and how it stands after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitUse {
    /// Position among the tenant's limits.
    pub limit: u16,
    pub remaining: u64,
    /// The most that this counter ever has left: the limit's, and what was granted to it beyond.
    pub of: u64,
    pub mode: Mode,
    /// The amount did not fit: a refusal if hard, a warning if soft.
    pub exceeded: bool,
    /// A bit for each of the limit's thresholds that is reached for the first time in this window.
    pub warned: u8,
    /// It could not count the request, which passes nevertheless; nothing is known of what is left.
    pub failed_open: bool,
}

impl LimitUse {
    pub(crate) const UNUSED: LimitUse = LimitUse {
        limit: 0,
        remaining: 0,
        of: 0,
        mode: Mode::Hard,
        exceeded: false,
        warned: 0,
        failed_open: false,
    };

    pub(super) fn failed_open(limit: u16, of: u64) -> LimitUse {
        LimitUse { limit, of, failed_open: true, ..LimitUse::UNUSED }
    }
}

/// The limits that applied, at most `LIMITS_PER_REQUEST_MAX`.
#[derive(Debug, Clone, Copy)]
pub struct LimitUses {
    pub(super) uses: [LimitUse; LIMITS_PER_REQUEST_MAX],
    pub(super) count: usize,
    has_failed_open: bool,
}

impl Default for LimitUses {
    fn default() -> LimitUses {
        let uses = [LimitUse::UNUSED; LIMITS_PER_REQUEST_MAX];
        LimitUses { uses, count: 0, has_failed_open: false }
    }
}

impl LimitUses {
    pub fn as_slice(&self) -> &[LimitUse] {
        self.uses.get(..self.count).unwrap_or(&[])
    }

    /// Whether a limit has reached one of its thresholds.
    pub fn has_warned(&self) -> bool {
        self.as_slice().iter().any(|limit_use| limit_use.warned != 0)
    }

    /// Whether a limit could not count the request and let it pass.
    pub fn has_failed_open(&self) -> bool {
        self.has_failed_open
    }

    pub(super) fn fail_open(&mut self, limit: u16) {
        let mut uses = self.uses.iter_mut().take(self.count);
        if let Some(limit_use) = uses.find(|limit_use| limit_use.limit == limit) {
            *limit_use = LimitUse::failed_open(limit, limit_use.of);
        }
        self.has_failed_open = true;
    }

    pub(super) fn set_remaining(&mut self, limit: u16, remaining: u64) {
        let mut uses = self.uses.iter_mut().take(self.count);
        if let Some(limit_use) = uses.find(|limit_use| limit_use.limit == limit) {
            limit_use.remaining = remaining;
        }
    }

    pub(super) fn push(&mut self, limit_use: LimitUse) -> bool {
        match self.uses.get_mut(self.count) {
            Some(place) => {
                *place = limit_use;
                self.count += 1;
                true
            }
            None => false,
        }
    }
}
