//! A table of cells for tests, and tenants made from a few lines of text.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use tollgate_engine::cell::{CELL_WORDS, STRIPE_CELLS, TableSecret};
use tollgate_engine::{
    CellHost, Cells, Dialect, Limit, PolicySet, Quotas, RESERVATION_WORDS, Reservations, Source,
    TenantState, Version, bind, parse_model, parse_rows,
};

/// Words, a lock per stripe, and how often a lock was taken.
pub(crate) struct Table {
    words: Vec<AtomicU64>,
    locks: Locks,
    secret: TableSecret,
    reservations: Vec<AtomicU64>,
    next_reservation: AtomicU64,
    run: u64,
}

struct Locks {
    stripes: Vec<Mutex<()>>,
    taken: AtomicUsize,
}

impl CellHost for Locks {
    fn locked(&self, stripe: usize, work: &mut dyn FnMut()) {
        let _guard = self.stripes[stripe].lock().unwrap();
        self.taken.fetch_add(1, Ordering::Relaxed);
        work();
    }
}

impl Table {
    pub(crate) fn new(stripes: usize) -> Table {
        let words = (0..stripes * STRIPE_CELLS * CELL_WORDS).map(|_| AtomicU64::new(0)).collect();
        let stripes = (0..stripes).map(|_| Mutex::new(())).collect();
        let locks = Locks { stripes, taken: AtomicUsize::new(0) };
        let (reservations, next_reservation) = (Vec::new(), AtomicU64::new(0));
        Table {
            words,
            locks,
            secret: TableSecret::new([11, 22]),
            reservations,
            next_reservation,
            run: 0,
        }
    }

    /// The same with room for reservations, in a life of its own.
    #[allow(dead_code, reason = "the allocation test reserves nothing")]
    pub(crate) fn with_reservations(stripes: usize, reservations: usize) -> Table {
        static RUNS: AtomicU64 = AtomicU64::new(1);
        let reservations =
            (0..reservations * RESERVATION_WORDS).map(|_| AtomicU64::new(0)).collect();
        Table { reservations, run: RUNS.fetch_add(1, Ordering::Relaxed), ..Table::new(stripes) }
    }

    pub(crate) fn cells(&self) -> Cells<'_> {
        let cells = Cells::new(&self.words, &self.secret, &self.locks);
        match self.reservations.is_empty() {
            true => cells,
            false => cells.with_reservations(Reservations::new(
                &self.reservations,
                &self.next_reservation,
                self.run,
            )),
        }
    }

    /// The first reservation is being charged by somebody: its phase, the low byte of its first word, is 5.
    #[allow(dead_code, reason = "only one test of them asks for it")]
    pub(crate) fn is_being_charged(&self) {
        let state = &self.reservations[0];
        state.store(state.load(Ordering::Relaxed) & !0xff | 5, Ordering::Relaxed);
    }

    #[allow(dead_code, reason = "only the allocation test counts locks")]
    pub(crate) fn locks_taken(&self) -> usize {
        self.locks.taken.load(Ordering::Relaxed)
    }
}

pub(crate) const MODEL: &str = "[request_definition]\nr = sub, obj, act\n[policy_definition]\n\
    p = sub, obj, act, eft\n[role_definition]\ng = _, _\n[policy_effect]\n\
    e = some(where (p.eft == allow)) && !some(where (p.eft == deny))\n[matchers]\n\
    m = g(r.sub, p.sub) && keyMatch2(r.obj, p.obj) && r.act == p.act\n";

/// The tenant `acme` with these rows and limits.
pub(crate) fn tenant(model: &str, rows: &str, limits: &[Limit], seq: u64) -> TenantState {
    tenant_called("acme", model, rows, limits, seq)
}

pub(crate) fn tenant_called(
    name: &str,
    model: &str,
    rows: &str,
    limits: &[Limit],
    seq: u64,
) -> TenantState {
    let model_source = Source { file: "model.conf", text: model };
    let rows_source = Source { file: "policy.csv", text: rows };
    let model = parse_model(model_source, Dialect::Strict).unwrap();
    let rows = parse_rows(rows_source, &model).unwrap();
    let binding = bind(&model, &[], model_source).unwrap();
    let policy = PolicySet::compile(&model, &rows, (model_source, rows_source), 3).unwrap();
    let quotas = Quotas::compile(limits, seq).unwrap();
    TenantState::link(name, Version { epoch: 1, seq }, policy.into(), &binding, quotas)
}
