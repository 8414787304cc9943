//! The atomic words of counters and reservations: the standard library's, or those of a scheduler that tries one schedule
//! after the other (`make shuttle`).

#[cfg(shuttle)]
pub use shuttle::sync::atomic::{AtomicU64, Ordering, fence};
#[cfg(not(shuttle))]
pub use std::sync::atomic::{AtomicU64, Ordering, fence};
