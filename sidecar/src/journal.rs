//! What was settled, on its way to the disk: doors note it, one thread writes it.
//!
//! It is in the region from the moment it is settled, and stays there until the journal has it: the end of this process
//! loses nothing. Where settles wait for the disk, all that came meanwhile share one write.

use crate::shared::Shared;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;
use tokio::sync::oneshot;
use tollgate_engine::{ReservationId, Usage};
use tollgate_store::Journal;

/// Time between two looks for what was settled and nobody noted: by a process that ended, or when notes were too many.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Records of one write.
const BATCH: usize = 4096;
/// Notes that may wait; the rest is found by the next look.
const NOTES: usize = 1 << 14;

/// What a door tells the journal's thread.
enum Note {
    /// A settled reservation, and who waits for it.
    Settled { id: ReservationId, waiting: Option<oneshot::Sender<bool>> },
    /// The doors are closed.
    Stop,
}

/// Where doors note what was settled.
#[derive(Debug)]
pub(crate) struct Inbox {
    notes: SyncSender<Note>,
    waits: bool,
}

/// What a settle waits for before it is answered.
pub(crate) struct Written(Option<oneshot::Receiver<bool>>);

impl Written {
    /// Nothing.
    pub(crate) const NOW: Written = Written(None);

    /// Whether it may be answered as settled.
    pub(crate) async fn wait(self) -> bool {
        match self.0 {
            None => true,
            Some(written) => written.await.unwrap_or(false),
        }
    }

    /// The same on a thread that may be held up.
    pub(crate) fn wait_blocking(self) -> bool {
        self.0.is_none_or(|written| written.blocking_recv().unwrap_or(false))
    }
}

impl Inbox {
    /// An inbox, and what its thread reads; `waits` says whether settles wait for the disk.
    pub(crate) fn new(waits: bool) -> (Inbox, Notes) {
        let (notes, read) = sync_channel(NOTES);
        (Inbox { notes, waits }, Notes(read))
    }

    /// Notes a settled reservation.
    pub(crate) fn note(&self, id: ReservationId) -> Written {
        if !self.waits {
            // Where there is no room the next look finds it.
            let _ = self.notes.try_send(Note::Settled { id, waiting: None });
            return Written::NOW;
        }
        let (waiting, written) = oneshot::channel();
        // Without room the sender is dropped, and with it the hope: the answer is `busy`.
        let _ = self.notes.try_send(Note::Settled { id, waiting: Some(waiting) });
        Written(Some(written))
    }

    /// Ends the journal's thread once it has written what was noted.
    pub(crate) fn stop(&self) {
        // A thread that is gone needs no end.
        let _ = self.notes.send(Note::Stop);
    }
}

/// What the journal's thread reads.
pub(crate) struct Notes(Receiver<Note>);

/// Writes the journal.
pub(crate) struct Writer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) notes: Notes,
    pub(crate) failed: bool,
}

impl Writer {
    /// Writes until the doors are closed, and what is left then.
    pub(crate) fn run(mut self) {
        loop {
            self.look();
            let mut notes = Vec::new();
            while !notes.iter().any(|note| matches!(note, Note::Stop)) {
                notes.clear();
                match self.notes.0.recv_timeout(LOOK_INTERVAL) {
                    Ok(first) => notes.push(first),
                    Err(RecvTimeoutError::Timeout) => break,
                    Err(RecvTimeoutError::Disconnected) => return,
                }
                self.gather(&mut notes);
                self.write_noted(&mut notes);
            }
            if notes.iter().any(|note| matches!(note, Note::Stop)) {
                return self.look();
            }
        }
    }

    /// Takes what came with a note; where nobody waits, what comes in a while too.
    fn gather(&self, notes: &mut Vec<Note>) {
        if matches!(notes.first(), Some(Note::Settled { waiting: None, .. })) {
            std::thread::sleep(self.shared.config.journal_flush);
        }
        notes.extend(self.notes.0.try_iter().take(BATCH - 1));
    }

    fn write_noted(&mut self, notes: &mut [Note]) {
        let cells = self.shared.cells.cells();
        // What is not there any more was written before.
        let usage = |note: &Note| match note {
            Note::Settled { id, .. } => cells.usage(*id),
            Note::Stop => None,
        };
        let usages: Vec<Usage> = notes.iter().filter_map(usage).collect();
        let is_written = self.write(&usages);
        for note in notes {
            if let Note::Settled { waiting, .. } = note
                && let Some(waiting) = waiting.take()
            {
                // Who waited may have left.
                let _ = waiting.send(is_written);
            }
        }
    }

    /// Writes what nobody noted.
    fn look(&mut self) {
        let left = self.shared.cells.cells().unkept();
        for left in left.chunks(BATCH) {
            self.write(left);
        }
    }

    fn write(&mut self, usages: &[Usage]) -> bool {
        if usages.is_empty() {
            return true;
        }
        let cells = self.shared.cells.cells();
        match self.journal.put(usages) {
            Ok(()) => {
                usages.iter().for_each(|usage| cells.kept(usage.id));
                if std::mem::take(&mut self.failed) {
                    tracing::info!("the journal is written again");
                }
                true
            }
            Err(error) => {
                self.shared.metrics.store_failures_journal.increment(1);
                if !std::mem::replace(&mut self.failed, true) {
                    let error = error.to_string();
                    tracing::error!(error, "the journal cannot be written; what is settled waits");
                }
                false
            }
        }
    }
}
