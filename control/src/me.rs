//! Who am I, and what may I do.

use crate::call::{Call, Reply};
use crate::page::Page;
use crate::write::Stop;
use serde_json::json;

/// `GET /v1/me`.
pub async fn show(call: &Call) -> Result<Reply, Stop> {
    let caller = &call.caller;
    Ok(Reply::ok(json!({
        "subject": {"type": "api-key", "id": caller.id, "name": caller.name},
        "tenant": caller.tenant(),
        "roles": caller.roles,
        "permissions": call.service.authority.permissions_of(caller),
        "authenticated_at": null,
        "acr": null,
    })))
}

/// `GET /v1/roles`: built-in roles and their permissions.
pub async fn roles(call: &Call) -> Result<Reply, Stop> {
    let page = Page::read(call)?;
    let roles = call.service.authority.roles().into_iter().map(|(name, permissions)| {
        let role = json!({"name": name, "permissions": permissions, "origin": "built-in"});
        (name.to_owned(), role)
    });
    Ok(page.reply_of(roles))
}
