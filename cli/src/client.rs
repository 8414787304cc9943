//! A blocking client of the frame door.

use crate::exit::Exit;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;
use tollgate_engine::Request;
use tollgate_proto::frame::{self, FrameError, Reply, kind};

/// A reply that does not come within this is not coming.
const REPLY_TIMEOUT: Duration = Duration::from_secs(5);

/// A reply frame.
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) body: Vec<u8>,
}

/// Asks about one request.
///
/// # Errors
/// As `exchange`.
pub(crate) fn ask(socket: &Path, request: &Request<'_>) -> Result<Reply, (Exit, String)> {
    let mut out = Vec::new();
    frame::put_check(&mut out, 1, request);
    let reply = exchange(socket, &out)?;
    frame::read_decision(&reply.body).map_err(|error| (Exit::Unreachable, error.name().to_owned()))
}

/// Sends one frame and waits for its reply.
///
/// # Errors
/// An exit and a sentence: the socket does not answer, or answered with an error frame.
pub(crate) fn exchange(socket: &Path, frame: &[u8]) -> Result<Frame, (Exit, String)> {
    let reply = round_trip(socket, frame).map_err(|message| {
        let hint = "start one with `tollgate up`, or name its folder with --run";
        (Exit::Unreachable, format!("{message}; no sidecar answers: {hint}"))
    })?;
    if reply.kind != kind::ERROR {
        return Ok(reply);
    }
    let (number, name, message) = frame::read_error(&reply.body)
        .map_err(|error| (Exit::Unreachable, error.name().to_owned()))?;
    let exit = match name {
        _ if name == FrameError::NotPermitted.name() => Exit::NotPermitted,
        _ if name == FrameError::NotKept.name() => Exit::No,
        _ => Exit::Unreachable,
    };
    Err((exit, format!("{name} {number}: {message}")))
}

fn round_trip(socket: &Path, frame: &[u8]) -> Result<Frame, String> {
    let shown = socket.display();
    let unreachable = |error: std::io::Error| format!("{shown}: {error}");
    let mut stream = UnixStream::connect(socket).map_err(unreachable)?;
    stream.set_read_timeout(Some(REPLY_TIMEOUT)).map_err(unreachable)?;
    stream.write_all(frame).map_err(unreachable)?;
    let mut received = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let got = stream.read(&mut buffer).map_err(unreachable)?;
        if got == 0 {
            return Err(format!("{shown}: the sidecar closed the connection"));
        }
        received.extend_from_slice(&buffer[..got]);
        let next = frame::next_frame(&received).map_err(|error| error.name().to_owned())?;
        if let Some(reply) = next {
            return Ok(Frame { kind: reply.kind, body: reply.body.to_vec() });
        }
    }
}
