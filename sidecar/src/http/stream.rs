//! A connection's bytes on their way to hyper, watched: when a request began and whether its peer
//! is moving.
//!
//! Time is the reaper's tick, so watching costs no clock. In HTTP/1.1 a request's head begins with
//! the first byte after an answer; in h2 each frame and each block of headers must end in time,
//! bodies are timed by their handler.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use tokio::sync::Notify;

/// What h2 clients say first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes of an h2 frame's header.
const FRAME_HEADER_BYTES: usize = 9;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;
/// The answer to a request in HTTP/1.1 whose head does not end.
const TOO_SLOW: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\n\
    content-type: application/json\r\ncontent-length: 122\r\n\r\n\
    {\"error\":{\"code\":\"timeout\",\"message\":\"the request did not end within \
    door.frame_timeout_ms; write it whole\",\"details\":{}}}";

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Between requests, or answering one.
    Quiet,
    /// A request began and its head has not ended.
    Head,
}

/// One connection as its stream, its handlers and the reaper see it.
#[derive(Debug)]
pub(crate) struct Watch {
    ticks: Arc<AtomicU64>,
    phase: AtomicU8,
    /// Tick of the request's first byte, or of the last byte that moved.
    since: AtomicU64,
    answering: AtomicBool,
    /// Bytes came while a request was being answered: the next one has begun.
    ahead: AtomicBool,
    is_h2: AtomicBool,
    is_late: AtomicBool,
    /// Told by the reaper that its time is up.
    pub(crate) expired: Notify,
}

impl Watch {
    pub(crate) fn new(ticks: Arc<AtomicU64>) -> Watch {
        let since = AtomicU64::new(ticks.load(Ordering::Relaxed));
        Watch {
            ticks,
            phase: AtomicU8::new(Phase::Quiet as u8),
            since,
            answering: AtomicBool::new(false),
            ahead: AtomicBool::new(false),
            is_h2: AtomicBool::new(false),
            is_late: AtomicBool::new(false),
            expired: Notify::new(),
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::Quiet,
            _ => Phase::Head,
        }
    }

    /// Ticks since the phase began.
    pub(crate) fn age(&self) -> u64 {
        let now = self.ticks.load(Ordering::Relaxed);
        now.saturating_sub(self.since.load(Ordering::Relaxed))
    }

    fn is_h2(&self) -> bool {
        self.is_h2.load(Ordering::Relaxed)
    }

    /// The next read says that the request took too long, if one in HTTP/1.1 has begun.
    pub(crate) fn give_up(&self) -> bool {
        let is_late = self.phase() == Phase::Head && !self.is_h2();
        self.is_late.store(is_late, Ordering::Relaxed);
        is_late
    }

    fn enter(&self, phase: Phase) {
        if phase == Phase::Quiet || self.phase() == Phase::Quiet {
            self.since.store(self.ticks.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// A request's head is complete; answers how many ticks ago it began.
    pub(crate) fn begin_answer(&self) -> u64 {
        let age = if self.phase() == Phase::Head { self.age() } else { 0 };
        if !self.is_h2() {
            self.answering.store(true, Ordering::Relaxed);
            self.enter(Phase::Quiet);
        }
        age
    }

    /// A request has been answered.
    pub(crate) fn end_answer(&self) {
        if self.is_h2() {
            return;
        }
        self.answering.store(false, Ordering::Relaxed);
        let ahead = self.ahead.swap(false, Ordering::Relaxed);
        self.enter(if ahead { Phase::Head } else { Phase::Quiet });
    }

    fn came(&self, bytes: &[u8], sniff: &mut Sniff) {
        match sniff.see(bytes) {
            Seen::Http1 if self.answering.load(Ordering::Relaxed) => {
                self.ahead.store(true, Ordering::Relaxed);
            }
            Seen::Http1 | Seen::Partial => self.enter(Phase::Head),
            Seen::Whole => {
                self.is_h2.store(true, Ordering::Relaxed);
                self.enter(Phase::Quiet);
            }
        }
    }
}

/// What bytes of a connection mean for its phase.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    /// HTTP/1.1: the handler says when the head has ended.
    Http1,
    /// An h2 preface, frame or block of headers has begun and not ended.
    Partial,
    /// Between two h2 frames.
    Whole,
}

/// Tells h2 from HTTP/1.1, and in h2 where frames end.
#[derive(Debug)]
enum Sniff {
    Preface { matched: usize },
    Http1,
    Frames { header: [u8; FRAME_HEADER_BYTES], have: usize, payload: usize, open_headers: bool },
}

impl Sniff {
    fn see(&mut self, mut bytes: &[u8]) -> Seen {
        if let Sniff::Preface { matched } = self {
            let rest = PREFACE.get(*matched..).unwrap_or(&[]);
            let count = rest.len().min(bytes.len());
            if rest.get(..count) != bytes.get(..count) {
                *self = Sniff::Http1;
                return Seen::Http1;
            }
            *matched += count;
            if *matched < PREFACE.len() {
                return Seen::Partial;
            }
            bytes = bytes.get(count..).unwrap_or(&[]);
            let header = [0; FRAME_HEADER_BYTES];
            *self = Sniff::Frames { header, have: 0, payload: 0, open_headers: false };
        }
        match self {
            Sniff::Frames { header, have, payload, open_headers } => {
                while !bytes.is_empty() {
                    bytes = frame_step(bytes, header, have, payload, open_headers);
                }
                match *have == 0 && *payload == 0 && !*open_headers {
                    true => Seen::Whole,
                    false => Seen::Partial,
                }
            }
            _ => Seen::Http1,
        }
    }
}

/// Takes the next bytes of a frame's payload or header.
fn frame_step<'b>(
    bytes: &'b [u8],
    header: &mut [u8; FRAME_HEADER_BYTES],
    have: &mut usize,
    payload: &mut usize,
    open_headers: &mut bool,
) -> &'b [u8] {
    if *payload > 0 {
        let count = bytes.len().min(*payload);
        *payload -= count;
        return bytes.get(count..).unwrap_or(&[]);
    }
    if let (Some(place), Some(byte)) = (header.get_mut(*have), bytes.first()) {
        *place = *byte;
    }
    *have += 1;
    if *have == FRAME_HEADER_BYTES {
        let [high, middle, low, kind, flags, ..] = *header;
        *payload = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        *have = 0;
        match kind {
            HEADERS | CONTINUATION => *open_headers = flags & END_HEADERS == 0,
            _ => {}
        }
    }
    bytes.get(1..).unwrap_or(&[])
}

/// The stream that hyper reads and writes.
#[derive(Debug)]
pub(crate) struct Watched<S> {
    stream: S,
    watch: Arc<Watch>,
    sniff: Sniff,
}

impl<S> Watched<S> {
    pub(crate) fn new(stream: S, watch: Arc<Watch>) -> Watched<S> {
        Watched { stream, watch, sniff: Sniff::Preface { matched: 0 } }
    }

    fn wrote(&self, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if outcome.is_ready() && self.watch.phase() == Phase::Quiet {
            self.watch.enter(Phase::Quiet);
        }
        outcome
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.watch.is_late.load(Ordering::Relaxed) {
            // Said once and not waited for: a slow peer may not read either.
            let _ = Pin::new(&mut this.stream).poll_write(cx, TOO_SLOW);
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?;
        let came = buffer.filled().get(before..).unwrap_or(&[]);
        if !came.is_empty() {
            this.watch.came(came, &mut this.sniff);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wrote(outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.wrote(outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sniff() -> Sniff {
        Sniff::Preface { matched: 0 }
    }

    #[test]
    fn h2_is_whole_only_between_frames_and_blocks_of_headers() {
        let frame = |length: u8, kind: u8, flags: u8| {
            let mut bytes = vec![0, 0, length, kind, flags, 0, 0, 0, 1];
            bytes.extend(std::iter::repeat_n(7, usize::from(length)));
            bytes
        };
        let settings = frame(0, 4, 0);
        let open = frame(3, HEADERS, 0);
        let closed = frame(2, CONTINUATION, END_HEADERS);
        let data = frame(200, 0, 1);
        let mut seen = sniff();
        assert_eq!(seen.see(&PREFACE[..5]), Seen::Partial);
        assert_eq!(seen.see(&PREFACE[5..]), Seen::Whole);
        assert_eq!(seen.see(&settings), Seen::Whole);
        assert_eq!(seen.see(&open), Seen::Partial);
        assert_eq!(seen.see(&closed), Seen::Whole);
        assert_eq!(seen.see(&data[..100]), Seen::Partial);
        assert_eq!(seen.see(&data[100..]), Seen::Whole);
        // The same bytes one by one end in the same place.
        let mut slow = sniff();
        let all = [PREFACE, &settings, &open, &closed, &data].concat();
        let last = all.iter().map(|byte| slow.see(&[*byte])).last();
        assert_eq!(last, Some(Seen::Whole));
    }

    #[test]
    fn the_last_word_is_as_long_as_it_says() {
        let text = std::str::from_utf8(TOO_SLOW).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let length = head.split_once("content-length: ").unwrap().1;
        assert_eq!(length.parse(), Ok(body.len()), "{text}");
    }

    #[test]
    fn anything_else_is_http1() {
        for text in ["GET / HTTP/1.1\r\n", "P", "PRI * HTTP/1.1\r\n"] {
            let mut seen = sniff();
            let expected = if text == "P" { Seen::Partial } else { Seen::Http1 };
            assert_eq!(seen.see(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn a_request_that_came_early_is_timed_when_the_one_before_is_answered() {
        let ticks = Arc::new(AtomicU64::new(5));
        let watch = Watch::new(Arc::clone(&ticks));
        let mut sniff = sniff();
        watch.came(b"GET /x", &mut sniff);
        assert_eq!(watch.phase(), Phase::Head);
        ticks.store(7, Ordering::Relaxed);
        watch.came(b" HTTP/1.1", &mut sniff);
        assert_eq!((watch.phase(), watch.age()), (Phase::Head, 2));
        assert_eq!(watch.begin_answer(), 2);
        assert_eq!(watch.phase(), Phase::Quiet);
        watch.came(b"GET", &mut sniff);
        assert_eq!(watch.phase(), Phase::Quiet);
        watch.end_answer();
        assert_eq!(watch.phase(), Phase::Head);
    }
}
