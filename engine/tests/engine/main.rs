//! The engine as its hosts use it: decisions, quotas, bounds. No IO, time is made up.

mod compare;
mod decide;
mod edges;
mod estimate;
mod failure;
mod layout;
mod link_patterns;
mod lint;
mod perm;
mod policies;
mod quota;
mod reserve;
mod schema;
mod search;
mod table;
