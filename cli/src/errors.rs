//! `tollgate errors CODE`: the page of a reason or load error, without a network.

use crate::exit::{Exit, fail};

/// Every page, one section per code.
const PAGES: &str = include_str!("../../docs/reference/errors.md");

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// A name such as field-count, or a number such as 1102
    code: String,
}

pub(crate) fn run(arguments: &Arguments) -> Exit {
    let wanted = arguments.code.as_str();
    let Some(page) = page(wanted) else {
        let message = format!("there is no code `{wanted}`; docs/reference/errors.md lists all");
        return fail(Exit::Usage, message);
    };
    println!("{}", page.trim_end());
    Exit::Yes
}

/// The section whose heading `### NUMBER NAME` has this number or name.
fn page(wanted: &str) -> Option<&'static str> {
    let heading = PAGES.lines().find(|line| {
        let code = line.strip_prefix("### ").and_then(|heading| heading.split_once(' '));
        code.is_some_and(|(number, name)| number == wanted || name == wanted)
    })?;
    let rest = PAGES.split_once(heading).and_then(|(before, _)| PAGES.get(before.len()..))?;
    let end = rest.find("\n##").unwrap_or(rest.len());
    rest.get(..end)
}
