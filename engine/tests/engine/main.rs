//! The engine as its hosts use it: decisions, quotas, bounds. No IO, time is made up.

mod decide;
mod layout;
mod policies;
mod quota;
mod table;
