//! The thread that empties the queue: keeps the newest decisions, writes lines, gives the records back.

use crate::decisions::line::{Hiding, line};
use crate::decisions::recent::Kept;
use crate::decisions::shadow::Shadow;
use crate::decisions::sink::Sink;
use crate::decisions::{LogConfig, Record};
use crate::shared::Shared;
use metrics::Counter;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};
use tollgate_engine::TenantState;
use tollgate_proto::frame;

/// Between two looks at the queue.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);
/// How much the thread gives way to those that decide: of 0 to 19.
const NICE: i32 = 10;
/// Between two words about a sink that fails.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(10);

/// What empties the queue.
pub(crate) struct Drain {
    shared: Arc<Shared>,
    sink: Sink,
    hiding: Hiding,
    shadow: Option<Shadow>,
    failed: Counter,
    complained: Option<Instant>,
}

impl Drain {
    /// Opens the sink.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn open(shared: Arc<Shared>, secret: [u8; 32]) -> Result<Drain, String> {
        let config: &LogConfig = &shared.config.decision_log;
        let sink =
            Sink::open(&config.sink).map_err(|error| format!("the decision log: {error}"))?;
        let hiding = Hiding { masks: config.masks.clone(), hashes: config.hashes.clone(), secret };
        let failed = shared.metrics.decision_log_failed.clone();
        let interval = shared.config.watch_interval;
        let seed = u64::from_le_bytes(*secret.first_chunk().unwrap_or(&[0; 8]));
        let shadow =
            |root: &PathBuf| Shadow::new(root, interval, seed, shared.metrics.shadow.clone());
        let shadow = shared.config.shadow.as_ref().map(shadow);
        Ok(Drain { shared, sink, hiding, shadow, failed, complained: None })
    }

    /// Runs until told to stop, then writes what is left.
    pub(crate) fn run(mut self, stopped: &Receiver<()>) {
        // On Linux of this thread alone. Where it is refused the log only takes more of the doors' time.
        if let Err(error) = rustix::process::setpriority_process(None, NICE) {
            tracing::debug!(
                error = error.to_string(),
                "the decision log has no priority of its own"
            );
        }
        while stopped.recv_timeout(LOOK_INTERVAL) == Err(RecvTimeoutError::Timeout) {
            self.look();
        }
        self.look();
    }

    fn look(&mut self) {
        let shared = Arc::clone(&self.shared);
        let decisions = &shared.decisions;
        self.shadow.iter_mut().for_each(Shadow::update);
        let mut lines = Vec::new();
        let mut last: Option<Arc<TenantState>> = None;
        while let Some(record) = decisions.full.pop() {
            let kept = self.kept(&record, &mut last);
            // There are no more records than the pool has places.
            let _ = decisions.free.push(record);
            if !self.sink.is_none() {
                lines.push(line(&kept, &self.hiding));
            }
            decisions.recent().keep(kept);
            if lines.len() >= shared.config.decision_log.capacity {
                self.write(&mut lines);
            }
        }
        self.write(&mut lines);
    }

    fn write(&mut self, lines: &mut Vec<serde_json::Value>) {
        if lines.is_empty() {
            return;
        }
        if let Err(error) = self.sink.write(lines) {
            self.failed.increment(u64::try_from(lines.len()).unwrap_or(u64::MAX));
            if self.complained.is_none_or(|at| at.elapsed() > COMPLAINT_INTERVAL) {
                self.complained = Some(Instant::now());
                let count = lines.len();
                tracing::error!(error = error.to_string(), count, "decisions were not logged");
            }
        }
        lines.clear();
    }

    /// The record with the configuration that decided, which is the served one unless it has just been replaced.
    fn kept(&mut self, record: &Record, last: &mut Option<Arc<TenantState>>) -> Kept {
        let names = frame::check(&record.request, |request| {
            [request.tenant, request.subject.id, request.action, request.resource.id]
                .map(str::to_owned)
        });
        let [tenant, subject, action, resource] = names.unwrap_or_default();
        let is_its =
            |state: &Arc<TenantState>| state.name() == tenant && state.version() == record.version;
        let state = match last.clone().filter(is_its) {
            Some(state) => Some(state),
            None => self.shared.table.load().shared_state(&tenant).filter(is_its),
        };
        last.clone_from(&state);
        let decision = record.decision();
        let shadow = self.shadow.as_mut().and_then(|shadow| {
            let ask =
                |request: &tollgate_engine::Request<'_>| shadow.ask(request, &decision, record.at);
            frame::check(&record.request, ask).ok().flatten()
        });
        Kept {
            number: 0,
            id: record.id,
            client_id: record.client_id.clone(),
            at: record.at,
            door: record.door,
            decision,
            shadow,
            state,
            tenant,
            subject,
            action,
            resource,
            request: record.request.clone(),
        }
    }
}
