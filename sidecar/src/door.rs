//! The frame door: a socket, who may use it, and how many at once.

use crate::conn::{Shared, serve};
use crate::peers::Peers;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use tokio::net::{UnixListener, UnixSocket, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Duration, timeout};
use tollgate_proto::frame::{self, FrameError};

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 4096;
/// After a failed accept (no descriptors left), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// Binds the socket: mode 0660 in a folder of 0750. A stale socket is replaced, a live one is not.
pub(crate) async fn bind(path: &Path) -> Result<UnixListener, String> {
    let shown = path.display();
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(format!("{shown} exists and is no socket; move it away"));
        }
        Ok(_) if UnixStream::connect(path).await.is_ok() => {
            return Err(format!(
                "{shown} is in use by another sidecar; stop it or choose another --run"
            ));
        }
        Ok(_) => std::fs::remove_file(path).map_err(|error| format!("{shown}: {error}"))?,
        Err(_) => {}
    }
    let socket = UnixSocket::new_stream().map_err(|error| error.to_string())?;
    socket.bind(path).map_err(|error| format!("{shown}: {error}"))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))
        .map_err(|error| format!("{shown}: {error}"))?;
    socket.listen(BACKLOG).map_err(|error| format!("{shown}: {error}"))
}

/// Accepts until the door drains, then waits for open connections.
pub(crate) async fn run(listener: UnixListener, shared: Arc<Shared>, drain: watch::Receiver<bool>) {
    let config = &shared.config;
    let peers = Arc::new(Peers::new(config.peer_uids.clone(), config.connections_per_uid_max));
    let places = Arc::new(Semaphore::new(config.connections_max));
    let mut open = JoinSet::new();
    let mut draining = drain.clone();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = draining.wait_for(|draining| *draining) => break,
        };
        let mut stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(error = error.to_string(), "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(peer) = stream.peer_cred() else { continue };
        if !peers.may_connect(peer.uid(), peer.gid()) {
            tracing::warn!(uid = peer.uid(), "a connection of a stranger was closed");
            continue;
        }
        let place = Arc::clone(&places).try_acquire_owned().ok();
        let (Some(place), Some(own)) = (place, peers.enter(peer.uid())) else {
            shed(&mut stream);
            continue;
        };
        let (shared, drain) = (Arc::clone(&shared), drain.clone());
        while open.try_join_next().is_some() {}
        open.spawn(async move {
            serve(stream, shared, drain).await;
            drop((place, own));
        });
    }
    drop(listener);
    let all_left = async { while open.join_next().await.is_some() {} };
    if timeout(shared.config.drain_timeout, all_left).await.is_err() {
        tracing::warn!(
            open = open.len(),
            "connections were still open when the time to drain ended"
        );
    }
}

/// Says why and closes, without waiting for the peer.
fn shed(stream: &mut UnixStream) {
    let mut reply = Vec::new();
    let message = "too many connections; reuse those you have";
    frame::put_error(&mut reply, 0, FrameError::Overloaded, message);
    let _ = stream.try_write(&reply);
}
