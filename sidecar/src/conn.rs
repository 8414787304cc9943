//! One connection of the frame door: read, cut, decide, reply in order.
//!
//! All complete frames of one read are answered with one write. A frame that began must end within
//! its deadline; a connection between frames may idle. After an error that leaves the stream's
//! place uncertain, one error frame is sent and the connection closes.

use crate::clock::Clock;
use crate::config::Config;
use crate::table::Table;
use arc_swap::ArcSwap;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tollgate_cells::HeapTable;
use tollgate_engine::Scratch;
use tollgate_engine::bounds::FRAME_BYTES_MAX;
use tollgate_proto::frame::{self, Frame, FrameError, LENGTH_BYTES, kind};

/// Bytes that one read may bring: several frames, or one of the largest.
const READ_BYTES: usize = LENGTH_BYTES + FRAME_BYTES_MAX;
/// Replies that wait before they are written, so that a reader who reads nothing is noticed.
const WRITE_BYTES: usize = 256 * 1024;

/// What all connections of a door share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) table: Arc<ArcSwap<Table>>,
    pub(crate) cells: HeapTable,
    pub(crate) clock: Clock,
}

/// Serves until the peer leaves, breaks the protocol, idles too long or the door drains.
pub(crate) async fn serve(
    mut stream: UnixStream,
    shared: Arc<Shared>,
    drain: watch::Receiver<bool>,
) {
    let mut connection = Connection {
        input: Vec::with_capacity(8 * 1024),
        output: Vec::with_capacity(8 * 1024),
        scratch: Scratch::default(),
    };
    let mut drain = drain;
    loop {
        let read = connection.read(&mut stream, &shared, &mut drain).await;
        if read.is_err() {
            connection.refuse(read.err());
        } else if let Err(error) = connection.answer(&shared) {
            frame::put_error(&mut connection.output, error.id, error.error, error.message);
            let _ = connection.write(&mut stream, &shared).await;
            return;
        }
        let written = connection.write(&mut stream, &shared).await;
        if read.is_err() || written.is_err() {
            return;
        }
    }
}

/// Why a connection ends without a fault in a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Left,
    Idle,
    Timeout,
    Draining,
}

/// A frame that ends its connection.
struct Fault {
    id: u32,
    error: FrameError,
    message: &'static str,
}

struct Connection {
    input: Vec<u8>,
    output: Vec<u8>,
    scratch: Scratch,
}

impl Connection {
    /// Waits for bytes. What is left in `input` is the beginning of a frame.
    async fn read(
        &mut self,
        stream: &mut UnixStream,
        shared: &Shared,
        drain: &mut watch::Receiver<bool>,
    ) -> Result<(), End> {
        let begun = !self.input.is_empty();
        let limit = if begun { shared.config.frame_timeout } else { shared.config.idle_timeout };
        let before = self.input.len();
        let mut room = READ_BYTES.saturating_sub(before).max(LENGTH_BYTES);
        let bytes = async {
            loop {
                let read = (&mut *stream).take(room as u64).read_buf(&mut self.input).await;
                match read {
                    Ok(count) if count > 0 => {}
                    _ => return Err(End::Left),
                }
                // A frame in progress keeps its deadline: it is not restarted by each byte.
                let waiting = matches!(frame::next_frame(&self.input), Ok(None));
                if !(begun && waiting) {
                    return Ok(());
                }
                room = READ_BYTES.saturating_sub(self.input.len()).max(LENGTH_BYTES);
            }
        };
        tokio::select! {
            biased;
            read = timeout(limit, bytes) => match read {
                Ok(read) => read,
                Err(_) if begun => Err(End::Timeout),
                Err(_) => Err(End::Idle),
            },
            _ = drain.wait_for(|draining| *draining) => Err(End::Draining),
        }
    }

    fn refuse(&mut self, end: Option<End>) {
        let (error, message) = match end {
            Some(End::Timeout) => (
                FrameError::Timeout,
                "the frame did not end within door.frame_timeout_ms; write frames whole",
            ),
            Some(End::Draining) => (FrameError::Draining, "shutting down; connect again"),
            Some(End::Left | End::Idle) | None => return,
        };
        frame::put_error(&mut self.output, 0, error, message);
    }

    /// Answers every complete frame of the input.
    fn answer(&mut self, shared: &Shared) -> Result<(), Fault> {
        let table = shared.table.load();
        let now = shared.clock.now();
        let mut at = 0;
        while let Some(rest) = self.input.get(at..) {
            let frame = match frame::next_frame(rest) {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(error) => return Err(Fault { id: 0, error, message: message_of(error) }),
            };
            let cells = shared.cells.cells();
            let mut ask = |request: &tollgate_engine::Request<'_>, out: &mut Vec<u8>| {
                let (state, decision) = table.decide(&cells, request, now, &mut self.scratch);
                frame::put_decision(out, state, &decision);
            };
            answer_one(&frame, &mut self.output, &mut ask).map_err(|error| Fault {
                id: frame.id,
                error,
                message: message_of(error),
            })?;
            at += frame.taken;
            if self.output.len() > WRITE_BYTES {
                break;
            }
        }
        self.input.drain(..at);
        Ok(())
    }

    async fn write(&mut self, stream: &mut UnixStream, shared: &Shared) -> Result<(), ()> {
        if self.output.is_empty() {
            return Ok(());
        }
        let written = timeout(shared.config.idle_timeout, stream.write_all(&self.output)).await;
        self.output.clear();
        match written {
            Ok(Ok(())) => Ok(()),
            _ => Err(()),
        }
    }
}

/// Appends the reply to one frame.
fn answer_one(
    frame: &Frame<'_>,
    out: &mut Vec<u8>,
    ask: &mut dyn FnMut(&tollgate_engine::Request<'_>, &mut Vec<u8>),
) -> Result<(), FrameError> {
    let begin = out.len();
    let answered = match frame.kind {
        kind::CHECK => {
            let start = frame::begin_frame(out, kind::DECISION, frame.id);
            let answered = frame::check(frame.body, |request| ask(request, out));
            frame::end_frame(out, start);
            answered
        }
        kind::BATCH => {
            let start = frame::begin_frame(out, kind::DECISIONS, frame.id);
            out.extend(frame.body.get(..2).unwrap_or(&[0, 0]));
            let answered = frame::batch(frame.body, |request| ask(request, out)).map(|_| ());
            frame::end_frame(out, start);
            answered
        }
        kind::EXPLAIN | kind::SETTLE => {
            let message = "this kind is reserved for a later version";
            frame::put_error(out, frame.id, FrameError::UnsupportedKind, message);
            Ok(())
        }
        _ => Err(FrameError::Malformed),
    };
    if answered.is_err() {
        out.truncate(begin);
    }
    answered
}

fn message_of(error: FrameError) -> &'static str {
    match error {
        FrameError::TooLarge => "expected a frame of at most 65536 bytes; send less",
        _ => "expected a frame of version 1 as PROTOCOL.md describes it",
    }
}
