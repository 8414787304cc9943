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
    pid: i32,
    /// Clock ticks since boot, field 22 of /proc/PID/stat: a reused id has another.
    pub(crate) started: u64,
}

/// The file that lists them.
pub(crate) fn record(data: &Path) -> PathBuf {
    data.join("up.json")
}

fn write(data: &Path, children: &[Child]) -> std::io::Result<()> {
    let row = |child: &Child| serde_json::json!({"name": child.name, "pid": child.pid, "started": child.started});
    let rows: Vec<Json> = children.iter().map(row).collect();
    std::fs::write(record(data), format!("{}\n", serde_json::json!({"children": rows})))
}

/// Writes one more down; it ends first when all end.
pub(crate) fn add(data: &Path, child: Child) -> std::io::Result<()> {
    let mut children = running(data);
    children.retain(|known| known.name != child.name);
    children.push(child);
    write(data, &children)
}

/// Ends all, the last that was started first, and forgets them.
///
/// # Errors
/// A sentence: which one does not end.
pub(crate) fn stop_all(data: &Path) -> Result<Vec<String>, String> {
    let mut stopped = Vec::new();
    for child in running(data).into_iter().rev() {
        if !child.stop() {
            return Err(format!("{} (process {}) does not end", child.name, child.pid));
        }
        stopped.push(child.name);
    }
    let _ = std::fs::remove_file(record(data));
    Ok(stopped)
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
        // Postgres waits for its clients at SIGTERM; at SIGINT it ends them and shuts down in order.
        let first = if self.name == "postgres" { Signal::SIGINT } else { Signal::SIGTERM };
        for signal in [first, Signal::SIGKILL] {
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
