//! What a process leaves that dies between two writes, planted into the file, and what the others make of it.

use crate::common::{Path, START, ask, left, limit, spec, tenant};
use std::os::unix::fs::FileExt;
use tollgate_cells::Region;
use tollgate_engine::cell::CELL_WORDS;
use tollgate_engine::quota::window::Period;
use tollgate_engine::{Amount, Now, Reason, SettleCode, TenantState, True};

const HEADER_WORDS: u64 = 512;
/// One stripe: every key's home.
const CELLS: u64 = 16;
/// A member that nobody is.
const GONE: u64 = 64;

/// The words of a region's file.
struct Words(std::fs::File);

impl Words {
    fn of(path: &Path) -> Words {
        Words(std::fs::File::options().read(true).write(true).open(&path.0).unwrap())
    }

    fn get(&self, at: u64) -> u64 {
        let mut bytes = [0; 8];
        self.0.read_exact_at(&mut bytes, at * 8).unwrap();
        u64::from_ne_bytes(bytes)
    }

    fn put(&self, at: u64, word: u64) {
        self.0.write_all_at(&word.to_ne_bytes(), at * 8).unwrap();
    }

    /// The first word of the only cell that has a key.
    fn cell(&self) -> u64 {
        let cells = (0..CELLS).map(|cell| HEADER_WORDS + cell * CELL_WORDS as u64);
        let mut taken = cells.filter(|at| self.get(*at) > 1);
        let cell = taken.next().unwrap();
        assert_eq!(taken.next(), None);
        cell
    }

    /// The first word of the only place.
    fn place() -> u64 {
        HEADER_WORDS + CELLS * CELL_WORDS as u64
    }
}

fn world(path: &Path, limits: &[&str]) -> (Region, TenantState) {
    let limits: Vec<_> = limits
        .iter()
        .map(|id| match *id {
            "concurrency" => limit(id, 9, Period::Open, true),
            _ => limit(id, 1_000, Period::Day, true),
        })
        .collect();
    (path.open(&spec(16, 1)), tenant(&limits))
}

#[test]
fn a_cell_that_was_half_taken_away_is_nobodys_and_its_key_gets_another() {
    let path = Path::new();
    let (region, state) = world(&path, &["calls"]);
    let words = Words::of(&path);
    assert!(ask((&state, &region), "alice", None, START).is_allow());
    // Frozen, and the key still there: its window was over, so nothing is lost.
    let cell = words.cell();
    words.put(cell + 2, u64::MAX);
    assert_eq!(region.cells().examine(false).half_evicted, 1);
    for expected in [999, 998] {
        assert!(ask((&state, &region), "alice", None, START).is_allow());
        assert_eq!(left((&state, &region), "alice", START), expected);
    }
    assert!(!region.cells().examine(false).any());
    // A tombstone is room: sixteen keys fit into sixteen cells.
    for who in 0..15 {
        assert!(ask((&state, &region), &who.to_string(), None, START).is_allow(), "{who}");
    }
    let full = ask((&state, &region), "one more", None, START);
    assert_eq!(full.reason, Reason::QuotaStoreFull);
}

#[test]
fn a_cell_that_was_half_written_is_no_cell() {
    let path = Path::new();
    let (region, state) = world(&path, &["calls"]);
    let words = Words::of(&path);
    // Everything but the first word of the key, which comes last.
    assert!(ask((&state, &region), "alice", None, START).is_allow());
    let cell = words.cell();
    for first in [0, 1] {
        words.put(cell, first);
        assert!(ask((&state, &region), "alice", None, START).is_allow());
        assert_eq!(left((&state, &region), "alice", START), 999);
    }
}

#[test]
fn doubled_and_misplaced_cells_are_found_and_put_right() {
    let path = Path::new();
    let state = tenant(&[limit("calls", 1_000, Period::Day, true)]);
    let region = path.open(&spec(32, 1));
    let words = Words::of(&path);
    assert!(ask((&state, &region), "alice", None, START).is_allow());
    let all = (0..32).map(|cell| HEADER_WORDS + cell * 8);
    let taken: Vec<u64> = all.clone().filter(|at| words.get(*at) > 1).collect();
    let [cell] = taken.as_slice() else { panic!("{taken:?}") };
    let stripe = (cell - HEADER_WORDS) / 128;
    let free_in = |wanted: u64| {
        let mut free = all.clone().filter(|at| (at - HEADER_WORDS) / 128 == wanted);
        free.rfind(|at| words.get(*at) == 0).unwrap()
    };
    for (copy, kind) in [(free_in(stripe), "doubled"), (free_in(1 - stripe), "misplaced")] {
        for word in (0..8).rev() {
            words.put(copy + word, words.get(cell + word));
        }
        let found = region.cells().examine(false);
        let expected = (u64::from(kind == "doubled"), u64::from(kind == "misplaced"));
        assert_eq!((found.doubled, found.misplaced), expected, "{found:?}");
        assert_eq!(region.cells().examine(true), found);
        assert!(!region.cells().examine(false).any());
    }
    // Both halves of the doubled one are counted.
    assert_eq!(left((&state, &region), "alice", START), 998);
}

/// Reserves 400 of the only limit and says the id.
fn reserve(region: &Region, state: &TenantState) -> tollgate_engine::ReservationId {
    let amounts = [Amount { meter: "tokens", amount: 400 }];
    let decision = ask((state, region), "alice", Some(&amounts), START);
    decision.reservation.unwrap()
}

#[test]
fn a_place_whose_owner_died_is_free_or_held_again() {
    // Phase of the place, line and target of the change that was going on, the cell's use and the line's amount then;
    // what a settle of 150 says and what is used behind it.
    let (filling, charging) = (1, 5);
    for (phase, doing, target, used, amount, expected) in [
        // Before the cell was changed, and behind it: of the line in doubt the smaller amount is believed.
        (charging, 0, 0, 400, 400, Some(150)),
        (charging, 1, 150, 400, 400, Some(400)),
        (charging, 1, 150, 150, 400, Some(150)),
        (charging, 1, 150, 150, 150, Some(150)),
        (charging, 0, 150, 150, 150, Some(150)),
        (charging, 1, 500, 400, 400, Some(150)),
        (charging, 1, 500, 500, 400, Some(250)),
        (charging, 1, 500, 500, 500, Some(150)),
        // Nobody was told of it: what it took stays taken.
        (filling, 0, 0, 400, 400, None),
    ] {
        let path = Path::new();
        let (region, state) = world(&path, &["tokens"]);
        let (words, place) = (Words::of(&path), Words::place());
        let id = reserve(&region, &state);
        let generation = words.get(place) >> 8;
        words.put(place, GONE << 40 | generation << 8 | phase);
        words.put(place + 3, doing);
        words.put(place + 4, target);
        words.put(words.cell() + 2, used);
        words.put(place + 8 + 2, amount);
        let row = format!("phase {phase}, line {doing} to {target}, used {used}, {amount} held");
        let truth = [Amount { meter: "tokens", amount: 150 }];
        let settle = || region.cells().settle(id, True::Amounts(&truth), START).code;
        assert_eq!(settle(), SettleCode::Busy, "{row}");
        assert_eq!(region.cells().recover(), 1, "{row}");
        assert_eq!(region.cells().recover(), 0, "{row}");
        let code = settle();
        match expected {
            Some(expected) => {
                assert_eq!(code, SettleCode::Settled, "{row}");
                assert_eq!(left((&state, &region), "alice", START), 1_000 - expected, "{row}");
            }
            None => {
                assert_eq!(code, SettleCode::UnknownReservation, "{row}");
                assert_eq!(left((&state, &region), "alice", START), 600, "{row}");
                reserve(&region, &state);
                assert_eq!(region.cells().held(), 1, "{row}");
            }
        }
    }
}

#[test]
fn a_place_of_ones_own_number_is_recovered_when_it_is_given_anew() {
    let path = Path::new();
    let (region, state) = world(&path, &["tokens"]);
    let (words, place) = (Words::of(&path), Words::place());
    let id = reserve(&region, &state);
    let generation = words.get(place) >> 8;
    // Alive: nobody takes it away.
    words.put(place, 1 << 40 | generation << 8 | 5);
    assert_eq!(path.open(&spec(16, 1)).cells().recover(), 0);
    drop(region);
    let region = path.open(&spec(16, 1));
    let truth = [Amount { meter: "tokens", amount: 10 }];
    let settled = region.cells().settle(id, True::Amounts(&truth), START);
    assert_eq!(settled.code, SettleCode::Settled);
    assert_eq!(left((&state, &region), "alice", START), 990);
}

#[test]
fn what_is_in_flight_is_what_is_held_for_whoever_is_alone() {
    let path = Path::new();
    let (region, state) = world(&path, &["concurrency"]);
    let words = Words::of(&path);
    assert!(ask((&state, &region), "alice", None, START).reservation.is_some());
    // Three died between taking and holding.
    words.put(words.cell() + 2, 4);
    assert_eq!(left((&state, &region), "alice", START), 5);
    let second = path.open(&spec(16, 1));
    assert_eq!(left((&state, &second), "alice", START), 5);
    drop((region, second));
    assert_eq!(left((&state, &path.open(&spec(16, 1))), "alice", START), 8);
}

#[test]
fn what_is_settled_waits_for_the_journal() {
    let path = Path::new();
    let (region, state) = world(&path, &["tokens"]);
    let id = reserve(&region, &state);
    let truth = [Amount { meter: "tokens", amount: 150 }];
    let later = Now(START.0 + 5);
    assert_eq!(region.cells().settle(id, True::Amounts(&truth), later).code, SettleCode::Settled);
    drop(region);
    // Whoever settled it is gone; the next one finds it.
    let region = path.open(&spec(16, 1));
    let unkept = region.cells().unkept();
    let [usage] = unkept.as_slice() else { panic!("{unkept:?}") };
    assert_eq!((usage.id, usage.at, usage.lines.len()), (id, later, 1));
    assert_eq!((usage.lines[0].amount, usage.lines[0].cell[2]), (150, 150));
    assert_eq!(region.cells().usage(id).as_ref(), Some(usage));
    let amounts = [Amount { meter: "tokens", amount: 1 }];
    let full = ask((&state, &region), "alice", Some(&amounts), START);
    assert_eq!(full.reason, Reason::QuotaStoreFull);
    region.cells().kept(id);
    assert_eq!(region.cells().unkept(), []);
    assert!(ask((&state, &region), "alice", Some(&amounts), START).is_allow());
}
