//! What people ask of counters: the body of a quota frame and of its reply, JSON.

use serde::{Deserialize, Serialize};

/// A question, or a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case", deny_unknown_fields)]
pub enum QuotaAsked {
    /// The counters of the decisions that are kept, of one tenant or of all.
    Top {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tenant: Option<String>,
    },
    /// How one counter stands.
    Show { tenant: String, limit: String, key: Vec<String> },
    /// Gives back what one counter used, or so much of it.
    GiveBack {
        tenant: String,
        limit: String,
        key: Vec<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        amount: Option<u64>,
        /// Why; for the audit.
        reason: String,
    },
    /// Grants a budget's counter so many units more, in its present window.
    TopUp { tenant: String, limit: String, key: Vec<String>, amount: u64, reason: String },
    /// Gives a budget's counter this amount instead of its limit's, for so long.
    Override {
        tenant: String,
        limit: String,
        key: Vec<String>,
        amount: u64,
        for_ms: u64,
        reason: String,
    },
    /// Ends the override of a counter.
    EndOverride { tenant: String, limit: String, key: Vec<String>, reason: String },
    /// Looks at every cell and reservation of the region, and puts right what is wrong if `repair`.
    Doctor { repair: bool },
}

/// One counter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CounterBody {
    pub tenant: String,
    pub limit: String,
    pub meter: String,
    /// `hard`, `soft` or `shadow`.
    pub mode: String,
    /// The values of its dimensions.
    pub key: Vec<String>,
    pub used: u64,
    pub of: u64,
    pub remaining: u64,
    /// What open reservations hold of it.
    #[serde(default)]
    pub held: u64,
    /// Until it is whole again; missing where nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset_ms: Option<u64>,
    /// Until when its amount is another than its limit's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub override_until_ms: Option<u64>,
    /// When a budget's window ends, in its zone, such as `tomorrow 00:00`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resets: Option<String>,
}

/// What a tenant's requests were answered since the sidecar started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantBody {
    pub tenant: String,
    pub version: String,
    pub allowed: u64,
    pub denied: u64,
}

/// How often the newest decisions were refused for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeniedBody {
    pub reason: String,
    pub count: u64,
    /// The limit that refused most often, and its key.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub most: String,
}

/// How a region is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegionBody {
    pub path: String,
    /// Processes that are attached.
    pub members: u64,
    pub cells: u64,
    pub occupied: u64,
    pub reservations: u64,
    pub held: u64,
    /// Settled reservations that no journal has yet.
    pub unkept: u64,
    /// What was found wrong, by kind; of what may be wrong only.
    pub half_evicted: u64,
    pub doubled: u64,
    pub misplaced: u64,
    /// Reservations that somebody died working on.
    pub abandoned: u64,
    /// Whether it was put right.
    pub repaired: bool,
}

impl RegionBody {
    /// How much was found wrong.
    pub fn wrong(&self) -> u64 {
        self.half_evicted + self.doubled + self.misplaced + self.abandoned
    }
}

/// The answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaBody {
    /// Why there are no counters; empty if there may be.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error: String,
    #[serde(default)]
    pub counters: Vec<CounterBody>,
    /// Of `top`: when it was asked, those that are served, and who was refused in the last second.
    #[serde(default)]
    pub at_ms: u64,
    #[serde(default)]
    pub tenants: Vec<TenantBody>,
    #[serde(default)]
    pub denied: Vec<DeniedBody>,
    /// Of a doctor's question.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<RegionBody>,
}
