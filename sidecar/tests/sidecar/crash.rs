//! `kill -9` under load: what clients were told and what counters say afterwards. `make torture` runs the same at full
//! size (`TORTURE`, a factor).

use crate::common::*;
use crate::storage::ended;
use nix::sys::signal::Signal;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tollgate_engine::{Amount, Reserve, SettleCode};
use tollgate_proto::authzen::Settle;
use tollgate_proto::frame::{self, kind};

/// Clients of one sidecar, each with one request in flight.
const CLIENTS: usize = 3;
/// Tokens that each request reserves.
const ESTIMATE: u64 = 100;
/// A reservation that nobody settles ends by then.
const TTL_MS: u64 = 300;

const LIMITS: &str = "[[limit]]\nid = \"tokens\"\nmeter = \"tokens\"\ndefault_amount = 1\n\
    budget = { amount = 1_000_000_000, window = \"3650d\" }\n\
    [[limit]]\nid = \"in-flight\"\nmeter = \"concurrency\"\nbudget = { amount = 1_000 }\n";

/// How much more than in `make test` is done.
fn factor() -> u64 {
    std::env::var("TORTURE").ok().and_then(|factor| factor.parse().ok()).unwrap_or(1)
}

/// A client that connects again whenever its sidecar is killed.
struct Client<'f> {
    folder: &'f Path,
    stream: Option<UnixStream>,
}

impl Client<'_> {
    /// Sends a frame and returns the answer's body; `None` if the sidecar ended meanwhile.
    fn ask(&mut self, out: &[u8], expected: u8) -> Option<Vec<u8>> {
        let connect = || {
            let stream = UnixStream::connect(self.folder.join("run/tollgate.sock")).ok()?;
            stream.set_read_timeout(Some(READY)).ok()?;
            Some(stream)
        };
        let mut stream = self.stream.take().or_else(connect)?;
        stream.write_all(out).ok()?;
        let (kind, _, body) = read_frame(&mut stream)?;
        self.stream = Some(stream);
        (kind == expected).then_some(body)
    }

    fn reserve(&mut self) -> Option<String> {
        let amounts = [Amount { meter: "tokens", amount: ESTIMATE }];
        let known = [Amount { meter: "tokens", amount: 0 }];
        let reserve = Reserve { ttl_ms: TTL_MS, known: &known };
        let mut asked = request("acme", "alice", "/v1/x");
        asked.amounts = Some(&amounts);
        asked.reserve = Some(&reserve);
        let mut out = Vec::new();
        frame::put_reserve(&mut out, 1, &asked);
        let body = self.ask(&out, kind::RESERVED)?;
        let (reservation, reply) = frame::read_reserved(&body).unwrap();
        (reply.reason.number() == 0).then(|| reservation.to_owned())
    }

    /// Whether it is settled now, by this or an earlier call.
    fn settle(&mut self, reservation: &str, tokens: u64) -> bool {
        let amounts = Some(vec![("tokens".into(), tokens)]);
        let mut out = Vec::new();
        frame::put_settle(&mut out, 2, &Settle { reservation: reservation.into(), amounts });
        let Some(body) = self.ask(&out, kind::SETTLED) else { return false };
        let (number, uncharged) = frame::read_settled(&body).unwrap();
        assert_eq!(uncharged, 0);
        let codes = [SettleCode::Settled, SettleCode::SettledLate, SettleCode::AlreadySettled];
        assert!(
            number == SettleCode::Busy.number() || codes.iter().any(|code| code.number() == number),
            "{number}"
        );
        number != SettleCode::Busy.number()
    }
}

/// Reserves and settles until it is over; what it settled is in the ledger.
fn client(folder: &Path, ledger: &AtomicU64, over: &AtomicBool, mut random: fastrand::Rng) {
    let mut client = Client { folder, stream: None };
    while !over.load(Ordering::Relaxed) {
        let Some(reservation) = client.reserve() else {
            std::thread::sleep(Duration::from_millis(2));
            continue;
        };
        let tokens = random.u64(0..2 * ESTIMATE);
        // What was reserved is settled, whoever was killed meanwhile.
        while !client.settle(&reservation, tokens) {
            std::thread::sleep(Duration::from_millis(2));
        }
        ledger.fetch_add(tokens, Ordering::Relaxed);
    }
}

/// What each limit has counted, by its position.
fn used(sidecar: &Sidecar) -> [u64; 2] {
    let body = serde_json::json!({
        "subject": {"type": "user", "id": "alice"}, "action": {"name": "read"},
        "resource": {"type": "path", "id": "/v1/x"}, "context": {"tenant": "acme", "quota": {}},
    });
    let (_, answer) = sidecar.evaluate("/access/v1/evaluation", &body.to_string());
    let left = |at: usize, of: u64| {
        let remaining = answer["context"]["limits"][at]["remaining"].as_u64();
        of - remaining.unwrap_or_else(|| panic!("{answer}"))
    };
    [left(0, 1_000_000_000), left(1, 1_000)]
}

fn start(folder: &Path, sync: &str) -> Sidecar {
    let variables = [("TOLLGATE_JOURNAL_SYNC", sync), ("TOLLGATE_JOURNAL_FLUSH_MS", "1")];
    Sidecar::start(folder.to_owned(), &variables)
}

/// Kills and starts again so many times under load. `loses` says whether the region goes with the process. What the
/// clients settled, and what is counted once what was in flight has ended.
fn killed(cycles: u64, sync: &str, loses: bool) -> (u64, [u64; 2]) {
    let folder = folder();
    write(&folder, "acme/limits.toml", LIMITS);
    let (ledger, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let mut random = fastrand::Rng::with_seed(cycles);
    let mut sidecar = start(&folder, sync);
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            let random = random.fork();
            scope.spawn(|| client(&folder, &ledger, &over, random));
        }
        for _ in 0..cycles {
            std::thread::sleep(Duration::from_millis(random.u64(30..150)));
            ended(std::mem::replace(&mut sidecar, Sidecar::none()), Signal::SIGKILL);
            if loses {
                std::fs::remove_file(folder.join("run/cells.region")).unwrap();
            }
            let settled = ledger.load(Ordering::Relaxed);
            sidecar = start(&folder, sync);
            let [tokens, _] = used(&sidecar);
            assert!(tokens >= settled, "{tokens} of {settled} settled: {}", sidecar.log());
        }
        over.store(true, Ordering::Relaxed);
    });
    // What was answered and never settled ends within its time and a second.
    std::thread::sleep(Duration::from_millis(TTL_MS + 2_500));
    let ended_with = used(&sidecar);
    (ledger.load(Ordering::Relaxed), ended_with)
}

#[test]
fn a_kill_loses_nothing_that_was_settled_and_strands_at_most_what_was_in_flight() {
    let cycles = 8 * factor();
    let (settled, [tokens, in_flight]) = killed(cycles, "process", false);
    let chunk = cycles * CLIENTS as u64 * 2 * ESTIMATE;
    println!("{cycles} kills, {settled} tokens settled, {} stranded", tokens - settled);
    assert!(settled > 0);
    assert!((settled..=settled + chunk).contains(&tokens), "{tokens} for {settled}");
    // Who was killed between taking and holding left one; it is counted anew at each start.
    assert!(in_flight <= CLIENTS as u64, "{in_flight} in flight");
}

#[test]
fn what_was_settled_on_the_disk_survives_the_loss_of_the_region() {
    let cycles = 4 * factor();
    let folder = folder();
    write(&folder, "acme/limits.toml", LIMITS);
    let mut sidecar = start(&folder, "disk");
    let mut settled = 0;
    for cycle in 0..cycles {
        let mut client = Client { folder: &folder, stream: None };
        for tokens in 0..=cycle {
            let reservation = client.reserve().expect("a reservation");
            assert!(client.settle(&reservation, tokens));
            settled += tokens;
        }
        ended(std::mem::replace(&mut sidecar, Sidecar::none()), Signal::SIGKILL);
        std::fs::remove_file(folder.join("run/cells.region")).unwrap();
        sidecar = start(&folder, "disk");
        let [tokens, in_flight] = used(&sidecar);
        // A snapshot may have seen an estimate that was settled behind it.
        let chunk = (cycle + 1) * ESTIMATE;
        assert!((settled..=settled + chunk).contains(&tokens), "{tokens} for {settled}");
        assert_eq!(in_flight, 0, "{}", sidecar.log());
    }
}

/// Each has a snapshot and a journal of its own; whoever comes first makes the region anew from what it knows.
#[test]
fn what_another_settled_is_added_to_a_region_that_was_made_anew() {
    for cycle in 0..2 * factor() {
        let region = folder();
        let path = region.join("cells.region");
        let variables =
            [("TOLLGATE_CELLS__REGION", path.to_str().unwrap()), ("TOLLGATE_JOURNAL_SYNC", "disk")];
        let start = |folder: &Path| Sidecar::start(folder.to_owned(), &variables);
        let folders = [folder(), folder()];
        folders.iter().for_each(|folder| write(folder, "acme/limits.toml", LIMITS));
        let sidecars = folders.each_ref().map(|folder| start(folder));
        // Seen by no snapshot of the first, most likely: it writes one a second.
        let mut settled = 0;
        for folder in [&folders[0], &folders[1], &folders[1]] {
            let mut client = Client { folder, stream: None };
            let reservation = client.reserve().expect("a reservation");
            assert!(client.settle(&reservation, 1 + cycle));
            settled += 1 + cycle;
        }
        sidecars.into_iter().for_each(|sidecar| drop(ended(sidecar, Signal::SIGKILL)));
        std::fs::remove_file(&path).unwrap();
        let first = start(&folders[0]);
        let second = start(&folders[1]);
        for sidecar in [&first, &second] {
            let [tokens, _] = used(sidecar);
            let chunk = 3 * ESTIMATE;
            assert!((settled..=settled + chunk).contains(&tokens), "{tokens} for {settled}");
        }
        // An ordinary restart adds nothing.
        let [before, _] = used(&second);
        ended(second, Signal::SIGKILL);
        let second = start(&folders[1]);
        assert_eq!(used(&second)[0], before);
        std::fs::remove_dir_all(region).unwrap();
    }
}

const FEW: &str = "[[limit]]\nid = \"calls\"\nmeter = \"requests\"\n\
    budget = { amount = 5_000, window = \"3650d\" }\n";

/// Asks so many times; how often it was allowed.
fn admitted(folder: &Path, requests: usize) -> u64 {
    let mut client = Client { folder, stream: None };
    let mut out = Vec::new();
    frame::put_check(&mut out, 3, &request("acme", "alice", "/v1/x"));
    let mut admitted = 0;
    for _ in 0..requests {
        match client.ask(&out, kind::DECISION) {
            Some(body) => {
                let reason = frame::read_decision(&body).unwrap().reason.number();
                assert!(reason == 0 || reason == 2060, "{reason}");
                admitted += u64::from(reason == 0);
            }
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    }
    admitted
}

#[test]
fn sidecars_that_share_a_region_pass_a_budget_together_by_not_one() {
    // At full size 200 000 requests against 50 000.
    let scale = if factor() > 1 { 10 } else { 1 };
    let (budget, requests) = (5_000 * scale as u64, 20_000 * scale);
    let region = folder();
    let path = region.join("cells.region");
    let path = path.to_str().unwrap();
    let folders: Vec<_> = (0..4).map(|_| folder()).collect();
    let limits = FEW.replace("5_000", &budget.to_string());
    folders.iter().for_each(|folder| write(folder, "acme/limits.toml", &limits));
    let variables = [("TOLLGATE_CELLS__REGION", path)];
    let start = |folder: &Path| Sidecar::start(folder.to_owned(), &variables);
    let mut sidecars: Vec<_> = folders.iter().map(|folder| start(folder)).collect();
    let clients = 8;
    let admitted: u64 = std::thread::scope(|scope| {
        let ask = |at: usize| {
            let folder = &folders[at % folders.len()];
            scope.spawn(move || admitted(folder, requests / clients))
        };
        let asking: Vec<_> = (0..clients).map(ask).collect();
        for killed in [1, 2] {
            std::thread::sleep(Duration::from_millis(60));
            let sidecar = std::mem::replace(&mut sidecars[killed], Sidecar::none());
            ended(sidecar, Signal::SIGKILL);
            sidecars[killed] = start(&folders[killed]);
        }
        asking.into_iter().map(|asking| asking.join().unwrap()).sum()
    });
    println!("{admitted} of {budget} admitted, {requests} requests, 2 kills");
    // One in flight for each client of a sidecar that was killed.
    assert!((budget - 4..=budget).contains(&admitted), "{admitted}");
    for (sidecar, folder) in sidecars.iter().zip(&folders) {
        assert_eq!(self::admitted(folder, 1), 0, "{}", sidecar.log());
    }
    std::fs::remove_dir_all(region).unwrap();
}
