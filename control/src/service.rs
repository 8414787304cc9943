//! What all calls share.

use crate::authority::Authority;
use crate::config::Config;
use crate::denials::Denials;
use crate::pools::Pools;
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
    pub failures: DefaultKeyedRateLimiter<String>,
    /// Refused calls that the audit log does not tell of yet.
    pub denials: Denials,
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
    /// The built-in policy does not load.
    pub fn new(config: Config, pools: Pools) -> Result<Service, String> {
        let per_minute = |count: u32| {
            RateLimiter::keyed(Quota::per_minute(NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN)))
        };
        Ok(Service {
            authority: Authority::new()?,
            rates: per_minute(config.api.rate_per_minute),
            failures: per_minute(config.api.unauthenticated_per_minute),
            denials: Denials::default(),
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
        let base = self.config.platform.public_url.trim_end_matches('/');
        let prefix = base
            .split_once("://")
            .map_or("", |(_, rest)| rest.split_once('/').map_or("", |(_, path)| path));
        match prefix.is_empty() {
            true => path.to_owned(),
            false => format!("/{prefix}{path}"),
        }
    }
}
