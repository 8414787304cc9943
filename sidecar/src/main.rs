//! The sidecar: policies from a folder, decisions over a Unix socket.
//!
//! `config` says how, `loader` turns folders into tenants and publishes them in `table`, `watch`
//! notices edits, `door` answers frames (`conn` one connection, `peers` who may connect), `status`
//! tells what is served. It compiles policies nowhere but in the loader's thread and never decides
//! without the engine. To add a setting: a row in `config::SETTINGS` and its field.

#![cfg_attr(
    not(test),
    warn(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::cast_possible_truncation
    )
)]
#![allow(clippy::print_stdout, reason = "`--check` answers on stdout")]

mod authzen;
mod clock;
mod config;
mod conn;
mod decisions;
mod door;
mod grpc;
mod host;
mod http;
mod journal;
mod loader;
mod log;
mod metrics;
mod overrides;
mod peers;
mod probe;
mod quotas;
mod region;
mod searches;
mod settings;
mod shared;
mod snapshot;
mod status;
mod table;
mod thresholds;
mod vault;
mod watch;

use clap::Parser;
use config::{Arguments, Config};
use std::process::ExitCode;

/// Large tables lie in large pages, small answers are made without a lock.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// It ran and ended well; usage; the socket or data cannot be had; the configuration does not load.
const USAGE: u8 = 2;
const UNREACHABLE: u8 = 3;
const DOES_NOT_LOAD: u8 = 4;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.is_probe() {
        return probe::run(&arguments);
    }
    let (config, findings) = match Config::read(&arguments) {
        Ok(read) => read,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(if error.is_usage() { USAGE } else { DOES_NOT_LOAD });
        }
    };
    if arguments.check {
        print!("{}", config.describe());
        return ExitCode::SUCCESS;
    }
    log::start(&config.log_level, &config.log_format);
    log::diagnostics(&findings);
    match host::run(&config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error, "the sidecar cannot run");
            ExitCode::from(UNREACHABLE)
        }
    }
}
