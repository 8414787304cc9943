//! The control plane as a process: a Postgres of its own, HTTP from outside, psql beside it. One cluster for all tests of a
//! run, on a socket in its own folder; it ends with this process.

mod backups;
mod break_glass;
mod browser;
mod chain;
mod cluster;
mod clusters;
mod codes;
mod conform;
mod figures;
mod fleet;
mod fuzzed;
mod isolation;
mod keycloak;
mod keys;
mod lists;
mod offboarding;
mod oidc;
mod owasp;
mod people;
mod platform_people;
mod policies;
mod pooler;
mod prefix;
mod provisioning;
mod publishing;
mod service;
mod sign_on;
mod tls;
mod tokens;
mod traces;
mod wire;
