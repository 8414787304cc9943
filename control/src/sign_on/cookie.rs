//! Cookies (RFC 6265bis): with the prefix `__Host-` a browser takes them over TLS from this host alone and sends them to
//! no other; scripts cannot read them, and calls that other sites begin do not carry them but for a link that is followed.

use http::{HeaderMap, header};

/// The secret of a session.
pub(crate) const SESSION: &str = "__Host-tollgate_session";
/// What a sign-in was begun with.
pub(super) const SIGN_IN: &str = "__Host-tollgate_sign_in";

/// Every value that a request carries under a name.
pub(crate) fn values<'h>(headers: &'h HeaderMap, name: &str) -> Vec<&'h str> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = all.flat_map(|all| all.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.filter(|(known, _)| *known == name).map(|(_, value)| value).collect()
}

/// The header that sets one; without seconds to live it is taken back.
pub(super) fn set(name: &str, value: &str, max_age_seconds: u64) -> String {
    format!("{name}={value}; Path=/; Max-Age={max_age_seconds}; Secure; HttpOnly; SameSite=Lax")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        let mut headers = HeaderMap::new();
        for line in ["a=1; __Host-tollgate_session=x=y;b", "__Host-tollgate_session2=z"] {
            headers.append(header::COOKIE, line.parse().unwrap());
        }
        assert_eq!(values(&headers, SESSION), ["x=y"]);
        headers.append(header::COOKIE, "__Host-tollgate_session=w".parse().unwrap());
        assert_eq!(values(&headers, SESSION), ["x=y", "w"]);
        assert!(values(&headers, SIGN_IN).is_empty());
    }
}
