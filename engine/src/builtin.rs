//! The built-in matching functions. Pure, without allocation once a pattern is compiled.

pub(crate) mod braces;
mod casbin_pattern;
pub(crate) mod finite_set;
mod glob;
mod go_glob;
mod go_pattern;
mod go_regex;
pub(crate) mod ip;
pub(crate) mod key_get;
pub(crate) mod key_match;
pub(crate) mod pattern;
