//! What is kept or handed out sealed: AES-256-GCM (NIST SP 800-38D) under a key that is derived from the master key.
//!
//! A sealed text is a format byte, the id of the master key, a nonce and the rest. It opens only for the purpose and the
//! context that it was sealed for, under the master key in use or the one before it.

use crate::random::bytes;
use crate::secret::MasterKey;
use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Key, Nonce};

const FORMAT: u8 = 1;
const KEY_ID_BYTES: usize = 8;
const NONCE_BYTES: usize = 12;

/// Seals for a purpose (`label`) and a context.
///
/// # Panics
/// Never: a text that is too long for AES-GCM (64 GiB) does not fit a request.
pub(crate) fn seal(master: &MasterKey, label: &str, context: &str, text: &[u8]) -> Vec<u8> {
    let nonce = bytes::<NONCE_BYTES>();
    let payload = Payload { msg: text, aad: context.as_bytes() };
    let sealed = cipher(master, label).encrypt(&Nonce::from(nonce), payload);
    let sealed = sealed.expect("a request is shorter than AES-GCM's bound");
    [&[FORMAT], &key_id(master)[..], &nonce, &sealed].concat()
}

/// Opens what was sealed for the same purpose and context under one of these keys.
pub(crate) fn open<'k>(
    masters: impl IntoIterator<Item = &'k MasterKey>,
    label: &str,
    context: &str,
    sealed: &[u8],
) -> Option<Vec<u8>> {
    let (format, rest) = sealed.split_first()?;
    let (id, rest) = rest.split_first_chunk::<KEY_ID_BYTES>()?;
    let (nonce, text) = rest.split_first_chunk::<NONCE_BYTES>()?;
    let is_meant = |master: &&MasterKey| *format == FORMAT && key_id(master) == *id;
    let master = masters.into_iter().find(is_meant)?;
    let payload = Payload { msg: text, aad: context.as_bytes() };
    cipher(master, label).decrypt(&Nonce::from(*nonce), payload).ok()
}

fn cipher(master: &MasterKey, label: &str) -> Aes256Gcm {
    Aes256Gcm::new(&Key::<Aes256Gcm>::from(master.derive(label, "1")))
}

fn key_id(master: &MasterKey) -> [u8; KEY_ID_BYTES] {
    let derived = master.derive("key-id", "1");
    derived.first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_for_its_purpose_its_context_and_its_key_alone() {
        let (one, two) = (MasterKey::of([7; 32]), MasterKey::of([8; 32]));
        let sealed = seal(&one, "secrets", "idp_1", b"a word");
        let opened = |masters: &[&MasterKey], label, context, sealed: &[u8]| {
            open(masters.iter().copied(), label, context, sealed).is_some()
        };
        assert!(opened(&[&one], "secrets", "idp_1", &sealed));
        assert!(opened(&[&two, &one], "secrets", "idp_1", &sealed));
        assert!(!opened(&[&two], "secrets", "idp_1", &sealed));
        assert!(!opened(&[&one], "cursors", "idp_1", &sealed));
        assert!(!opened(&[&one], "secrets", "idp_2", &sealed));
        assert_ne!(seal(&one, "secrets", "idp_1", b"a word"), sealed);
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(!opened(&[&one], "secrets", "idp_1", &changed), "byte {at}");
            assert!(!opened(&[&one], "secrets", "idp_1", &sealed[..at]), "{at} bytes");
        }
    }
}
