//! Reading the audit log: the platform's, or a tenant's own.

use crate::audit::{COLUMNS, shown};
use crate::call::{Call, Reply};
use crate::code::Refusal;
use crate::listing::{Key, Listing, Order};
use crate::page::Page;
use crate::sql::text;
use crate::write::Stop;
use jiff::Timestamp;

/// Their ids begin with their time.
const ORDERS: &[Order] = &[Order { name: "at", key: Key::Unique("id") }];

/// `GET …/audit-events`, oldest first.
pub async fn list(call: &Call) -> Result<Reply, Stop> {
    let page = Page::read(call)?;
    let filter = |name: &str| call.query.get(name).cloned();
    let (from, to) = (time(call, "from")?, time(call, "to")?);
    let log = filter("log")
        .unwrap_or_else(|| if call.tenant.is_some() { "tenant" } else { "platform" }.to_owned());
    if !["tenant", "platform"].contains(&log.as_str()) || (call.tenant.is_none() && log == "tenant")
    {
        return Err(Refusal::invalid("/log", "`tenant` or `platform`", log).into());
    }
    let tenant =
        call.tenant.as_ref().filter(|_| log == "platform").map(|tenant| tenant.id.as_str());
    let given = |name: &str| call.query.get(name);
    let (action, actor) = (given("action"), given("actor"));
    let (resource, outcome) = (given("resource"), given("outcome"));
    let mut listing = Listing::new(COLUMNS, "FROM audit_events", ORDERS);
    listing.only("tenant_id = {}", tenant.as_ref().map(|tenant| text(tenant)));
    listing.only("action = {}", action.map(|action| text(action)));
    listing.only("actor_id = {}", actor.map(|actor| text(actor)));
    let is_resource = "(resource_id = {} OR resource_type = {})";
    listing.only(is_resource, resource.map(|resource| text(resource)));
    listing.only("outcome = {}", outcome.map(|outcome| text(outcome)));
    listing.only("at >= {}::timestamptz", from.as_ref().map(|from| text(from)));
    listing.only("at < {}::timestamptz", to.as_ref().map(|to| text(to)));
    match log.as_str() {
        "tenant" => listing.answer(&page, &*call.tenant_conn().await?, shown).await,
        _ => listing.answer(&page, &call.platform().await?, shown).await,
    }
}

fn time(call: &Call, name: &str) -> Result<Option<String>, Refusal> {
    let text = call.query.get(name);
    text.map(|text| instant(&format!("/{name}"), text)).transpose()
}

/// A time as the database reads it.
///
/// # Errors
/// `invalid` for what is no RFC 3339 time.
pub(crate) fn instant(pointer: &str, text: &str) -> Result<String, Refusal> {
    let parsed = text.parse::<Timestamp>();
    let parsed = parsed.map_err(|_| Refusal::invalid(pointer, "an RFC 3339 time", text))?;
    Ok(parsed.to_string())
}
