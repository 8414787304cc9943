//! What the sidecar says of itself over its HTTP socket.

use serde_json::Value as Json;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// An answer that does not come within this is not coming.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Gets a JSON document; its status and the document.
///
/// # Errors
/// A sentence: the socket does not answer, or not with JSON.
pub(crate) fn get(socket: &Path, path: &str) -> Result<(u16, Json), String> {
    let (status, body) = get_text(socket, path)?;
    let json = serde_json::from_str(&body).map_err(|_| strange(socket, path))?;
    Ok((status, json))
}

/// Gets a text; its status and the text.
///
/// # Errors
/// A sentence: the socket does not answer, or not with HTTP.
pub(crate) fn get_text(socket: &Path, path: &str) -> Result<(u16, String), String> {
    let answered = exchange(socket, path);
    let answer = answered.map_err(|error| format!("{}: {error}", socket.display()))?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| strange(socket, path))?;
    let status = head.get(9..12).and_then(|status| status.parse().ok());
    Ok((status.ok_or_else(|| strange(socket, path))?, body.to_owned()))
}

fn strange(socket: &Path, path: &str) -> String {
    format!("{}: {path} is no answer of a sidecar", socket.display())
}

fn exchange(socket: &Path, path: &str) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: sidecar\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
