//! Notices that a file of the policy folders changed, without reading it.
//!
//! A look compares what the file system says of each known file: cheap, and it sees renames,
//! replaced symlinks and mounts, which change notifications miss.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use tollgate_proto::bundle::FILES;

/// Device, inode, size, and both times: a change of content changes one of them.
type Stamp = (u64, u64, u64, i64, i64, i64, i64);

/// What one look saw: each folder with its files.
pub(crate) type Seen = BTreeMap<PathBuf, Vec<Option<Stamp>>>;

/// Looks at a policy folder or a folder of policy folders.
pub(crate) fn look(root: &Path) -> Seen {
    if root.join("model.conf").exists() {
        return Seen::from([(root.to_path_buf(), stamps(root))]);
    }
    let entries = std::fs::read_dir(root).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.join("model.conf").exists())
        .map(|path| {
            let stamps = stamps(&path);
            (path, stamps)
        })
        .collect()
}

fn stamps(folder: &Path) -> Vec<Option<Stamp>> {
    let stamp = |name: &&str| {
        let m = std::fs::metadata(folder.join(name)).ok()?;
        let times = (m.mtime(), m.mtime_nsec(), m.ctime(), m.ctime_nsec());
        Some((m.dev(), m.ino(), m.size(), times.0, times.1, times.2, times.3))
    };
    FILES.iter().map(stamp).collect()
}
