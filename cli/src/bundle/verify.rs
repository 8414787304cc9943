//! `tollgate bundle verify`.

use crate::exit::{Exit, fail};
use std::path::{Path, PathBuf};
use tollgate_engine::Version;
use tollgate_proto::bundle::{
    BundleError, PublicKey, SigningSecret, TrustSet, check_floor, compile, hex, open,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The bundle
    file: PathBuf,
    /// A trusted key in PEM, public or private; up to four
    #[arg(long, value_name = "FILE", required = true)]
    trust: Vec<PathBuf>,
    /// The tenant that it must be of
    #[arg(long)]
    tenant: Option<String>,
    /// The version that it must be above
    #[arg(long, value_name = "EPOCH.SEQ", value_parser = super::version)]
    above: Option<Version>,
}

pub(crate) fn run(arguments: &Arguments) -> Exit {
    let shown = arguments.file.display();
    let keys = arguments.trust.iter().map(|path| read_key(path)).collect::<Result<Vec<_>, _>>();
    let trust = match keys.and_then(TrustSet::new) {
        Ok(trust) => trust,
        Err(message) => return fail(Exit::Usage, message),
    };
    let bytes = match std::fs::read(&arguments.file) {
        Ok(bytes) => bytes,
        Err(error) => return fail(Exit::Usage, format!("{shown}: {error}")),
    };
    match verify(&bytes, &trust, arguments) {
        Ok(line) => {
            println!("{line}");
            Exit::Yes
        }
        Err(error @ (BundleError::Malformed(_) | BundleError::UnknownFormat(_))) => {
            fail(Exit::DoesNotLoad, format!("{shown}: {error}"))
        }
        Err(error) => fail(Exit::No, format!("{shown}: {error}")),
    }
}

fn verify(bytes: &[u8], trust: &TrustSet, arguments: &Arguments) -> Result<String, BundleError> {
    let bundle = open(bytes, trust)?;
    let manifest = &bundle.manifest;
    if let Some(expected) = arguments.tenant.as_ref().filter(|name| **name != manifest.tenant) {
        let (expected, got) = (expected.clone(), manifest.tenant.clone());
        return Err(BundleError::WrongTenant { expected, got });
    }
    check_floor(arguments.above, manifest.version())?;
    let state = compile(&bundle, 1)?;
    Ok(format!(
        "good   {} {}.{}   {} rules, {} limits   key {}",
        manifest.tenant,
        manifest.epoch,
        manifest.seq,
        state.policy().rule_count(),
        state.quotas().len(),
        hex(&manifest.key_id),
    ))
}

fn read_key(path: &Path) -> Result<PublicKey, String> {
    let shown = path.display();
    let pem = std::fs::read_to_string(path).map_err(|error| format!("{shown}: {error}"))?;
    let public = PublicKey::from_pem(&pem);
    let public = public.or_else(|_| SigningSecret::from_pem(&pem).map(|secret| secret.public()));
    public.map_err(|_| format!("{shown}: expected an ed25519 key in PEM"))
}
