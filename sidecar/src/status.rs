//! `status.json` in the run folder: what is served, replaced whole at each change.

use std::io;
use std::path::Path;
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

/// Writes the file beside itself and renames it.
pub(crate) fn write(run: &Path, uptime_ms: u64, tenants: &[TenantStatus]) -> io::Result<()> {
    let row = |tenant: &TenantStatus| {
        serde_json::json!({
            "id": tenant.id,
            "version": tenant.version.map(|version| format!("{}.{}", version.epoch, version.seq)),
            "state": tenant.state,
            "since_ms": tenant.since_ms,
            "error": tenant.error,
        })
    };
    let status = serde_json::json!({
        "version": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
        "uptime_ms": uptime_ms,
        "tenants": tenants.iter().map(row).collect::<Vec<_>>(),
    });
    let partial = run.join("status.json.partial");
    std::fs::write(&partial, format!("{status}\n"))?;
    std::fs::rename(partial, run.join("status.json"))
}
