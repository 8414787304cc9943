//! Why: the decision of a request with everything a person needs to change it.
//!
//! Explaining never takes from a limit and is never on a request's path. What it says of a rule comes from the same
//! compiled conjuncts that decided.

use crate::bind::Part;
use crate::cell::Cells;
use crate::decide::{AskedPolicy, Decision, Scratch, TenantState};
use crate::expr::code::Slot;
use crate::now::Now;
use crate::path;
use crate::policy::describe::{Described, Nearest};
use crate::quota::estimate::ExplainedEstimate;
use crate::quota::limit::Stage;
use crate::quota::reserve::Ask;
use crate::reason::Reason;
use crate::request::{Entity, Request};
use crate::schema::Schema;
use crate::value::Value;

/// Rules that an explanation names beside the deciding one.
pub const NEAREST_MAX: usize = 3;

/// Why a request is decided as it is.
#[derive(Debug, Clone)]
pub struct Explanation {
    pub decision: Decision,
    /// The deciding rule, or without one those that came closest.
    pub rules: Vec<ExplainedRule>,
    /// What the policy read of the request.
    pub values: Vec<ExplainedValue>,
    /// Positions of the limits whose condition is false.
    pub not_met: Vec<u16>,
    /// Of the limits that learn what requests use.
    pub estimates: Vec<ExplainedEstimate>,
}

/// One rule and how each conjunct of the matcher fared with it.
#[derive(Debug, Clone)]
pub struct ExplainedRule {
    pub rule: u32,
    /// The chain of role links by which the subject has the rule's role: each with its line.
    pub role_path: Vec<(String, u32)>,
    pub conjuncts: Vec<ExplainedConjunct>,
}

/// One conjunct.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExplainedConjunct {
    /// What it is about: `role`, `path`, or a part of the request.
    pub about: &'static str,
    /// As the model writes it.
    pub text: String,
    /// `None`: unknown.
    pub truth: Option<bool>,
    /// What the rule asks for.
    pub needs: Option<String>,
    /// What the request has: a value, or the roles of a subject.
    pub has: Option<String>,
    /// The only one that does not hold: what would make the rule match.
    pub would_match: Option<String>,
}

/// A value that the policy read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExplainedValue {
    /// As the model names it, such as `r.sub.team`.
    pub name: String,
    /// As JSON writes it; `None` if it is missing.
    pub value: Option<String>,
    /// Where it came from.
    pub origin: &'static str,
}

impl TenantState {
    /// Explains a request without taking anything.
    pub fn explain(
        &self,
        cells: &Cells<'_>,
        request: &Request<'_>,
        now: Now,
        scratch: &mut Scratch,
    ) -> Explanation {
        let decision = self.decide_without_taking(cells, request, now, scratch);
        let (rules, values) = self.explain_policy(request, &decision, now, scratch);
        let (not_met, estimates) = self.quota_slots(request, |slots| {
            let (now_ns, stage) = (now.0, Stage::AfterPolicy);
            let (amounts, reserve, is_trial) = (None, None, true);
            let ask = Ask { cells, slots, amounts, reserve, now_ns, stage, is_trial };
            (self.quotas().not_met(slots), self.quotas().estimates(ask))
        });
        Explanation { decision, rules, values, not_met, estimates }
    }

    fn explain_policy(
        &self,
        request: &Request<'_>,
        decision: &Decision,
        now: Now,
        scratch: &mut Scratch,
    ) -> (Vec<ExplainedRule>, Vec<ExplainedValue>) {
        let Some(resource) = path::decode(request.resource.id, scratch.path_buffer()) else {
            return Default::default();
        };
        let request = Request { resource: Entity { id: resource, ..request.resource }, ..*request };
        let Some(asked) = self.asked(&request) else { return Default::default() };
        asked.with(&request, |tuple| {
            let explainer = Explainer { asked, tuple, schema: self.schema(), now };
            let nearest = match (decision.reason, decision.rule) {
                (_, Some(rule)) => {
                    let own = rule.wrapping_sub(asked.first_rule);
                    asked.policy.nearest_of(tuple, own, now).into_iter().collect()
                }
                (Reason::NoRule, None) => asked.policy.nearest(tuple, NEAREST_MAX, now),
                _ => Vec::new(),
            };
            let rules = nearest.iter().map(|nearest| explainer.rule(nearest)).collect();
            (rules, explainer.values())
        })
    }
}

/// What explains: a policy, what it reads of a request, and when.
struct Explainer<'e> {
    asked: AskedPolicy<'e>,
    tuple: &'e [Value<'e>],
    schema: Option<&'e Schema>,
    now: Now,
}

impl Explainer<'_> {
    fn rule(&self, nearest: &Nearest<'_>) -> ExplainedRule {
        let (policy, tuple) = (self.asked.policy, self.tuple);
        let failed = nearest.truths.iter().filter(|truth| **truth != Some(true)).count();
        let pairs = nearest.conjuncts.iter().zip(&nearest.truths);
        let conjuncts = pairs.map(|(described, truth)| {
            let mut conjunct = self.conjunct(nearest.rule, described, *truth);
            if failed == 1 && *truth != Some(true) {
                conjunct.would_match = self.would_match(nearest.rule, described);
            }
            conjunct
        });
        let held = nearest.conjuncts.iter().zip(&nearest.truths);
        let role = held.filter(|(_, truth)| **truth == Some(true));
        let path = |described| policy.role_path(tuple, nearest.rule, described, self.now);
        let mut role_path = role.filter_map(|(described, _)| path(described));
        ExplainedRule {
            rule: nearest.rule + self.asked.first_rule,
            role_path: role_path.next().unwrap_or_default(),
            conjuncts: conjuncts.collect(),
        }
    }

    fn conjunct(&self, rule: u32, described: &Described, truth: Option<bool>) -> ExplainedConjunct {
        let (policy, tuple) = (self.asked.policy, self.tuple);
        let value = described.slot.and_then(|slot| tuple.get(usize::from(slot)).copied());
        let has = match described.role {
            Some(_) => policy.roles_of(tuple, described, self.now),
            None => match value {
                Some(Value::Str(text)) => Some(text.to_owned()),
                value => value.and_then(text_of),
            },
        };
        let part = described.token.and_then(|token| self.asked.part(token));
        let about = match (&described.role, part) {
            (Some(_), _) => "role",
            (None, Some(Part::Subject)) => "subject",
            (None, Some(Part::Tenant)) => "tenant",
            (None, Some(Part::Resource)) if is_path(value) => "path",
            (None, Some(Part::Resource)) => "resource",
            (None, Some(Part::Action)) => "action",
            (None, Some(Part::Context)) => "context",
            (None, None) => "condition",
        };
        ExplainedConjunct {
            about,
            text: policy.text_of(rule, described),
            truth,
            needs: policy.needs(rule, described),
            has,
            would_match: None,
        }
    }

    /// The role link or value that the only failing conjunct wants.
    fn would_match(&self, rule: u32, described: &Described) -> Option<String> {
        let (policy, tuple) = (self.asked.policy, self.tuple);
        let needs = policy.needs(rule, described)?;
        let member = described.slot.and_then(|slot| tuple.get(usize::from(slot))?.as_str());
        match &described.role {
            Some(role) => {
                let (name, domain) = policy.role_definition(tuple, role);
                let mut link = format!("{name}, {}, {needs}", member?);
                if let Some(domain) = domain {
                    link.push_str(&format!(", {domain}"));
                }
                Some(link)
            }
            None if described.is_equality => Some(format!("{} = {needs}", described.name)),
            None => None,
        }
    }

    /// Who vouches for a value.
    fn origin(&self, slot: &Slot) -> &'static str {
        let part = self.asked.part(slot.token);
        let origin = part.zip(self.schema).map(|(part, schema)| schema.origin(part, &slot.path));
        origin.unwrap_or_default().name()
    }

    fn values(&self) -> Vec<ExplainedValue> {
        let (policy, tuple) = (self.asked.policy, self.tuple);
        let slots = policy.slots().iter().zip(tuple).filter(|(slot, _)| !slot.probe);
        let attributes = slots.filter(|(slot, _)| !matches!(slot.path.as_str(), "" | "id"));
        let value = attributes.map(|(slot, value)| ExplainedValue {
            name: policy.slot_name(slot),
            value: text_of(*value),
            origin: self.origin(slot),
        });
        value.collect()
    }
}

fn is_path(value: Option<Value<'_>>) -> bool {
    value.and_then(|value| value.as_str()).is_some_and(|text| text.starts_with('/'))
}

/// A value as JSON writes it.
pub(crate) fn text_of(value: Value<'_>) -> Option<String> {
    Some(match value {
        Value::Missing => return None,
        Value::Null => "null".to_owned(),
        Value::Bool(bool) => bool.to_string(),
        Value::Int(int) => int.to_string(),
        Value::Dec { mantissa, scale } => decimal(mantissa, scale),
        Value::Str(text) => format!("{text:?}"),
        Value::List(items) => {
            let items: Vec<String> = items.iter().copied().filter_map(text_of).collect();
            format!("[{}]", items.join(", "))
        }
    })
}

fn decimal(mantissa: i64, scale: u8) -> String {
    let digits = format!("{:0>width$}", mantissa.unsigned_abs(), width = usize::from(scale) + 1);
    let (whole, fraction) = digits.split_at(digits.len().saturating_sub(usize::from(scale)));
    let sign = if mantissa < 0 { "-" } else { "" };
    format!("{sign}{whole}.{fraction}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_they_are() {
        for (value, expected) in [
            (Value::Dec { mantissa: 15, scale: 1 }, "1.5"),
            (Value::Dec { mantissa: -5, scale: 3 }, "-0.005"),
            (Value::Str("a\"b"), "\"a\\\"b\""),
            (Value::List(&[Value::Int(1), Value::Null]), "[1, null]"),
        ] {
            assert_eq!(text_of(value).as_deref(), Some(expected));
        }
        assert_eq!(text_of(Value::Missing), None);
    }
}
