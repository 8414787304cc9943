//! One connection of the frame door, on a thread of its own: read, cut, decide, reply in order.
//!
//! All complete frames of one read are answered with one write. A frame that began must end within
//! its deadline, which no single byte renews; a connection between frames may idle. After an error
//! that leaves the stream's place uncertain, one error frame is sent and the connection closes.

use crate::metrics::Door;
use crate::quotas;
use crate::shared::Shared;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;

use std::time::{Duration, Instant};

use tollgate_engine::bounds::FRAME_BYTES_MAX;
use tollgate_engine::{Request, Scratch};
use tollgate_proto::follow::Filter;
use tollgate_proto::frame::{self, Frame, FrameError, LENGTH_BYTES, kind};
use tollgate_proto::quota::QuotaAsked;

/// Bytes of a connection's buffers to begin with: several usual frames.
const INPUT_BYTES: usize = 8 * 1024;
/// Bytes that a connection may have read and not answered: one of the largest frames.
const INPUT_BYTES_MAX: usize = LENGTH_BYTES + FRAME_BYTES_MAX;
/// Replies that are written before more are made.
const OUTPUT_BYTES: usize = 256 * 1024;

/// Serves until the peer leaves, breaks the protocol, idles too long or the door drains.
pub(crate) fn serve(mut stream: UnixStream, shared: &Shared, peer: Peer) {
    let idle = Some(shared.config.idle_timeout);
    if stream.set_read_timeout(idle).and_then(|()| stream.set_write_timeout(idle)).is_err() {
        return;
    }
    let mut connection = Connection {
        input: vec![0; INPUT_BYTES],
        filled: 0,
        output: Vec::with_capacity(INPUT_BYTES),
        scratch: Scratch::default(),
        peer,
    };
    loop {
        if let Err(end) = connection.read(&mut stream, shared) {
            connection.refuse(end, shared);
            let _ = stream.write_all(&connection.output);
            return;
        }
        loop {
            let answered = connection.answer(shared);
            if let Err(fault) = &answered {
                shared.metrics.door(Door::Frame).fault(fault.error.name());
                frame::put_error(&mut connection.output, fault.id, fault.error, fault.message);
            }
            let written = stream.write_all(&connection.output);
            connection.output.clear();
            match (answered, written) {
                (Ok(Left::More), Ok(())) => {}
                (Ok(Left::Nothing), Ok(())) => break,
                _ => return,
            }
        }
    }
}

/// Why no more bytes come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Left,
    Idle,
    Timeout,
}

/// Whether complete frames are left when the replies so far are to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Nothing,
    More,
}

/// A frame that ends its connection.
struct Fault {
    id: u32,
    error: FrameError,
    message: &'static str,
}

struct Connection {
    /// Bytes that came, in its first `filled`; grows for a frame that needs more.
    input: Vec<u8>,
    filled: usize,
    output: Vec<u8>,
    scratch: Scratch,
    peer: Peer,
}

/// Who speaks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    pub(crate) uid: u32,
    /// Explanations show rules and values, counters can be changed.
    pub(crate) may_explain: bool,
}

impl Connection {
    /// Waits for bytes. What is in `input` is the beginning of a frame, which has a deadline.
    fn read(&mut self, stream: &mut UnixStream, shared: &Shared) -> Result<(), End> {
        if self.filled == 0 {
            return self.read_once(stream, End::Idle);
        }
        let deadline = Instant::now() + shared.config.frame_timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left == Duration::ZERO || stream.set_read_timeout(Some(left)).is_err() {
                return Err(End::Timeout);
            }
            self.read_once(stream, End::Timeout)?;
            let came = self.input.get(..self.filled).unwrap_or_default();
            if !matches!(frame::next_frame(came), Ok(None)) {
                let idle = Some(shared.config.idle_timeout);
                return stream.set_read_timeout(idle).map_err(|_| End::Left);
            }
        }
    }

    fn read_once(&mut self, stream: &mut UnixStream, late: End) -> Result<(), End> {
        if self.filled == self.input.len() {
            self.input.resize((self.filled * 2).min(INPUT_BYTES_MAX), 0);
        }
        loop {
            match stream.read(self.input.get_mut(self.filled..).unwrap_or_default()) {
                Ok(0) => return Err(End::Left),
                Ok(count) => {
                    self.filled += count;
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    return Err(late);
                }
                Err(_) => return Err(End::Left),
            }
        }
    }

    fn refuse(&mut self, end: End, shared: &Shared) {
        let (error, message) = match end {
            End::Timeout => (
                FrameError::Timeout,
                "the frame did not end within door.frame_timeout_ms; write frames whole",
            ),
            End::Left if shared.is_draining() => {
                (FrameError::Draining, "shutting down; connect again")
            }
            End::Left | End::Idle => return,
        };
        shared.metrics.door(Door::Frame).fault(error.name());
        frame::put_error(&mut self.output, 0, error, message);
    }

    /// Answers the complete frames of the input.
    fn answer(&mut self, shared: &Shared) -> Result<Left, Fault> {
        let mut decider = shared.decider(Door::Frame);
        let mut at = 0;
        let mut left = Left::Nothing;
        while let Some(rest) = self.input.get(at..self.filled) {
            if self.output.len() > OUTPUT_BYTES {
                left = Left::More;
                break;
            }
            let frame = match frame::next_frame(rest) {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(error) => return Err(Fault { id: 0, error, message: message_of(error) }),
            };
            if matches!(frame.kind, kind::EXPLAIN | kind::RECALL | kind::FOLLOW | kind::QUOTA) {
                explain(&frame, &mut self.output, shared, self.peer, &mut self.scratch)
                    .map_err(|error| Fault { id: frame.id, error, message: message_of(error) })?;
                at += frame.taken;
                continue;
            }
            let mut ask = |request: &Request<'_>, out: &mut Vec<u8>| {
                decider.decide(request, &mut self.scratch, "", |state, decision, id| {
                    if request.reserve.is_some() {
                        frame::put_reservation(out, decision.reservation);
                    }
                    frame::put_decision(out, state, decision, id);
                });
            };
            if frame.kind == kind::SETTLE {
                let settle = frame::read_settle(frame.body).map_err(|error| Fault {
                    id: frame.id,
                    error,
                    message: message_of(error),
                })?;
                let (settlement, written) = shared.settle(&settle);
                let settlement = shared.settled(settlement, written.wait_blocking());
                frame::put_settled(&mut self.output, frame.id, settlement);
                at += frame.taken;
                continue;
            }
            answer_one(&frame, &mut self.output, &mut ask).map_err(|error| Fault {
                id: frame.id,
                error,
                message: message_of(error),
            })?;
            at += frame.taken;
        }
        self.input.copy_within(at..self.filled, 0);
        self.filled -= at;
        Ok(left)
    }
}

/// Appends the reply to one frame.
fn answer_one(
    frame: &Frame<'_>,
    out: &mut Vec<u8>,
    ask: &mut impl FnMut(&Request<'_>, &mut Vec<u8>),
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
        kind::RESERVE => {
            let start = frame::begin_frame(out, kind::RESERVED, frame.id);
            let answered = frame::reserve(frame.body, |request| ask(request, out));
            frame::end_frame(out, start);
            answered
        }
        _ => Err(FrameError::Malformed),
    };
    if answered.is_err() {
        out.truncate(begin);
    }
    answered
}

/// Appends an explanation, of a request or of a decision that was made, or decisions; or the refusal to give them.
fn explain(
    frame: &Frame<'_>,
    out: &mut Vec<u8>,
    shared: &Shared,
    peer: Peer,
    scratch: &mut Scratch,
) -> Result<(), FrameError> {
    if !peer.may_explain {
        let message = "only root and the sidecar's own user may ask for explanations";
        frame::put_error(out, frame.id, FrameError::NotPermitted, message);
        return Ok(());
    }
    let (kind, body) = match frame.kind {
        kind::RECALL => {
            let id = std::str::from_utf8(frame.body).map_err(|_| FrameError::Malformed)?;
            let Some(body) = shared.recall(id, scratch) else {
                let message = "this decision has left the ring, or was not sampled";
                frame::put_error(out, frame.id, FrameError::NotKept, message);
                return Ok(());
            };
            (kind::EXPLANATION, body)
        }
        kind::QUOTA => {
            let asked: QuotaAsked =
                serde_json::from_slice(frame.body).map_err(|_| FrameError::Malformed)?;
            (kind::COUNTERS, quotas::answer(shared, &asked, peer.uid))
        }
        kind::FOLLOW => {
            let filter: Filter =
                serde_json::from_slice(frame.body).map_err(|_| FrameError::Malformed)?;
            (kind::FOLLOWED, shared.follow(&filter))
        }
        _ => {
            let explain = |request: &Request<'_>| shared.explain(request, scratch);
            (kind::EXPLANATION, frame::check(frame.body, explain)?)
        }
    };
    frame::put_frame(out, kind, frame.id, &body);
    Ok(())
}

fn message_of(error: FrameError) -> &'static str {
    match error {
        FrameError::TooLarge => "expected a frame of at most 65536 bytes; send less",
        _ => "expected a frame of version 1 as PROTOCOL.md describes it",
    }
}
