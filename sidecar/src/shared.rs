//! What all doors share: the table of tenants, the cells, the clock, the metrics; and how a door
//! decides.

use crate::clock::Clock;
use crate::config::Config;
use crate::decisions::{Decisions, Made, Recalled};
use crate::journal::{Inbox, Written};
use crate::metrics::{Door, Metrics};
use crate::overrides::Overrides;
use crate::searches::Searches;
use crate::status::TenantStatus;
use crate::table::{Table, Tally};
use crate::thresholds::Thresholds;
use arc_swap::{ArcSwap, Guard};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tollgate_cells::Region;
use tollgate_engine::bounds::FRAME_BYTES_MAX;
use tollgate_engine::explain::Explanation;
use tollgate_engine::{
    Cells, Decision, Now, Request, ReservationId, Scratch, SettleCode, Settlement, TenantState,
};
use tollgate_proto::authzen::{DecisionBody, DecisionId, Settle};
use tollgate_proto::explain::{AskedBody, ExplanationBody};
use tollgate_proto::follow::Filter;
use tollgate_proto::frame;

/// Bytes of an explanation: a frame without its header.
const EXPLANATION_BYTES_MAX: usize = FRAME_BYTES_MAX - 16;

fn json(body: &impl serde::Serialize) -> Vec<u8> {
    // Writing plain values into memory cannot fail.
    serde_json::to_vec(body).unwrap_or_default()
}

/// What all doors share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) table: Arc<ArcSwap<Table>>,
    pub(crate) statuses: ArcSwap<Vec<TenantStatus>>,
    pub(crate) cells: Region,
    pub(crate) journal: Inbox,
    pub(crate) overrides: Overrides,
    pub(crate) clock: Clock,
    pub(crate) metrics: Metrics,
    pub(crate) searches: Searches,
    pub(crate) decisions: Decisions,
    pub(crate) thresholds: Thresholds,
    pub(crate) draining: AtomicBool,
}

/// Decides for one door under one snapshot; short-lived, never across an await.
pub(crate) struct Decider<'s> {
    /// The guard is never the last owner: the publisher frees tables.
    table: Guard<Arc<Table>>,
    cells: Cells<'s>,
    now: Now,
    tally: Tally<'s>,
    door: Door,
    shared: &'s Shared,
}

impl Shared {
    pub(crate) fn decider(&self, door: Door) -> Decider<'_> {
        Decider {
            table: self.table.load(),
            cells: self.cells.cells(),
            now: self.clock.now(),
            tally: Tally::new(self.metrics.door(door)),
            door,
            shared: self,
        }
    }

    /// Charges the true amounts of a reservation; the text of its id may be anybody's. What is settled may be answered
    /// once it is written.
    pub(crate) fn settle(&self, settle: &Settle<'_>) -> (Settlement, Written) {
        let Ok(id) = settle.reservation.parse::<ReservationId>() else {
            let code = SettleCode::UnknownReservation;
            return (Settlement { code, uncharged: 0 }, Written::NOW);
        };
        let settlement =
            settle.with(|truth| self.cells.cells().settle(id, truth, self.clock.now()));
        match settlement.code.is_settled() {
            true => (settlement, self.journal.note(id)),
            false => (settlement, Written::NOW),
        }
    }

    /// What to answer once it is known whether a settlement was written.
    pub(crate) fn settled(&self, settlement: Settlement, is_written: bool) -> Settlement {
        let settlement = match is_written {
            true => settlement,
            // It is charged, and told to whoever asks again.
            false => Settlement { code: SettleCode::Busy, uncharged: 0 },
        };
        self.metrics.settle(settlement.code);
        settlement
    }

    /// Ends the reservations that nobody settled in time.
    pub(crate) fn expire_reservations(&self) {
        self.cells.cells().recover();
        let expired = self.cells.cells().expire(self.clock.now());
        self.metrics.reservations_expired.increment(expired);
    }

    /// Explains a request in JSON that fits into a frame; takes nothing and counts nothing.
    pub(crate) fn explain(&self, request: &Request<'_>, scratch: &mut Scratch) -> Vec<u8> {
        let table = self.table.load_full();
        let (cells, now) = (self.cells.cells(), self.clock.now());
        let Some(state) = table.state(request.tenant) else {
            let (_, decision) = table.decide(&cells, request, now, scratch);
            return json(&DecisionBody::of(None, &decision, DecisionId::NONE));
        };
        let explanation = state.explain(&cells, request, now, scratch);
        bounded(state, explanation, DecisionId::NONE, None)
    }

    /// Explains a decision that was made, by the configuration that made it; `None` if it is not kept any more.
    pub(crate) fn recall(&self, id: &str, scratch: &mut Scratch) -> Option<Vec<u8>> {
        let Recalled { id, decision, state, request, at } = self.decisions.recent().recall(id)?;
        let cells = self.cells.cells();
        let recalled = frame::check(&request, |request| {
            let asked = AskedBody {
                tenant: request.tenant,
                subject: request.subject.id,
                action: request.action,
                resource: request.resource.id,
                at_ms: at.0 / 1_000_000,
            };
            let Some(state) = &state else {
                return json(&Undecided { decision: DecisionBody::of(None, &decision, id), asked });
            };
            let mut explanation = state.explain(&cells, request, at, scratch);
            // Limits have moved on since: what was decided is what is said.
            explanation.decision = decision;
            bounded(state, explanation, id, Some(asked))
        });
        recalled.ok()
    }

    /// The kept decisions that a filter lets through, as many as fit into a frame.
    pub(crate) fn follow(&self, filter: &Filter) -> Vec<u8> {
        let recent = self.decisions.recent();
        let mut body = format!("{{\"newest\":{},\"decisions\":[", recent.count()).into_bytes();
        let mut is_first = true;
        for line in recent.lines(filter) {
            let line = json(&line);
            if body.len() + line.len() + 3 > EXPLANATION_BYTES_MAX {
                break;
            }
            if !is_first {
                body.push(b',');
            }
            is_first = false;
            body.extend(line);
        }
        body.extend(b"]}");
        body
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Why the sidecar is not ready; empty if it is.
    pub(crate) fn unready(&self) -> Vec<String> {
        if self.is_draining() {
            return vec!["shutting down".to_owned()];
        }
        let statuses = self.statuses.load();
        let missing = statuses.iter().filter(|tenant| tenant.state == "no-bundle");
        missing.map(|tenant| format!("the tenant `{}` has no configuration", tenant.id)).collect()
    }
}

/// A decision that no configuration made.
#[derive(serde::Serialize)]
struct Undecided<'a> {
    #[serde(flatten)]
    decision: DecisionBody<'a>,
    asked: AskedBody<'a>,
}

/// An explanation in JSON that fits into a frame.
fn bounded(
    state: &TenantState,
    mut explanation: Explanation,
    id: DecisionId,
    asked: Option<AskedBody<'_>>,
) -> Vec<u8> {
    loop {
        let body = ExplanationBody { asked, ..ExplanationBody::of(state, &explanation, id) };
        let body = json(&body);
        if body.len() <= EXPLANATION_BYTES_MAX || explanation.rules.pop().is_none() {
            return body;
        }
    }
}

impl Decider<'_> {
    /// Decides one request, counts and notes it, and lends decision, state and the decision's id to `answer`. A client's
    /// own id of the request may be empty.
    pub(crate) fn decide<T>(
        &mut self,
        request: &Request<'_>,
        scratch: &mut Scratch,
        client_id: &str,
        answer: impl FnOnce(Option<&TenantState>, &Decision, DecisionId) -> T,
    ) -> T {
        let (tenant, decision) = self.table.decide(&self.cells, request, self.now, scratch);
        self.tally.count(tenant, &decision);
        let (door, at, decision) = (self.door, self.now, &decision);
        let id = self.shared.decisions.note(Made { door, request, decision, at, client_id });
        let state = tenant.and_then(|tenant| tenant.state.as_deref());
        if let Some(state) = state.filter(|_| decision.limits.has_warned()) {
            let dropped = &self.shared.metrics.thresholds_dropped;
            self.shared.thresholds.leave(state, request, decision, dropped);
        }
        answer(state, decision, id)
    }
}
