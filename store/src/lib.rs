//! RocksDB: last-known-good bundles, snapshots of cells and what was settled since, in three databases.
//!
//! `database` opens, repairs by setting aside, and opens again after a failed write; `bundles`, `state` and
//! `journal` say what lies where (docs/reference/storage.md). It is never read on a request's path,
//! and nothing else opens RocksDB. To add a kind of record: a column family in its database, a
//! reader and a writer here, its row in storage.md.

#![cfg_attr(
    not(test),
    warn(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::cast_possible_truncation
    )
)]

mod bundles;
mod database;
mod journal;
mod manifest;
mod state;

pub use bundles::{Accepted, Bundles};
pub use database::{Opened, StoreError};
pub use journal::Journal;
pub use state::State;
