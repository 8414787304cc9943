//! Reservations: what a decision takes, until it is settled, released or over.

use crate::table::{Table, tenant};
use std::collections::HashMap;
use tollgate_engine::quota::window::{Period, Windows};
use tollgate_engine::{
    Amount, Bucket, Budget, Capacity, Decision, Dimension, Entity, FailureMode, Limit, Mode, Now,
    Part, Reason, Request, ReservationId, Reserve, Scratch, SettleCode, Settlement, Stage,
    TenantState, True,
};

const OPEN: &str = "[request_definition]\nr = sub, obj, act\n[policy_definition]\np = act\n\
    [policy_effect]\ne = some(where (p.eft == allow))\n[matchers]\nm = r.act == p.act\n";
const START: u64 = 1_800_000_000_000_000_000;
const MS: u64 = 1_000_000;
const TTL_MS: u64 = 60_000;

fn budget(id: &str, meter: &str, amount: u64, period: Period, overdraft: u64) -> Limit {
    Limit {
        id: id.to_owned(),
        meter: meter.to_owned(),
        capacity: Capacity::Budget(Budget {
            amount,
            windows: Windows::new(period, "UTC").unwrap(),
        }),
        dimensions: vec![Dimension { part: Part::Subject, path: String::new() }],
        when: None,
        mode: Mode::Hard,
        stage: Stage::AfterPolicy,
        default_amount: Some(1),
        overdraft,
        warn_at: Vec::new(),
        failure_mode: FailureMode::default(),
        estimate: None,
    }
}

fn bucket(id: &str, meter: &str, (count, period_ms, burst): (u32, u64, u32)) -> Limit {
    let capacity = Capacity::Bucket(Bucket { count, period_ns: period_ms * MS, burst });
    Limit { capacity, ..budget(id, meter, 1, Period::Day, 0) }
}

/// A tenant, a table and a clock, spoken to in lines.
struct World {
    state: TenantState,
    table: Table,
    now: u64,
    ids: HashMap<String, ReservationId>,
}

impl World {
    fn new(limits: &[Limit], room: usize) -> World {
        let state = tenant(OPEN, "p, read\n", limits, 1);
        World { state, table: Table::with_reservations(4, room), now: START, ids: HashMap::new() }
    }

    fn decide(&self, who: &str, amounts: &[Amount<'_>], known: Option<&[Amount<'_>]>) -> Decision {
        let reserve = known.map(|known| Reserve { ttl_ms: TTL_MS, known });
        let request = Request {
            tenant: "acme",
            subject: Entity { kind: "", id: who },
            resource: Entity { kind: "", id: "x" },
            action: "read",
            amounts: Some(amounts),
            reserve: reserve.as_ref(),
            ..Request::default()
        };
        let mut scratch = Scratch::default();
        self.state.decide(&self.table.cells(), &request, Now(self.now), &mut scratch)
    }

    fn left(&self, who: &str) -> String {
        let decision = self.decide(who, &[], None);
        let left = decision.limits.as_slice().iter().map(|own| own.remaining.to_string());
        left.collect::<Vec<_>>().join(" ") + &self.told(&decision)
    }

    fn told(&self, decision: &Decision) -> String {
        let mut told = String::new();
        for own in decision.limits.as_slice() {
            let terms = self.state.quotas().terms(own.limit).unwrap();
            let percents = terms.warn_at.iter().zip(0..);
            for (percent, _) in percents.filter(|(_, bit)| own.warned >> bit & 1 == 1) {
                told += &format!(" told {percent}");
            }
        }
        told
    }

    /// One line: what is done, `->`, and what comes of it.
    fn line(&mut self, line: &str) {
        let (done, expected) = line.split_once(" -> ").unwrap_or((line, ""));
        let words: Vec<&str> = done.split_whitespace().collect();
        let pair = |word: &&str| {
            let (meter, amount) = word.split_once('=').unwrap();
            (meter.to_owned(), amount.parse().unwrap())
        };
        let pairs = |from: usize| -> Vec<(String, u64)> {
            words.iter().skip(from).take_while(|word| **word != "known").map(pair).collect()
        };
        let found = match words.as_slice() {
            ["tick", ms] => {
                self.now += ms.parse::<u64>().unwrap() * MS;
                format!("{} over", self.table.cells().expire(Now(self.now)))
            }
            ["left", who] => self.left(who),
            ["reserve", name, who, ..] => {
                let stated = pairs(3);
                let known = words.iter().skip_while(|word| **word != "known").skip(1);
                let known: Vec<(String, u64)> = known.map(pair).collect();
                let decision = self.decide(who, &lend(&stated), Some(&lend(&known)));
                let (reason, id) = (decision.reason, decision.reservation);
                let wait = decision.retry_after_ms.map_or_else(String::new, |ms| format!(" {ms}"));
                let told = self.told(&decision);
                let without = if id.is_none() && reason == Reason::Allow { " charged" } else { "" };
                self.ids.extend(id.map(|id| ((*name).to_owned(), id)));
                format!("{}{wait}{without}{told}", reason.name())
            }
            ["release", name] => self.settle(name, True::Nothing),
            ["settle", name, ..] => {
                let stated = pairs(2);
                self.settle(name, True::Amounts(&lend(&stated)))
            }
            _ => panic!("{line}"),
        };
        assert_eq!(found, expected, "{line}");
    }

    fn settle(&self, name: &str, truth: True<'_>) -> String {
        let Settlement { code, uncharged } =
            self.table.cells().settle(self.ids[name], truth, Now(self.now));
        match uncharged {
            0 => code.name().to_owned(),
            units => format!("{} {units}", code.name()),
        }
    }
}

fn lend(amounts: &[(String, u64)]) -> Vec<Amount<'_>> {
    amounts.iter().map(|(meter, amount)| Amount { meter, amount: *amount }).collect()
}

/// Each block is a world of its own: limits, room, lines.
#[test]
fn a_reservation_is_settled_once_and_to_the_truth() {
    let tokens = |overdraft| budget("tokens-day", "tokens", 100, Period::Day, overdraft);
    let worlds: Vec<(Vec<Limit>, usize, &str)> = vec![
        (
            vec![tokens(0)],
            4,
            "reserve R1 alice tokens=60 -> allow
             left alice -> 40
             reserve R2 alice tokens=41 -> quota-exceeded 57600000
             reserve R2 alice tokens=40 -> allow
             settle R1 tokens=10 -> settled
             left alice -> 50
             settle R1 tokens=10 -> already-settled
             settle R1 tokens=99 -> already-settled
             release R1 -> already-settled
             left alice -> 50
             release R2 -> settled
             left alice -> 90
             left bob -> 100",
        ),
        (
            // Above the reservation, up to the overdraft and one beyond.
            vec![tokens(20)],
            4,
            "reserve R1 alice tokens=90 -> allow
             settle R1 tokens=100 -> settled
             left alice -> 0
             tick 86400000 -> 0 over
             reserve R2 alice tokens=90 -> allow
             settle R2 tokens=120 -> settled
             left alice -> 0
             tick 86400000 -> 0 over
             reserve R3 alice tokens=90 -> allow
             settle R3 tokens=121 -> overdraft-exceeded 1
             reserve R4 alice tokens=1 -> quota-exceeded 57600000",
        ),
        (
            // Meters that are not held; those that are not named stand; requests are known.
            vec![
                tokens(0),
                budget("cost-day", "cost", 1000, Period::Day, 0),
                budget("calls", "requests", 9, Period::Day, 0),
            ],
            4,
            "reserve R1 alice tokens=50 cost=500 -> allow
             left alice -> 50 500 8
             settle R1 requests=0 -> unknown-meter
             settle R1 tokens=1 bytes=1 -> unknown-meter
             left alice -> 50 500 8
             settle R1 tokens=20 -> settled
             left alice -> 80 500 8",
        ),
        (
            // Over: the known part is charged, at the edge and not before; the truth may still come.
            vec![tokens(0)],
            4,
            "reserve R1 alice tokens=60 known tokens=15 -> allow
             reserve R2 bob tokens=60 -> allow
             tick 59999 -> 0 over
             left alice -> 40
             tick 1 -> 2 over
             left alice -> 85
             left bob -> 40
             tick 1 -> 0 over
             settle R1 tokens=30 -> settled-late
             left alice -> 70
             settle R1 tokens=30 -> already-settled
             settle R2 tokens=0 -> settled-late
             left bob -> 100",
        ),
        (
            // A window that is over is nobody's any more.
            vec![budget("tokens-minute", "tokens", 100, Period::Seconds(60), 0)],
            4,
            "reserve R1 alice tokens=60 -> allow
             tick 59000 -> 0 over
             reserve R2 alice tokens=10 -> allow
             tick 2000 -> 1 over
             reserve R3 alice tokens=70 -> allow
             settle R2 tokens=0 -> settled
             left alice -> 30
             settle R1 tokens=100 -> settled-late
             left alice -> 30",
        ),
        (
            // What is in flight comes back by a settle, a release, or in the end.
            vec![budget("in-flight", "concurrency", 2, Period::Open, 0)],
            4,
            "reserve R1 alice requests=1 -> allow
             reserve R2 alice requests=1 -> allow
             reserve R3 alice requests=1 -> quota-exceeded 1000
             left alice -> 0
             settle R1 concurrency=1 -> settled
             left alice -> 1
             reserve R3 alice requests=1 -> allow
             release R3 -> settled
             tick 60000 -> 1 over
             left alice -> 2",
        ),
        (
            // A bucket of tokens: what was too much comes back at once, what was missing is owed.
            vec![bucket("tokens-rate", "tokens", (10, 1000, 100))],
            4,
            "reserve R1 alice tokens=100 -> allow
             left alice -> 0
             settle R1 tokens=40 -> settled
             left alice -> 60
             tick 4000 -> 0 over
             left alice -> 100
             reserve R2 alice tokens=50 -> allow
             settle R2 tokens=101 -> overdraft-exceeded 1
             left alice -> 0
             tick 100 -> 0 over
             left alice -> 1",
        ),
        (
            // Reservations: full is an answer, takes nothing, and a settled one is used again.
            vec![tokens(0)],
            2,
            "reserve R1 alice tokens=10 -> allow
             reserve R2 alice tokens=10 -> allow
             reserve R3 alice tokens=10 -> quota-store-full
             left alice -> 80
             settle R1 tokens=10 -> settled
             reserve R3 alice tokens=10 -> allow
             settle R1 tokens=10 -> unknown-reservation
             tick 60000 -> 2 over
             reserve R4 alice tokens=10 -> allow
             reserve R5 alice tokens=10 -> allow
             settle R2 tokens=0 -> unknown-reservation
             left alice -> 50",
        ),
        (
            // Each threshold once a window, by whatever reaches it; again when use had fallen far below it.
            vec![Limit { warn_at: vec![50, 80, 100], ..tokens(20) }],
            4,
            "reserve R1 alice tokens=49 -> allow
             reserve R2 alice tokens=1 -> allow told 50
             left alice -> 50
             reserve R3 bob tokens=90 -> allow told 50 told 80
             settle R1 tokens=100 -> settled
             left alice -> 0 told 80 told 100
             reserve R4 alice tokens=1 -> quota-exceeded 57600000
             release R3 -> settled
             left bob -> 100
             reserve R3 bob tokens=46 -> allow
             reserve R4 bob tokens=4 -> allow told 50
             settle R4 tokens=0 -> settled
             left bob -> 54
             reserve R4 bob tokens=4 -> allow
             tick 57600000 -> 3 over
             reserve R5 alice tokens=80 -> allow told 50 told 80",
        ),
        (
            // Without room what is taken is charged.
            vec![tokens(0)],
            0,
            "reserve R1 alice tokens=10 -> allow charged
             left alice -> 90",
        ),
    ];
    for (limits, room, lines) in worlds {
        let mut world = World::new(&limits, room);
        lines.lines().for_each(|line| world.line(line.trim()));
    }
}

#[test]
fn nobody_makes_up_an_id() {
    let mut world = World::new(&[budget("t", "tokens", 100, Period::Day, 0)], 4);
    world.line("reserve R1 alice tokens=60 -> allow");
    let id = world.ids["R1"].to_string();
    let (place, tag) = id.split_once("-1-").unwrap();
    for other in
        [format!("{place}-2-{tag}"), format!("9-1-{tag}"), format!("{place}-1-0000000000000000")]
    {
        world.ids.insert("R2".to_owned(), other.parse().unwrap());
        world.line("settle R2 tokens=0 -> unknown-reservation");
    }
    world.line("left alice -> 40");
    // Another life of the table has other tags.
    let other = World { table: Table::with_reservations(4, 4), ..World::new(&[], 0) };
    assert_eq!(
        other.table.cells().settle(world.ids["R1"], True::Nothing, Now(START)).code,
        SettleCode::UnknownReservation
    );
}

/// Threads reserve, settle twice, release and let go; at the end everything is as the settles that counted say.
#[test]
fn threads_settle_each_reservation_once() {
    const EACH: u64 = 3_000;
    let world = World::new(&[budget("t", "tokens", 1 << 40, Period::Day, 0)], 64);
    let charged: u64 = std::thread::scope(|scope| {
        let work = |seed: u64| {
            let world = &world;
            move || {
                let mut random = fastrand::Rng::with_seed(seed);
                let mut charged = 0;
                for _ in 0..EACH {
                    let estimate = random.u64(1..100);
                    let tokens = [Amount { meter: "tokens", amount: estimate }];
                    let Decision { reason, reservation: id, .. } =
                        world.decide("alice", &tokens, Some(&[]));
                    assert_eq!(reason, Reason::Allow);
                    let truth = random.u64(0..200);
                    let amounts = [Amount { meter: "tokens", amount: truth }];
                    let settle = || {
                        let cells = world.table.cells();
                        cells.settle(id.unwrap(), True::Amounts(&amounts), Now(world.now)).code
                    };
                    let twice = std::thread::scope(|both| {
                        let other = both.spawn(settle);
                        [settle(), other.join().unwrap()]
                    });
                    let won = twice.iter().filter(|code| **code == SettleCode::Settled).count();
                    assert_eq!(won, 1, "{twice:?}");
                    charged += truth;
                }
                charged
            }
        };
        let threads: Vec<_> = (1..=2).map(|seed| scope.spawn(work(seed))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(world.left("alice"), ((1_u64 << 40) - charged).to_string());
    assert_eq!(world.table.cells().held(), 0);
}
