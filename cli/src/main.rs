//! The command line. Answers go to stdout, progress and findings to stderr.
//!
//! Exit codes everywhere: 0 yes, 1 ran and the answer is no, 2 usage, 3 unreachable, 4 input does
//! not load, 5 not permitted. To add a command: a module with `run`, a variant of `Command`.

#![allow(clippy::print_stdout, reason = "stdout is where a command line answers")]

mod draw;
mod errors;
mod exit;
mod folder;
mod policy;

use clap::{Parser, Subcommand};

/// May this request pass, and what does it use up?
#[derive(Debug, Parser)]
#[command(name = "tollgate", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Test policies, or ask one directly
    #[command(subcommand)]
    Policy(policy::Command),
    /// Show the page of a reason or load error, by name or number
    Errors(errors::Arguments),
}

fn main() -> std::process::ExitCode {
    let exit = match Cli::parse().command {
        Command::Policy(command) => policy::run(&command),
        Command::Errors(arguments) => errors::run(&arguments),
    };
    exit.into()
}
