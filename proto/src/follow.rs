//! Which decisions somebody follows: the body of a follow frame, JSON.

use serde::{Deserialize, Serialize};

/// All that is said must be true of a decision.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// Behind the decision of this number; 0 is from the oldest that is kept.
    #[serde(default)]
    pub after: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// True: allowed, false: refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allows: Option<bool>,
    /// Those alone that a candidate would answer otherwise.
    #[serde(default)]
    pub shadow: bool,
    /// The word of a reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
