//! Calls to identity providers: bounded in time and size, over TLS that is trusted, never to where they are redirected.

use crate::secret::SecretText;
use serde_json::Value as Json;
use std::time::Duration;
use ureq::http::Response;
use ureq::{Agent, Body};

const TIMEOUT: Duration = Duration::from_secs(5);
const DOCUMENT_BYTES_MAX: u64 = 262_144;

/// The JSON document at an address.
///
/// # Errors
/// A sentence.
pub(super) async fn get(url: &str) -> Result<Json, String> {
    let of = url.to_owned();
    asked(url, move |agent| agent.get(of).call()).await
}

/// What a form is answered with; the client's id and secret go by HTTP Basic (RFC 6749, 2.3.1).
///
/// # Errors
/// A sentence, with the answer's `error` (RFC 6749, 5.2) if there is one.
pub(super) async fn post(
    url: &str,
    form: Vec<(&'static str, String)>,
    basic: Option<SecretText>,
) -> Result<Json, String> {
    let of = url.to_owned();
    asked(url, move |agent| {
        let mut request = agent.post(of).header("accept", "application/json");
        if let Some(basic) = basic {
            request = request.header("authorization", basic.expose());
        }
        request.send_form(form)
    })
    .await
}

async fn asked(
    url: &str,
    ask: impl FnOnce(Agent) -> Result<Response<Body>, ureq::Error> + Send + 'static,
) -> Result<Json, String> {
    let url = url.to_owned();
    let work = tokio::task::spawn_blocking(move || {
        let agent = Agent::config_builder()
            .tls_config(crate::spans::trusted())
            .timeout_global(Some(TIMEOUT))
            .max_redirects(0)
            .http_status_as_error(false)
            .build();
        let said = |error: ureq::Error| format!("{url}: {error}");
        let mut answer = ask(agent.into()).map_err(said)?;
        let text = answer.body_mut().with_config().limit(DOCUMENT_BYTES_MAX).read_to_string();
        let text = text.map_err(said)?;
        let document: Result<Json, _> = serde_json::from_str(&text);
        match (answer.status().is_success(), document) {
            (true, Ok(document)) => Ok(document),
            (true, Err(error)) => Err(format!("{url}: {error}")),
            (false, document) => {
                let error = document.unwrap_or_default()["error"].as_str().map(str::to_owned);
                Err(format!("{url}: {} {}", answer.status(), error.unwrap_or_default()))
            }
        }
    });
    work.await.map_err(|error| error.to_string())?
}
