//! Does a request notice that a million rules are swapped every second?
//!
//! As the sidecar does it: readers load a pointer, the writer swaps, keeps the old table on a retire
//! list and frees it as its last owner. The tables are compiled before.

use crate::decide::{HotRequest, Tenants, compile};
use crate::report::Report;
use crate::timing::{Stopwatch, percentile};
use crate::workload::{Active, Ask, Workload};
use arc_swap::ArcSwap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};
use tollgate_cells::HeapTable;
use tollgate_engine::cell::TableSecret;
use tollgate_engine::{Now, Scratch};

const RULES: usize = 1_000_000;
/// Tables that are compiled before and swapped in, each in a second of its own.
const SWAPS: usize = 8;
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
    let current = ArcSwap::from_pointee(table());
    let tables: Vec<Table> = (0..SWAPS).map(|_| table()).collect();
    let (mut idle, mut busy, mut ratios, mut longest) = (Vec::new(), Vec::new(), Vec::new(), 0.0);
    let (go, gone) = channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for (table, ()) in tables.into_iter().zip(gone) {
                let retired = current.swap(Arc::new(table));
                while Arc::strong_count(&retired) > 1 {
                    std::thread::sleep(Duration::from_millis(1));
                }
                drop(retired);
            }
        });
        let mut reader = Reader::new(&current, &workload);
        reader.read();
        for _ in 0..SWAPS {
            let (quiet, _) = reader.read();
            // The writer lives as long as there are tables.
            let _ = go.send(());
            let (swapped, stall) = reader.read();
            longest = f64::max(longest, stall);
            idle.push(quiet);
            busy.push(swapped);
            ratios.push(swapped / quiet);
        }
        drop(go);
    });
    report.put("reload.idle.p999_ns", percentile(&mut idle, 0.5));
    report.put("reload.busy.p999_ns", percentile(&mut busy, 0.5));
    report.put("reload.p999_over_idle", percentile(&mut ratios, 0.5));
    report.put("reload.stall_max_ms", longest / 1e6);
    report.put("reload.swaps", SWAPS as f64);
    report.put("reload.serving_drops", drops.load(Ordering::Relaxed) as f64);
    report.note(
        "Reload: tables of 1 000 000 rules, compiled before; seconds in which one is swapped in and the old one freed, each beside a quiet second before it: \
         medians. The longest stall is of the seconds with a swap and includes what the machine takes away.",
    );
}

/// One thread that decides.
struct Reader<'a> {
    current: &'a ArcSwap<Table>,
    requests: Vec<Ask>,
    table: HeapTable,
    scratch: Scratch,
    hot: HotRequest,
    stopwatch: Stopwatch,
    now: u64,
    seen: usize,
}

impl<'a> Reader<'a> {
    fn new(current: &'a ArcSwap<Table>, workload: &Workload) -> Reader<'a> {
        Reader {
            current,
            requests: workload.requests(Active::Skewed, REQUESTS, 11),
            table: HeapTable::new(1 << 20, TableSecret::new([1, 2])),
            scratch: Scratch::default(),
            hot: HotRequest::new(),
            stopwatch: Stopwatch::calibrate(),
            now: 1_000_000_000_000_000_000,
            seen: 0,
        }
    }

    /// Decides for a second; the 99.9th percentile of its times, and the longest.
    fn read(&mut self) -> (f64, f64) {
        let cells = self.table.cells();
        let (began, mut samples) = (Instant::now(), Vec::new());
        while began.elapsed() < Duration::from_secs(1) {
            for ask in self.requests.iter().skip(self.seen % REQUESTS).take(1_000) {
                self.now += 1_000;
                self.hot.read(ask);
                let (ns, _) = self.stopwatch.time(|| {
                    let served = self.current.load();
                    let request = self.hot.request();
                    let tenant = &served.tenants[request.tenant];
                    tenant.decide(&cells, &request, Now(self.now), &mut self.scratch).reason
                });
                samples.push(ns);
            }
            self.seen += 1_000;
        }
        (percentile(&mut samples, 0.999), percentile(&mut samples, 1.0))
    }
}
