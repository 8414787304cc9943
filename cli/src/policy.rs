//! `tollgate policy …`: what one does with policy files, without a sidecar, and with the policies of a tenant.

mod bench;
mod can;
mod diff;
pub(crate) mod enforce;
mod fmt;
mod junit;
mod lint;
pub(crate) mod oracles;
mod shell;
mod test;

use crate::admin;
use crate::exit::Exit;
use crate::places::Places;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Run the tests of a policy folder, or of every folder below DIR
    Test(test::Arguments),
    /// Say what is probably wrong with a policy that loads
    Lint(lint::Arguments),
    /// Say which requests gain or lose between two versions of a policy
    Diff(diff::Arguments),
    /// Time the requests of tests.yaml on this machine, beside casbin
    Bench(bench::Arguments),
    /// Say who may do this on that
    WhoCan(can::WhoCan),
    /// Say what somebody may do
    WhatCan(can::WhatCan),
    /// Ask a policy folder line by line
    Shell(shell::Arguments),
    /// Put the columns of policy.csv in line; no rule changes
    Fmt(fmt::Arguments),
    /// Ask a model and policy about one request tuple, bound by position
    Enforce(enforce::Arguments),
    #[command(flatten)]
    OfTenant(admin::Policy),
}

pub(crate) fn run(places: &Places, command: &Command) -> Exit {
    match command {
        Command::Test(arguments) => test::run(arguments),
        Command::Lint(arguments) => lint::run(arguments),
        Command::Diff(arguments) => diff::run(arguments),
        Command::Bench(arguments) => bench::run(arguments),
        Command::WhoCan(arguments) => can::who(arguments),
        Command::WhatCan(arguments) => can::what(arguments),
        Command::Shell(arguments) => shell::run(arguments),
        Command::Fmt(arguments) => fmt::run(arguments),
        Command::Enforce(arguments) => enforce::run(arguments),
        Command::OfTenant(command) => admin::policy(places, command),
    }
}
