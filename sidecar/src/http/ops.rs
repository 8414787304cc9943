//! Health, readiness, metrics, status and discovery.

use super::answer::{Answer, json, since_text, with};
use crate::shared::Shared;
use http::StatusCode;
use http::header::HeaderValue;
use serde_json::Value as Json;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const PROMETHEUS: HeaderValue =
    HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// The process answers.
pub(super) fn health() -> Answer {
    with(StatusCode::OK, TEXT, "ok\n")
}

/// Sockets are bound, the store is open, every tenant is served; never dependent on anyone else.
pub(super) fn ready(shared: &Shared) -> Answer {
    let missing = shared.unready();
    let status = match missing.is_empty() {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    json(status, &serde_json::json!({"ready": missing.is_empty(), "missing": missing}))
}

pub(super) fn metrics(shared: &Shared) -> Answer {
    with(StatusCode::OK, PROMETHEUS, shared.metrics.render())
}

/// Which tenants are served, by which version, since when.
pub(super) fn status(shared: &Shared) -> Answer {
    let statuses = shared.statuses.load();
    let tenants = statuses.iter().map(|tenant| {
        serde_json::json!({
            "id": tenant.id,
            "version": tenant.version.map(|version| format!("{}.{}", version.epoch, version.seq)),
            "state": tenant.state,
            "since": since_text(tenant.since_ms),
            "error": tenant.error,
        })
    });
    let body = serde_json::json!({
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_ms": shared.clock.uptime_ms(),
        "tenants": tenants.collect::<Vec<_>>(),
    });
    json(StatusCode::OK, &body)
}

pub(super) fn discovery(metadata: &Json) -> Answer {
    json(StatusCode::OK, metadata)
}
