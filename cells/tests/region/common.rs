//! A tenant, its limits and a region of its own.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use tollgate_cells::{Region, RegionSpec};
use tollgate_engine::cell::TableSecret;
use tollgate_engine::quota::window::{Period, Windows};
use tollgate_engine::{
    Amount, Budget, Capacity, Decision, Dialect, Dimension, Entity, FailureMode, Limit, Mode, Now,
    Part, PolicySet, Quotas, Request, Reserve, Scratch, Source, Stage, TenantState, Version, bind,
    parse_model, parse_rows,
};

const MODEL: &str = "[request_definition]\nr = sub, obj, act\n[policy_definition]\np = act\n\
    [policy_effect]\ne = some(where (p.eft == allow))\n[matchers]\nm = r.act == p.act\n";
/// A day begins then.
pub(crate) const START: Now = Now(1_800_057_600_000_000_000);

pub(crate) fn spec(cells: usize, reservations: usize) -> RegionSpec {
    let (secret, run, boot) = (TableSecret::new([7, 8]), 3, [1, 2]);
    RegionSpec { cells, reservations, secret, run, boot }
}

/// A file of its own, removed at the end.
pub(crate) struct Path(pub(crate) PathBuf);

impl Path {
    pub(crate) fn new() -> Path {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        Path(std::env::temp_dir().join(format!("region-{}-{next}", std::process::id())))
    }

    pub(crate) fn open(&self, spec: &RegionSpec) -> Region {
        Region::open(&self.0, spec, START, &mut |_| {}).unwrap()
    }
}

impl Drop for Path {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

pub(crate) fn limit(id: &str, amount: u64, period: Period, by_subject: bool) -> Limit {
    let subject = Dimension { part: Part::Subject, path: String::new() };
    let windows = Windows::new(period, "UTC").unwrap();
    Limit {
        id: id.to_owned(),
        meter: id.to_owned(),
        capacity: Capacity::Budget(Budget { amount, windows }),
        dimensions: if by_subject { vec![subject] } else { Vec::new() },
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

pub(crate) fn tenant(limits: &[Limit]) -> TenantState {
    let model_source = Source { file: "model.conf", text: MODEL };
    let rows_source = Source { file: "policy.csv", text: "p, read\n" };
    let model = parse_model(model_source, Dialect::Strict).unwrap();
    let rows = parse_rows(rows_source, &model).unwrap();
    let binding = bind(&model, &[], model_source).unwrap();
    let policy = PolicySet::compile(&model, &rows, (model_source, rows_source), 3).unwrap();
    let quotas = Quotas::compile(limits, 1).unwrap();
    TenantState::link("acme", Version { epoch: 1, seq: 1 }, policy.into(), &binding, quotas)
}

/// Asks for amounts; `None` for what nothing is said of, and nothing reserved.
pub(crate) fn ask(
    (state, region): (&TenantState, &Region),
    who: &str,
    amounts: Option<&[Amount<'_>]>,
    now: Now,
) -> Decision {
    let reserve = Reserve { ttl_ms: 60_000, known: &[] };
    let request = Request {
        tenant: "acme",
        subject: Entity { kind: "", id: who },
        resource: Entity { kind: "", id: "x" },
        action: "read",
        amounts,
        reserve: amounts.filter(|amounts| !amounts.is_empty()).map(|_| &reserve),
        ..Request::default()
    };
    state.decide(&region.cells(), &request, now, &mut Scratch::default())
}

/// What is left of the first limit.
pub(crate) fn left(world: (&TenantState, &Region), who: &str, now: Now) -> u64 {
    ask(world, who, Some(&[]), now).limits.as_slice()[0].remaining
}
