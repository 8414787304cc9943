//! Reading policy folders from disk.

use crate::exit::Exit;
use std::path::{Path, PathBuf};
use tollgate_proto::bundle::{FILES, File};

/// The files of one policy folder.
#[derive(Debug)]
pub(crate) struct FolderFiles {
    pub(crate) name: String,
    files: Vec<(String, Vec<u8>)>,
}

impl FolderFiles {
    /// Reads what the folder holds of the known files.
    pub(crate) fn read(folder: &Path) -> std::io::Result<FolderFiles> {
        let full = std::fs::canonicalize(folder)?;
        let name = full.file_name().map_or("default".into(), |name| name.to_string_lossy());
        let mut files = Vec::new();
        for file in FILES {
            let path = folder.join(file);
            match std::fs::read(&path) {
                Ok(bytes) => files.push((path.display().to_string(), bytes)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(FolderFiles { name: name.into_owned(), files })
    }

    /// The files as `bundle::from_files` takes them.
    pub(crate) fn files(&self) -> Vec<File<'_>> {
        self.files.iter().map(|(path, bytes)| File { path, bytes }).collect()
    }

    /// The text of a file by the path that findings use.
    pub(crate) fn text(&self, path: &str) -> Option<String> {
        let (_, bytes) = self.files.iter().find(|(known, _)| known == path)?;
        Some(String::from_utf8_lossy(bytes).into_owned())
    }

    /// The text of a file by its name.
    pub(crate) fn text_of(&self, name: &str) -> Option<(&str, &str)> {
        let (path, bytes) = self.files.iter().find(|(path, _)| path.ends_with(name))?;
        Some((path.as_str(), std::str::from_utf8(bytes).ok()?))
    }
}

/// The policy folders at `path`: itself if it has a model.conf, else each folder below that has, one at least.
///
/// # Errors
/// An exit and a sentence: it cannot be read, or there is none.
pub(crate) fn policy_folders(path: &Path) -> Result<Vec<PathBuf>, (Exit, String)> {
    if path.join("model.conf").exists() {
        return Ok(vec![path.to_path_buf()]);
    }
    let shown = path.display();
    let entries = std::fs::read_dir(path);
    let entries = entries.map_err(|error| (Exit::Usage, format!("{shown}: {error}")))?;
    let mut folders: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.join("model.conf").exists())
        .collect();
    folders.sort();
    match folders.is_empty() {
        true => Err((Exit::DoesNotLoad, format!("{shown}: no folder with a model.conf"))),
        false => Ok(folders),
    }
}
