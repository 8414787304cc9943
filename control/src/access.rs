//! Who may do what in a tenant, and when they did something last: keys and people in one list.

use crate::call::{Call, Reply};
use crate::code::Refusal;
use crate::listing::{Key, Listing, Order};
use crate::page::Page;
use crate::sql::{Queries, text, texts};
use crate::write::Stop;
use serde_json::{Value as Json, json};
use tokio_postgres::Row;

const COLUMNS: &str = "id, type, name, held.roles, scopes, permissions_of(held.roles) AS grants, \
    rfc3339(expires_at) AS expires_at, rfc3339(last_used_at) AS last_used_at";

/// Both tables in the order of their ids. What must hold stands outside: within, it would keep the database from
/// reading each by its index.
const FROM: &str = "FROM (SELECT id, 'api-key' AS type, name, roles, scopes, revoked_at, expires_at, last_used_at \
        FROM api_keys UNION ALL SELECT id, 'user', display_name, '{}'::text[], '{}'::text[], \
        CASE WHEN state = 'disabled' THEN updated_at END, NULL::timestamptz, last_used_at FROM users) access, \
    LATERAL (SELECT CASE type WHEN 'user' THEN roles_of(id) ELSE roles END AS roles OFFSET 0) held";

/// Whoever may act now.
const ACTIVE: &str = "revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())";

/// Keys and people with one of some roles.
const HOLDERS: &str = "(access.roles && {} OR (type = 'user' AND id IN (SELECT users_with({})))";
/// Or keys of services by their scopes.
const SERVICES: &str = " OR ('service' = ANY (access.roles) AND {} = ANY (scopes)))";

const ORDERS: &[Order] = &[Order { name: "id", key: Key::Unique("id") }];

/// `GET T/access`.
pub async fn list(call: &Call) -> Result<Reply, Stop> {
    let page = Page::read(call)?;
    let authority = &call.service.authority;
    let wanted = call.query.get("permission");
    if let Some(wanted) = wanted.filter(|name| !authority.permissions().contains(&name.as_str())) {
        let expected = format!("one of {}", authority.permissions().join(", "));
        return Err(Refusal::invalid("/permission", &expected, wanted.clone()).into());
    }
    let conn = call.tenant_conn().await?;
    let holders = match wanted {
        Some(wanted) => holders(call, &*conn, wanted).await?,
        None => Vec::new(),
    };
    let mut listing = Listing::new(COLUMNS, FROM, ORDERS);
    listing.always(ACTIVE);
    // Whoever is a user at all is a member.
    if let Some(wanted) = wanted.filter(|_| !holders.iter().any(|role| role == "member")) {
        listing.only(HOLDERS, Some(texts(&holders)));
        listing.also(SERVICES, text(wanted));
        listing.only("(cardinality(scopes) = 0 OR {} = ANY (scopes))", Some(text(wanted)));
    }
    let kind = call.one_of("type", &["user", "api-key"])?;
    listing.only("type = {}", kind.as_ref().map(|kind| text(kind)));
    listing.search(&page, &["lower(name COLLATE \"C\")"]);
    listing.answer(&page, &conn, |row| shown(call, row)).await
}

/// The roles that have a permission: built-in ones and the tenant's own.
async fn holders(
    call: &Call,
    client: &impl Queries,
    permission: &str,
) -> Result<Vec<String>, Refusal> {
    let own = "SELECT name FROM roles WHERE $1 = ANY (permissions)";
    let own = client.rows(own, &[text(&permission)]).await?;
    let built_in = call.service.authority.roles_with(permission).into_iter().map(str::to_owned);
    Ok(built_in.chain(own.iter().map(|row| row.get(0))).collect())
}

fn shown(call: &Call, row: &Row) -> Json {
    let text = |name: &str| row.get::<_, Option<String>>(name);
    let (roles, scopes): (Vec<String>, Vec<String>) = (row.get("roles"), row.get("scopes"));
    let grants: Vec<String> = row.get("grants");
    json!({
        "type": text("type"), "id": text("id"), "name": text("name"), "roles": roles, "scopes": scopes,
        "permissions": call.service.authority.granted(&roles, &scopes, &grants),
        "expires_at": text("expires_at"), "last_used_at": text("last_used_at"),
    })
}
