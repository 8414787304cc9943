//! The decision log: what was decided, kept for a while and written where the operator wants it.
//!
//! A door notes a decision in a record taken from a pool, and puts it into a bounded queue: no lock, no allocation, and
//! nothing at all for those that are not sampled. A thread of its own empties the queue (`drain`), keeps the newest in
//! memory (`recent`) and writes lines (`line`) to a sink (`sink`). When the queue is full a record is dropped and
//! counted, or the door waits, as `decision_log.when_full` says.

mod drain;
mod line;
mod recent;
mod shadow;
mod sink;

pub(crate) use drain::Drain;
pub(crate) use recent::{Recalled, Recent};
pub(crate) use shadow::Outcome;

use crate::metrics::Door;
use crossbeam_queue::ArrayQueue;
use metrics::Counter;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tollgate_engine::{Decision, Now, Reason, Request, Version};
use tollgate_proto::authzen::DecisionId;
use tollgate_proto::frame::put_request;

/// Bytes of a request that a record keeps; of a larger one the attributes are left out.
const REQUEST_BYTES_MAX: usize = 4 * 1024;
/// Bytes of a client's own request id that a record keeps.
const CLIENT_ID_BYTES_MAX: usize = 128;
/// A door waits for room no longer than this.
const WAIT_MAX: Duration = Duration::from_millis(50);

/// How the log is kept.
#[derive(Debug, Clone)]
pub(crate) struct LogConfig {
    /// Records in flight at most.
    pub(crate) capacity: usize,
    pub(crate) waits_when_full: bool,
    /// Of a hundred decisions of an outcome, how many are noted: allowed, denied, failed.
    pub(crate) percents: [u64; 3],
    /// Decisions that stay in memory.
    pub(crate) recent_max: usize,
    pub(crate) sink: SinkConfig,
    pub(crate) masks: Vec<String>,
    pub(crate) hashes: Vec<String>,
}

/// Where lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SinkConfig {
    None,
    Stdout,
    File { path: std::path::PathBuf, bytes_max: u64, files_max: usize },
    Otlp { url: String },
}

/// A decision that was made, to be noted.
#[derive(Clone, Copy)]
pub(crate) struct Made<'d> {
    pub(crate) door: Door,
    pub(crate) request: &'d Request<'d>,
    pub(crate) decision: &'d Decision,
    pub(crate) at: Now,
    /// What the client calls the request; may be empty.
    pub(crate) client_id: &'d str,
}

/// One decision, in memory that is used again.
#[derive(Debug)]
struct Record {
    id: DecisionId,
    at: Now,
    door: Door,
    reason: Reason,
    rule: Option<u32>,
    version: Version,
    binding: Option<u16>,
    retry_after_ms: Option<u64>,
    client_id: String,
    /// As a frame carries it.
    request: Vec<u8>,
}

/// What doors share with the thread that empties the queue.
pub(crate) struct Decisions {
    prefix: u32,
    next: AtomicU64,
    percents: [u64; 3],
    waits_when_full: bool,
    free: ArrayQueue<Box<Record>>,
    full: ArrayQueue<Box<Record>>,
    dropped: Counter,
    recent: Mutex<Recent>,
}

impl std::fmt::Debug for Decisions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decisions").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl Decisions {
    /// A log whose ids begin with `prefix`, which no other run of the sidecar has.
    pub(crate) fn new(config: &LogConfig, prefix: u32, dropped: Counter) -> Decisions {
        let free = ArrayQueue::new(config.capacity);
        for _ in 0..config.capacity {
            // The queue has room for as many as there are.
            let _ = free.push(Box::new(Record::empty()));
        }
        Decisions {
            prefix,
            next: AtomicU64::new(1),
            percents: config.percents,
            waits_when_full: config.waits_when_full,
            free,
            full: ArrayQueue::new(config.capacity),
            dropped,
            recent: Mutex::new(Recent::new(config.recent_max)),
        }
    }

    /// The newest decisions.
    pub(crate) fn recent(&self) -> std::sync::MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Notes a decision if it is sampled. The id is for the answer: everything but a plain `allow` has one.
    pub(crate) fn note(&self, made: Made<'_>) -> DecisionId {
        let is_plain = made.decision.reason == Reason::Allow;
        let percent = self.percents.get(outcome(made.decision.reason)).copied().unwrap_or(0);
        if is_plain && percent == 0 {
            return DecisionId::NONE;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let id = DecisionId { prefix: self.prefix, number };
        if spread(number) % 100 < percent {
            self.put(id, made);
        }
        if is_plain { DecisionId::NONE } else { id }
    }

    fn put(&self, id: DecisionId, made: Made<'_>) {
        let Some(mut record) = self.free.pop().or_else(|| self.wait()) else {
            self.dropped.increment(1);
            return;
        };
        record.fill(id, made);
        // There are no more records than the queue has places.
        let _ = self.full.push(record);
    }

    /// A record as soon as there is one again, if doors wait.
    #[cold]
    fn wait(&self) -> Option<Box<Record>> {
        if !self.waits_when_full {
            return None;
        }
        let began = Instant::now();
        while began.elapsed() < WAIT_MAX {
            if let Some(record) = self.free.pop() {
                return Some(record);
            }
            std::thread::yield_now();
        }
        None
    }
}

/// Position of an outcome in `percents`: allowed, denied, failed.
fn outcome(reason: Reason) -> usize {
    match reason {
        Reason::Allow => 0,
        Reason::PolicyError
        | Reason::NoBundle
        | Reason::Stale
        | Reason::QuotaStoreFull
        | Reason::FailedOpen => 2,
        _ => 1,
    }
}

/// Mixes a number, so that samples do not fall on every hundredth request (splitmix64).
fn spread(number: u64) -> u64 {
    let mut z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Record {
    fn empty() -> Record {
        Record {
            id: DecisionId::NONE,
            at: Now(0),
            door: Door::Frame,
            reason: Reason::BadRequest,
            rule: None,
            version: Version::default(),
            binding: None,
            retry_after_ms: None,
            client_id: String::with_capacity(CLIENT_ID_BYTES_MAX),
            request: Vec::with_capacity(REQUEST_BYTES_MAX),
        }
    }

    fn fill(&mut self, id: DecisionId, made: Made<'_>) {
        let Made { door, request, decision, at, client_id } = made;
        (self.id, self.at, self.door) = (id, at, door);
        (self.reason, self.rule) = (decision.reason, decision.rule);
        (self.version, self.binding) = (decision.version, decision.binding);
        self.retry_after_ms = decision.retry_after_ms;
        self.client_id.clear();
        let end = client_id.floor_char_boundary(CLIENT_ID_BYTES_MAX);
        self.client_id.push_str(client_id.get(..end).unwrap_or(""));
        self.request.clear();
        match bytes_of(request) <= REQUEST_BYTES_MAX {
            true => put_request(&mut self.request, request),
            false => put_request(
                &mut self.request,
                &Request { attributes: &[], amounts: None, ..*request },
            ),
        }
    }

    fn decision(&self) -> Decision {
        Decision {
            rule: self.rule,
            binding: self.binding,
            retry_after_ms: self.retry_after_ms,
            ..Decision::refuse(self.reason, self.version)
        }
    }
}

/// No fewer than a frame's body would have.
fn bytes_of(request: &Request<'_>) -> usize {
    let value = |value: &tollgate_engine::Value<'_>| match value {
        tollgate_engine::Value::Str(text) => text.len() + 3,
        tollgate_engine::Value::List(items) => {
            3 + items
                .iter()
                .map(|item| item.as_str().map_or(10, |text| text.len() + 3))
                .sum::<usize>()
        }
        _ => 10,
    };
    let attributes = request.attributes.iter();
    let attributes: usize = attributes.map(|one| one.path.len() + 3 + value(&one.value)).sum();
    let amounts = request.amounts.unwrap_or(&[]).iter();
    let amounts: usize = amounts.map(|amount| amount.meter.len() + 10).sum();
    let texts = [
        request.tenant,
        request.subject.kind,
        request.subject.id,
        request.action,
        request.resource.kind,
        request.resource.id,
    ];
    texts.iter().map(|text| text.len() + 2).sum::<usize>() + attributes + amounts + 4
}

#[cfg(test)]
mod tests {
    use super::*;
    use tollgate_engine::Entity;

    fn decisions(capacity: usize, percents: [u64; 3]) -> Decisions {
        let config = LogConfig {
            capacity,
            waits_when_full: false,
            percents,
            recent_max: 4,
            sink: SinkConfig::None,
            masks: Vec::new(),
            hashes: Vec::new(),
        };
        Decisions::new(&config, 7, Counter::noop())
    }

    fn note(decisions: &Decisions, reason: Reason, times: usize) -> usize {
        let request = Request {
            tenant: "t",
            subject: Entity { kind: "", id: "alice" },
            resource: Entity { kind: "", id: "/x" },
            action: "read",
            attributes: &[],
            amounts: None,
            reserve: None,
        };
        let decision = Decision::refuse(reason, Version::default());
        let (request, decision) = (&request, &decision);
        let made = Made { door: Door::Http, request, decision, at: Now(1), client_id: "" };
        let ids = (0..times).map(|_| decisions.note(made));
        ids.filter(|id| *id != DecisionId::NONE).count()
    }

    #[test]
    fn what_is_sampled_is_noted_and_every_refusal_has_an_id() {
        for (percents, reason, ids, noted) in [
            ([0, 100, 100], Reason::Allow, 0, 0..=0),
            ([0, 100, 100], Reason::NoRule, 1_000, 1_000..=1_000),
            ([0, 0, 100], Reason::NoRule, 1_000, 0..=0),
            ([0, 0, 100], Reason::PolicyError, 1_000, 1_000..=1_000),
            ([0, 0, 100], Reason::FailedOpen, 1_000, 1_000..=1_000),
            ([10, 0, 0], Reason::Allow, 0, 60..=140),
        ] {
            let decisions = decisions(2_000, percents);
            assert_eq!(note(&decisions, reason, 1_000), ids, "{percents:?} {reason:?}");
            assert!(noted.contains(&decisions.full.len()), "{} noted", decisions.full.len());
        }
    }

    #[test]
    fn beyond_its_capacity_a_log_drops_and_nothing_else() {
        let decisions = decisions(16, [100; 3]);
        assert_eq!(note(&decisions, Reason::NoRule, 50), 50);
        assert_eq!((decisions.full.len(), decisions.free.len()), (16, 0));
    }

    #[test]
    fn a_request_is_never_larger_than_its_record_thinks() {
        let long = format!("x{}", "é".repeat(2_500));
        let list = [tollgate_engine::Value::Str("abc"), tollgate_engine::Value::Int(1)];
        let attributes = [
            tollgate_engine::Attribute {
                part: tollgate_engine::Part::Subject,
                path: "a.b",
                value: tollgate_engine::Value::List(&list),
            },
            tollgate_engine::Attribute {
                part: tollgate_engine::Part::Context,
                path: "c",
                value: tollgate_engine::Value::Str(&long),
            },
        ];
        let request =
            Request { tenant: "t", action: "read", attributes: &attributes, ..Request::default() };
        let mut body = Vec::new();
        put_request(&mut body, &request);
        assert!(bytes_of(&request) >= body.len());
        let mut record = Record::empty();
        let room = record.request.capacity();
        let decision = Decision::refuse(Reason::NoRule, Version::default());
        let room_of_id = record.client_id.capacity();
        let (request, decision) = (&request, &decision);
        let made = Made { door: Door::Http, request, decision, at: Now(1), client_id: &long };
        record.fill(DecisionId::NONE, made);
        assert_eq!(record.client_id.len(), CLIENT_ID_BYTES_MAX - 1, "no half of a character");
        assert_eq!(record.client_id.capacity(), room_of_id);
        assert_eq!(record.request.capacity(), room, "filling allocates nothing");
        assert!(record.request.len() < 100, "its attributes are left out");
    }
}
