//! The folder's side: what its files declare, and writing what is in force into them.

use super::{Done, Limits};
use crate::draw;
use crate::exit::Exit;
use crate::folder::FolderFiles;
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tollgate_proto::bundle::{FILES, File};
use tollgate_proto::lint::lint_files;
use toml::Table;

const LIMITS: &str = "limits.toml";
const MODEL: &str = "model.conf";
const TENANT: &str = "tenant.toml";

/// What a folder says that a tenant has; of what it has no file, it says nothing.
#[derive(Debug, Default)]
pub(super) struct Declared {
    /// The policy's files by name.
    pub(super) policy: Option<BTreeMap<String, String>>,
    pub(super) limits: Option<Limits>,
}

/// The folders below `dir` with whom they belong to: itself, or each that is named as a tenant.
///
/// # Errors
/// Usage: nobody knows whose it is, or nothing is there.
pub(super) fn folders(dir: &Path, tenant: Option<&str>) -> Done<Vec<(String, PathBuf)>> {
    let shown = dir.display();
    let holds = |dir: &Path| FILES.iter().any(|file| dir.join(file).is_file());
    if holds(dir) {
        let whose = || (Exit::Usage, format!("{shown}: whose? name the tenant with --tenant"));
        return Ok(vec![(tenant.ok_or_else(whose)?.to_owned(), dir.to_owned())]);
    }
    let entries = std::fs::read_dir(dir);
    let entries = entries.map_err(|error| (Exit::Usage, format!("{shown}: {error}")))?;
    let named = |path: PathBuf| Some((path.file_name()?.to_str()?.to_owned(), path));
    let mut found: Vec<(String, PathBuf)> = entries
        .filter_map(|entry| named(entry.ok()?.path()))
        .filter(|(name, path)| holds(path) && tenant.is_none_or(|tenant| tenant == name))
        .collect();
    found.sort();
    match found.is_empty() {
        true => {
            let whose = tenant.map_or("a tenant".to_owned(), |tenant| format!("`{tenant}`"));
            let message = format!(
                "{shown}: expected {}, or a folder named as {whose} with them",
                FILES.join(", ")
            );
            Err((Exit::Usage, message))
        }
        false => Ok(found),
    }
}

impl Declared {
    /// Reads a folder; what does not load is shown and refused before anything is asked.
    ///
    /// # Errors
    /// It cannot be read, or does not load.
    pub(super) fn read(tenant: &str, dir: &Path) -> Done<Declared> {
        let shown = dir.display();
        let folder = FolderFiles::read(dir);
        let folder = folder.map_err(|error| (Exit::Usage, format!("{shown}: {error}")))?;
        let mut declared = Declared::default();
        let mut policy = BTreeMap::new();
        for file in folder.files() {
            let text = std::str::from_utf8(file.bytes);
            let text =
                text.map_err(|error| (Exit::DoesNotLoad, format!("{}: {error}", file.path)))?;
            match file.path.rsplit('/').next().unwrap_or(file.path) {
                LIMITS => declared.limits = Some(limits(file.path, text)?),
                name => drop(policy.insert(name.to_owned(), text.to_owned())),
            }
        }
        if policy.contains_key(MODEL) {
            loads(tenant, &folder)?;
            declared.policy = Some(policy);
        } else if let Some(name) = policy.keys().next() {
            return Err((Exit::DoesNotLoad, format!("{shown}: {name} without a {MODEL}")));
        }
        Ok(declared)
    }

    /// Writes what differs from the folder into it; the names of files that it had and this has not.
    ///
    /// # Errors
    /// A file cannot be written, or the folder does not load.
    pub(super) fn write(&self, dir: &Path) -> Done<Vec<&'static str>> {
        std::fs::create_dir_all(dir).map_err(|error| said(dir, &error))?;
        let file = dir.join(LIMITS);
        let was = std::fs::read_to_string(&file).ok();
        let was = was.map(|text| limits(&file.display().to_string(), &text)).transpose()?;
        if let Some(limits) = self.limits.as_ref().filter(|limits| was.as_ref() != Some(limits)) {
            put(&file, &limits_toml(limits)?)?;
        }
        let policy = self.policy.iter().flatten();
        policy.clone().try_for_each(|(name, text)| put(&dir.join(name), text))?;
        let is_known =
            |name: &str| name == LIMITS || policy.clone().any(|(known, _)| known == name);
        let others = FILES.iter().filter(|name| dir.join(name).exists() && !is_known(name));
        Ok(others.copied().collect())
    }
}

fn put(file: &Path, text: &str) -> Done<()> {
    if std::fs::read(file).is_ok_and(|was| was == text.as_bytes()) {
        return Ok(());
    }
    std::fs::write(file, text).map_err(|error| said(file, &error))
}

fn said(path: &Path, error: &std::io::Error) -> (Exit, String) {
    (Exit::Usage, format!("{}: {error}", path.display()))
}

/// As it will be published: the folder is this tenant, whatever it is called.
fn loads(tenant: &str, folder: &FolderFiles) -> Done<()> {
    let was = folder.text_of(TENANT).map_or("", |(_, text)| text);
    let own = was.parse::<Table>().map(|mut own| {
        own.insert("tenant".to_owned(), tenant.into());
        own.to_string()
    });
    // One that is no TOML is shown as it is.
    let own = own.unwrap_or_else(|_| was.to_owned());
    let mut files = folder.files();
    files.retain(|file| !file.path.ends_with(TENANT));
    files.push(File { path: TENANT, bytes: own.as_bytes() });
    lint_files(tenant, &files).map(drop).map_err(|found| {
        draw::show_all(found.iter(), &|path| folder.text(path));
        (Exit::DoesNotLoad, format!("{tenant}: the folder does not load"))
    })
}

/// The members of each limit by its id.
fn limits(path: &str, text: &str) -> Done<Limits> {
    let refused = |message: String| (Exit::DoesNotLoad, format!("{path}: {message}"));
    let table = text.parse::<Table>().map_err(|error| refused(error.to_string()))?;
    let json = serde_json::to_value(table).map_err(|error| refused(error.to_string()))?;
    let mut limits = Limits::new();
    for limit in json["limit"].as_array().into_iter().flatten() {
        let mut members: Map<String, Json> = limit.as_object().cloned().unwrap_or_default();
        let id = members.remove("id").as_ref().and_then(Json::as_str).map(str::to_owned);
        let id = id.ok_or_else(|| refused("expected `id` in each [[limit]]".to_owned()))?;
        if limits.insert(id.clone(), members).is_some() {
            return Err(refused(format!("two limits `{id}`")));
        }
    }
    Ok(limits)
}

fn limits_toml(limits: &Limits) -> Done<String> {
    if limits.is_empty() {
        return Ok("# No limits.\n".to_owned());
    }
    let one = |(id, members): (&String, &Map<String, Json>)| {
        let mut limit = members.clone();
        limit.insert("id".to_owned(), json!(id));
        Json::Object(limit)
    };
    let all: Vec<Json> = limits.iter().map(one).collect();
    let text = toml::to_string(&json!({ "limit": all }));
    text.map_err(|error| (Exit::No, format!("{LIMITS}: {error}")))
}
