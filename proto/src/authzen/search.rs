//! Bodies of the search endpoints, and the tokens that lead from page to page.
//!
//! Source: OpenID AuthZEN Authorization API 1.0, section 8. The id of the entity that is sought is ignored, its type is
//! needed. A token is sealed to the request that it continues: with another request it is a fault.

use super::{Fault, Members, TenantHeader, members, take};
use crate::owned::OwnedRequest;
use crate::tree::Tree;
use std::borrow::Cow;
use tollgate_engine::Value;
use tollgate_engine::search::Sought;

/// Results of one page where the request does not say.
pub const SEARCH_PAGE: usize = 100;
/// Results of one page at most.
pub const SEARCH_PAGE_MAX: usize = 1_000;

const MAC_CHARS: usize = 32;

/// A search, as it came.
#[derive(Debug)]
pub struct Search<'b> {
    pub sought: Sought,
    pub request: OwnedRequest<'b>,
    /// Where the page begins: behind this name.
    pub after: Option<String>,
    /// Results of this page at most.
    pub limit: usize,
}

/// Reads a body of one of the search endpoints; `secret` seals the tokens of this process.
///
/// # Errors
/// As `evaluation`; a page that is no page, or a token of another request.
pub fn search<'b>(
    body: &'b [u8],
    sought: Sought,
    tenant: TenantHeader<'b>,
    secret: &[u8; 32],
) -> Result<Search<'b>, Fault> {
    let mut all = members(body)?;
    let page = take(&mut all, "page");
    let mut asked = Members::read(&mut all);
    let (wanted, name) = match sought {
        Sought::Subject => (&mut asked.subject, "id"),
        Sought::Resource => (&mut asked.resource, "id"),
        Sought::Action => {
            asked.action = Some(Tree::Object(Vec::new()));
            (&mut asked.action, "name")
        }
    };
    if let Some(Tree::Object(members)) = wanted {
        members.retain(|(known, _)| known != name);
        members.push((Cow::Borrowed(name), Tree::Str(Cow::Borrowed(""))));
    }
    let request = asked.request(tenant)?;
    let (token, limit) = read_page(page)?;
    let after = match token.as_deref() {
        None | Some("") => None,
        Some(token) => Some(open(token, sought, &request, secret).ok_or_else(|| {
            let expected = "the next_token of the page before, with the same request";
            Fault::invalid("/page/token", expected, "another")
        })?),
    };
    Ok(Search { sought, request, after, limit })
}

fn read_page(page: Option<Tree<'_>>) -> Result<(Option<String>, usize), Fault> {
    let mut page = match page {
        None => return Ok((None, SEARCH_PAGE)),
        Some(Tree::Object(page)) => page,
        Some(other) => return Err(Fault::invalid("/page", "an object", other.kind())),
    };
    let token = match take(&mut page, "token") {
        None | Some(Tree::Null) => None,
        Some(Tree::Str(token)) => Some(token.into_owned()),
        Some(other) => return Err(Fault::invalid("/page/token", "a string", other.kind())),
    };
    let limit = match take(&mut page, "limit") {
        None | Some(Tree::Null) => SEARCH_PAGE,
        Some(Tree::Number(Value::Int(limit))) if limit >= 0 => {
            usize::try_from(limit).unwrap_or(SEARCH_PAGE_MAX).min(SEARCH_PAGE_MAX)
        }
        Some(other) => {
            return Err(Fault::invalid("/page/limit", "a whole number of 0 or more", other.kind()));
        }
    };
    Ok((token, limit))
}

/// The token of the page behind `after`.
pub fn seal(after: &str, sought: Sought, request: &OwnedRequest<'_>, secret: &[u8; 32]) -> String {
    let place: String = after.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("{}{place}", mac(after, sought, request, secret))
}

fn open(
    token: &str,
    sought: Sought,
    request: &OwnedRequest<'_>,
    secret: &[u8; 32],
) -> Option<String> {
    let (sealed, place) = token.split_at_checked(MAC_CHARS)?;
    let pairs = place.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let after = String::from_utf8(pairs.map(byte).collect::<Option<Vec<u8>>>()?).ok()?;
    (mac(&after, sought, request, secret) == sealed).then_some(after)
}

fn mac(after: &str, sought: Sought, request: &OwnedRequest<'_>, secret: &[u8; 32]) -> String {
    let mut hasher = blake3::Hasher::new_keyed(secret);
    hasher.update(format!("{sought:?} {request:?} {after:?}").as_bytes());
    hasher.finalize().to_hex().chars().take(MAC_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: [u8; 32] = [7; 32];

    fn read(body: &str, sought: Sought) -> Result<Search<'_>, String> {
        let read = search(body.as_bytes(), sought, TenantHeader::Named("acme"), &SECRET);
        read.map_err(|fault| fault.field.map_or(fault.message, |field| field.pointer))
    }

    #[test]
    fn the_sought_entity_needs_its_type_and_the_others_are_whole() {
        let resource = r#""resource":{"type":"doc","id":"x"}"#;
        let action = r#""action":{"name":"read"}"#;
        let subject = |members: &str| format!("{{\"subject\":{{{members}}},{action},{resource}}}");
        for (members, fault) in [
            (r#""type":"user""#, None),
            (r#""type":"user","id":"ignored""#, None),
            (r#""type":"user","id":7"#, None),
            (r#""id":"alice""#, Some("/subject/type")),
        ] {
            let body = subject(members);
            let found = read(&body, Sought::Subject);
            assert_eq!(found.as_ref().err().map(String::as_str), fault, "{members}");
            if let Ok(search) = found {
                assert_eq!((&*search.request.subject.id, search.limit), ("", SEARCH_PAGE));
            }
        }
        let body = format!("{{\"subject\":{{\"type\":\"user\"}},{action},{resource}}}");
        assert_eq!(read(&body, Sought::Resource).unwrap_err(), "/subject/id");
        let body = format!("{{\"subject\":{{\"type\":\"user\",\"id\":\"a\"}},{resource}}}");
        assert!(read(&body, Sought::Action).is_ok());
        assert_eq!(read(&body, Sought::Resource).unwrap_err(), "/action");
    }

    #[test]
    fn pages_have_a_limit_and_a_token_of_their_own_request() {
        let body = |resource: &str, page: &str| {
            format!(
                "{{\"subject\":{{\"type\":\"user\"}},\"action\":{{\"name\":\"read\"}},\
                 \"resource\":{{\"type\":\"doc\",\"id\":\"{resource}\"}},\"page\":{page}}}"
            )
        };
        for (page, expected) in [
            ("{}", Ok(SEARCH_PAGE)),
            ("{\"limit\":0}", Ok(0)),
            ("{\"limit\":9999}", Ok(SEARCH_PAGE_MAX)),
            ("{\"limit\":-1}", Err("/page/limit".to_owned())),
            ("{\"limit\":\"2\"}", Err("/page/limit".to_owned())),
            ("{\"token\":7}", Err("/page/token".to_owned())),
            ("{\"token\":\"guess\"}", Err("/page/token".to_owned())),
            ("[]", Err("/page".to_owned())),
        ] {
            let body = body("x", page);
            assert_eq!(read(&body, Sought::Subject).map(|search| search.limit), expected, "{page}");
        }
        let first = body("x", "{}");
        let first = read(&first, Sought::Subject).unwrap();
        let token = seal("bob é", Sought::Subject, &first.request, &SECRET);
        let page = format!("{{\"token\":\"{token}\"}}");
        let next = body("x", &page);
        assert_eq!(read(&next, Sought::Subject).unwrap().after.as_deref(), Some("bob é"));
        assert_eq!(read(&body("y", &page), Sought::Subject).unwrap_err(), "/page/token");
        let other = seal("bob é", Sought::Subject, &first.request, &[8; 32]);
        assert_ne!(other, token);
    }
}
