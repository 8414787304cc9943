//! Thresholds that limits have reached: told in the log and counted, at least once each, off a request's path.
//!
//! A decision sets the threshold's bit in the limit's cell and leaves an event here; once a second the events are told,
//! before the cells with their bits are written to the disk. An event whose telling a crash cut off is therefore told again by
//! the next start, under the same id.

use crossbeam_queue::ArrayQueue;
use metrics::Counter;
use tollgate_engine::{Decision, Now, Request, TenantState};

/// Events that wait to be told; beyond them the oldest are dropped and counted.
const WAITING_MAX: usize = 4_096;

/// One threshold of one limit that was reached.
#[derive(Debug)]
struct Reached {
    at: Now,
    tenant: String,
    limit: String,
    /// The values that the limit counts by.
    key: String,
    /// Where the window begins.
    window_ns: u64,
    percent: u8,
    used: u64,
    of: u64,
}

/// Events that wait to be told.
#[derive(Debug)]
pub(crate) struct Thresholds(ArrayQueue<Reached>);

impl Thresholds {
    pub(crate) fn new() -> Thresholds {
        Thresholds(ArrayQueue::new(WAITING_MAX))
    }

    /// Leaves what a decision was the first to reach.
    #[cold]
    pub(crate) fn leave(
        &self,
        state: &TenantState,
        request: &Request<'_>,
        decision: &Decision,
        dropped: &Counter,
    ) {
        let quotas = state.quotas();
        for own in decision.limits.as_slice().iter().filter(|own| own.warned != 0) {
            let Some(terms) = quotas.terms(own.limit) else { continue };
            let percents = terms.warn_at.iter().zip(0..);
            for (percent, _) in percents.filter(|(_, bit)| own.warned >> bit & 1 == 1) {
                let event = Reached {
                    at: decision.at,
                    tenant: state.name().to_owned(),
                    limit: terms.id.clone(),
                    key: state.limit_values(request, own.limit).join(","),
                    window_ns: terms.window_start_ns(decision.at),
                    percent: *percent,
                    used: own.of.saturating_sub(own.remaining),
                    of: own.of,
                };
                dropped.increment(u64::from(self.0.force_push(event).is_some()));
            }
        }
    }

    /// Tells of what was left since.
    pub(crate) fn tell(&self, count: impl Fn(u8)) {
        while let Some(reached) = self.0.pop() {
            count(reached.percent);
            let id = reached.id();
            let Reached { at, tenant, limit, key, percent, used, of, .. } = reached;
            tracing::warn!(
                event = "threshold-reached",
                id,
                at_ms = at.0 / 1_000_000,
                tenant,
                limit,
                key,
                percent,
                used,
                of,
                "a limit has reached a threshold"
            );
        }
    }
}

impl Reached {
    /// The same for the same limit, key, window and threshold.
    fn id(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for text in [&self.tenant, &self.limit, &self.key] {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        }
        hasher.update(&self.window_ns.to_le_bytes());
        hasher.update(&[self.percent]);
        hasher.finalize().to_hex().chars().take(32).collect()
    }
}
