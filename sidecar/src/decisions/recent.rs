//! The newest decisions, each with the configuration that decided: found by id, followed by `tollgate tail`.

use crate::decisions::shadow::{Outcome, ShadowAnswer};
use crate::metrics::Door;
use serde::Serialize;
use std::collections::VecDeque;
use std::sync::Arc;
use tollgate_engine::{Decision, Now, TenantState};
use tollgate_proto::authzen::DecisionId;
use tollgate_proto::follow::Filter;

/// Configurations of one tenant that are kept for old decisions; decisions of older ones leave.
const STATES_PER_TENANT_MAX: usize = 2;

/// One decision.
pub(crate) struct Kept {
    /// Given when it is kept.
    pub(super) number: u64,
    pub(super) id: DecisionId,
    pub(super) client_id: String,
    pub(super) at: Now,
    pub(super) door: Door,
    pub(super) decision: Decision,
    /// What a candidate says, if one is asked.
    pub(super) shadow: Option<ShadowAnswer>,
    /// `None`: no configuration decided, or it was gone already.
    pub(super) state: Option<Arc<TenantState>>,
    pub(super) tenant: String,
    pub(super) subject: String,
    pub(super) action: String,
    pub(super) resource: String,
    /// As a frame carries it.
    pub(super) request: Vec<u8>,
}

/// What is needed to explain a decision that was made.
pub(crate) struct Recalled {
    pub(crate) id: DecisionId,
    pub(crate) decision: Decision,
    pub(crate) state: Option<Arc<TenantState>>,
    pub(crate) request: Vec<u8>,
    pub(crate) at: Now,
}

/// The newest decisions, the oldest first.
pub(crate) struct Recent {
    kept: VecDeque<Kept>,
    most: usize,
    /// How many were ever kept.
    count: u64,
}

/// A decision as a follower sees it.
#[derive(Serialize)]
pub(crate) struct Line<'k> {
    pub(crate) number: u64,
    request_id: String,
    at_ms: u64,
    door: &'static str,
    tenant: &'k str,
    subject: &'k str,
    action: &'k str,
    resource: &'k str,
    decision: bool,
    reason: &'static str,
    rule: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shadow: Option<ShadowLine>,
}

/// What a candidate says of a decision.
#[derive(Serialize)]
pub(super) struct ShadowLine {
    outcome: &'static str,
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
}

impl Recent {
    pub(super) fn new(most: usize) -> Recent {
        Recent { kept: VecDeque::new(), most, count: 0 }
    }

    /// Keeps a decision and gives it its number.
    pub(super) fn keep(&mut self, mut kept: Kept) {
        self.count += 1;
        kept.number = self.count;
        if self.most == 0 {
            return;
        }
        if let Some(state) = &kept.state {
            self.forget_older(state);
        }
        if self.kept.len() >= self.most {
            self.kept.pop_front();
        }
        self.kept.push_back(kept);
    }

    /// Lets decisions of configurations before the last few go, so that none stays in memory for them.
    fn forget_older(&mut self, newest: &Arc<TenantState>) {
        let mut known: Vec<*const TenantState> = vec![Arc::as_ptr(newest)];
        let is_newest = self
            .kept
            .iter()
            .rev()
            .find_map(|kept| kept.state.as_ref().filter(|s| s.name() == newest.name()));
        if is_newest.is_none_or(|state| Arc::ptr_eq(state, newest)) {
            return;
        }
        for kept in self.kept.iter().rev() {
            let theirs = kept.state.as_ref().filter(|state| state.name() == newest.name());
            if let Some(state) = theirs
                && !known.contains(&Arc::as_ptr(state))
            {
                known.push(Arc::as_ptr(state));
            }
        }
        known.truncate(STATES_PER_TENANT_MAX);
        self.kept.retain(|kept| match &kept.state {
            Some(state) if state.name() == newest.name() => known.contains(&Arc::as_ptr(state)),
            _ => true,
        });
    }

    /// What explains the newest decision with this id: ours, or the one that the client gave.
    pub(crate) fn recall(&self, id: &str) -> Option<Recalled> {
        let kept = self.find(id)?;
        let (state, request) = (kept.state.clone(), kept.request.clone());
        Some(Recalled { id: kept.id, decision: kept.decision, state, request, at: kept.at })
    }

    fn find(&self, id: &str) -> Option<&Kept> {
        let parsed = id.parse::<DecisionId>().ok();
        let mut newest_first = self.kept.iter().rev();
        newest_first
            .find(|kept| Some(kept.id) == parsed || (!id.is_empty() && kept.client_id == id))
    }

    /// The decisions that a filter lets through, the oldest first.
    pub(crate) fn lines<'k>(&'k self, filter: &'k Filter) -> impl Iterator<Item = Line<'k>> {
        let matches = |kept: &&Kept| {
            let reason = kept.decision.reason;
            kept.number > filter.after
                && filter.tenant.as_ref().is_none_or(|tenant| *tenant == kept.tenant)
                && filter.allows.is_none_or(|allows| allows == reason.allows())
                && (!filter.shadow || kept.differs())
                && filter.reason.as_ref().is_none_or(|name| name == reason.name())
        };
        self.kept.iter().filter(matches).map(Kept::line)
    }

    /// The requests of the kept decisions, as frames carry them, the newest first.
    pub(crate) fn requests<'k>(
        &'k self,
        tenant: Option<&'k str>,
    ) -> impl Iterator<Item = Vec<u8>> + 'k {
        let kept = self.kept.iter().rev();
        let asked = kept.filter(move |kept| tenant.is_none_or(|tenant| tenant == kept.tenant));
        asked.map(|kept| kept.request.clone())
    }

    /// Tells of each refusal since a moment: its reason, and the limit that refused, where one did.
    pub(crate) fn refused_since(
        &self,
        since: Now,
        tenant: Option<&str>,
        mut tell: impl FnMut(&'static str, String),
    ) {
        for kept in self.kept.iter().rev().take_while(|kept| kept.at >= since) {
            let is_asked = tenant.is_none_or(|tenant| tenant == kept.tenant);
            if !is_asked || kept.decision.is_allow() {
                continue;
            }
            let limit = kept.state.as_ref().zip(kept.decision.binding);
            let limit = limit.map_or("", |(state, limit)| state.quotas().id(limit));
            tell(kept.decision.reason.name(), limit.to_owned());
        }
    }

    /// The number of the newest.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }
}

impl Kept {
    fn line(&self) -> Line<'_> {
        let line = |state: &Arc<TenantState>| {
            self.decision.rule.map(|rule| format!("policy.csv:{}", state.policy().rule_line(rule)))
        };
        Line {
            number: self.number,
            request_id: self.id.to_string(),
            at_ms: self.at.0 / 1_000_000,
            door: self.door.name(),
            tenant: &self.tenant,
            subject: &self.subject,
            action: &self.action,
            resource: &self.resource,
            decision: self.decision.is_allow(),
            reason: self.decision.reason.name(),
            rule: self.state.as_ref().and_then(line),
            shadow: self.shadow_line(),
        }
    }

    /// Whether a candidate would change the answer.
    fn differs(&self) -> bool {
        self.shadow.as_ref().is_some_and(|shadow| shadow.outcome != Outcome::Same)
    }

    pub(super) fn shadow_line(&self) -> Option<ShadowLine> {
        self.shadow.as_ref().map(|shadow| ShadowLine {
            outcome: shadow.outcome.name(),
            reason: shadow.reason.name(),
            rule: shadow.line.map(|line| format!("policy.csv:{line}")),
        })
    }
}
