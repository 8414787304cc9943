//! Processes that share a region and are killed: no budget is passed by one unit. `TORTURE`, a factor, makes it larger.

#![allow(clippy::print_stdout, reason = "`--nocapture` shows what was told and killed")]

#[path = "../region/common.rs"]
mod common;

use common::{Path, START, ask, left, limit, spec, tenant};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};
use tollgate_cells::Region;
use tollgate_engine::quota::window::Period;
use tollgate_engine::{Limit, Now, Reason, TenantState};

/// What a child does, and in which file.
const ROLE: &str = "REGION_CHILD_ROLE";
const FILE: &str = "REGION_CHILD_FILE";
const PROCESSES: usize = 4;
/// Cells of the region in which keys take each other's place.
const FEW_CELLS: usize = 64;
const KEYS: u64 = 500;
/// How much faster the children's clock runs: a window lasts half a millisecond, and whoever is held up sleeps through
/// many of them.
const SPEED: u64 = 2_000;
/// Says how many were asked instead of whom.
const ASKED: u64 = u64::MAX;

fn factor() -> u64 {
    std::env::var("TORTURE").ok().and_then(|factor| factor.parse().ok()).unwrap_or(1)
}

fn budget() -> u64 {
    10_000 * factor().min(5)
}

fn limits(role: &str) -> Vec<Limit> {
    match role {
        "budget" => vec![limit("calls", budget(), Period::Day, false)],
        _ => vec![limit("calls", 1, Period::Seconds(1), true)],
    }
}

/// Not a test: what the processes do that the tests below start.
#[test]
#[ignore = "what the processes of the other tests do"]
fn child() {
    let (Ok(role), Ok(file)) = (std::env::var(ROLE), std::env::var(FILE)) else { return };
    let state = tenant(&limits(&role));
    let open = |cells| Region::open(file.as_ref(), &spec(cells, 1), START, &mut |_| {}).unwrap();
    match role.as_str() {
        "budget" => take_all(&state, &open(1_024)),
        _ => take_keys(&state, &open(FEW_CELLS)),
    }
}

/// One record of whom was admitted, written at once.
fn tell(who: u64, window: u64) {
    let record = [who.to_ne_bytes(), window.to_ne_bytes()].concat();
    if std::io::stderr().write_all(&record).is_err() {
        std::process::exit(0);
    }
}

fn take_all(state: &TenantState, region: &Region) {
    while ask((state, region), "x", None, START).is_allow() {
        tell(0, 0);
    }
}

fn take_keys(state: &TenantState, region: &Region) {
    let mut random = fastrand::Rng::new();
    loop {
        for _ in 0..1_000 {
            let who = random.u64(0..KEYS);
            let now = wall().0 * SPEED;
            let decision = ask((state, region), &who.to_string(), None, Now(now));
            if decision.is_allow() {
                tell(who, now / 1_000_000_000);
            } else {
                let full = Reason::QuotaStoreFull;
                assert!([Reason::QuotaExceeded, full].contains(&decision.reason));
            }
        }
        tell(ASKED, 1_000);
    }
}

/// One clock for all children, small enough to be multiplied.
fn wall() -> Now {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Now(u64::try_from(now.as_nanos()).unwrap() % 1_000_000_000_000_000)
}

/// Starts a child; its records go to `told`.
fn start(role: &str, path: &Path, told: &Sender<(u64, u64)>) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["child", "--exact", "--ignored", "--nocapture"]);
    command.env(ROLE, role).env(FILE, &path.0).stdin(Stdio::null());
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut records, told) = (child.stderr.take().unwrap(), told.clone());
    std::thread::spawn(move || {
        let mut record = [0; 16];
        while records.read_exact(&mut record).is_ok() {
            let (who, window) = record.split_at(8);
            let word = |bytes: &[u8]| u64::from_ne_bytes(bytes.try_into().unwrap());
            let _ = told.send((word(who), word(window)));
        }
    });
    child
}

fn end(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn processes_pass_a_budget_together_by_not_one() {
    let (path, state) = (Path::new(), tenant(&limits("budget")));
    let region = path.open(&spec(1_024, 1));
    let (told, admitted) = channel();
    let mut children: Vec<Child> = (0..PROCESSES).map(|_| start("budget", &path, &told)).collect();
    let mut random = fastrand::Rng::with_seed(1);
    let (mut kills, began) = (0, Instant::now());
    while left((&state, &region), "x", START) > 0 {
        assert!(began.elapsed() < Duration::from_secs(300));
        std::thread::sleep(Duration::from_millis(random.u64(1..10)));
        let killed = random.usize(0..PROCESSES);
        end(std::mem::replace(&mut children[killed], start("budget", &path, &told)));
        kills += 1;
    }
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    drop(told);
    let told = admitted.iter().count() as u64;
    println!("{told} of {} admitted were told, {kills} kills", budget());
    assert!((budget() - kills..=budget()).contains(&told), "{told} told, {kills} kills");
    let standing = state.quotas().standing(&region.cells(), 0, &[], START).unwrap();
    assert_eq!(standing.used, budget());
}

#[test]
fn keys_that_take_each_others_cells_are_admitted_once_a_window() {
    let path = Path::new();
    let region = path.open(&spec(FEW_CELLS, 1));
    let (told, records) = channel();
    let mut children: Vec<Child> = (0..PROCESSES).map(|_| start("keys", &path, &told)).collect();
    let mut random = fastrand::Rng::with_seed(2);
    let (mut seen, mut asked, mut kills) = (HashMap::new(), 0, 0);
    let mut next_kill = Instant::now();
    while asked < 400_000 * factor() {
        let (who, window) = records.recv_timeout(Duration::from_secs(60)).unwrap();
        match who {
            ASKED => asked += window,
            _ => *seen.entry((who, window)).or_insert(0_u64) += 1,
        }
        if next_kill <= Instant::now() {
            let killed = random.usize(0..PROCESSES);
            end(std::mem::replace(&mut children[killed], start("keys", &path, &told)));
            kills += 1;
            next_kill = Instant::now() + Duration::from_millis(random.u64(5..40));
        }
    }
    children.into_iter().for_each(end);
    drop(told);
    for (who, window) in records {
        if who != ASKED {
            *seen.entry((who, window)).or_insert(0_u64) += 1;
        }
    }
    let twice: Vec<_> = seen.iter().filter(|(_, count)| **count > 1).collect();
    println!("{asked} asked, {} admitted, {kills} kills", seen.len());
    assert!(seen.len() > 1_000, "{}", seen.len());
    assert!(twice.is_empty(), "admitted more than once: {twice:?}");
    let found = region.cells().examine(true);
    assert_eq!((found.doubled, found.misplaced), (0, 0), "{found:?}");
    assert!(found.half_evicted <= kills, "{found:?} after {kills} kills");
    assert!(!region.cells().examine(false).any());
}
