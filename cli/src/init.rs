//! `tollgate init DIR --from CASE`: a policy folder to start from, one of `policies/`.

use crate::exit::{Exit, fail};
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The folder to make
    dir: PathBuf,
    /// The case to copy
    #[arg(long, value_name = "CASE", default_value = "llm-gateway", value_parser = names())]
    from: String,
}

/// The files of one case.
type Case = (&'static str, &'static [(&'static str, &'static str)]);

macro_rules! cases {
    ($($case:literal: $($file:literal)*;)*) => {
        const CASES: &[Case] = &[$(($case, &[$((
            $file,
            include_str!(concat!("../../policies/", $case, "/", $file)),
        )),*])),*];
    };
}

cases! {
    "break-glass": "README.md" "model.conf" "policy.csv" "tests.yaml";
    "control-plane": "README.md" "model.conf" "policy.csv" "tests.yaml";
    "documents": "README.md" "model.conf" "policy.csv" "schema.json" "tests.yaml";
    "firewall": "README.md" "model.conf" "policy.csv" "tenant.toml" "tests.yaml";
    "llm-gateway": "README.md" "limits.toml" "model.conf" "policy.csv" "tests.yaml";
    "rest-api": "README.md" "limits.toml" "model.conf" "policy.csv" "tests.yaml";
    "saas": "README.md" "model.conf" "policy.csv" "tests.yaml";
}

fn names() -> clap::builder::PossibleValuesParser {
    clap::builder::PossibleValuesParser::new(CASES.iter().map(|(name, _)| *name))
}

pub(crate) fn run(arguments: &Arguments) -> Exit {
    let shown = arguments.dir.display();
    let is_empty = std::fs::read_dir(&arguments.dir).map_or(true, |mut dir| dir.next().is_none());
    if !is_empty {
        return fail(Exit::Usage, format!("{shown} is not empty; name a new folder"));
    }
    let files = CASES.iter().find(|(name, _)| *name == arguments.from).map_or(&[][..], |c| c.1);
    let written = std::fs::create_dir_all(&arguments.dir).and_then(|()| {
        files.iter().try_for_each(|(name, text)| std::fs::write(arguments.dir.join(name), text))
    });
    if let Err(error) = written {
        return fail(Exit::Usage, format!("{shown}: {error}"));
    }
    println!("{shown}: {} files of {}", files.len(), arguments.from);
    println!("Next: tollgate policy test {shown}");
    Exit::Yes
}

#[cfg(test)]
mod tests {
    use super::CASES;

    /// A case or file that is added to `policies/` is added here.
    #[test]
    fn every_case_is_there_whole() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../policies");
        let mut found = Vec::new();
        for case in std::fs::read_dir(root).unwrap().map(|case| case.unwrap().path()) {
            for file in std::fs::read_dir(&case).into_iter().flatten() {
                let name = |path: &std::path::Path| {
                    path.file_name().unwrap().to_string_lossy().into_owned()
                };
                found.push((name(&case), name(&file.unwrap().path())));
            }
        }
        found.sort();
        let known: Vec<(String, String)> = CASES
            .iter()
            .flat_map(|(case, files)| {
                files.iter().map(|(file, _)| ((*case).to_owned(), (*file).to_owned()))
            })
            .collect();
        assert_eq!(known, found);
    }
}
