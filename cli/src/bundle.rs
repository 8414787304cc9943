//! `tollgate bundle`: build signed bundles from a folder, look into one, verify one.

mod build;
mod inspect;
mod verify;

use crate::exit::Exit;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Compile a folder and write one signed bundle per tenant
    Build(build::Arguments),
    /// Show what a bundle says of itself; believes nothing
    Inspect(inspect::Arguments),
    /// Check signature, digests and content of a bundle
    Verify(verify::Arguments),
}

pub(crate) fn run(command: &Command) -> Exit {
    match command {
        Command::Build(arguments) => build::run(arguments),
        Command::Inspect(arguments) => inspect::run(arguments),
        Command::Verify(arguments) => verify::run(arguments),
    }
}

/// A version as people write it: `1.4`.
fn version(text: &str) -> Result<tollgate_engine::Version, String> {
    let parsed = text.split_once('.').and_then(|(epoch, seq)| {
        Some(tollgate_engine::Version { epoch: epoch.parse().ok()?, seq: seq.parse().ok()? })
    });
    parsed.ok_or_else(|| format!("expected EPOCH.SEQ such as 1.4, got `{text}`"))
}
