//! The project's automation. `cargo xtask mutants` plants bugs that the tests must find; `cargo xtask tidy` checks what compilers do not: who imports whom,
//! a page for each code, a head for each file, one word for each thing.
//!
//! To add a check: a function from the root folder to findings, a line in `CHECKS`.

#![allow(clippy::print_stdout, reason = "a tool for people")]

mod glossary;
mod imports;
mod mutants;
mod pages;
mod sources;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// A check: the root of the repository to sentences about what is wrong.
type Check = fn(&Path) -> Vec<String>;

const CHECKS: &[(&str, Check)] = &[
    ("imports", imports::check),
    ("sources", sources::check),
    ("pages", pages::check),
    ("glossary", glossary::check),
];

fn main() -> ExitCode {
    let task = std::env::args().nth(1).unwrap_or_default();
    let root = root();
    match task.as_str() {
        "tidy" => tidy(&root),
        "mutants" if mutants::run(&root) => ExitCode::SUCCESS,
        "mutants" => ExitCode::FAILURE,
        _ => {
            eprintln!("usage: cargo xtask tidy | mutants");
            ExitCode::from(2)
        }
    }
}

fn tidy(root: &Path) -> ExitCode {
    let mut wrong = 0;
    for (name, check) in CHECKS {
        let findings = check(root);
        wrong += findings.len();
        for finding in findings {
            println!("tidy {name}: {finding}");
        }
    }
    println!("tidy: {} checks, {wrong} findings", CHECKS.len());
    if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}

/// Every file below `folder` that ends in `.{extension}`, build folders left out.
pub(crate) fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name();
            if path.is_dir() && name != "target" && !name.to_string_lossy().starts_with('.') {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}
