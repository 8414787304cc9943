//! The store against a disk that lies: every answer is something that was written, or none.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use tollgate_engine::Version;
use tollgate_engine::cell::TableSecret;
use tollgate_proto::bundle::{Manifest, SectionKind, SigningSecret, TrustSet, seal};
use tollgate_store::{Accepted, Bundles, State};

/// Changed copies of each database.
const VARIANTS: u64 = 600;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        // Memory where there is some: the disk's waits are not what is tested here.
        let memory = Path::new("/dev/shm");
        let base = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let path = base.join(format!("tg-store-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn secret() -> SigningSecret {
    SigningSecret::from_bytes(&[5; 32])
}

fn accepted(tenant: &str, seq: u64) -> Accepted {
    let manifest = Manifest {
        tenant: tenant.to_owned(),
        epoch: 1,
        seq,
        parent: [0; 32],
        key_id: Default::default(),
        sections: Vec::new(),
    };
    let body = format!("{tenant} {seq} ").repeat(40).into_bytes();
    let (_, bytes) = seal(manifest, &[(SectionKind::Policy, body)], &secret()).unwrap();
    Accepted { tenant: tenant.to_owned(), version: Version { epoch: 1, seq }, bytes }
}

fn trust() -> TrustSet {
    TrustSet::new(vec![secret().public()]).unwrap()
}

fn copy(from: &Path, to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

/// Flips a bit, cuts, zeroes, swaps or removes one file of a database; false if it has none.
fn damage(folder: &Path, random: &mut fastrand::Rng) -> String {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| {
        let name = file.file_name().unwrap().to_string_lossy();
        !name.starts_with("LOG") && name != "LOCK" && std::fs::metadata(file).unwrap().len() > 0
    });
    files.sort();
    let file = &files[random.usize(..files.len())];
    let mut bytes = std::fs::read(file).unwrap();
    let at = random.usize(..bytes.len());
    let what = match random.u8(..10) {
        0..=4 => {
            bytes[at] ^= 1 << random.u8(..8);
            "bit"
        }
        5..=6 => {
            bytes.truncate(at);
            "cut"
        }
        7 => {
            let end = (at + 64).min(bytes.len());
            bytes[at..end].fill(0);
            "zero"
        }
        8 => {
            let other = std::fs::read(&files[random.usize(..files.len())]).unwrap();
            bytes = other;
            "swap"
        }
        _ => {
            std::fs::remove_file(file).unwrap();
            return format!("removed {}", file.display());
        }
    };
    std::fs::write(file, bytes).unwrap();
    format!("{what} at {at} of {}", file.display())
}

#[test]
fn what_was_accepted_is_there_again() {
    let folder = Folder::new("again");
    let path = folder.0.join("bundles");
    for seq in 1..4 {
        let bundles = Bundles::open(&path).unwrap();
        assert!(bundles.set_aside.is_none());
        let bundles = bundles.database;
        bundles.accept("one", &["acme", "beta"], &[accepted("acme", seq)]).unwrap();
        assert_eq!(bundles.floor("acme").unwrap(), Some(Version { epoch: 1, seq }));
        assert_eq!(bundles.tenants("one").unwrap(), ["acme", "beta"]);
        let version = bundles.get("acme", &trust(), |bundle| bundle.manifest.version()).unwrap();
        assert_eq!(version, Some(Version { epoch: 1, seq }));
        assert_eq!(bundles.get("beta", &trust(), |_| ()).unwrap(), None);
        let stranger = TrustSet::new(vec![SigningSecret::from_bytes(&[6; 32]).public()]).unwrap();
        assert!(bundles.get("acme", &stranger, |_| ()).is_err());
    }
}

#[test]
fn cells_and_their_secret_survive() {
    let folder = Folder::new("cells");
    let path = folder.0.join("state");
    {
        let state = State::open(&path).unwrap().database;
        assert_eq!(state.secret(TableSecret::new([1, 2])).unwrap().words(), &[1, 2]);
        state.put_cells(&[[5, 6, 7, 0, 0, 1, 0, 9], [8, 6, 7, 0, 0, 1, 0, 9]]).unwrap();
        state.put_cells(&[[5, 6, 70, 0, 0, 1, 0, 9]]).unwrap();
        state.remove_cells(&[[8, 6, 0, 0, 0, 0, 0, 0]]).unwrap();
    }
    let state = State::open(&path).unwrap().database;
    assert_eq!(state.secret(TableSecret::new([3, 4])).unwrap().words(), &[1, 2]);
    let mut cells = Vec::new();
    assert_eq!(state.cells(&mut |words| cells.push(words)).unwrap(), 0);
    assert_eq!(cells, [[5, 6, 70, 0, 0, 1, 0, 9]]);
}

#[test]
fn a_manifest_that_would_be_read_for_ever_is_corrupt() {
    let folder = Folder::new("manifest");
    let path = folder.0.join("state");
    drop(State::open(&path).unwrap());
    for kind in [5, 8, 9, 130, 255] {
        let current = std::fs::read_to_string(path.join("CURRENT")).unwrap();
        let manifest = path.join(current.trim());
        let mut bytes = std::fs::read(&manifest).unwrap();
        bytes[6] = kind;
        std::fs::write(&manifest, bytes).unwrap();
        let (_, error) = State::open(&path).unwrap().set_aside.unwrap();
        assert!(error.to_string().contains(&format!("type {kind}")), "{error}");
    }
}

#[test]
fn a_damaged_database_of_bundles_never_gives_a_wrong_answer() {
    let folder = Folder::new("bundles");
    let (whole, changed) = (folder.0.join("whole"), folder.0.join("changed"));
    for seq in 1..5 {
        let bundles = Bundles::open(&whole).unwrap().database;
        let accepted = ["acme", "beta", "gamma"].map(|tenant| accepted(tenant, seq));
        bundles.accept("one", &["acme", "beta", "gamma"], &accepted).unwrap();
    }
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let mut random = fastrand::Rng::with_seed(seed);
    let mut outcomes: BTreeMap<&str, u32> = BTreeMap::new();
    for _ in 0..VARIANTS {
        copy(&whole, &changed);
        let what = damage(&changed, &mut random);
        let outcome = match Bundles::open(&changed) {
            Err(_) => "refused",
            Ok(opened) => {
                let bundles = opened.database;
                for tenant in ["acme", "beta", "gamma"] {
                    let got = bundles.get(tenant, &trust(), |bundle| {
                        let body = bundle.section(SectionKind::Policy).unwrap().to_vec();
                        (bundle.manifest.seq, body)
                    });
                    if let Ok(Some((seq, body))) = got {
                        let expected = format!("{tenant} {seq} ").repeat(40);
                        assert!((1..5).contains(&seq) && body == expected.as_bytes(), "{what}");
                    }
                    if let Ok(Some(floor)) = bundles.floor(tenant) {
                        assert!((1..5).contains(&floor.seq) && floor.epoch == 1, "{what}");
                    }
                }
                // It takes a new bundle, whatever it was.
                bundles.accept("one", &["acme"], &[accepted("acme", 9)]).ok();
                if opened.set_aside.is_some() { "set aside" } else { "opened" }
            }
        };
        *outcomes.entry(outcome).or_default() += 1;
        for number in 1..=4 {
            let _ = std::fs::remove_dir_all(changed.with_extension(format!("corrupt-{number}")));
        }
    }
    assert!(outcomes["set aside"] > 50 && outcomes["opened"] > 50, "{outcomes:?}");
}

#[test]
fn a_damaged_database_of_counters_never_invents_one() {
    let folder = Folder::new("state");
    let (whole, changed) = (folder.0.join("whole"), folder.0.join("changed"));
    let cell = |key: u64, state: u64| [key, key + 1, state, 0, 0, 1, 0, 9];
    let mut written = BTreeSet::new();
    for round in 1..5 {
        let state = State::open(&whole).unwrap().database;
        state.secret(TableSecret::new([1, 2])).unwrap();
        let cells: Vec<_> = (2..200).map(|key| cell(key, key * 10 + round)).collect();
        state.put_cells(&cells).unwrap();
        written.extend(cells);
    }
    let mut random = fastrand::Rng::with_seed(2);
    let mut lost_some = 0;
    for _ in 0..VARIANTS {
        copy(&whole, &changed);
        let what = damage(&changed, &mut random);
        if let Ok(opened) = State::open(&changed) {
            let state = opened.database;
            let mut count = 0;
            let read = state.cells(&mut |words| {
                assert!(written.contains(&words), "{what}: {words:?}");
                count += 1;
            });
            lost_some += u32::from(read != Ok(0) || count != 198);
            if let Ok(secret) = state.secret(TableSecret::new([7, 7])) {
                assert!([[1, 2], [7, 7]].contains(secret.words()), "{what}");
            }
        }
        for number in 1..=4 {
            let _ = std::fs::remove_dir_all(changed.with_extension(format!("corrupt-{number}")));
        }
    }
    assert!(lost_some > 50, "{lost_some}");
}
