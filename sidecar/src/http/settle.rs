//! `POST /v1/settle`: the true amounts of a reservation.

use super::answer::{Answer, Refused, json};
use super::evaluate::read;
use super::route::Session;
use http::{Request, StatusCode};
use hyper::body::Incoming;
use std::time::Duration;
use tollgate_engine::SettleCode;
use tollgate_proto::authzen::{self, SettleBody, what_to_do};

/// Settles, and says what became of the reservation.
pub(super) async fn answer(
    session: &Session,
    request: Request<Incoming>,
    age: Duration,
) -> Result<Answer, Refused> {
    let (_, body) = read(session, request, age).await?;
    let (settlement, written) = session.shared().settle(&authzen::settle(&body)?);
    let settlement = session.shared().settled(settlement, written.wait().await);
    let code = settlement.code;
    let status = match code {
        SettleCode::UnknownReservation => StatusCode::NOT_FOUND,
        SettleCode::UnknownMeter => StatusCode::BAD_REQUEST,
        SettleCode::Busy => StatusCode::SERVICE_UNAVAILABLE,
        _ => return Ok(json(StatusCode::OK, &SettleBody::from(settlement))),
    };
    Err(Refused::new(status, code.name(), what_to_do(code)))
}
