//! A code for the token that says who somebody is (OpenID Connect Core 1.0, 3.1.3), as this API is a client of the provider.

use super::Reason;
use super::browser::{issuer, no_provider, redirect_uri, with_query};
use super::provider::Provider;
use crate::code::Refusal;
use crate::sealed;
use crate::secret::SecretText;
use crate::service::Service;
use crate::sql::{self, text};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value as Json};

/// What the secret of a client is sealed for.
pub(crate) const SECRET_LABEL: &str = "client-secrets";

/// The ID token that a code is exchanged for.
///
/// # Errors
/// `unauthenticated` where the provider refuses it.
pub(super) async fn token(
    service: &Service,
    provider: &Provider,
    code: &str,
    verifier: &str,
) -> Result<String, Refusal> {
    let issuer = issuer(service, provider).await?;
    let place = issuer.token_endpoint.ok_or(Reason::Provider)?;
    let client = provider.client_id.clone().unwrap_or_default();
    let secret = client_secret(service, provider).await?;
    let mut form = vec![
        ("grant_type", "authorization_code".to_owned()),
        ("code", code.to_owned()),
        ("redirect_uri", redirect_uri(service)),
        ("code_verifier", verifier.to_owned()),
    ];
    let basic = match secret {
        Some(secret) if issuer.posts_secrets => {
            form.extend([("client_id", client), ("client_secret", secret.expose().to_owned())]);
            None
        }
        Some(secret) => {
            let pair = [client.as_str(), secret.expose()]
                .map(|part| with_query("", &[("", part)]).split_off(2));
            Some(SecretText::new(format!("Basic {}", STANDARD.encode(pair.join(":")))))
        }
        None => {
            form.push(("client_id", client));
            None
        }
    };
    let answer = super::http::post(&place, form, basic)
        .await
        .map_err(|cause| no_provider(provider, &cause))?;
    let token = answer["id_token"].as_str().map(str::to_owned);
    token.ok_or_else(|| no_provider(provider, "no `id_token` in the answer to a code"))
}

async fn client_secret(
    service: &Service,
    provider: &Provider,
) -> Result<Option<SecretText>, Refusal> {
    let platform = service.pools.platform().await?;
    let statement = "SELECT client_secret FROM identity_providers WHERE id = $1";
    let row = sql::first(&platform, statement, &[text(&provider.id)]).await?;
    let Some(sealed) = row.and_then(|row| row.get::<_, Option<Vec<u8>>>(0)) else {
        return Ok(None);
    };
    let opened = sealed::open(service.pools.masters(), SECRET_LABEL, &provider.id, &sealed);
    let opened = opened.and_then(|opened| String::from_utf8(opened).ok());
    let lost = || Refusal::internal("a client's secret does not open under this master key");
    opened.map(|secret| Some(SecretText::new(secret))).ok_or_else(lost)
}

/// What an ID token must say beside what every token must (OpenID Connect Core 1.0, 3.1.3.7).
pub(super) fn check(
    claims: &Map<String, Json>,
    client: &[String],
    nonce: &str,
) -> Result<(), Reason> {
    let client = client.first().map(String::as_str);
    let is_for_several =
        claims.get("aud").and_then(Json::as_array).is_some_and(|all| all.len() > 1);
    let party = claims.get("azp").map(|party| party.as_str());
    let is_party = party.map_or(!is_for_several, |party| party == client);
    match claims.get("nonce").and_then(Json::as_str) == Some(nonce)
        && is_party
        && claims.contains_key("iat")
    {
        true => Ok(()),
        false => Err(Reason::Claims),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_id_token_is_for_this_sign_in_and_this_client() {
        let client = ["us".to_owned()];
        for (claims, is_right) in [
            (json!({"iat": 1, "nonce": "n", "aud": "us"}), true),
            (json!({"iat": 1, "nonce": "n", "aud": ["us"], "azp": "us"}), true),
            (json!({"iat": 1, "nonce": "n", "aud": ["us", "them"], "azp": "us"}), true),
            (json!({"iat": 1, "nonce": "n", "aud": ["us", "them"]}), false),
            (json!({"iat": 1, "nonce": "n", "aud": ["us"], "azp": "them"}), false),
            (json!({"iat": 1, "nonce": "n", "aud": ["us"], "azp": null}), false),
            (json!({"iat": 1, "nonce": "m", "aud": ["us"]}), false),
            (json!({"iat": 1, "aud": ["us"]}), false),
            (json!({"nonce": "n", "aud": ["us"]}), false),
        ] {
            let checked = check(claims.as_object().unwrap(), &client, "n");
            assert_eq!(checked.is_ok(), is_right, "{claims}");
        }
    }
}
