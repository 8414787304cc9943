//! Decisions in frames: what the sidecar writes and a client reads.

use super::{FrameError, Reader, put_text};
use crate::authzen::DecisionId;
use tollgate_engine::{Decision, Mode, Reason, TenantState};

/// Appends the body of one decision; names come from the state that decided.
pub fn put_decision(
    out: &mut Vec<u8>,
    state: Option<&TenantState>,
    decision: &Decision,
    id: DecisionId,
) {
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
        out.extend(entry.of.to_le_bytes());
        let mode = match entry.mode {
            Mode::Hard => 0,
            Mode::Soft => 1,
            Mode::Shadow => 2,
        };
        let failed_open = if entry.failed_open { FAILED_OPEN } else { 0 };
        out.push(failed_open | mode << 1 | u8::from(entry.exceeded));
    }
    out.extend(id.prefix.to_le_bytes());
    out.extend(id.number.to_le_bytes());
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
    /// By which the decision is found again; everything but a plain `allow` has one.
    pub id: DecisionId,
}

/// One limit of a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyLimit {
    pub id: String,
    pub remaining: u64,
    pub of: u64,
    pub mode: Mode,
    pub exceeded: bool,
    /// It could not count the request, which passes nevertheless.
    pub failed_open: bool,
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

impl Reader<'_> {
    fn reply(&mut self) -> Result<Reply, FrameError> {
        let allow = self.u8()?;
        let reason = Reason::from_number(self.u16()?).ok_or(FrameError::Malformed)?;
        if allow != u8::from(reason.allows()) {
            return Err(FrameError::Malformed);
        }
        let (epoch, seq, line, wait) = (self.u32()?, self.u64()?, self.u32()?, self.u64()?);
        let (binding, count) = (self.u8()?, self.u8()?);
        let mut limits = Vec::new();
        for _ in 0..count {
            let (id, remaining, of) = (self.text()?.to_owned(), self.u64()?, self.u64()?);
            let flags = self.u8()?;
            let failed_open = flags & FAILED_OPEN != 0;
            let mode = match (flags & !FAILED_OPEN) >> 1 {
                0 => Mode::Hard,
                1 => Mode::Soft,
                2 => Mode::Shadow,
                _ => return Err(FrameError::Malformed),
            };
            let exceeded = flags & 1 == 1;
            limits.push(ReplyLimit { id, remaining, of, mode, exceeded, failed_open });
        }
        let id = DecisionId { prefix: self.u32()?, number: self.u64()? };
        Ok(Reply {
            id,
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

/// In the flags of a limit: it could not count the request, which passes nevertheless.
const FAILED_OPEN: u8 = 1 << 3;
/// In place of a line, a wait or a position: there is none.
const NO_WAIT: u64 = u64::MAX;
const NO_POSITION: u8 = u8::MAX;
