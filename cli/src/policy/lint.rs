//! `tollgate policy lint DIR`: what is probably wrong with a policy that loads.

mod sarif;

use super::junit::{self, Case};
use crate::draw;
use crate::exit::{Exit, fail};
use crate::folder::{FolderFiles, policy_folders};
use std::path::PathBuf;
use tollgate_engine::{Diagnostic, Severity};
use tollgate_proto::findings::findings;
use tollgate_proto::lint::lint_files;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// A policy folder, or a folder of them
    dir: PathBuf,
    /// How to print the findings
    #[arg(long, value_enum, default_value = "human")]
    format: Format,
    /// The same as --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// Exit 1 if there is a finding of this level or above
    #[arg(long, value_enum, default_value = "warning")]
    fail_level: FailLevel,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Human,
    Json,
    Sarif,
    Junit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum FailLevel {
    Info,
    Warning,
    Error,
    Never,
}

impl FailLevel {
    fn fails(self, severity: Severity) -> bool {
        match self {
            FailLevel::Info => true,
            FailLevel::Warning => severity >= Severity::Warning,
            FailLevel::Error => severity >= Severity::Error,
            FailLevel::Never => false,
        }
    }
}

/// One folder and what was found in it.
struct Linted {
    shown: String,
    files: FolderFiles,
    found: Vec<Diagnostic>,
    loads: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Exit {
    let folders = match policy_folders(&arguments.dir) {
        Ok(folders) => folders,
        Err((exit, message)) => return fail(exit, message),
    };
    let mut all = Vec::new();
    for folder in folders {
        let shown = folder.display().to_string();
        let files = match FolderFiles::read(&folder) {
            Ok(files) => files,
            Err(error) => return fail(Exit::Usage, format!("{shown}: {error}")),
        };
        let (found, loads) = match lint_files(&files.name, &files.files()) {
            Ok(found) => (found, true),
            Err(errors) => (errors.iter().cloned().collect(), false),
        };
        all.push(Linted { shown, files, found, loads });
    }
    match (arguments.json, arguments.format) {
        (true, _) | (_, Format::Json) => all.iter().for_each(|one| println!("{}", one.json())),
        (_, Format::Human) => all.iter().for_each(Linted::show),
        (_, Format::Sarif) => {
            println!("{}", sarif::document(all.iter().flat_map(|one| &one.found)));
        }
        (_, Format::Junit) => {
            let suites: Vec<junit::Suite> = all.iter().map(Linted::suite).collect();
            print!("{}", junit::document(&suites));
        }
    }
    let fails = |one: &Linted| one.found.iter().any(|d| arguments.fail_level.fails(d.severity));
    match (all.iter().all(|one| one.loads), all.iter().any(fails)) {
        (false, _) => Exit::DoesNotLoad,
        (true, true) => Exit::No,
        (true, false) => Exit::Yes,
    }
}

impl Linted {
    fn show(&self) {
        draw::show_all(&self.found, &|path| self.files.text(path));
        let count = |severity| self.found.iter().filter(|one| one.severity == severity).count();
        let counted = [
            (count(Severity::Error), "errors"),
            (count(Severity::Warning), "warnings"),
            (count(Severity::Info), "infos"),
        ];
        let said: Vec<String> =
            counted.iter().map(|(count, noun)| format!("{count} {noun}")).collect();
        println!("{}: {}", self.shown, said.join(", "));
    }

    fn json(&self) -> serde_json::Value {
        serde_json::json!({"folder": self.shown, "findings": findings(&self.found)})
    }

    fn suite(&self) -> junit::Suite {
        let case = |one: &Diagnostic| Case {
            name: format!("{}:{} {}", one.file, one.span.line, one.code.name()),
            failure: Some(one.message.clone()),
        };
        let mut cases: Vec<Case> = self.found.iter().map(case).collect();
        if cases.is_empty() {
            cases.push(Case { name: "lint".to_owned(), failure: None });
        }
        junit::Suite { folder: self.shown.clone(), cases, error: None }
    }
}
