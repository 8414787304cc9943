//! What do limits add to a decision, beside limitador with as many; what does a reservation cost; and what does one hot
//! key, for threads and for processes?

use crate::report::Report;
use crate::timing::{Stopwatch, percentile};
use limitador::limit::{Context, Limit};
use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::time::{Duration, Instant};
use tollgate_cells::{HeapTable, Region, RegionSpec};
use tollgate_engine::cell::TableSecret;
use tollgate_engine::{
    Amount, Cells, Entity, Now, Request, Reserve, Scratch, TenantState, True, Version,
};
use tollgate_proto::bundle::{File, Options, from_files};

pub(crate) const KEYS: usize = 10_000;
const CHECKS: usize = 50_000;
const ROUNDS: usize = 5;
const RESERVATIONS: usize = 1_024;
const HOT_ROUND: Duration = Duration::from_millis(300);
const START_NS: u64 = 1_800_000_000_000_000_000;

const MODEL: &str = "[request_definition]\nr = sub\n[policy_definition]\np = sub\n\
    [policy_effect]\ne = !some(where (p.eft == deny))\n[matchers]\nm = r.sub == p.sub\n";

pub(crate) fn measure(report: &mut Report) {
    let stopwatch = Stopwatch::calibrate();
    limits(report, &stopwatch);
    settle(report, &stopwatch);
    hot(report);
    report.note(
        "Limits: a whole decision with a policy of no rows and 0, 1, 3 or 8 buckets by subject, 10 000 subjects; `check` is what the limits add \
         to the decision without any, beside governor's keyed limiter alone. limitador is `check_rate_limited_and_update` in memory with as many limits. Medians of 5 rounds, each in turn.",
    );
    report.note(
        "Reservations: a decision that takes and holds an estimate of 1 or 3 budgets, and the settle of it. Hot key: takes of one budget a second, of one \
         thread, of two, and of two processes over one region, all together.",
    );
}

fn tenant(limits: &str) -> TenantState {
    let files = [
        File { path: "model.conf", bytes: MODEL.as_bytes() },
        File { path: "policy.csv", bytes: b"" },
        File { path: "limits.toml", bytes: limits.as_bytes() },
    ];
    let options = Options::new(42, Version { epoch: 1, seq: 1 });
    from_files("b", &files, options).expect("it compiles").tenants.remove(0)
}

fn buckets(count: usize) -> String {
    let bucket = "bucket = { rate = \"10_000_000/s\", burst = 1_000_000 }";
    let one = |at| {
        format!(
            "[[limit]]\nid = \"l{at}\"\nmeter = \"requests\"\n{bucket}\ndimensions = [\"subject\"]\n"
        )
    };
    (0..count).map(one).collect()
}

fn budgets(count: usize) -> String {
    let one = |at| {
        format!(
            "[[limit]]\nid = \"t{at}\"\nmeter = \"tokens\"\ndefault_amount = 1\n\
             budget = {{ amount = 1_000_000_000_000_000, window = \"month\" }}\ndimensions = [\"subject\"]\n"
        )
    };
    (0..count).map(one).collect()
}

fn request(subject: &str) -> Request<'_> {
    Request {
        tenant: "b",
        subject: Entity { kind: "", id: subject },
        resource: Entity { kind: "", id: "x" },
        action: "a",
        ..Request::default()
    }
}

fn limits(report: &mut Report, stopwatch: &Stopwatch) {
    let subjects: Vec<String> = (0..KEYS).map(|key| format!("user{key}")).collect();
    let mut random = fastrand::Rng::with_seed(5);
    let asked: Vec<&str> = (0..CHECKS).map(|_| subjects[random.usize(..KEYS)].as_str()).collect();
    let counts = [0, 1, 3, 8];
    let mut found: HashMap<(&str, usize), Vec<f64>> = HashMap::new();
    for _ in 0..ROUNDS {
        for count in counts {
            found.entry(("tollgate", count)).or_default().push(ours(stopwatch, &asked, count));
            if count == 1 {
                let alone = crate::bucket::governor(stopwatch, &asked);
                found.entry(("governor", count)).or_default().push(alone);
            }
            if count > 0 {
                let theirs = limitador(stopwatch, &asked, count);
                found.entry(("limitador", count)).or_default().push(theirs);
            }
        }
    }
    let median = |list: Vec<f64>| percentile(&mut list.clone(), 0.5);
    let bare = found[&("tollgate", 0)].clone();
    report.put("limits.0.tollgate.p50_ns", median(bare.clone()));
    for count in [1, 3, 8] {
        let (ours, theirs) = (&found[&("tollgate", count)], &found[&("limitador", count)]);
        let check: Vec<f64> =
            ours.iter().zip(&bare).map(|(with, without)| with - without).collect();
        let ratio =
            |of: &[f64]| median(theirs.iter().zip(of).map(|(one, other)| one / other).collect());
        let key = |figure: &str| format!("limits.{count}.{figure}");
        report.put(key("tollgate.p50_ns"), median(ours.clone()));
        report.put(key("limitador.p50_ns"), median(theirs.clone()));
        report.put(key("limitador_over_tollgate"), ratio(ours));
        report.put(key("check.p50_ns"), median(check.clone()));
        report.put(key("limitador_over_check"), ratio(&check));
        if let Some(governor) = found.get(&("governor", count)) {
            let ratios = check.iter().zip(governor).map(|(ours, theirs)| ours / theirs).collect();
            report.put(key("governor.p50_ns"), median(governor.clone()));
            report.put(key("check_over_governor"), median(ratios));
        }
    }
}

/// Decides with so many limits for some seconds: for a profiler.
pub(crate) fn profile(count: usize) {
    let tenant = tenant(&buckets(count));
    let table = HeapTable::new(KEYS * 4 * count.max(1), TableSecret::new([1, 2]));
    let (cells, mut scratch, mut now) = (table.cells(), Scratch::default(), START_NS);
    let subjects: Vec<String> = (0..KEYS).map(|key| format!("user{key}")).collect();
    let mut random = fastrand::Rng::with_seed(5);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(5) {
        for _ in 0..1_000 {
            now += 1_000;
            let subject = &subjects[random.usize(..KEYS)];
            let decision = tenant.decide(&cells, &request(subject), Now(now), &mut scratch);
            assert!(decision.is_allow());
        }
    }
}

/// A whole decision with so many buckets.
pub(crate) fn ours(stopwatch: &Stopwatch, asked: &[&str], count: usize) -> f64 {
    let tenant = tenant(&buckets(count));
    let table = HeapTable::new(KEYS * 4 * count.max(1), TableSecret::new([1, 2]));
    let (cells, mut scratch, mut now) = (table.cells(), Scratch::default(), START_NS);
    let mut check = |subject: &str| {
        now += 1_000;
        tenant.decide(&cells, &request(subject), Now(now), &mut scratch).is_allow()
    };
    p50(stopwatch, asked, &mut check)
}

/// limitador in memory with as many limits.
pub(crate) fn limitador(stopwatch: &Stopwatch, asked: &[&str], count: usize) -> f64 {
    let limiter = limitador::RateLimiter::new((KEYS * 4 * count) as u64);
    for at in 0..count {
        let subject = "subject".try_into().expect("an expression");
        let most = u64::from(u32::MAX) - at as u64;
        limiter.add_limit(Limit::new("b", most, 3_600 + at as u64, vec![], vec![subject]));
    }
    let namespace = "b".into();
    let mut check = |subject: &str| {
        let values = HashMap::from([("subject".to_owned(), subject.to_owned())]);
        let context = Context::from(values);
        let result = limiter.check_rate_limited_and_update(&namespace, &context, 1);
        result.is_ok_and(|result| !result.limited)
    };
    p50(stopwatch, asked, &mut check)
}

pub(crate) fn p50(
    stopwatch: &Stopwatch,
    asked: &[&str],
    check: &mut impl FnMut(&str) -> bool,
) -> f64 {
    for subject in asked {
        assert!(check(subject), "generous limits refuse nobody");
    }
    let mut samples: Vec<f64> =
        asked.iter().map(|subject| stopwatch.time(|| check(subject)).0).collect();
    percentile(&mut samples, 0.5)
}

fn settle(report: &mut Report, stopwatch: &Stopwatch) {
    for count in [1, 3] {
        let tenant = tenant(&budgets(count));
        let table = HeapTable::new(KEYS * 4 * count, TableSecret::new([1, 2]));
        let table = table.with_reservations(RESERVATIONS, 1);
        let (cells, mut scratch) = (table.cells(), Scratch::default());
        let (mut reserves, mut settles) = (Vec::new(), Vec::new());
        let mut random = fastrand::Rng::with_seed(6);
        for at in 0..CHECKS as u64 {
            let subject = format!("user{}", random.usize(..KEYS));
            let estimate = [Amount { meter: "tokens", amount: 1_000 }];
            let truth = [Amount { meter: "tokens", amount: random.u64(1..2_000) }];
            let reserve = Reserve { ttl_ms: 60_000, known: &[] };
            let now = Now(START_NS + at * 1_000);
            let amounts = Some(estimate.as_slice());
            let asked = Request { amounts, reserve: Some(&reserve), ..request(&subject) };
            let (ns, decision) =
                stopwatch.time(|| tenant.decide(&cells, &asked, now, &mut scratch));
            reserves.push(ns);
            let id = decision.reservation.expect("a reservation");
            let (ns, settled) = stopwatch.time(|| cells.settle(id, True::Amounts(&truth), now));
            assert!(settled.code.is_settled());
            settles.push(ns);
        }
        report.put(format!("reserve.{count}.p50_ns"), percentile(&mut reserves, 0.5));
        report.put(format!("settle.{count}.p50_ns"), percentile(&mut settles, 0.5));
    }
}

/// Takes a second from the one cell of a budget.
fn takes(tenant: &TenantState, cells: &Cells<'_>) -> f64 {
    let mut scratch = Scratch::default();
    let asked = Request { amounts: Some(&[Amount { meter: "tokens", amount: 1 }]), ..request("x") };
    let (began, mut count) = (Instant::now(), 0_u32);
    while began.elapsed() < HOT_ROUND {
        for _ in 0..1_000 {
            let decision = tenant.decide(cells, &asked, Now(START_NS), &mut scratch);
            assert!(decision.is_allow());
        }
        count += 1_000;
    }
    f64::from(count) / began.elapsed().as_secs_f64()
}

fn spec() -> RegionSpec {
    let secret = TableSecret::new([1, 2]);
    RegionSpec { cells: 1_024, reservations: 1, secret, run: 1, boot: [1, 1] }
}

fn hot(report: &mut Report) {
    let path = std::env::temp_dir().join(format!("bench-region-{}", std::process::id()));
    let (mut alone, mut threads, mut processes) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let tenant = tenant(&budgets(1));
        let table = HeapTable::new(1_024, TableSecret::new([1, 2]));
        alone.push(takes(&tenant, &table.cells()));
        threads.push(two_threads(&tenant, &table));
        processes.push(two_processes(&path));
    }
    let _ = std::fs::remove_file(&path);
    let over_one = |of: &[f64]| {
        let mut ratios: Vec<f64> = of.iter().zip(&alone).map(|(of, one)| of / one).collect();
        percentile(&mut ratios, 0.5)
    };
    let (by_threads, by_processes) = (over_one(&threads), over_one(&processes));
    report.put("hot_key.thread_1.takes_per_second", percentile(&mut alone, 0.5));
    report.put("hot_key.threads_2.takes_per_second", percentile(&mut threads, 0.5));
    report.put("hot_key.threads_2.over_1", by_threads);
    report.put("hot_key.processes_2.takes_per_second", percentile(&mut processes, 0.5));
    report.put("hot_key.processes_2.over_1", by_processes);
}

fn two_threads(tenant: &TenantState, table: &HeapTable) -> f64 {
    let barrier = Barrier::new(2);
    let work = || {
        barrier.wait();
        takes(tenant, &table.cells())
    };
    std::thread::scope(|scope| {
        let threads = [scope.spawn(work), scope.spawn(work)];
        threads.into_iter().map(|thread| thread.join().expect("it takes")).sum()
    })
}

fn two_processes(path: &Path) -> f64 {
    let program = std::env::current_exe().expect("a path of this program");
    let start = || {
        let mut command = Command::new(&program);
        command.arg("hot").arg(path).stdin(Stdio::null()).stdout(Stdio::piped());
        command.spawn().expect("a process")
    };
    let processes = [start(), start()];
    let rate = |process: std::process::Child| {
        let output = process.wait_with_output().expect("it ends");
        String::from_utf8_lossy(&output.stdout).trim().parse::<f64>().expect("a figure")
    };
    processes.into_iter().map(rate).sum()
}

/// One of two processes: says how many it took a second.
pub(crate) fn hot_process(path: &str) {
    let region = Region::open(Path::new(path), &spec(), Now(START_NS), &mut |_| {}).expect("a region");
    let tenant = tenant(&budgets(1));
    // Both are there before either takes.
    let began = Instant::now();
    while region.members() < 2 && began.elapsed() < Duration::from_secs(2) {
        std::thread::sleep(Duration::from_millis(1));
    }
    println!("{}", takes(&tenant, &region.cells()));
}
