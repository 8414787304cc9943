//! What is served, for people: `/v1/status` shows it.

use tollgate_engine::Version;

/// What a tenant can be.
pub(crate) const STATES: [&str; 5] =
    ["active", "suspended", "killed", "last-known-good", "no-bundle"];

/// One tenant as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TenantStatus {
    pub(crate) id: String,
    pub(crate) version: Option<Version>,
    /// One of `STATES`.
    pub(crate) state: &'static str,
    pub(crate) since_ms: u64,
    pub(crate) error: Option<String>,
}
