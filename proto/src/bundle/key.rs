//! Keys that sign bundles, and the set of those that are trusted.

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

/// Keys that a trust set may hold.
pub const TRUST_MAX: usize = 4;
/// Bytes of a key's id.
const KEY_ID_BYTES: usize = 8;

/// The id of a key: the beginning of the blake3 digest of its public half.
pub type KeyId = [u8; KEY_ID_BYTES];

/// A key that signs. It cannot be printed, copied or serialised by accident.
#[allow(missing_debug_implementations, reason = "a secret has none")]
pub struct SigningSecret(SigningKey);

impl SigningSecret {
    /// The key of 32 random bytes.
    pub fn from_bytes(bytes: &[u8; 32]) -> SigningSecret {
        SigningSecret(SigningKey::from_bytes(bytes))
    }

    /// Reads a private key in PKCS#8 PEM, such as `openssl genpkey -algorithm ed25519` writes.
    ///
    /// # Errors
    /// A sentence without any part of the text.
    pub fn from_pem(text: &str) -> Result<SigningSecret, String> {
        let expected = "expected an ed25519 private key in PKCS#8 PEM";
        SigningKey::from_pkcs8_pem(text).map(SigningSecret).map_err(|_| expected.to_owned())
    }

    /// The key as PEM, to be written to a file of mode 0600; the text is wiped when dropped.
    pub fn to_pem(&self) -> Option<impl AsRef<[u8]> + use<>> {
        struct Pem<T>(T);
        impl<T: std::ops::Deref<Target = String>> AsRef<[u8]> for Pem<T> {
            fn as_ref(&self) -> &[u8] {
                self.0.as_bytes()
            }
        }
        self.0.to_pkcs8_pem(LineEnding::LF).ok().map(Pem)
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// The signature of a message (ed25519, RFC 8032).
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

/// A key that verifies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// Reads a public key in PEM, such as `openssl pkey -pubout` writes.
    ///
    /// # Errors
    /// A sentence.
    pub fn from_pem(text: &str) -> Result<PublicKey, String> {
        let expected = "expected an ed25519 public key in PEM";
        VerifyingKey::from_public_key_pem(text).map(PublicKey).map_err(|_| expected.to_owned())
    }

    /// The key as PEM.
    pub fn to_pem(&self) -> Option<String> {
        self.0.to_public_key_pem(LineEnding::LF).ok()
    }

    /// The key itself, as RFC 8032 encodes it.
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    pub fn id(&self) -> KeyId {
        let digest = blake3::hash(self.0.as_bytes());
        let mut id = KeyId::default();
        id.iter_mut().zip(digest.as_bytes()).for_each(|(to, from)| *to = *from);
        id
    }

    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        self.0.verify_strict(message, &Signature::from_bytes(signature)).is_ok()
    }
}

/// The keys whose bundles are taken: one to four.
#[derive(Debug, Clone)]
pub struct TrustSet(Vec<PublicKey>);

impl TrustSet {
    /// # Errors
    /// No key, more than `TRUST_MAX`, or two with one id.
    pub fn new(keys: Vec<PublicKey>) -> Result<TrustSet, String> {
        if keys.is_empty() || keys.len() > TRUST_MAX {
            return Err(format!("expected 1 to {TRUST_MAX} trusted keys, got {}", keys.len()));
        }
        let twice = keys
            .iter()
            .enumerate()
            .any(|(at, key)| keys.iter().skip(at + 1).any(|other| other.id() == key.id()));
        if twice { Err("a trusted key is given twice".to_owned()) } else { Ok(TrustSet(keys)) }
    }

    pub(crate) fn find(&self, id: KeyId) -> Option<&PublicKey> {
        self.0.iter().find(|key| key.id() == id)
    }
}

/// Bytes as people write them.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
