//! Health, readiness and metrics on a listener of their own.

use crate::code::Code;
use crate::routes::ROUTES;
use crate::service::Service;
use crate::sign_on;
use axum::Router;
use axum::extract::State;
use axum::routing::get;
use http::StatusCode;
use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

pub const REQUEST_SECONDS: &str = "tollgate_control_request_duration_seconds";
pub const REFUSALS: &str = "tollgate_control_refusals_total";
/// `for` is `place` (of the tenant's own) or `backend` (of all).
pub const POOL_WAIT_SECONDS: &str = "tollgate_control_pool_wait_seconds";
/// Of the sequencer: what waits, and how long a round lasts; together the longest that an event waits for its number.
pub const AUDIT_WAITING: &str = "tollgate_control_audit_waiting_logs";
pub const AUDIT_ROUND_SECONDS: &str = "tollgate_control_audit_round_seconds";
pub const CONNECT_SECONDS: &str = "tollgate_control_connect_seconds";
const BUCKETS: [f64; 10] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0];
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);
/// What is served beside the routes, and what is not.
pub const NO_ROUTE: &str = "_none";

/// Registers every series before the first request, so that what did not happen reads 0.
///
/// # Errors
/// A recorder is installed already.
pub fn register() -> Result<PrometheusHandle, String> {
    let builder =
        PrometheusBuilder::new().set_buckets(&BUCKETS).map_err(|error| error.to_string())?;
    let handle = builder.install_recorder().map_err(|error| error.to_string())?;
    describe_histogram!(
        REQUEST_SECONDS,
        Unit::Seconds,
        "Time from a call's head to its answer, by route."
    );
    describe_histogram!(
        POOL_WAIT_SECONDS,
        Unit::Seconds,
        "Waiting for a database connection's place."
    );
    describe_histogram!(CONNECT_SECONDS, Unit::Seconds, "Opening a database connection.");
    describe_gauge!(AUDIT_WAITING, Unit::Count, "Audit logs with events that have no number yet.");
    describe_histogram!(
        AUDIT_ROUND_SECONDS,
        Unit::Seconds,
        "One round of the audit log's sequencer."
    );
    gauge!(AUDIT_WAITING).set(0.0);
    describe_counter!(REFUSALS, Unit::Count, "Calls that were refused, by code.");
    sign_on::register();
    for route in ROUTES {
        let method = route.method.to_string();
        drop(histogram!(REQUEST_SECONDS, "method" => method, "route" => route.path));
    }
    for code in Code::ALL {
        counter!(REFUSALS, "code" => code.name()).absolute(0);
    }
    Ok(handle)
}

/// Serves `/healthz`, `/readyz` and `/metrics` until the process ends.
///
/// # Errors
/// The address cannot be had.
pub async fn serve(service: Arc<Service>, metrics: PrometheusHandle) -> Result<(), String> {
    let listen = service.config.ops.listen;
    let listener =
        TcpListener::bind(listen).await.map_err(|error| format!("ops.listen {listen}: {error}"))?;
    let upkeep = metrics.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(UPKEEP_INTERVAL).await;
            upkeep.run_upkeep();
        }
    });
    let app = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(move || async move { metrics.render() }))
        .with_state(service);
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(())
}

async fn ready(State(service): State<Arc<Service>>) -> (StatusCode, &'static str) {
    match service.pools.platform().await {
        Ok(_) => (StatusCode::OK, "ready\n"),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n"),
    }
}
