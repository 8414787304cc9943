//! Calls of the control plane's API.

pub(crate) mod calls;

use crate::exit::Exit;
use calls::Call;
use serde_json::Value as Json;
use sha2::{Digest, Sha256};
use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;
use ureq::http::{Method, Request};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, AsSendBody, SendBody};

/// Longer than the longest wait that the API grants.
const CALL_TIMEOUT: Duration = Duration::from_secs(35);

/// Where the API is, and what opens it. No `Debug`: it holds a key.
pub(crate) struct Api {
    agent: Agent,
    pub(crate) url: String,
    key: String,
    /// Of a session, which is no key: what its changes say that they come from.
    origin: Option<String>,
}

/// What the API said.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) etag: Option<String>,
    pub(crate) json: Json,
}

impl Api {
    pub(crate) fn new(url: &str, key: &str) -> Api {
        let config = Agent::config_builder()
            .timeout_global(Some(CALL_TIMEOUT))
            .http_status_as_error(false)
            // What the host trusts, a certificate authority of one's own with it.
            .tls_config(TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build())
            .allow_non_standard_methods(true)
            .build();
        Api {
            agent: config.into(),
            url: url.trim_end_matches('/').to_owned(),
            key: key.trim().to_owned(),
            origin: None,
        }
    }

    /// The same with a browser's session instead of a key.
    pub(crate) fn with_session(url: &str, session: &str, origin: &str) -> Api {
        Api { origin: Some(origin.to_owned()), ..Api::new(url, session) }
    }

    /// What opens the API, as headers.
    fn credential(&self) -> Vec<(&'static str, String)> {
        match &self.origin {
            None => vec![("authorization", format!("Bearer {}", self.key))],
            Some(origin) => {
                let cookie = format!("__Host-tollgate_session={}", self.key);
                vec![("cookie", cookie), ("origin", origin.clone())]
            }
        }
    }

    /// A form, without a credential.
    ///
    /// # Errors
    /// A sentence: nobody answers there.
    pub(crate) fn form(&self, path: &str, form: &[(&str, &str)]) -> Result<Answer, String> {
        let url = format!("{}{path}", self.url);
        let answered = self.agent.post(&url).send_form(form.iter().copied());
        let mut answer = answered.map_err(|error| format!("{url}: {error}"))?;
        let text = answer.body_mut().read_to_string();
        let text = text.map_err(|error| format!("{url}: {error}"))?;
        let json = serde_json::from_str(&text).unwrap_or_default();
        Ok(Answer { status: answer.status().as_u16(), etag: None, json })
    }

    /// One call; `if_match` is an ETag.
    ///
    /// # Errors
    /// A sentence: nobody answers there.
    pub(crate) fn call(
        &self,
        method: &str,
        path: &str,
        body: Option<&Json>,
        if_match: Option<&str>,
    ) -> Result<Answer, String> {
        let url = format!("{}{path}", self.url);
        let said = |error: &dyn std::fmt::Display| format!("{url}: {error}");
        let method = method.parse::<Method>().map_err(|error| said(&error))?;
        let mut request = Request::builder().method(method).uri(&url);
        for (name, value) in self.credential() {
            request = request.header(name, value);
        }
        if let Some(etag) = if_match {
            request = request.header("if-match", etag);
        }
        let text = body.map(Json::to_string);
        let answered = match &text {
            None => request.body(SendBody::none()).map(|request| self.agent.run(request)),
            Some(text) => {
                let request = request.header("content-type", "application/json");
                let mut text = text.as_str();
                request.body(text.as_body()).map(|request| self.agent.run(request))
            }
        };
        let answered = answered.map_err(|error| said(&error))?;
        let mut answer = answered.map_err(|error| said(&error))?;
        let text = answer.body_mut().read_to_string().map_err(|error| said(&error))?;
        let etag = answer.headers().get("etag").and_then(|etag| etag.to_str().ok());
        Ok(Answer {
            status: answer.status().as_u16(),
            etag: etag.map(str::to_owned),
            json: serde_json::from_str(&text).unwrap_or_default(),
        })
    }
}

impl Api {
    /// The answer of a call that is not refused; `if_match` is an ETag.
    ///
    /// # Errors
    /// Nobody answers there, or a refusal.
    pub(crate) fn ask(
        &self,
        call: &Call,
        if_match: Option<&str>,
    ) -> Result<Answer, (Exit, String)> {
        let answer = self.call(call.method, &call.path, call.body.as_ref(), if_match);
        let answer = answer.map_err(|message| (Exit::Unreachable, message))?;
        if answer.is_ok() { Ok(answer) } else { Err(answer.refusal()) }
    }

    /// All pages of a list behind its first.
    ///
    /// # Errors
    /// Those of `ask`.
    pub(crate) fn pages(&self, path: &str, first: Json) -> Result<Vec<Json>, (Exit, String)> {
        let mut page = first;
        let mut all = Vec::new();
        loop {
            if let Some(more) = page["data"].as_array_mut() {
                all.append(more);
            }
            let Some(cursor) = page["next_cursor"].as_str() else { return Ok(all) };
            let next = Call { path: path.to_owned(), ..calls::get_me() }.with("cursor", cursor);
            page = self.ask(&next, None)?.json;
        }
    }

    /// A whole list.
    ///
    /// # Errors
    /// Those of `ask`.
    pub(crate) fn list(&self, call: &Call) -> Result<Vec<Json>, (Exit, String)> {
        let first = self.ask(call, None)?.json;
        self.pages(&call.path, first)
    }

    /// Writes what a path answers into a file; answers its SHA-256.
    ///
    /// # Errors
    /// Nobody answers there, a refusal, or what became of the file.
    pub(crate) fn download(&self, path: &str, out: &Path) -> Result<String, (Exit, String)> {
        let url = format!("{}{path}", self.url);
        let mut request = self.agent.get(&url);
        for (name, value) in self.credential() {
            request = request.header(name, value);
        }
        let answered = request.config().timeout_global(None).build().call();
        let mut answer =
            answered.map_err(|error| (Exit::Unreachable, format!("{url}: {error}")))?;
        if !answer.status().is_success() {
            let status = answer.status().as_u16();
            let text = answer.body_mut().read_to_string().unwrap_or_default();
            let json = serde_json::from_str(&text).unwrap_or_default();
            return Err(Answer { status, etag: None, json }.refusal());
        }
        let said = |error: std::io::Error| (Exit::Usage, format!("{}: {error}", out.display()));
        let mut file = std::fs::File::create(out).map_err(said)?;
        let (mut digest, mut bytes) = (Sha256::new(), [0; 65_536]);
        let mut from = answer.body_mut().as_reader();
        loop {
            let length = from.read(&mut bytes).map_err(said)?;
            let part = bytes.get(..length).unwrap_or_default();
            if part.is_empty() {
                return Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect());
            }
            digest.update(part);
            file.write_all(part).map_err(said)?;
        }
    }
}

impl Answer {
    pub(crate) fn is_ok(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// How a command ends that got this refusal, and what it says.
    pub(crate) fn refusal(&self) -> (Exit, String) {
        let error = &self.json["error"];
        let text = |name: &str| error[name].as_str().unwrap_or("").to_owned();
        let exit = match self.status {
            401 | 403 => Exit::NotPermitted,
            400 | 413 | 415 | 422 => Exit::Usage,
            502..=504 => Exit::Unreachable,
            _ => Exit::No,
        };
        let mut said = format!("{} ({}): {}", text("code"), self.status, text("message"));
        for line in error["details"]["diagnostics"].as_array().into_iter().flatten().map(found) {
            said += &format!("\n  {line}");
        }
        for line in error["details"]["failures"].as_array().into_iter().flatten().map(failed) {
            said += &format!("\n  {line}");
        }
        (exit, said)
    }
}

/// A finding on one line: `policy.csv:3:4 bad-row: …`.
fn found(finding: &Json) -> String {
    let text = |member: &Json| member.as_str().unwrap_or("").to_owned();
    let span = &finding["span"];
    let (file, code) = (text(&finding["file"]), text(&finding["code"]));
    format!("{file}:{}:{} {code}: {}", span["line"], span["column"], text(&finding["message"]))
}

/// A row of tests.yaml that does not hold.
fn failed(failure: &Json) -> String {
    let text = |name: &str| failure[name].as_str().unwrap_or("").to_owned();
    let what = match text("expected") == text("got") {
        true => format!("expected {} to decide, {} did", text("expected_rule"), text("rule")),
        false => format!("expected {}, got {} ({})", text("expected"), text("got"), text("reason")),
    };
    let (subject, resource, action) = (text("subject"), text("resource"), text("action"));
    format!("tests.yaml:{} {subject} {resource} {action}: {what}", failure["line"])
}
