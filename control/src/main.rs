//! `tollgate-control`: serves the API, makes the first key, migrates, says what it is configured with.

#![allow(clippy::print_stdout, reason = "`--check`, `--print` and `migrate` answer on stdout")]

use clap::{Parser, Subcommand};
use std::io::{IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tollgate_control::backup::{self, Tools};
use tollgate_control::code::Refusal;
use tollgate_control::config::Config;
use tollgate_control::database::Addresses;
use tollgate_control::operations::work;
use tollgate_control::secret::MasterKey;
use tollgate_control::service::Service;
use tollgate_control::{bootstrap, epochs, fleet, migrate, rekey, serve, signing};

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
        #[command(flatten)]
        programs: Programs,
    },
    /// Say whether a backup is what was written
    Verify {
        #[arg(long, value_name = "DIR")]
        from: PathBuf,
        #[command(flatten)]
        programs: Programs,
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
        #[command(flatten)]
        programs: Programs,
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

#[derive(Debug, Clone, clap::Args)]
struct Programs {
    /// Where Postgres' client programs are, if not in PATH
    #[arg(long, value_name = "DIR")]
    bin: Option<PathBuf>,
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
            Some(Command::Migrate { plan }) => runtime.block_on(migrated(&config, plan)),
            Some(Command::Rekey { passwords: true, tenant, .. }) => {
                runtime.block_on(passwords(&config, tenant.as_deref()))
            }
            Some(Command::Rekey { signing_key: true, .. }) => runtime.block_on(resigned(&config)),
            Some(Command::Rekey { .. }) => runtime.block_on(rekeyed(&config)),
            Some(Command::Backup { out, tenant, programs }) => {
                runtime.block_on(backed_up(&config, programs, &out, tenant.as_deref()))
            }
            Some(Command::Verify { from, programs }) => verified(&config, programs, &from),
            Some(Command::Restore { from, tenant, reason, keys, programs }) => {
                let one = tenant.zip(reason).zip(keys);
                runtime.block_on(restored(&config, programs, &from, one))
            }
            Some(Command::Epoch { reason, keys }) => {
                runtime.block_on(begun(&config, &reason, keys.into()))
            }
            Some(Command::Bootstrap { out, print, reason, .. }) => {
                return runtime
                    .block_on(bootstrapped(&config, out.as_deref(), print, reason.as_deref()))
                    .map(|ok| if ok { 0 } else { NO });
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

async fn migrated(config: &Config, plan: bool) -> Result<(), String> {
    if plan {
        let admin = admin(config).await?;
        print!("{}", migrate::plan(&admin).await.map_err(|error| error.to_string())?);
        return Ok(());
    }
    let said = |refusal: Refusal| refusal.cause.unwrap_or(refusal.message);
    let pools = serve::prepare(config).await?;
    let Some(id) = fleet::ensure(&pools).await.map_err(said)? else { return Ok(()) };
    let service = Service::new(config.clone(), pools)?;
    let ended = work::until_ended(&service, &id).await.map_err(said)?;
    println!("{}", ended.json);
    match ended.state.as_str() {
        "succeeded" => Ok(()),
        state => Err(format!("the migration {id} is {state}: {}", ended.json["error"])),
    }
}

fn addresses(config: &Config) -> Result<Addresses, String> {
    Addresses::read(&config.database.url, config.database.direct_url.as_deref())
}

async fn passwords(config: &Config, tenant: Option<&str>) -> Result<(), String> {
    let master = MasterKey::read(&config.secrets.master_key_file)?;
    drop(serve::prepare(config).await?);
    let count = rekey::next_passwords(&addresses(config)?, &master, tenant).await?;
    println!("{count} tenants' roles have other passwords");
    Ok(())
}

async fn backed_up(
    config: &Config,
    programs: Programs,
    out: &Path,
    tenant: Option<&str>,
) -> Result<(), String> {
    let made = backup::make::make(config, &Tools::new(programs.bin), out, tenant).await?;
    let bytes: u64 = made.dumps.iter().map(|dump| dump.bytes).sum();
    println!("{}: {} databases, {bytes} bytes, {}", out.display(), made.dumps.len(), made.made_at);
    Ok(())
}

fn verified(config: &Config, programs: Programs, from: &Path) -> Result<(), String> {
    let master = MasterKey::read(&config.secrets.master_key_file)?;
    let found = backup::verify(from, &master, &Tools::new(programs.bin))?;
    println!(
        "{}: {} databases of {}, as they were written",
        from.display(),
        found.dumps.len(),
        found.made_at
    );
    Ok(())
}

async fn restored(
    config: &Config,
    programs: Programs,
    from: &Path,
    one: Option<((String, String), Keys)>,
) -> Result<(), String> {
    let tools = Tools::new(programs.bin);
    let restored = match one {
        None => backup::restore(config, &tools, from).await?,
        Some(((tenant, reason), keys)) => {
            let keys = keys.into();
            let wanted = backup::Wanted { from, tenant: &tenant, reason: &reason, keys };
            backup::restore_tenant(config, &tools, wanted).await?
        }
    };
    println!("{restored}");
    Ok(())
}

async fn begun(config: &Config, reason: &str, keys: epochs::Keys) -> Result<(), String> {
    let master = MasterKey::read(&config.secrets.master_key_file)?;
    drop(serve::prepare(config).await?);
    println!("{}", epochs::start(&addresses(config)?, &master, reason, keys).await?);
    Ok(())
}

async fn admin(config: &Config) -> Result<tokio_postgres::Client, String> {
    let addresses = addresses(config)?;
    let admin = addresses.admin(addresses.platform_database()).await;
    admin.map_err(|error| error.to_string())
}

async fn rekeyed(config: &Config) -> Result<(), String> {
    let master = MasterKey::read(&config.secrets.master_key_file)?;
    let previous = config.secrets.previous_master_key_file.as_deref().map(MasterKey::read);
    let mut admin = admin(config).await?;
    let resealed = rekey::reseal(&mut admin, &master, previous.transpose()?.as_ref()).await?;
    let addresses = addresses(config)?;
    let count = rekey::passwords(&admin, &addresses, &master).await?;
    println!(
        "the platform's role and {count} tenants' have passwords of the new key; {resealed} secrets are sealed under it"
    );
    Ok(())
}

/// Whoever verifies what was signed before keeps the public half of the key before.
async fn resigned(config: &Config) -> Result<(), String> {
    let pools = serve::prepare(config).await?;
    let rotated = signing::rotate(&pools).await;
    let (retired, made) = rotated.map_err(|refusal| refusal.cause.unwrap_or(refusal.message))?;
    let retired = retired.unwrap_or_else(|| "none".to_owned());
    println!("what is signed from now on is signed with {made}; before it was {retired}");
    Ok(())
}

/// Whether a key was made.
async fn bootstrapped(
    config: &Config,
    out: Option<&Path>,
    print: bool,
    reason: Option<&str>,
) -> Result<bool, String> {
    if out.is_none() && !(print && std::io::stdout().is_terminal()) {
        eprintln!("expected --out FILE, or --print at a terminal");
        return Ok(false);
    }
    let pools = serve::prepare(config).await?;
    let secret = match bootstrap::run(&pools, reason).await {
        Ok(secret) => secret,
        Err(error) => {
            eprintln!("{error}");
            return Ok(false);
        }
    };
    match out {
        Some(path) => {
            let mut options = std::fs::OpenOptions::new();
            let file = options.write(true).create(true).truncate(true).mode(0o600).open(path);
            let written = file.and_then(|mut file| writeln!(file, "{}", secret.expose()));
            written.map_err(|error| format!("{}: {error}", path.display()))?;
        }
        None => println!("{}", secret.expose()),
    }
    Ok(true)
}
