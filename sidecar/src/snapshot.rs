//! Counters on the disk: written every second and at the end; reservations that are over end then.
//!
//! A write takes only what changed. One that fails is counted, and everything is written again when
//! the disk takes it.

use crate::shared::Shared;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};
use tollgate_engine::Cells;
use tollgate_engine::cell::CELL_WORDS;
use tollgate_store::{Journal, State};

/// Time between two snapshots; longer where one takes long.
const INTERVAL: Duration = Duration::from_secs(1);
/// A snapshot takes at most this part of the time: one in five.
const REST: u32 = 4;
/// Cells of one write.
const BATCH: usize = 8192;

/// Writes snapshots of the cells.
pub(crate) struct Snapshots {
    shared: Arc<Shared>,
    state: Arc<State>,
    journal: Arc<Journal>,
    /// The journal before this is in the snapshot.
    forgotten: u64,
    /// The state word of each cell as it was written.
    written: Vec<u64>,
    failed: bool,
}

impl Snapshots {
    pub(crate) fn new(shared: Arc<Shared>, state: Arc<State>, journal: Arc<Journal>) -> Snapshots {
        let written = vec![0; shared.cells.capacity()];
        Snapshots { shared, state, journal, forgotten: 0, written, failed: false }
    }

    /// Forgets what means nothing any more.
    fn forget_over(&mut self) {
        let now = self.shared.clock.now();
        let mut over: Vec<[u64; CELL_WORDS]> = Vec::new();
        let read = self.state.cells(&mut |words| {
            if Cells::is_over(words, now.0) {
                over.push(words);
            }
        });
        let removed = over.chunks(BATCH).map(|over| self.state.remove_cells(over));
        let done = read.map(drop).and_then(|()| removed.collect::<Result<(), _>>());
        if let Err(error) = done {
            self.fail(&error.to_string());
        }
    }

    /// Writes until the sidecar stops, and once more then.
    pub(crate) fn run(mut self, stopped: &Receiver<()>) {
        self.forget_over();
        let mut interval = INTERVAL;
        while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
            let began = Instant::now();
            self.shared.expire_reservations();
            self.shared.overrides.apply(&self.shared);
            self.write();
            interval = INTERVAL.max(began.elapsed() * REST);
        }
        self.write();
    }

    fn write(&mut self) {
        let began = Instant::now();
        let position = self.journal.position();
        let mut batch: Vec<[u64; CELL_WORDS]> = Vec::new();
        self.shared.cells.cells().changed(&mut self.written, &mut |words| batch.push(words));
        // Told before the cells that say so are written.
        self.shared.thresholds.tell(|percent| self.shared.metrics.threshold(percent));
        if batch.is_empty() {
            return self.forget_before(position);
        }
        for cells in batch.chunks(BATCH) {
            if let Err(error) = self.state.put_cells(cells) {
                return self.fail(&error.to_string());
            }
        }
        if std::mem::take(&mut self.failed) {
            tracing::info!("counters are written again");
        }
        self.shared.metrics.snapshot_seconds.record(began.elapsed().as_secs_f64());
        self.forget_before(position);
    }

    /// What was in the journal when a snapshot began is in the snapshot.
    fn forget_before(&mut self, position: u64) {
        if position == self.forgotten {
            return;
        }
        match self.journal.forget_before(position) {
            Ok(()) => self.forgotten = position,
            Err(_) => self.shared.metrics.store_failures_journal.increment(1),
        }
    }

    fn fail(&mut self, error: &str) {
        self.shared.metrics.store_failures_state.increment(1);
        if !self.failed {
            tracing::error!(error, "counters cannot be written; decisions go on");
        }
        self.failed = true;
        self.written.fill(0);
    }
}
