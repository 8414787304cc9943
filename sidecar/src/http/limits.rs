//! Headers that tell a client how its limits stand.
//!
//! Sources: draft-ietf-httpapi-ratelimit-headers-11 (`RateLimit-Policy`, `RateLimit`), the names of Kong's plugin
//! `rate-limiting` (`RateLimit-Limit`, `X-RateLimit-Limit-Minute`, …), RFC 9110 (`Retry-After`), and what the SDKs of
//! OpenAI and Anthropic look at before they try again (`retry-after-ms`, `x-should-retry`).

use http::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use tollgate_engine::quota::window::Period;
use tollgate_engine::{Capacity, Decision, Disclosure, LimitTerms, LimitUse, Mode, TenantState};

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const STANDING: HeaderName = HeaderName::from_static("ratelimit");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");
const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
/// A client that waits longer than this within one call is not served by trying again.
const RETRY_MS_MAX: u64 = 120_000;
const SECOND_NS: u64 = 1_000_000_000;

/// Names of Kong's periods, with their seconds.
const PERIODS: &[(u64, &str, &str)] = &[
    (1, "x-ratelimit-limit-second", "x-ratelimit-remaining-second"),
    (60, "x-ratelimit-limit-minute", "x-ratelimit-remaining-minute"),
    (3_600, "x-ratelimit-limit-hour", "x-ratelimit-remaining-hour"),
    (86_400, "x-ratelimit-limit-day", "x-ratelimit-remaining-day"),
];
const MONTH: (&str, &str) = ("x-ratelimit-limit-month", "x-ratelimit-remaining-month");
const YEAR: (&str, &str) = ("x-ratelimit-limit-year", "x-ratelimit-remaining-year");

/// Whether a limit says how it stands: one that could not count does not know.
fn is_told(own: &LimitUse) -> bool {
    own.mode != Mode::Shadow && !own.failed_open
}

/// Adds what the client of a decision may know of its limits, and when to come again.
pub(super) fn put(headers: &mut HeaderMap, state: Option<&TenantState>, decision: &Decision) {
    if let Some(state) = state.filter(|state| state.disclosure() != Disclosure::Code) {
        put_limits(headers, state, decision);
    }
    if decision.is_allow() {
        return;
    }
    if let Some(wait) = decision.retry_after_ms {
        headers.insert(RETRY_AFTER, HeaderValue::from(wait.div_ceil(1000).max(1)));
        headers.insert(RETRY_AFTER_MS, HeaderValue::from(wait));
    }
    // No later time suits a request that never fits.
    let is_never = decision.binding.is_some() && decision.retry_after_ms.is_none();
    if is_never || decision.retry_after_ms.is_some_and(|wait| wait > RETRY_MS_MAX) {
        headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
    }
}

fn put_limits(headers: &mut HeaderMap, state: &TenantState, decision: &Decision) {
    let (mut policy, mut standing) = (String::new(), String::new());
    let mut tightest: Option<Standing<'_>> = None;
    for own in decision.limits.as_slice().iter().filter(|own| is_told(own)) {
        let Some(one) = Standing::of(state, decision, own) else { continue };
        let separator = if policy.is_empty() { "" } else { ", " };
        let (id, of, left) = (&one.terms.id, one.of, one.remaining);
        let unit = match one.terms.meter.as_str() {
            "bytes" => ";qu=\"content-bytes\"",
            "concurrency" => ";qu=\"concurrent-requests\"",
            _ => "",
        };
        policy.push_str(&format!("{separator}\"{id}\";q={of}{unit}"));
        if let Some(window) = one.window_s {
            policy.push_str(&format!(";w={window}"));
        }
        standing.push_str(&format!("{separator}\"{id}\";r={left}"));
        if let Some(reset) = one.reset_s {
            standing.push_str(&format!(";t={reset}"));
        }
        if let Some((limit, remaining)) = one.period() {
            headers.insert(limit, HeaderValue::from(of));
            headers.insert(remaining, HeaderValue::from(left));
        }
        if tightest.as_ref().is_none_or(|tightest| one.is_tighter_than(tightest)) {
            tightest = Some(one);
        }
    }
    let Some(tightest) = tightest else { return };
    for (name, text) in [(POLICY, policy), (STANDING, standing)] {
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.insert(name, value);
        }
    }
    headers.insert(LIMIT, HeaderValue::from(tightest.of));
    headers.insert(REMAINING, HeaderValue::from(tightest.remaining));
    if let Some(reset) = tightest.reset_s {
        headers.insert(RESET, HeaderValue::from(reset));
    }
}

/// How one limit stands.
struct Standing<'a> {
    terms: &'a LimitTerms,
    of: u64,
    remaining: u64,
    /// Until it is whole again; of the one that refused, until the request fits.
    reset_s: Option<u64>,
    /// How long it takes to give out all that it has.
    window_s: Option<u64>,
    is_binding: bool,
}

impl<'a> Standing<'a> {
    fn of(state: &'a TenantState, decision: &Decision, own: &LimitUse) -> Option<Standing<'a>> {
        let (quotas, is_binding) = (state.quotas(), decision.binding == Some(own.limit));
        let terms = quotas.terms(own.limit)?;
        let wait_ms = decision.retry_after_ms.filter(|_| is_binding);
        let reset_ms = wait_ms.or_else(|| quotas.reset_ms(own, decision.at));
        let window_ns = match &terms.capacity {
            Capacity::Bucket(bucket) => {
                Some(bucket.interval_ns().saturating_mul(bucket.burst.into()))
            }
            in_flight if in_flight.is_in_flight() => None,
            Capacity::Budget(budget) => {
                budget.windows.at(decision.at).map(|window| window.end_ns - window.start_ns)
            }
        };
        Some(Standing {
            terms,
            of: own.of,
            remaining: own.remaining,
            reset_s: reset_ms.map(|ms| ms.div_ceil(1_000)),
            window_s: window_ns.map(|ns| ns.div_ceil(SECOND_NS).max(1)),
            is_binding,
        })
    }

    /// The one that refused, else the one of which the smallest part is left.
    fn is_tighter_than(&self, other: &Standing<'_>) -> bool {
        let part = |one: &Standing<'_>, of: u64| u128::from(one.remaining) * u128::from(of);
        let order = part(self, other.of).cmp(&part(other, self.of));
        self.is_binding || (!other.is_binding && order.is_lt())
    }

    /// Kong's names for a limit of requests in one of its periods.
    fn period(&self) -> Option<(&'static str, &'static str)> {
        let of_seconds = |seconds: u64| {
            let found = PERIODS.iter().find(|(known, ..)| *known == seconds);
            found.map(|(_, limit, remaining)| (*limit, *remaining))
        };
        match &self.terms.capacity {
            _ if self.terms.meter != "requests" => None,
            Capacity::Bucket(bucket) if bucket.period_ns % SECOND_NS != 0 => None,
            Capacity::Bucket(bucket) => of_seconds(bucket.period_ns / SECOND_NS),
            Capacity::Budget(budget) => match budget.windows.period() {
                Period::Day => of_seconds(86_400),
                Period::Month(_) => Some(MONTH),
                Period::Year => Some(YEAR),
                Period::Week(_) | Period::Open => None,
                Period::Seconds(seconds) => of_seconds(seconds),
            },
        }
    }
}
