//! Expressions: matchers of policies and conditions of limits, from text to an answer.
//!
//! Text → `ast` (by `lex` and `parse`, names resolved) → `code` (flat, what runs). Three evaluators
//! share the code: `eval_strict` (three truth values), `eval_casbin` (casbin-rs' answers) and `eval_go` (Go's).
//! To add a function: a row in `ast::Function`, a node in `code`, an arm in each evaluator, and a
//! row in the naive interpreter of the oracle.

pub mod ast;
pub(crate) mod code;
pub mod error;
pub(crate) mod eval_casbin;
pub(crate) mod eval_go;
pub(crate) mod eval_strict;
mod lex;
pub mod parse;
