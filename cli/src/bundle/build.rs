//! `tollgate bundle build`.

use crate::draw;
use crate::exit::{Exit, fail};
use crate::folder::FolderFiles;
use std::path::PathBuf;
use tollgate_engine::Version;
use tollgate_proto::bundle::{Manifest, Options, SigningSecret, from_files, seal, sections};

#[derive(Debug, clap::Args)]
#[command(disable_version_flag = true)]
pub(crate) struct Arguments {
    /// The policy folder
    folder: PathBuf,
    /// The private key (PKCS#8 PEM), such as `openssl genpkey -algorithm ed25519` writes
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Where the bundles are written, as TENANT.bundle
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Their version
    #[arg(long, value_name = "EPOCH.SEQ", default_value = "1.1", value_parser = super::version)]
    version: Version,
}

pub(crate) fn run(arguments: &Arguments) -> Exit {
    match build(arguments) {
        Ok(()) => Exit::Yes,
        Err((exit, message)) => fail(exit, message),
    }
}

fn build(arguments: &Arguments) -> Result<(), (Exit, String)> {
    let usage = |message: String| (Exit::Usage, message);
    let (key_path, out) = (arguments.key.display(), arguments.out.display());
    let pem = std::fs::read_to_string(&arguments.key)
        .map_err(|error| usage(format!("{key_path}: {error}")))?;
    let secret =
        SigningSecret::from_pem(&pem).map_err(|error| usage(format!("{key_path}: {error}")))?;
    let shown = arguments.folder.display();
    let files =
        FolderFiles::read(&arguments.folder).map_err(|error| usage(format!("{shown}: {error}")))?;
    let borrowed = files.files();
    let options = Options::new(1, arguments.version);
    let compiled = from_files(&files.name, &borrowed, options).map_err(|found| {
        draw::show(&found, &|path| files.text(path));
        (Exit::DoesNotLoad, format!("{shown} does not load"))
    })?;
    draw::show(&compiled.warnings, &|path| files.text(path));
    std::fs::create_dir_all(&arguments.out).map_err(|error| usage(format!("{out}: {error}")))?;
    let all = sections(&compiled, &borrowed);
    for (state, sections) in compiled.tenants.iter().zip(&all) {
        let manifest = Manifest {
            tenant: state.name().to_owned(),
            epoch: arguments.version.epoch,
            seq: arguments.version.seq,
            parent: [0; 32],
            key_id: Default::default(),
            sections: Vec::new(),
        };
        let sealed = seal(manifest, sections, &secret);
        let (_, bytes) = sealed.ok_or_else(|| usage("the tenant's name is too long".to_owned()))?;
        let path = arguments.out.join(file_name(state.name()));
        std::fs::write(&path, &bytes)
            .map_err(|error| usage(format!("{}: {error}", path.display())))?;
        println!("{}  {} bytes", path.display(), bytes.len());
    }
    Ok(())
}

/// A tenant's name as a file name: what could leave the folder is spelled out.
fn file_name(tenant: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let spelled = tenant.bytes().map(|byte| match is_plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02x}"),
    });
    format!("{}.bundle", spelled.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::file_name;

    #[test]
    fn no_tenant_leaves_the_folder() {
        assert_eq!(file_name("acme-1"), "acme-1.bundle");
        assert_eq!(file_name("../x"), "%2e%2e%2fx.bundle");
        assert_ne!(file_name("%2e"), file_name("."));
    }
}
