//! The gRPC door's messages: generated types, and how they become requests and come from decisions.
//!
//! A message is turned into the members of an AuthZEN body and read by the same code as the HTTP
//! door's, so that the two cannot disagree. Doubles become exact numbers or are refused.

#[allow(
    missing_debug_implementations,
    unreachable_pub,
    elided_lifetimes_in_paths,
    clippy::allow_attributes_without_reason,
    clippy::str_to_string,
    reason = "generated"
)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/tollgate.v1.rs"));
}

pub use generated::*;

use crate::authzen::{
    Asked, DecisionBody, Fault, Members, Semantic as When, Settle, TenantHeader, check_count,
};
use crate::frame::AMOUNTS_MAX;
use crate::owned::OwnedRequest;
use crate::tree::Tree;
use prost_types::value::Kind;
use prost_types::{ListValue, Struct};
use tollgate_engine::{Settlement, Value};

/// Doubles hold every whole number up to this one.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
/// Levels that a message may nest, as in JSON.
const DEPTH_MAX: u32 = crate::json::JSON_DEPTH_MAX;

impl CheckRequest {
    /// Turns the message into a request.
    ///
    /// # Errors
    /// As `authzen::evaluation`, and numbers that a double does not hold exactly.
    pub fn request<'b>(&'b self, tenant: TenantHeader<'b>) -> Result<OwnedRequest<'b>, Fault> {
        self.members()?.request(tenant).and_then(without_explain)
    }

    fn members(&self) -> Result<Members<'_>, Fault> {
        let subject = self.subject.as_ref().map(|subject| {
            let named = [("type", subject.r#type.as_str()), ("id", subject.id.as_str())];
            with_properties(&named, subject.properties.as_ref(), "/subject")
        });
        let action = self.action.as_ref().map(|action| {
            let named = [("name", action.name.as_str())];
            with_properties(&named, action.properties.as_ref(), "/action")
        });
        let resource = self.resource.as_ref().map(|resource| {
            let named = [("type", resource.r#type.as_str()), ("id", resource.id.as_str())];
            with_properties(&named, resource.properties.as_ref(), "/resource")
        });
        let context = self.context.as_ref().map(|context| tree_of(context, "/context", 1));
        Ok(Members {
            subject: subject.transpose()?,
            action: action.transpose()?,
            resource: resource.transpose()?,
            context: context.transpose()?,
        })
    }
}

impl BatchCheckRequest {
    /// Turns the message into requests; a fault of one item is that item's.
    ///
    /// # Errors
    /// As `authzen::evaluations`.
    pub fn requests<'b>(&'b self, tenant: TenantHeader<'b>) -> Result<Asked<'b>, Fault> {
        let defaults = self.defaults.as_ref().map(CheckRequest::members).transpose()?;
        let defaults = defaults.unwrap_or_default();
        let semantic = match Semantic::try_from(self.semantic) {
            Ok(Semantic::ExecuteAll) => When::ExecuteAll,
            Ok(Semantic::DenyOnFirstDeny) => When::DenyOnFirstDeny,
            Ok(Semantic::PermitOnFirstPermit) => When::PermitOnFirstPermit,
            Err(_) => {
                let got = self.semantic.to_string();
                return Err(Fault::invalid("/semantic", "0, 1 or 2", &got));
            }
        };
        if self.evaluations.is_empty() {
            return defaults.request(tenant).and_then(without_explain).map(Asked::One);
        }
        check_count(self.evaluations.len())?;
        let read = |item: &'b CheckRequest| {
            item.members()?.or(&defaults).request(tenant).and_then(without_explain)
        };
        Ok(Asked::Many { items: self.evaluations.iter().map(read).collect(), semantic })
    }
}

fn with_properties<'b>(
    named: &[(&'static str, &'b str)],
    properties: Option<&'b Struct>,
    at: &str,
) -> Result<Tree<'b>, Fault> {
    let mut members: Vec<_> =
        named.iter().map(|(name, text)| ((*name).into(), Tree::Str((*text).into()))).collect();
    if let Some(properties) = properties {
        let at = format!("{at}/properties");
        members.push(("properties".into(), tree_of(properties, &at, 2)?));
    }
    Ok(Tree::Object(members))
}

fn tree_of<'b>(object: &'b Struct, at: &str, depth: u32) -> Result<Tree<'b>, Fault> {
    let member = |(name, value): (&'b String, &'b prost_types::Value)| {
        let at = format!("{at}/{name}");
        value_of(value, &at, depth + 1).map(|tree| (name.as_str().into(), tree))
    };
    object.fields.iter().map(member).collect::<Result<_, _>>().map(Tree::Object)
}

fn value_of<'b>(value: &'b prost_types::Value, at: &str, depth: u32) -> Result<Tree<'b>, Fault> {
    if depth > DEPTH_MAX {
        return Err(Fault::invalid(at, &format!("at most {DEPTH_MAX} levels"), "more"));
    }
    match &value.kind {
        None | Some(Kind::NullValue(_)) => Ok(Tree::Null),
        Some(Kind::BoolValue(bool)) => Ok(Tree::Bool(*bool)),
        Some(Kind::StringValue(text)) => Ok(Tree::Str(text.as_str().into())),
        Some(Kind::NumberValue(number)) => exact(*number, at),
        Some(Kind::StructValue(object)) => tree_of(object, at, depth),
        Some(Kind::ListValue(ListValue { values })) => {
            let items = values.iter().map(|item| value_of(item, at, depth + 1));
            items.collect::<Result<_, _>>().map(Tree::List)
        }
    }
}

/// The number whose shortest decimal text is this double's.
fn exact(number: f64, at: &str) -> Result<Tree<'static>, Fault> {
    let text = number.to_string();
    match Value::parse_number(&text) {
        Some(value) if number.abs() <= EXACT_MAX => Ok(Tree::Number(value)),
        _ => Err(Fault::invalid(at, "a number up to 2^53, or a string", &text)),
    }
}

/// A decision that takes nothing would look like one that does.
fn without_explain(request: OwnedRequest<'_>) -> Result<OwnedRequest<'_>, Fault> {
    match request.explain {
        true => {
            Err(Fault::invalid("/context/explain", "no explanation: ask the HTTP door", "true"))
        }
        false => Ok(request),
    }
}

impl SettleRequest {
    /// What is to be settled.
    ///
    /// # Errors
    /// Neither amounts nor `release`, both, or more amounts than a request may state.
    pub fn settle(&self) -> Result<Settle<'_>, Fault> {
        let amounts = self.amounts.iter().map(|(meter, amount)| (meter.as_str().into(), *amount));
        let amounts: Vec<_> = amounts.collect();
        let expected = match (amounts.is_empty(), self.release) {
            (true, false) => "amounts, or release",
            (false, true) => "no release beside amounts",
            _ if amounts.len() > AMOUNTS_MAX => "at most 16 amounts",
            _ => {
                let reservation = self.reservation.as_str().into();
                let amounts = Some(amounts).filter(|_| !self.release);
                return Ok(Settle { reservation, amounts });
            }
        };
        Err(Fault::invalid("/amounts", expected, &amounts.len().to_string()))
    }
}

impl From<Settlement> for SettleResponse {
    fn from(settlement: Settlement) -> SettleResponse {
        let Settlement { code, uncharged } = settlement;
        let (reason, reason_code) = (code.name().to_owned(), u32::from(code.number()));
        SettleResponse { reason, reason_code, uncharged }
    }
}

impl From<DecisionBody<'_>> for CheckResponse {
    fn from(body: DecisionBody<'_>) -> CheckResponse {
        let context = body.context;
        let limits = context.limits.iter().map(|limit| Limit {
            id: limit.id.to_owned(),
            remaining: limit.remaining,
            of: limit.of,
            mode: limit.mode.to_owned(),
            exceeded: limit.exceeded,
            reset_ms: limit.reset_ms,
            failed_open: limit.failed_open,
        });
        CheckResponse {
            decision: body.decision,
            context: Some(Context {
                reason: context.reason.to_owned(),
                reason_code: u32::from(context.reason_code),
                rule: context.rule_text().unwrap_or_default(),
                version: context.version_text().unwrap_or_default(),
                limits: limits.collect(),
                limit: context.limit.unwrap_or_default().to_owned(),
                retry_after_ms: context.retry_after_ms,
                request_id: context.request_id_text().unwrap_or_default(),
                warnings: context.warnings.iter().map(|id| (*id).to_owned()).collect(),
                reservation: context.reservation.map(|id| id.to_string()).unwrap_or_default(),
                error: None,
            }),
        }
    }
}

impl From<&Fault> for CheckResponse {
    /// The answer to an item of a batch that is no request.
    fn from(fault: &Fault) -> CheckResponse {
        let error = ItemError { status: 400, message: fault.message.clone() };
        let context = Context { error: Some(error), ..Context::default() };
        CheckResponse { decision: false, context: Some(context) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_are_exact_or_refused() {
        for (number, expected) in [
            (1.0, Some(Value::Int(1))),
            (0.1, Some(Value::Dec { mantissa: 1, scale: 1 })),
            (-2.5, Some(Value::Dec { mantissa: -25, scale: 1 })),
            (EXACT_MAX, Some(Value::Int(1 << 53))),
            (EXACT_MAX * 2.0, None),
            (1e-30, None),
            (f64::NAN, None),
            (f64::INFINITY, None),
        ] {
            let found = exact(number, "/x").ok();
            assert_eq!(found, expected.map(Tree::Number), "{number}");
        }
    }
}
