//! `tollgate bundle inspect`.

use crate::exit::{Exit, fail};
use std::path::PathBuf;
use tollgate_proto::bundle::{Manifest, hex, peek};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The bundle
    file: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Exit {
    let shown = arguments.file.display();
    let bytes = match std::fs::read(&arguments.file) {
        Ok(bytes) => bytes,
        Err(error) => return fail(Exit::Usage, format!("{shown}: {error}")),
    };
    match peek(&bytes) {
        Ok(manifest) if arguments.json => println!("{}", as_json(&manifest)),
        Ok(manifest) => print!("{}", as_text(&manifest)),
        Err(error) => return fail(Exit::DoesNotLoad, format!("{shown}: {error}")),
    }
    Exit::Yes
}

fn as_text(manifest: &Manifest) -> String {
    let mut text = format!(
        "tenant   {}\nversion  {}.{}\nkey      {}\nparent   {}\n",
        manifest.tenant,
        manifest.epoch,
        manifest.seq,
        hex(&manifest.key_id),
        hex(&manifest.parent),
    );
    for section in &manifest.sections {
        let (name, digest) = (section.kind.name(), hex(&section.blake3));
        text.push_str(&format!(
            "section  {name:<10} {:>10} bytes  blake3 {digest}\n",
            section.length
        ));
    }
    text.push_str("Nothing of this is verified; `tollgate bundle verify` does that.\n");
    text
}

fn as_json(manifest: &Manifest) -> serde_json::Value {
    let section = |section: &tollgate_proto::bundle::SectionEntry| {
        serde_json::json!({
            "name": section.kind.name(),
            "bytes": section.length,
            "blake3": hex(&section.blake3),
        })
    };
    serde_json::json!({
        "tenant": manifest.tenant,
        "version": format!("{}.{}", manifest.epoch, manifest.seq),
        "key_id": hex(&manifest.key_id),
        "parent": hex(&manifest.parent),
        "sections": manifest.sections.iter().map(section).collect::<Vec<_>>(),
    })
}
