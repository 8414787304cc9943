//! `tollgate login` without a key: a browser signs in and comes back to a port of this machine (RFC 8252, RFC 7636).

use crate::api::Api;
use crate::exit::Exit;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// As long as the service keeps a sign-in.
const WAIT: Duration = Duration::from_secs(600);
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// A browser asks for more than the code: an icon, a connection kept for later.
const READ_TIMEOUT: Duration = Duration::from_secs(2);
const SEEN: &str = "You are signed in; close this window and go back to the terminal.\n";

/// What a sign-in brought: the session, and the origin that its changes need.
pub(crate) struct SignedIn {
    pub(crate) session: String,
    pub(crate) origin: String,
}

/// Opens a browser, or says where to go, and waits.
///
/// # Errors
/// Nobody came back in time, or the service refused.
pub(crate) fn sign_in(api: &Api, more: &[(&str, &str)]) -> Result<SignedIn, (Exit, String)> {
    let said = |error: &dyn std::fmt::Display| (Exit::Usage, error.to_string());
    let mut verifier = [0; 32];
    getrandom::fill(&mut verifier).map_err(|error| said(&error))?;
    let verifier = URL_SAFE_NO_PAD.encode(verifier);
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()));
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| said(&error))?;
    listener.set_nonblocking(true).map_err(|error| said(&error))?;
    let port = listener.local_addr().map_err(|error| said(&error))?.port();
    let mut place = format!("{}/v1/auth/login?port={port}&code_challenge={challenge}", api.url);
    for (name, value) in more {
        place.push_str(&format!("&{name}={}", crate::api::calls::segment(value)));
    }
    eprintln!("Sign in at {place}");
    // Where there is no browser, whoever reads the line opens it.
    let mut opener = Command::new("xdg-open");
    opener.arg(&place).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let _ = opener.spawn();
    let code = wait(&listener)?;
    let answer = api.form("/v1/auth/token", &[("code", &code), ("code_verifier", &verifier)]);
    let answer = answer.map_err(|message| (Exit::Unreachable, message))?;
    let text = |name: &str| answer.json[name].as_str().map(str::to_owned);
    match (answer.is_ok(), text("session"), text("origin")) {
        (true, Some(session), Some(origin)) => Ok(SignedIn { session, origin }),
        _ => Err(answer.refusal()),
    }
}

/// The code that the browser comes back with.
fn wait(listener: &TcpListener) -> Result<String, (Exit, String)> {
    let began = Instant::now();
    while began.elapsed() < WAIT {
        match listener.accept() {
            Ok((stream, _)) => {
                if let Some(code) = code(stream) {
                    return Ok(code);
                }
            }
            Err(_) => std::thread::sleep(LOOK_INTERVAL),
        }
    }
    Err((Exit::No, "nobody signed in within 10 minutes; try again".to_owned()))
}

/// The code of one request, answered.
fn code(mut stream: TcpStream) -> Option<String> {
    stream.set_nonblocking(false).ok()?;
    stream.set_read_timeout(Some(READ_TIMEOUT)).ok()?;
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
    let first = lines.next()?.ok()?;
    while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
    let code = first.split(' ').nth(1)?.split_once("?code=").map(|(_, code)| code.to_owned());
    let (status, text) = match &code {
        Some(_) => ("200 OK", SEEN),
        None => ("404 Not Found", ""),
    };
    let length = text.len();
    let head = "content-type: text/plain; charset=utf-8\r\nconnection: close";
    let answer = format!("HTTP/1.1 {status}\r\n{head}\r\ncontent-length: {length}\r\n\r\n{text}");
    let _ = stream.write_all(answer.as_bytes());
    code
}
