//! Do two threads decide twice as much as one, on one snapshot?

use crate::decide::{HotRequest, Tenants, compile};
use crate::report::Report;
use crate::timing::percentile;
use crate::workload::{Active, Ask, Workload};
use std::sync::Barrier;
use std::time::{Duration, Instant};
use tollgate_cells::HeapTable;
use tollgate_engine::cell::TableSecret;
use tollgate_engine::{Now, Scratch};

const RULES: usize = 10_000;
const REQUESTS: usize = 50_000;
const ROUND: Duration = Duration::from_millis(500);
/// One thread and two in turn: the machine's own speed changes between seconds.
const ROUNDS: usize = 7;

pub(crate) fn measure(report: &mut Report) {
    let workload = Workload::new(RULES);
    let tenants = compile(&workload.policy());
    // Each thread has subjects of its own, as connections have; the policy is one.
    let requests: Vec<Vec<Ask>> =
        (0..2).map(|seed| workload.requests(Active::Uniform, REQUESTS, 7 + seed)).collect();
    let table = HeapTable::new(workload.counters() * 4, TableSecret::new([1, 2]));
    let (mut alone, mut both, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let one = round(&tenants, &table, &requests[..1]);
        let two = round(&tenants, &table, &requests);
        ratios.push(two / one);
        alone.push(one);
        both.push(two);
    }
    report.put("threads.1.decisions_per_second", percentile(&mut alone, 0.5));
    report.put("threads.2.decisions_per_second", percentile(&mut both, 0.5));
    report.put("threads.2.over_1", percentile(&mut ratios, 0.5));
}

/// Decisions a second of all threads together.
fn round(tenants: &Tenants, table: &HeapTable, requests: &[Vec<Ask>]) -> f64 {
    let barrier = Barrier::new(requests.len());
    let rates = std::thread::scope(|scope| {
        let work = |requests: &'_ Vec<Ask>| run(tenants, table, requests, &barrier);
        let threads: Vec<_> = requests.iter().map(|asks| scope.spawn(move || work(asks))).collect();
        threads.into_iter().map(|thread| thread.join().expect("it decides")).sum::<f64>()
    });
    rates
}

fn run(tenants: &Tenants, table: &HeapTable, requests: &[Ask], barrier: &Barrier) -> f64 {
    let (cells, mut scratch, mut hot) = (table.cells(), Scratch::default(), HotRequest::new());
    let mut now = 1_000_000_000_000_000_000;
    barrier.wait();
    let (began, mut count) = (Instant::now(), 0_u32);
    while began.elapsed() < ROUND {
        for ask in requests.iter().cycle().skip(count as usize % REQUESTS).take(1_000) {
            now += 1_000;
            hot.read(ask);
            let request = hot.request();
            let tenant = &tenants[request.tenant];
            std::hint::black_box(tenant.decide(&cells, &request, Now(now), &mut scratch));
        }
        count += 1_000;
    }
    f64::from(count) / began.elapsed().as_secs_f64()
}
