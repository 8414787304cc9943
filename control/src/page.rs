//! Lists in pages: `limit`, `sort`, `search`, `count`, and a cursor that only its own list accepts.
//!
//! A cursor is sealed (AES-256-GCM) over tenant, route, filter, position and expiry: nobody can read, change
//! or take it to another list.

use crate::call::{Call, Reply};
use crate::code::{Code, Refusal};
use crate::listing::COUNT_MAX;
use crate::planted::planted;
use crate::random::now_ms;
use crate::sealed;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value as Json, json};

const LIMIT_DEFAULT: i64 = 50;
const LIMIT_MAX: i64 = 200;
const CURSOR_LIFE_MS: u64 = 24 * 3_600_000;
const SEARCH_CHARS_MAX: usize = 100;
/// What cursors are sealed for.
const LABEL: &str = "cursors";

/// What part of a list is asked for.
#[allow(missing_debug_implementations, reason = "holds a call")]
pub struct Page<'c> {
    call: &'c Call,
    limit: i64,
    /// Behind this position; none is the beginning.
    pub after: Option<Vec<String>>,
    /// The member that it is sorted by.
    pub sort: &'static str,
    pub is_descending: bool,
    /// The first text that begins with what is searched, and the first behind all that do.
    pub search: Option<(String, String)>,
    /// The whole is to be counted.
    pub is_counted: bool,
    binding: String,
}

impl Page<'_> {
    /// Reads `limit`, `cursor`, `sort`, `search` and `count`; all other members are the filter.
    ///
    /// # Errors
    /// `invalid`, `invalid-cursor`.
    pub fn read(call: &Call) -> Result<Page<'_>, Refusal> {
        let limit = match call.query.get("limit") {
            None => LIMIT_DEFAULT,
            Some(text) => limit(text)?,
        };
        let (sort, is_descending) = sort(call)?;
        let is_counted = call.one_of("count", &["true", "false"])? == Some("true");
        let search = call.query.get("search").map(|text| searched(text)).transpose()?;
        let filter =
            call.query.iter().filter(|(name, _)| !["limit", "cursor"].contains(&name.as_str()));
        let filter: Vec<String> = filter.map(|(name, value)| format!("{name}={value}")).collect();
        let tenant = call.caller.tenant().unwrap_or("");
        let mut binding = format!("{tenant}\n{}\n{}", call.route, filter.join("&"));
        if planted("cursor") {
            binding.clear();
        }
        let after = call.query.get("cursor").map(|cursor| {
            open(call, &binding, cursor).ok_or_else(|| {
                Refusal::new(
                    Code::InvalidCursor,
                    "this cursor is not of this list, or has expired; begin anew",
                )
            })
        });
        let after = after.transpose()?;
        Ok(Page { call, limit, after, sort, is_descending, search, is_counted, binding })
    }

    /// One more than asked for: whether there is a next page.
    pub fn fetched(&self) -> i64 {
        self.limit + 1
    }

    /// The answer: items with their positions, at most `fetched`, and how many there are in all.
    pub fn reply(&self, mut items: Vec<(Vec<String>, Json)>, total: Option<i64>) -> Reply {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let more = items.len() > limit;
        items.truncate(limit);
        let last = items.last().filter(|_| more);
        let next = last.map(|(position, _)| seal(self.call, &self.binding, position));
        let data: Vec<Json> = items.into_iter().map(|(_, item)| item).collect();
        let mut body = json!({"data": data, "next_cursor": next});
        if let Some(total) = total {
            body["total"] = json!(total);
            body["total_is_exact"] = json!(total < COUNT_MAX);
        }
        Reply::ok(body)
    }

    /// The answer from all items under their names: for lists that are short.
    pub fn reply_of(&self, items: impl IntoIterator<Item = (String, Json)>) -> Reply {
        let is_found = |name: &String| {
            let search = self.search.as_ref();
            search.is_none_or(|(first, _)| name.to_ascii_lowercase().starts_with(first.as_str()))
        };
        let mut all: Vec<(String, Json)> =
            items.into_iter().filter(|(name, _)| is_found(name)).collect();
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        if self.is_descending {
            all.reverse();
        }
        let total = self.is_counted.then(|| i64::try_from(all.len()).unwrap_or(i64::MAX));
        let is_behind = |name: &String| match self.after.as_ref().and_then(|after| after.first()) {
            Some(after) if self.is_descending => name < after,
            Some(after) => name > after,
            None => true,
        };
        let wanted = all.into_iter().filter(|(name, _)| is_behind(name));
        let wanted = wanted.take(usize::try_from(self.fetched()).unwrap_or(usize::MAX));
        self.reply(wanted.map(|(name, item)| (vec![name], item)).collect(), total)
    }
}

fn limit(text: &str) -> Result<i64, Refusal> {
    let limit = text.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
    limit.ok_or_else(|| {
        Refusal::invalid("/limit", &format!("a number from 1 to {LIMIT_MAX}"), text.to_owned())
    })
}

/// The member of `sort`, and whether it begins with `-`; the route's first is what it is without.
fn sort(call: &Call) -> Result<(&'static str, bool), Refusal> {
    let sorts = call.served.sorts;
    let given = call.query.get("sort").map_or("", String::as_str);
    let (name, is_descending) = given.strip_prefix('-').map_or((given, false), |name| (name, true));
    let found = match call.query.get("sort") {
        None => sorts.first(),
        Some(_) => sorts.iter().find(|sort| **sort == name),
    };
    found.map(|sort| (*sort, is_descending)).ok_or_else(|| {
        let expected = format!("one of {}; with - before it, the other way", sorts.join(", "));
        Refusal::invalid("/sort", &expected, given.to_owned())
    })
}

/// The range of texts that begin with this one, in whatever case its ASCII letters are: no locale has a say.
fn searched(text: &str) -> Result<(String, String), Refusal> {
    let is_right = (1..=SEARCH_CHARS_MAX).contains(&text.chars().count()) && !text.contains('\0');
    match is_right {
        true => {
            let first = text.to_ascii_lowercase();
            let behind = format!("{first}{}", char::MAX);
            Ok((first, behind))
        }
        false => {
            let expected = format!("1-{SEARCH_CHARS_MAX} characters");
            Err(Refusal::invalid("/search", &expected, text.to_owned()))
        }
    }
}

fn seal(call: &Call, binding: &str, position: &[String]) -> String {
    let message = format!("{}:{}", now_ms() + CURSOR_LIFE_MS, json!(position));
    let sealed = sealed::seal(call.service.pools.master(), LABEL, binding, message.as_bytes());
    URL_SAFE_NO_PAD.encode(sealed)
}

fn open(call: &Call, binding: &str, cursor: &str) -> Option<Vec<String>> {
    let whole = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let opened = sealed::open(call.service.pools.masters(), LABEL, binding, &whole)?;
    let text = String::from_utf8(opened).ok()?;
    let (expires, position) = text.split_once(':')?;
    let position = serde_json::from_str(position).ok()?;
    (expires.parse::<u64>().ok()? > now_ms()).then_some(position)
}
