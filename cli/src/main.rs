//! The command line. Answers go to stdout, progress and findings to stderr.
//!
//! Exit codes everywhere: 0 yes, 1 ran and the answer is no, 2 usage, 3 unreachable, 4 input does
//! not load, 5 not permitted. To add a command: a module with `run`, a variant of `Command`.

#![allow(clippy::print_stdout, reason = "stdout is where a command line answers")]

mod admin;
mod api;
mod browser;
mod bundle;
mod check;
mod children;
mod client;
mod completions;
mod debug;
mod declared;
mod demo;
mod doctor;
mod down;
mod draw;
mod errors;
mod exit;
mod explain;
mod folder;
mod import;
mod init;
mod logs;
mod ops;
mod places;
mod policy;
mod profile;
mod quota;
mod run;
mod status;
mod table;
mod tail;
mod up;

use clap::{CommandFactory, Parser, Subcommand};
use places::Places;

/// May this request pass, and what does it use up?
#[derive(Debug, Parser)]
#[command(name = "tollgate", version, propagate_version = true)]
struct Cli {
    #[command(flatten)]
    places: Places,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start Postgres, the control plane, a sidecar and a demo tenant, in the background
    Up(up::Arguments),
    /// Stop what `up` started
    Down,
    /// Show what is served
    Status(status::Arguments),
    /// Show the sidecar's log
    Logs(logs::Arguments),
    /// Ask the running sidecar whether a request may pass; it takes what the request uses
    Check(check::Arguments),
    /// Say why the running sidecar decides a request as it does, or did; takes nothing
    Explain(explain::Arguments),
    /// Follow the decisions that the running sidecar makes
    Tail(tail::Arguments),
    /// Test policies, or ask one directly
    #[command(subcommand)]
    Policy(policy::Command),
    /// How the limits of the running sidecar stand
    #[command(subcommand)]
    Quota(quota::Command),
    /// Build, inspect or verify signed bundles
    #[command(subcommand)]
    Bundle(bundle::Command),
    /// Bring policies from elsewhere
    #[command(subcommand)]
    Import(import::Command),
    /// Make a policy folder from one of the cases
    Init(init::Arguments),
    /// Run a command, such as your tests, beside a sidecar of its own
    Run(run::Arguments),
    /// What somebody who helps asks for
    #[command(subcommand)]
    Debug(debug::Command),
    /// Say what is wrong with this installation, and what mends it
    Doctor(doctor::Arguments),
    /// Print completions for a shell
    Completions(completions::Arguments),
    /// Keep where the control plane is and the key that opens it
    Login(profile::Login),
    /// Say who the key belongs to and what it may do
    Me(admin::Me),
    /// Tenants of the platform
    Tenant(admin::Arguments<admin::Tenant>),
    /// Work that goes on in the background, such as making a tenant
    Operation(admin::Arguments<admin::Operation>),
    /// API keys, of the platform or with --tenant of a tenant
    Key(admin::Arguments<admin::Key>),
    /// Settings, of the platform or with --tenant of a tenant
    Setting(admin::Arguments<admin::Setting>),
    /// The audit log, of the platform or with --tenant of a tenant
    Audit(admin::Arguments<admin::Audit>),
    /// Write a tenant's policy and limits into a folder, as `apply` takes it
    Export(declared::Arguments),
    /// Compare a folder with what is in force; exit 1 if anything differs
    Diff(declared::Arguments),
    /// Bring in force what a folder says; a second time there is nothing to do
    Apply(declared::Apply),
    /// A tenant's limits: a change is in force at once
    Limit(admin::Arguments<admin::Limit>),
    /// Identity providers whose people sign in, and organisations that are linked to tenants
    Idp(admin::Arguments<admin::Idp>),
    /// Migrations of the tenants' databases
    Migration(admin::Arguments<admin::Migration>),
    /// The people of a tenant, or of the platform
    User(admin::Arguments<admin::User>),
    /// Groups of users
    Group(admin::Arguments<admin::Group>),
    /// Roles: the built-in ones, and a tenant's own
    Role(admin::Arguments<admin::Role>),
    /// Which user or group has which role
    Binding(admin::Arguments<admin::Binding>),
    /// Who of the platform may see what is a tenant's people's own
    Grant(admin::Arguments<admin::Grant>),
    /// What stops everything: two administrators of the platform
    KillSwitch(admin::Arguments<admin::KillSwitch>),
    /// Who may do what, and when they called last
    Access(admin::Arguments<admin::Access>),
    /// Show the page of a reason or load error, by name or number
    Errors(errors::Arguments),
}

/// As the shell reports a program that SIGPIPE ended.
const BROKEN_PIPE: i32 = 128 + 13;

/// Whoever reads us may stop reading, such as `head`: that is no defect of ours.
fn end_quietly_on_a_broken_pipe() {
    let others = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let said = info.payload_as_str().unwrap_or_default();
        if said.starts_with("failed printing to stdout") {
            std::process::exit(BROKEN_PIPE);
        }
        others(info);
    }));
}

fn main() -> std::process::ExitCode {
    end_quietly_on_a_broken_pipe();
    let Cli { places, command } = Cli::parse();
    let exit = match command {
        Command::Up(arguments) => up::run(&places, &arguments),
        Command::Down => down::run(&places),
        Command::Status(arguments) => status::run(&places, &arguments),
        Command::Logs(arguments) => logs::run(&places, &arguments),
        Command::Check(arguments) => check::run(&places, &arguments),
        Command::Explain(arguments) => explain::run(&places, &arguments),
        Command::Tail(arguments) => tail::run(&places, &arguments),
        Command::Policy(command) => policy::run(&places, &command),
        Command::Bundle(command) => bundle::run(&command),
        Command::Import(command) => import::run(&command),
        Command::Quota(command) => quota::run(&places, &command),
        Command::Init(arguments) => init::run(&arguments),
        Command::Run(arguments) => return run::run(&arguments),
        Command::Debug(command) => debug::run(&places, &command),
        Command::Doctor(arguments) => doctor::run(&places, &arguments),
        Command::Completions(arguments) => completions::run(&arguments, &mut Cli::command()),
        Command::Errors(arguments) => errors::run(&arguments),
        Command::Login(arguments) => match profile::login(&arguments) {
            Ok(said) => {
                println!("{said}");
                exit::Exit::Yes
            }
            Err((exit, message)) => exit::fail(exit, message),
        },
        Command::Me(arguments) => admin::me(&places, &arguments),
        Command::Tenant(arguments) => admin::run(&places, &arguments),
        Command::Operation(arguments) => admin::run(&places, &arguments),
        Command::Key(arguments) => admin::run(&places, &arguments),
        Command::Setting(arguments) => admin::run(&places, &arguments),
        Command::Export(arguments) => declared::export(&places, &arguments),
        Command::Diff(arguments) => declared::diff(&places, &arguments),
        Command::Apply(arguments) => declared::apply(&places, &arguments),
        Command::Limit(arguments) => admin::run(&places, &arguments),
        Command::Idp(arguments) => admin::run(&places, &arguments),
        Command::Migration(arguments) => admin::run(&places, &arguments),
        Command::User(arguments) => admin::run(&places, &arguments),
        Command::Group(arguments) => admin::run(&places, &arguments),
        Command::Role(arguments) => admin::run(&places, &arguments),
        Command::Binding(arguments) => admin::run(&places, &arguments),
        Command::Grant(arguments) => admin::run(&places, &arguments),
        Command::KillSwitch(arguments) => admin::run(&places, &arguments),
        Command::Access(arguments) => admin::run(&places, &arguments),
        Command::Audit(arguments) => admin::audit(&places, &arguments),
    };
    exit.into()
}
