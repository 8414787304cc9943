//! The HTTP door: AuthZEN, health and metrics over HTTP/1.1 and h2 on one Unix socket, gRPC beside
//! it.
//!
//! `accept` takes connections in, `stream` watches how a peer behaves, `reaper` ends those that are
//! too slow, `route` finds the handler: `evaluate`, `authorize`, `ops`, and `crate::grpc`. `answer`
//! makes responses. To add a route: a line in `route`, a handler, a row in docs/reference/http.md.

mod accept;
mod answer;
mod authorize;
mod evaluate;
mod ops;
mod reaper;
mod route;
mod search;
mod stream;

pub(crate) use accept::HttpDoor;
pub(crate) use answer::Answer;
pub(crate) use evaluate::tenant;
