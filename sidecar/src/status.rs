//! What is served, for people: `/v1/status` shows it.

use tollgate_engine::Version;

/// One tenant as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TenantStatus {
    pub(crate) id: String,
    pub(crate) version: Option<Version>,
    /// `active`, `last-known-good` or `no-bundle`.
    pub(crate) state: &'static str,
    pub(crate) since_ms: u64,
    pub(crate) error: Option<String>,
}
