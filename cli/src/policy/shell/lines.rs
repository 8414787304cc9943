//! Lines that a person types, with history and completion; or those of a file, shown as they are read.

use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::Validator;
use rustyline::{Context, Editor, Helper};
use std::io::{BufRead, IsTerminal};
use std::path::PathBuf;

const PROMPT: &str = "> ";

/// Where lines come from.
pub(super) enum Lines {
    Typed { editor: Box<Editor<Words, FileHistory>>, history: Option<PathBuf> },
    Piped(std::io::Lines<std::io::StdinLock<'static>>),
}

/// What completes.
#[derive(Default)]
pub(super) struct Words(Vec<String>);

impl Lines {
    pub(super) fn open() -> Lines {
        if !std::io::stdin().is_terminal() {
            return Lines::Piped(std::io::stdin().lock().lines());
        }
        let Ok(mut editor) = Editor::<Words, FileHistory>::new() else {
            return Lines::Piped(std::io::stdin().lock().lines());
        };
        editor.set_helper(Some(Words::default()));
        let history = history_file();
        if let Some(path) = &history {
            // The first time there is none.
            let _ = editor.load_history(path);
        }
        Lines::Typed { editor: Box::new(editor), history }
    }

    /// Completes these from now on.
    pub(super) fn offer(&mut self, words: Vec<String>) {
        if let Lines::Typed { editor, .. } = self {
            editor.set_helper(Some(Words(words)));
        }
    }

    /// The next line; `None` at the end. A line that comes from a file is shown.
    pub(super) fn next(&mut self) -> Option<String> {
        match self {
            Lines::Piped(lines) => {
                let line = lines.next()?.ok()?;
                println!("{PROMPT}{line}");
                Some(line)
            }
            Lines::Typed { editor, history } => match editor.readline(PROMPT) {
                Ok(line) => {
                    let _ = editor.add_history_entry(&line);
                    if let Some(path) = history {
                        let _ = editor.save_history(path);
                    }
                    Some(line)
                }
                // Ctrl-C gives a new line, Ctrl-D ends.
                Err(ReadlineError::Interrupted) => Some(String::new()),
                Err(_) => None,
            },
        }
    }
}

/// `$XDG_STATE_HOME/tollgate/shell-history`, if the folder can be made.
fn history_file() -> Option<PathBuf> {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).or_else(home)?;
    let folder = state.join("tollgate");
    std::fs::create_dir_all(&folder).ok()?;
    Some(folder.join("shell-history"))
}

impl Completer for Words {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        at: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        let typed = line.get(..at).unwrap_or(line);
        let start = typed.rfind(char::is_whitespace).map_or(0, |space| space + 1);
        let begun = typed.get(start..).unwrap_or("");
        let fitting = self.0.iter().filter(|word| word.starts_with(begun)).cloned();
        Ok((start, fitting.collect()))
    }
}

impl Hinter for Words {
    type Hint = String;
}
impl Highlighter for Words {}
impl Validator for Words {}
impl Helper for Words {}
