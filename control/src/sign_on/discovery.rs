//! What an issuer says of itself (OpenID Connect Discovery 1.0): where its keys are, where people sign in and out.

use super::http::get;
use super::provider::is_reachable;
use serde_json::Value as Json;

/// Addresses of an issuer; those that it does not have, or that are no address, are none.
#[derive(Debug, Clone)]
pub(super) struct Issuer {
    pub(super) jwks_uri: Option<String>,
    pub(super) authorization_endpoint: Option<String>,
    pub(super) token_endpoint: Option<String>,
    pub(super) end_session_endpoint: Option<String>,
    /// It takes a client's secret in the form alone.
    pub(super) posts_secrets: bool,
}

impl Issuer {
    /// The document of an issuer, if it is its own.
    ///
    /// # Errors
    /// A sentence.
    pub(super) async fn discovered(issuer: &str) -> Result<Issuer, String> {
        let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let document = get(&url).await?;
        if document["issuer"] != issuer {
            return Err(format!("{url} is of another issuer: {}", document["issuer"]));
        }
        let address = |name: &str| {
            document[name].as_str().filter(|place| is_reachable(place)).map(str::to_owned)
        };
        let methods = document["token_endpoint_auth_methods_supported"].as_array();
        let takes = |method: &str| {
            methods.into_iter().flatten().filter_map(Json::as_str).any(|known| known == method)
        };
        Ok(Issuer {
            jwks_uri: address("jwks_uri"),
            authorization_endpoint: address("authorization_endpoint"),
            token_endpoint: address("token_endpoint"),
            end_session_endpoint: address("end_session_endpoint"),
            posts_secrets: takes("client_secret_post") && !takes("client_secret_basic"),
        })
    }
}
