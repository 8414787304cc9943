//! The decision: steps in a fixed order, the first refusal winning.
//!
//! `TenantState` is one tenant's compiled configuration, immutable and shared; `decide` reads it,
//! takes from the cells and returns a plain value. It cannot fail, allocate, lock (but for the
//! first sight of a cell) or read a clock.

use crate::bind::{Binding, Part};
use crate::bounds::{ATTRIBUTES_MAX, ID_BYTES_MAX};
use crate::cell::Cells;
use crate::expr::code::Slot;
use crate::now::{Now, Version};
use crate::path;
use crate::policy::PolicySet;
use crate::policy::evaluate::Verdict;
use crate::policy::layout::Reads;
use crate::quota::limit::{Quotas, Stage};
use crate::quota::reservation::ReservationId;
use crate::quota::reserve::{Ask, Hashes, LimitUses, Refusal};
use crate::reason::Reason;
use crate::request::{Attribute, Entity, Request, SlotMap};
use crate::schema::{Origin, Schema};
use crate::steps::{Freshness, KillLane, Territory};
use crate::value::Value;
use std::sync::Arc;

/// One tenant's whole configuration, compiled.
#[derive(Debug, Clone)]
pub struct TenantState {
    name: String,
    version: Version,
    policy: Arc<PolicySet>,
    asks: Asks,
    /// Those of the model's contexts, in their order.
    contexts: Vec<Asks>,
    quotas: Quotas,
    schema: Option<Arc<Schema>>,
    disclosure: Disclosure,
    freshness: Freshness,
    kill_lane: KillLane,
    territory: Territory,
}

/// How much a tenant's clients are told of the limit that refuses them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Disclosure {
    /// The reason, and when to come again.
    Code,
    /// The limit, too: whose it is, how much it has and what is left.
    #[default]
    Limit,
    /// Every limit that applied, and the rule.
    Full,
}

impl Disclosure {
    pub const ALL: &'static [(&'static str, Disclosure)] =
        &[("code", Disclosure::Code), ("limit", Disclosure::Limit), ("full", Disclosure::Full)];
}

/// How a request is put to a policy.
#[derive(Debug, Clone)]
struct Asks {
    slots: SlotMap,
    parts: Vec<Part>,
}

impl Asks {
    /// Takes no attribute from a request for which somebody else vouches.
    fn obey(&mut self, slots: &[Slot], schema: &Schema) {
        let is_ours = |part: Part, path: &str| schema.origin(part, path) == Origin::Gateway;
        self.slots = SlotMap::taking(slots, &self.parts, is_ours);
    }

    fn new(policy: &PolicySet, parts: &[Part]) -> Asks {
        Asks { slots: SlotMap::new(policy.slots(), parts), parts: parts.to_vec() }
    }
}

/// The policy that a request asks: the model's, or a context's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AskedPolicy<'s> {
    pub(crate) policy: &'s PolicySet,
    asks: &'s Asks,
    /// Ordinal of the policy's first rule within the tenant's.
    pub(crate) first_rule: u32,
}

impl AskedPolicy<'_> {
    /// Lends what the policy reads of a request.
    pub(crate) fn with<T>(&self, request: &Request<'_>, ask: impl FnOnce(&[Value<'_>]) -> T) -> T {
        self.asks.slots.with(request, ask)
    }

    /// The part of a request that a token of the model means.
    pub(crate) fn part(&self, token: usize) -> Option<Part> {
        self.asks.parts.get(token).copied()
    }
}

/// The member of a request's context that names one of the model's contexts, such as `2` for `m2`.
pub const ENFORCE_CONTEXT: &str = "enforce_context";

/// Memory that one connection reuses for all its decisions.
#[derive(Debug)]
pub struct Scratch {
    path: String,
}

impl Scratch {
    pub(crate) fn path_buffer(&mut self) -> &mut String {
        &mut self.path
    }
}

impl Default for Scratch {
    fn default() -> Scratch {
        Scratch { path: String::with_capacity(ID_BYTES_MAX) }
    }
}

/// The answer to one request.
#[derive(Debug, Clone, Copy)]
pub struct Decision {
    pub reason: Reason,
    /// Ordinal of the deciding rule in the tenant's policy.
    pub rule: Option<u32>,
    pub version: Version,
    /// When it was made.
    pub at: Now,
    /// The limit that refused.
    pub binding: Option<u16>,
    /// When the same request would fit; `None` for other reasons, and if it never will.
    pub retry_after_ms: Option<u64>,
    pub limits: LimitUses,
    /// By which what was taken is settled.
    pub reservation: Option<ReservationId>,
}

/// Lets the table's host ask memory for what a policy will read.
struct Fetching<'c>(&'c Cells<'c>);

impl Reads for Fetching<'_> {
    fn soon(&mut self, lines: &[*const u8]) {
        self.0.fetch(lines);
    }
}

impl Decision {
    /// A refusal that no tenant's configuration decided.
    pub fn refuse(reason: Reason, version: Version) -> Decision {
        Decision {
            reason,
            rule: None,
            version,
            at: Now(0),
            binding: None,
            retry_after_ms: None,
            limits: LimitUses::default(),
            reservation: None,
        }
    }

    /// Whether the request may pass.
    pub fn is_allow(&self) -> bool {
        self.reason.allows()
    }
}

impl TenantState {
    /// Joins a compiled policy and limits. Cheap: compiles nothing.
    pub fn link(
        name: &str,
        version: Version,
        policy: Arc<PolicySet>,
        binding: &Binding,
        mut quotas: Quotas,
    ) -> TenantState {
        quotas.bind(name);
        TenantState {
            name: name.to_owned(),
            version,
            asks: Asks::new(&policy, &binding.parts),
            contexts: (policy.contexts.iter().zip(&binding.contexts))
                .map(|((_, context), parts)| Asks::new(context, parts))
                .collect(),
            policy,
            quotas,
            schema: None,
            disclosure: Disclosure::default(),
            freshness: Freshness::default(),
            kill_lane: KillLane::default(),
            territory: Territory::default(),
        }
    }

    /// The same, with a schema: attributes come from where it says, and requests are checked if it says so.
    #[must_use]
    pub fn described(mut self, schema: Option<Arc<Schema>>) -> TenantState {
        if let Some(schema) = &schema {
            self.asks.obey(self.policy.slots(), schema);
            self.quotas.taking(|part, path| schema.origin(part, path) == Origin::Gateway);
            for ((_, policy), asks) in self.policy.contexts.iter().zip(&mut self.contexts) {
                asks.obey(policy.slots(), schema);
            }
        }
        self.schema = schema;
        self
    }

    /// What is known of the attributes of requests.
    pub fn schema(&self) -> Option<&Schema> {
        self.schema.as_deref()
    }

    /// The same, telling its clients so much.
    #[must_use]
    pub fn disclosing(self, disclosure: Disclosure) -> TenantState {
        TenantState { disclosure, ..self }
    }

    /// How much its clients are told.
    pub fn disclosure(&self) -> Disclosure {
        self.disclosure
    }

    /// Whether it refuses everything.
    pub fn kill_lane(&self) -> KillLane {
        self.kill_lane
    }

    /// The same, refusing everything unless this is open.
    #[must_use]
    pub fn with_kill_lane(self, kill_lane: KillLane) -> TenantState {
        TenantState { kill_lane, ..self }
    }

    /// Decides one request and takes what it uses.
    pub fn decide(
        &self,
        cells: &Cells<'_>,
        request: &Request<'_>,
        now: Now,
        scratch: &mut Scratch,
    ) -> Decision {
        self.decide_or_try(cells, request, now, scratch, false)
    }

    /// The same answer, with what is left now: nothing is taken.
    pub(crate) fn decide_without_taking(
        &self,
        cells: &Cells<'_>,
        request: &Request<'_>,
        now: Now,
        scratch: &mut Scratch,
    ) -> Decision {
        self.decide_or_try(cells, request, now, scratch, true)
    }

    fn decide_or_try(
        &self,
        cells: &Cells<'_>,
        request: &Request<'_>,
        now: Now,
        scratch: &mut Scratch,
        is_trial: bool,
    ) -> Decision {
        let mut decision =
            Decision { at: now, ..Decision::refuse(Reason::BadRequest, self.version) };
        let request = match self.admitted(request, now, scratch) {
            Ok(request) => request,
            Err(reason) => {
                decision.reason = reason;
                return decision;
            }
        };
        self.quotas.slots.with(&request, |slots| {
            let Request { amounts, reserve, .. } = request;
            let (now_ns, stage) = (now.0, Stage::BeforePolicy);
            let ask = Ask { cells, slots, amounts, reserve, now_ns, stage, is_trial };
            self.weigh(&request, ask, &mut decision);
        });
        decision
    }

    /// What the policy alone says, limits not asked: for searches and comparisons.
    pub fn decide_policy(
        &self,
        request: &Request<'_>,
        now: Now,
        scratch: &mut Scratch,
    ) -> Decision {
        let mut decision = Decision::refuse(Reason::BadRequest, self.version);
        match self.admitted(request, now, scratch) {
            Ok(request) => self.ask_policy(&request, now, &mut (), &mut decision),
            Err(reason) => decision.reason = reason,
        }
        decision
    }

    /// The request as rules see it, unless something before the policy refuses it.
    fn admitted<'r>(
        &self,
        request: &Request<'r>,
        now: Now,
        scratch: &'r mut Scratch,
    ) -> Result<Request<'r>, Reason> {
        if !is_well_formed(request) {
            return Err(Reason::BadRequest);
        }
        let decoded = path::decode(request.resource.id, &mut scratch.path);
        let id = decoded.ok_or(Reason::AmbiguousPath)?;
        let request = Request { resource: Entity { id, ..request.resource }, ..*request };
        let refused = (self.freshness.refusal(now))
            .or_else(|| self.kill_lane.refusal(&request))
            .or_else(|| self.territory.refusal(&request));
        match refused {
            Some(reason) => Err(reason),
            None if self.is_off_schema(&request) => Err(Reason::BadRequest),
            None => Ok(request),
        }
    }

    fn is_off_schema(&self, request: &Request<'_>) -> bool {
        let checking = self.schema.as_ref().filter(|schema| schema.checks_requests);
        checking.is_some_and(|schema| !schema.admits(request))
    }

    fn ask_policy(
        &self,
        request: &Request<'_>,
        now: Now,
        reads: &mut impl Reads,
        decision: &mut Decision,
    ) {
        let Some(asked) = self.asked(request) else { return };
        let verdict = asked.with(request, |tuple| asked.policy.evaluate_reading(tuple, now, reads));
        decision.rule = verdict.rule().map(|rule| rule + asked.first_rule);
        decision.reason = match verdict {
            Verdict::Allow { .. } => Reason::Allow,
            Verdict::Deny { .. } => Reason::PolicyDenied,
            Verdict::Error { .. } => Reason::PolicyError,
            Verdict::NoRule => Reason::NoRule,
        };
    }

    /// Policy and limits.
    fn weigh(&self, request: &Request<'_>, ask: Ask<'_>, decision: &mut Decision) {
        let mut hashes = Hashes::default();
        self.quotas.fetch(ask, &mut hashes);
        if self.quotas.has_early && !self.take(ask, &mut hashes, decision) {
            return;
        }
        self.ask_policy(request, Now(ask.now_ns), &mut Fetching(ask.cells), decision);
        if decision.is_allow() && !self.quotas.is_empty() {
            self.take(Ask { stage: Stage::AfterPolicy, ..ask }, &mut hashes, decision);
        }
        if decision.limits.has_failed_open() && decision.is_allow() {
            decision.reason = Reason::FailedOpen;
        }
    }

    /// Every rule that matches a request, whatever the effects make of it: for coverage and tests.
    /// Empty for a request that is refused before policy.
    pub fn matching_rules(
        &self,
        request: &Request<'_>,
        now: Now,
        scratch: &mut Scratch,
    ) -> Vec<u32> {
        let Some(resource) = path::decode(request.resource.id, &mut scratch.path) else {
            return Vec::new();
        };
        let request = Request { resource: Entity { id: resource, ..request.resource }, ..*request };
        let Some(asked) = self.asked(&request) else { return Vec::new() };
        let rules = 0..u32::try_from(asked.policy.rule_count()).unwrap_or(u32::MAX);
        asked.with(&request, |tuple| {
            let matches = |rule: &u32| asked.policy.row_truth(tuple, *rule, now) == Some(true);
            rules.filter(matches).map(|rule| rule + asked.first_rule).collect()
        })
    }

    /// How many distinct 64-byte lines of the policy's layout a request reads: for benchmarks.
    pub fn policy_lines(&self, request: &Request<'_>) -> usize {
        self.asks.slots.with(request, |tuple| self.policy.evaluate_counting_lines(tuple, Now(0)).1)
    }

    /// Takes the limits of one stage; false if they refuse, and then the decision says why.
    fn take(&self, ask: Ask<'_>, hashes: &mut Hashes, decision: &mut Decision) -> bool {
        let refusal = match self.quotas.reserve(ask, hashes, &mut decision.limits) {
            Ok(reservation) => {
                decision.reservation = reservation;
                return true;
            }
            Err(refusal) => refusal,
        };
        decision.reason = match refusal {
            Refusal::Exceeded { limit, retry_after_ms } => {
                decision.binding = Some(limit);
                decision.retry_after_ms = retry_after_ms;
                Reason::QuotaExceeded
            }
            Refusal::StoreFull => Reason::QuotaStoreFull,
            Refusal::BadRequest => Reason::BadRequest,
        };
        false
    }

    /// The policy itself and those of its contexts, each with what its tokens mean.
    pub(crate) fn policies(&self) -> impl Iterator<Item = (&PolicySet, &[Part])> {
        let own = (self.policy.as_ref(), self.asks.parts.as_slice());
        let contexts = self.policy.contexts.iter().zip(&self.contexts);
        std::iter::once(own).chain(contexts.map(|((_, set), asks)| (set, asks.parts.as_slice())))
    }

    /// The policy that a request asks; `None` if it names a context that the model does not have.
    pub(crate) fn asked(&self, request: &Request<'_>) -> Option<AskedPolicy<'_>> {
        let own = AskedPolicy { policy: &self.policy, asks: &self.asks, first_rule: 0 };
        if self.contexts.is_empty() {
            return Some(own);
        }
        let named = |attribute: &&Attribute<'_>| {
            attribute.part == Part::Context && attribute.path == ENFORCE_CONTEXT
        };
        let Some(attribute) = request.attributes.iter().find(named) else { return Some(own) };
        let name = attribute.value.as_str()?;
        let position = self.policy.contexts.iter().position(|(known, _)| known == name)?;
        let (policy, first_rule) = self.policy.context_at(position)?;
        Some(AskedPolicy { policy, asks: self.contexts.get(position)?, first_rule })
    }

    /// The values by which a limit counts a request, as text; those that are missing are left out.
    pub fn limit_values(&self, request: &Request<'_>, limit: u16) -> Vec<String> {
        self.quota_slots(request, |slots| self.quotas.values_text(limit, slots))
    }

    /// Lends what the limits read of a request.
    pub(crate) fn quota_slots<T>(
        &self,
        request: &Request<'_>,
        ask: impl FnOnce(&[Value<'_>]) -> T,
    ) -> T {
        self.quotas.slots.with(request, ask)
    }

    /// The limits that a request would be counted by, as far as their conditions say.
    pub fn limits_met(&self, request: &Request<'_>) -> Vec<u16> {
        let not_met = self.quota_slots(request, |slots| self.quotas.not_met(slots));
        let all = 0..u16::try_from(self.quotas.len()).unwrap_or(u16::MAX);
        all.filter(|limit| !not_met.contains(limit)).collect()
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn version(&self) -> Version {
        self.version
    }

    /// Gives the state another version, before it is served.
    #[must_use]
    pub fn with_version(mut self, version: Version) -> TenantState {
        self.version = version;
        self.quotas.set_generation(version.seq);
        self
    }

    /// The same with another policy of the same model.
    #[must_use]
    pub fn with_policy(&self, policy: Arc<PolicySet>) -> TenantState {
        TenantState { policy, ..self.clone() }
    }

    /// The policy, which a state of another version may share.
    pub fn policy(&self) -> &Arc<PolicySet> {
        &self.policy
    }

    pub fn quotas(&self) -> &Quotas {
        &self.quotas
    }
}

/// Names are there and within their bounds.
fn is_well_formed(request: &Request<'_>) -> bool {
    let named = [request.subject.id, request.resource.id, request.action];
    let all = [request.tenant, request.subject.kind, request.resource.kind];
    named.iter().all(|text| !text.is_empty())
        && named.iter().chain(&all).all(|text| text.len() <= ID_BYTES_MAX)
        && request.attributes.len() <= ATTRIBUTES_MAX
}
