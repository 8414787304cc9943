//! `tollgate-control`: serves the API, makes the first key, migrates, says what it is configured with.

#![allow(clippy::print_stdout, reason = "`--check`, `--print` and `migrate` answer on stdout")]

mod commands;

use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;
use tollgate_control::config::Config;
use tollgate_control::{epochs, serve};

/// It ran and the answer is no; usage; the database cannot be reached; the configuration does not load.
const NO: u8 = 1;
const UNREACHABLE: u8 = 3;
const DOES_NOT_LOAD: u8 = 4;

#[derive(Debug, Parser)]
#[command(name = "tollgate-control", version, about = "The control plane of Tollgate")]
struct Arguments {
    /// Where the configuration is; variables TOLLGATE_SECTION__KEY stand above it
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print every value and end
    #[arg(long)]
    check: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the API
    Serve,
    /// Make the first platform-admin key
    Bootstrap {
        /// Where the key goes, mode 0600
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Print it instead; to a terminal only
        #[arg(long)]
        print: bool,
        /// Although there is an active one: valid for 60 minutes, loudly audited
        #[arg(long, requires = "reason")]
        recover: bool,
        #[arg(long)]
        reason: Option<String>,
    },
    /// Bring the platform database and the template to head
    Migrate {
        /// Only say what would be done
        #[arg(long)]
        plan: bool,
    },
    /// Give the databases' roles passwords of the new master key; the old one is secrets.previous_master_key_file
    Rekey {
        /// Instead: another key that bundles and certificates are signed with
        #[arg(long)]
        signing_key: bool,
        /// Instead: other passwords of tenants' roles under the same master key
        #[arg(long, conflicts_with = "signing_key")]
        passwords: bool,
        /// Of one tenant alone
        #[arg(long, requires = "passwords", value_name = "ID")]
        tenant: Option<String>,
    },
    /// Dump the platform and every tenant, or one tenant, into a new folder
    Backup {
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// One tenant alone
        #[arg(long, value_name = "ID")]
        tenant: Option<String>,
        /// Where Postgres' client programs are, if not in PATH
        #[arg(long, value_name = "DIR")]
        bin: Option<PathBuf>,
    },
    /// Say whether a backup is what was written
    Verify {
        #[arg(long, value_name = "DIR")]
        from: PathBuf,
        /// Where Postgres' client programs are, if not in PATH
        #[arg(long, value_name = "DIR")]
        bin: Option<PathBuf>,
    },
    /// Bring the platform back into an empty database, or one suspended tenant
    Restore {
        #[arg(long, value_name = "DIR")]
        from: PathBuf,
        /// One tenant alone, in the place of its database
        #[arg(long, value_name = "ID", requires = "reason", requires = "keys")]
        tenant: Option<String>,
        /// Why, for the tenant's audit log
        #[arg(long)]
        reason: Option<String>,
        /// What becomes of the tenant's API keys: those that were revoked after the backup are back
        #[arg(long, value_enum)]
        keys: Option<Keys>,
        /// Where Postgres' client programs are, if not in PATH
        #[arg(long, value_name = "DIR")]
        bin: Option<PathBuf>,
    },
    /// Open what was restored: its next epoch begins
    Epoch {
        /// Why, for all audit logs
        #[arg(long)]
        reason: String,
        /// What becomes of all API keys: those that were revoked after the backup are back
        #[arg(long, value_enum)]
        keys: Keys,
    },
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Keys {
    Keep,
    Revoke,
}

impl From<Keys> for epochs::Keys {
    fn from(keys: Keys) -> epochs::Keys {
        match keys {
            Keys::Keep => epochs::Keys::Keep,
            Keys::Revoke => epochs::Keys::Revoke,
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let config = match Config::read(arguments.config.as_deref(), std::env::vars()) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(DOES_NOT_LOAD);
        }
    };
    if arguments.check {
        print!("{}", config.describe());
        return ExitCode::SUCCESS;
    }
    let filter = tracing_subscriber::EnvFilter::try_new(&config.log.level).unwrap_or_default();
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let ran = runtime.map_err(|error| error.to_string()).and_then(|runtime| {
        match arguments.command {
            None | Some(Command::Serve) => runtime.block_on(serve::run(config)),
            Some(Command::Migrate { plan }) => runtime.block_on(commands::migrated(&config, plan)),
            Some(Command::Rekey { passwords: true, tenant, .. }) => {
                runtime.block_on(commands::passwords(&config, tenant.as_deref()))
            }
            Some(Command::Rekey { signing_key: true, .. }) => {
                runtime.block_on(commands::resigned(&config))
            }
            Some(Command::Rekey { .. }) => runtime.block_on(commands::rekeyed(&config)),
            Some(Command::Backup { out, tenant, bin }) => {
                runtime.block_on(commands::backed_up(&config, bin, &out, tenant.as_deref()))
            }
            Some(Command::Verify { from, bin }) => commands::verified(&config, bin, &from),
            Some(Command::Restore { from, tenant, reason, keys, bin }) => {
                let one = tenant.zip(reason).zip(keys.map(Into::into));
                runtime.block_on(commands::restored(&config, bin, &from, one))
            }
            Some(Command::Epoch { reason, keys }) => {
                runtime.block_on(commands::begun(&config, &reason, keys.into()))
            }
            Some(Command::Bootstrap { out, print, reason, .. }) => {
                let made =
                    commands::bootstrapped(&config, out.as_deref(), print, reason.as_deref());
                return runtime.block_on(made).map(|ok| if ok { 0 } else { NO });
            }
        }
        .map(|()| 0)
    });
    match ran {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(UNREACHABLE)
        }
    }
}
