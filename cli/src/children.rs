//! The processes that `up` started: found again by process id and start time, so that nothing else
//! is ever ended.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value as Json;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Longer than a sidecar drains by default.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// One process of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Child {
    pub(crate) name: String,
    pub(crate) pid: i32,
    /// Clock ticks since boot, field 22 of /proc/PID/stat: a reused id has another.
    pub(crate) started: u64,
}

/// The file that lists them.
pub(crate) fn record(data: &Path) -> PathBuf {
    data.join("up.json")
}

pub(crate) fn write(data: &Path, children: &[Child]) -> std::io::Result<()> {
    let row = |child: &Child| serde_json::json!({"name": child.name, "pid": child.pid, "started": child.started});
    let rows: Vec<Json> = children.iter().map(row).collect();
    std::fs::write(record(data), format!("{}\n", serde_json::json!({"children": rows})))
}

/// The recorded processes that still run.
pub(crate) fn running(data: &Path) -> Vec<Child> {
    let text = std::fs::read_to_string(record(data)).unwrap_or_default();
    let json: Json = serde_json::from_str(&text).unwrap_or_default();
    let child = |row: &Json| {
        Some(Child {
            name: row["name"].as_str()?.to_owned(),
            pid: i32::try_from(row["pid"].as_i64()?).ok()?,
            started: row["started"].as_u64()?,
        })
    };
    let rows = json["children"].as_array().into_iter().flatten().filter_map(child);
    rows.filter(Child::is_running).collect()
}

impl Child {
    /// The process that was just started.
    pub(crate) fn new(name: &str, pid: u32) -> Option<Child> {
        let pid = i32::try_from(pid).ok()?;
        Some(Child { name: name.to_owned(), pid, started: start_time(pid)? })
    }

    fn is_running(&self) -> bool {
        start_time(self.pid) == Some(self.started)
    }

    /// Asks it to end, waits, and ends it; whether it is gone.
    pub(crate) fn stop(&self) -> bool {
        for signal in [Signal::SIGTERM, Signal::SIGKILL] {
            let _ = kill(Pid::from_raw(self.pid), signal);
            let asked = Instant::now();
            while asked.elapsed() < STOP_TIMEOUT {
                if !self.is_running() {
                    return true;
                }
                std::thread::sleep(LOOK_INTERVAL);
            }
        }
        false
    }
}

/// When a process started; `None` if there is none, or only its remains.
fn start_time(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold blanks and brackets: fields are counted behind its last bracket.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let state = fields.next()?;
    (state != "Z").then_some(())?;
    fields.nth(18)?.parse().ok()
}
