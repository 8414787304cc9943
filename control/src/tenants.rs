//! Tenants: made by a resumable operation, suspended and resumed at once, erased by another (`offboard`).
//!
//! `model` what one is, `store` its SQL, `api` its routes. To add a member: the column in a new migration,
//! `model`, `store::COLUMNS`, the page.

pub mod api;
pub(crate) mod erase;
mod janitor;
pub mod model;
pub mod offboard;
pub mod store;
