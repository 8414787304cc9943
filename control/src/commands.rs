//! What each command does, once it is known which.

use std::io::{IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use tollgate_control::backup::{self, Tools};
use tollgate_control::code::Refusal;
use tollgate_control::config::Config;
use tollgate_control::database::Addresses;
use tollgate_control::epochs::{self, Keys};
use tollgate_control::operations::work;
use tollgate_control::secret::MasterKey;
use tollgate_control::service::Service;
use tollgate_control::{bootstrap, fleet, migrate, rekey, serve, signing};

pub(crate) async fn migrated(config: &Config, plan: bool) -> Result<(), String> {
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

pub(crate) async fn passwords(config: &Config, tenant: Option<&str>) -> Result<(), String> {
    let master = MasterKey::read(&config.secrets.master_key_file)?;
    drop(serve::prepare(config).await?);
    let count = rekey::next_passwords(&addresses(config)?, &master, tenant).await?;
    println!("{count} tenants' roles have other passwords");
    Ok(())
}

pub(crate) async fn backed_up(
    config: &Config,
    bin: Option<PathBuf>,
    out: &Path,
    tenant: Option<&str>,
) -> Result<(), String> {
    let made = backup::make::make(config, &Tools::new(bin), out, tenant).await?;
    let bytes: u64 = made.dumps.iter().map(|dump| dump.bytes).sum();
    println!("{}: {} databases, {bytes} bytes, {}", out.display(), made.dumps.len(), made.made_at);
    Ok(())
}

pub(crate) fn verified(config: &Config, bin: Option<PathBuf>, from: &Path) -> Result<(), String> {
    let master = MasterKey::read(&config.secrets.master_key_file)?;
    let found = backup::verify(from, &master, &Tools::new(bin))?;
    println!(
        "{}: {} databases of {}, as they were written",
        from.display(),
        found.dumps.len(),
        found.made_at
    );
    Ok(())
}

pub(crate) async fn restored(
    config: &Config,
    bin: Option<PathBuf>,
    from: &Path,
    one: Option<((String, String), Keys)>,
) -> Result<(), String> {
    let tools = Tools::new(bin);
    let restored = match one {
        None => backup::restore(config, &tools, from).await?,
        Some(((tenant, reason), keys)) => {
            let wanted = backup::Wanted { from, tenant: &tenant, reason: &reason, keys };
            backup::restore_tenant(config, &tools, wanted).await?
        }
    };
    println!("{restored}");
    Ok(())
}

pub(crate) async fn begun(config: &Config, reason: &str, keys: Keys) -> Result<(), String> {
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

pub(crate) async fn rekeyed(config: &Config) -> Result<(), String> {
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
pub(crate) async fn resigned(config: &Config) -> Result<(), String> {
    let pools = serve::prepare(config).await?;
    let rotated = signing::rotate(&pools).await;
    let (retired, made) = rotated.map_err(|refusal| refusal.cause.unwrap_or(refusal.message))?;
    let retired = retired.unwrap_or_else(|| "none".to_owned());
    println!("what is signed from now on is signed with {made}; before it was {retired}");
    Ok(())
}

/// Whether a key was made.
pub(crate) async fn bootstrapped(
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
