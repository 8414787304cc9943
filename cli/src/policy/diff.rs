//! `tollgate policy diff A B`: which requests gain, lose or are refused for another reason from A to B.

use crate::draw;
use crate::exit::{Exit, fail};
use crate::folder::FolderFiles;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use tollgate_engine::compare::{Answer, Changed, Comparison, Example, compare};
use tollgate_engine::{Now, TenantState, Version};
use tollgate_proto::bundle::{self, Options};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The policy folder as it is
    before: PathBuf,
    /// The policy folder as it would be
    after: PathBuf,
    /// Compare as if it were this time (RFC 3339); only role links that hold for a time look at it
    #[arg(long, value_name = "TIME")]
    at: Option<jiff::Timestamp>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// One tenant and what changes for it.
type Compared = (String, Comparison);

pub(crate) fn run(arguments: &Arguments) -> Exit {
    let (before, after) = match (load(&arguments.before), load(&arguments.after)) {
        (Ok(before), Ok(after)) => (before, after),
        (Err(exit), _) | (_, Err(exit)) => return exit,
    };
    let at = arguments.at.unwrap_or_else(jiff::Timestamp::now);
    let now = Now(u64::try_from(at.as_nanosecond()).unwrap_or(0));
    let compared = by_tenant(&before, &after, now);
    match arguments.json {
        true => println!("{}", json(&compared)),
        false => print(&compared),
    }
    if compared.iter().any(|(_, one)| one.differs()) { Exit::No } else { Exit::Yes }
}

fn load(folder: &Path) -> Result<Vec<TenantState>, Exit> {
    let shown = folder.display();
    let files = FolderFiles::read(folder)
        .map_err(|error| fail(Exit::Usage, format!("{shown}: {error}")))?;
    let options = Options::new(u64::from(std::process::id()), Version::default());
    // Limits decide nothing here.
    let policy: Vec<_> =
        files.files().into_iter().filter(|f| !f.path.ends_with("limits.toml")).collect();
    // Folders of two versions have two names, and mean one tenant.
    match bundle::from_files("tenant", &policy, options) {
        Ok(folder) => Ok(folder.tenants),
        Err(found) => {
            draw::show(&found, &|path| files.text(path));
            eprintln!("{}", draw::count_line(&found));
            Err(Exit::DoesNotLoad)
        }
    }
}

/// A folder of one tenant is compared with a folder of one tenant, whatever they are called.
fn by_tenant(before: &[TenantState], after: &[TenantState], now: Now) -> Vec<Compared> {
    if let ([one], [other]) = (before, after) {
        return vec![(other.name().to_owned(), compare(one.name(), Some(one), Some(other), now))];
    }
    let names: BTreeSet<&str> = before.iter().chain(after).map(TenantState::name).collect();
    let of = |states: &'_ [TenantState], name: &str| {
        states.iter().position(|state| state.name() == name)
    };
    let compared = names.into_iter().map(|name| {
        let (one, other) = (of(before, name), of(after, name));
        let (one, other) = (one.and_then(|at| before.get(at)), other.and_then(|at| after.get(at)));
        (name.to_owned(), compare(name, one, other, now))
    });
    compared.collect()
}

fn total(compared: &[Compared], kind: fn(&Comparison) -> &Changed) -> u64 {
    compared.iter().map(|(_, one)| kind(one).count).sum()
}

/// `exact`, or how many decisions the answer is drawn from.
fn basis(compared: &[Compared]) -> String {
    let asked: u64 = compared.iter().map(|(_, one)| one.asked).sum();
    match compared.iter().all(|(_, one)| one.is_exact) {
        true => "exact".to_owned(),
        false => format!("sampled from {asked} decisions"),
    }
}

fn print(compared: &[Compared]) {
    println!(
        "{} gain, {} lose, {} change · {}",
        total(compared, |one| &one.gain),
        total(compared, |one| &one.lose),
        total(compared, |one| &one.change),
        basis(compared)
    );
    let many = compared.len() > 1;
    for (tenant, one) in compared {
        for (word, changed) in [("gain", &one.gain), ("lose", &one.lose), ("change", &one.change)] {
            for example in &changed.examples {
                let tenant = if many { format!("{tenant}  ") } else { String::new() };
                println!("{word:<7} {tenant}{}", shown(example));
            }
            let more = changed.count - u64::try_from(changed.examples.len()).unwrap_or(0);
            if more > 0 {
                println!("        and {more} more");
            }
        }
    }
}

fn shown(example: &Example) -> String {
    let mut line = format!("{}  {}  {}", example.subject, example.resource, example.action);
    if !example.others.is_empty() {
        line.push_str(&format!("  ({})", example.others.join(", ")));
    }
    format!("{line}   {} → {}", answer(example.before), answer(example.after))
}

fn answer(answer: Answer) -> String {
    match answer.line {
        Some(line) => format!("{} policy.csv:{line}", answer.reason.name()),
        None => answer.reason.name().to_owned(),
    }
}

fn json(compared: &[Compared]) -> serde_json::Value {
    let answer = |answer: Answer| {
        serde_json::json!({
            "reason": answer.reason.name(),
            "rule": answer.line.map(|line| format!("policy.csv:{line}")),
        })
    };
    let example = |example: &Example| {
        serde_json::json!({
            "subject": example.subject,
            "resource": example.resource,
            "action": example.action,
            "others": example.others,
            "before": answer(example.before),
            "after": answer(example.after),
        })
    };
    let changed = |changed: &Changed| {
        serde_json::json!({
            "count": changed.count,
            "examples": changed.examples.iter().map(example).collect::<Vec<_>>(),
        })
    };
    let tenant = |(name, one): &Compared| {
        serde_json::json!({
            "tenant": name,
            "exact": one.is_exact,
            "decisions": one.asked,
            "gain": changed(&one.gain),
            "lose": changed(&one.lose),
            "change": changed(&one.change),
        })
    };
    serde_json::json!({
        "gain": total(compared, |one| &one.gain),
        "lose": total(compared, |one| &one.lose),
        "change": total(compared, |one| &one.change),
        "exact": compared.iter().all(|(_, one)| one.is_exact),
        "decisions": compared.iter().map(|(_, one)| one.asked).sum::<u64>(),
        "tenants": compared.iter().map(tenant).collect::<Vec<_>>(),
    })
}
