//! The API's operations as calls, made from its OpenAPI document when this is built (`build.rs`).

#![allow(
    dead_code,
    elided_lifetimes_in_paths,
    reason = "the document has operations that no command needs; what is generated need not show lifetimes"
)]

use serde_json::{Map, Value as Json, json};

/// A call that is to be made.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) body: Option<Json>,
    /// The object is read first, for its ETag.
    pub(crate) needs_etag: bool,
}

include!(concat!(env!("OUT_DIR"), "/calls.rs"));

impl Call {
    /// The same with one more member of the query.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Call {
        let sign = if self.path.contains('?') { '&' } else { '?' };
        self.path.push(sign);
        self.path += &format!("{name}={}", segment(value));
        self
    }
}

/// A text as a segment of a path or a value of a query (RFC 3986).
pub(crate) fn segment(text: &str) -> String {
    let escaped = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(escaped).collect()
}

fn query_of(members: &Json) -> String {
    let pair = |(name, value): (&String, &Json)| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        format!("{name}={}", segment(&text))
    };
    let pairs: Vec<String> = members.as_object().into_iter().flatten().map(pair).collect();
    if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_never_change_what_is_called() {
        let call = get_tenants_tenant_id("a/../b?x=1");
        assert_eq!((call.method, call.path.as_str()), ("GET", "/v1/tenants/a%2F..%2Fb%3Fx%3D1"));
        let query = TenantQuery { search: Some("a&b=c d"), limit: Some(7), ..Default::default() };
        let call = get_tenants(&query).with("cursor", "x+/=");
        assert_eq!(call.path, "/v1/tenants?limit=7&search=a%26b%3Dc%20d&cursor=x%2B%2F%3D");
        let body = SettingPut { value: &json!({"days": 1}) };
        let call = put_settings_key("audit.retention_days", &body);
        assert_eq!(call.body, Some(json!({"value": {"days": 1}})));
        assert!(call.needs_etag);
        let rotate = post_api_keys_id_rotate("key_1", &Rotate { overlap_seconds: 60 });
        assert_eq!(rotate.body, Some(json!({"overlap_seconds": 60})));
        assert!(!rotate.needs_etag);
    }
}
