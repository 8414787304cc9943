//! A refusal as the client of an API reads it: one body that our own clients, OpenAI's and Anthropic's SDKs parse, and
//! the problem of RFC 9457.
//!
//! Sources: the error objects of both vendors' API references; the problem type `quota-exceeded` of
//! draft-ietf-httpapi-ratelimit-headers-11.

use serde_json::{Value as Json, json};
use tollgate_engine::quota::window::Period;
use tollgate_engine::{
    Bucket, Capacity, Decision, Disclosure, LimitTerms, LimitUse, Reason, Request, TenantState,
};
use tollgate_proto::authzen::DecisionId;

/// The problem type of a used-up limit.
const QUOTA_PROBLEM: &str = "https://iana.org/assignments/http-problem-types#quota-exceeded";
const SECOND_NS: u64 = 1_000_000_000;

/// A request that was refused, and what its client may know.
#[derive(Clone, Copy)]
pub(super) struct Refusal<'a> {
    pub(super) state: Option<&'a TenantState>,
    pub(super) request: &'a Request<'a>,
    pub(super) decision: &'a Decision,
    pub(super) id: DecisionId,
}

/// The limit that refused.
struct Binding<'a> {
    terms: &'a LimitTerms,
    own: LimitUse,
    of: u64,
    asked: u64,
}

impl<'a> Refusal<'a> {
    /// `{"type":"error","error":{code, type, param, message, details},"request_id"}`.
    pub(super) fn envelope(&self) -> Json {
        let mut body = json!({
            "type": "error",
            "error": {
                "code": self.decision.reason.name(),
                "type": self.kind(),
                "param": null,
                "message": self.message(),
                "details": self.details(),
            },
        });
        self.add_id(&mut body);
        body
    }

    /// The problem of RFC 9457 with this status.
    pub(super) fn problem(&self, status: u16) -> Json {
        let reason = self.decision.reason;
        let is_quota = reason == Reason::QuotaExceeded;
        let mut body = json!({
            "type": if is_quota { QUOTA_PROBLEM } else { "about:blank" },
            "title": reason.name(),
            "status": status,
            "detail": self.message(),
            "code": reason.name(),
        });
        let violated = self.shown().map(|binding| json!([binding.terms.id]));
        let members = [
            ("violated-policies", violated),
            ("retry_after_ms", self.decision.retry_after_ms.map(Json::from)),
        ];
        for (name, value) in members {
            if let (Some(value), Some(body)) = (value, body.as_object_mut()) {
                body.insert(name.to_owned(), value);
            }
        }
        self.add_id(&mut body);
        body
    }

    fn add_id(&self, body: &mut Json) {
        if let (true, Some(body)) = (self.id.is_some(), body.as_object_mut()) {
            body.insert("request_id".to_owned(), self.id.to_string().into());
        }
    }

    fn binding(&self) -> Option<Binding<'a>> {
        let (state, limit) = (self.state?, self.decision.binding?);
        let own = self.decision.limits.as_slice().iter().find(|own| own.limit == limit)?;
        let quotas = state.quotas();
        Some(Binding {
            terms: quotas.terms(limit)?,
            own: *own,
            of: own.of,
            asked: quotas.asked(limit, self.request.amounts).unwrap_or(0),
        })
    }

    fn disclosure(&self) -> Disclosure {
        self.state.map_or(Disclosure::Code, TenantState::disclosure)
    }

    /// The limit that refused, if the client may know it.
    fn shown(&self) -> Option<Binding<'a>> {
        self.binding().filter(|_| self.disclosure() != Disclosure::Code)
    }

    /// The word by which SDKs choose their exception.
    fn kind(&self) -> &'static str {
        match self.decision.reason {
            Reason::QuotaExceeded => match self.binding().map(|binding| &binding.terms.capacity) {
                Some(budget @ Capacity::Budget(_)) if !budget.is_in_flight() => {
                    "insufficient_quota"
                }
                _ => "rate_limit_error",
            },
            Reason::QuotaStoreFull | Reason::NoBundle | Reason::Stale => "overloaded_error",
            Reason::BadRequest | Reason::AmbiguousPath => "invalid_request_error",
            _ => "permission_error",
        }
    }

    fn message(&self) -> String {
        let reason = self.decision.reason;
        match (reason, self.shown()) {
            (Reason::QuotaExceeded, Some(binding)) => self.used_up(&binding),
            (Reason::QuotaExceeded, None) => format!("a limit is used up{}", self.wait()),
            (Reason::QuotaStoreFull | Reason::NoBundle | Reason::Stale, _) => {
                format!("this request cannot be decided now ({}); try again", reason.name())
            }
            _ => format!("this request may not pass ({})", reason.name()),
        }
    }

    fn used_up(&self, binding: &Binding<'_>) -> String {
        let Binding { terms, own, of, asked } = binding;
        let (meter, who) = (&terms.meter, who(&terms.scope));
        if self.decision.retry_after_ms.is_none() {
            return format!(
                "this request asks for {asked} {meter}, and `{}` never has more than {of}",
                terms.id
            );
        }
        if terms.capacity.is_in_flight() {
            return format!("too many requests of this {who} at once: {of} may be in flight");
        }
        let budget = match &terms.capacity {
            Capacity::Bucket(bucket) => {
                let Bucket { count, period_ns, burst } = bucket;
                let period = seconds(*period_ns);
                return format!(
                    "too many {meter} of this {who}: {count} in {period} s, {burst} at once{}",
                    self.wait()
                );
            }
            Capacity::Budget(budget) => budget,
        };
        let often = match budget.windows.period() {
            Period::Day => "daily ",
            Period::Week(_) => "weekly ",
            Period::Month(_) => "monthly ",
            Period::Year => "yearly ",
            Period::Seconds(_) | Period::Open => "",
        };
        let unit = meter.strip_suffix('s').unwrap_or(meter);
        let resets = budget.windows.at(self.decision.at).map_or_else(String::new, |window| {
            format!("; it resets on {}", budget.windows.shown(window.end_ns))
        });
        match own.remaining {
            0 => format!("{often}{unit} budget of this {who} is used up{resets}"),
            left => format!(
                "{often}{unit} budget of this {who} has {left} left, and this request asks for {asked}{resets}"
            ),
        }
    }

    fn wait(&self) -> String {
        let wait = self.decision.retry_after_ms.map(|ms| seconds(ms.saturating_mul(1_000_000)));
        wait.map_or_else(String::new, |wait| format!("; try again in {wait} s"))
    }

    fn details(&self) -> Json {
        let decision = self.decision;
        let mut details = serde_json::Map::new();
        if let Some(Binding { terms, own, of, asked }) = self.shown() {
            details.insert("limit".to_owned(), terms.id.as_str().into());
            details.insert("scope".to_owned(), terms.scope.as_str().into());
            details.insert("used".to_owned(), of.saturating_sub(own.remaining).into());
            details.insert("of".to_owned(), of.into());
            details.insert("asked".to_owned(), asked.into());
        }
        if let Some(wait) = decision.retry_after_ms {
            details.insert("retry_after_ms".to_owned(), wait.into());
        }
        if let (Disclosure::Full, Some(state)) = (self.disclosure(), self.state) {
            let quotas = state.quotas();
            let shown = |own: &LimitUse| {
                json!({
                    "id": quotas.id(own.limit),
                    "remaining": own.remaining,
                    "of": own.of,
                    "reset_ms": quotas.reset_ms(own, decision.at),
                })
            };
            let limits: Json = decision.limits.as_slice().iter().map(shown).collect();
            details.insert("limits".to_owned(), limits);
            if let Some(rule) = decision.rule {
                let line = state.policy().rule_line(rule);
                details.insert("rule".to_owned(), format!("policy.csv:{line}").into());
            }
        }
        details.into()
    }
}

/// Whose a limit is, in a word: the last part of its first dimension.
fn who(scope: &str) -> &str {
    let first = scope.split(',').next().unwrap_or(scope);
    match first.rsplit('.').next().unwrap_or(first) {
        "subject" => "user",
        word => word,
    }
}

/// Seconds without needless digits, never too few.
fn seconds(ns: u64) -> String {
    let ms = ns.div_ceil(SECOND_NS / 1_000);
    match ms % 1_000 {
        0 => (ms / 1_000).to_string(),
        rest => format!("{}.{rest:03}", ms / 1_000).trim_end_matches('0').to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_have_no_needless_digits() {
        for (ns, expected) in [
            (0, "0"),
            (1, "0.001"),
            (100_000_000, "0.1"),
            (1_000_000_000, "1"),
            (61_050_000_000, "61.05"),
        ] {
            assert_eq!(seconds(ns), expected);
        }
    }

    #[test]
    fn a_limit_is_of_somebody() {
        for (scope, expected) in [
            ("tenant", "tenant"),
            ("subject", "user"),
            ("subject.team", "team"),
            ("resource.model,subject", "model"),
        ] {
            assert_eq!(who(scope), expected);
        }
    }
}
