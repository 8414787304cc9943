//! One place of the table of reservations: its words, whose turn it is, and what it holds of each limit.
//!
//! A process may end between any two writes. Before a limit's cell is changed its line and the target are noted, and
//! behind it the line says the new amount: of a place whose owner is gone at most one line is in doubt, and of that one
//! the smaller of both amounts is believed. So whoever settles next charges too much at most.

use crate::atomic::{AtomicU64, Ordering};
use crate::bounds::LIMITS_PER_REQUEST_MAX;
use crate::cell::{CELL_WORDS, Key};

/// Words of one place: a line of its own, then a line for each limit that it holds something of.
pub const RESERVATION_WORDS: usize = CELL_WORDS * (1 + LIMITS_PER_REQUEST_MAX);

/// Words of a place's first line.
const STATE: usize = 0;
/// When it expires; once it is settled, when that was.
const TIME: usize = 1;
const COUNT: usize = 2;
/// The line whose cell is being changed, counted from 1, and what it is to be charged.
const DOING: usize = 3;
const TARGET: usize = 4;
/// The word of a line that says what its limit is charged.
const AMOUNT: usize = 2;

/// What a place is, in the low byte of its state word; above are its generation and, while somebody
/// works on it, who.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Free,
    /// Its lines are being written.
    Filling,
    Held,
    /// Settled, and no journal has it yet.
    Settled,
    /// The known part is charged, the rest given back; the truth may still come.
    Expired,
    /// Its cells are being changed.
    Charging,
    /// Settled, and nobody needs it any more.
    Kept,
    /// What no version writes.
    Unknown,
}

impl Phase {
    fn of(state: u64) -> Phase {
        match state & 0xff {
            0 => Phase::Free,
            1 => Phase::Filling,
            2 => Phase::Held,
            3 => Phase::Settled,
            4 => Phase::Expired,
            5 => Phase::Charging,
            6 => Phase::Kept,
            _ => Phase::Unknown,
        }
    }
}

/// The state word of a place, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) phase: Phase,
    pub(super) generation: u32,
    /// The process that fills or charges; 0 in other phases.
    pub(super) member: u16,
}

impl Turn {
    fn of(state: u64) -> Turn {
        Turn {
            phase: Phase::of(state),
            generation: u32::try_from(state >> 8 & u64::from(u32::MAX)).unwrap_or(0),
            member: u16::try_from(state >> 40 & u64::from(u16::MAX)).unwrap_or(0),
        }
    }

    fn word(self) -> u64 {
        u64::from(self.member) << 40 | u64::from(self.generation) << 8 | self.phase as u64
    }

    /// The same generation in another phase.
    pub(super) fn to(self, phase: Phase, member: u16) -> Turn {
        Turn { phase, member, ..self }
    }
}

/// What a reservation holds of one limit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held {
    pub(crate) key: Key,
    /// What the limit is charged now.
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
    /// No limit: the truth is learned from, and nothing charged.
    Learned {
        /// In per cent.
        quantile: u8,
    },
}

/// Set in the word of what is learned; no interval is so long.
const LEARNED: u64 = 1 << 63;

impl Kind {
    fn word(self) -> u64 {
        match self {
            Kind::Budget => 0,
            Kind::InFlight => u64::MAX,
            Kind::Bucket { interval_ns } => interval_ns,
            Kind::Learned { quantile } => LEARNED | u64::from(quantile),
        }
    }

    fn of(word: u64) -> Kind {
        match word {
            0 => Kind::Budget,
            u64::MAX => Kind::InFlight,
            learned if learned & LEARNED != 0 => {
                Kind::Learned { quantile: u8::try_from(learned & !LEARNED).unwrap_or(0) }
            }
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

/// One place.
#[derive(Clone, Copy)]
pub(super) struct Place<'t> {
    pub(super) words: &'t [AtomicU64],
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

    pub(super) fn turn(&self) -> Turn {
        Turn::of(self.load(STATE))
    }

    /// Takes the place from one turn to another unless somebody else did.
    pub(super) fn pass(&self, from: Turn, to: Turn) -> bool {
        self.words.get(STATE).is_some_and(|state| {
            let (from, to) = (from.word(), to.word());
            state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
        })
    }

    /// Ends one's own turn.
    pub(super) fn leave(&self, to: Turn) {
        self.store(STATE, to.word());
    }

    pub(super) fn fill(&self, held: &[Option<Held>], expires_ns: u64) {
        self.store(TIME, expires_ns);
        self.store(COUNT, held.len() as u64);
        self.store(DOING, 0);
        for (line, held) in held.iter().flatten().enumerate() {
            for (at, word) in held.words().into_iter().enumerate() {
                self.store((line + 1) * CELL_WORDS + at, word);
            }
        }
    }

    /// When it expires, or when it was settled.
    pub(super) fn time_ns(&self) -> u64 {
        self.load(TIME)
    }

    pub(super) fn settled_at(&self, now_ns: u64) {
        self.store(TIME, now_ns);
    }

    fn count(&self) -> usize {
        usize::try_from(self.load(COUNT)).unwrap_or(0).min(LIMITS_PER_REQUEST_MAX)
    }

    pub(super) fn held(self) -> impl Iterator<Item = Held> + use<'t> {
        (1..=self.count())
            .map(move |line| Held::of(std::array::from_fn(|at| self.load(line * CELL_WORDS + at))))
    }

    /// Changes what each line is charged: `change` does it and says what it came to.
    pub(super) fn charge(self, target: impl Fn(&Held) -> u64, change: impl Fn(&Held, u64) -> u64) {
        for (line, held) in (1_usize..).zip(self.held()) {
            let to = target(&held);
            self.store(TARGET, to);
            self.store(DOING, line as u64);
            let charged = change(&held, to);
            self.store(line * CELL_WORDS + AMOUNT, charged);
            self.store(DOING, 0);
        }
    }

    /// What whoever is gone left half done: the smaller amount is believed.
    pub(super) fn settle_doubt(self) {
        let doing = usize::try_from(self.load(DOING)).unwrap_or(0);
        if (1..=self.count()).contains(&doing) {
            let amount = doing * CELL_WORDS + AMOUNT;
            self.store(amount, self.load(amount).min(self.load(TARGET)));
        }
        self.store(DOING, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_has_one_word() {
        for phase in [
            Phase::Free,
            Phase::Filling,
            Phase::Held,
            Phase::Settled,
            Phase::Expired,
            Phase::Charging,
            Phase::Kept,
        ] {
            for (generation, member) in [(0, 0), (u32::MAX, u16::MAX), (7, 3)] {
                let turn = Turn { phase, generation, member };
                assert_eq!(Turn::of(turn.word()), turn);
            }
        }
        assert_eq!(Turn::of(0xff).phase, Phase::Unknown);
    }

    #[test]
    fn a_kind_has_one_word() {
        let bucket = Kind::Bucket { interval_ns: LEARNED - 1 };
        for kind in [Kind::Budget, Kind::InFlight, bucket, Kind::Learned { quantile: 99 }] {
            assert_eq!(Kind::of(kind.word()), kind);
        }
    }

    #[test]
    fn of_a_line_in_doubt_the_smaller_amount_is_believed() {
        let words: Vec<AtomicU64> = (0..RESERVATION_WORDS).map(|_| AtomicU64::new(0)).collect();
        let place = Place { words: &words };
        let held = |amount| Held {
            key: Key::of_words([9, 9]),
            amount,
            known: 1,
            meter: [5, 5],
            kind: Kind::Budget,
            cap: 100,
        };
        let amounts = || place.held().map(|held| held.amount).collect::<Vec<_>>();
        for (doing, target, expected) in [
            (0, 3, [10, 20]),
            (1, 3, [3, 20]),
            (2, 30, [10, 20]),
            (2, 5, [10, 5]),
            (3, 0, [10, 20]),
            (u64::MAX, 0, [10, 20]),
        ] {
            place.fill(&[Some(held(10)), Some(held(20))], 1);
            place.store(DOING, doing);
            place.store(TARGET, target);
            place.settle_doubt();
            assert_eq!(amounts(), expected, "line {doing}, target {target}");
            assert_eq!(place.load(DOING), 0);
        }
    }
}
