//! `tollgate import`: from what people have to a folder or a limits.toml, with a list of what differs or stays behind.
//!
//! To add a source: a module that makes `Imported` of a file, a variant of `Command`, a recipe.

mod casbin;
mod kong;
mod limits;
mod litellm;

use crate::exit::{Exit, fail};
use limits::Imported;
use std::path::{Path, PathBuf};
use tollgate_engine::Source;
use tollgate_proto::tests_file::read_yaml;
use tollgate_proto::tree::Tree;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Make a policy folder of a Casbin model and policy
    Casbin(casbin::Arguments),
    /// Turn the rate-limiting plugins of a declarative Kong configuration into limits.toml
    Kong(Arguments),
    /// Turn the budgets and limits of a `LiteLLM` proxy's configuration into limits.toml
    Litellm(Arguments),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// YAML or JSON
    file: PathBuf,
    /// Where limits.toml goes; it is printed if nothing is said
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(crate) fn run(command: &Command) -> Exit {
    let done = match command {
        Command::Casbin(arguments) => casbin::import(arguments),
        Command::Kong(arguments) => import(arguments, kong::import),
        Command::Litellm(arguments) => import(arguments, litellm::import),
    };
    match done {
        Ok(said) => {
            print!("{said}");
            Exit::Yes
        }
        Err((exit, message)) => fail(exit, message),
    }
}

fn import(
    arguments: &Arguments,
    read_limits: fn(&Tree<'_>) -> Imported,
) -> Result<String, (Exit, String)> {
    let text = read(&arguments.file)?;
    let shown = arguments.file.display().to_string();
    let tree = read_yaml(Source { file: &shown, text: &text }).map_err(|found| {
        let first = found.iter().next();
        let why = first.map_or(String::new(), |one| format!("{}: {}", one.span.line, one.message));
        (Exit::DoesNotLoad, format!("{shown}:{why}"))
    })?;
    let imported = read_limits(&tree);
    let toml = imported.toml().map_err(|why| (Exit::DoesNotLoad, format!("{shown}: {why}")))?;
    for note in imported.notes() {
        eprintln!("not carried over: {note}");
    }
    let Some(output) = &arguments.output else { return Ok(toml) };
    if output.exists() {
        return Err((Exit::Usage, format!("{} exists; name a new file", output.display())));
    }
    std::fs::write(output, toml)
        .map_err(|error| (Exit::Usage, format!("{}: {error}", output.display())))?;
    Ok(format!("{}: {} limits\n", output.display(), imported.count()))
}

fn read(path: &Path) -> Result<String, (Exit, String)> {
    std::fs::read_to_string(path)
        .map_err(|error| (Exit::Usage, format!("{}: {error}", path.display())))
}
