//! What survives: versions, last-known-good bundles, counters; and a disk that is full for a while.

use crate::common::*;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tollgate_engine::Reason;

const LIMITS: &str = "[[limit]]\nid = \"few\"\nmeter = \"requests\"\n\
    bucket = { rate = \"3/h\", burst = 3 }\ndimensions = [\"subject\"]\n";

const BUDGET: &str = "[[limit]]\nid = \"few\"\nmeter = \"requests\"\n\
    budget = { amount = 3, window = \"3650d\" }\ndimensions = [\"subject\"]\n";

/// The folder of a sidecar that was ended, to start another on it.
pub(crate) fn ended(mut sidecar: Sidecar, signal: nix::sys::signal::Signal) -> PathBuf {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(sidecar.child.id()).unwrap());
    nix::sys::signal::kill(pid, signal).unwrap();
    sidecar.child.wait().unwrap();
    std::mem::take(&mut sidecar.folder)
}

fn version(sidecar: &Sidecar, tenant: &str) -> String {
    let (_, _, status) = sidecar.http("GET /v1/status", "", "");
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    let mut tenants = status["tenants"].as_array().unwrap().iter();
    let found = tenants.find(|row| row["id"] == tenant).unwrap();
    format!("{} {}", found["version"].as_str().unwrap_or("-"), found["state"].as_str().unwrap())
}

#[test]
fn counters_and_versions_survive_a_restart_and_kill() {
    use nix::sys::signal::Signal;
    for (signal, limits, loses_region) in [
        (Signal::SIGTERM, LIMITS, true),
        (Signal::SIGKILL, LIMITS, true),
        (Signal::SIGKILL, LIMITS, false),
        (Signal::SIGTERM, BUDGET, true),
        (Signal::SIGKILL, BUDGET, true),
        (Signal::SIGKILL, BUDGET, false),
    ] {
        let folder = folder();
        write(&folder, "acme/limits.toml", limits);
        let sidecar = Sidecar::start(folder, &[]);
        for _ in 0..3 {
            assert_eq!(sidecar.ask("acme", "alice"), Reason::Allow);
        }
        assert_eq!(sidecar.ask("acme", "alice"), Reason::QuotaExceeded);
        if loses_region && signal == Signal::SIGKILL {
            // What the loss of the region may take is the last second.
            std::thread::sleep(Duration::from_millis(2_500));
        }
        let folder = ended(sidecar, signal);
        if loses_region {
            std::fs::remove_file(folder.join("run/cells.region")).unwrap();
        }
        let sidecar = Sidecar::start(folder, &[]);
        assert_eq!(sidecar.ask("acme", "alice"), Reason::QuotaExceeded, "{signal}");
        assert_eq!(version(&sidecar, "acme"), "1.1 active");
        let told = if loses_region { "\"restored\":1" } else { "\"counters\":1" };
        assert!(sidecar.log().contains(told), "{}", sidecar.log());
        // An edit is a new version, and so is the old file put back.
        for (rule, expected) in [("bob", "1.2 active"), ("alice", "1.3 active")] {
            write(&sidecar.folder, "acme/policy.csv", &format!("p, {rule}, /v1/:x, read\n"));
            let began = Instant::now();
            while version(&sidecar, "acme") != expected {
                assert!(began.elapsed() < READY, "{}", sidecar.log());
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        let folder = ended(sidecar, Signal::SIGTERM);
        assert_eq!(version(&Sidecar::start(folder, &[]), "acme"), "1.3 active");
    }
}

#[test]
fn a_folder_that_broke_while_nobody_looked_is_served_from_its_bundle() {
    use nix::sys::signal::Signal;
    let folder = folder();
    write(&folder, "acme/limits.toml", LIMITS);
    let folder = ended(Sidecar::start(folder, &[]), Signal::SIGTERM);
    write(&folder, "acme/policy.csv", "p, alice\n");
    let sidecar = Sidecar::start(folder, &[]);
    assert_eq!(version(&sidecar, "acme"), "1.1 last-known-good");
    assert_eq!(sidecar.ask("acme", "alice"), Reason::Allow);
    assert_eq!(sidecar.http("GET /readyz", "", "").0, 200);
    let folder = ended(sidecar, Signal::SIGTERM);
    // With the key gone, nothing vouches for the bundle: nobody is served.
    std::fs::remove_file(folder.join("data/keys/bundle-signing.pem")).unwrap();
    let sidecar = Sidecar::start(folder, &[]);
    assert_eq!(sidecar.ask("acme", "alice"), Reason::NoBundle);
    assert!(sidecar.log().contains("bundle-key 1203"), "{}", sidecar.log());
    // The floor outlives the key.
    write(&sidecar.folder, "acme/policy.csv", "p, carol, /v1/:x, read\n");
    sidecar.until("acme", "carol", Reason::Allow);
    assert_eq!(version(&sidecar, "acme"), "1.2 active");
    let key = sidecar.folder.join("data/keys/bundle-signing.pem");
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&key).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    // No secret in the log.
    let pem = std::fs::read_to_string(key).unwrap();
    let secret = pem.lines().nth(1).unwrap();
    assert!(!sidecar.log().contains(secret));
}

#[test]
fn corrupt_databases_are_set_aside() {
    use nix::sys::signal::Signal;
    let folder = folder();
    write(&folder, "acme/limits.toml", LIMITS);
    let folder = ended(Sidecar::start(folder, &[]), Signal::SIGTERM);
    for database in ["bundles", "state", "journal"] {
        std::fs::write(folder.join("data").join(database).join("CURRENT"), "nothing\n").unwrap();
    }
    let sidecar = Sidecar::start(folder, &[]);
    sidecar.still_answers();
    for aside in ["bundles.corrupt-1", "state.corrupt-1", "journal.corrupt-1"] {
        assert!(sidecar.folder.join("data").join(aside).exists(), "{aside}: {}", sidecar.log());
    }
    assert!(sidecar.log().contains("a corrupt database was set aside"), "{}", sidecar.log());
}

/// A sidecar whose data folder is a file system of its own, of four megabytes.
struct Small {
    child: Child,
}

impl Small {
    fn start(folder: &Path) -> Option<Small> {
        let data = folder.join("data");
        std::fs::create_dir_all(&data).unwrap();
        let log = std::fs::File::create(folder.join("log")).unwrap();
        let script = "mount -t tmpfs -o size=24m tmpfs \"$1\" || exit 99; shift; exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["-rm", "sh", "-c", script, "sh"]).arg(&data).arg(PROGRAM);
        for name in ["policies", "run", "data"] {
            command.arg(format!("--{name}")).arg(folder.join(name));
        }
        let child = command.stdin(Stdio::null()).stderr(log).spawn().ok()?;
        Some(Small { child })
    }

    /// The data folder as the sidecar sees it.
    fn data(&self, folder: &Path) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.child.id()));
        root.join(folder.join("data").strip_prefix("/").unwrap())
    }
}

#[test]
fn a_disk_that_fills_and_frees_again_loses_no_decision() {
    let folder = folder();
    write(&folder, "acme/limits.toml", LIMITS);
    let Some(small) = Small::start(&folder) else { panic!("unshare is missing (util-linux)") };
    let data = small.data(&folder);
    let mut sidecar = Sidecar { folder: folder.clone(), child: small.child };
    let began = Instant::now();
    while std::os::unix::net::UnixStream::connect(sidecar.http_socket()).is_err() {
        let ended = sidecar.child.try_wait().unwrap();
        assert!(ended.is_none() && began.elapsed() < READY, "{ended:?} {}", sidecar.log());
        std::thread::sleep(Duration::from_millis(10));
    }
    sidecar.still_answers();
    let failures = |sidecar: &Sidecar| {
        let (_, _, scrape) = sidecar.http("GET /metrics", "", "");
        let lines = scrape.lines().filter(|line| line.contains("store_failures_total{"));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum::<u64>()
    };
    assert_eq!(failures(&sidecar), 0);
    let ballast = data.join("ballast");
    let mut file = std::fs::File::create(&ballast).unwrap();
    while std::io::Write::write_all(&mut file, &[1; 4096]).is_ok() {}
    drop(file);
    // Decisions go on, also with a policy that the disk does not take.
    write(&sidecar.folder, "acme/policy.csv", "p, bob, /v1/:x, read\n# filling\n");
    sidecar.until("acme", "bob", Reason::Allow);
    let began = Instant::now();
    let mut subject = 0;
    while failures(&sidecar) == 0 {
        subject += 1;
        sidecar.ask("acme", &format!("s{subject}"));
        write(&sidecar.folder, "acme/policy.csv", &format!("p, bob, /v1/:x, read\n#{subject}\n"));
        assert!(began.elapsed() < 3 * READY, "{}", sidecar.log());
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(sidecar.ask("acme", "bob"), Reason::Allow);
    std::fs::remove_file(ballast).unwrap();
    let began = Instant::now();
    loop {
        let before = failures(&sidecar);
        std::thread::sleep(Duration::from_millis(1500));
        if failures(&sidecar) == before {
            break;
        }
        assert!(began.elapsed() < 3 * READY, "{}", sidecar.log());
    }
    assert_eq!(sidecar.ask("acme", "bob"), Reason::Allow);
}
