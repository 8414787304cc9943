//! What a new key may be: its name, its roles and scopes, how old it may get.

use super::store::Table;
use crate::authority::{PLATFORM_ROLES, TENANT_ROLES};
use crate::call::Call;
use crate::code::Refusal;
use crate::planted::planted;
use crate::sql::{Queries, texts};
use jiff::Timestamp;

const NAME_CHARS_MAX: usize = 100;
const SCOPES_MAX: usize = 64;

pub(super) fn check_name(name: &str) -> Result<(), Refusal> {
    let chars = name.chars().count();
    match (1..=NAME_CHARS_MAX).contains(&chars) && !name.chars().any(char::is_control) {
        true => Ok(()),
        false => Err(Refusal::invalid("/name", "1-100 characters", format!("{chars} characters"))),
    }
}

/// Roles of the level, and nobody grants more than they hold; a platform-admin may grant any of a tenant's.
pub(super) async fn check_roles(
    call: &Call,
    (client, table): (&impl Queries, Table),
    roles: &[String],
    scopes: &[String],
) -> Result<(), Refusal> {
    let own = match table {
        Table::Platform => Vec::new(),
        Table::Tenant => own_roles(client, roles).await?,
    };
    let mut known =
        if call.tenant.is_some() { TENANT_ROLES.to_vec() } else { PLATFORM_ROLES.to_vec() };
    if planted("pooled-roles") {
        known.extend(TENANT_ROLES);
    }
    if roles.is_empty() {
        return Err(Refusal::invalid(
            "/roles",
            &format!("at least one of {}", known.join(", ")),
            "none",
        ));
    }
    if scopes.len() > SCOPES_MAX {
        return Err(Refusal::invalid(
            "/scopes",
            &format!("at most {SCOPES_MAX}"),
            scopes.len().to_string(),
        ));
    }
    for (at, role) in roles.iter().enumerate() {
        let is_own = own.iter().any(|(name, _)| name == role);
        if !is_own && !known.contains(&role.as_str()) {
            return Err(Refusal::invalid(
                &format!("/roles/{at}"),
                &format!("one of {}", known.join(", ")),
                role.clone(),
            ));
        }
    }
    let known = call.service.authority.permissions();
    if let Some(at) = scopes.iter().position(|scope| !known.contains(&scope.as_str())) {
        let expected = format!("one of {}", known.join(", "));
        return Err(Refusal::invalid(&format!("/scopes/{at}"), &expected, scopes[at].clone()));
    }
    let grants: Vec<String> = own.into_iter().flat_map(|(_, permissions)| permissions).collect();
    check_granted(call, roles, scopes, &grants)
}

/// Those of these roles that are the tenant's own, with their permissions.
async fn own_roles(
    client: &impl Queries,
    names: &[String],
) -> Result<Vec<(String, Vec<String>)>, Refusal> {
    let statement = "SELECT name, permissions FROM roles WHERE name = ANY ($1)";
    let rows = client.rows(statement, &[texts(&names)]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Refuses what the caller does not hold itself.
fn check_granted(
    call: &Call,
    roles: &[String],
    scopes: &[String],
    grants: &[String],
) -> Result<(), Refusal> {
    let object = call.tenant.as_ref().map(|tenant| tenant.id.as_str());
    for permission in call.service.authority.granted(roles, scopes, grants) {
        call.service.authority.permit(&call.caller, permission, object)?;
    }
    Ok(())
}

/// RFC 3339, in the future, at most the age that keys may reach: that age if it is left out.
pub(super) fn expiry(text: Option<&str>, days_max: i64) -> Result<String, Refusal> {
    let now = Timestamp::now();
    let latest = now + jiff::SignedDuration::from_hours(24 * days_max);
    let Some(text) = text else { return Ok(latest.to_string()) };
    let parsed = text.parse::<Timestamp>();
    let parsed = parsed.map_err(|_| Refusal::invalid("/expires_at", "an RFC 3339 time", text))?;
    match parsed > now && parsed <= latest {
        true => Ok(parsed.to_string()),
        false => Err(Refusal::invalid(
            "/expires_at",
            &format!("a time at most {days_max} days from now"),
            text,
        )),
    }
}
