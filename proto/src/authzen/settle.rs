//! Reservations in JSON: `context.reserve` of an evaluation, and the body of `POST /v1/settle`.

use super::{Fault, members, object, read_amounts, take};
use crate::owned::{OwnedReserve, lend};
use crate::tree::Tree;
use serde::Serialize;
use std::borrow::Cow;
use tollgate_engine::bounds::{RESERVATION_TTL_MS, RESERVATION_TTL_MS_MAX};
use tollgate_engine::{SettleCode, Settlement, True, Value};

/// A settle, as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settle<'b> {
    pub reservation: Cow<'b, str>,
    /// `None`: nothing was used, all is released.
    pub amounts: Option<Vec<(Cow<'b, str>, u64)>>,
}

impl Settle<'_> {
    /// Lends what was really used.
    pub fn with<T>(&self, settle: impl FnOnce(True<'_>) -> T) -> T {
        match &self.amounts {
            None => settle(True::Nothing),
            Some(amounts) => settle(True::Amounts(&lend(amounts))),
        }
    }
}

/// What became of a reservation.
#[derive(Debug, Serialize)]
pub struct SettleBody {
    pub settled: bool,
    pub reason: &'static str,
    pub reason_code: u16,
    /// Units beyond the overdraft that no limit was charged.
    pub uncharged: u64,
}

impl From<Settlement> for SettleBody {
    fn from(Settlement { code, uncharged }: Settlement) -> SettleBody {
        let (settled, reason_code) = (code.is_settled(), code.number());
        SettleBody { settled, reason: code.name(), reason_code, uncharged }
    }
}

/// What a client does about a reservation that was not settled.
pub fn what_to_do(code: SettleCode) -> &'static str {
    match code {
        SettleCode::UnknownReservation => {
            "no such reservation is kept: settle with the id that the decision gave, in time"
        }
        SettleCode::UnknownMeter => {
            "an amount is of a meter that the reservation holds nothing of; it stays held"
        }
        SettleCode::Busy => "another settles this reservation at this moment; ask again",
        _ => "settled",
    }
}

/// Reads the body of a settle: `{"reservation", "amounts": {meter: amount}}`, or `"release": true` in place of amounts.
///
/// ```
/// use tollgate_proto::authzen::settle;
/// let body = br#"{"reservation": "1f-2-00000000000000ab", "amounts": {"tokens": 812}}"#;
/// assert_eq!(settle(body).unwrap().amounts.unwrap(), [("tokens".into(), 812)]);
/// ```
///
/// # Errors
/// No JSON, no reservation, neither amounts nor `release`, or both.
pub fn settle(body: &[u8]) -> Result<Settle<'_>, Fault> {
    let mut all = members(body)?;
    let reservation = super::text(&mut all, "", "reservation")?;
    let amounts = match take(&mut all, "amounts") {
        None => None,
        Some(amounts) => Some(read_amounts(amounts, "/amounts")?),
    };
    let release = match take(&mut all, "release") {
        None => false,
        Some(Tree::Bool(release)) => release,
        Some(other) => return Err(Fault::invalid("/release", "true or false", other.kind())),
    };
    match (amounts.is_some(), release) {
        (false, false) => {
            Err(Fault::invalid("/amounts", "amounts, or `\"release\": true`", "nothing"))
        }
        (true, true) => Err(Fault::invalid("/release", "no release beside amounts", "true")),
        _ => Ok(Settle { reservation, amounts }),
    }
}

/// `true`, `false` or `{ttl_ms, known: {meter: amount}}`.
pub(super) fn reserve(tree: Tree<'_>) -> Result<Option<OwnedReserve<'_>>, Fault> {
    let known = Vec::new();
    let mut asked = match tree {
        Tree::Bool(false) => return Ok(None),
        Tree::Bool(true) => return Ok(Some(OwnedReserve { ttl_ms: RESERVATION_TTL_MS, known })),
        other => object(Some(other), "/context/reserve")?,
    };
    let ttl_ms = match take(&mut asked, "ttl_ms") {
        None => RESERVATION_TTL_MS,
        Some(Tree::Number(Value::Int(ms)))
            if (1..=RESERVATION_TTL_MS_MAX).contains(&ms.unsigned_abs()) && ms > 0 =>
        {
            ms.unsigned_abs()
        }
        Some(other) => {
            let expected = format!("1 to {RESERVATION_TTL_MS_MAX} milliseconds");
            return Err(Fault::invalid("/context/reserve/ttl_ms", &expected, other.kind()));
        }
    };
    let known = match take(&mut asked, "known") {
        None => known,
        Some(known) => read_amounts(known, "/context/reserve/known")?,
    };
    Ok(Some(OwnedReserve { ttl_ms, known }))
}

/// Amounts of other meters than requests are estimates.
pub(super) fn of_estimates<'b>(amounts: &[(Cow<'b, str>, u64)]) -> Option<OwnedReserve<'b>> {
    let is_estimate = amounts.iter().any(|(meter, amount)| meter != "requests" && *amount > 0);
    is_estimate.then(|| OwnedReserve { ttl_ms: RESERVATION_TTL_MS, known: Vec::new() })
}
