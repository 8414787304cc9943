//! A bundle in bytes: a signed manifest, then the sections it names.
//!
//! ```text
//! "TGBUNDLE"  8 bytes
//! format      u16 = 1            all integers little-endian
//! length      u32                of the manifest
//! manifest    tenant, version, parent, key id, and per section its id, length and blake3 digest
//! signature   64 bytes           ed25519 over everything before it
//! sections    one after the other, nothing behind the last
//! ```
//!
//! Nothing of a bundle is believed before its signature is verified.

use super::codec;
use super::key::{KeyId, SigningSecret, TrustSet};
use bincode::{Decode, Encode};
use tollgate_engine::Version;

const MAGIC: &[u8; 8] = b"TGBUNDLE";
const FORMAT: u16 = 1;
const HEAD_BYTES: usize = 14;
const SIGNATURE_BYTES: usize = 64;
/// Bytes of a manifest.
const MANIFEST_BYTES_MAX: usize = 64 * 1024;
/// Sections of one bundle.
const SECTIONS_MAX: usize = 16;

/// What a section holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum SectionKind {
    Policy,
    Limits,
    Directory,
    Keys,
    Flags,
    Providers,
    Egress,
    Residency,
    Settings,
    Schema,
}

impl SectionKind {
    pub const fn name(self) -> &'static str {
        match self {
            SectionKind::Policy => "policy",
            SectionKind::Limits => "limits",
            SectionKind::Directory => "directory",
            SectionKind::Keys => "keys",
            SectionKind::Flags => "flags",
            SectionKind::Providers => "providers",
            SectionKind::Egress => "egress",
            SectionKind::Residency => "residency",
            SectionKind::Settings => "settings",
            SectionKind::Schema => "schema",
        }
    }
}

/// One section as the manifest names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct SectionEntry {
    pub kind: SectionKind,
    pub length: u64,
    pub blake3: [u8; 32],
}

/// What a bundle says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Manifest {
    pub tenant: String,
    pub epoch: u32,
    pub seq: u64,
    /// blake3 of the manifest that this one follows; zero for the first.
    pub parent: [u8; 32],
    pub key_id: KeyId,
    pub sections: Vec<SectionEntry>,
}

impl Manifest {
    pub fn version(&self) -> Version {
        Version { epoch: self.epoch, seq: self.seq }
    }

    /// Identifies the manifest, for the one that follows it.
    pub fn digest(&self) -> [u8; 32] {
        codec::encode(self).map_or([0; 32], |bytes| *blake3::hash(&bytes).as_bytes())
    }
}

/// Why a bundle is not taken. The order of the variants is their order of precedence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BundleError {
    Malformed(&'static str),
    UnknownFormat(u16),
    UnknownKey(KeyId),
    WrongSignature,
    Damaged(SectionKind),
    WrongTenant { expected: String, got: String },
    LowerVersion { floor: Version, got: Version },
    Content(String),
}

impl BundleError {
    /// The stable number.
    pub const fn number(&self) -> u16 {
        match self {
            BundleError::Malformed(_) => 1201,
            BundleError::UnknownFormat(_) => 1202,
            BundleError::UnknownKey(_) => 1203,
            BundleError::WrongSignature => 1204,
            BundleError::Damaged(_) => 1205,
            BundleError::WrongTenant { .. } => 1206,
            BundleError::LowerVersion { .. } => 1207,
            BundleError::Content(_) => 1208,
        }
    }

    /// The stable word.
    pub const fn name(&self) -> &'static str {
        match self {
            BundleError::Malformed(_) => "bundle-malformed",
            BundleError::UnknownFormat(_) => "bundle-format",
            BundleError::UnknownKey(_) => "bundle-key",
            BundleError::WrongSignature => "bundle-signature",
            BundleError::Damaged(_) => "bundle-damaged",
            BundleError::WrongTenant { .. } => "bundle-tenant",
            BundleError::LowerVersion { .. } => "bundle-version",
            BundleError::Content(_) => "bundle-content",
        }
    }
}

impl std::fmt::Display for BundleError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}: ", self.name(), self.number())?;
        match self {
            BundleError::Malformed(what) => write!(f, "the bytes are no bundle: {what}"),
            BundleError::UnknownFormat(format) => {
                write!(f, "expected format {FORMAT}, got {format}; upgrade whoever reads it")
            }
            BundleError::UnknownKey(id) => {
                write!(f, "the key {} is not trusted; add it or sign anew", super::key::hex(id))
            }
            BundleError::WrongSignature => f.write_str("the signature is not its key's"),
            BundleError::Damaged(kind) => {
                write!(f, "the section `{}` is not what was signed", kind.name())
            }
            BundleError::WrongTenant { expected, got } => {
                write!(f, "expected the tenant `{expected}`, got `{got}`")
            }
            BundleError::LowerVersion { floor, got } => write!(
                f,
                "expected a version above {}.{}, got {}.{}",
                floor.epoch, floor.seq, got.epoch, got.seq
            ),
            BundleError::Content(message) => f.write_str(message),
        }
    }
}

/// A bundle whose signature and digests hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle<'b> {
    pub manifest: Manifest,
    sections: Vec<&'b [u8]>,
}

impl<'b> Bundle<'b> {
    /// The bytes of a section, if the bundle has it.
    pub fn section(&self, kind: SectionKind) -> Option<&'b [u8]> {
        let at = self.manifest.sections.iter().position(|entry| entry.kind == kind)?;
        self.sections.get(at).copied()
    }
}

/// Signs sections into a bundle. `manifest.key_id` and `manifest.sections` are filled in.
/// `None` only for a manifest beyond its bounds.
pub fn seal(
    mut manifest: Manifest,
    sections: &[(SectionKind, Vec<u8>)],
    secret: &SigningSecret,
) -> Option<(Manifest, Vec<u8>)> {
    manifest.key_id = secret.public().id();
    manifest.sections = sections.iter().map(|(kind, bytes)| entry(*kind, bytes)).collect();
    let body = codec::encode(&manifest).filter(|body| body.len() <= MANIFEST_BYTES_MAX)?;
    let mut out = MAGIC.to_vec();
    out.extend(FORMAT.to_le_bytes());
    out.extend(u32::try_from(body.len()).ok()?.to_le_bytes());
    out.extend(body);
    let signature = secret.sign(&out);
    out.extend(signature);
    out.extend(sections.iter().flat_map(|(_, bytes)| bytes));
    (sections.len() <= SECTIONS_MAX).then_some((manifest, out))
}

/// A section as a manifest names it.
pub fn entry(kind: SectionKind, bytes: &[u8]) -> SectionEntry {
    SectionEntry { kind, length: bytes.len() as u64, blake3: *blake3::hash(bytes).as_bytes() }
}

/// Reads the manifest without believing it: for people who look at a file.
///
/// # Errors
/// `Malformed`, `UnknownFormat`.
pub fn peek(bytes: &[u8]) -> Result<Manifest, BundleError> {
    split(bytes).map(|parts| parts.manifest)
}

/// Opens a bundle: signature, then the digests of its sections.
///
/// # Errors
/// In the order of `BundleError`, up to `Damaged`.
pub fn open<'b>(bytes: &'b [u8], trust: &TrustSet) -> Result<Bundle<'b>, BundleError> {
    let Parts { manifest, signed, signature, mut rest } = split(bytes)?;
    let key = trust.find(manifest.key_id).ok_or(BundleError::UnknownKey(manifest.key_id))?;
    if !key.verifies(signed, signature) {
        return Err(BundleError::WrongSignature);
    }
    let mut sections = Vec::with_capacity(manifest.sections.len());
    for entry in &manifest.sections {
        let length = usize::try_from(entry.length).unwrap_or(usize::MAX);
        let split = rest.split_at_checked(length);
        let (section, behind) = split.ok_or(BundleError::Malformed("it ends early"))?;
        if blake3::hash(section) != entry.blake3 {
            return Err(BundleError::Damaged(entry.kind));
        }
        sections.push(section);
        rest = behind;
    }
    match rest.is_empty() {
        true => Ok(Bundle { manifest, sections }),
        false => Err(BundleError::Malformed("bytes follow its last section")),
    }
}

/// Takes a version only above the floor.
///
/// # Errors
/// `LowerVersion`.
pub fn check_floor(floor: Option<Version>, got: Version) -> Result<(), BundleError> {
    match floor {
        Some(floor) if got <= floor => Err(BundleError::LowerVersion { floor, got }),
        _ => Ok(()),
    }
}

struct Parts<'b> {
    manifest: Manifest,
    signed: &'b [u8],
    signature: &'b [u8; SIGNATURE_BYTES],
    rest: &'b [u8],
}

fn split(bytes: &[u8]) -> Result<Parts<'_>, BundleError> {
    let early = BundleError::Malformed("it ends early");
    let (head, rest) = bytes.split_at_checked(HEAD_BYTES).ok_or(early.clone())?;
    let (magic, numbers) = head.split_at(MAGIC.len());
    if magic != MAGIC {
        return Err(BundleError::Malformed("it does not begin with TGBUNDLE"));
    }
    let [f0, f1, l0, l1, l2, l3] = *numbers else { return Err(early) };
    let format = u16::from_le_bytes([f0, f1]);
    if format != FORMAT {
        return Err(BundleError::UnknownFormat(format));
    }
    let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    if length > MANIFEST_BYTES_MAX {
        return Err(BundleError::Malformed("its manifest is too long"));
    }
    let (body, rest) = rest.split_at_checked(length).ok_or(early.clone())?;
    let (signature, rest) = rest.split_first_chunk().ok_or(early)?;
    let manifest: Manifest =
        codec::decode(body).ok_or(BundleError::Malformed("its manifest cannot be read"))?;
    if manifest.sections.len() > SECTIONS_MAX {
        return Err(BundleError::Malformed("it names too many sections"));
    }
    let signed = bytes.get(..HEAD_BYTES + length).unwrap_or(bytes);
    Ok(Parts { manifest, signed, signature, rest })
}
