//! Requests in frames. Decoding copies no text: a request borrows the frame.
//!
//! A request is asked when everything that must be read before it was: asking takes from limits.

use super::{FrameError, Reader, begin_frame, end_frame, kind, put_text};
use tollgate_engine::bounds::{ATTRIBUTES_MAX, LIST_LENGTH_MAX};
use tollgate_engine::{Amount, Attribute, Entity, Part, Request, Value};

/// Requests in one batch frame.
pub const BATCH_MAX: usize = 256;
/// Amounts that one request may state.
pub const AMOUNTS_MAX: usize = 16;

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

impl<'a> Reader<'a> {
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
        let request = Request { tenant, subject, resource, action, amounts, ..Request::default() };
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

/// Appends a check frame.
pub fn put_check(out: &mut Vec<u8>, id: u32, request: &Request<'_>) {
    let start = begin_frame(out, kind::CHECK, id);
    put_request(out, request);
    end_frame(out, start);
}

/// Appends an explain frame.
pub fn put_explain(out: &mut Vec<u8>, id: u32, request: &Request<'_>) {
    let start = begin_frame(out, kind::EXPLAIN, id);
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

/// Appends a request as the body of a check frame has it.
pub fn put_request(out: &mut Vec<u8>, request: &Request<'_>) {
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

const TAG_NULL: u8 = 0;
const TAG_FALSE: u8 = 1;
const TAG_TRUE: u8 = 2;
const TAG_INT: u8 = 3;
const TAG_DEC: u8 = 4;
const TAG_STR: u8 = 5;
const TAG_LIST: u8 = 6;
