//! Quotas: limits as data, buckets over cells, and the one step that takes all or none.
//!
//! `limit` is what is promised, `bucket` one rate over one cell, `reserve` the step of a decision.
//! To add a kind of limit: a variant beside `limit::Bucket`, its arithmetic beside `bucket`, an arm
//! in `reserve`, a naive twin in engine/tests/quota.rs.

pub(crate) mod bucket;
pub mod limit;
pub(crate) mod reserve;
