//! AuthZEN discovery: what the door says of itself under its public address.
//!
//! The address is configuration, never taken from a request: clients compare it byte for byte.

use serde_json::Value as Json;

const WELL_KNOWN: &str = "/.well-known/authzen-configuration";

/// The public address of the HTTP door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Authzen {
    url: String,
    /// Path of the address, without a slash at its end.
    path: String,
}

impl Authzen {
    /// The address of a setting; `None` if it is empty.
    ///
    /// # Errors
    /// No https URL, or one with query, fragment, user or control bytes.
    pub(crate) fn parse(text: &str) -> Result<Option<Authzen>, String> {
        if text.is_empty() {
            return Ok(None);
        }
        let parsed = text.parse::<http::Uri>().ok().filter(|uri| {
            let authority = uri.authority().map_or("@", http::uri::Authority::as_str);
            uri.scheme_str() == Some("https") && !authority.contains('@') && uri.query().is_none()
        });
        let url = text.trim_end_matches('/').to_owned();
        match parsed {
            Some(uri) if !text.contains('#') => {
                let path = uri.path().trim_end_matches('/').to_owned();
                Ok(Some(Authzen { url, path }))
            }
            _ => Err(format!(
                "`authzen.public_url`: `{text}` is no https URL without user, query and fragment"
            )),
        }
    }

    /// The metadata document, if it stands at this path: the well-known part goes between host and
    /// path of the address.
    pub(crate) fn metadata(&self, path: &str) -> Option<Json> {
        let below = path.strip_prefix(WELL_KNOWN)?;
        let url = &self.url;
        (below == self.path).then(|| {
            serde_json::json!({
                "policy_decision_point": url,
                "access_evaluation_endpoint": format!("{url}/access/v1/evaluation"),
                "access_evaluations_endpoint": format!("{url}/access/v1/evaluations"),
                "search_subject_endpoint": format!("{url}/access/v1/search/subject"),
                "search_resource_endpoint": format!("{url}/access/v1/search/resource"),
                "search_action_endpoint": format!("{url}/access/v1/search/action"),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_https_and_nothing_more() {
        for (text, expected) in [
            ("https://pdp.example", true),
            ("https://pdp.example:8443/t1/", true),
            ("http://pdp.example", false),
            ("https://pdp.example?x", false),
            ("https://pdp.example#x", false),
            ("https://me@pdp.example", false),
            ("pdp.example", false),
        ] {
            assert_eq!(Authzen::parse(text).is_ok(), expected, "{text}");
        }
        assert_eq!(Authzen::parse(""), Ok(None));
    }

    #[test]
    fn the_document_stands_between_host_and_path() {
        let plain = Authzen::parse("https://pdp.example").unwrap().unwrap();
        assert!(plain.metadata(WELL_KNOWN).is_some());
        assert!(plain.metadata("/.well-known/authzen-configuration/t1").is_none());
        let below = Authzen::parse("https://pdp.example/t1").unwrap().unwrap();
        let found = below.metadata("/.well-known/authzen-configuration/t1").unwrap();
        assert_eq!(found["policy_decision_point"], "https://pdp.example/t1");
        assert_eq!(
            found["access_evaluation_endpoint"],
            "https://pdp.example/t1/access/v1/evaluation"
        );
    }
}
