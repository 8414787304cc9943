//! The routes of policies.

use super::check::{invalid, lint as linted, publishable, test as tested};
use super::compare;
use super::files::name as checked_name;
use super::{Files, store};
use crate::audit::Event;
use crate::bundle::{self, BundleVersion, apart};
use crate::call::{Call, Reply};
use crate::code::{Code, Refusal};
use crate::limits;
use crate::page::Page;
use crate::settings::is_second_person_needed;
use crate::write::{Stop, Write};
use serde::Deserialize;
use serde_json::{Value as Json, json};

fn name(call: &Call) -> Result<&str, Refusal> {
    checked_name(call.parameter(0))
}

fn no_policy(name: &str) -> Refusal {
    Refusal::not_found("policy", name)
}

/// `GET T/policies`.
pub async fn list(call: &Call) -> Result<Reply, Stop> {
    let page = Page::read(call)?;
    Ok(page.reply_of(store::names(&*call.tenant_conn().await?).await?))
}

/// `GET T/policies/{name}`: what was published last under this name.
pub async fn show(call: &Call) -> Result<Reply, Stop> {
    let name = name(call)?;
    let found = store::published(&*call.tenant_conn().await?, name, None).await?;
    let found = found.ok_or_else(|| no_policy(name))?;
    Ok(Reply::ok(found.json).etag(found.number))
}

/// `GET T/policies/{name}/draft`.
pub async fn show_draft(call: &Call) -> Result<Reply, Stop> {
    let draft = draft(call).await?;
    Ok(Reply::ok(draft.json).etag(draft.version))
}

async fn draft(call: &Call) -> Result<store::Draft, Refusal> {
    let name = name(call)?;
    let found = store::draft(&*call.tenant_conn().await?, name, false).await?;
    found.ok_or_else(|| Refusal::not_found("policy-draft", name))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Put {
    files: Files,
}

/// `PUT T/policies/{name}/draft`; the ETag of one that is not there is `"0"`.
pub async fn put_draft(call: &Call) -> Result<Reply, Stop> {
    let name = name(call)?;
    let Put { files } = call.read()?;
    files.check()?;
    change_draft(call, name, Some(files)).await
}

/// `DELETE T/policies/{name}/draft`.
pub async fn delete_draft(call: &Call) -> Result<Reply, Stop> {
    let name = name(call)?;
    draft(call).await?;
    change_draft(call, name, None).await
}

async fn change_draft(call: &Call, name: &str, files: Option<Files>) -> Result<Reply, Stop> {
    let mut conn = call.tenant_conn().await?;
    let mut write = Write::begin(call, &mut conn).await?;
    let before = store::draft(&write.tx, name, true).await?;
    call.match_version(before.as_ref().map_or(0, |draft| draft.version))?;
    let action = match &files {
        Some(files) => {
            store::put_draft(&write.tx, name, files, &call.caller.id).await?;
            "policy.drafted"
        }
        None => {
            store::delete_draft(&write.tx, name).await?;
            "policy.draft_deleted"
        }
    };
    let after = store::draft(&write.tx, name, false).await?;
    let event = Event {
        action,
        tenant_id: Some(&call.tenant()?.id),
        resource: ("policy", name),
        before: before.as_ref().map(|draft| &draft.json),
        after: after.as_ref().map(|draft| &draft.json),
    };
    write.audit(&event).await?;
    let reply = match after {
        Some(draft) => Reply::ok(draft.json).etag(draft.version),
        None => Reply::empty(),
    };
    write.finish(reply).await
}

/// What a policy is held against: the tenant, its bundle as it is now, and the limits of that.
async fn beside(call: &Call) -> Result<(String, BundleVersion, String), Refusal> {
    let defaults = limits::before(call).await?;
    let conn = call.tenant_conn().await?;
    // Read before the limits: whoever changes them meanwhile changes it.
    let bundle = bundle::version(&*conn).await?;
    Ok((call.tenant()?.id.clone(), bundle, limits::text(&*conn, &defaults).await?))
}

async fn drafted(call: &Call) -> Result<(String, store::Draft, String), Refusal> {
    let draft = draft(call).await?;
    let (tenant, _, limits) = beside(call).await?;
    Ok((tenant, draft, limits))
}

/// `POST T/policies/{name}/lint`: of the draft.
pub async fn lint(call: &Call) -> Result<Reply, Stop> {
    let (tenant, draft, limits) = drafted(call).await?;
    Ok(Reply::ok(apart(move || linted(&tenant, &draft.files, &limits)).await?))
}

/// `POST T/policies/{name}/test`: of the draft.
pub async fn test(call: &Call) -> Result<Reply, Stop> {
    let (tenant, draft, _) = drafted(call).await?;
    let outcome = apart(move || tested(&tenant, &draft.files)).await?;
    let outcome = outcome.map_err(|found| invalid(found.iter()))?;
    Ok(Reply::ok(outcome.json()))
}

/// `POST T/policies/{name}/diff`: who gains and loses by the draft, beside the policy in force.
pub async fn diff(call: &Call) -> Result<Reply, Stop> {
    let (tenant, draft, limits) = drafted(call).await?;
    let in_force = store::in_force(&*call.tenant_conn().await?).await?;
    let in_force = in_force.map(|published| published.files);
    let compared = apart(move || compare(&tenant, in_force.as_ref(), &draft.files, &limits));
    let compared = compared.await?.map_err(|found| invalid(found.iter()))?;
    Ok(Reply::ok(compared))
}

/// `POST T/policies/{name}/publish`: the draft comes into force as a version of its own.
pub async fn publish(call: &Call) -> Result<Reply, Stop> {
    let name = name(call)?;
    Write::replay(call, &mut *call.tenant_conn().await?).await?;
    let draft = draft(call).await?;
    let (tenant, bundle, limits) = beside(call).await?;
    if call.if_match.is_some() {
        call.match_version(draft.version)?;
    }
    if draft.updated_by == call.caller.id && is_second_person_needed(call).await? {
        let message =
            "policy.second_person: whoever wrote the draft last may not publish it; ask another";
        let details = json!({"permission": "policy:publish"});
        return Err(Refusal::new(Code::Forbidden, message).with(details).into());
    }
    let files = draft.files.clone();
    apart(move || publishable(&tenant, &files, &limits)).await??;
    put_in_force(call, name, &draft.files, ("policy.published", bundle, Some(draft.version))).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rollback {
    number: i64,
}

/// `POST T/policies/{name}/rollback`: an earlier version's files, again.
pub async fn rollback(call: &Call) -> Result<Reply, Stop> {
    let name = name(call)?;
    let Rollback { number } = call.read()?;
    Write::replay(call, &mut *call.tenant_conn().await?).await?;
    let found = store::published(&*call.tenant_conn().await?, name, Some(number)).await?;
    let found = found.ok_or_else(|| {
        Refusal::invalid("/number", "a version of the policy", number.to_string())
    })?;
    let (tenant, bundle, limits) = beside(call).await?;
    let files = found.files.clone();
    apart(move || publishable(&tenant, &files, &limits)).await??;
    put_in_force(call, name, &found.files, ("policy.rolled_back", bundle, None)).await
}

/// One transaction: the version, the bundle's number, the event. What changed since it was checked is not put in force.
async fn put_in_force(
    call: &Call,
    name: &str,
    files: &Files,
    (action, checked, draft_version): (&'static str, BundleVersion, Option<i64>),
) -> Result<Reply, Stop> {
    let defaults = limits::before(call).await?;
    let mut conn = call.tenant_conn().await?;
    let mut write = Write::begin(call, &mut conn).await?;
    let bundle: BundleVersion = bundle::bump(&write.tx).await?;
    limits::settle(&write.tx, bundle, &defaults).await?;
    let draft = store::draft(&write.tx, name, true).await?.map(|draft| draft.version);
    if bundle.seq != checked.seq + 1 || (draft_version.is_some() && draft != draft_version) {
        let message = "the draft or the bundle changed while it was checked; look again";
        let refusal = Refusal::new(Code::VersionMismatch, message);
        return Err(write.refuse(refusal.with(json!({"version": draft.unwrap_or(0)}))).await);
    }
    let before = store::in_force(&write.tx).await?;
    let number = store::publish(&write.tx, name, files, (&call.caller.id, bundle)).await?;
    let after = store::published(&write.tx, name, Some(number)).await?;
    let after = after.ok_or_else(|| Refusal::internal("a version vanished"))?;
    let event = Event {
        action,
        tenant_id: Some(&call.tenant()?.id),
        resource: ("policy", name),
        before: before.as_ref().map(|published| &published.json),
        after: Some(&after.json),
    };
    write.audit(&event).await?;
    let mut body = after.json;
    body["bundle"] = bundle.json();
    let reply = write.finish(Reply::ok(body).etag(number)).await?;
    if !call.is_dry_run {
        bundle::tell(call, bundle).await;
    }
    Ok(reply)
}

/// `GET T/policies/{name}/versions`.
pub async fn versions(call: &Call) -> Result<Reply, Stop> {
    let (page, name) = (Page::read(call)?, name(call)?);
    let found = store::versions(&*call.tenant_conn().await?, name).await?;
    // In the order of their numbers.
    Ok(page.reply_of(found.into_iter().map(|(number, json)| (format!("{number:020}"), json))))
}

/// `GET T/policies/{name}/versions/{number}`.
pub async fn version(call: &Call) -> Result<Reply, Stop> {
    let name = name(call)?;
    let asked = call.parameter(1);
    let missing = || Refusal::not_found("policy-version", asked);
    let number: i64 = asked.parse().map_err(|_| missing())?;
    let found = store::published(&*call.tenant_conn().await?, name, Some(number)).await?;
    let found = found.ok_or_else(missing)?;
    let json: Json = found.json;
    Ok(Reply::ok(json).etag(found.number))
}
