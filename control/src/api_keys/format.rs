//! What a key looks like: `tgk_` + 8 (the tenant's reference) + 30 (secret) + 6 (CRC-32) for a tenant's,
//! `tgp_` + 38 + 6 for the platform's; all base62. The secret of a browser's session is `tgs_` and the same as a tenant's.
//!
//! The checksum lets anybody refuse a mistyped key without looking it up. What is stored is the SHA-256
//! of the whole key: it is random, so a slow hash would add nothing.

use crate::random::{BASE62, base62};
use crate::secret::SecretText;
use sha2::{Digest, Sha256};

const TENANT: &str = "tgk_";
const PLATFORM: &str = "tgp_";
const SESSION: &str = "tgs_";
pub const REFERENCE_CHARS: usize = 8;
const TENANT_SECRET_CHARS: usize = 30;
const PLATFORM_SECRET_CHARS: usize = 38;
const CHECKSUM_CHARS: usize = 6;
const KEY_CHARS: usize = 48;

/// Whom a key belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    Platform,
    /// The tenant with this reference.
    Tenant(String),
    /// A session of the tenant with this reference.
    Session(String),
}

/// The hash of a key, as it is stored.
pub type KeyHash = [u8; 32];

/// A key that somebody presented, its checksum verified.
#[derive(Debug, PartialEq, Eq)]
pub struct Presented {
    pub holder: Holder,
    pub hash: KeyHash,
}

/// A new key.
pub fn generate(holder: &Holder) -> SecretText {
    let body = match holder {
        Holder::Platform => format!("{PLATFORM}{}", base62(PLATFORM_SECRET_CHARS)),
        Holder::Tenant(reference) => format!("{TENANT}{reference}{}", base62(TENANT_SECRET_CHARS)),
        Holder::Session(reference) => {
            format!("{SESSION}{reference}{}", base62(TENANT_SECRET_CHARS))
        }
    };
    let checksum = checksum(&body);
    SecretText::new(body + &checksum)
}

/// Reads a key; `None` if it cannot be one.
pub fn read(text: &str) -> Option<Presented> {
    let (body, tail) = text.split_at_checked(KEY_CHARS - CHECKSUM_CHARS)?;
    let is_whole = text.len() == KEY_CHARS && checksum(body) == tail;
    let is_base62 = body.bytes().skip(TENANT.len()).all(|byte| byte.is_ascii_alphanumeric());
    if !is_whole || !is_base62 {
        return None;
    }
    let (kind, rest) = body.split_at_checked(TENANT.len())?;
    let reference = rest.get(..REFERENCE_CHARS)?.to_owned();
    let holder = match kind {
        TENANT => Holder::Tenant(reference),
        PLATFORM => Holder::Platform,
        SESSION => Holder::Session(reference),
        _ => return None,
    };
    Some(Presented { holder, hash: hash(text) })
}

pub fn hash(key: &str) -> KeyHash {
    Sha256::digest(key.as_bytes()).into()
}

fn checksum(body: &str) -> String {
    let mut rest = crc32fast::hash(body.as_bytes()) as usize;
    let mut text = [b'0'; CHECKSUM_CHARS];
    for place in text.iter_mut().rev() {
        *place = BASE62.get(rest % BASE62.len()).copied().unwrap_or(b'0');
        rest /= BASE62.len();
    }
    text.iter().map(|byte| char::from(*byte)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_back_and_no_other_text_is() {
        let reference = || "Ab3dE6gH".to_owned();
        for holder in [Holder::Platform, Holder::Tenant(reference()), Holder::Session(reference())]
        {
            let key = generate(&holder);
            let text = key.expose();
            assert_eq!(text.len(), 48);
            assert_eq!(read(text).map(|presented| presented.holder), Some(holder));
            for at in 0..text.len() {
                let other = if text.as_bytes()[at] == b'x' { "y" } else { "x" };
                let mut changed = text.to_owned();
                changed.replace_range(at..=at, other);
                assert_eq!(read(&changed), None, "place {at}");
            }
            assert_eq!(read(&text[..47]), None);
            assert_eq!(read(&format!("{text}0")), None);
        }
        for text in ["", "tgk_", "Bearer", "tgx_0000000000000000000000000000000000000000000"] {
            assert_eq!(read(text), None);
        }
    }
}
