//! Regions: what is attached to and what is refused; and what a death at any instruction leaves, planted word by word.
//! Nothing here starts a process: until it runs its own program, a child holds what its parent locked.

mod common;
mod deaths;
mod opening;
