//! The sidecar as a process: real sockets, real files, bad peers. Each test has its own folder and
//! ends its sidecar by its process id.

#![allow(clippy::print_stdout, reason = "`--nocapture` shows how long an edit took")]

mod answers;
mod common;
mod crash;
mod decisions;
mod doors;
mod doubt;
mod frame;
mod h2;
mod http;
mod overrides;
mod quotas;
mod reserve;
mod sdks;
mod slow;
mod storage;
mod thresholds;
