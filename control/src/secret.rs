//! Secrets: a type that cannot be printed, copied or serialised, and the master key they derive from.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hkdf::Hkdf;
use hkdf::hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

pub const MASTER_KEY_BYTES: usize = 32;

/// A text that no log, error or answer may hold. Has no `Debug`, `Clone` or `Serialize` on purpose.
#[allow(missing_debug_implementations, reason = "a secret is never printed")]
pub struct SecretText(String);

impl SecretText {
    pub fn new(text: String) -> SecretText {
        SecretText(text)
    }

    /// The text itself: for the one place that must hand it over.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// The root of everything that is sealed or derived.
#[allow(missing_debug_implementations, reason = "a secret is never printed")]
pub struct MasterKey([u8; MASTER_KEY_BYTES]);

impl MasterKey {
    /// Reads `secrets.master_key_file`: 32 random bytes in base64, mode 0600.
    ///
    /// # Errors
    /// A sentence that names the file: missing, readable by others, no base64, not 32 bytes, or a value
    /// that is nobody's secret.
    pub fn read(path: &Path) -> Result<MasterKey, String> {
        let shown = path.display();
        let metadata = std::fs::metadata(path).map_err(|error| {
            format!("secrets.master_key_file {shown}: {error}; make one: head -c 32 /dev/urandom | base64 > {shown}; chmod 600 {shown}")
        })?;
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(format!(
                "secrets.master_key_file {shown}: expected mode 0600, got {mode:04o}; chmod 600 {shown}"
            ));
        }
        let text = std::fs::read_to_string(path).map_err(|error| format!("{shown}: {error}"))?;
        let bytes = STANDARD.decode(text.trim());
        let bytes =
            bytes.map_err(|_| format!("secrets.master_key_file {shown}: expected base64"))?;
        let key: [u8; MASTER_KEY_BYTES] = bytes.try_into().map_err(|bytes: Vec<u8>| {
            format!(
                "secrets.master_key_file {shown}: expected {MASTER_KEY_BYTES} bytes, got {}",
                bytes.len()
            )
        })?;
        match is_weak(&key) {
            true => Err(format!(
                "secrets.master_key_file {shown}: a published or repeating value is no secret; make a random one"
            )),
            false => Ok(MasterKey(key)),
        }
    }

    #[cfg(test)]
    pub(crate) fn of(key: [u8; MASTER_KEY_BYTES]) -> MasterKey {
        MasterKey(key)
    }

    /// 32 bytes for one purpose; other labels and contexts give others (HKDF-SHA256, RFC 5869).
    pub fn derive(&self, label: &str, context: &str) -> [u8; 32] {
        let mut out = [0; 32];
        let info = format!("tollgate/{label}/{context}");
        // 32 bytes are far below HKDF's limit: it cannot fail.
        let _ = Hkdf::<Sha256>::new(None, &self.0).expand(info.as_bytes(), &mut out);
        out
    }

    /// The password of a database role.
    pub fn database_password(&self, placement: &str, generation: i32) -> SecretText {
        let key = self.derive("database-password", &format!("{placement}/{generation}"));
        SecretText(URL_SAFE_NO_PAD.encode(key))
    }
}

/// What Postgres keeps of a password (SCRAM-SHA-256, RFC 5802 and 7677), so that no statement holds the password
/// itself. One iteration: the passwords are 32 random bytes, and every connection would pay for more.
pub fn scram_verifier(password: &SecretText, salt: &[u8; 16]) -> String {
    let mac = |key: &[u8], parts: &[&[u8]]| {
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("any length is a key");
        parts.iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes()
    };
    let salted = mac(password.expose().as_bytes(), &[salt, &1u32.to_be_bytes()]);
    let stored = Sha256::digest(mac(&salted, &[b"Client Key"]));
    let server = mac(&salted, &[b"Server Key"]);
    let text = |bytes: &[u8]| STANDARD.encode(bytes);
    format!("SCRAM-SHA-256$1:{}${}:{}", text(salt), text(&stored), text(&server))
}

/// Repeating bytes, counting bytes, and the keys that manuals print.
fn is_weak(key: &[u8; MASTER_KEY_BYTES]) -> bool {
    const PUBLISHED: [&[u8]; 3] = [
        b"0123456789abcdef0123456789abcdef",
        b"changemechangemechangemechangeme",
        b"abcdefghijklmnopqrstuvwxyz012345",
    ];
    let repeats = |len: usize| key.chunks(len).all(|chunk| Some(chunk) == key.get(..len));
    let counts = key.windows(2).all(|pair| matches!(pair, [a, b] if *b == a.wrapping_add(1)));
    [1, 2, 4, 8].into_iter().any(repeats) || counts || PUBLISHED.contains(&&key[..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(content: &str, mode: u32) -> std::path::PathBuf {
        let name = format!("tg-master-{}-{mode}-{}", std::process::id(), content.len());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn only_a_random_private_key_is_read() {
        let random: Vec<u8> = (0..32u32).map(|i| (i * 97 % 251) as u8).collect();
        for (bytes, mode, accepted) in [
            (random.clone(), 0o600, true),
            (random.clone(), 0o640, false),
            (random[..31].to_vec(), 0o600, false),
            (vec![0; 32], 0o600, false),
            ([1, 2].repeat(16), 0o600, false),
            ((0..32).collect(), 0o600, false),
            (b"changemechangemechangemechangeme".to_vec(), 0o600, false),
        ] {
            let path = file(&STANDARD.encode(&bytes), mode);
            assert_eq!(MasterKey::read(&path).is_ok(), accepted, "{bytes:?} {mode:o}");
        }
        assert!(MasterKey::read(&file("not base64!", 0o600)).is_err());
        assert!(MasterKey::read(Path::new("/nowhere")).is_err());
    }
}
