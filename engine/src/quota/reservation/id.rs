//! Ids of reservations: what a client holds, and cannot make up.

use std::fmt;
use std::str::FromStr;

/// By which a reservation is settled. Who was not given it cannot make it up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReservationId {
    pub(super) place: u32,
    pub(super) generation: u32,
    pub(super) tag: u64,
}

impl fmt::Display for ReservationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{:x}-{:016x}", self.place, self.generation, self.tag)
    }
}

/// The text is no id of a reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoReservationId;

impl FromStr for ReservationId {
    type Err = NoReservationId;

    fn from_str(text: &str) -> Result<ReservationId, NoReservationId> {
        let mut parts = text.split('-');
        let mut next = || parts.next().ok_or(NoReservationId);
        let (place, generation, tag) = (next()?, next()?, next()?);
        let narrow = |text| u32::from_str_radix(text, 16).map_err(|_| NoReservationId);
        let id = ReservationId {
            place: narrow(place)?,
            generation: narrow(generation)?,
            tag: u64::from_str_radix(tag, 16).map_err(|_| NoReservationId)?,
        };
        // One id has one text.
        if id.to_string() == text { Ok(id) } else { Err(NoReservationId) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_one_text() {
        let id = ReservationId { place: 0x1f, generation: 2, tag: 0xab };
        assert_eq!(id.to_string(), "1f-2-00000000000000ab");
        assert_eq!("1f-2-00000000000000ab".parse(), Ok(id));
        for text in [
            "",
            "1f-2",
            "1F-2-00000000000000ab",
            "01f-2-00000000000000ab",
            "1f-2-ab",
            "1f-2-0-0",
            "+1-2-00000000000000ab",
        ] {
            assert_eq!(text.parse::<ReservationId>(), Err(NoReservationId), "{text}");
        }
    }
}
