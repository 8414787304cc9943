//! The frame door's wire format: bytes to requests, decisions to bytes. PROTOCOL.md is its page.
//!
//! Here is what all frames share: header, errors, the reader. `request` and `decision` are the
//! bodies. Every length is checked before it is believed; nothing is allocated by what a frame
//! announces.

mod decision;
mod request;
mod settle;

pub use decision::{Reply, ReplyLimit, put_decision, read_decision, read_decisions};
pub use request::{
    AMOUNTS_MAX, BATCH_MAX, batch, check, put_batch, put_check, put_explain, put_request,
};

pub use settle::{
    put_reservation, put_reserve, put_settle, put_settled, read_reserved, read_settle,
    read_settled, reserve,
};

use tollgate_engine::bounds::FRAME_BYTES_MAX;

/// The version of this format.
pub const VERSION: u8 = 1;
/// Bytes of the length prefix, and of the header behind it.
pub const LENGTH_BYTES: usize = 4;
const HEADER_BYTES: usize = 8;

/// Kinds of frames. Replies have the high bit.
pub mod kind {
    pub const CHECK: u8 = 1;
    pub const BATCH: u8 = 2;
    pub const EXPLAIN: u8 = 3;
    /// The true amounts of a reservation.
    pub const SETTLE: u8 = 4;
    /// The explanation of a decision that was made: a text, its id.
    pub const RECALL: u8 = 5;
    /// Decisions that were made: JSON, `crate::follow`.
    pub const FOLLOW: u8 = 6;
    /// A request whose amounts are held until they are settled.
    pub const RESERVE: u8 = 7;
    /// Counters: JSON, `crate::quota`.
    pub const QUOTA: u8 = 8;
    pub const DECISION: u8 = 0x81;
    pub const DECISIONS: u8 = 0x82;
    /// JSON, `crate::explain`.
    pub const EXPLANATION: u8 = 0x83;
    /// JSON: the decisions that a filter lets through.
    pub const FOLLOWED: u8 = 0x84;
    pub const SETTLED: u8 = 0x85;
    /// A decision behind the id of its reservation.
    pub const RESERVED: u8 = 0x86;
    /// JSON: counters.
    pub const COUNTERS: u8 = 0x87;
    pub const ERROR: u8 = 0xff;
}

/// What is wrong with a frame; the number and word of docs/reference/errors.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameError {
    Malformed,
    TooLarge,
    Timeout,
    UnsupportedKind,
    Overloaded,
    Draining,
    NotPermitted,
    NotKept,
}

impl FrameError {
    pub const ALL: &'static [FrameError] = &[
        FrameError::Malformed,
        FrameError::TooLarge,
        FrameError::Timeout,
        FrameError::UnsupportedKind,
        FrameError::Overloaded,
        FrameError::Draining,
        FrameError::NotPermitted,
        FrameError::NotKept,
    ];

    pub const fn number(self) -> u16 {
        match self {
            FrameError::Malformed => 4001,
            FrameError::TooLarge => 4002,
            FrameError::Timeout => 4003,
            FrameError::UnsupportedKind => 4004,
            FrameError::Overloaded => 4005,
            FrameError::Draining => 4006,
            FrameError::NotPermitted => 4007,
            FrameError::NotKept => 4008,
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            FrameError::Malformed => "malformed-frame",
            FrameError::TooLarge => "frame-too-large",
            FrameError::Timeout => "frame-timeout",
            FrameError::UnsupportedKind => "unsupported-kind",
            FrameError::Overloaded => "overloaded",
            FrameError::Draining => "draining",
            FrameError::NotPermitted => "not-permitted",
            FrameError::NotKept => "not-kept",
        }
    }

    /// Whether the connection ends with this error: only a whole frame leaves its place certain.
    pub const fn closes(self) -> bool {
        !matches!(
            self,
            FrameError::UnsupportedKind | FrameError::NotPermitted | FrameError::NotKept
        )
    }
}

/// One frame cut out of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    pub kind: u8,
    pub id: u32,
    pub body: &'a [u8],
    /// Bytes of the stream that it took.
    pub taken: usize,
}

/// Cuts the next frame off `stream`; `None` if it is not complete yet.
///
/// # Errors
/// `TooLarge` and `Malformed`; the connection cannot go on.
pub fn next_frame(stream: &[u8]) -> Result<Option<Frame<'_>>, FrameError> {
    let Some((length, rest)) = stream.split_first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
    let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| FrameError::TooLarge)?;
    if length > FRAME_BYTES_MAX {
        return Err(FrameError::TooLarge);
    }
    if length < HEADER_BYTES {
        return Err(FrameError::Malformed);
    }
    let Some(frame) = rest.get(..length) else {
        // What is wrong with the header is said before the rest of the frame is awaited.
        return match rest {
            [version, ..] if *version != VERSION => Err(FrameError::Malformed),
            _ => Ok(None),
        };
    };
    let mut reader = Reader { bytes: frame };
    let (version, kind) = (reader.u8()?, reader.u8()?);
    let (reserved, id) = (reader.u16()?, reader.u32()?);
    if version != VERSION || reserved != 0 {
        return Err(FrameError::Malformed);
    }
    Ok(Some(Frame { kind, id, body: reader.bytes, taken: LENGTH_BYTES + length }))
}

/// Appends a frame whose body is these bytes.
pub fn put_frame(out: &mut Vec<u8>, kind: u8, id: u32, body: &[u8]) {
    let start = begin_frame(out, kind, id);
    out.extend_from_slice(body);
    end_frame(out, start);
}

/// Begins a frame in `out` and returns where, for `end_frame`.
pub fn begin_frame(out: &mut Vec<u8>, kind: u8, id: u32) -> usize {
    let start = out.len();
    out.extend([0; LENGTH_BYTES]);
    out.extend([VERSION, kind, 0, 0]);
    out.extend(id.to_le_bytes());
    start
}

/// Writes the length of the frame that began at `start`.
pub fn end_frame(out: &mut [u8], start: usize) {
    let length = u32::try_from(out.len().saturating_sub(start + LENGTH_BYTES)).unwrap_or(u32::MAX);
    if let Some(place) = out.get_mut(start..start + LENGTH_BYTES) {
        place.copy_from_slice(&length.to_le_bytes());
    }
}

pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    // Texts are bounded long before: what is longer is cut at a character.
    let mut end = text.len().min(usize::from(u16::MAX));
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    out.extend(u16::try_from(end).unwrap_or(u16::MAX).to_le_bytes());
    out.extend(text.as_bytes().iter().take(end));
}

/// Appends an error frame.
pub fn put_error(out: &mut Vec<u8>, id: u32, error: FrameError, message: &str) {
    let start = begin_frame(out, kind::ERROR, id);
    out.extend(error.number().to_le_bytes());
    put_text(out, error.name());
    put_text(out, message);
    end_frame(out, start);
}

/// Reads the body of an error frame: number, word, message.
///
/// # Errors
/// `Malformed`.
pub fn read_error(body: &[u8]) -> Result<(u16, String, String), FrameError> {
    let mut reader = Reader { bytes: body };
    Ok((reader.u16()?, reader.text()?.to_owned(), reader.text()?.to_owned()))
}

/// Takes values off the front of a body.
pub(crate) struct Reader<'a> {
    pub(crate) bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn take<const N: usize>(&mut self) -> Result<[u8; N], FrameError> {
        let (head, rest) = self.bytes.split_first_chunk::<N>().ok_or(FrameError::Malformed)?;
        self.bytes = rest;
        Ok(*head)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, FrameError> {
        self.take::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, FrameError> {
        self.take().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, FrameError> {
        self.take().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, FrameError> {
        self.take().map(u64::from_le_bytes)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, FrameError> {
        let length = usize::from(self.u16()?);
        let (head, rest) = self.bytes.split_at_checked(length).ok_or(FrameError::Malformed)?;
        self.bytes = rest;
        std::str::from_utf8(head).map_err(|_| FrameError::Malformed)
    }
}
