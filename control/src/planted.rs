//! Bugs on purpose: a build with the feature `planted` has the one that `TOLLGATE_PLANTED` names, and the isolation
//! tests must find it. Every other build has none.

use crate::random::bytes;

/// Panics now and then: what is left behind must be nobody else's.
#[allow(clippy::panic, reason = "it is what is planted")]
pub(crate) fn panic_sometimes() {
    if planted("panic") && bytes::<1>()[0] < 8 {
        panic!("planted");
    }
}

/// Whether this bug is to be had.
pub(crate) fn planted(bug: &str) -> bool {
    cfg!(feature = "planted") && std::env::var("TOLLGATE_PLANTED").is_ok_and(|name| name == bug)
}
