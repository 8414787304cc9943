//! The frame door: a socket, who may use it, how many at once, and how it closes.
//!
//! Each connection has a thread (docs/adr/0002-a-thread-per-connection.md): gateways hold few
//! connections for long, and a blocked read costs half of what a wake-up through a poller does.

use crate::conn::{Peer, serve};
use crate::metrics::Door;
use crate::peers::Peers;
use crate::shared::Shared;
use nix::sys::socket::{Backlog, getsockopt, listen, sockopt::PeerCredentials};
use std::collections::HashMap;
use std::io::Write;
use std::net::Shutdown;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tollgate_proto::frame::{self, FrameError};

/// Connections that may wait to be accepted; the kernel may allow fewer.
const BACKLOG: i32 = 4096;
/// Stack of a connection's thread: a decision needs little, and nothing recurses without a bound.
const STACK_BYTES: usize = 512 * 1024;
/// After a failed accept (no descriptors left), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// Binds the socket: mode 0660 in a folder of 0750. A stale socket is replaced, a live one is not.
pub(crate) fn bind(path: &Path) -> Result<UnixListener, String> {
    let shown = path.display();
    let said = |error: std::io::Error| format!("{shown}: {error}");
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(format!("{shown} exists and is no socket; move it away"));
        }
        Ok(_) if UnixStream::connect(path).is_ok() => {
            let hint = "stop it or choose another --run";
            return Err(format!("{shown} is in use by another sidecar; {hint}"));
        }
        Ok(_) => std::fs::remove_file(path).map_err(said)?,
        Err(_) => {}
    }
    let listener = UnixListener::bind(path).map_err(said)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660)).map_err(said)?;
    // Listening again only lengthens the queue, which would hold 128.
    let queue = Backlog::new(BACKLOG).and_then(|backlog| listen(&listener, backlog));
    queue.map_err(|error| format!("{shown}: {error}"))?;
    Ok(listener)
}

/// The connections that are open, so that they can be told to end.
#[derive(Debug, Default)]
pub(crate) struct Open {
    streams: Mutex<HashMap<u64, UnixStream>>,
    left: Condvar,
}

impl Open {
    fn streams(&self) -> MutexGuard<'_, HashMap<u64, UnixStream>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leave(&self, id: u64) {
        self.streams().remove(&id);
        self.left.notify_all();
    }

    /// Lets no more bytes in: each connection answers what it has read and ends.
    pub(crate) fn drain(&self, limit: Duration) {
        for stream in self.streams().values() {
            let _ = stream.shutdown(Shutdown::Read);
        }
        let began = Instant::now();
        let mut streams = self.streams();
        while !streams.is_empty() {
            let rest = limit.saturating_sub(began.elapsed());
            if rest == Duration::ZERO {
                let open = streams.len();
                tracing::warn!(open, "connections were still open when the time to drain ended");
                return;
            }
            let waited = self.left.wait_timeout(streams, rest);
            streams = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Accepts until the door drains.
pub(crate) fn run(listener: &UnixListener, shared: &Arc<Shared>, open: &Arc<Open>) {
    let config = &shared.config;
    let peers = Arc::new(Peers::new(config.peer_uids.clone(), config.connections_per_uid_max));
    let mut next_id = 0;
    while !shared.is_draining() {
        match listener.accept() {
            Ok((stream, _)) => {
                next_id += 1;
                admit(stream, next_id, shared, open, &peers);
            }
            Err(_) if shared.is_draining() => return,
            Err(error) => {
                tracing::warn!(error = error.to_string(), "a connection could not be accepted");
                std::thread::sleep(ACCEPT_PAUSE);
            }
        }
    }
}

/// Gives a connection its thread, or says why not.
fn admit(stream: UnixStream, id: u64, shared: &Arc<Shared>, open: &Arc<Open>, peers: &Arc<Peers>) {
    let metrics = shared.metrics.door(Door::Frame);
    let Ok(peer) = getsockopt(&stream, PeerCredentials) else { return };
    if !peers.may_connect(peer.uid(), peer.gid()) {
        metrics.refused_stranger.increment(1);
        tracing::warn!(uid = peer.uid(), "a connection of a stranger was closed");
        return;
    }
    let has_room = open.streams().len() < shared.config.connections_max;
    let place = peers.enter(peer.uid()).filter(|_| has_room);
    let (Some(place), Ok(handle), Ok(last_word)) = (place, stream.try_clone(), stream.try_clone())
    else {
        metrics.refused_overloaded.increment(1);
        return shed(&stream);
    };
    let peer = Peer { uid: peer.uid(), may_explain: peers.may_explain(peer.uid()) };
    open.streams().insert(id, handle);
    metrics.connections.increment(1.0);
    let (there, open_there) = (Arc::clone(shared), Arc::clone(open));
    let serving = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(move || {
        serve(stream, &there, peer);
        open_there.leave(id);
        there.metrics.door(Door::Frame).connections.decrement(1.0);
        drop(place);
    });
    if serving.is_err() {
        open.leave(id);
        metrics.connections.decrement(1.0);
        metrics.refused_overloaded.increment(1);
        shed(&last_word);
    }
}

/// Says why and closes, without waiting for the peer.
fn shed(mut stream: &UnixStream) {
    let mut reply = Vec::new();
    let message = "too many connections; reuse those you have";
    frame::put_error(&mut reply, 0, FrameError::Overloaded, message);
    let _ = stream.set_nonblocking(true).and_then(|()| stream.write_all(&reply));
}
