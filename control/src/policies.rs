//! Policies: drafts that are linted, tested and compared, then published as versions that never change.
//!
//! A tenant decides by the policy that was published last. A version keeps its files as they were sent: a rollback
//! publishes them again, byte for byte, under a new number.

pub mod api;
mod check;
mod compare;
mod files;
pub mod store;

use compare::compare;
pub use files::Files;
