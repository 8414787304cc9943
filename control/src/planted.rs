//! Bugs on purpose: a build with the feature `planted` has the one that `TOLLGATE_PLANTED` names, and the isolation
//! tests must find it. Every other build has none.

/// Whether this bug is to be had.
pub(crate) fn planted(bug: &str) -> bool {
    cfg!(feature = "planted") && std::env::var("TOLLGATE_PLANTED").is_ok_and(|name| name == bug)
}
