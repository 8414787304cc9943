//! No bytes panic the reader of bundles, nor that of sections which were signed.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tollgate_proto::bundle::{SigningSecret, TrustSet, compile, open, peek, seal};

fuzz_target!(|bytes: &[u8]| {
    let secret = SigningSecret::from_bytes(&[1; 32]);
    let trust = TrustSet::new(vec![secret.public()]).expect("one key");
    let _ = open(bytes, &trust);
    let Ok(manifest) = peek(bytes) else { return };
    // The same sections, whatever they are, under a signature that holds.
    let all: u64 = manifest.sections.iter().map(|entry| entry.length.min(1 << 20)).sum();
    let mut rest = &bytes[bytes.len().saturating_sub(all as usize)..];
    let mut sections = Vec::new();
    for entry in &manifest.sections {
        let (section, behind) = rest.split_at(rest.len().min(entry.length.min(1 << 20) as usize));
        sections.push((entry.kind, section.to_vec()));
        rest = behind;
    }
    if let Some((_, sealed)) = seal(manifest, &sections, &secret) {
        let bundle = open(&sealed, &trust).expect("what was just sealed");
        let _ = compile(&bundle, 1);
    }
});
