//! Programs sign in through a browser (RFC 8252): the browser comes back to the program's own port on this machine with a
//! code, for which the program, that alone has the verifier (RFC 7636), gets the session.

use super::{Reason, browser, cookie};
use crate::call::Reply;
use crate::code::Refusal;
use crate::random::now_ms;
use crate::sealed;
use crate::secret::SecretText;
use crate::service::Service;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Whoever waits for the code asks at once.
const CODE_MS: u64 = 60_000;
const LABEL: &str = "native-codes";
/// SHA-256 in base64url.
const CHALLENGE_CHARS: usize = 43;

/// A program that waits on this machine.
#[derive(Serialize, Deserialize)]
pub(super) struct Program {
    port: u16,
    challenge: String,
}

/// The program that a sign-in was begun for, if it was.
///
/// # Errors
/// `invalid` for one of both alone, or what is none.
pub(super) fn of(query: &BTreeMap<String, String>) -> Result<Option<Program>, Refusal> {
    let (port, challenge) = (query.get("port"), query.get("code_challenge"));
    let (Some(port), Some(challenge)) = (port, challenge) else {
        return match port.or(challenge) {
            None => Ok(None),
            Some(one) => {
                let expected = "both, `port` and `code_challenge`, or none";
                Err(Refusal::invalid("/port", expected, one.as_str()))
            }
        };
    };
    let number = port.parse().ok().filter(|port| *port >= 1_024);
    let number = number.ok_or_else(|| Refusal::invalid("/port", "1024 to 65535", port.as_str()))?;
    let is_digest = challenge.len() == CHALLENGE_CHARS && URL_SAFE_NO_PAD.decode(challenge).is_ok();
    match is_digest {
        true => Ok(Some(Program { port: number, challenge: challenge.clone() })),
        false => {
            let expected = "a SHA-256 in base64url (RFC 7636, S256)";
            Err(Refusal::invalid("/code_challenge", expected, "another text"))
        }
    }
}

/// Back to the program, with a code that is worth nothing to anybody else.
pub(super) fn back(service: &Service, program: &Program, session: &SecretText) -> Reply {
    let kept = json!({"session": session.expose(), "expires_ms": now_ms() + CODE_MS}).to_string();
    let master = service.pools.master();
    let code = sealed::seal(master, LABEL, &program.challenge, kept.as_bytes());
    let code = URL_SAFE_NO_PAD.encode(code);
    let mut reply = Reply::empty().status(StatusCode::SEE_OTHER);
    let place = format!("http://127.0.0.1:{}/", program.port);
    reply.location = Some(browser::with_query(&place, &[("code", &code)]));
    reply.cookies = vec![cookie::set(cookie::SIGN_IN, "", 0)];
    reply
}

/// `POST /v1/auth/token`: a code for the session, to whoever has the verifier.
///
/// # Errors
/// `unauthenticated` for another verifier, or a code that is none or too old.
pub(crate) fn token(service: &Service, form: &BTreeMap<String, String>) -> Result<Reply, Refusal> {
    let opened = form.get("code").zip(form.get("code_verifier")).and_then(|(code, verifier)| {
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()));
        let code = URL_SAFE_NO_PAD.decode(code).ok()?;
        let opened = sealed::open(service.pools.masters(), LABEL, &challenge, &code)?;
        let kept: Json = serde_json::from_slice(&opened).ok()?;
        (kept["expires_ms"].as_u64()? > now_ms()).then(|| kept["session"].clone())
    });
    let session = opened.ok_or(Reason::State)?;
    let mut reply = Reply::ok(json!({"session": session, "origin": service.origin()}));
    reply.secret_member = Some("session");
    Ok(reply)
}
