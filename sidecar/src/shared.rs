//! What all doors share: the table of tenants, the cells, the clock, the metrics; and how a door
//! decides.

use crate::clock::Clock;
use crate::config::Config;
use crate::metrics::{DoorMetrics, Metrics};
use crate::searches::Searches;
use crate::status::TenantStatus;
use crate::table::{Table, Tally};
use arc_swap::{ArcSwap, Guard};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tollgate_cells::HeapTable;
use tollgate_engine::bounds::FRAME_BYTES_MAX;
use tollgate_engine::{Cells, Decision, Now, Request, Scratch, TenantState};
use tollgate_proto::authzen::DecisionBody;
use tollgate_proto::explain::ExplanationBody;

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
    pub(crate) cells: HeapTable,
    pub(crate) clock: Clock,
    pub(crate) metrics: Metrics,
    pub(crate) searches: Searches,
    pub(crate) draining: AtomicBool,
}

/// Decides for one door under one snapshot; short-lived, never across an await.
pub(crate) struct Decider<'s> {
    /// The guard is never the last owner: the publisher frees tables.
    table: Guard<Arc<Table>>,
    cells: Cells<'s>,
    now: Now,
    tally: Tally<'s>,
}

impl Shared {
    pub(crate) fn decider<'s>(&'s self, door: &'s DoorMetrics) -> Decider<'s> {
        Decider {
            table: self.table.load(),
            cells: self.cells.cells(),
            now: self.clock.now(),
            tally: Tally::new(door),
        }
    }

    /// Explains a request in JSON that fits into a frame; takes nothing and counts nothing.
    pub(crate) fn explain(&self, request: &Request<'_>, scratch: &mut Scratch) -> Vec<u8> {
        let table = self.table.load_full();
        let (cells, now) = (self.cells.cells(), self.clock.now());
        let Some(state) = table.state(request.tenant) else {
            let (_, decision) = table.decide(&cells, request, now, scratch);
            return json(&DecisionBody::of(None, &decision));
        };
        let mut explanation = state.explain(&cells, request, now, scratch);
        let mut body = json(&ExplanationBody::of(state, &explanation));
        while body.len() > EXPLANATION_BYTES_MAX && explanation.rules.pop().is_some() {
            body = json(&ExplanationBody::of(state, &explanation));
        }
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

impl Decider<'_> {
    /// Decides one request, counts it and lends decision and state to `answer`.
    pub(crate) fn decide<T>(
        &mut self,
        request: &Request<'_>,
        scratch: &mut Scratch,
        answer: impl FnOnce(Option<&TenantState>, &Decision) -> T,
    ) -> T {
        let (tenant, decision) = self.table.decide(&self.cells, request, self.now, scratch);
        self.tally.count(tenant, &decision);
        answer(tenant.and_then(|tenant| tenant.state.as_deref()), &decision)
    }
}
