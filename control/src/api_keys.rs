//! API keys of the platform and of tenants: random, shown once, stored as a hash, revoked at once.
//!
//! `format` what one looks like, `store` its SQL for both tables, `api` its routes.

pub mod api;
pub mod format;
pub mod store;
