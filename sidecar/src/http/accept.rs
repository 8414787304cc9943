//! Takes connections in, decides how many, and serves each until it ends or the door drains.

use super::reaper::Reaper;
use super::route::{Admitted, Router};
use super::stream::{Watch, Watched};
use crate::metrics::Door;
use crate::peers::Peers;
use crate::shared::Shared;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;

/// Connections beyond the limit that are still read, so that health is answered and others are told
/// why they are not.
const SHED_MAX: usize = 32;
/// Bytes that HTTP/1.1 keeps of what a peer sent ahead.
const BUFFER_BYTES: usize = 64 * 1024;
/// Streams that one h2 connection may have open.
const STREAMS_MAX: u32 = 200;
/// Bytes of one request's headers in h2.
const HEADER_BYTES_MAX: u32 = 16 * 1024;
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// What a peer beyond all limits is told, without being read.
const OVERLOADED: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\n\
    retry-after: 1\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n\
    {\"error\":{\"code\":\"overloaded\",\"message\":\"too many connections; reuse those you have\",\
    \"details\":{}}}";

/// The door while it is open.
pub(crate) struct HttpDoor {
    shared: Arc<Shared>,
    router: Arc<Router>,
    reaper: Arc<Reaper>,
    peers: Arc<Peers>,
    next_id: AtomicU64,
    drain: watch::Sender<bool>,
}

impl HttpDoor {
    pub(crate) fn new(shared: Arc<Shared>) -> Arc<HttpDoor> {
        let config = &shared.config;
        let peers = Peers::new(config.peer_uids.clone(), config.connections_per_uid_max);
        Arc::new(HttpDoor {
            router: Arc::new(Router::new(Arc::clone(&shared))),
            reaper: Arc::default(),
            peers: Arc::new(peers),
            next_id: AtomicU64::new(0),
            drain: watch::Sender::new(false),
            shared,
        })
    }

    /// Ends slow connections until the runtime ends.
    pub(crate) async fn reap(self: Arc<Self>) {
        self.reaper.run(&self.shared.config).await;
    }

    /// Keeps gRPC health true to the sidecar's readiness.
    pub(crate) async fn report_health(self: Arc<Self>) {
        self.router.report_health().await;
    }

    /// Accepts on the Unix socket until the door drains.
    pub(crate) async fn accept_unix(self: Arc<Self>, listener: UnixListener) {
        let mut drained = self.drain.subscribe();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = drained.wait_for(|drained| *drained) => return,
            };
            match accepted {
                Ok((stream, _)) => self.admit_unix(stream),
                Err(error) => {
                    tracing::warn!(error = error.to_string(), "a connection was not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Accepts probes and scrapers on loopback until the door drains.
    pub(crate) async fn accept_ops(self: Arc<Self>, listener: TcpListener) {
        let mut drained = self.drain.subscribe();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = drained.wait_for(|drained| *drained) => return,
            };
            match accepted {
                Ok((stream, _)) if self.reaper.open() < self.connections_max() + SHED_MAX => {
                    self.spawn(stream, Admitted::OpsOnly, false, ());
                }
                Ok((stream, _)) => drop(stream),
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
    }

    fn connections_max(&self) -> usize {
        self.shared.config.connections_max
    }

    fn admit_unix(self: &Arc<Self>, stream: tokio::net::UnixStream) {
        let metrics = self.shared.metrics.door(Door::Http);
        let Ok(peer) = stream.peer_cred() else { return };
        if !self.peers.may_connect(peer.uid(), peer.gid()) {
            metrics.refused_stranger.increment(1);
            tracing::warn!(uid = peer.uid(), "a connection of a stranger was closed");
            return;
        }
        let open = self.reaper.open();
        let place = self.peers.enter(peer.uid());
        let may_explain = self.peers.may_explain(peer.uid());
        match place {
            Some(place) if open < self.connections_max() => {
                self.spawn(stream, Admitted::Whole, may_explain, place);
            }
            _ => {
                metrics.refused_overloaded.increment(1);
                match open < self.connections_max() + SHED_MAX {
                    true => self.spawn(stream, Admitted::Shed, false, ()),
                    false => drop(stream.try_write(OVERLOADED)),
                }
            }
        }
    }

    /// Serves a connection; `place` is given back when it ends.
    fn spawn<S, P>(self: &Arc<Self>, stream: S, admitted: Admitted, may_explain: bool, place: P)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        P: Send + 'static,
    {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let connections = self.shared.metrics.door(Door::Http).connections.clone();
        connections.increment(1.0);
        let watch = self.reaper.enter(id);
        let door = Arc::clone(self);
        tokio::spawn(async move {
            door.serve(stream, &watch, admitted, may_explain).await;
            door.reaper.leave(id);
            connections.decrement(1.0);
            drop(place);
        });
    }

    async fn serve<S>(&self, stream: S, watch: &Arc<Watch>, admitted: Admitted, may_explain: bool)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let stream = TokioIo::new(Watched::new(stream, Arc::clone(watch)));
        let session = self.router.session(Arc::clone(watch), admitted, may_explain);
        let service = service_fn(move |request| {
            let session = Arc::clone(&session);
            async move { Ok::<_, Infallible>(session.answer(request).await) }
        });
        let mut builder = Builder::new(TokioExecutor::new());
        builder.http1().header_read_timeout(None).pipeline_flush(true).max_buf_size(BUFFER_BYTES);
        let mut h2 = builder.http2();
        h2.max_concurrent_streams(STREAMS_MAX).max_header_list_size(HEADER_BYTES_MAX);
        let connection = builder.serve_connection(stream, service);
        tokio::pin!(connection);
        let mut drained = self.drain.subscribe();
        let mut is_draining = false;
        loop {
            tokio::select! {
                _ = connection.as_mut() => return,
                () = watch.expired.notified() => break,
                _ = drained.wait_for(|drained| *drained), if !is_draining => {
                    is_draining = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
        if watch.give_up() {
            self.shared.metrics.door(Door::Http).fault("timeout");
            // hyper reads once more, and the read says the last word.
            tokio::select! {
                biased;
                _ = connection => {}
                () = std::future::ready(()) => {}
            }
        }
    }

    /// Lets connections answer what they have read, then ends; waits at most `limit`.
    pub(crate) async fn drain(&self, limit: Duration) {
        let _ = self.drain.send(true);
        let ended = async {
            while self.reaper.open() > 0 {
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        };
        if tokio::time::timeout(limit, ended).await.is_err() {
            let open = self.reaper.open();
            tracing::warn!(open, "HTTP connections were still open when the time to drain ended");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_is_as_long_as_it_says() {
        let text = std::str::from_utf8(OVERLOADED).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let length = head.split_once("content-length: ").unwrap().1;
        assert_eq!(length.parse(), Ok(body.len()), "{text}");
    }
}
