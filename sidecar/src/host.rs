//! Puts the parts together: loads, binds, serves, watches, drains.

use crate::clock::Clock;
use crate::config::Config;
use crate::conn::Shared;
use crate::door;
use crate::loader::Loader;
use crate::status;
use crate::table::Publisher;
use crate::watch::look;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tollgate_cells::HeapTable;

/// Worker threads at most: more only pass requests around.
const WORKERS_MAX: usize = 4;
/// Bytes of a Unix socket's path that every system takes.
const RUN_PATH_BYTES_MAX: usize = 80;

/// Runs until a signal ends it.
pub(crate) fn run(config: &Config) -> Result<(), String> {
    if config.run.as_os_str().len() > RUN_PATH_BYTES_MAX {
        let shown = config.run.display();
        return Err(format!("{shown}: expected a path of at most {RUN_PATH_BYTES_MAX} bytes"));
    }
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
    let served = runtime()?.block_on(serve(shared));
    drop(stop);
    let _ = watching.join();
    served
}

async fn serve(shared: Arc<Shared>) -> Result<(), String> {
    let path = shared.config.run.join("tollgate.sock");
    let listener = door::bind(&path).await?;
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| error.to_string())?;
    let (drain, draining) = watch::channel(false);
    tracing::info!(socket = %path.display(), cells = shared.cells.capacity(), "serving");
    let door = tokio::spawn(door::run(listener, Arc::clone(&shared), draining));
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("draining");
    let _ = drain.send(true);
    let _ = std::fs::remove_file(&path);
    let _ = door.await;
    let _ = std::fs::remove_file(shared.config.run.join("status.json"));
    tracing::info!(uptime_ms = shared.clock.uptime_ms(), "stopped");
    Ok(())
}

/// One thread when one core is allowed, else a worker per core up to `WORKERS_MAX`.
fn runtime() -> Result<tokio::runtime::Runtime, String> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut builder = match cores {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let builder = builder.worker_threads(cores.min(WORKERS_MAX));
    builder.enable_all().build().map_err(|error| format!("no runtime: {error}"))
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
