//! Puts the parts together: loads, binds, serves, watches, drains.

use crate::clock::Clock;
use crate::config::Config;
use crate::conn::Shared;
use crate::door::{self, Open};
use crate::loader::Loader;
use crate::status;
use crate::table::Publisher;
use crate::watch::look;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::socket::{Shutdown, shutdown};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use tollgate_cells::HeapTable;

/// Bytes of a Unix socket's path that every system takes.
const RUN_PATH_BYTES_MAX: usize = 80;

/// Runs until a signal ends it.
pub(crate) fn run(config: &Config) -> Result<(), String> {
    if config.run.as_os_str().len() > RUN_PATH_BYTES_MAX {
        let shown = config.run.display();
        return Err(format!("{shown}: expected a path of at most {RUN_PATH_BYTES_MAX} bytes"));
    }
    end_signals().thread_block().map_err(|error| error.to_string())?;
    make_folder(&config.run)?;
    make_folder(&config.data)?;
    raise_descriptors();
    let clock = Clock::start();
    let mut loader = Loader::new(random()?);
    let mut publisher = Publisher::new();
    // The first load is complete before any door opens: who can connect gets real answers.
    if let Some(table) = loader.update(look(&config.policies), clock.now_ms()) {
        publisher.publish(table);
    }
    let shared = Arc::new(Shared {
        config: config.clone(),
        table: publisher.table(),
        cells: HeapTable::new(config.cells, [random()?, random()?]),
        clock,
        draining: AtomicBool::new(false),
    });
    write_status(config, &loader, clock);
    let (stop, stopped) = channel::<()>();
    let watching = {
        let config = config.clone();
        std::thread::Builder::new().name("policies".to_owned()).spawn(move || {
            while stopped.recv_timeout(config.watch_interval) == Err(RecvTimeoutError::Timeout) {
                if let Some(table) = loader.update(look(&config.policies), clock.now_ms()) {
                    publisher.publish(table);
                    write_status(&config, &loader, clock);
                }
                publisher.sweep();
            }
        })
    };
    let watching = watching.map_err(|error| format!("no thread for the policies: {error}"))?;
    let served = serve(&shared);
    drop(stop);
    let _ = watching.join();
    served
}

/// Opens the door and keeps it open until a signal comes.
fn serve(shared: &Arc<Shared>) -> Result<(), String> {
    let path = shared.config.run.join("tollgate.sock");
    let listener = Arc::new(door::bind(&path)?);
    let open = Arc::new(Open::default());
    tracing::info!(socket = %path.display(), cells = shared.cells.capacity(), "serving");
    let accepting = {
        let (listener, shared, open) =
            (Arc::clone(&listener), Arc::clone(shared), Arc::clone(&open));
        let door = std::thread::Builder::new().name("door".to_owned());
        door.spawn(move || door::run(&listener, &shared, &open))
    };
    let accepting = accepting.map_err(|error| format!("no thread for the door: {error}"))?;
    end_signals().wait().map_err(|error| error.to_string())?;
    tracing::info!("draining");
    shared.draining.store(true, Ordering::Release);
    let _ = std::fs::remove_file(&path);
    // A listener that is shut down wakes whoever waits in it.
    let _ = shutdown(listener.as_raw_fd(), Shutdown::Both);
    let _ = accepting.join();
    open.drain(shared.config.drain_timeout);
    let _ = std::fs::remove_file(shared.config.run.join("status.json"));
    tracing::info!(uptime_ms = shared.clock.uptime_ms(), "stopped");
    Ok(())
}

/// The signals that end the sidecar. Blocked in every thread, so that `wait` alone takes them.
fn end_signals() -> SigSet {
    SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM])
}

/// Makes a folder of mode 0750 if it is missing.
fn make_folder(path: &Path) -> Result<(), String> {
    let shown = path.display();
    if path.is_dir() {
        return Ok(());
    }
    std::fs::create_dir_all(path).map_err(|error| format!("{shown}: {error}"))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o750))
        .map_err(|error| format!("{shown}: {error}"))
}

/// As many descriptors as the system grants: each connection is one.
fn raise_descriptors() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

fn random() -> Result<u64, String> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| format!("no randomness: {error}"))?;
    Ok(u64::from_le_bytes(bytes))
}

fn write_status(config: &Config, loader: &Loader, clock: Clock) {
    if let Err(error) = status::write(&config.run, clock.uptime_ms(), &loader.status()) {
        tracing::warn!(error = error.to_string(), "status.json could not be written");
    }
}
