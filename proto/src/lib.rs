//! Bytes to engine types and back. Versions, sizes and byte order live here; no IO does.
//!
//! `bundle` turns a policy folder's files into compiled tenants (`limits_file`, `tenant_file`,
//! `tests_file` read one file each, `toml_reader` and `json` are how), `owned` holds a request that
//! came as text, `frame` is the wire format of the frame door (PROTOCOL.md).
//!
//! To add a key to a file: the `known` list and the reader of that file, its row in
//! docs/reference, a bad value in a golden test. To add a frame kind: `frame`, PROTOCOL.md, a
//! golden hex file.

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

pub mod authzen;
pub mod bundle;
pub mod explain;
pub mod findings;
pub mod follow;
pub mod frame;
#[cfg(feature = "grpc")]
pub mod gate;
pub mod json;
pub mod limits_file;
pub mod lint;
pub mod owned;
pub mod quota;
pub mod schema_file;
pub mod tenant_file;
pub mod tests_file;
pub mod toml_reader;
pub mod tree;
