//! Users, groups, roles, role bindings and the access list of a tenant, as they are typed and as calls; users and role
//! bindings of the platform too.

use super::asks::{Ask, Asks, at, own};
use super::commands::Wanted;
use crate::api::calls;
use crate::exit::Exit;
use clap::{Subcommand, ValueEnum};
use serde_json::{Map, Value as Json, json};

const USERS: &[&str] = &["id", "display_name", "email", "state", "issuer", "subject"];
const GROUPS: &[&str] = &["id", "display_name", "created_at"];
const MEMBERS: &[&str] = &["user_id", "display_name", "created_at"];
const ROLES: &[&str] = &["name", "origin", "permissions"];
const BINDINGS: &[&str] = &["id", "subject.type", "subject.id", "role", "expires_at"];
const ACCESS: &[&str] = &["type", "id", "name", "roles", "permissions", "last_used_at"];

#[derive(Debug, Subcommand)]
pub(crate) enum User {
    /// Know a user before the first sign-in, so that roles can be bound
    Create {
        #[arg(long)]
        issuer: String,
        #[arg(long)]
        subject: String,
        #[arg(long)]
        display_name: Option<String>,
        #[arg(long)]
        email: Option<String>,
    },
    List {
        /// active or disabled
        #[arg(long)]
        state: Option<String>,
        #[command(flatten)]
        wanted: Wanted,
    },
    Show {
        id: String,
    },
    /// An empty address removes it
    Update {
        id: String,
        #[arg(long)]
        display_name: Option<String>,
        #[arg(long)]
        email: Option<String>,
    },
    /// Refused from the next call on
    Disable {
        id: String,
    },
    Enable {
        id: String,
    },
    /// With memberships, roles and sessions
    Delete {
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Group {
    Create {
        display_name: String,
    },
    List {
        #[command(flatten)]
        wanted: Wanted,
    },
    Show {
        id: String,
    },
    Rename {
        id: String,
        display_name: String,
    },
    /// With its roles; its members stay users
    Delete {
        id: String,
    },
    /// Who is in it
    Members {
        id: String,
    },
    Add {
        id: String,
        user: String,
    },
    Remove {
        id: String,
        user: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Role {
    List {
        #[command(flatten)]
        wanted: Wanted,
    },
    Show {
        name: String,
    },
    /// Write a role of the tenant's own, whole
    Set {
        name: String,
        #[arg(required = true)]
        permissions: Vec<String>,
    },
    /// When nobody has it
    Unset {
        name: String,
    },
}

/// What a role is bound to.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum SubjectType {
    User,
    Group,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Binding {
    /// Give a user or a group a role
    Create {
        r#type: SubjectType,
        id: String,
        role: String,
        /// RFC 3339
        #[arg(long)]
        expires_at: Option<String>,
    },
    List {
        /// Of the user or group with this id
        #[arg(long)]
        subject: Option<String>,
        #[arg(long)]
        role: Option<String>,
    },
    Show {
        id: String,
    },
    /// When it ends; without a time: never
    Update {
        id: String,
        /// RFC 3339
        #[arg(long)]
        expires_at: Option<String>,
    },
    /// At once
    Delete {
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Access {
    List {
        /// Only who has it
        #[arg(long)]
        permission: Option<String>,
        /// user or api-key
        #[arg(long)]
        r#type: Option<String>,
        #[command(flatten)]
        wanted: Wanted,
    },
}

impl Asks for User {
    fn ask(&self, tenant: Option<&str>) -> Result<Ask, (Exit, String)> {
        let change = |id: &str, body: &calls::UserPatch<'_>| at!(tenant, patch_tenants_tenant_id_users_id or patch_users_id, (id, body));
        let turn = |id: &str, state: &str| {
            change(id, &calls::UserPatch { state: Some(state), ..Default::default() })
        };
        let call = match self {
            User::Create { issuer, subject, display_name, email } => {
                let email = email.as_ref().map(|email| json!(email));
                let body = calls::NewUser {
                    issuer,
                    subject,
                    display_name: display_name.as_deref(),
                    email: email.as_ref(),
                };
                at!(tenant, post_tenants_tenant_id_users or post_users, (&body))
            }
            User::List { state, wanted } => {
                let query = calls::UserQuery {
                    state: state.as_deref(),
                    search: wanted.search.as_deref(),
                    sort: wanted.sort.as_deref(),
                    ..Default::default()
                };
                at!(tenant, get_tenants_tenant_id_users or get_users, (&query))
            }
            User::Show { id } => at!(tenant, get_tenants_tenant_id_users_id or get_users_id, (id)),
            User::Update { id, display_name, email } => {
                let empty_is_null =
                    |email: &String| if email.is_empty() { Json::Null } else { json!(email) };
                let email = email.as_ref().map(empty_is_null);
                let body = calls::UserPatch {
                    display_name: display_name.as_deref(),
                    email: email.as_ref(),
                    state: None,
                };
                change(id, &body)
            }
            User::Disable { id } => turn(id, "disabled"),
            User::Enable { id } => turn(id, "active"),
            User::Delete { id } => {
                at!(tenant, delete_tenants_tenant_id_users_id or delete_users_id, (id))
            }
        };
        Ok(Ask { call, columns: USERS })
    }
}

impl Asks for Group {
    fn ask(&self, tenant: Option<&str>) -> Result<Ask, (Exit, String)> {
        let tenant = own(tenant)?;
        let (call, columns) = match self {
            Group::Create { display_name } => {
                let body = calls::NewGroup { display_name };
                (calls::post_tenants_tenant_id_groups(tenant, &body), GROUPS)
            }
            Group::List { wanted } => {
                let query = calls::GroupQuery {
                    search: wanted.search.as_deref(),
                    sort: wanted.sort.as_deref(),
                    ..Default::default()
                };
                (calls::get_tenants_tenant_id_groups(tenant, &query), GROUPS)
            }
            Group::Show { id } => (calls::get_tenants_tenant_id_groups_id(tenant, id), GROUPS),
            Group::Rename { id, display_name } => {
                let body = calls::NewGroup { display_name };
                (calls::patch_tenants_tenant_id_groups_id(tenant, id, &body), GROUPS)
            }
            Group::Delete { id } => (calls::delete_tenants_tenant_id_groups_id(tenant, id), GROUPS),
            Group::Members { id } => {
                let query = calls::GroupMemberQuery::default();
                (calls::get_tenants_tenant_id_groups_id_members(tenant, id, &query), MEMBERS)
            }
            Group::Add { id, user } => {
                (calls::put_tenants_tenant_id_groups_id_members_user_id(tenant, id, user), MEMBERS)
            }
            Group::Remove { id, user } => (
                calls::delete_tenants_tenant_id_groups_id_members_user_id(tenant, id, user),
                MEMBERS,
            ),
        };
        Ok(Ask { call, columns })
    }
}

impl Asks for Role {
    fn ask(&self, tenant: Option<&str>) -> Result<Ask, (Exit, String)> {
        let call = match (self, tenant) {
            (Role::List { wanted }, tenant) => {
                let query = calls::RoleQuery {
                    search: wanted.search.as_deref(),
                    sort: wanted.sort.as_deref(),
                    ..Default::default()
                };
                match tenant {
                    Some(tenant) => calls::get_tenants_tenant_id_roles(tenant, &query),
                    None => calls::get_roles(&query),
                }
            }
            (Role::Show { name }, tenant) => {
                calls::get_tenants_tenant_id_roles_name(own(tenant)?, name)
            }
            (Role::Set { name, permissions }, tenant) => {
                let body = calls::RolePut { permissions };
                calls::put_tenants_tenant_id_roles_name(own(tenant)?, name, &body)
            }
            (Role::Unset { name }, tenant) => {
                calls::delete_tenants_tenant_id_roles_name(own(tenant)?, name)
            }
        };
        Ok(Ask { call, columns: ROLES })
    }
}

impl Asks for Binding {
    fn ask(&self, tenant: Option<&str>) -> Result<Ask, (Exit, String)> {
        let call = match self {
            Binding::Create { r#type, id, role, expires_at } => {
                let kind = match r#type {
                    SubjectType::User => "user",
                    SubjectType::Group => "group",
                };
                let subject = json!({"type": kind, "id": id});
                let subject: Map<String, Json> = subject.as_object().cloned().unwrap_or_default();
                let expires_at = expires_at.as_ref().map(|at| json!(at));
                let body = calls::NewRoleBinding {
                    subject: &subject,
                    role,
                    expires_at: expires_at.as_ref(),
                };
                at!(tenant, post_tenants_tenant_id_role_bindings or post_role_bindings, (&body))
            }
            Binding::List { subject, role } => {
                let query = calls::RoleBindingQuery {
                    subject: subject.as_deref(),
                    role: role.as_deref(),
                    ..Default::default()
                };
                at!(tenant, get_tenants_tenant_id_role_bindings or get_role_bindings, (&query))
            }
            Binding::Show { id } => {
                at!(tenant, get_tenants_tenant_id_role_bindings_id or get_role_bindings_id, (id))
            }
            Binding::Update { id, expires_at } => {
                let expires_at = json!(expires_at);
                let body = calls::RoleBindingPatch { expires_at: Some(&expires_at) };
                at!(tenant, patch_tenants_tenant_id_role_bindings_id or patch_role_bindings_id, (id, &body))
            }
            Binding::Delete { id } => {
                at!(tenant, delete_tenants_tenant_id_role_bindings_id or delete_role_bindings_id, (id))
            }
        };
        Ok(Ask { call, columns: BINDINGS })
    }
}

impl Asks for Access {
    fn ask(&self, tenant: Option<&str>) -> Result<Ask, (Exit, String)> {
        let Access::List { permission, r#type, wanted } = self;
        let query = calls::AccessQuery {
            permission: permission.as_deref(),
            r#type: r#type.as_deref(),
            search: wanted.search.as_deref(),
            sort: wanted.sort.as_deref(),
            ..Default::default()
        };
        let call = calls::get_tenants_tenant_id_access(own(tenant)?, &query);
        Ok(Ask { call, columns: ACCESS })
    }
}
