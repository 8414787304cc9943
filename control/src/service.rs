//! What all calls share.

use crate::authority::Authority;
use crate::chain::Noted;
use crate::config::Config;
use crate::denials::Denials;
use crate::floods::Floods;
use crate::pools::Pools;
use crate::sign_on::keys::IssuerKeys;
use crate::spans::Spans;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use std::num::NonZeroU32;
use tokio::sync::Notify;

/// The running service.
#[allow(missing_debug_implementations, reason = "holds the master key")]
pub struct Service {
    pub config: Config,
    pub pools: Pools,
    pub authority: Authority,
    /// Calls by credential.
    pub rates: DefaultKeyedRateLimiter<String>,
    /// Refused credentials by address.
    pub floods: Floods,
    /// Of identity providers.
    pub issuer_keys: IssuerKeys,
    pub spans: Spans,
    /// Refused calls that the audit log does not tell of yet.
    pub denials: Denials,
    /// Logs with events that have no number yet.
    pub noted: Noted,
    /// Told when there is something to provision.
    pub wake: Notify,
    /// Told when a tenant became active or suspended.
    pub to_publish: Notify,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Service")
    }
}

impl Service {
    /// # Errors
    /// The built-in policy does not load, or the endpoint of traces is none.
    pub fn new(config: Config, pools: Pools) -> Result<Service, String> {
        let rate = NonZeroU32::new(config.api.rate_per_minute).unwrap_or(NonZeroU32::MIN);
        Ok(Service {
            authority: Authority::new()?,
            rates: RateLimiter::keyed(Quota::per_minute(rate)),
            floods: Floods::new(config.api.unauthenticated_per_minute),
            spans: Spans::to(&config.otel.endpoint)?,
            issuer_keys: IssuerKeys::default(),
            denials: Denials::default(),
            noted: Noted::default(),
            wake: Notify::new(),
            to_publish: Notify::new(),
            pools,
            config,
        })
    }
}

impl Service {
    /// A link as clients reach it, behind any prefix.
    pub fn link(&self, path: &str) -> String {
        format!("{}{path}", self.prefix())
    }

    /// The origin of `platform.public_url` (RFC 6454): scheme, host and port.
    pub fn origin(&self) -> &str {
        let url = self.config.platform.public_url.as_str();
        let host = url.find("://").map_or(0, |at| at + 3);
        let end = url[host..].find('/').map_or(url.len(), |at| host + at);
        &url[..end]
    }

    /// A path without the prefix of `platform.public_url`: a proxy in front may or may not take it away.
    pub fn own_path<'p>(&self, path: &'p str) -> &'p str {
        let rest = path.strip_prefix(self.prefix()).filter(|rest| rest.starts_with('/'));
        rest.unwrap_or(path)
    }

    /// The path of `platform.public_url`, empty or as `/a/b`.
    fn prefix(&self) -> &str {
        let base = self.config.platform.public_url.trim_end_matches('/');
        let rest = base.split_once("://").map_or("", |(_, rest)| rest);
        rest.find('/').map_or("", |at| &rest[at..])
    }
}
