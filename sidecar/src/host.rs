//! Puts the parts together: loads, binds, serves, watches, drains.

use crate::clock::Clock;
use crate::config::Config;
use crate::decisions::{Decisions, Drain};
use crate::door::{self, Open};
use crate::http::HttpDoor;
use crate::journal::{Inbox, Writer};
use crate::loader::Loader;
use crate::metrics::Metrics;
use crate::overrides::Overrides;
use crate::region;
use crate::searches::Searches;
use crate::shared::Shared;
use crate::snapshot::Snapshots;
use crate::table::Publisher;
use crate::thresholds::Thresholds;
use crate::vault::{Vault, settled};
use crate::watch::look;
use arc_swap::ArcSwap;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::socket::{Shutdown, shutdown};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tollgate_store::{Journal, State};

/// Bytes of a Unix socket's path that every system takes.
const RUN_PATH_BYTES_MAX: usize = 80;

/// Time between two looks at what the metrics gather.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);
/// More workers than this only take turns.
const WORKERS_MAX: usize = 4;

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
    // Bound first, so that a second sidecar leaves the first one's data alone; answered when all is
    // loaded.
    let sockets = Sockets::bind(&config.run)?;
    let clock = Clock::start();
    let state = Arc::new(settled(State::open(&config.data.join("state")), "state")?);
    let journal = Arc::new(settled(Journal::open(&config.data.join("journal")), "journal")?);
    let fresh = ([random()?, random()?], random()?);
    let cells = region::open(config, (&state, &journal), fresh, clock.now())?;
    let (inbox, notes) = Inbox::new(config.journal_waits);
    let loader = Loader::new(random()?, Vault::open(&config.data, Arc::clone(&state))?);
    let publisher = Publisher::new(config.metrics_tenants_max);
    let metrics = Metrics::new(clock.now(), config.cells);
    let dropped = metrics.decision_log_dropped.clone();
    let prefix = u32::from_le_bytes(random_bytes()?);
    let shared = Arc::new(Shared {
        decisions: Decisions::new(&config.decision_log, prefix, dropped),
        config: config.clone(),
        table: publisher.table(),
        statuses: ArcSwap::default(),
        cells,
        journal: inbox,
        overrides: Overrides::load(Arc::clone(&state)).map_err(|error| error.to_string())?,
        clock,
        metrics,
        thresholds: Thresholds::new(),
        searches: Searches::new(random_bytes()?),
        draining: AtomicBool::new(false),
    });
    let mut policies = Policies { shared: Arc::clone(&shared), loader, publisher };
    policies.look();
    let snapshots = Snapshots::new(Arc::clone(&shared), state, Arc::clone(&journal));
    shared.overrides.apply(&shared);
    let writer = Writer { shared: Arc::clone(&shared), journal, notes, failed: false };
    let drain = Drain::open(Arc::clone(&shared), random_bytes()?)?;
    let (stop_drain, drain_stopped) = channel::<()>();
    let draining = std::thread::Builder::new()
        .name("decisions".to_owned())
        .spawn(move || drain.run(&drain_stopped))
        .map_err(|error| format!("no thread for the decision log: {error}"))?;
    let (stop, stopped) = channel::<()>();
    let (stop_snapshots, snapshots_stopped) = channel::<()>();
    let writing = std::thread::Builder::new()
        .name("snapshots".to_owned())
        .spawn(move || snapshots.run(&snapshots_stopped))
        .map_err(|error| format!("no thread for snapshots: {error}"))?;
    let journaling = std::thread::Builder::new()
        .name("journal".to_owned())
        .spawn(move || writer.run())
        .map_err(|error| format!("no thread for the journal: {error}"))?;
    let watching = std::thread::Builder::new()
        .name("policies".to_owned())
        .spawn(move || policies.watch(&stopped))
        .map_err(|error| format!("no thread for the policies: {error}"))?;
    let served = serve(&shared, sockets);
    shared.journal.stop();
    let _ = journaling.join();
    drop((stop, stop_snapshots, stop_drain));
    let _ = (watching.join(), writing.join(), draining.join());
    tracing::info!(uptime_ms = clock.uptime_ms(), "stopped");
    served
}

/// Both sockets, bound.
struct Sockets {
    path: PathBuf,
    http_path: PathBuf,
    frame: UnixListener,
    http: UnixListener,
}

impl Sockets {
    fn bind(run: &Path) -> Result<Sockets, String> {
        let (path, http_path) = (run.join("tollgate.sock"), run.join("tollgate-http.sock"));
        let (frame, http) = (door::bind(&path)?, door::bind(&http_path)?);
        Ok(Sockets { path, http_path, frame, http })
    }
}

/// The thread that loads and publishes.
struct Policies {
    shared: Arc<Shared>,
    loader: Loader,
    publisher: Publisher,
}

impl Policies {
    fn watch(mut self, stopped: &Receiver<()>) {
        let interval = self.shared.config.watch_interval;
        while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
            self.look();
            self.publisher.sweep();
        }
    }

    fn look(&mut self) {
        let (shared, began) = (&self.shared, Instant::now());
        let seen = look(&shared.config.policies);
        let Some(served) = self.loader.update(seen, shared.clock.now_ms(), &shared.metrics) else {
            return;
        };
        self.publisher.publish(served, &shared.metrics);
        let statuses = self.loader.status();
        shared.metrics.tenant_states(&statuses.iter().map(|tenant| tenant.state));
        shared.statuses.store(Arc::new(statuses));
        shared.metrics.reload_seconds.record(began.elapsed().as_secs_f64());
    }
}

/// Opens the doors and keeps them open until a signal comes.
fn serve(shared: &Arc<Shared>, sockets: Sockets) -> Result<(), String> {
    let Sockets { path, http_path, frame, http } = sockets;
    let listener = Arc::new(frame);
    let runtime = runtime()?;
    let http = open_http(shared, &runtime, http)?;
    let open = Arc::new(Open::default());
    let socket = path.display().to_string();
    tracing::info!(socket, http = %http_path.display(), cells = shared.cells.capacity(), "serving");
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
    let _ = std::fs::remove_file(&http_path);
    // A listener that is shut down wakes whoever waits in it.
    let _ = shutdown(listener.as_raw_fd(), Shutdown::Both);
    let _ = accepting.join();
    let limit = shared.config.drain_timeout;
    let draining = runtime.spawn(async move { http.drain(limit).await });
    open.drain(limit);
    let _ = runtime.block_on(draining);

    Ok(())
}

/// Serves HTTP and gRPC, and health on loopback if that is wanted.
fn open_http(
    shared: &Arc<Shared>,
    runtime: &Runtime,
    listener: UnixListener,
) -> Result<Arc<HttpDoor>, String> {
    let said = |error: std::io::Error| format!("tollgate-http.sock: {error}");
    let http = HttpDoor::new(Arc::clone(shared));
    let _entered = runtime.enter();
    listener.set_nonblocking(true).map_err(said)?;
    let listener = tokio::net::UnixListener::from_std(listener).map_err(said)?;
    runtime.spawn(Arc::clone(&http).accept_unix(listener));
    runtime.spawn(Arc::clone(&http).reap());
    runtime.spawn(Arc::clone(&http).report_health());
    if let Some(address) = shared.config.ops_listen {
        let bound = runtime.block_on(tokio::net::TcpListener::bind(address));
        let listener = bound.map_err(|error| format!("ops.listen {address}: {error}"))?;
        runtime.spawn(Arc::clone(&http).accept_ops(listener));
    }
    let shared = Arc::clone(shared);
    runtime.spawn(async move {
        loop {
            let cells = shared.cells.cells();
            shared.metrics.upkeep(cells.occupied(), cells.held());
            tokio::time::sleep(UPKEEP_INTERVAL).await;
        }
    });
    Ok(http)
}

/// A thread per core; where one core is allowed, one thread that wakes nobody on another.
fn runtime() -> Result<Arc<Runtime>, String> {
    let said = |error: std::io::Error| format!("no threads for HTTP: {error}");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    if cores > 1 {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(cores.min(WORKERS_MAX)).thread_name("http").enable_all();
        return builder.build().map(Arc::new).map_err(said);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map(Arc::new).map_err(said)?;
    let driven = Arc::clone(&runtime);
    let driver = std::thread::Builder::new().name("http".to_owned());
    let drive = move || driven.block_on(std::future::pending::<()>());
    driver.spawn(drive).map_err(said)?;
    Ok(runtime)
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
    Ok(u64::from_le_bytes(random_bytes()?))
}

fn random_bytes<const N: usize>() -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| format!("no randomness: {error}"))?;
    Ok(bytes)
}
