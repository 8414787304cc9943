//! Counters for people: what the kept decisions count by, how one stands, changes of one, and the region.

mod change;
mod counter;
mod doctor;
mod top;

pub(crate) use counter::grant;

use crate::shared::Shared;
use change::Change;
use counter::one;
use tollgate_engine::bounds::FRAME_BYTES_MAX;
use tollgate_proto::quota::{CounterBody, QuotaAsked, QuotaBody};

/// Counters of one answer.
const COUNTERS_MAX: usize = 200;

/// Answers a question or makes a change, for the user with this id.
pub(crate) fn answer(shared: &Shared, asked: &QuotaAsked, uid: u32) -> Vec<u8> {
    let answered = body(shared, asked, uid);
    let mut body = answered.unwrap_or_else(|error| QuotaBody { error, ..QuotaBody::default() });
    body.at_ms = shared.clock.now().0 / 1_000_000;
    loop {
        // Writing plain values into memory cannot fail.
        let bytes = serde_json::to_vec(&body).unwrap_or_default();
        if bytes.len() < FRAME_BYTES_MAX - 64 || body.counters.pop().is_none() {
            return bytes;
        }
    }
}

fn body(shared: &Shared, asked: &QuotaAsked, uid: u32) -> Result<QuotaBody, String> {
    let of = |tenant, limit, key, reason| Change { shared, uid, tenant, limit, key, reason };
    match asked {
        QuotaAsked::Top { tenant } => Ok(top::answer(shared, tenant.as_deref())),
        QuotaAsked::Doctor { repair } => doctor::answer(shared, *repair, uid),
        QuotaAsked::Show { tenant, limit, key } => {
            one(shared, tenant, limit, key, |at| at.standing(shared)).map(alone)
        }
        QuotaAsked::GiveBack { tenant, limit, key, amount, reason } => {
            of(tenant, limit, key, reason).give_back(*amount).map(alone)
        }
        QuotaAsked::TopUp { tenant, limit, key, amount, reason } => {
            of(tenant, limit, key, reason).top_up(*amount).map(alone)
        }
        QuotaAsked::Override { tenant, limit, key, amount, for_ms, reason } => {
            of(tenant, limit, key, reason).set(*amount, *for_ms).map(alone)
        }
        QuotaAsked::EndOverride { tenant, limit, key, reason } => {
            of(tenant, limit, key, reason).end().map(alone)
        }
    }
}

fn alone(counter: CounterBody) -> QuotaBody {
    QuotaBody { counters: vec![counter], ..QuotaBody::default() }
}
