//! Steps of the decision that have no configuration yet: freshness, kill lane, territory.
//!
//! They hold their place in the order of precedence. Without configuration each is inert: it
//! refuses nothing, which engine/tests/decide.rs checks.

use crate::now::Now;
use crate::reason::Reason;
use crate::request::Request;

/// Step 2: whether the configuration is fresh enough for its tenant's mode. A folder always is.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Freshness {}

/// Step 3: revocations and suspensions. A folder revokes nobody; its tenant may be suspended, or everything killed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum KillLane {
    #[default]
    Open,
    /// This tenant is silent.
    Suspended,
    /// The platform's kill switch is on.
    Killed,
}

/// Step 4: residency and egress. A folder names no regions.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Territory {}

impl Freshness {
    pub(crate) fn refusal(self, _now: Now) -> Option<Reason> {
        None
    }
}

impl KillLane {
    pub(crate) fn refusal(self, _request: &Request<'_>) -> Option<Reason> {
        match self {
            KillLane::Open => None,
            KillLane::Suspended => Some(Reason::TenantSuspended),
            KillLane::Killed => Some(Reason::Killed),
        }
    }
}

impl Territory {
    pub(crate) fn refusal(self, _request: &Request<'_>) -> Option<Reason> {
        None
    }
}
