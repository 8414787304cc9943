//! Counters and reservations under schedules that are chosen, not met by chance: `make shuttle`.

#![cfg(shuttle)]

use shuttle::sync::{Arc, Mutex};
use shuttle::{check_pct, check_random, thread};
use tollgate_engine::atomic::AtomicU64;
use tollgate_engine::cell::{CELL_WORDS, STRIPE_CELLS, TableSecret};
use tollgate_engine::quota::window::{Period, Windows};
use tollgate_engine::{
    Amount, Budget, Capacity, CellHost, Cells, Decision, Dialect, Dimension, Entity, FailureMode,
    Limit, Mode, Now, Part, PolicySet, Quotas, RESERVATION_WORDS, Request, Reservations, Reserve,
    Scratch, SettleCode, Source, Stage, TenantState, True, Version, bind, parse_model, parse_rows,
};

const MODEL: &str = "[request_definition]\nr = sub, obj, act\n[policy_definition]\np = act\n\
    [policy_effect]\ne = some(where (p.eft == allow))\n[matchers]\nm = r.act == p.act\n";
const START: u64 = 1_800_057_600_000_000_000;
const SECOND: u64 = 1_000_000_000;
const SCHEDULES: usize = 20_000;

/// One stripe of cells and two places.
struct Table {
    words: Vec<AtomicU64>,
    lock: Lock,
    secret: TableSecret,
    places: Vec<AtomicU64>,
    next: AtomicU64,
}

struct Lock(Mutex<()>);

impl CellHost for Lock {
    fn locked(&self, _stripe: usize, work: &mut dyn FnMut()) {
        let _guard = self.0.lock().unwrap();
        work();
    }
}

impl Table {
    fn new() -> Table {
        let zeros = |count: usize| (0..count).map(|_| AtomicU64::new(0)).collect();
        Table {
            words: zeros(STRIPE_CELLS * CELL_WORDS),
            lock: Lock(Mutex::new(())),
            secret: TableSecret::new([7, 8]),
            places: zeros(2 * RESERVATION_WORDS),
            next: AtomicU64::new(0),
        }
    }

    fn cells(&self) -> Cells<'_> {
        let places = Reservations::new(&self.places, &self.next, 1);
        Cells::new(&self.words, &self.secret, &self.lock).with_reservations(places)
    }
}

fn limit(id: &str, amount: u64, seconds: u64) -> Limit {
    let windows = Windows::new(Period::Seconds(seconds), "UTC").unwrap();
    Limit {
        id: id.to_owned(),
        meter: id.to_owned(),
        capacity: Capacity::Budget(Budget { amount, windows }),
        dimensions: vec![Dimension { part: Part::Subject, path: String::new() }],
        when: None,
        mode: Mode::Hard,
        stage: Stage::AfterPolicy,
        default_amount: Some(1),
        overdraft: 0,
        warn_at: Vec::new(),
        failure_mode: FailureMode::default(),
        estimate: None,
    }
}

fn tenant(limits: &[Limit]) -> TenantState {
    let model_source = Source { file: "model.conf", text: MODEL };
    let rows_source = Source { file: "policy.csv", text: "p, read\n" };
    let model = parse_model(model_source, Dialect::Strict).unwrap();
    let rows = parse_rows(rows_source, &model).unwrap();
    let binding = bind(&model, &[], model_source).unwrap();
    let policy = PolicySet::compile(&model, &rows, (model_source, rows_source), 3).unwrap();
    let quotas = Quotas::compile(limits, 1).unwrap();
    TenantState::link("acme", Version { epoch: 1, seq: 1 }, policy.into(), &binding, quotas)
}

/// What threads share.
struct World {
    state: TenantState,
    table: Table,
}

impl World {
    fn ask(&self, who: &str, amounts: Option<&[Amount<'_>]>, now: u64) -> Decision {
        let reserve = Reserve { ttl_ms: 1_000, known: &[] };
        let request = Request {
            tenant: "acme",
            subject: Entity { kind: "", id: who },
            resource: Entity { kind: "", id: "x" },
            action: "read",
            amounts,
            reserve: amounts.filter(|amounts| !amounts.is_empty()).map(|_| &reserve),
            ..Request::default()
        };
        self.state.decide(&self.table.cells(), &request, Now(now), &mut Scratch::default())
    }

    fn used(&self, limit: usize, of: u64, who: &str, now: u64) -> u64 {
        of - self.ask(who, Some(&[]), now).limits.as_slice()[limit].remaining
    }
}

/// Tries a scenario under random schedules, and under those that few changes of turn make.
fn every_way(scenario: impl Fn(&Arc<TenantState>) + Send + Sync + 'static, limits: &[Limit]) {
    let state = std::sync::Arc::new(tenant(limits));
    let scenario = std::sync::Arc::new(scenario);
    let run = {
        let (state, scenario) = (state, scenario);
        move || scenario(&Arc::new(state.as_ref().clone()))
    };
    check_random(run.clone(), SCHEDULES);
    check_pct(run, SCHEDULES, 3);
}

fn world(state: &Arc<TenantState>) -> Arc<World> {
    Arc::new(World { state: state.as_ref().clone(), table: Table::new() })
}

/// Runs jobs at once; what each said.
fn at_once<T: Send + 'static>(
    world: &Arc<World>,
    jobs: Vec<Box<dyn FnOnce(&World) -> T + Send>>,
) -> Vec<T> {
    let start = |job: Box<dyn FnOnce(&World) -> T + Send>| {
        let world = Arc::clone(world);
        thread::spawn(move || job(&world))
    };
    let threads: Vec<_> = jobs.into_iter().map(start).collect();
    threads.into_iter().map(|thread| thread.join().unwrap()).collect()
}

fn take(who: &'static str, now: u64) -> Box<dyn FnOnce(&World) -> bool + Send> {
    Box::new(move |world| world.ask(who, None, now).is_allow())
}

fn count(admitted: &[bool]) -> u64 {
    admitted.iter().filter(|admitted| **admitted).count() as u64
}

#[test]
fn a_budget_that_nobody_met_yet_is_made_once_and_not_passed() {
    let scenario = |state: &Arc<TenantState>| {
        let world = world(state);
        let admitted = at_once(&world, vec![take("a", START), take("a", START), take("a", START)]);
        assert_eq!((count(&admitted), world.used(0, 2, "a", START)), (2, 2));
        assert_eq!(world.table.cells().occupied(), 1);
    };
    every_way(scenario, &[limit("calls", 2, 86_400)]);
}

#[test]
fn two_limits_are_taken_both_or_neither() {
    let scenario = |state: &Arc<TenantState>| {
        let world = world(state);
        let admitted = at_once(&world, vec![take("a", START), take("a", START)]);
        let used = (world.used(0, 1, "a", START), world.used(1, 5, "a", START));
        assert_eq!(used, (count(&admitted), count(&admitted)));
        assert!(count(&admitted) <= 1);
    };
    every_way(scenario, &[limit("few", 1, 86_400), limit("more", 5, 86_400)]);
}

#[test]
fn a_cell_whose_place_is_taken_counts_for_nobody_else() {
    let scenario = |state: &Arc<TenantState>| {
        let world = world(state);
        // Fifteen that stay, and one whose window will be over.
        for who in 0..15 {
            assert!(world.ask(&who.to_string(), None, START + 3 * SECOND).is_allow());
        }
        let late = START + 3 * SECOND;
        let admitted = at_once(
            &world,
            vec![take("old", START), take("old", START), take("new", late), take("new", late)],
        );
        assert!(count(&admitted[..2]) <= 1, "{admitted:?}");
        assert!(count(&admitted[2..]) <= 1, "{admitted:?}");
        if admitted[2] || admitted[3] {
            assert_eq!(world.used(0, 1, "new", late), 1, "{admitted:?}");
        }
        assert!(!world.table.cells().examine(false).any());
    };
    every_way(scenario, &[limit("calls", 1, 1)]);
}

fn settle(
    id: tollgate_engine::ReservationId,
    tokens: u64,
) -> Box<dyn FnOnce(&World) -> SettleCode + Send> {
    Box::new(move |world| {
        let truth = [Amount { meter: "tokens", amount: tokens }];
        world.table.cells().settle(id, True::Amounts(&truth), Now(START)).code
    })
}

#[test]
fn a_reservation_is_settled_by_one_and_expires_beside_it() {
    let scenario = |state: &Arc<TenantState>| {
        let world = world(state);
        let amounts = [Amount { meter: "tokens", amount: 40 }];
        let id = world.ask("a", Some(&amounts), START).reservation.unwrap();
        let expire: Box<dyn FnOnce(&World) -> SettleCode + Send> = Box::new(|world| {
            world.table.cells().expire(Now(START + 2 * SECOND));
            SettleCode::Busy
        });
        let codes = at_once(&world, vec![settle(id, 10), settle(id, 70), expire]);
        let settled =
            |code: &SettleCode| matches!(code, SettleCode::Settled | SettleCode::SettledLate);
        let used = world.used(0, 1_000, "a", START);
        match (settled(&codes[0]), settled(&codes[1])) {
            (true, false) => assert_eq!(used, 10, "{codes:?}"),
            (false, true) => assert_eq!(used, 70, "{codes:?}"),
            // Both met whoever ended it.
            (false, false) => {
                assert_eq!((used, codes[0], codes[1]), (40, SettleCode::Busy, SettleCode::Busy))
            }
            (true, true) => panic!("{codes:?}"),
        }
    };
    every_way(scenario, &[limit("tokens", 1_000, 86_400)]);
}

#[test]
fn what_is_given_back_to_a_window_that_is_over_is_given_to_nobody() {
    let scenario = |state: &Arc<TenantState>| {
        let world = world(state);
        let late = START + 3 * SECOND;
        for who in 0..15 {
            assert!(world.ask(&who.to_string(), None, late).is_allow());
        }
        let amounts = [Amount { meter: "tokens", amount: 40 }];
        let id = world.ask("old", Some(&amounts), START).reservation.unwrap();
        let take_all = || -> Box<dyn FnOnce(&World) -> SettleCode + Send> {
            Box::new(move |world| {
                let amounts = [Amount { meter: "tokens", amount: 40 }];
                match world.ask("new", Some(&amounts), late).is_allow() {
                    true => SettleCode::Settled,
                    false => SettleCode::Busy,
                }
            })
        };
        let said = at_once(&world, vec![settle(id, 0), take_all(), take_all()]);
        let admitted = said[1..].iter().filter(|code| **code == SettleCode::Settled).count();
        assert!(admitted <= 1, "{said:?}");
        if admitted == 1 {
            assert_eq!(world.used(0, 40, "new", late), 40, "{said:?}");
        }
    };
    every_way(scenario, &[limit("tokens", 40, 1)]);
}

#[test]
fn places_are_given_to_one_each() {
    let scenario = |state: &Arc<TenantState>| {
        let world = world(state);
        let hold = |tokens: u64| -> Box<dyn FnOnce(&World) -> bool + Send> {
            Box::new(move |world| {
                let amounts = [Amount { meter: "tokens", amount: tokens }];
                match world.ask("a", Some(&amounts), START).reservation {
                    Some(id) => {
                        let code = world.table.cells().settle(id, True::Nothing, Now(START)).code;
                        assert_eq!(code, SettleCode::Settled);
                        true
                    }
                    None => false,
                }
            })
        };
        at_once(&world, vec![hold(1), hold(10), hold(100)]);
        assert_eq!((world.used(0, 1_000, "a", START), world.table.cells().held()), (0, 0));
    };
    every_way(scenario, &[limit("tokens", 1_000, 86_400)]);
}
