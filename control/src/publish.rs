//! What sidecars decide by: a folder per tenant below `publish.dir`, written whole and put in place at once.
//!
//! `publish.dir/<tenant>` is a symlink to a folder in `.published`; a new version is a new folder, and the link
//! is replaced by rename, so that nobody ever reads half of one. A tenant that is not ready, or gone, has no link.
//! The contents are those of the tenant's bundle once it has one; before, those that are there (edited in place, or
//! found as a plain folder), for a new tenant a model without rules: everything is denied until there is a policy.
//! A folder's name carries the tenant's state and the number of its bundle: where both are the same, nothing is read.

use crate::bundle::{self, BundleVersion, apart};
use crate::code::Refusal;
use crate::kill_switches;
use crate::lease::Lease;
use crate::placement::KnownTenant;
use crate::policies::Files;
use crate::pools::Conn;
use crate::random::base32;
use crate::service::Service;
use crate::settings;
use crate::sql::Queries;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tollgate_engine::{Diagnostics, Version};
use tollgate_proto::bundle::{FILES, File, Options, from_files};
use toml::{Table, Value};

/// Changes of other replicas are seen so often.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// What no transaction told of is found by asking every tenant, so often.
const SWEEP_INTERVAL: Duration = Duration::from_secs(600);
const VERSIONS: &str = ".published";
const NAME_CHARS: usize = 16;
const NEW_MODEL: &str = include_str!("publish/model.conf");
const NEW_POLICY: &str = include_str!("publish/policy.csv");

/// Publishes until the service ends.
pub async fn work(service: Arc<Service>) {
    let holder = base32(NAME_CHARS);
    loop {
        if let Err(refusal) = look(&service, &holder).await {
            let cause = refusal.cause.unwrap_or(refusal.message);
            tracing::warn!(cause, "publishing waits");
        }
        tokio::select! {
            () = service.to_publish.notified() => {}
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
        }
    }
}

/// Brings the folder to what the platform database says.
async fn look(service: &Arc<Service>, holder: &str) -> Result<(), Refusal> {
    let platform = service.pools.platform().await?;
    let statement = "SELECT t.id, t.state, coalesce(b.seq, 0) FROM tenants t \
        LEFT JOIN published_bundles b ON b.tenant_id = t.id WHERE t.state <> 'provisioning'";
    let rows = platform.rows(statement, &[]).await?;
    let limits = settings::default_limits(&platform).await?;
    let is_killed = kill_switches::is_on(&platform).await?;
    drop(platform);
    let tenants: Vec<(String, String, i64)> =
        rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
    let dir = service.config.publish.dir.clone();
    let (tenants, behind) = apart(move || {
        let is_behind = |(tenant, state, seq): &&(String, String, i64)| {
            *seq > 0 && shown_as(state, false).is_some() && published(&dir, tenant).1 < *seq
        };
        let behind = tenants.iter().filter(is_behind).map(|(tenant, ..)| tenant.clone());
        let behind: Vec<String> = behind.collect();
        (tenants, behind)
    })
    .await?;
    let mut bundles = BTreeMap::new();
    for tenant in behind {
        match contents_of(service, (&tenant, holder), &limits).await {
            Ok(own) => bundles.extend(own.map(|own| (tenant, own))),
            Err(refusal) => {
                let cause = refusal.cause.unwrap_or(refusal.message);
                tracing::warn!(tenant, cause, "a bundle waits to be published");
            }
        }
    }
    let dir = service.config.publish.dir.clone();
    apart(move || {
        for (tenant, state, _) in &tenants {
            let state = shown_as(state, is_killed);
            if let Err(error) = publish(&dir, tenant, state, (bundles.remove(tenant), &limits)) {
                tracing::error!(tenant, error = error.to_string(), "a tenant was not published");
            }
        }
    })
    .await
}

/// What a tenant's own database says; `None` while another process asks it.
async fn contents_of(
    service: &Service,
    (tenant, holder): (&str, &str),
    limits: &str,
) -> Result<Option<Own>, Refusal> {
    with_tenant(service, (tenant, holder), async |conn| bundle::contents(conn, limits).await).await
}

/// Works with a tenant's database under the lease of its publishing.
async fn with_tenant<T>(
    service: &Service,
    (tenant, holder): (&str, &str),
    work: impl AsyncFnOnce(&Conn) -> Result<T, Refusal>,
) -> Result<Option<T>, Refusal> {
    let platform = service.pools.platform().await?;
    let lease = Lease::take(&platform, &format!("publish/{tenant}"), holder).await?;
    let Some(lease) = lease else { return Ok(None) };
    let known = KnownTenant::by_id(&platform, tenant).await?;
    let done = match known.and_then(|known| known.for_job(&lease)) {
        Some(verified) => {
            let conn = service.pools.tenant(&verified).await?;
            Some(work(&conn).await?)
        }
        None => None,
    };
    lease.give_back(&platform).await?;
    Ok(done)
}

/// Finds, now and then, bundles that nobody told of: whoever published ended between both databases.
pub async fn sweep(service: Arc<Service>) {
    let holder = base32(NAME_CHARS);
    loop {
        if let Err(refusal) = sweep_once(&service, &holder).await {
            let cause = refusal.cause.unwrap_or(refusal.message);
            tracing::warn!(cause, "bundles that nobody told of are found later");
        }
        tokio::time::sleep(SWEEP_INTERVAL).await;
    }
}

async fn sweep_once(service: &Service, holder: &str) -> Result<(), Refusal> {
    let statement = "SELECT id FROM tenants WHERE state IN ('active', 'suspended', 'offboarding')";
    let rows = service.pools.platform().await?.rows(statement, &[]).await?;
    for row in rows {
        let tenant: String = row.get(0);
        let asked =
            with_tenant(service, (&tenant, holder), async |conn| bundle::version(conn).await);
        match asked.await {
            Ok(Some(version)) if version.seq > 0 => {
                bundle::note(&service.pools.platform().await?, &tenant, version).await?;
            }
            Ok(_) => {}
            Err(refusal) => {
                let cause = refusal.cause.unwrap_or(refusal.message);
                tracing::warn!(tenant, cause, "a tenant's bundle is looked at later");
            }
        }
    }
    Ok(())
}

/// The policy of a tenant that has none yet.
pub(crate) fn new_policy() -> Files {
    let mut files = Files::default();
    for (name, text) in [("model.conf", NEW_MODEL), ("policy.csv", NEW_POLICY)] {
        files.put(name, text.to_owned());
    }
    files
}

/// A tenant's own bundle.
type Own = (BundleVersion, BTreeMap<String, String>);

/// Whether a new tenant with these limits loads.
pub(crate) fn check_limits(limits: &str) -> Result<(), Diagnostics> {
    let settings = "dialect = \"strict\"\n";
    let files = [
        ("model.conf", NEW_MODEL),
        ("policy.csv", NEW_POLICY),
        ("limits.toml", limits),
        ("tenant.toml", settings),
    ];
    let files = files.map(|(path, text)| File { path, bytes: text.as_bytes() });
    let options = Options::new(0, Version { epoch: 1, seq: 1 });
    from_files("new", &files, options).map(|_| ())
}

/// The state that sidecars are told; `None`: they know no such tenant.
fn shown_as(state: &str, is_killed: bool) -> Option<&'static str> {
    match state {
        "active" | "suspended" | "offboarding" if is_killed => Some("killed"),
        "active" => Some("active"),
        "suspended" | "offboarding" => Some("suspended"),
        _ => None,
    }
}

/// State and number of the bundle that is published; 0 is none, also where the link leads nowhere.
fn published(dir: &Path, tenant: &str) -> (String, i64) {
    let link = dir.join(tenant);
    let folder = std::fs::read_link(&link).ok().filter(|_| link.exists()).unwrap_or_default();
    let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or("");
    let mut parts = name.rsplit('.').skip(1);
    let seq = parts.next().and_then(|seq| seq.parse().ok()).unwrap_or(0);
    (parts.next().unwrap_or("").to_owned(), seq)
}

/// Says in tenant.toml whose folder it is and whether it is served.
pub(crate) fn with_settings(files: &mut BTreeMap<String, String>, tenant: &str, state: &str) {
    let settings = files.get("tenant.toml").map_or("", String::as_str);
    // What is no table is left as it is: it does not load, and says why.
    let Ok(mut settings) = settings.parse::<Table>() else { return };
    for (key, value) in [("tenant", tenant), ("state", state)] {
        settings.insert(key.to_owned(), Value::String(value.to_owned()));
    }
    files.insert("tenant.toml".to_owned(), settings.to_string());
}

/// One tenant: nothing is written if its folder is as it should be.
fn publish(
    dir: &Path,
    tenant: &str,
    state: Option<&str>,
    (own, limits): (Option<Own>, &str),
) -> io::Result<()> {
    let link = dir.join(tenant);
    let Some(state) = state else { return withdraw(dir, &link) };
    let (shown, mut seq) = published(dir, tenant);
    if own.is_none() && shown == state {
        return Ok(());
    }
    let mut files = contents(&link)?;
    if let Some((version, own)) = own {
        // A bundle of limits alone stands beside the policy that is there.
        if own.contains_key("model.conf") {
            files.clear();
        }
        files.extend(own);
        seq = version.seq;
    }
    with_settings(&mut files, tenant, state);
    for (name, text) in
        [("model.conf", NEW_MODEL), ("policy.csv", NEW_POLICY), ("limits.toml", limits)]
    {
        files.entry(name.to_owned()).or_insert_with(|| text.to_owned());
    }
    let name = format!("{tenant}.{state}.{seq}.{}", base32(NAME_CHARS));
    let folder = PathBuf::from(VERSIONS).join(name);
    std::fs::create_dir_all(dir.join(&folder))?;
    for (name, text) in files {
        std::fs::write(dir.join(&folder).join(name), text)?;
    }
    replace(dir, &link, &folder)
}

/// The files of a tenant that are there now.
fn contents(link: &Path) -> io::Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    for name in FILES {
        match std::fs::read_to_string(link.join(name)) {
            Ok(text) => drop(files.insert((*name).to_owned(), text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(files)
}

/// Puts a new folder in place and removes the old one.
fn replace(dir: &Path, link: &Path, folder: &Path) -> io::Result<()> {
    let next = dir.join(VERSIONS).join(format!("link.{}", base32(NAME_CHARS)));
    std::os::unix::fs::symlink(folder, &next)?;
    let old = std::fs::read_link(link).ok().map(|old| dir.join(old));
    let old = match old {
        Some(old) => Some(old),
        // A plain folder cannot be replaced by rename: it steps aside first.
        None if link.is_dir() => {
            let aside = dir.join(VERSIONS).join(format!("plain.{}", base32(NAME_CHARS)));
            std::fs::rename(link, &aside)?;
            Some(aside)
        }
        None => None,
    };
    std::fs::rename(&next, link)?;
    remove(dir, old)
}

fn withdraw(dir: &Path, link: &Path) -> io::Result<()> {
    let Ok(old) = std::fs::read_link(link) else { return Ok(()) };
    std::fs::remove_file(link)?;
    remove(dir, Some(dir.join(old)))
}

/// Only what was made here is removed.
fn remove(dir: &Path, old: Option<PathBuf>) -> io::Result<()> {
    let Some(old) = old.filter(|old| old.parent() == Some(&dir.join(VERSIONS))) else {
        return Ok(());
    };
    match std::fs::remove_dir_all(old) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("tg-publish-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        dir
    }

    fn versions(dir: &Path) -> usize {
        std::fs::read_dir(dir.join(VERSIONS)).unwrap().count()
    }

    #[test]
    fn a_new_tenant_is_denied_everything_and_loads() {
        let dir = dir("new");
        publish(&dir, "acme", Some("active"), (None, "")).unwrap();
        let files = contents(&dir.join("acme")).unwrap();
        let files: Vec<File<'_>> =
            files.iter().map(|(path, text)| File { path, bytes: text.as_bytes() }).collect();
        let folder = from_files("acme", &files, Options::new(0, Version { epoch: 1, seq: 1 }));
        assert_eq!(folder.unwrap().tenants[0].name(), "acme");
    }

    #[test]
    fn a_bundle_is_published_once_and_outlives_a_state() {
        let dir = dir("bundle");
        let bundle = |seq: i64, files: &[(&str, &str)]| {
            let files = files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
            Some((BundleVersion { epoch: 1, seq }, files.collect::<BTreeMap<_, _>>()))
        };
        publish(&dir, "acme", Some("active"), (None, "# new\n")).unwrap();
        assert_eq!(published(&dir, "acme").1, 0);
        // Limits alone: the policy is the one that is there.
        publish(&dir, "acme", Some("active"), (bundle(1, &[("limits.toml", "# own\n")]), ""))
            .unwrap();
        let files = contents(&dir.join("acme")).unwrap();
        assert_eq!(
            (files["limits.toml"].as_str(), files["model.conf"].as_str()),
            ("# own\n", NEW_MODEL)
        );
        let rows = "p, alice, /x, read, allow\n";
        let whole = [("model.conf", NEW_MODEL), ("policy.csv", rows), ("limits.toml", "")];
        publish(&dir, "acme", Some("active"), (bundle(12, &whole), "")).unwrap();
        for state in ["active", "suspended", "active"] {
            publish(&dir, "acme", Some(state), (None, "")).unwrap();
            let files = contents(&dir.join("acme")).unwrap();
            assert_eq!((published(&dir, "acme").1, files["policy.csv"].as_str()), (12, rows));
            assert!(files["tenant.toml"].contains(&format!("state = \"{state}\"")));
        }
        assert_eq!(versions(&dir), 1);
        // What somebody removed is behind, and comes back.
        std::fs::remove_dir_all(dir.join(VERSIONS)).unwrap();
        assert_eq!(published(&dir, "acme"), (String::new(), 0));
        publish(&dir, "acme", Some("active"), (bundle(12, &whole), "")).unwrap();
        assert_eq!(published(&dir, "acme"), ("active".to_owned(), 12));
        assert_eq!(contents(&dir.join("acme")).unwrap()["policy.csv"], rows);
    }

    #[test]
    fn a_state_is_a_new_folder_and_keeps_what_was_edited() {
        let dir = dir("state");
        std::fs::create_dir_all(dir.join("demo")).unwrap();
        for (name, text) in [
            ("model.conf", NEW_MODEL),
            ("policy.csv", "p, alice, /x, read, allow\n"),
            ("tenant.toml", "dialect = \"strict\"\n"),
        ] {
            std::fs::write(dir.join("demo").join(name), text).unwrap();
        }
        for (state, is_killed, shown) in [
            ("active", false, "active"),
            ("suspended", false, "suspended"),
            ("active", true, "killed"),
            ("active", false, "active"),
            ("offboarding", true, "killed"),
            ("offboarding", false, "suspended"),
        ] {
            let state = shown_as(state, is_killed);
            publish(&dir, "demo", state, (None, "")).unwrap();
            let before = std::fs::read_link(dir.join("demo")).unwrap();
            publish(&dir, "demo", state, (None, "")).unwrap();
            assert_eq!(std::fs::read_link(dir.join("demo")).unwrap(), before, "nothing to do");
            let files = contents(&dir.join("demo")).unwrap();
            assert!(files["tenant.toml"].contains(&format!("state = \"{shown}\"")));
            assert!(files["tenant.toml"].contains("dialect = \"strict\""));
            assert!(files["policy.csv"].contains("alice"));
            assert_eq!(versions(&dir), 1);
        }
        for (state, is_killed) in [("destroyed", false), ("failed", true)] {
            publish(&dir, "demo", shown_as(state, is_killed), (None, "")).unwrap();
            assert!(!dir.join("demo").exists());
        }
        assert_eq!(versions(&dir), 0);
    }
}
