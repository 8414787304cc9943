//! Learned estimates as callers meet them: what is reserved far from a limit and near it, and what comes of it.

use crate::table::{Table, tenant};
use std::collections::VecDeque;
use tollgate_engine::quota::window::{Period, Windows};
use tollgate_engine::{
    Amount, Attribute, Budget, Capacity, Decision, Dimension, Entity, Estimate, FailureMode, Limit,
    Mode, Now, Part, Reason, Request, ReservationId, Reserve, Scratch, Stage, TenantState, True,
    Value,
};

const OPEN: &str = "[request_definition]\nr = sub, obj, act\n[policy_definition]\np = act\n\
    [policy_effect]\ne = some(where (p.eft == allow))\n[matchers]\nm = r.act == p.act\n";
const DAY_NS: u64 = 86_400_000_000_000;
/// The first moment of a week since 1970, counted in sevens of days, and of a year far from now.
const START: u64 = 7 * DAY_NS * 3_000;
const WORST: u64 = 8_000;

fn tokens(amount: u64, estimate: Option<u8>) -> Limit {
    let windows = Windows::new(Period::Year, "UTC").unwrap();
    Limit {
        id: "tokens-year".to_owned(),
        meter: "tokens".to_owned(),
        capacity: Capacity::Budget(Budget { amount, windows }),
        dimensions: Vec::new(),
        when: None,
        mode: Mode::Hard,
        stage: Stage::AfterPolicy,
        default_amount: Some(WORST),
        overdraft: 3 * WORST,
        warn_at: Vec::new(),
        failure_mode: FailureMode::default(),
        estimate: estimate.map(|quantile| Estimate {
            quantile,
            by: vec![Dimension { part: Part::Resource, path: "model".to_owned() }],
        }),
    }
}

/// One tenant whose only counter is spoken to.
struct World {
    state: TenantState,
    table: Table,
    now: u64,
}

impl World {
    fn new(limit: Limit) -> World {
        let state = tenant(OPEN, "p, read\n", &[limit], 1);
        World { state, table: Table::with_reservations(4, 2_000), now: START }
    }

    fn ask(&self, model: &str, stated: Option<u64>, reserves: bool) -> Decision {
        let stated = stated.map(|amount| [Amount { meter: "tokens", amount }]);
        let reserve = Reserve { ttl_ms: 60_000, known: &[] };
        let model = [Attribute { part: Part::Resource, path: "model", value: Value::Str(model) }];
        let request = Request {
            tenant: "acme",
            subject: Entity { kind: "", id: "alice" },
            resource: Entity { kind: "", id: "chat" },
            action: "read",
            attributes: &model,
            amounts: stated.as_ref().map(|stated| stated.as_slice()),
            reserve: reserves.then_some(&reserve),
        };
        let mut scratch = Scratch::default();
        self.state.decide(&self.table.cells(), &request, Now(self.now), &mut scratch)
    }

    fn left(&self) -> u64 {
        self.ask("", Some(0), false).limits.as_slice()[0].remaining
    }

    /// What a reservation takes; it is released again.
    fn takes(&self, model: &str, stated: Option<u64>) -> u64 {
        let before = self.left();
        let decision = self.ask(model, stated, true);
        let taken = before - self.left();
        if let Some(id) = decision.reservation {
            self.table.cells().settle(id, True::Nothing, Now(self.now));
        }
        taken
    }

    fn settle(&self, id: ReservationId, tokens: u64) -> u64 {
        let truth = [Amount { meter: "tokens", amount: tokens }];
        self.table.cells().settle(id, True::Amounts(&truth), Now(self.now)).uncharged
    }

    /// So many calls of a model that use so much.
    fn calls(&self, model: &str, calls: u64, tokens: u64) {
        for _ in 0..calls {
            assert_eq!(self.settle(self.ask(model, None, true).reservation.unwrap(), tokens), 0);
        }
    }
}

#[test]
fn what_is_reserved_is_learned_for_each_model() {
    let mut world = World::new(tokens(10_000_000, Some(90)));
    let near = |taken: u64, expected: u64| taken.abs_diff(expected) <= expected / 3;
    // Unknown: the worst case, which is what is stated or else the default.
    assert_eq!((world.takes("small", None), world.takes("small", Some(3_000))), (WORST, 3_000));
    world.calls("small", 19, 500);
    assert_eq!(world.takes("small", None), WORST);
    world.calls("small", 1, 500);
    assert!(near(world.takes("small", None), 500), "{}", world.takes("small", None));
    // Never more than the worst case; another model knows nothing yet, nor what has no model.
    assert_eq!((world.takes("small", Some(100)), world.takes("large", None)), (100, WORST));
    // A charge that nobody settles is what it says.
    let before = world.left();
    assert_eq!(world.ask("small", Some(3_000), false).reason, Reason::Allow);
    assert_eq!(before - world.left(), 3_000);
    // What failed or is over teaches nothing.
    for _ in 0..50 {
        let id = world.ask("small", None, true).reservation.unwrap();
        world.table.cells().settle(id, True::Nothing, Now(world.now));
        world.ask("small", None, true);
    }
    world.now += 61_000_000_000;
    assert_eq!(world.table.cells().expire(Now(world.now)), 50);
    assert!(near(world.takes("small", None), 500));
    // The next epoch begins with what this one knew; what nobody asked for in an epoch is forgotten.
    for (days, expected) in [(7, 500), (14, 500), (22, 500), (36, WORST)] {
        world.now = START + days * DAY_NS;
        assert!(near(world.takes("small", None), expected), "day {days}");
    }
}

#[test]
fn the_worst_case_is_reserved_near_the_limit() {
    // What is left, and what is then taken of a limit of 100 000: under a tenth of it, or less than the worst case.
    for (amount, worst, left, expected) in [
        (100_000, WORST, 10_000, "learned"),
        (100_000, WORST, 9_999, "worst"),
        (100_000, WORST, WORST, "worst"),
        (100_000, WORST, WORST - 1, "refused"),
        (100_000, 20_000, 20_000, "learned"),
        (100_000, 20_000, 19_999, "refused"),
    ] {
        let world = World::new(tokens(amount, Some(90)));
        world.calls("small", 40, 500);
        world.ask("small", Some(world.left() - left), false);
        assert_eq!(world.left(), left);
        let found = match world.takes("small", Some(worst)) {
            0 => "refused",
            taken if taken == worst => "worst",
            _ => "learned",
        };
        assert_eq!(found, expected, "{left} of {amount} left, worst case {worst}");
    }
}

/// Calls of a long tail, many at once, until the first is refused.
#[derive(Debug)]
struct Run {
    uncharged: u64,
    /// What the calls that were settled used, in thousandths of the limit, when the first was refused.
    used: u64,
}

fn run(amount: u64, estimate: Option<u8>, at_once: usize) -> Run {
    let world = World::new(tokens(amount, estimate));
    let mut open: VecDeque<(ReservationId, u64)> = VecDeque::new();
    let (mut used, mut uncharged, mut dice) = (0, 0, 88_172_645_463_325_252_u64);
    let mut throw = || {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        dice
    };
    for call in 0_usize.. {
        // One after the other at first.
        while open.len() >= if call < 100 { 1 } else { at_once } {
            let at = usize::try_from(throw()).unwrap_or(0) % open.len();
            let (id, truth) = open.swap_remove_back(at).unwrap();
            uncharged += world.settle(id, truth);
            used += truth;
        }
        let truth = ((200 + throw() % 300) << throw().trailing_zeros().min(4)).min(WORST);
        match world.ask("small", None, true) {
            refused if refused.reason == Reason::QuotaExceeded => break,
            decision => open.push_back((decision.reservation.unwrap(), truth)),
        }
    }
    let used = used * 1_000 / amount;
    uncharged += open.into_iter().map(|(id, truth)| world.settle(id, truth)).sum::<u64>();
    Run { uncharged, used }
}

#[test]
fn many_calls_at_once_are_neither_refused_early_nor_let_by() {
    // How much of the limit calls used when the first was refused: at least, and at most where each reserves the worst case.
    for (amount, at_once, least, worst_case) in
        [(20_000_000, 100, 950, 970), (4_000_000, 100, 850, 800), (2_000_000, 200, 500, 250)]
    {
        let learned = run(amount, Some(90), at_once);
        assert_eq!(learned.uncharged, 0, "{at_once} at once of {amount}: {learned:?}");
        assert!(learned.used >= least, "{at_once} at once of {amount}: {learned:?}");
        let worst = run(amount, None, at_once);
        assert!(worst.used <= worst_case, "{at_once} at once of {amount}: {worst:?}");
    }
}
