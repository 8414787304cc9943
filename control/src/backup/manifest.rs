//! What a backup holds, in `manifest.json`: whose dumps, their digests, how far each log was; under a MAC of the master key.

use crate::chain::{Head, Link};
use crate::secret::MasterKey;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hkdf::hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

const FILE: &str = "manifest.json";
const FORMAT: i64 = 1;
const LABEL: &str = "backup-manifest";
const BLOCK_BYTES: usize = 1 << 16;

/// A backup.
#[derive(Debug)]
pub struct Manifest {
    pub platform_id: String,
    /// RFC 3339.
    pub made_at: String,
    pub dumps: Vec<Dump>,
}

/// One database of it.
#[derive(Debug)]
pub struct Dump {
    /// None is the platform's.
    pub tenant: Option<String>,
    /// Below the backup's folder.
    pub file: String,
    pub bytes: u64,
    pub sha256: String,
    pub schema_version: i32,
    /// The tenant's bundle.
    pub epoch: i64,
    pub(crate) head: Head,
}

impl Manifest {
    /// The platform's dump.
    pub fn platform(&self) -> Option<&Dump> {
        self.dumps.iter().find(|dump| dump.tenant.is_none())
    }

    pub fn of(&self, tenant: &str) -> Option<&Dump> {
        self.dumps.iter().find(|dump| dump.tenant.as_deref() == Some(tenant))
    }

    fn json(&self) -> Json {
        let dumps: Vec<Json> = self.dumps.iter().map(Dump::json).collect();
        json!({
            "format": FORMAT, "platform_id": self.platform_id, "made_at": self.made_at, "dumps": dumps,
            "program": env!("CARGO_PKG_VERSION"),
        })
    }

    /// Writes it into the backup's folder.
    ///
    /// # Errors
    /// A sentence with the file.
    pub(super) fn write(&self, folder: &Path, master: &MasterKey) -> Result<(), String> {
        let mut json = self.json();
        json["mac"] = json!(hex(&mac(master, &json)));
        let path = folder.join(FILE);
        let written = private(&path).and_then(|mut file| writeln!(file, "{json:#}"));
        written.map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Reads it, if the master key vouches for it.
    ///
    /// # Errors
    /// A sentence.
    pub(super) fn read(folder: &Path, master: &MasterKey) -> Result<Manifest, String> {
        let path = folder.join(FILE);
        let shown = path.display();
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{shown}: {error}"))?;
        let mut json: Json =
            serde_json::from_str(&text).map_err(|error| format!("{shown}: {error}"))?;
        let given = json.as_object_mut().and_then(|members| members.remove("mac"));
        let given = given.as_ref().and_then(Json::as_str).unwrap_or_default().to_owned();
        if !is_vouched(master, &json, &given) {
            return Err(format!(
                "{shown}: it was changed, or written under another master key; expected secrets.master_key_file to be the key it was made with"
            ));
        }
        let refused = || format!("{shown}: expected a manifest of format {FORMAT}");
        let text = |name: &str| json[name].as_str().map(str::to_owned).ok_or_else(refused);
        let dumps = json["dumps"].as_array().ok_or_else(refused)?;
        let dumps: Option<Vec<Dump>> = dumps.iter().map(Dump::of).collect();
        match json["format"] == FORMAT {
            true => Ok(Manifest {
                platform_id: text("platform_id")?,
                made_at: text("made_at")?,
                dumps: dumps.ok_or_else(refused)?,
            }),
            false => Err(refused()),
        }
    }
}

impl Dump {
    fn json(&self) -> Json {
        let link = |link: &Link| json!({"seq": link.seq, "hash": STANDARD.encode(&link.hash)});
        json!({
            "tenant": self.tenant, "file": self.file, "bytes": self.bytes, "sha256": self.sha256,
            "schema_version": self.schema_version, "epoch": self.epoch,
            "head": link(&self.head.link), "pruned": link(&self.head.pruned),
        })
    }

    fn of(json: &Json) -> Option<Dump> {
        let link = |json: &Json| {
            let hash = STANDARD.decode(json["hash"].as_str()?).ok()?;
            Some(Link { seq: json["seq"].as_i64()?, hash })
        };
        Some(Dump {
            tenant: json["tenant"].as_str().map(str::to_owned),
            file: json["file"].as_str()?.to_owned(),
            bytes: json["bytes"].as_u64()?,
            sha256: json["sha256"].as_str()?.to_owned(),
            schema_version: json["schema_version"].as_i64()?.try_into().ok()?,
            epoch: json["epoch"].as_i64()?,
            head: Head { link: link(&json["head"])?, pruned: link(&json["pruned"])? },
        })
    }

    /// Whether the file is the one that was written.
    ///
    /// # Errors
    /// A sentence with the file.
    pub(super) fn check(&self, folder: &Path) -> Result<(), String> {
        let path = folder.join(&self.file);
        let (bytes, sha256) = digest(&path)?;
        if (bytes, &sha256) == (self.bytes, &self.sha256) {
            return Ok(());
        }
        let shown = path.display();
        Err(format!(
            "{shown}: expected {} bytes with sha256 {}, got {bytes} with {sha256}",
            self.bytes, self.sha256
        ))
    }
}

/// A file that nobody else reads; one that is there is not written over.
pub(super) fn private(path: &Path) -> std::io::Result<std::fs::File> {
    std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Length and SHA-256 of a file.
pub(super) fn digest(path: &Path) -> Result<(u64, String), String> {
    let said = |error: std::io::Error| format!("{}: {error}", path.display());
    let mut file = std::fs::File::open(path).map_err(said)?;
    let (mut hash, mut block, mut bytes) = (Sha256::new(), vec![0; BLOCK_BYTES], 0);
    loop {
        let length = file.read(&mut block).map_err(said)?;
        let part = block.get(..length).unwrap_or_default();
        if part.is_empty() {
            return Ok((bytes, hex(&hash.finalize())));
        }
        hash.update(part);
        bytes += part.len() as u64;
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn keyed(master: &MasterKey, json: &Json) -> Hmac<Sha256> {
    let key = master.derive(LABEL, "");
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&key).expect("any length is a key");
    mac.update(json.to_string().as_bytes());
    mac
}

fn mac(master: &MasterKey, json: &Json) -> Vec<u8> {
    keyed(master, json).finalize().into_bytes().to_vec()
}

/// In a time that does not tell how much of it is right.
fn is_vouched(master: &MasterKey, json: &Json, given: &str) -> bool {
    let digits = |pair: &[u8]| {
        let text = std::str::from_utf8(pair).ok()?;
        u8::from_str_radix(text, 16).ok()
    };
    let given: Option<Vec<u8>> = given.as_bytes().chunks(2).map(digits).collect();
    given.is_some_and(|given| keyed(master, json).verify_slice(&given).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_read_under_its_key_and_as_it_was_written() {
        let folder = std::env::temp_dir().join(format!("tg-manifest-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let link = Link { seq: 7, hash: vec![1, 2, 3] };
        let dump = Dump {
            tenant: Some("acme".to_owned()),
            file: "acme.dump".to_owned(),
            bytes: 3,
            sha256: hex(&Sha256::digest("abc")),
            schema_version: 12,
            epoch: 2,
            head: Head { link: link.clone(), pruned: Link::default() },
        };
        let made_at = "2026-01-02T03:04:05.000Z".to_owned();
        let manifest = Manifest { platform_id: "p".to_owned(), made_at, dumps: vec![dump] };
        let (key, other) = (MasterKey::of([7; 32]), MasterKey::of([8; 32]));
        manifest.write(&folder, &key).unwrap();
        let read = Manifest::read(&folder, &key).unwrap();
        assert_eq!(read.json(), manifest.json());
        assert_eq!(read.of("acme").unwrap().head.link, link);
        assert!(read.platform().is_none() && read.of("other").is_none());
        assert!(Manifest::read(&folder, &other).unwrap_err().contains("another master key"));
        let dump = read.of("acme").unwrap();
        assert!(dump.check(&folder).is_err(), "no file");
        std::fs::write(folder.join("acme.dump"), "abc").unwrap();
        assert_eq!(dump.check(&folder), Ok(()));
        std::fs::write(folder.join("acme.dump"), "abd").unwrap();
        assert!(dump.check(&folder).unwrap_err().contains("expected 3 bytes"));
        // Any member, changed.
        let path = folder.join(FILE);
        let text = std::fs::read_to_string(&path).unwrap();
        for (from, to) in [
            ("\"epoch\": 2", "\"epoch\": 3"),
            ("acme.dump", "b.dump"),
            ("\"seq\": 7", "\"seq\": 6"),
        ] {
            assert!(text.contains(from), "{text}");
            std::fs::write(&path, text.replace(from, to)).unwrap();
            assert!(Manifest::read(&folder, &key).is_err(), "{from}");
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
