//! What is wrong with an expression, and where in its text.

use crate::diagnostic::{Code, nearest};

/// Why an expression does not parse: a place in its text, what is wrong, what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    pub code: Code,
    pub start: usize,
    pub end: usize,
    pub message: String,
    pub label: Option<String>,
    pub help: Option<String>,
}

impl ParseError {
    pub(crate) fn new(code: Code, start: usize, end: usize, message: String) -> ParseError {
        ParseError { code, start, end, message, label: None, help: None }
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> ParseError {
        self.help = Some(help.into());
        self
    }

    pub(super) fn suggest<'k>(
        mut self,
        name: &str,
        known: impl IntoIterator<Item = &'k str>,
    ) -> ParseError {
        self.label = nearest(name, known).map(|close| format!("did you mean `{close}`?"));
        self
    }
}
