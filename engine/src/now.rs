//! When a decision is made, and by which version of a configuration: arguments, never read here.

/// Unix time in nanoseconds: wall clock at boot plus monotonic time since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now(pub u64);

/// The version of a tenant's configuration; never goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Version {
    pub epoch: u32,
    pub seq: u64,
}
