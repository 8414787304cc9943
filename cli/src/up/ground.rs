//! What the programs stand on: folders, copies, the user that they run as.

use super::Failed;
use crate::children::{self, Child};
use crate::exit::Exit;
use crate::places::Places;
use nix::unistd::{Uid, User, chown};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where everything is, made.
pub(crate) struct Ground {
    pub(crate) places: Places,
    pub(crate) port: u16,
    user: Option<User>,
    foreground: bool,
    /// How a person calls this program.
    pub(crate) tollgate: String,
    programs: PathBuf,
}

impl Ground {
    pub(crate) fn prepare(places: &Places, port: u16, foreground: bool) -> Result<Ground, Failed> {
        let user = child_user()?;
        let (data, run) = (places.data(), places.run());
        make_folder(&data, 0o755)?;
        let (programs, tollgate) = programs(&data, user.as_ref())?;
        let ground = Ground { places: places.clone(), port, user, foreground, tollgate, programs };
        let run_mode = if ground.user.is_some() { 0o750 } else { 0o700 };
        let policies = ground.policies();
        for (path, mode) in [
            (&run, run_mode),
            (&data.join("sidecar"), 0o750),
            (&ground.keys(), 0o700),
            (&policies, 0o755),
        ] {
            make_folder(path, mode)?;
            ground.own(path)?;
        }
        Ok(ground)
    }

    pub(crate) fn policies(&self) -> PathBuf {
        self.places.data().join("policies")
    }

    pub(crate) fn keys(&self) -> PathBuf {
        self.places.data().join("keys")
    }

    pub(crate) fn postgres(&self) -> PathBuf {
        self.places.data().join("postgres")
    }

    pub(crate) fn api(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.places.data().join(format!("{name}.log"))
    }

    /// Gives a path to the user that children run as.
    pub(crate) fn own(&self, path: &Path) -> Result<(), Failed> {
        let Some(user) = &self.user else { return Ok(()) };
        chown(path, Some(user.uid), Some(user.gid))
            .map_err(|error| Failed(Exit::NotPermitted, format!("{}: {error}", path.display())))
    }

    /// Writes a file that only the children may read.
    pub(crate) fn write_private(&self, path: &Path, content: &str) -> Result<(), Failed> {
        let partial = path.with_extension("partial");
        std::fs::write(&partial, "")?;
        std::fs::set_permissions(&partial, std::fs::Permissions::from_mode(0o600))?;
        std::fs::write(&partial, content)?;
        self.own(&partial)?;
        Ok(std::fs::rename(&partial, path)?)
    }

    /// A random text in a file of `keys`, made once.
    pub(crate) fn secret(&self, name: &str, make: fn(&[u8]) -> String) -> Result<String, Failed> {
        let path = self.keys().join(name);
        if let Ok(known) = std::fs::read_to_string(&path) {
            return Ok(known.trim().to_owned());
        }
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)
            .map_err(|error| Failed(Exit::Usage, format!("no randomness: {error}")))?;
        let text = make(&bytes);
        self.write_private(&path, &format!("{text}\n"))?;
        Ok(text)
    }

    /// A program that runs as the children do, with nothing of our environment that could mislead it.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        let ours = std::env::vars_os().map(|(name, _)| name);
        for name in ours.filter(|name| {
            name.to_string_lossy().starts_with("TOLLGATE_")
                || name.to_string_lossy().starts_with("PG")
        }) {
            command.env_remove(name);
        }
        command.current_dir("/").stdin(Stdio::null());
        if let Some(user) = &self.user {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw()).env("HOME", "/");
        }
        command
    }

    /// Starts a program that stays, and writes it down.
    pub(crate) fn spawn(
        &self,
        name: &str,
        mut command: Command,
    ) -> Result<std::process::Child, Failed> {
        let log = std::fs::File::create(self.log(name))?;
        command.stdout(Stdio::null()).stderr(log);
        if !self.foreground {
            command.process_group(0);
        }
        let child = command.spawn().map_err(|error| {
            Failed(Exit::Usage, format!("{}: {error}", command.get_program().display()))
        })?;
        if let Some(known) = Child::new(name, child.id()) {
            children::add(&self.places.data(), known)?;
        }
        Ok(child)
    }

    pub(crate) fn is_running(&self, name: &str) -> bool {
        children::running(&self.places.data()).iter().any(|child| child.name == name)
    }

    /// The last line of a program's log: mostly why it ended.
    pub(crate) fn last_word(&self, name: &str) -> String {
        let path = self.log(name);
        let log = std::fs::read_to_string(&path).unwrap_or_default();
        let last = log.lines().last().unwrap_or("it said nothing").to_owned();
        format!("{last} (log: {})", path.display())
    }
}

/// The folder of the programs that are started, and how a person calls this one.
fn programs(data: &Path, user: Option<&User>) -> Result<(PathBuf, String), Failed> {
    let mut own_path = std::env::current_exe()?;
    let mut folder = own_path.parent().map(Path::to_path_buf).unwrap_or_default();
    let started = ["tollgate-sidecar", "tollgate-control"];
    if let Some(missing) = started.iter().map(|name| folder.join(name)).find(|path| !path.exists())
    {
        let message = format!("{} is missing; build it with `make up`", missing.display());
        return Err(Failed(Exit::Usage, message));
    }
    if user.is_some() {
        let bin = data.join("bin");
        make_folder(&bin, 0o755)?;
        for name in started {
            install(&folder.join(name), &bin)?;
        }
        own_path = install(&own_path, &bin)?;
        folder = bin;
    }
    let on_path = std::env::var_os("PATH").and_then(|paths| {
        std::env::split_paths(&paths).map(|folder| folder.join("tollgate")).find(|p| p.exists())
    });
    let same =
        |found: PathBuf| std::fs::canonicalize(found).ok() == std::fs::canonicalize(&own_path).ok();
    let tollgate = match on_path.is_some_and(same) {
        true => "tollgate".to_owned(),
        false => own_path.display().to_string(),
    };
    Ok((folder, tollgate))
}

/// Copies a program beside its target and renames it: a running program cannot be overwritten.
fn install(program: &Path, bin: &Path) -> io::Result<PathBuf> {
    let target = bin.join(program.file_name().unwrap_or_default());
    if program == target {
        return Ok(target);
    }
    let partial = target.with_extension("partial");
    std::fs::copy(program, &partial)?;
    std::fs::rename(&partial, &target)?;
    Ok(target)
}

/// As root: the user that the children run as.
fn child_user() -> Result<Option<User>, Failed> {
    if !Uid::effective().is_root() {
        return Ok(None);
    }
    let known = ["tollgate", "nobody"].iter().find_map(|name| User::from_name(name).ok().flatten());
    let message = "neither the user `tollgate` nor `nobody` exists; add one";
    known.map(Some).ok_or_else(|| Failed(Exit::Usage, message.to_owned()))
}

fn make_folder(path: &Path, mode: u32) -> Result<(), Failed> {
    if path.is_dir() {
        return Ok(());
    }
    let made = std::fs::create_dir_all(path)
        .and_then(|()| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)));
    made.map_err(|error| Failed(Exit::Usage, format!("{}: {error}", path.display())))
}
