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
    /// Until it is whole again; missing where nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset_ms: Option<u64>,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaBody {
    /// Why there are no counters; empty if there may be.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error: String,
    pub counters: Vec<CounterBody>,
}
