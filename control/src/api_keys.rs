//! API keys of the platform and of tenants: random, shown once, stored as a hash, revoked at once.
//!
//! `format` what one looks like, `checks` what a new one may be, `store` its SQL for both tables, `api` its routes.

pub mod api;
mod checks;
pub mod format;
pub mod store;
