//! An explanation as JSON: the body of an explain reply, and what `tollgate explain --json` prints.

use crate::authzen::{DecisionBody, DecisionId};
use serde::Serialize;
use tollgate_engine::explain::{ExplainedConjunct, ExplainedRule, Explanation};
use tollgate_engine::{Effect, ExplainedEstimate, TenantState};

/// Why a request is decided as it is.
#[derive(Debug, Serialize)]
pub struct ExplanationBody<'a> {
    #[serde(flatten)]
    pub decision: DecisionBody<'a>,
    /// The deciding rule, or without one those that came closest.
    pub rules: Vec<RuleBody>,
    /// What the policy read of the request.
    pub values: Vec<ValueBody<'a>>,
    /// Limits whose condition is false.
    pub not_met: Vec<NotMetBody<'a>>,
    /// What limits have learned of such requests.
    pub estimates: Vec<EstimateBody<'a>>,
    /// Of a decision that was made: what was asked, and when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked: Option<AskedBody<'a>>,
}

/// What was asked.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct AskedBody<'a> {
    pub tenant: &'a str,
    pub subject: &'a str,
    pub action: &'a str,
    pub resource: &'a str,
    /// Milliseconds since 1970.
    pub at_ms: u64,
}

/// A limit that does not apply, and the condition that says so.
#[derive(Debug, Serialize)]
pub struct NotMetBody<'a> {
    pub id: &'a str,
    pub condition: &'a str,
}

/// What a limit has learned of requests like this one.
#[derive(Debug, Serialize)]
pub struct EstimateBody<'a> {
    pub id: &'a str,
    /// In per cent.
    pub quantile: u8,
    /// Settles that it was learned from, counted up to 255.
    pub settles: u64,
    /// What a reservation takes far from the limit; null until enough is known.
    pub likely: Option<u64>,
}

/// One rule.
#[derive(Debug, Serialize)]
pub struct RuleBody {
    /// Its place, such as `policy.csv:9`.
    pub rule: String,
    pub cells: Vec<String>,
    /// `allow` or `deny`.
    pub effect: &'static str,
    /// The chain of role links, each with its place.
    pub role_path: Vec<StepBody>,
    pub conjuncts: Vec<ConjunctBody>,
}

/// One link of a role path.
#[derive(Debug, Serialize)]
pub struct StepBody {
    pub role: String,
    pub link: String,
}

/// One conjunct of the matcher; `holds` is null if it is unknown.
#[derive(Debug, Serialize)]
pub struct ConjunctBody {
    pub about: &'static str,
    pub text: String,
    pub holds: Option<bool>,
    pub needs: Option<String>,
    pub has: Option<String>,
    pub would_match: Option<String>,
}

/// One value and where it came from.
#[derive(Debug, Serialize)]
pub struct ValueBody<'a> {
    pub name: &'a str,
    /// As JSON writes it; null if it is missing.
    pub value: Option<&'a str>,
    pub origin: &'static str,
}

impl<'a> ExplanationBody<'a> {
    /// The body; names come from the state that explained.
    pub fn of(
        state: &'a TenantState,
        explanation: &'a Explanation,
        id: DecisionId,
    ) -> ExplanationBody<'a> {
        let value = |value: &'a tollgate_engine::explain::ExplainedValue| ValueBody {
            name: &value.name,
            value: value.value.as_deref(),
            origin: value.origin,
        };
        let not_met = |at: &u16| NotMetBody {
            id: state.quotas().id(*at),
            condition: state.quotas().condition(*at).unwrap_or(""),
        };
        let estimate = |found: &ExplainedEstimate| EstimateBody {
            id: state.quotas().id(found.limit),
            quantile: found.quantile,
            settles: found.settles,
            likely: found.likely,
        };
        ExplanationBody {
            decision: DecisionBody::of(Some(state), &explanation.decision, id),
            rules: explanation.rules.iter().map(|rule| RuleBody::of(state, rule)).collect(),
            values: explanation.values.iter().map(value).collect(),
            not_met: explanation.not_met.iter().map(not_met).collect(),
            estimates: explanation.estimates.iter().map(estimate).collect(),
            asked: None,
        }
    }
}

impl RuleBody {
    fn of(state: &TenantState, explained: &ExplainedRule) -> RuleBody {
        let policy = state.policy();
        let place = |line: u32| format!("policy.csv:{line}");
        let step =
            |(role, line): &(String, u32)| StepBody { role: role.clone(), link: place(*line) };
        let conjunct = |conjunct: &ExplainedConjunct| ConjunctBody {
            about: conjunct.about,
            text: conjunct.text.clone(),
            holds: conjunct.truth,
            needs: conjunct.needs.clone(),
            has: conjunct.has.clone(),
            would_match: conjunct.would_match.clone(),
        };
        RuleBody {
            rule: place(policy.rule_line(explained.rule)),
            cells: policy.rule_cells(explained.rule).map(str::to_owned).collect(),
            effect: match policy.rule_effect(explained.rule) {
                Effect::Allow => "allow",
                Effect::Deny | Effect::Indeterminate => "deny",
            },
            role_path: explained.role_path.iter().map(step).collect(),
            conjuncts: explained.conjuncts.iter().map(conjunct).collect(),
        }
    }
}
