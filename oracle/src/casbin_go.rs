//! Casbin for Go as an oracle: a process of its own (oracle/go), asked in lines of JSON.

use crate::casbin_rs::Answer;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Error, ErrorKind, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A running oracle. It ends when it is dropped.
#[derive(Debug)]
pub struct CasbinGo {
    process: Child,
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl CasbinGo {
    /// Starts the program that `make parity-go` builds.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(program: &Path) -> Result<CasbinGo, Error> {
        let mut process =
            Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (questions, answers) = (process.stdin.take(), process.stdout.take());
        let answers = answers.ok_or(ErrorKind::BrokenPipe)?;
        Ok(CasbinGo { process, questions, answers: BufReader::new(answers) })
    }

    /// Asks requests of one model and policy, in a context such as `2` or, with an empty text, in none. `Err` is why
    /// Casbin does not load them.
    ///
    /// # Errors
    /// The process has ended, or answers something else than it was asked.
    pub fn ask(
        &mut self,
        (model, policy): (&str, &str),
        context: &str,
        requests: &[Vec<Value>],
    ) -> Result<Result<Vec<Answer>, String>, Error> {
        let question =
            json!({"model": model, "policy": policy, "context": context, "requests": requests});
        let stream = self.questions.as_mut().ok_or(ErrorKind::BrokenPipe)?;
        writeln!(stream, "{question}")?;
        stream.flush()?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let answer: Value = serde_json::from_str(&line)?;
        if let Some(refused) = answer["refused"].as_str() {
            return Ok(Err(refused.to_owned()));
        }
        let answers = answer["answers"].as_array().map_or(&[][..], Vec::as_slice);
        if answers.len() != requests.len() {
            let (asked, found) = (requests.len(), answers.len());
            let message = format!("{asked} requests were asked, {found} answered: {line}");
            return Err(Error::new(ErrorKind::InvalidData, message));
        }
        Ok(Ok(answers.iter().map(|said| read(said.as_str().unwrap_or(""))).collect()))
    }
}

fn read(said: &str) -> Answer {
    match said {
        "allow" => Answer::Allow,
        "deny" => Answer::Deny,
        _ => Answer::Failed(said.to_owned()),
    }
}

impl Drop for CasbinGo {
    fn drop(&mut self) {
        // Its input ends, and with it the process.
        self.questions = None;
        let _ = self.process.wait();
    }
}
