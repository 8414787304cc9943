//! Reservations in frames: a request that reserves, and a settle.

use super::{
    AMOUNTS_MAX, FrameError, Reader, Reply, begin_frame, check, end_frame, kind, put_request,
    put_text, read_decision,
};
use crate::authzen::Settle;
use std::borrow::Cow;
use tollgate_engine::bounds::{RESERVATION_TTL_MS, RESERVATION_TTL_MS_MAX};
use tollgate_engine::{Amount, Request, ReservationId, Reserve, Settlement};

/// Reads the body of a reserve frame and lends the request to `ask`.
///
/// # Errors
/// `Malformed`, also for a time beyond `RESERVATION_TTL_MS_MAX` and for bytes behind the request.
pub fn reserve<T>(body: &[u8], ask: impl FnOnce(&Request<'_>) -> T) -> Result<T, FrameError> {
    let mut reader = Reader { bytes: body };
    let ttl_ms = match reader.u64()? {
        0 => RESERVATION_TTL_MS,
        ttl_ms @ 1..=RESERVATION_TTL_MS_MAX => ttl_ms,
        _ => return Err(FrameError::Malformed),
    };
    let known = reader.pairs()?;
    let known: Vec<Amount<'_>> =
        known.iter().map(|(meter, amount)| Amount { meter, amount: *amount }).collect();
    let reserve = Reserve { ttl_ms, known: &known };
    check(reader.bytes, |request| ask(&Request { reserve: Some(&reserve), ..*request }))
}

/// Appends a reserve frame of a request that says how.
pub fn put_reserve(out: &mut Vec<u8>, id: u32, request: &Request<'_>) {
    let start = begin_frame(out, kind::RESERVE, id);
    let (ttl_ms, known) = request.reserve.map_or((0, [].as_slice()), |r| (r.ttl_ms, r.known));
    out.extend(ttl_ms.to_le_bytes());
    put_pairs(out, known.iter().map(|known| (known.meter, known.amount)));
    put_request(out, request);
    end_frame(out, start);
}

/// Appends the id of a reservation to the body of a reserved frame, behind which a decision stands.
pub fn put_reservation(out: &mut Vec<u8>, reservation: Option<ReservationId>) {
    put_text(out, &reservation.map(|id| id.to_string()).unwrap_or_default());
}

/// Reads the body of a reserved frame: the id of the reservation, empty without one, and the decision.
///
/// # Errors
/// `Malformed`.
pub fn read_reserved(body: &[u8]) -> Result<(&str, Reply), FrameError> {
    let mut reader = Reader { bytes: body };
    let reservation = reader.text()?;
    Ok((reservation, read_decision(reader.bytes)?))
}

/// Reads the body of a settle frame.
///
/// # Errors
/// `Malformed`.
pub fn read_settle(body: &[u8]) -> Result<Settle<'_>, FrameError> {
    let mut reader = Reader { bytes: body };
    let reservation = Cow::Borrowed(reader.text()?);
    let amounts = match reader.u8()? {
        0 => None,
        1 => Some(reader.pairs()?),
        _ => return Err(FrameError::Malformed),
    };
    match reader.bytes {
        [] => Ok(Settle { reservation, amounts }),
        _ => Err(FrameError::Malformed),
    }
}

/// Appends a settle frame.
pub fn put_settle(out: &mut Vec<u8>, id: u32, settle: &Settle<'_>) {
    let start = begin_frame(out, kind::SETTLE, id);
    put_text(out, &settle.reservation);
    match &settle.amounts {
        None => out.push(0),
        Some(amounts) => {
            out.push(1);
            put_pairs(out, amounts.iter().map(|(meter, amount)| (meter.as_ref(), *amount)));
        }
    }
    end_frame(out, start);
}

/// Appends a settled frame.
pub fn put_settled(out: &mut Vec<u8>, id: u32, settlement: Settlement) {
    let start = begin_frame(out, kind::SETTLED, id);
    out.extend(settlement.code.number().to_le_bytes());
    out.extend(settlement.uncharged.to_le_bytes());
    end_frame(out, start);
}

/// Reads the body of a settled frame: the code's number and the units that were not charged.
///
/// # Errors
/// `Malformed`.
pub fn read_settled(body: &[u8]) -> Result<(u16, u64), FrameError> {
    let mut reader = Reader { bytes: body };
    let read = (reader.u16()?, reader.u64()?);
    match reader.bytes {
        [] => Ok(read),
        _ => Err(FrameError::Malformed),
    }
}

fn put_pairs<'a>(out: &mut Vec<u8>, pairs: impl ExactSizeIterator<Item = (&'a str, u64)>) {
    out.push(u8::try_from(pairs.len()).unwrap_or(u8::MAX));
    for (meter, amount) in pairs {
        put_text(out, meter);
        out.extend(amount.to_le_bytes());
    }
}

impl<'a> Reader<'a> {
    /// Meters, each once, with their amounts.
    fn pairs(&mut self) -> Result<Vec<(Cow<'a, str>, u64)>, FrameError> {
        let count = usize::from(self.u8()?);
        if count > AMOUNTS_MAX {
            return Err(FrameError::Malformed);
        }
        let mut pairs: Vec<(Cow<'a, str>, u64)> = Vec::with_capacity(count);
        for _ in 0..count {
            let (meter, amount) = (self.text()?, self.u64()?);
            if pairs.iter().any(|(known, _)| known == meter) {
                return Err(FrameError::Malformed);
            }
            pairs.push((Cow::Borrowed(meter), amount));
        }
        Ok(pairs)
    }
}
