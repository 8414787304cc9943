//! Who am I, and what may I do.

use crate::call::{Call, Reply};
use crate::write::Stop;
use serde_json::json;

/// `GET /v1/me`.
pub async fn show(call: &Call) -> Result<Reply, Stop> {
    let caller = &call.caller;
    Ok(Reply::ok(json!({
        "subject": {"type": caller.kind.name(), "id": caller.id, "name": caller.name},
        "tenant": caller.tenant(),
        "roles": caller.roles,
        "permissions": call.service.authority.permissions_of(caller),
        "authenticated_at": caller.signed_in.as_ref().and_then(|sign_in| sign_in.authenticated_at.as_ref()),
        "acr": caller.signed_in.as_ref().and_then(|sign_in| sign_in.acr.as_ref()),
    })))
}
