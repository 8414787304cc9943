//! Where state and sockets are: `--data` and `--run`, their variables, their defaults.

use nix::unistd::Uid;
use std::path::PathBuf;

/// The two folders of an installation.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Places {
    /// Where state is kept
    #[arg(long, global = true, value_name = "DIR", env = "TOLLGATE_DATA")]
    data: Option<PathBuf>,
    /// Where sockets are
    #[arg(long, global = true, value_name = "DIR", env = "TOLLGATE_RUN")]
    run: Option<PathBuf>,
}

impl Places {
    pub(crate) fn data(&self) -> PathBuf {
        given(self.data.as_ref()).unwrap_or_else(default_data)
    }

    pub(crate) fn run(&self) -> PathBuf {
        given(self.run.as_ref()).unwrap_or_else(default_run)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.run().join("tollgate.sock")
    }

    pub(crate) fn http_socket(&self) -> PathBuf {
        self.run().join("tollgate-http.sock")
    }

    /// Arguments that another command needs to find the same run folder.
    pub(crate) fn run_argument(&self) -> String {
        match self.run() == default_run() {
            true => String::new(),
            false => format!(" --run {}", self.run().display()),
        }
    }

    /// Arguments that another command needs to find both folders.
    pub(crate) fn arguments(&self) -> String {
        let data = match self.data() == default_data() {
            true => String::new(),
            false => format!(" --data {}", self.data().display()),
        };
        format!("{}{data}", self.run_argument())
    }
}

/// An empty variable is unset; a relative folder is relative to here.
fn given(path: Option<&PathBuf>) -> Option<PathBuf> {
    let path = path.filter(|path| !path.as_os_str().is_empty())?;
    std::path::absolute(path).ok()
}

fn is_root() -> bool {
    Uid::effective().is_root()
}

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn default_data() -> PathBuf {
    if is_root() {
        return PathBuf::from("/var/lib/tollgate");
    }
    let state = variable("XDG_STATE_HOME").or_else(|| Some(variable("HOME")?.join(".local/state")));
    state.unwrap_or_else(std::env::temp_dir).join("tollgate")
}

fn default_run() -> PathBuf {
    if is_root() {
        return PathBuf::from("/run/tollgate");
    }
    let own = || PathBuf::from(format!("/tmp/tollgate-{}", Uid::effective()));
    variable("XDG_RUNTIME_DIR").unwrap_or_else(own)
}
