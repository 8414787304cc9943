//! What sidecars decide by: a folder per tenant below `publish.dir`, written whole and put in place at once.
//!
//! `publish.dir/<tenant>` is a symlink to a folder in `.published`; a new version is a new folder, and the link
//! is replaced by rename, so that nobody ever reads half of one. A tenant that is not ready, or gone, has no link.
//! The contents are those that are there (edited in place, or found as a plain folder), for a new tenant a model
//! without rules: everything is denied until there is a policy.

use crate::code::Refusal;
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
const VERSIONS: &str = ".published";
const NAME_CHARS: usize = 16;
const NEW_MODEL: &str = include_str!("publish/model.conf");
const NEW_POLICY: &str = include_str!("publish/policy.csv");

/// Publishes until the service ends.
pub async fn work(service: Arc<Service>) {
    loop {
        if let Err(refusal) = look(&service).await {
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
async fn look(service: &Arc<Service>) -> Result<(), Refusal> {
    let platform = service.pools.platform().await?;
    let statement = "SELECT id, state FROM tenants WHERE state <> 'provisioning'";
    let rows = platform.rows(statement, &[]).await?;
    let tenants: Vec<(String, String)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let limits = settings::default_limits(&platform).await?;
    drop(platform);
    let dir = service.config.publish.dir.clone();
    let done = tokio::task::spawn_blocking(move || {
        for (tenant, state) in &tenants {
            if let Err(error) = publish(&dir, tenant, state, &limits) {
                tracing::error!(tenant, error = error.to_string(), "a tenant was not published");
            }
        }
    });
    done.await.map_err(Refusal::internal)
}

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

/// One tenant: nothing is written if its folder is as it should be.
fn publish(dir: &Path, tenant: &str, state: &str, limits: &str) -> io::Result<()> {
    let link = dir.join(tenant);
    let state = match state {
        "active" => "active",
        "suspended" | "offboarding" => "suspended",
        _ => return withdraw(dir, &link),
    };
    let mut files = contents(&link)?;
    let settings = files.get("tenant.toml").map_or("", String::as_str);
    let mut settings: Table = settings.parse().unwrap_or_default();
    let is_said =
        |key: &str, wanted: &str| settings.get(key).and_then(Value::as_str) == Some(wanted);
    if link.is_symlink() && is_said("state", state) && is_said("tenant", tenant) {
        return Ok(());
    }
    for (key, value) in [("tenant", tenant), ("state", state)] {
        settings.insert(key.to_owned(), Value::String(value.to_owned()));
    }
    files.insert("tenant.toml", settings.to_string());
    for (name, text) in
        [("model.conf", NEW_MODEL), ("policy.csv", NEW_POLICY), ("limits.toml", limits)]
    {
        files.entry(name).or_insert_with(|| text.to_owned());
    }
    let folder = PathBuf::from(VERSIONS).join(format!("{tenant}.{}", base32(NAME_CHARS)));
    std::fs::create_dir_all(dir.join(&folder))?;
    for (name, text) in files {
        std::fs::write(dir.join(&folder).join(name), text)?;
    }
    replace(dir, &link, &folder)
}

/// The files of a tenant that are there now.
fn contents(link: &Path) -> io::Result<BTreeMap<&'static str, String>> {
    let mut files = BTreeMap::new();
    for name in FILES {
        match std::fs::read_to_string(link.join(name)) {
            Ok(text) => drop(files.insert(*name, text)),
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
    match old.filter(|old| old.parent() == Some(&dir.join(VERSIONS))) {
        Some(old) => std::fs::remove_dir_all(old),
        None => Ok(()),
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
        publish(&dir, "acme", "active", "").unwrap();
        let files = contents(&dir.join("acme")).unwrap();
        let files: Vec<File<'_>> =
            files.iter().map(|(path, text)| File { path, bytes: text.as_bytes() }).collect();
        let folder = from_files("acme", &files, Options::new(0, Version { epoch: 1, seq: 1 }));
        assert_eq!(folder.unwrap().tenants[0].name(), "acme");
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
        for (state, shown) in [
            ("active", "active"),
            ("suspended", "suspended"),
            ("active", "active"),
            ("offboarding", "suspended"),
        ] {
            publish(&dir, "demo", state, "").unwrap();
            let before = std::fs::read_link(dir.join("demo")).unwrap();
            publish(&dir, "demo", state, "").unwrap();
            assert_eq!(std::fs::read_link(dir.join("demo")).unwrap(), before, "nothing to do");
            let files = contents(&dir.join("demo")).unwrap();
            assert!(files["tenant.toml"].contains(&format!("state = \"{shown}\"")));
            assert!(files["tenant.toml"].contains("dialect = \"strict\""));
            assert!(files["policy.csv"].contains("alice"));
            assert_eq!(versions(&dir), 1);
        }
        for state in ["destroyed", "failed"] {
            publish(&dir, "demo", state, "").unwrap();
            assert!(!dir.join("demo").exists());
        }
        assert_eq!(versions(&dir), 0);
    }
}
