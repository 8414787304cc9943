//! The routes of limits.

use super::{Limit, all, before, delete as removed, put as kept, settle, text_of};
use crate::audit::Event;
use crate::bundle::{self, apart, compile};
use crate::call::{Call, Reply};
use crate::code::Refusal;
use crate::page::Page;
use crate::policies::{Files, store};
use crate::publish::new_policy;
use crate::write::{Stop, Write};
use serde_json::{Map, Value as Json, json};
use tollgate_proto::findings::findings;

const MANAGED_BY_CHARS_MAX: usize = 64;

async fn found(call: &Call) -> Result<Vec<Limit>, Refusal> {
    let defaults = before(call).await?;
    all(&*call.tenant_conn().await?, &defaults).await
}

/// `GET T/limits`.
pub async fn list(call: &Call) -> Result<Reply, Stop> {
    let page = Page::read(call)?;
    let limits = found(call).await?;
    Ok(page.reply_of(limits.into_iter().map(|limit| (limit.id.clone(), limit.json()))))
}

/// `GET T/limits/{id}`.
pub async fn show(call: &Call) -> Result<Reply, Stop> {
    let id = call.parameter(0);
    let limit = found(call).await?.into_iter().find(|limit| limit.id == id);
    let limit = limit.ok_or_else(|| Refusal::not_found("limit", id))?;
    Ok(Reply::ok(limit.json()).etag(limit.version))
}

/// `PUT T/limits/{id}`: the members of the limit; the ETag of one that is not there is `"0"`.
pub async fn put(call: &Call) -> Result<Reply, Stop> {
    let id = call.parameter(0);
    let mut document: Map<String, Json> = call.read()?;
    // What an answer shows may be sent back.
    document.remove("version");
    match document.remove("id") {
        Some(named) if named != id => {
            return Err(Refusal::invalid(
                "/id",
                &format!("`{id}`, as the path says"),
                named.to_string(),
            )
            .into());
        }
        _ => {}
    }
    let managed_by = managed_by(&mut document)?;
    change(call, id, Some((document, managed_by))).await
}

/// Takes out who keeps a limit: no member of limits.toml.
fn managed_by(document: &mut Map<String, Json>) -> Result<Option<String>, Refusal> {
    let is_name = |text: &str| {
        (1..=MANAGED_BY_CHARS_MAX).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic())
    };
    match document.remove("managed_by") {
        None | Some(Json::Null) => Ok(None),
        Some(Json::String(text)) if is_name(&text) => Ok(Some(text)),
        Some(other) => {
            let expected = format!("1-{MANAGED_BY_CHARS_MAX} visible ASCII characters, or null");
            Err(Refusal::invalid("/managed_by", &expected, other.to_string()))
        }
    }
}

/// `DELETE T/limits/{id}`.
pub async fn delete(call: &Call) -> Result<Reply, Stop> {
    let id = call.parameter(0);
    if !found(call).await?.iter().any(|limit| limit.id == id) {
        return Err(Refusal::not_found("limit", id).into());
    }
    change(call, id, None).await
}

/// A limit's members, and who keeps it.
type Written = (Map<String, Json>, Option<String>);

async fn change(call: &Call, id: &str, written: Option<Written>) -> Result<Reply, Stop> {
    let defaults = before(call).await?;
    let mut conn = call.tenant_conn().await?;
    let mut write = Write::begin(call, &mut conn).await?;
    let was: Option<Json> = {
        let limits = all(&write.tx, &defaults).await?;
        limits.iter().find(|limit| limit.id == id).map(Limit::json)
    };
    call.match_version(was.as_ref().map_or(0, |limit| limit["version"].as_i64().unwrap_or(0)))?;
    // Whoever changes the bundle at the same time waits here, and finds another version then.
    let bundle = bundle::bump(&write.tx).await?;
    settle(&write.tx, bundle, &defaults).await?;
    let action = match &written {
        Some((document, managed_by)) => {
            kept(&write.tx, id, document, managed_by.as_deref()).await?;
            "limit.updated"
        }
        None => {
            removed(&write.tx, id).await?;
            "limit.deleted"
        }
    };
    let limits = all(&write.tx, "").await?;
    let policy = store::in_force(&write.tx).await?.map_or_else(new_policy, |own| own.files);
    let (tenant, own) = (call.tenant()?.id.clone(), limits.clone());
    if let Err(refusal) = apart(move || loads(&tenant, &policy, &own)).await? {
        return Err(write.refuse(refusal).await);
    }
    let after = limits.iter().find(|limit| limit.id == id);
    let shown = after.map(Limit::json);
    let event = Event {
        action,
        tenant_id: Some(&call.tenant()?.id),
        resource: ("limit", id),
        before: was.as_ref(),
        after: shown.as_ref(),
    };
    write.audit(&event).await?;
    let reply = match (after, shown) {
        (Some(limit), Some(json)) => Reply::ok(json).etag(limit.version),
        _ => Reply::empty(),
    };
    let reply = write.finish(reply).await?;
    if !call.is_dry_run {
        bundle::tell(call, bundle).await;
    }
    Ok(reply)
}

/// Refuses limits that do not load beside the policy in force.
fn loads(tenant: &str, policy: &Files, limits: &[Limit]) -> Result<(), Refusal> {
    // A text of limits.toml has no null.
    let expected = "a limit as limits.toml has it, without null";
    let text =
        text_of(limits).map_err(|_| Refusal::invalid("", expected, "one that it cannot have"))?;
    compile(tenant, policy, &text).map(drop).map_err(|found| {
        let refusal = Refusal::invalid("", expected, "limits that do not load");
        let mut details = refusal.details.clone();
        details["diagnostics"] = json!(findings(found.iter()));
        refusal.with(details)
    })
}
