//! May this caller do this: our own engine, asked with `policies/control-plane/`.

use crate::code::{Code, Refusal};
use crate::credential::{Caller, Owner};
use serde_json::json;
use tollgate_engine::cell::TableSecret;
use tollgate_engine::{
    Attribute, CellHost, Cells, Entity, Now, Part, Request, Scratch, TenantState, Value, Version,
};
use tollgate_proto::bundle::{File, Options, from_files};

const FILES: [(&str, &str); 2] = [
    ("model.conf", include_str!("../../policies/control-plane/model.conf")),
    ("policy.csv", include_str!("../../policies/control-plane/policy.csv")),
];

/// Who one is may be asked with any key, whatever its scopes.
pub(crate) const ALWAYS: Permission = "me";

/// Built-in roles that keys of tenants can have, and people but for the last.
pub(crate) const TENANT_ROLES: [&str; 5] =
    ["tenant-admin", "auditor", "billing", "member", "service"];

/// Built-in roles of the platform's keys and people.
pub(crate) const PLATFORM_ROLES: [&str; 2] = ["platform-admin", "auditor"];

/// What a route needs.
pub type Permission = &'static str;

/// Proof that a call was allowed.
#[derive(Debug)]
pub struct Permitted(());

/// The compiled policy of the API itself.
#[allow(missing_debug_implementations, reason = "nothing in it is worth printing")]
pub struct Authority {
    state: TenantState,
    secret: TableSecret,
    /// Every permission that a role names.
    permissions: Vec<&'static str>,
}

/// The policy has no limits: there are no cells to lock.
struct NoCells;

impl CellHost for NoCells {
    fn locked(&self, _stripe: usize, work: &mut dyn FnMut()) {
        work();
    }
}

impl Authority {
    /// Compiles the policy.
    ///
    /// # Errors
    /// The findings, if the policy that was built in does not load.
    pub fn new() -> Result<Authority, String> {
        let files = FILES.map(|(path, text)| File { path, bytes: text.as_bytes() });
        let options = Options::new(0, Version { epoch: 1, seq: 1 });
        let folder = from_files("control-plane", &files, options);
        let folder = folder.map_err(|findings| format!("policies/control-plane: {findings:?}"))?;
        let state = folder.tenants.into_iter().next().ok_or("policies/control-plane: no tenant")?;
        let permissions = rows().filter(|(role, _)| *role == "platform-admin");
        let permissions = permissions.map(|(_, permission)| permission).collect();
        Ok(Authority { state, secret: TableSecret::new([1, 2]), permissions })
    }

    /// Refuses unless the caller has the permission on something of `tenant`; `None`: of the platform.
    ///
    /// # Errors
    /// `forbidden` with the permission; the rule only for those who may read the audit log.
    pub fn permit(
        &self,
        caller: &Caller,
        permission: Permission,
        tenant: Option<&str>,
    ) -> Result<Permitted, Refusal> {
        let (is_allowed, rule) = self.ask(caller, permission, tenant);
        if is_allowed {
            return Ok(Permitted(()));
        }
        let mut details = json!({ "permission": permission });
        if let (Some(rule), true) = (rule, self.ask(caller, "audit:read", tenant).0) {
            details["rule"] = json!(format!("policy.csv:{rule}"));
        }
        let message = format!("this needs the permission `{permission}`");
        Err(Refusal::new(Code::Forbidden, message).with(details))
    }

    /// The permissions that a caller has on what belongs to itself.
    pub fn permissions_of(&self, caller: &Caller) -> Vec<&'static str> {
        let tenant = caller.tenant();
        let all = self.permissions.iter().copied();
        all.filter(|permission| self.ask(caller, permission, tenant).0).collect()
    }

    /// Each built-in role and its permissions, as the policy says.
    pub fn roles(&self) -> Vec<(&'static str, Vec<&'static str>)> {
        let mut roles: Vec<(&str, Vec<&str>)> = Vec::new();
        for (role, permission) in rows().filter(|(role, _)| *role != "custom") {
            match roles.iter_mut().find(|(known, _)| *known == role) {
                Some((_, permissions)) => permissions.push(permission),
                None => roles.push((role, vec![permission])),
            }
        }
        roles
    }

    /// What a built-in role gives, if it is one of these.
    pub(crate) fn role_of(&self, known: &[&str], name: &str) -> Option<Vec<&'static str>> {
        let name = known.iter().find(|known| **known == name)?;
        let found = self.roles().into_iter().find(|(known, _)| known == name);
        found.map(|(_, permissions)| permissions)
    }

    /// Whether a role of a tenant's own may have it. An auditor reads the platform's things too, where they are:
    /// that is no permission of a tenant.
    pub(crate) fn is_for_tenants(&self, permission: &str) -> bool {
        let has = |role| rows().any(|row| row == (role, permission));
        ["tenant-admin", "billing", "member"].into_iter().any(has)
    }

    /// The built-in roles that have a permission.
    pub(crate) fn roles_with(&self, permission: &str) -> Vec<&'static str> {
        let with = rows().filter(|(role, has)| *role != "custom" && *has == permission);
        with.map(|(role, _)| role).collect()
    }

    /// What a key or user with these roles, scopes and permissions of own roles could do.
    pub fn granted(
        &self,
        roles: &[String],
        scopes: &[String],
        grants: &[String],
    ) -> Vec<&'static str> {
        let is_service = roles.iter().any(|role| role == "service");
        let known = self.roles();
        let of_roles = known.iter().filter(|(role, _)| roles.iter().any(|own| own == role));
        let mut granted: Vec<&str> =
            of_roles.flat_map(|(_, permissions)| permissions.clone()).collect();
        if is_service {
            granted.extend(
                self.permissions.iter().filter(|known| scopes.iter().any(|scope| scope == *known)),
            );
        }
        let is_granted = |known: &&&str| grants.iter().any(|grant| grant == **known);
        granted.extend(self.permissions.iter().filter(is_granted));
        if !grants.is_empty() {
            granted.push(ALWAYS);
        }
        if !scopes.is_empty() {
            let is_named = |permission: &str| scopes.iter().any(|scope| scope == permission);
            granted.retain(|permission| *permission == ALWAYS || is_named(permission));
        }
        granted.sort_unstable();
        granted.dedup();
        granted
    }

    /// Every permission that a role of ours has.
    pub fn permissions(&self) -> &[&'static str] {
        &self.permissions
    }

    /// Whether a caller has a permission on something of `tenant`.
    pub(crate) fn may(&self, caller: &Caller, permission: &str, tenant: Option<&str>) -> bool {
        self.ask(caller, permission, tenant).0
    }

    fn ask(&self, caller: &Caller, permission: &str, tenant: Option<&str>) -> (bool, Option<u32>) {
        let is_scoped = !caller.scopes.is_empty() && permission != ALWAYS;
        if is_scoped && !caller.scopes.iter().any(|scope| scope == permission) {
            return (false, None);
        }
        let mut roles: Vec<Value<'_>> = caller.roles.iter().map(|role| Value::Str(role)).collect();
        // A service may do what its key's scopes say, roles of the tenant's own what they list.
        let is_service = caller.roles.iter().any(|role| role == "service");
        let scopes = caller.scopes.iter().filter(|_| is_service);
        let mut grants: Vec<Value<'_>> =
            scopes.chain(&caller.grants).map(|grant| Value::Str(grant)).collect();
        if !grants.is_empty() {
            grants.push(Value::Str(ALWAYS));
            roles.push(Value::Str("custom"));
        }
        let level = if caller.owner == Owner::Platform { "platform" } else { "tenant" };
        let attribute = |part, path, value| Attribute { part, path, value };
        let mut attributes = vec![
            attribute(Part::Subject, "roles", Value::List(&roles)),
            attribute(Part::Subject, "grants", Value::List(&grants)),
            attribute(Part::Subject, "level", Value::Str(level)),
        ];
        if let Some(own) = caller.tenant() {
            attributes.push(attribute(Part::Subject, "tenant", Value::Str(own)));
        }
        if let Some(tenant) = tenant {
            attributes.push(attribute(Part::Resource, "tenant", Value::Str(tenant)));
        }
        let request = Request {
            tenant: "control-plane",
            subject: Entity { kind: caller.kind.name(), id: &caller.id },
            resource: Entity { kind: "route", id: "route" },
            action: permission,
            attributes: &attributes,
            ..Request::default()
        };
        let cells = Cells::new(&[], &self.secret, &NoCells);
        let decision = self.state.decide(&cells, &request, Now(0), &mut Scratch::default());
        (decision.is_allow(), decision.rule.map(|rule| self.state.policy().rule_line(rule)))
    }
}

/// Role and permission of each rule.
fn rows() -> impl Iterator<Item = (&'static str, &'static str)> {
    let [_, (_, policy)] = FILES;
    policy.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("p, ")?.split(", ");
        Some((cells.next()?, cells.next()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::CallerKind;
    use crate::routes::{ROUTES, Scope};

    fn caller(owner: Owner, roles: &[&str], scopes: &[&str]) -> Caller {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Caller {
            id: "key_1".to_owned(),
            name: String::new(),
            owner,
            kind: CallerKind::ApiKey,
            roles: owned(roles),
            scopes: owned(scopes),
            grants: Vec::new(),
            on_behalf_of: None,
            signed_in: None,
        }
    }

    #[test]
    fn who_may_do_what() {
        let authority = Authority::new().unwrap();
        let acme = || Owner::Tenant("acme".to_owned());
        for (owner, roles, scopes, permission, tenant, expected) in [
            (Owner::Platform, &["platform-admin"][..], &[][..], "tenant:create", None, true),
            (Owner::Platform, &["platform-admin"], &[], "tenant:update", Some("acme"), true),
            (Owner::Platform, &["platform-admin"], &["tenant:read"], "tenant:create", None, false),
            (Owner::Platform, &["auditor"], &[], "tenant:create", None, false),
            (Owner::Platform, &["auditor"], &[], "cluster:read", None, true),
            (acme(), &["auditor"], &[], "cluster:read", None, false),
            (acme(), &["auditor"], &[], "audit:read", Some("acme"), true),
            (acme(), &["auditor"], &[], "audit:read", Some("beta"), false),
            (acme(), &["tenant-admin"], &[], "tenant:update", Some("acme"), true),
            (acme(), &["tenant-admin"], &[], "tenant:suspend", Some("acme"), false),
            (acme(), &["tenant-admin"], &[], "api-key:create", Some("beta"), false),
            (acme(), &["member"], &[], "me", Some("acme"), true),
            (acme(), &["member"], &[], "tenant:read", Some("acme"), false),
            (acme(), &["service"], &["setting:read"], "setting:read", Some("acme"), true),
            (acme(), &["service"], &["setting:read"], "me", Some("acme"), true),
            (acme(), &["service"], &["setting:read"], "setting:update", Some("acme"), false),
            (acme(), &["service"], &["setting:read"], "setting:read", Some("beta"), false),
            (acme(), &[], &[], "me", Some("acme"), false),
            (acme(), &["custom"], &["tenant:read"], "tenant:read", Some("acme"), false),
        ] {
            let caller = caller(owner, roles, scopes);
            let permitted = authority.permit(&caller, permission, tenant);
            assert_eq!(permitted.is_ok(), expected, "{caller:?} {permission} {tenant:?}");
        }
        // What roles of the tenant's own give: never beyond the tenant, and within the key's scopes.
        for (scopes, permission, tenant, expected) in [
            (&[][..], "limit:read", Some("acme"), true),
            (&[], "me", Some("acme"), true),
            (&[], "limit:update", Some("acme"), false),
            (&[], "limit:read", Some("beta"), false),
            (&[], "limit:read", None, false),
            (&["limit:update"], "limit:read", Some("acme"), false),
            (&["limit:read"], "limit:read", Some("acme"), true),
        ] {
            let mut caller = caller(acme(), &["limit-reader"], scopes);
            caller.grants = vec!["limit:read".to_owned()];
            let permitted = authority.permit(&caller, permission, tenant);
            assert_eq!(permitted.is_ok(), expected, "{caller:?} {permission} {tenant:?}");
        }
    }

    /// Each route and what each role may do with what is its own: the golden copy is `permissions.txt`.
    #[test]
    fn every_route_and_role_is_in_the_golden_table() {
        let authority = Authority::new().unwrap();
        let acme = || Owner::Tenant("acme".to_owned());
        let callers = [
            ("platform-admin", caller(Owner::Platform, &["platform-admin"], &[])),
            ("platform auditor", caller(Owner::Platform, &["auditor"], &[])),
            ("tenant-admin", caller(acme(), &["tenant-admin"], &[])),
            ("auditor", caller(acme(), &["auditor"], &[])),
            ("billing", caller(acme(), &["billing"], &[])),
            ("member", caller(acme(), &["member"], &[])),
            ("service", caller(acme(), &["service"], &["setting:read"])),
        ];
        let mut table = String::new();
        for route in ROUTES {
            let object = match route.scope {
                Scope::Tenant => |_: &Caller| Some("acme"),
                Scope::Platform => |_: &Caller| None,
                Scope::Own => |caller: &Caller| caller.tenant().map(|_| "acme"),
            };
            let may = |(name, caller): &(&'static str, Caller)| {
                authority.permit(caller, route.permission, object(caller)).is_ok().then_some(*name)
            };
            let allowed: Vec<&str> = callers.iter().filter_map(may).collect();
            table += &format!(
                "{} {} [{}] {}\n",
                route.method,
                route.path,
                route.permission,
                allowed.join(", ")
            );
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/permissions.txt");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(path, &table).unwrap();
        }
        let golden = std::fs::read_to_string(path).unwrap_or_default();
        assert_eq!(golden, table, "UPDATE_GOLDEN=1 rewrites it");
    }
}
