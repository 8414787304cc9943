//! Quotas: limits as data, buckets and budgets over cells, and the one step that takes all or none.
//!
//! `limit` is what is promised, `bucket` one rate over one cell, `budget` one amount in a window over one cell,
//! `window` where windows begin, `one` a limit of either kind, `reserve` the step of a decision, `reservation` what it took
//! until that is settled, `settle` how, `estimate` what requests are learned to use, `counter` one counter for people.
//! To add a kind of limit: a variant of `limit::Capacity`, its arithmetic beside `bucket`, an arm in `one`, a naive
//! twin in engine/tests/engine/quota.rs.

pub(crate) mod bucket;
pub(crate) mod budget;
pub mod counter;
pub mod estimate;
pub mod limit;
pub(crate) mod one;
pub mod reservation;
pub(crate) mod reserve;
pub mod settle;
pub mod window;
