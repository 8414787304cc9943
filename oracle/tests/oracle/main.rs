//! Second opinions meet the engine: known differences and random cases, in every dialect.

#![allow(clippy::print_stdout, reason = "`make parity` shows the counts")]

mod changes;
mod dialects;
mod differences;
mod examples;
mod generator;
mod json;
mod parity;
mod parity_go;
