//! Reservations: what a decision took until its true amounts are known, as words in a flat table beside the cells.
//!
//! Whoever settles one, or finds it expired, first makes its place its own by one exchange of the place's state word: a
//! reservation is settled once, whoever asks and however often. What it holds is in the cells from the beginning; settling
//! gives back what was too much and takes what was missing, up to the overdraft.

use crate::bounds::LIMITS_PER_REQUEST_MAX;
use crate::cell::{CELL_WORDS, Cells, Key};
use crate::now::Now;
use crate::quota::settle::{SettleCode, Settlement, True};
use crate::request::Amount;
use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

/// Words of one place: a line of its own, then a line for each limit that it holds something of.
pub const RESERVATION_WORDS: usize = CELL_WORDS * (1 + LIMITS_PER_REQUEST_MAX);
/// Reservations that are looked at before the table counts as full.
const PROBES_MAX: usize = 256;

/// Words of a place's first line.
const STATE: usize = 0;
const EXPIRES: usize = 1;
const COUNT: usize = 2;

/// What a place is, in the low byte of its state word; its generation is above.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Free,
    /// Somebody writes or settles it.
    Busy,
    Held,
    Settled,
    /// The known part is charged, the rest given back; the truth may still come.
    Expired,
}

impl Phase {
    fn of(state: u64) -> Phase {
        match state & 0xff {
            0 => Phase::Free,
            2 => Phase::Held,
            3 => Phase::Settled,
            4 => Phase::Expired,
            _ => Phase::Busy,
        }
    }

    fn at(self, generation: u32) -> u64 {
        u64::from(generation) << 8 | self as u64
    }
}

fn generation_of(state: u64) -> u32 {
    u32::try_from(state >> 8 & u64::from(u32::MAX)).unwrap_or(0)
}

/// By which a reservation is settled. Who was not given it cannot make it up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReservationId {
    place: u32,
    generation: u32,
    tag: u64,
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

/// Reservations, lent with the cells.
#[derive(Debug, Clone, Copy)]
pub struct Reservations<'t> {
    words: &'t [AtomicU64],
    next: &'t AtomicU64,
    run: u64,
}

/// What a reservation holds of one limit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held {
    pub(crate) key: Key,
    pub(crate) amount: u64,
    /// What is charged if nobody settles.
    pub(crate) known: u64,
    pub(crate) meter: MeterHash,
    pub(crate) kind: Kind,
    /// The most that may be used, the overdraft counted.
    pub(crate) cap: u64,
}

/// The identity of a meter's name.
pub(crate) type MeterHash = [u64; 2];

/// The kind of a limit, as far as settling asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Budget,
    /// Given back whole, whatever the true amounts are.
    InFlight,
    Bucket {
        interval_ns: u64,
    },
}

impl Kind {
    fn word(self) -> u64 {
        match self {
            Kind::Budget => 0,
            Kind::InFlight => u64::MAX,
            Kind::Bucket { interval_ns } => interval_ns,
        }
    }

    fn of(word: u64) -> Kind {
        match word {
            0 => Kind::Budget,
            u64::MAX => Kind::InFlight,
            interval_ns => Kind::Bucket { interval_ns },
        }
    }
}

impl Held {
    fn words(&self) -> [u64; CELL_WORDS] {
        let ([first, second], [meter_first, meter_second]) = (self.key.words(), self.meter);
        let (amount, known, kind) = (self.amount, self.known, self.kind.word());
        [first, second, amount, known, meter_first, meter_second, kind, self.cap]
    }

    fn of(words: [u64; CELL_WORDS]) -> Held {
        let [first, second, amount, known, meter_first, meter_second, kind, cap] = words;
        Held {
            key: Key::of_words([first, second]),
            amount,
            known,
            meter: [meter_first, meter_second],
            kind: Kind::of(kind),
            cap,
        }
    }
}

impl<'t> Reservations<'t> {
    /// Lends places of `RESERVATION_WORDS` words each, all 0 at first. `next` is where the search for a free one goes on. `run`
    /// differs with each life of the table: ids of an earlier one mean nothing.
    pub fn new(words: &'t [AtomicU64], next: &'t AtomicU64, run: u64) -> Reservations<'t> {
        Reservations { words, next, run }
    }

    fn len(&self) -> usize {
        self.words.len() / RESERVATION_WORDS
    }

    fn place(&self, at: usize) -> Option<Place<'t>> {
        let start = at.checked_mul(RESERVATION_WORDS)?;
        self.words.get(start..start.checked_add(RESERVATION_WORDS)?).map(|words| Place { words })
    }
}

impl Cells<'_> {
    /// The identity of a meter.
    pub(crate) fn meter(&self, name: &str) -> MeterHash {
        let mut hasher = self.values();
        hasher.value(0, name.as_bytes());
        hasher.finish().words()
    }

    /// Keeps what a decision took until it is settled; `None` if there is no place.
    pub(crate) fn hold(&self, held: &[Option<Held>], expires_ns: u64) -> Option<ReservationId> {
        let table = self.reservations()?;
        for _ in 0..PROBES_MAX.min(table.len()) {
            let turn = table.next.fetch_add(1, Ordering::Relaxed);
            let at = usize::try_from(turn).unwrap_or(0).checked_rem(table.len())?;
            let Some(place) = table.place(at) else { continue };
            let state = place.load(STATE);
            let generation = generation_of(state).wrapping_add(1);
            let is_free = !matches!(Phase::of(state), Phase::Busy | Phase::Held);
            if !is_free || !place.turn(state, Phase::Busy.at(generation)) {
                continue;
            }
            place.fill(held, expires_ns);
            place.store(STATE, Phase::Held.at(generation));
            let place = u32::try_from(at).ok()?;
            return Some(ReservationId {
                place,
                generation,
                tag: self.tag(table, place, generation),
            });
        }
        None
    }

    fn tag(&self, table: Reservations<'_>, place: u32, generation: u32) -> u64 {
        let mut hasher = self.values();
        for word in [table.run, u64::from(place), u64::from(generation)] {
            hasher.value(0, &word.to_le_bytes());
        }
        let [tag, _] = hasher.finish().words();
        tag
    }

    /// Charges the true amounts of a reservation. Once: who asks again is told so.
    pub fn settle(&self, id: ReservationId, truth: True<'_>, now: Now) -> Settlement {
        let refuse = |code| Settlement { code, uncharged: 0 };
        let found = self.reservations().and_then(|table| {
            let is_ours = self.tag(table, id.place, id.generation) == id.tag;
            table.place(usize::try_from(id.place).ok()?).filter(|_| is_ours)
        });
        let Some(place) = found else { return refuse(SettleCode::UnknownReservation) };
        loop {
            let state = place.load(STATE);
            if generation_of(state) != id.generation {
                return refuse(SettleCode::UnknownReservation);
            }
            let is_late = match Phase::of(state) {
                Phase::Held => false,
                Phase::Expired => true,
                Phase::Settled => return refuse(SettleCode::AlreadySettled),
                Phase::Busy => return refuse(SettleCode::Busy),
                Phase::Free => return refuse(SettleCode::UnknownReservation),
            };
            // Nobody else writes the lines of a place that is held.
            if let True::Amounts(amounts) = truth
                && !amounts.iter().all(|amount| self.holds(place, amount))
            {
                return refuse(SettleCode::UnknownMeter);
            }
            if !place.turn(state, Phase::Busy.at(id.generation)) {
                continue;
            }
            let charged = |held: &Held| if is_late { held.known } else { held.amount };
            let uncharged =
                self.charge(place, now, |held| (charged(held), self.truth(held, truth)));
            place.store(STATE, Phase::Settled.at(id.generation));
            let code = match (uncharged, is_late) {
                (0, false) => SettleCode::Settled,
                (0, true) => SettleCode::SettledLate,
                _ => SettleCode::OverdraftExceeded,
            };
            return Settlement { code, uncharged };
        }
    }

    fn holds(&self, place: Place<'_>, amount: &Amount<'_>) -> bool {
        let meter = self.meter(amount.meter);
        place.held().any(|held| held.meter == meter)
    }

    /// What a limit is to have been charged.
    fn truth(&self, held: &Held, truth: True<'_>) -> u64 {
        match (held.kind, truth) {
            (Kind::InFlight, _) | (_, True::Nothing) => 0,
            (_, True::Amounts(amounts)) => {
                let stated = amounts.iter().find(|amount| self.meter(amount.meter) == held.meter);
                // Of what nothing is said, the estimate stands.
                stated.map_or(held.amount, |amount| amount.amount)
            }
        }
    }

    /// Brings the limits of a place from what they were charged to what they are to be; says how much did not fit.
    fn charge(&self, place: Place<'_>, now: Now, change: impl Fn(&Held) -> (u64, u64)) -> u64 {
        let one = |held: Held| {
            let (from, to) = change(&held);
            self.find(held.key).map_or(0, |cell| held.settle(cell, from, to, now.0))
        };
        place.held().map(one).max().unwrap_or(0)
    }

    /// Ends the reservations whose time is over: the known part is charged, the rest given back. How many there were.
    pub fn expire(&self, now: Now) -> u64 {
        let Some(table) = self.reservations() else { return 0 };
        let mut expired = 0;
        for place in (0..table.len()).filter_map(|at| table.place(at)) {
            let state = place.load(STATE);
            let is_over = Phase::of(state) == Phase::Held && place.load(EXPIRES) <= now.0;
            let generation = generation_of(state);
            if !is_over || !place.turn(state, Phase::Busy.at(generation)) {
                continue;
            }
            self.charge(place, now, |held| (held.amount, held.known));
            place.store(STATE, Phase::Expired.at(generation));
            expired += 1;
        }
        expired
    }

    /// How many reservations are held. Walks the whole table: for status, never for a decision.
    pub fn held(&self) -> usize {
        let Some(table) = self.reservations() else { return 0 };
        let all = (0..table.len()).filter_map(|at| table.place(at));
        all.filter(|place| Phase::of(place.load(STATE)) == Phase::Held).count()
    }
}

/// One place.
#[derive(Clone, Copy)]
struct Place<'t> {
    words: &'t [AtomicU64],
}

impl<'t> Place<'t> {
    fn load(&self, word: usize) -> u64 {
        self.words.get(word).map_or(0, |word| word.load(Ordering::Acquire))
    }

    fn store(&self, word: usize, value: u64) {
        if let Some(word) = self.words.get(word) {
            word.store(value, Ordering::Release);
        }
    }

    fn turn(&self, from: u64, to: u64) -> bool {
        self.words.get(STATE).is_some_and(|state| {
            state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
        })
    }

    fn fill(&self, held: &[Option<Held>], expires_ns: u64) {
        self.store(EXPIRES, expires_ns);
        self.store(COUNT, held.len() as u64);
        for (line, held) in held.iter().flatten().enumerate() {
            for (at, word) in held.words().into_iter().enumerate() {
                self.store((line + 1) * CELL_WORDS + at, word);
            }
        }
    }

    fn held(self) -> impl Iterator<Item = Held> + use<'t> {
        let count = usize::try_from(self.load(COUNT)).unwrap_or(0).min(LIMITS_PER_REQUEST_MAX);
        (1..=count)
            .map(move |line| Held::of(std::array::from_fn(|at| self.load(line * CELL_WORDS + at))))
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
