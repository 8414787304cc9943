//! Roles: those of the policy, and those of a tenant's own, which are lists of permissions.
//!
//! A role of a tenant's own is never wider than who wrote it, and whoever binds a role, or adds a member to a group
//! that has it, holds all of its permissions. What a role gives is read with the credential of each call.

use crate::authority::{PLATFORM_ROLES, TENANT_ROLES};
use crate::call::{Call, Reply};
use crate::code::{Code, Refusal};
use crate::noun::{Noun, Object};
use crate::page::Page;
use crate::sql::{self, Queries, text, texts};
use crate::write::{Stop, Write};
use serde::Deserialize;
use serde_json::{Value as Json, json};

const ROLE: Noun = Noun {
    name: "role",
    columns: "name AS id, version, jsonb_build_object('name', name, 'permissions', permissions, 'origin', 'custom', \
        'version', version, 'created_at', rfc3339(created_at), 'updated_at', rfc3339(updated_at)) AS object",
    from: "FROM roles",
    id: "name",
    orders: &[],
    searched: &[],
};

/// Roles of a tenant's own.
const ROLES_MAX: i64 = 100;
const NAME_CHARS_MAX: usize = 63;
/// Means a key's scopes, in the policy.
const RESERVED: &str = "custom";

/// What binding a role gives.
#[derive(Debug)]
pub(crate) struct Grant {
    role: String,
    permissions: Vec<String>,
}

impl Grant {
    /// A role that people of the tenant, or of the platform, can have.
    ///
    /// # Errors
    /// `invalid` if there is no such role, and those of the database.
    pub(crate) async fn of(
        call: &Call,
        client: &impl Queries,
        role: String,
    ) -> Result<Grant, Refusal> {
        let authority = &call.service.authority;
        let known: &[&str] = if call.tenant.is_some() { &TENANT_ROLES } else { &PLATFORM_ROLES };
        if let Some(permissions) = authority.role_of(known, &role).filter(|_| role != "service") {
            let permissions = permissions.into_iter().map(str::to_owned).collect();
            return Ok(Grant { role, permissions });
        }
        if call.tenant.is_none() {
            return Err(Refusal::invalid("/role", &PLATFORM_ROLES.join(" or "), role));
        }
        let own = "SELECT permissions FROM roles WHERE name = $1";
        match sql::first(client, own, &[text(&role)]).await? {
            Some(row) => Ok(Grant { role, permissions: row.get(0) }),
            None => {
                let expected =
                    "tenant-admin, auditor, billing, member or a role of the tenant's own";
                Err(Refusal::invalid("/role", expected, role))
            }
        }
    }
}

/// # Errors
/// `role-too-wide` with the first permission that the caller lacks.
pub(crate) fn within(call: &Call, grant: &Grant) -> Result<(), Refusal> {
    let authority = &call.service.authority;
    let tenant = call.tenant.as_ref().map(|tenant| tenant.id.as_str());
    let lacking = grant.permissions.iter().find(|permission| {
        let is_meant = tenant.is_none() || authority.is_for_tenants(permission);
        is_meant && !authority.may(&call.caller, permission, tenant)
    });
    match lacking {
        None => Ok(()),
        Some(permission) => {
            let role = &grant.role;
            let message =
                format!("`{role}` has the permission `{permission}`, which you do not hold");
            let details = json!({"role": role, "permission": permission});
            Err(Refusal::new(Code::RoleTooWide, message).with(details))
        }
    }
}

fn built_in(name: &str, permissions: &[&str]) -> Json {
    json!({"name": name, "permissions": permissions, "origin": "built-in"})
}

/// `GET /v1/roles`: those of the policy.
pub async fn built_ins(call: &Call) -> Result<Reply, Stop> {
    let page = Page::read(call)?;
    let roles = call.service.authority.roles();
    Ok(page.reply_of(roles.into_iter().map(|(name, all)| (name.to_owned(), built_in(name, &all)))))
}

/// `GET T/roles`: what can be bound or given to keys in this tenant.
pub async fn list(call: &Call) -> Result<Reply, Stop> {
    let page = Page::read(call)?;
    let authority = &call.service.authority;
    let known = authority.roles().into_iter().filter(|(name, _)| TENANT_ROLES.contains(name));
    let mut roles: Vec<(String, Json)> =
        known.map(|(name, all)| (name.to_owned(), built_in(name, &all))).collect();
    let statement = format!("SELECT {} {}", ROLE.columns, ROLE.from);
    let own = call.tenant_conn().await?.rows(&statement, &[]).await?;
    roles.extend(own.iter().map(|row| (row.get("id"), row.get("object"))));
    Ok(page.reply_of(roles))
}

/// `GET T/roles/{name}`.
pub async fn show(call: &Call) -> Result<Reply, Stop> {
    let name = call.parameter(0);
    match call.service.authority.role_of(&TENANT_ROLES, name) {
        Some(permissions) => Ok(Reply::ok(built_in(name, &permissions)).etag(0)),
        None => ROLE.show(call, &*call.tenant_conn().await?).await,
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Put {
    permissions: Vec<String>,
}

/// A name that a role of the tenant's own can have.
fn own_name(call: &Call) -> Result<&str, Refusal> {
    let name = call.parameter(0);
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_name = (1..=NAME_CHARS_MAX).contains(&name.len())
        && name.bytes().all(is_word)
        && name.starts_with(|first: char| first.is_ascii_lowercase());
    let is_taken =
        name == RESERVED || call.service.authority.roles().iter().any(|(known, _)| *known == name);
    match is_name && !is_taken {
        true => Ok(name),
        false => {
            let expected = "[a-z][a-z0-9-]{0,62}, not the name of a built-in role";
            Err(Refusal::invalid("/name", expected, name))
        }
    }
}

/// `PUT T/roles/{name}`: whole; in force for all who have it with the commit.
pub async fn put(call: &Call) -> Result<Reply, Stop> {
    let name = own_name(call)?;
    let Put { mut permissions } = call.read()?;
    permissions.sort_unstable();
    permissions.dedup();
    check_permissions(call, &permissions)?;
    let mut conn = call.tenant_conn().await?;
    let mut write = Write::begin(call, &mut conn).await?;
    let before = ROLE.maybe(&write.tx, name, true).await?;
    call.match_version(before.as_ref().map_or(0, |role| role.version))?;
    if before.is_none() {
        let count = sql::first(&write.tx, "SELECT count(*) FROM roles", &[]).await?;
        if count.is_some_and(|row| row.get::<_, i64>(0) >= ROLES_MAX) {
            let expected = format!("at most {ROLES_MAX} roles of a tenant's own");
            return Err(Refusal::invalid("/name", &expected, "one more").into());
        }
    }
    let grant = Grant { role: name.to_owned(), permissions };
    within(call, &grant)?;
    let statement = "INSERT INTO roles (name, permissions) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE \
        SET permissions = $2, version = roles.version + 1, updated_at = now()";
    sql::run(&write.tx, statement, &[text(&name), texts(&grant.permissions)]).await?;
    let after: Object = ROLE.find(&write.tx, name, false).await?;
    let action = if before.is_some() { "role.updated" } else { "role.created" };
    ROLE.record(&mut write, action, before.as_ref(), Some(&after)).await?;
    write.finish(after.reply()).await
}

/// Only what some role of tenants may do: a tenant's role is no way to the platform.
fn check_permissions(call: &Call, permissions: &[String]) -> Result<(), Refusal> {
    let authority = &call.service.authority;
    let known = authority.permissions();
    if permissions.is_empty() {
        return Err(Refusal::invalid("/permissions", "at least one permission", "none"));
    }
    let unknown = |permission: &String| !known.contains(&permission.as_str());
    if let Some(at) = permissions.iter().position(unknown) {
        let expected = format!("one of {}", known.join(", "));
        let pointer = format!("/permissions/{at}");
        return Err(Refusal::invalid(&pointer, &expected, permissions[at].clone()));
    }
    match permissions.iter().find(|permission| !authority.is_for_tenants(permission)) {
        None => Ok(()),
        Some(permission) => {
            let message = format!("`{permission}` is the platform's; no role of a tenant has it");
            let details = json!({"role": call.parameter(0), "permission": permission});
            Err(Refusal::new(Code::RoleTooWide, message).with(details))
        }
    }
}

/// `DELETE T/roles/{name}`: when nobody has it.
pub async fn delete(call: &Call) -> Result<Reply, Stop> {
    let name = own_name(call)?;
    let mut conn = call.tenant_conn().await?;
    let write = Write::begin(call, &mut conn).await?;
    let before = ROLE.find(&write.tx, name, true).await?;
    call.match_version(before.version)?;
    let used = "SELECT (SELECT count(*) FROM role_bindings WHERE role = $1), \
        (SELECT count(*) FROM api_keys WHERE $1 = ANY (roles) AND revoked_at IS NULL)";
    let used = sql::first(&write.tx, used, &[text(&name)]).await?;
    let (bindings, keys): (i64, i64) = used.map_or((0, 0), |row| (row.get(0), row.get(1)));
    if bindings + keys > 0 {
        let message = format!(
            "{bindings} role bindings and {keys} keys have this role; take it from them first"
        );
        let details = json!({"role_bindings": bindings, "api_keys": keys});
        return Err(Refusal::new(Code::InUse, message).with(details).into());
    }
    sql::run(&write.tx, "DELETE FROM roles WHERE name = $1", &[text(&name)]).await?;
    ROLE.gone(write, &before, "role.deleted").await
}
