//! Second opinions on a decision.
//!
//! `casbin_rs` puts the `casbin` crate behind `ask`; `naive` is a strict interpreter without an
//! index, so slow and so plain that it can be read. `differences` lists where casbin's answer and
//! ours in the `casbin-rs` dialect are known to part. None of this is on a request's path.
//!
//! To add a known difference: a row in `differences::KNOWN`, which its test then demands to be
//! true, and the generated page docs/reference/casbin-differences.md.

pub mod casbin_rs;
pub mod differences;
pub mod naive;

pub use casbin_rs::{Answer, CasbinRs};
pub use naive::{Naive, Outcome};
