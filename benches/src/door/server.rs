//! Servers that are measured: the sidecar, and an echo.

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub(crate) const REQUEST_BYTES: usize = 128;
pub(crate) const ECHO_BYTES: usize = 64;
/// The core that client and server share.
const CORE: usize = 0;

const MODEL: &str = include_str!("../../../cli/demo/model.conf");
const POLICY: &str = include_str!("../../../cli/demo/policy.csv");

/// A folder with the demo policy, gone when it is dropped.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Folder {
        let folder = std::env::temp_dir().join(format!("tollgate-bench-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("policies/demo")).expect("a folder");
        for (name, content) in [("model.conf", MODEL), ("policy.csv", POLICY)] {
            std::fs::write(folder.join("policies/demo").join(name), content).expect("a file");
        }
        Folder(folder)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn put(&self, name: &str, content: &str) {
        std::fs::write(self.path(name), content).expect("a file");
    }

    pub(crate) fn echo(&self, pinned: bool) -> Server {
        let socket = self.0.join("echo.sock");
        let own = std::env::current_exe().expect("this program");
        let command =
            vec![own.display().to_string(), "echo".to_owned(), socket.display().to_string()];
        Server { command, socket, pinned }
    }

    pub(crate) fn sidecar(&self, socket: &str, pinned: bool) -> Server {
        Server { pinned, ..self.configured("plain", "", socket) }
    }

    /// A sidecar with a configuration file and folders of its own.
    pub(crate) fn configured(&self, name: &str, configuration: &str, socket: &str) -> Server {
        let own = std::env::current_exe().expect("this program");
        let program = own.with_file_name("tollgate-sidecar").display().to_string();
        let folder = self.0.join(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join("sidecar.toml"), configuration).expect("a file");
        let policies = self.0.join("policies").display().to_string();
        let path = |name: &str| folder.join(name).display().to_string();
        let options = [
            ["--policies", &policies],
            ["--run", &path("run")],
            ["--data", &path("data")],
            ["--config", &path("sidecar.toml")],
        ];
        let options = options.as_flattened().iter().map(|text| (*text).to_owned());
        let command = [program].into_iter().chain(options).collect();
        Server { command, socket: folder.join("run").join(socket), pinned: false }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) struct Server {
    command: Vec<String>,
    socket: PathBuf,
    pinned: bool,
}

impl Server {
    /// Starts it, waits for its socket, asks, and ends exactly that process.
    pub(crate) fn with<T>(&self, ask: impl FnOnce(&Path) -> T) -> T {
        self.ended_by(Signal::SIGTERM, ask)
    }

    /// The same, ended by this signal.
    pub(crate) fn ended_by<T>(&self, signal: Signal, ask: impl FnOnce(&Path) -> T) -> T {
        let _ = std::fs::remove_file(&self.socket);
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]).stdout(Stdio::null()).stderr(Stdio::null());
        if self.pinned {
            // SAFETY: only an affinity call happens between fork and exec.
            unsafe { command.pre_exec(|| pin().map_err(std::io::Error::from)) };
        }
        let mut child: Child =
            command.spawn().expect("the server starts; build it with make bench");
        let began = Instant::now();
        while UnixStream::connect(&self.socket).is_err() {
            assert!(began.elapsed() < Duration::from_secs(10), "{:?} is not ready", self.command);
            std::thread::sleep(Duration::from_millis(5));
        }
        let figure = ask(&self.socket);
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("a process id"));
        let _ = kill(pid, signal);
        let _ = child.wait();
        figure
    }
}

fn pin() -> nix::Result<()> {
    let mut set = CpuSet::new();
    set.set(CORE)?;
    sched_setaffinity(Pid::from_raw(0), &set)
}

/// Runs in a thread of its own, so that only it is pinned.
pub(crate) fn pinned<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            pin().expect("this core may be used");
            work()
        });
        thread.join().expect("the client ran")
    })
}

/// The raw echo: a blocking thread per connection, 64 bytes back for each 128.
pub(crate) fn echo(path: &str) {
    let listener = UnixListener::bind(path).expect("the socket");
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { continue };
        std::thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            let mut held = 0;
            while let Ok(got) = stream.read(&mut buffer[held..]) {
                if got == 0 {
                    return;
                }
                held += got;
                let whole = held / REQUEST_BYTES;
                if stream.write_all(&[0; 512 * ECHO_BYTES][..whole * ECHO_BYTES]).is_err() {
                    return;
                }
                buffer.copy_within(whole * REQUEST_BYTES..held, 0);
                held -= whole * REQUEST_BYTES;
            }
        });
    }
}
