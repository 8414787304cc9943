//! Does a request notice that a million rules are swapped every second?
//!
//! As the sidecar does it: readers load a pointer, the writer swaps, keeps the old table on a retire
//! list and frees it as its last owner. The tables are compiled before.

use crate::decide::{HotRequest, Tenants, compile};
use crate::report::Report;
use crate::timing::{Stopwatch, percentile};
use crate::workload::{Active, Workload};
use arc_swap::ArcSwap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tollgate_cells::HeapTable;
use tollgate_engine::cell::TableSecret;
use tollgate_engine::{Now, Scratch};

const RULES: usize = 1_000_000;
/// Tables that are compiled before and swapped in, one a second.
const SWAPS: usize = 4;
const SECONDS: u64 = SWAPS as u64 + 1;
const REQUESTS: usize = 100_000;

/// A table that counts who frees it.
struct Table {
    tenants: Tenants,
    reader: std::thread::ThreadId,
    drops: Arc<AtomicUsize>,
}

impl Drop for Table {
    fn drop(&mut self) {
        if std::thread::current().id() == self.reader {
            self.drops.fetch_add(1, Ordering::Relaxed);
        }
    }
}

pub(crate) fn measure(report: &mut Report) {
    let workload = Workload::new(RULES);
    let policy = workload.policy();
    let drops = Arc::new(AtomicUsize::new(0));
    let reader = std::thread::current().id();
    let table = || Table { tenants: compile(&policy), reader, drops: Arc::clone(&drops) };
    let current = Arc::new(ArcSwap::from_pointee(table()));
    let (mut idle, _) = read(&current, &workload, &AtomicBool::new(false));
    let stop = AtomicBool::new(false);
    let tables: Vec<Table> = (0..SWAPS).map(|_| table()).collect();
    let (mut busy, longest) = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut retired: Vec<Arc<Table>> = Vec::new();
            for table in tables {
                let began = Instant::now();
                retired.push(current.swap(Arc::new(table)));
                while began.elapsed() < Duration::from_secs(1) && !stop.load(Ordering::Relaxed) {
                    retired.retain(|table| Arc::strong_count(table) > 1);
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
        });
        read(&current, &workload, &stop)
    });
    let (idle_p999, busy_p999) = (percentile(&mut idle, 0.999), percentile(&mut busy, 0.999));
    report.put("reload.idle.p999_ns", idle_p999);
    report.put("reload.busy.p999_ns", busy_p999);
    report.put("reload.p999_over_idle", busy_p999 / idle_p999);
    report.put("reload.stall_max_ms", longest / 1e6);
    report.put("reload.swaps", SWAPS as f64);
    report.put("reload.serving_drops", drops.load(Ordering::Relaxed) as f64);
    report.note(
                "Reload: tables of 1 000 000 rules, compiled before, swapped and freed one a second beside one reader; the longest stall includes \
         what the machine takes away.",
    );
}

/// Decides for some seconds; the times, and the longest.
fn read(current: &ArcSwap<Table>, workload: &Workload, stop: &AtomicBool) -> (Vec<f64>, f64) {
    let stopwatch = Stopwatch::calibrate();
    let requests = workload.requests(Active::Skewed, REQUESTS, 11);
    let table = HeapTable::new(1 << 20, TableSecret::new([1, 2]));
    let (cells, mut scratch, mut hot) = (table.cells(), Scratch::default(), HotRequest::new());
    let mut now = 1_000_000_000_000_000_000;
    let (began, mut samples, mut longest) = (Instant::now(), Vec::new(), 0.0_f64);
    let mut seen = 0;
    while began.elapsed() < Duration::from_secs(SECONDS) {
        for ask in requests.iter().skip(seen % REQUESTS).take(1_000) {
            now += 1_000;
            hot.read(ask);
            let (ns, _) = stopwatch.time(|| {
                let served = current.load();
                let request = hot.request();
                let tenant = &served.tenants[request.tenant];
                tenant.decide(&cells, &request, Now(now), &mut scratch).reason
            });
            samples.push(ns);
            longest = longest.max(ns);
        }
        seen += 1_000;
    }
    stop.store(true, Ordering::Relaxed);
    (samples, longest)
}
