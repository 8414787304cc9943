//! The HTTP door: AuthZEN, health and metrics over HTTP/1.1 and h2 on one Unix socket, gRPC beside
//! it.
//!
//! `accept` takes connections in, `stream` watches how a peer behaves, `reaper` ends those that are
//! too slow, `route` finds the handler: `evaluate`, `settle`, `authorize`, `ops`, and `crate::grpc`. `answer`
//! makes responses, `refusal` and `limits` the body and headers that a client is refused with. To add a route: a line in `route`, a handler, a row in docs/reference/http.md.

mod accept;
mod answer;
mod authorize;
mod evaluate;
mod limits;
mod ops;
mod reaper;
mod refusal;
mod route;
mod search;
mod settle;
mod stream;

pub(crate) use accept::HttpDoor;
pub(crate) use answer::Answer;
pub(crate) use evaluate::tenant;
