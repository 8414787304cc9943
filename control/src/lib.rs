//! The control plane: tenants with a database each, keys, settings and audit over REST.
//!
//! `wire` checks every call by the API's conventions, `routes` names what each route needs, `authority` asks our
//! own engine, a noun's module (`tenants`, `operations`, `api_keys`, `settings`, `clusters`, `policies`, `limits`, `audit_events`, `me`; of people: `users`,
//! `groups`, `roles`, `role_bindings`, `access`; of where they come from: `identity_providers`, `organisations`; for emergencies:
//! `break_glass`, `kill_switches`) answers. `write` is the one way to change something, `audit` the one way to say so, `chain` what makes it tamper-evident, `pools` the one way to a
//! database: a tenant's only for a `placement::VerifiedTenant`. `bundle` is what a tenant's sidecars get, `provision` makes databases in the background, `publish` writes
//! what sidecars decide by.
//! To add a route: a row in `routes`, a handler, its permission in `policies/control-plane/policy.csv`.

#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::panic, clippy::cast_possible_truncation))]

pub mod access;
mod admins;
pub mod api_keys;
pub mod audit;
pub mod audit_events;
pub mod audit_exports;
pub mod authority;
pub mod backup;
pub mod bootstrap;
pub mod break_glass;
pub mod bundle;
pub mod call;
pub mod chain;
pub mod clusters;
pub mod code;
pub mod config;
pub mod copies;
pub mod credential;
pub mod database;
pub mod denials;
pub mod epochs;
pub mod fleet;
pub mod floods;
pub mod groups;
pub mod identity_providers;
pub mod kill_switches;
pub mod lease;
pub mod limits;
pub mod listing;
pub mod me;
pub mod migrate;
mod noun;
pub mod openapi;
pub mod operations;
pub mod ops;
pub mod organisations;
pub mod page;
pub mod placement;
mod planted;
pub mod policies;
pub mod pools;
pub mod provision;
pub mod publish;
pub mod random;
pub mod rekey;
pub mod role_bindings;
pub mod roles;
pub mod routes;
mod sealed;
pub mod secret;
pub mod serve;
pub mod service;
pub mod settings;
pub mod sidecars;
pub mod sign_on;
pub mod signing;
pub mod spans;
pub mod sql;
pub mod tenants;
pub mod users;
pub mod wire;
pub mod write;

/// What a database said, without the statement's values.
pub(crate) fn said(error: &tokio_postgres::Error) -> String {
    error.as_db_error().map_or_else(
        || {
            let source = std::error::Error::source(error);
            source.map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
        },
        |error| format!("{} ({})", error.message(), error.code().code()),
    )
}
