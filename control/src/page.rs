//! Lists in pages: `limit`, and a cursor that only its own list accepts.
//!
//! A cursor is sealed (AES-256-GCM) over tenant, route, filter, position and expiry: nobody can read, change
//! or take it to another list.

use crate::call::{Call, Reply};
use crate::code::{Code, Refusal};
use crate::planted::planted;
use crate::random::{bytes, now_ms};
use crate::secret::MasterKey;
use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Key, Nonce};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value as Json, json};

const LIMIT_DEFAULT: i64 = 50;
const LIMIT_MAX: i64 = 200;
const CURSOR_LIFE_MS: u64 = 24 * 3_600_000;
const NONCE_BYTES: usize = 12;

/// What part of a list is asked for.
#[derive(Debug)]
pub struct Page {
    pub limit: i64,
    /// Behind this position; empty is the beginning.
    pub after: String,
    binding: String,
}

impl Page {
    /// Reads `limit` and `cursor`; all other members are the filter.
    ///
    /// # Errors
    /// `invalid`, `invalid-cursor`.
    pub fn read(call: &Call) -> Result<Page, Refusal> {
        let limit = match call.query.get("limit") {
            None => LIMIT_DEFAULT,
            Some(text) => {
                text.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit)).ok_or_else(
                    || {
                        Refusal::invalid(
                            "/limit",
                            &format!("a number from 1 to {LIMIT_MAX}"),
                            text.clone(),
                        )
                    },
                )?
            }
        };
        let filter =
            call.query.iter().filter(|(name, _)| !["limit", "cursor"].contains(&name.as_str()));
        let filter: Vec<String> = filter.map(|(name, value)| format!("{name}={value}")).collect();
        let tenant = call.caller.tenant().unwrap_or("");
        let mut binding = format!("{tenant}\n{}\n{}", call.route, filter.join("&"));
        if planted("cursor") {
            binding.clear();
        }
        let after = match call.query.get("cursor") {
            None => String::new(),
            Some(cursor) => open(call, &binding, cursor).ok_or_else(|| {
                Refusal::new(
                    Code::InvalidCursor,
                    "this cursor is not of this list, or has expired; begin anew",
                )
            })?,
        };
        Ok(Page { limit, after, binding })
    }

    /// One more than asked for: whether there is a next page.
    pub fn fetched(&self) -> i64 {
        self.limit + 1
    }

    /// The answer: items with their positions, at most `fetched`.
    pub fn reply(&self, call: &Call, mut items: Vec<(String, Json)>) -> Reply {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let more = items.len() > limit;
        items.truncate(limit);
        let last = items.last().filter(|_| more).map(|(position, _)| position.clone());
        let next = last.and_then(|position| seal(call, &self.binding, &position));
        let data: Vec<Json> = items.into_iter().map(|(_, item)| item).collect();
        Reply::ok(json!({"data": data, "next_cursor": next}))
    }
}

fn cipher(master: &MasterKey) -> Aes256Gcm {
    Aes256Gcm::new(&Key::<Aes256Gcm>::from(master.derive("cursors", "1")))
}

fn seal(call: &Call, binding: &str, position: &str) -> Option<String> {
    let nonce = bytes::<NONCE_BYTES>();
    let expires = now_ms() + CURSOR_LIFE_MS;
    let message = format!("{expires}:{position}");
    let payload = Payload { msg: message.as_bytes(), aad: binding.as_bytes() };
    let sealed = cipher(call.service.pools.master()).encrypt(&Nonce::from(nonce), payload).ok()?;
    Some(URL_SAFE_NO_PAD.encode([&nonce[..], &sealed].concat()))
}

fn open(call: &Call, binding: &str, cursor: &str) -> Option<String> {
    let whole = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let (nonce, sealed) = whole.split_first_chunk::<NONCE_BYTES>()?;
    let payload = || Payload { msg: sealed, aad: binding.as_bytes() };
    let pools = &call.service.pools;
    let mut keys = [Some(pools.master()), pools.previous()].into_iter().flatten();
    let opened = keys.find_map(|key| cipher(key).decrypt(&Nonce::from(*nonce), payload()).ok())?;
    let text = String::from_utf8(opened).ok()?;
    let (expires, position) = text.split_once(':')?;
    (expires.parse::<u64>().ok()? > now_ms()).then(|| position.to_owned())
}
