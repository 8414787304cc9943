//! Second opinions on a decision.
//!
//! `casbin_rs` puts the `casbin` crate behind `ask`, `casbin_go` Casbin for Go in a process of its own; `naive` is a strict interpreter without an
//! index, so slow and so plain that it can be read. `differences` lists where Casbin's answer and
//! ours in its dialect are known to part. None of this is on a request's path.
//!
//! To add a known difference: a row in `differences::KNOWN` or `KNOWN_GO`, which its test then demands to be
//! true, and the generated page docs/reference/casbin-differences.md.

pub mod casbin_go;
pub mod casbin_rs;
pub mod differences;
pub mod naive;

pub use casbin_go::CasbinGo;
pub use casbin_rs::{Answer, CasbinRs};
pub use naive::{Naive, Outcome};
