//! A blocking client of the frame door.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;
use tollgate_engine::Request;
use tollgate_proto::frame::{self, Reply, kind};

/// A reply that does not come within this is not coming.
const REPLY_TIMEOUT: Duration = Duration::from_secs(5);

/// Asks about one request.
///
/// # Errors
/// A sentence: the socket does not answer, or answered with an error frame.
pub(crate) fn ask(socket: &Path, request: &Request<'_>) -> Result<Reply, String> {
    let shown = socket.display();
    let unreachable = |error: std::io::Error| format!("{shown}: {error}");
    let mut stream = UnixStream::connect(socket).map_err(unreachable)?;
    stream.set_read_timeout(Some(REPLY_TIMEOUT)).map_err(unreachable)?;
    let mut out = Vec::new();
    frame::put_check(&mut out, 1, request);
    stream.write_all(&out).map_err(unreachable)?;
    let mut received = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let got = stream.read(&mut buffer).map_err(unreachable)?;
        if got == 0 {
            return Err(format!("{shown}: the sidecar closed the connection"));
        }
        received.extend_from_slice(&buffer[..got]);
        let next = frame::next_frame(&received).map_err(|error| error.name().to_owned())?;
        let Some(reply) = next else { continue };
        return match reply.kind {
            kind::DECISION => {
                frame::read_decision(reply.body).map_err(|error| error.name().to_owned())
            }
            _ => {
                let (number, name, message) =
                    frame::read_error(reply.body).map_err(|error| error.name().to_owned())?;
                Err(format!("{name} {number}: {message}"))
            }
        };
    }
}
