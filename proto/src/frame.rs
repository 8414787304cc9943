//! The frame door's wire format: bytes to requests, decisions to bytes. PROTOCOL.md is its page.
//!
//! Every length is checked before it is believed; nothing is allocated by what a frame announces.
//! Decoding copies no text: a request borrows the frame.

use tollgate_engine::bounds::{ATTRIBUTES_MAX, FRAME_BYTES_MAX, LIST_LENGTH_MAX};
use tollgate_engine::{
    Amount, Attribute, Decision, Entity, Mode, Part, Reason, Request, TenantState, Value,
};

/// The version of this format.
pub const VERSION: u8 = 1;
/// Bytes of the length prefix, and of the header behind it.
pub const LENGTH_BYTES: usize = 4;
const HEADER_BYTES: usize = 8;
/// Requests in one batch frame.
pub const BATCH_MAX: usize = 256;
/// Amounts that one request may state.
pub const AMOUNTS_MAX: usize = 16;

/// Kinds of frames. Replies have the high bit.
pub mod kind {
    pub const CHECK: u8 = 1;
    pub const BATCH: u8 = 2;
    /// Reserved.
    pub const EXPLAIN: u8 = 3;
    /// Reserved.
    pub const SETTLE: u8 = 4;
    pub const DECISION: u8 = 0x81;
    pub const DECISIONS: u8 = 0x82;
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
}

impl FrameError {
    pub const ALL: &'static [FrameError] = &[
        FrameError::Malformed,
        FrameError::TooLarge,
        FrameError::Timeout,
        FrameError::UnsupportedKind,
        FrameError::Overloaded,
        FrameError::Draining,
    ];

    pub const fn number(self) -> u16 {
        match self {
            FrameError::Malformed => 4001,
            FrameError::TooLarge => 4002,
            FrameError::Timeout => 4003,
            FrameError::UnsupportedKind => 4004,
            FrameError::Overloaded => 4005,
            FrameError::Draining => 4006,
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
        }
    }

    /// Whether the connection ends with this error: only a whole frame leaves its place certain.
    pub const fn closes(self) -> bool {
        !matches!(self, FrameError::UnsupportedKind)
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

/// Reads the body of a check frame and lends the request to `ask`.
///
/// # Errors
/// `Malformed`, also for bytes behind the request.
pub fn check<T>(body: &[u8], ask: impl FnOnce(&Request<'_>) -> T) -> Result<T, FrameError> {
    Reader { bytes: body }.request(End::OfBody, ask)
}

/// Reads the body of a batch frame and lends each request to `ask`, in order.
///
/// # Errors
/// `Malformed`; then no request has been asked.
pub fn batch(body: &[u8], mut ask: impl FnMut(&Request<'_>)) -> Result<usize, FrameError> {
    let mut reader = Reader { bytes: body };
    let count = usize::from(reader.u16()?);
    if count > BATCH_MAX {
        return Err(FrameError::Malformed);
    }
    let mut first = Reader { bytes: reader.bytes };
    for _ in 0..count {
        first.request(End::OfRequest, |_| ())?;
    }
    if !first.bytes.is_empty() {
        return Err(FrameError::Malformed);
    }
    for _ in 0..count {
        reader.request(End::OfRequest, &mut ask)?;
    }
    Ok(count)
}

/// What must follow a request before it is asked: asking takes from limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Nothing.
    OfBody,
    /// Anything.
    OfRequest,
}

struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], FrameError> {
        let (head, rest) = self.bytes.split_first_chunk::<N>().ok_or(FrameError::Malformed)?;
        self.bytes = rest;
        Ok(*head)
    }

    fn u8(&mut self) -> Result<u8, FrameError> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Result<u16, FrameError> {
        self.take().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, FrameError> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, FrameError> {
        self.take().map(u64::from_le_bytes)
    }

    fn text(&mut self) -> Result<&'a str, FrameError> {
        let length = usize::from(self.u16()?);
        let (head, rest) = self.bytes.split_at_checked(length).ok_or(FrameError::Malformed)?;
        self.bytes = rest;
        std::str::from_utf8(head).map_err(|_| FrameError::Malformed)
    }

    fn entity(&mut self) -> Result<Entity<'a>, FrameError> {
        Ok(Entity { kind: self.text()?, id: self.text()? })
    }

    fn request<T>(
        &mut self,
        end: End,
        ask: impl FnOnce(&Request<'_>) -> T,
    ) -> Result<T, FrameError> {
        let tenant = self.text()?;
        let (subject, action, resource) = (self.entity()?, self.text()?, self.entity()?);
        let mut amounts = [Amount { meter: "", amount: 0 }; AMOUNTS_MAX];
        let stated = self.amounts(&mut amounts)?;
        let amounts = stated.and_then(|count| amounts.get(..count));
        let count = usize::from(self.u16()?);
        let request = Request { tenant, subject, resource, action, attributes: &[], amounts };
        match count {
            0 => {
                self.check_end(end)?;
                Ok(ask(&request))
            }
            1..=ATTRIBUTES_MAX => self.attributes(count, &request, end, ask),
            _ => Err(FrameError::Malformed),
        }
    }

    fn check_end(&self, end: End) -> Result<(), FrameError> {
        match end == End::OfRequest || self.bytes.is_empty() {
            true => Ok(()),
            false => Err(FrameError::Malformed),
        }
    }

    fn amounts(&mut self, amounts: &mut [Amount<'a>]) -> Result<Option<usize>, FrameError> {
        match self.u8()? {
            0 => Ok(None),
            1 => {
                let count = usize::from(self.u8()?);
                let places = amounts.get_mut(..count).ok_or(FrameError::Malformed)?;
                for place in places {
                    *place = Amount { meter: self.text()?, amount: self.u64()? };
                }
                Ok(Some(count))
            }
            _ => Err(FrameError::Malformed),
        }
    }

    /// Reads attributes: scalars in place, the elements of all lists side by side.
    fn attributes<T>(
        &mut self,
        count: usize,
        request: &Request<'_>,
        end: End,
        ask: impl FnOnce(&Request<'_>) -> T,
    ) -> Result<T, FrameError> {
        let mut items: Vec<Value<'a>> = Vec::new();
        let mut lists: Vec<(usize, usize, usize)> = Vec::new();
        let mut attributes: Vec<Attribute<'_>> = Vec::with_capacity(count);
        for position in 0..count {
            let part = match self.u8()? {
                1 => Part::Subject,
                2 => Part::Resource,
                3 => Part::Context,
                4 => Part::Action,
                _ => return Err(FrameError::Malformed),
            };
            let path = self.text()?;
            let tag = self.u8()?;
            let value = if tag == TAG_LIST {
                let length = usize::from(self.u16()?);
                if length > LIST_LENGTH_MAX {
                    return Err(FrameError::Malformed);
                }
                let start = items.len();
                for _ in 0..length {
                    let tag = self.u8()?;
                    items.push(self.scalar(tag)?);
                }
                lists.push((position, start, length));
                Value::Missing
            } else {
                self.scalar(tag)?
            };
            if attributes.iter().any(|known| known.part == part && known.path == path) {
                return Err(FrameError::Malformed);
            }
            attributes.push(Attribute { part, path, value });
        }
        self.check_end(end)?;
        for (position, start, length) in lists {
            let list = items.get(start..start + length).ok_or(FrameError::Malformed)?;
            if let Some(attribute) = attributes.get_mut(position) {
                attribute.value = Value::List(list);
            }
        }
        Ok(ask(&Request { attributes: &attributes, ..*request }))
    }

    fn scalar(&mut self, tag: u8) -> Result<Value<'a>, FrameError> {
        Ok(match tag {
            TAG_NULL => Value::Null,
            TAG_FALSE => Value::Bool(false),
            TAG_TRUE => Value::Bool(true),
            TAG_INT => Value::Int(self.u64()?.cast_signed()),
            TAG_DEC => {
                let (mantissa, scale) = (self.u64()?.cast_signed(), self.u8()?);
                if scale == 0 || scale > tollgate_engine::value::SCALE_MAX || mantissa % 10 == 0 {
                    return Err(FrameError::Malformed);
                }
                Value::Dec { mantissa, scale }
            }
            TAG_STR => Value::Str(self.text()?),
            _ => return Err(FrameError::Malformed),
        })
    }
}

const TAG_NULL: u8 = 0;
const TAG_FALSE: u8 = 1;
const TAG_TRUE: u8 = 2;
const TAG_INT: u8 = 3;
const TAG_DEC: u8 = 4;
const TAG_STR: u8 = 5;
const TAG_LIST: u8 = 6;
/// In place of a line, a wait or a position: there is none.
const NO_WAIT: u64 = u64::MAX;
const NO_POSITION: u8 = u8::MAX;

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

fn put_text(out: &mut Vec<u8>, text: &str) {
    // Texts are bounded long before: what is longer is cut at a character.
    let mut end = text.len().min(usize::from(u16::MAX));
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    out.extend(u16::try_from(end).unwrap_or(u16::MAX).to_le_bytes());
    out.extend(text.as_bytes().iter().take(end));
}

/// Appends a check frame.
pub fn put_check(out: &mut Vec<u8>, id: u32, request: &Request<'_>) {
    let start = begin_frame(out, kind::CHECK, id);
    put_request(out, request);
    end_frame(out, start);
}

/// Appends a batch frame.
pub fn put_batch(out: &mut Vec<u8>, id: u32, requests: &[Request<'_>]) {
    let start = begin_frame(out, kind::BATCH, id);
    out.extend(u16::try_from(requests.len()).unwrap_or(u16::MAX).to_le_bytes());
    requests.iter().for_each(|request| put_request(out, request));
    end_frame(out, start);
}

fn put_request(out: &mut Vec<u8>, request: &Request<'_>) {
    put_text(out, request.tenant);
    put_text(out, request.subject.kind);
    put_text(out, request.subject.id);
    put_text(out, request.action);
    put_text(out, request.resource.kind);
    put_text(out, request.resource.id);
    match request.amounts {
        None => out.push(0),
        Some(amounts) => {
            out.extend([1, u8::try_from(amounts.len()).unwrap_or(u8::MAX)]);
            for amount in amounts {
                put_text(out, amount.meter);
                out.extend(amount.amount.to_le_bytes());
            }
        }
    }
    out.extend(u16::try_from(request.attributes.len()).unwrap_or(u16::MAX).to_le_bytes());
    for attribute in request.attributes {
        out.push(match attribute.part {
            Part::Subject => 1,
            Part::Resource => 2,
            Part::Context | Part::Tenant => 3,
            Part::Action => 4,
        });
        put_text(out, attribute.path);
        put_value(out, &attribute.value);
    }
}

fn put_value(out: &mut Vec<u8>, value: &Value<'_>) {
    match value {
        Value::Missing | Value::Null => out.push(TAG_NULL),
        Value::Bool(false) => out.push(TAG_FALSE),
        Value::Bool(true) => out.push(TAG_TRUE),
        Value::Int(int) => {
            out.push(TAG_INT);
            out.extend(int.to_le_bytes());
        }
        Value::Dec { mantissa, scale } => {
            out.push(TAG_DEC);
            out.extend(mantissa.to_le_bytes());
            out.push(*scale);
        }
        Value::Str(text) => {
            out.push(TAG_STR);
            put_text(out, text);
        }
        Value::List(items) => {
            out.push(TAG_LIST);
            out.extend(u16::try_from(items.len()).unwrap_or(u16::MAX).to_le_bytes());
            items.iter().for_each(|item| put_value(out, item));
        }
    }
}

/// Appends the body of one decision; names come from the state that decided.
pub fn put_decision(out: &mut Vec<u8>, state: Option<&TenantState>, decision: &Decision) {
    out.push(u8::from(decision.is_allow()));
    out.extend(decision.reason.number().to_le_bytes());
    out.extend(decision.version.epoch.to_le_bytes());
    out.extend(decision.version.seq.to_le_bytes());
    let line = state.zip(decision.rule).map_or(0, |(state, rule)| state.policy().rule_line(rule));
    out.extend(line.to_le_bytes());
    out.extend(decision.retry_after_ms.unwrap_or(NO_WAIT).to_le_bytes());
    let uses = decision.limits.as_slice();
    let binding = uses.iter().position(|entry| Some(entry.limit) == decision.binding);
    out.push(binding.and_then(|position| u8::try_from(position).ok()).unwrap_or(NO_POSITION));
    out.push(u8::try_from(uses.len()).unwrap_or(u8::MAX));
    for entry in uses {
        put_text(out, state.map_or("", |state| state.quotas().id(entry.limit)));
        out.extend(entry.remaining.to_le_bytes());
        out.extend(state.map_or(0, |state| state.quotas().of(entry.limit)).to_le_bytes());
        let mode = match entry.mode {
            Mode::Hard => 0,
            Mode::Soft => 1,
            Mode::Shadow => 2,
        };
        out.push(mode << 1 | u8::from(entry.exceeded));
    }
}

/// Appends an error frame.
pub fn put_error(out: &mut Vec<u8>, id: u32, error: FrameError, message: &str) {
    let start = begin_frame(out, kind::ERROR, id);
    out.extend(error.number().to_le_bytes());
    put_text(out, error.name());
    put_text(out, message);
    end_frame(out, start);
}

/// A decision as a client reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub reason: Reason,
    pub epoch: u32,
    pub seq: u64,
    /// Line of policy.csv; `None` if no rule decided.
    pub rule_line: Option<u32>,
    pub retry_after_ms: Option<u64>,
    /// Position in `limits` of the one that refused.
    pub binding: Option<usize>,
    pub limits: Vec<ReplyLimit>,
}

/// One limit of a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyLimit {
    pub id: String,
    pub remaining: u64,
    pub of: u64,
    pub mode: Mode,
    pub exceeded: bool,
}

/// Reads the body of a decision frame.
///
/// # Errors
/// `Malformed`, also if the allow byte and the reason contradict each other.
pub fn read_decision(body: &[u8]) -> Result<Reply, FrameError> {
    let mut reader = Reader { bytes: body };
    let reply = reader.reply()?;
    match reader.bytes {
        [] => Ok(reply),
        _ => Err(FrameError::Malformed),
    }
}

/// Reads the body of a decisions frame.
///
/// # Errors
/// As `read_decision`.
pub fn read_decisions(body: &[u8]) -> Result<Vec<Reply>, FrameError> {
    let mut reader = Reader { bytes: body };
    let count = reader.u16()?;
    let replies = (0..count).map(|_| reader.reply()).collect::<Result<_, _>>()?;
    match reader.bytes {
        [] => Ok(replies),
        _ => Err(FrameError::Malformed),
    }
}

/// Reads the body of an error frame: number, word, message.
///
/// # Errors
/// `Malformed`.
pub fn read_error(body: &[u8]) -> Result<(u16, String, String), FrameError> {
    let mut reader = Reader { bytes: body };
    Ok((reader.u16()?, reader.text()?.to_owned(), reader.text()?.to_owned()))
}

impl Reader<'_> {
    fn reply(&mut self) -> Result<Reply, FrameError> {
        let allow = self.u8()?;
        let reason = Reason::from_number(self.u16()?).ok_or(FrameError::Malformed)?;
        if allow != u8::from(reason == Reason::Allow) {
            return Err(FrameError::Malformed);
        }
        let (epoch, seq, line, wait) = (self.u32()?, self.u64()?, self.u32()?, self.u64()?);
        let (binding, count) = (self.u8()?, self.u8()?);
        let mut limits = Vec::new();
        for _ in 0..count {
            let (id, remaining, of) = (self.text()?.to_owned(), self.u64()?, self.u64()?);
            let flags = self.u8()?;
            let mode = match flags >> 1 {
                0 => Mode::Hard,
                1 => Mode::Soft,
                2 => Mode::Shadow,
                _ => return Err(FrameError::Malformed),
            };
            limits.push(ReplyLimit { id, remaining, of, mode, exceeded: flags & 1 == 1 });
        }
        Ok(Reply {
            reason,
            epoch,
            seq,
            rule_line: (line != 0).then_some(line),
            retry_after_ms: (wait != NO_WAIT).then_some(wait),
            binding: (binding != NO_POSITION).then_some(usize::from(binding)),
            limits,
        })
    }
}
