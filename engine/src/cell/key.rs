//! What tells cells apart: a keyed hash of tenant, limit and dimension values.

use siphasher::sip128::{Hasher128, SipHasher13};
use std::hash::Hasher;

/// First key words with a meaning of their own.
pub(super) const EMPTY: u64 = 0;
pub(super) const TOMBSTONE: u64 = 1;
pub(super) const RESERVED_KEYS: u64 = 2;

/// The identity of a cell: a keyed hash of tenant, limit and dimension values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    pub(super) first: u64,
    pub(super) second: u64,
}

/// The identity of a limit of a tenant, hashed once at load: half of every key of it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LimitHash([u64; 2]);

impl LimitHash {
    pub(crate) fn of(tenant: &str, limit: &str) -> LimitHash {
        let mut hasher = ValuesHasher(SipHasher13::new());
        hasher.value(0, tenant.as_bytes());
        hasher.value(0, limit.as_bytes());
        LimitHash(hasher.finish().0)
    }

    /// The identity of what a limit learns: never that of a counter of it.
    pub(crate) fn of_learner(tenant: &str, limit: &str) -> LimitHash {
        let mut hasher = ValuesHasher(SipHasher13::new());
        hasher.value(1, tenant.as_bytes());
        hasher.value(1, limit.as_bytes());
        LimitHash(hasher.finish().0)
    }

    /// The identity of a budget in the window that starts there: each word is mixed by a bijection, so that two
    /// windows of one limit never meet.
    pub(crate) fn in_window(self, start_ns: u64) -> LimitHash {
        let [first, second] = self.0;
        LimitHash([first ^ mixed(start_ns), second ^ mixed(!start_ns)])
    }
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood, 2014), which no two numbers share.
pub(crate) fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// The keyed hash of a request's dimension values: the other half of a key, shared by all limits
/// that count by the same dimensions.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ValuesHash([u64; 2]);

/// Hashes dimension values; each is told apart from its neighbours by kind and length.
pub(crate) struct ValuesHasher(SipHasher13);

impl ValuesHasher {
    /// Hashes under a table's secret.
    pub(super) fn keyed([first, second]: [u64; 2]) -> ValuesHasher {
        ValuesHasher(SipHasher13::new_with_keys(first, second))
    }

    pub(crate) fn value(&mut self, kind: u8, bytes: &[u8]) {
        self.0.write_u64(u64::from(kind) << 56 | bytes.len() as u64);
        self.0.write(bytes);
    }

    pub(crate) fn finish(self) -> ValuesHash {
        let hash = self.0.finish128();
        ValuesHash([hash.h1, hash.h2])
    }
}

impl ValuesHash {
    pub(crate) fn words(self) -> [u64; 2] {
        self.0
    }
}

impl Key {
    pub(crate) fn words(self) -> [u64; 2] {
        [self.first, self.second]
    }

    pub(crate) fn of_words([first, second]: [u64; 2]) -> Key {
        Key { first, second }
    }

    /// Both halves are 128 bits of SipHash: two pairs meet with probability 2^-128.
    pub(crate) fn new(limit: LimitHash, values: ValuesHash) -> Key {
        let ([high, low], [h1, h2]) = (limit.0, values.0);
        Key { first: (high ^ h1).max(RESERVED_KEYS), second: low ^ h2 }
    }
}
