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
    let pages = sections(wanted);
    if pages.is_empty() {
        let message = format!("there is no code `{wanted}`; docs/reference/errors.md lists all");
        return fail(Exit::Usage, message);
    }
    println!("{}", pages.join("\n\n"));
    Exit::Yes
}

/// The sections whose heading `### NUMBER NAME` has this number or name: some words are a decision's and the API's.
fn sections(wanted: &str) -> Vec<String> {
    let is_wanted = |section: &&str| {
        let heading = section.lines().next().unwrap_or("");
        let code = heading.split_once(' ');
        code.is_some_and(|(number, name)| number == wanted || name == wanted)
    };
    let sections = PAGES.split("\n### ").skip(1).filter(is_wanted);
    let whole = sections.map(|section| section.split("\n## ").next().unwrap_or(section));
    whole.map(|section| format!("### {}", section.trim_end())).collect()
}
