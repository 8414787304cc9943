//! Operations: work that outlives a call, in steps that can be taken up again.

pub mod api;
pub mod store;
pub mod work;
