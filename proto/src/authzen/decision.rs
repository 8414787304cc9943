//! A decision as JSON: the same shape at the HTTP door and from `tollgate check --json`.

use super::DecisionId;
use crate::frame::{Reply, ReplyLimit};
use serde::{Serialize, Serializer};
use tollgate_engine::{Decision, Mode, ReservationId, TenantState, Version};

/// An AuthZEN decision. Members without a value are left out.
#[derive(Debug, Serialize)]
pub struct DecisionBody<'a> {
    pub decision: bool,
    pub context: Context<'a>,
}

/// Why, by which rule and version, and what the limits say.
#[derive(Debug, Serialize)]
pub struct Context<'a> {
    pub reason: &'static str,
    pub reason_code: u16,
    /// Line of policy.csv.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "rule_place")]
    pub rule: Option<u32>,
    /// Zero if no configuration decided.
    #[serde(skip_serializing_if = "is_none", serialize_with = "version_text")]
    pub version: Version,
    pub limits: Vec<LimitBody<'a>>,
    /// The limit that refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// By which the decision is found again; everything but a plain `allow` has one.
    #[serde(skip_serializing_if = "has_no_id", serialize_with = "id_text")]
    pub request_id: DecisionId,
    /// By which what was taken is settled.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "reservation_text")]
    pub reservation: Option<ReservationId>,
    /// Soft limits that are used up, and limits that could not count the request.
    pub warnings: Vec<&'a str>,
}

/// One limit that applied.
#[derive(Debug, Serialize)]
pub struct LimitBody<'a> {
    pub id: &'a str,
    pub remaining: u64,
    pub of: u64,
    pub mode: &'static str,
    pub exceeded: bool,
    /// It could not count the request, which passes nevertheless.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub failed_open: bool,
    /// Until the limit is whole again; frames do not say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reset_ms: Option<u64>,
}

impl<'a> DecisionBody<'a> {
    /// The body of a decision; names come from the state that decided.
    pub fn of(
        state: Option<&'a TenantState>,
        decision: &Decision,
        request_id: DecisionId,
    ) -> DecisionBody<'a> {
        let id = |limit: u16| state.map_or("", |state| state.quotas().id(limit));
        let uses = decision.limits.as_slice();
        let limits = uses.iter().map(|entry| LimitBody {
            id: id(entry.limit),
            remaining: entry.remaining,
            of: entry.of,
            mode: mode_name(entry.mode),
            exceeded: entry.exceeded,
            failed_open: entry.failed_open,
            reset_ms: state.and_then(|state| state.quotas().reset_ms(entry, decision.at)),
        });
        let soft = uses.iter().filter(|entry| warns(entry.mode, entry.exceeded, entry.failed_open));
        DecisionBody {
            decision: decision.is_allow(),
            context: Context {
                reason: decision.reason.name(),
                reason_code: decision.reason.number(),
                rule: state.zip(decision.rule).map(|(state, rule)| state.policy().rule_line(rule)),
                version: decision.version,
                limits: limits.collect(),
                limit: decision.binding.map(id),
                retry_after_ms: decision.retry_after_ms,
                request_id,
                reservation: decision.reservation,
                warnings: soft.map(|entry| id(entry.limit)).collect(),
            },
        }
    }

    /// The body of a decision that a client read from a frame.
    pub fn from_reply(reply: &'a Reply) -> DecisionBody<'a> {
        let limit = |limit: &'a ReplyLimit| LimitBody {
            id: &limit.id,
            remaining: limit.remaining,
            of: limit.of,
            mode: mode_name(limit.mode),
            exceeded: limit.exceeded,
            failed_open: limit.failed_open,
            reset_ms: None,
        };
        let binding = reply.binding.and_then(|position| reply.limits.get(position));
        let soft = (reply.limits.iter())
            .filter(|limit| warns(limit.mode, limit.exceeded, limit.failed_open));
        DecisionBody {
            decision: reply.reason.allows(),
            context: Context {
                reason: reply.reason.name(),
                reason_code: reply.reason.number(),
                rule: reply.rule_line,
                version: Version { epoch: reply.epoch, seq: reply.seq },
                limits: reply.limits.iter().map(limit).collect(),
                limit: binding.map(|limit| limit.id.as_str()),
                retry_after_ms: reply.retry_after_ms,
                request_id: reply.id,
                reservation: None,
                warnings: soft.map(|limit| limit.id.as_str()).collect(),
            },
        }
    }
}

impl Context<'_> {
    /// The rule's place, such as `policy.csv:9`.
    pub fn rule_text(&self) -> Option<String> {
        self.rule.map(|line| format!("policy.csv:{line}"))
    }

    /// The id, if there is one.
    pub fn request_id_text(&self) -> Option<String> {
        self.request_id.is_some().then(|| self.request_id.to_string())
    }

    /// The version, such as `1.4`.
    pub fn version_text(&self) -> Option<String> {
        (!is_none(&self.version)).then(|| format!("{}.{}", self.version.epoch, self.version.seq))
    }
}

/// Whether a caller is warned of a limit.
fn warns(mode: Mode, exceeded: bool, failed_open: bool) -> bool {
    failed_open || (mode == Mode::Soft && exceeded)
}

/// The word of a limit's mode.
pub const fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Hard => "hard",
        Mode::Soft => "soft",
        Mode::Shadow => "shadow",
    }
}

fn rule_place<S: Serializer>(line: &Option<u32>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("policy.csv:{}", line.unwrap_or(0)))
}

fn has_no_id(id: &DecisionId) -> bool {
    !id.is_some()
}

fn id_text<S: Serializer>(id: &DecisionId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

fn reservation_text<S: Serializer>(
    id: &Option<ReservationId>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match id {
        Some(id) => serializer.collect_str(id),
        None => serializer.serialize_none(),
    }
}

fn is_none(version: &Version) -> bool {
    *version == Version::default()
}

fn version_text<S: Serializer>(version: &Version, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{}.{}", version.epoch, version.seq))
}
