//! Every metric: one table that registers them, and that docs/reference/metrics.md is made from.
//!
//! Names are `tollgate_sidecar_<noun>_<unit>[_total]` in base units. Handles are made once, at
//! start; a tenant is a label only for the first `metrics.tenants_max` tenants, the rest are
//! `_other`. To add one: a row in `METRICS`, a field of `Metrics`.

use crate::decisions::Outcome;
use crate::status::STATES;
use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder, Unit};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tollgate_engine::{Now, Reason, SettleCode};

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// One metric.
struct Metric {
    name: &'static str,
    kind: Kind,
    #[cfg_attr(not(test), allow(dead_code, reason = "the page is made from it"))]
    labels: &'static str,
    what: &'static str,
}

const fn metric(
    name: &'static str,
    kind: Kind,
    labels: &'static str,
    what: &'static str,
) -> Metric {
    Metric { name, kind, labels, what }
}

const BUILD: &str = "tollgate_sidecar_build_info";
const CELLS: &str = "tollgate_sidecar_cells";
const CELLS_MAX: &str = "tollgate_sidecar_cells_max";
const CONNECTIONS: &str = "tollgate_sidecar_connections";
const CONNECTIONS_REFUSED: &str = "tollgate_sidecar_connections_refused_total";
const DECISION_LOG_DROPPED: &str = "tollgate_sidecar_decision_log_dropped_total";
const DECISION_LOG_FAILED: &str = "tollgate_sidecar_decision_log_failed_total";
const DECISIONS: &str = "tollgate_sidecar_decisions_total";
const FAULTS: &str = "tollgate_sidecar_faults_total";
const RELOAD_SECONDS: &str = "tollgate_sidecar_reload_duration_seconds";
const RELOADS: &str = "tollgate_sidecar_reloads_total";
const REQUEST_SECONDS: &str = "tollgate_sidecar_request_duration_seconds";
const RESERVATIONS: &str = "tollgate_sidecar_reservations";
const RESERVATIONS_EXPIRED: &str = "tollgate_sidecar_reservations_expired_total";
const SERVING_DROPS: &str = "tollgate_sidecar_serving_drops_total";
const SETTLES: &str = "tollgate_sidecar_settles_total";
const SHADOW: &str = "tollgate_sidecar_shadow_decisions_total";
const SNAPSHOT_SECONDS: &str = "tollgate_sidecar_snapshot_duration_seconds";
const STORE_FAILURES: &str = "tollgate_sidecar_store_failures_total";
const TENANT_DECISIONS: &str = "tollgate_sidecar_tenant_decisions_total";
const TENANTS: &str = "tollgate_sidecar_tenants";
const THRESHOLDS: &str = "tollgate_sidecar_thresholds_total";
const THRESHOLDS_DROPPED: &str = "tollgate_sidecar_thresholds_dropped_total";
const START: &str = "tollgate_sidecar_start_time_seconds";

/// Every metric, by name.
const METRICS: &[Metric] = &[
    metric(BUILD, Kind::Gauge, "version", "Always 1; the label says which version runs."),
    metric(CELLS, Kind::Gauge, "", "Cells of the table that hold a counter."),
    metric(CELLS_MAX, Kind::Gauge, "", "Cells of the table."),
    metric(CONNECTIONS, Kind::Gauge, "door", "Connections that are open."),
    metric(
        CONNECTIONS_REFUSED,
        Kind::Counter,
        "door, cause",
        "Connections turned away: a stranger's, or one too many (overloaded).",
    ),
    metric(
        DECISION_LOG_DROPPED,
        Kind::Counter,
        "",
        "Decisions that were sampled and not noted, because the log was full.",
    ),
    metric(DECISION_LOG_FAILED, Kind::Counter, "", "Decisions that the log's sink did not take."),
    metric(DECISIONS, Kind::Counter, "door, reason", "Decisions by door and reason."),
    metric(
        FAULTS,
        Kind::Counter,
        "door, code",
        "Requests that no decision could be made of, by the code of the error.",
    ),
    metric(RELOAD_SECONDS, Kind::Histogram, "", "Time from a change of a folder to its service."),
    metric(RELOADS, Kind::Counter, "outcome", "Folders taken in (loaded) or not (refused)."),
    metric(
        REQUEST_SECONDS,
        Kind::Histogram,
        "door",
        "Time from a complete request to its answer, HTTP and gRPC.",
    ),
    metric(RESERVATIONS, Kind::Gauge, "", "Reservations that are held."),
    metric(
        RESERVATIONS_EXPIRED,
        Kind::Counter,
        "",
        "Reservations that nobody settled in time: the known part is charged.",
    ),
    metric(
        SERVING_DROPS,
        Kind::Counter,
        "",
        "Tables of tenants freed by a thread that serves. Stays 0.",
    ),
    metric(SETTLES, Kind::Counter, "code", "Settles by what became of them."),
    metric(
        SHADOW,
        Kind::Counter,
        "outcome",
        "Decisions made again with the candidate: the same, gained, lost, or refused for another reason (change).",
    ),
    metric(SNAPSHOT_SECONDS, Kind::Histogram, "", "Time to write a snapshot of the cells."),
    metric(START, Kind::Gauge, "", "When the sidecar started, in seconds since 1970."),
    metric(
        STORE_FAILURES,
        Kind::Counter,
        "database",
        "Writes that the store refused, such as on a full disk.",
    ),
    metric(
        TENANT_DECISIONS,
        Kind::Counter,
        "tenant, effect",
        "Decisions by tenant and effect (allow, deny); tenants beyond metrics.tenants_max are _other.",
    ),
    metric(
        TENANTS,
        Kind::Gauge,
        "state",
        "Tenants by state: active, suspended, killed, last-known-good, no-bundle.",
    ),
    metric(
        THRESHOLDS_DROPPED,
        Kind::Counter,
        "",
        "Thresholds that were reached and not told of, because too many were at once.",
    ),
    metric(THRESHOLDS, Kind::Counter, "percent", "Thresholds of limits that were reached."),
];

/// Bounds of the buckets of every duration.
const SECONDS: &[f64] = &[
    0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.0025, 0.005, 0.01, 0.025,
    0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
];

/// A way to ask the sidecar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    Frame,
    Http,
    Grpc,
}

impl Door {
    const ALL: [Door; 3] = [Door::Frame, Door::Http, Door::Grpc];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Door::Frame => "frame",
            Door::Http => "http",
            Door::Grpc => "grpc",
        }
    }
}

/// Handles of every metric.
pub(crate) struct Metrics {
    handle: PrometheusHandle,
    doors: [DoorMetrics; 3],
    cells: Gauge,
    pub(crate) decision_log_dropped: Counter,
    pub(crate) decision_log_failed: Counter,
    pub(crate) reload_seconds: Histogram,
    pub(crate) reloads_loaded: Counter,
    pub(crate) reloads_refused: Counter,
    reservations: Gauge,
    pub(crate) reservations_expired: Counter,
    pub(crate) serving_drops: Counter,
    settles: Vec<(SettleCode, Counter)>,
    pub(crate) shadow: [Counter; 4],
    pub(crate) snapshot_seconds: Histogram,
    pub(crate) store_failures_bundles: Counter,
    pub(crate) store_failures_journal: Counter,
    pub(crate) store_failures_state: Counter,
    tenants: [(&'static str, Gauge); STATES.len()],
    pub(crate) thresholds_dropped: Counter,
    recorder: PrometheusRecorder,
}

/// Handles of one door.
#[derive(Debug)]
pub(crate) struct DoorMetrics {
    decisions: Vec<Counter>,
    faults: Vec<(&'static str, Counter)>,
    pub(crate) connections: Gauge,
    pub(crate) refused_overloaded: Counter,
    pub(crate) refused_stranger: Counter,
    pub(crate) request_seconds: Histogram,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").field("doors", &self.doors).finish_non_exhaustive()
    }
}

/// Codes of `FAULTS`: frame errors and error envelopes.
const FAULT_CODES: &[&str] = &[
    "malformed-frame",
    "frame-too-large",
    "frame-timeout",
    "unsupported-kind",
    "not-permitted",
    "not-kept",
    "overloaded",
    "draining",
    "malformed-json",
    "invalid",
    "too-large",
    "timeout",
    "route-not-found",
    "method-not-allowed",
    "unauthenticated",
    "unknown-reservation",
    "unknown-meter",
    "busy",
    "other",
];

impl Metrics {
    /// Registers every metric.
    pub(crate) fn new(started: Now, cells_max: usize) -> Metrics {
        // Only an empty list of bounds is refused.
        let buckets = PrometheusBuilder::new().set_buckets(SECONDS);
        let recorder = buckets.unwrap_or_default().build_recorder();
        for metric in METRICS {
            let (name, what) = (metric.name.into(), metric.what.into());
            let unit = metric.name.contains("_seconds").then_some(Unit::Seconds);
            match metric.kind {
                Kind::Counter => recorder.describe_counter(name, unit, what),
                Kind::Gauge => recorder.describe_gauge(name, unit, what),
                Kind::Histogram => recorder.describe_histogram(name, unit, what),
            }
        }
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        gauge(&recorder, BUILD, &version).set(1.0);
        gauge(&recorder, START, &[]).set(Duration::from_nanos(started.0).as_secs_f64());
        gauge(&recorder, CELLS_MAX, &[]).set(float(cells_max));
        // Others are registered when they are reached.
        counter(&recorder, THRESHOLDS, &[("percent", "100")]).increment(0);
        Metrics {
            doors: Door::ALL.map(|door| DoorMetrics::new(&recorder, door.name())),
            cells: gauge(&recorder, CELLS, &[]),
            decision_log_dropped: counter(&recorder, DECISION_LOG_DROPPED, &[]),
            decision_log_failed: counter(&recorder, DECISION_LOG_FAILED, &[]),
            reload_seconds: histogram(&recorder, RELOAD_SECONDS, &[]),
            reloads_loaded: counter(&recorder, RELOADS, &[("outcome", "loaded")]),
            reloads_refused: counter(&recorder, RELOADS, &[("outcome", "refused")]),
            reservations: gauge(&recorder, RESERVATIONS, &[]),
            reservations_expired: counter(&recorder, RESERVATIONS_EXPIRED, &[]),
            settles: (SettleCode::ALL.iter())
                .map(|code| (*code, counter(&recorder, SETTLES, &[("code", code.name())])))
                .collect(),
            serving_drops: counter(&recorder, SERVING_DROPS, &[]),
            shadow: Outcome::ALL.map(|one| counter(&recorder, SHADOW, &[("outcome", one.name())])),
            snapshot_seconds: histogram(&recorder, SNAPSHOT_SECONDS, &[]),
            store_failures_bundles: counter(&recorder, STORE_FAILURES, &[("database", "bundles")]),
            store_failures_journal: counter(&recorder, STORE_FAILURES, &[("database", "journal")]),
            store_failures_state: counter(&recorder, STORE_FAILURES, &[("database", "state")]),
            tenants: STATES.map(|state| (state, gauge(&recorder, TENANTS, &[("state", state)]))),
            thresholds_dropped: counter(&recorder, THRESHOLDS_DROPPED, &[]),
            handle: recorder.handle(),
            recorder,
        }
    }

    /// Handles of one door.
    pub(crate) fn door(&self, door: Door) -> &DoorMetrics {
        let [frame, http, grpc] = &self.doors;
        match door {
            Door::Frame => frame,
            Door::Http => http,
            Door::Grpc => grpc,
        }
    }

    /// Counters of one tenant, under its name or under `_other`.
    pub(crate) fn tenant(&self, tenant: &str) -> TenantCounters {
        let effect = |effect: &'static str| {
            let labels = [("tenant", tenant), ("effect", effect)];
            (counter(&self.recorder, TENANT_DECISIONS, &labels), AtomicU64::new(0))
        };
        TenantCounters(Arc::new([effect("allow"), effect("deny")]))
    }

    /// Counts a threshold that was reached.
    pub(crate) fn threshold(&self, percent: u8) {
        counter(&self.recorder, THRESHOLDS, &[("percent", &percent.to_string())]).increment(1);
    }

    /// Counts a settle.
    pub(crate) fn settle(&self, code: SettleCode) {
        for (_, counter) in self.settles.iter().filter(|(known, _)| *known == code) {
            counter.increment(1);
        }
    }

    /// Says how many tenants are in which state.
    pub(crate) fn tenant_states<'s>(&self, states: &(impl Iterator<Item = &'s str> + Clone)) {
        for (name, gauge) in &self.tenants {
            let count = states.clone().filter(|state| state == name).count();
            gauge.set(float(count));
        }
    }

    /// Every metric in Prometheus' text format.
    pub(crate) fn render(&self) -> String {
        self.handle.render()
    }

    /// Folds the samples of histograms into their buckets, and takes down how many cells are in
    /// use; every few seconds.
    pub(crate) fn upkeep(&self, cells: usize, reservations: usize) {
        self.cells.set(float(cells));
        self.reservations.set(float(reservations));
        self.handle.run_upkeep();
    }
}

impl DoorMetrics {
    fn new(recorder: &impl Recorder, door: &'static str) -> DoorMetrics {
        let decision = |reason: &Reason| {
            counter(recorder, DECISIONS, &[("door", door), ("reason", reason.name())])
        };
        let fault = |code: &&'static str| {
            (*code, counter(recorder, FAULTS, &[("door", door), ("code", code)]))
        };
        let refused =
            |cause| counter(recorder, CONNECTIONS_REFUSED, &[("door", door), ("cause", cause)]);
        DoorMetrics {
            decisions: Reason::ALL.iter().map(decision).collect(),
            faults: FAULT_CODES.iter().map(fault).collect(),
            connections: gauge(recorder, CONNECTIONS, &[("door", door)]),
            refused_overloaded: refused("overloaded"),
            refused_stranger: refused("stranger"),
            request_seconds: histogram(recorder, REQUEST_SECONDS, &[("door", door)]),
        }
    }

    /// Counts decisions of one reason.
    pub(crate) fn count(&self, reason: Reason, times: u64) {
        if let Some(counter) = self.decisions.get(reason as usize) {
            counter.increment(times);
        }
    }

    /// Counts a request that no decision could be made of.
    pub(crate) fn fault(&self, code: &str) {
        let found = self.faults.iter().find(|(known, _)| *known == code).or(self.faults.last());
        if let Some((_, counter)) = found {
            counter.increment(1);
        }
    }
}

/// Counters of one tenant, shared by all doors.
#[derive(Debug, Clone)]
pub(crate) struct TenantCounters(Arc<[(Counter, AtomicU64); 2]>);

impl TenantCounters {
    pub(crate) fn add(&self, allowed: u64, denied: u64) {
        for ((counter, sum), count) in self.0.iter().zip([allowed, denied]) {
            counter.increment(count);
            sum.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// How many were allowed and denied so far: a counter of metrics cannot be read.
    pub(crate) fn answered(&self) -> (u64, u64) {
        let [(_, allowed), (_, denied)] = &*self.0;
        (allowed.load(Ordering::Relaxed), denied.load(Ordering::Relaxed))
    }

    /// Whether these are the same counters.
    pub(crate) fn is(&self, other: &TenantCounters) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// A count as a gauge has it.
fn float(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

fn key(name: &'static str, labels: &[(&'static str, &str)]) -> Key {
    let label = |(name, value): &(&'static str, &str)| Label::new(*name, (*value).to_owned());
    Key::from_parts(name, labels.iter().map(label).collect::<Vec<_>>())
}

const METADATA: Metadata<'static> = Metadata::new("tollgate_sidecar", Level::INFO, None);

fn counter(
    recorder: &impl Recorder,
    name: &'static str,
    labels: &[(&'static str, &str)],
) -> Counter {
    let counter = recorder.register_counter(&key(name, labels), &METADATA);
    counter.increment(0);
    counter
}

fn gauge(recorder: &impl Recorder, name: &'static str, labels: &[(&'static str, &str)]) -> Gauge {
    let gauge = recorder.register_gauge(&key(name, labels), &METADATA);
    gauge.set(0.0);
    gauge
}

fn histogram(
    recorder: &impl Recorder,
    name: &'static str,
    labels: &[(&'static str, &str)],
) -> Histogram {
    recorder.register_histogram(&key(name, labels), &METADATA)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The page is made from the table: `UPDATE_GOLDEN=1` writes it.
    #[test]
    fn the_page_says_what_the_table_says() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/metrics.md");
        let mut page = String::from(
            "# Metrics\n\n`GET /metrics` on the HTTP socket, and on `ops.listen` if it is set, in \
             Prometheus' text format. Base units.\nThis page is made from `sidecar/src/metrics.rs`; \
             `UPDATE_GOLDEN=1 cargo test -p tollgate-sidecar` writes it.\n\n\
             | metric | kind | labels | meaning |\n|---|---|---|---|\n",
        );
        for metric in METRICS {
            let kind = format!("{:?}", metric.kind).to_lowercase();
            let labels = if metric.labels.is_empty() { "–" } else { metric.labels };
            page.push_str(&format!(
                "| `{}` | {kind} | {labels} | {} |\n",
                metric.name, metric.what
            ));
        }
        page.push_str(
            "\n`door` is `frame`, `http` or `grpc`; `reason` is a word of [errors.md](errors.md). \
             No subject, rule, path or\nrequest id is ever a label. Tenants are labels up to \
             `metrics.tenants_max` (200).\n\n```console\n$ curl -s --unix-socket run/tollgate-http.sock \
             http://localhost/metrics\n```\n",
        );
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(path, &page).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), page);
    }

    #[test]
    fn every_metric_is_registered_at_start() {
        let metrics = Metrics::new(Now(1), 16);
        metrics.door(Door::Frame).count(Reason::NoRule, 3);
        metrics.door(Door::Http).fault("no such code");
        metrics.tenant("acme").add(1, 0);
        metrics.reload_seconds.record(0.1);
        metrics.snapshot_seconds.record(0.1);
        metrics.door(Door::Http).request_seconds.record(0.1);
        metrics.upkeep(1, 0);
        let text = metrics.render();
        for metric in METRICS {
            assert!(text.contains(&format!("# HELP {} ", metric.name)), "{}\n{text}", metric.name);
        }
        assert!(text.contains(r#"decisions_total{door="frame",reason="no-rule"} 3"#), "{text}");
        assert!(text.contains(r#"faults_total{door="http",code="other"} 1"#), "{text}");
        assert!(Reason::ALL.iter().enumerate().all(|(at, reason)| *reason as usize == at));
    }
}
