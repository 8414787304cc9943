//! `tollgate errors CODE`: the page of a reason or load error, without a network.

use crate::exit::{Exit, fail};
use tollgate_engine::{Code, Reason};

/// Every page, one section per code.
const PAGES: &str = include_str!("../../docs/reference/errors.md");

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// A name such as field-count, or a number such as 1102
    code: String,
}

pub(crate) fn run(arguments: &Arguments) -> Exit {
    let wanted = arguments.code.as_str();
    let number = Code::find(wanted).map(Code::number).or_else(|| {
        let known =
            |reason: &&Reason| reason.name() == wanted || reason.number().to_string() == wanted;
        Reason::ALL.iter().find(known).map(|reason| reason.number())
    });
    let Some(page) = number.and_then(page) else {
        return fail(
            Exit::Usage,
            format!("there is no code `{wanted}`; docs/reference/errors.md lists all"),
        );
    };
    println!("{}", page.trim_end());
    Exit::Yes
}

/// The section whose heading begins with the number.
fn page(number: u16) -> Option<&'static str> {
    let heading = format!("### {number} ");
    let start = PAGES.find(&heading)?;
    let rest = PAGES.get(start..)?;
    let end = rest.get(4..)?.find("\n##").map_or(rest.len(), |end| end + 4);
    rest.get(..end)
}
