//! `tollgate completions SHELL`.

use crate::exit::Exit;
use clap_complete::Shell;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// bash, zsh, fish, elvish or powershell
    shell: Shell,
}

pub(crate) fn run(arguments: &Arguments, command: &mut clap::Command) -> Exit {
    clap_complete::generate(arguments.shell, command, "tollgate", &mut std::io::stdout());
    Exit::Yes
}
