//! Every route, its permission and its handler: a route without a permission does not compile.

use crate::authority::{ALWAYS, Permission};
use crate::call::{Call, Reply};
use crate::code::Code;
use crate::credential::{Caller, CallerKind};
use crate::write::Stop;
use crate::{
    access, api_keys, audit_events, audit_exports, break_glass, bundle, chain, clusters, fleet,
    groups, identity_providers, kill_switches, limits, me, operations, organisations, policies,
    role_bindings, roles, settings, sidecars, tenants, users,
};
use http::Method;
use std::pin::Pin;

/// One user, and what there is of it.
const ONE_USER: &str = "/v1/tenants/{tenant_id}/users/{id}";

pub type Answered<'c> = Pin<Box<dyn Future<Output = Result<Reply, Stop>> + Send + 'c>>;

/// Whose object a route is about, for the permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The tenant that the path names.
    Tenant,
    /// The platform's: tenants' credentials never reach it.
    Platform,
    /// Whatever belongs to the caller.
    Own,
}

/// The last state of a tenant in which its own callers may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Until {
    Active,
    Suspended,
    Offboarding,
}

/// One method of one path.
pub struct Route {
    pub method: Method,
    /// `{tenant_id}` and other values stand in braces.
    pub path: &'static str,
    pub permission: Permission,
    pub scope: Scope,
    /// Until when a tenant's administrators and auditors may call it; everybody else while it is active.
    pub until: Until,
    pub handler: for<'c> fn(&'c Call) -> Answered<'c>,
    pub summary: &'static str,
    /// Members of the query beside those of every list and `dry_run`.
    pub filters: &'static [&'static str],
    /// What a list can be sorted by; the first is what it is sorted by.
    pub sorts: &'static [&'static str],
    /// The schema of its body.
    pub body: Option<&'static str>,
    /// Status and schema of its answer; an empty one is no body.
    pub answer: (u16, &'static str),
    /// Refusals of this route beside those that its method and path bring.
    pub conflicts: &'static [Code],
}

impl std::fmt::Debug for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} [{}]", self.method, self.path, self.permission)
    }
}

impl Route {
    /// What a caller needs for it: to read what there is of oneself needs no more than to ask who one is.
    pub fn permission_for(&self, caller: &Caller, parameters: &[String]) -> Permission {
        let reads_user = self.method == Method::GET && self.path.starts_with(ONE_USER);
        let is_own = reads_user && parameters.first() == Some(&caller.id);
        if is_own && caller.kind == CallerKind::User { ALWAYS } else { self.permission }
    }

    /// Whether it answers a list in pages.
    pub fn is_list(&self) -> bool {
        !self.sorts.is_empty()
    }

    /// Every code that it can refuse with, in order of precedence.
    pub fn codes(&self) -> Vec<Code> {
        let is_change = [Method::PATCH, Method::PUT, Method::DELETE].contains(&self.method);
        let is_post = self.method == Method::POST;
        let names_object =
            ["{id}", "{key}", "{name}", "{user_id}"].iter().any(|name| self.path.contains(name));
        let is_possible = |code: &&Code| match code {
            Code::RouteNotFound | Code::MethodNotAllowed => false,
            Code::UnsupportedMediaType | Code::MalformedJson => self.body.is_some(),
            Code::InvalidCursor => self.is_list(),
            Code::NotFound => names_object || self.conflicts.contains(code),
            Code::IfMatchRequired => is_change,
            Code::VersionMismatch => is_change || self.conflicts.contains(code),
            Code::IdempotencyInProgress | Code::IdempotencyMismatch => is_post,
            Code::AlreadyExists
            | Code::InvalidState
            | Code::InUse
            | Code::LastAdmin
            | Code::PolicyInvalid
            | Code::PolicyTestsFailed
            | Code::RoleTooWide => self.conflicts.contains(code),
            _ => true,
        };
        Code::ALL.iter().filter(is_possible).copied().collect()
    }

    /// All members of the query that it knows.
    pub fn query(&self) -> Vec<&'static str> {
        let mut known = self.filters.to_vec();
        if self.is_list() {
            known.extend(["limit", "cursor", "sort", "count"]);
        }
        if self.method != Method::GET {
            known.push("dry_run");
        }
        known
    }
}

/// What a method and path lead to.
#[derive(Debug)]
pub enum Found {
    Route(&'static Route, Vec<String>),
    OtherMethods(Vec<String>),
    Nothing,
}

macro_rules! routes {
    ($($method:ident $path:literal [$permission:literal] $scope:ident $until:ident $handler:path:
        $summary:literal [$($filter:literal)*] {$($sort:literal)*} $body:tt
        => $status:literal $answer:literal $(| $($code:ident)+)?;)*) => {
        /// All of them.
        pub static ROUTES: &[Route] = &[$(Route {
            method: Method::$method,
            path: $path,
            permission: $permission,
            scope: Scope::$scope,
            until: Until::$until,
            handler: |call| Box::pin($handler(call)),
            summary: $summary,
            filters: &[$($filter),*],
            sorts: &[$($sort),*],
            body: routes!(@body $body),
            answer: ($status, $answer),
            conflicts: &[$($(Code::$code),+)?],
        },)*];
    };
    (@body -) => { None };
    (@body $name:literal) => { Some($name) };
}

routes! {
    GET "/v1/me" ["me"] Own Suspended me::show:
        "Who the caller is and what it may do" [] {} - => 200 "Me";
    POST "/v1/tenants" ["tenant:create"] Platform Active tenants::api::create:
        "Make a tenant, with a database of its own" [] {} "NewTenant" => 202 "TenantMade" | AlreadyExists;
    GET "/v1/tenants" ["tenant:list"] Own Active tenants::api::list:
        "All tenants; a tenant sees itself" ["state" "search"] {"created_at" "id" "display_name"} - => 200 "TenantList";
    GET "/v1/tenants/{tenant_id}" ["tenant:read"] Tenant Suspended tenants::api::show:
        "One tenant" [] {} - => 200 "Tenant";
    PATCH "/v1/tenants/{tenant_id}" ["tenant:update"] Tenant Active tenants::api::update:
        "Change the display name or labels" [] {} "TenantPatch" => 200 "Tenant";
    POST "/v1/tenants/{tenant_id}/suspend" ["tenant:suspend"] Tenant Active tenants::api::suspend:
        "Refuse everything of a tenant until it is resumed" [] {} "Reason" => 200 "Tenant" | InvalidState;
    POST "/v1/tenants/{tenant_id}/resume" ["tenant:suspend"] Tenant Active tenants::api::resume:
        "End a suspension" [] {} "Reason" => 200 "Tenant" | InvalidState;
    POST "/v1/tenants/{tenant_id}/offboard" ["tenant:offboard"] Tenant Active tenants::offboard::offboard:
        "Silence a tenant, and erase it when its grace is over" [] {} "Offboard" => 202 "TenantMade" | InvalidState;
    POST "/v1/tenants/{tenant_id}/reinstate" ["tenant:offboard"] Tenant Active tenants::offboard::reinstate:
        "Bring a tenant back within its grace" [] {} "Reason" => 200 "Tenant" | InvalidState;
    GET "/v1/operations" ["operation:read"] Own Active operations::api::list:
        "Operations, oldest first" ["tenant_id" "state" "search"] {"created_at"} - => 200 "OperationList";
    GET "/v1/operations/{id}" ["operation:read"] Own Active operations::api::show:
        "One operation; waits for its end" ["wait_ms"] {} - => 200 "Operation";
    POST "/v1/operations/{id}/retry" ["operation:update"] Platform Active operations::api::retry:
        "Try a failed operation again" [] {} - => 200 "Operation" | InvalidState;
    POST "/v1/operations/{id}/cancel" ["operation:update"] Platform Active operations::api::cancel:
        "Give a failed operation up and clean up" [] {} - => 200 "Operation" | InvalidState;
    GET "/v1/clusters" ["cluster:read"] Platform Active clusters::list:
        "Where databases can be" ["search"] {"id"} - => 200 "ClusterList";
    POST "/v1/clusters" ["cluster:update"] Platform Active clusters::create:
        "Add a cluster, once it is reached and made ready" [] {} "NewCluster" => 201 "Cluster" | AlreadyExists;
    GET "/v1/clusters/{id}" ["cluster:read"] Platform Active clusters::show:
        "One cluster" [] {} - => 200 "Cluster";
    PATCH "/v1/clusters/{id}" ["cluster:update"] Platform Active clusters::update:
        "Change what it may hold, or how it is reached" [] {} "ClusterPatch" => 200 "Cluster";
    GET "/v1/settings" ["setting:read"] Platform Active settings::list:
        "All settings" ["search"] {"key"} - => 200 "SettingList";
    GET "/v1/settings/{key}" ["setting:read"] Platform Active settings::show:
        "One setting and where its value comes from" [] {} - => 200 "Setting";
    PUT "/v1/settings/{key}" ["setting:update"] Platform Active settings::put:
        "Set a value" [] {} "SettingPut" => 200 "Setting";
    DELETE "/v1/settings/{key}" ["setting:update"] Platform Active settings::delete:
        "Back to what the level above says" [] {} - => 204 "";
    GET "/v1/tenants/{tenant_id}/settings" ["setting:read"] Tenant Active settings::list:
        "All settings" ["search"] {"key"} - => 200 "SettingList";
    GET "/v1/tenants/{tenant_id}/settings/{key}" ["setting:read"] Tenant Active settings::show:
        "One setting and where its value comes from" [] {} - => 200 "Setting";
    PUT "/v1/tenants/{tenant_id}/settings/{key}" ["setting:update"] Tenant Active settings::put:
        "Set a value" [] {} "SettingPut" => 200 "Setting";
    DELETE "/v1/tenants/{tenant_id}/settings/{key}" ["setting:update"] Tenant Active settings::delete:
        "Back to what the level above says" [] {} - => 204 "";
    POST "/v1/api-keys" ["api-key:create"] Platform Active api_keys::api::create:
        "Make a key; its secret is shown once" [] {} "NewApiKey" => 201 "ApiKeyMade";
    GET "/v1/api-keys" ["api-key:read"] Platform Active api_keys::api::list:
        "All keys, without secrets" ["search"] {"created_at" "name"} - => 200 "ApiKeyList";
    GET "/v1/api-keys/{id}" ["api-key:read"] Platform Active api_keys::api::show:
        "One key" [] {} - => 200 "ApiKey";
    PATCH "/v1/api-keys/{id}" ["api-key:update"] Platform Active api_keys::api::update:
        "Change its name" [] {} "ApiKeyPatch" => 200 "ApiKey";
    DELETE "/v1/api-keys/{id}" ["api-key:revoke"] Platform Active api_keys::api::revoke:
        "Revoke it at once" [] {} - => 204 "" | InvalidState LastAdmin;
    POST "/v1/api-keys/{id}/rotate" ["api-key:update"] Platform Active api_keys::api::rotate:
        "A new secret | InvalidState; the old one works for the overlap" [] {} "Rotate" => 200 "ApiKeyMade";
    POST "/v1/tenants/{tenant_id}/api-keys" ["api-key:create"] Tenant Active api_keys::api::create:
        "Make a key; its secret is shown once" [] {} "NewApiKey" => 201 "ApiKeyMade";
    GET "/v1/tenants/{tenant_id}/api-keys" ["api-key:read"] Tenant Active api_keys::api::list:
        "All keys, without secrets" ["search"] {"created_at" "name"} - => 200 "ApiKeyList";
    GET "/v1/tenants/{tenant_id}/api-keys/{id}" ["api-key:read"] Tenant Active api_keys::api::show:
        "One key" [] {} - => 200 "ApiKey";
    PATCH "/v1/tenants/{tenant_id}/api-keys/{id}" ["api-key:update"] Tenant Active api_keys::api::update:
        "Change its name" [] {} "ApiKeyPatch" => 200 "ApiKey";
    DELETE "/v1/tenants/{tenant_id}/api-keys/{id}" ["api-key:revoke"] Tenant Active api_keys::api::revoke:
        "Revoke it at once" [] {} - => 204 "" | InvalidState LastAdmin;
    POST "/v1/tenants/{tenant_id}/api-keys/{id}/rotate" ["api-key:update"] Tenant Active api_keys::api::rotate:
        "A new secret | InvalidState; the old one works for the overlap" [] {} "Rotate" => 200 "ApiKeyMade";
    GET "/v1/audit-events" ["audit:read"] Platform Active audit_events::list:
        "The platform's audit log, oldest first" ["action" "actor" "resource" "outcome" "from" "to" "log"] {"at"} - => 200 "AuditEventList";
    POST "/v1/audit-events/verify" ["audit:read"] Platform Active chain::verify::verify:
        "Whether the platform's audit log is what was written" [] {} - => 200 "AuditVerified";
    POST "/v1/tenants/{tenant_id}/audit-events/verify" ["audit:read"] Tenant Suspended chain::verify::verify:
        "Whether a tenant's audit log is what was written" [] {} - => 200 "AuditVerified";
    POST "/v1/audit-events/exports" ["audit:read"] Platform Active audit_exports::create:
        "Export the platform's audit log" [] {} "NewAuditExport" => 202 "Operation";
    GET "/v1/audit-events/exports/{id}" ["audit:read"] Platform Active audit_exports::download:
        "The lines of an export" [] {} - => 200 "AuditLines" | InvalidState;
    POST "/v1/tenants/{tenant_id}/audit-events/exports" ["audit:read"] Tenant Suspended audit_exports::create:
        "Export a tenant's audit log" [] {} "NewAuditExport" => 202 "Operation";
    GET "/v1/tenants/{tenant_id}/audit-events/exports/{id}" ["audit:read"] Tenant Offboarding audit_exports::download:
        "The lines of an export" [] {} - => 200 "AuditLines" | InvalidState;
    GET "/v1/tenants/{tenant_id}/audit-events" ["audit:read"] Tenant Suspended audit_events::list:
        "A tenant's audit log, oldest first" ["action" "actor" "resource" "outcome" "from" "to" "log"] {"at"} - => 200 "AuditEventList";
    GET "/v1/tenants/{tenant_id}/policies" ["policy:read"] Tenant Active policies::api::list:
        "All policies" ["search"] {"name"} - => 200 "PolicyEntryList";
    GET "/v1/tenants/{tenant_id}/policies/{name}" ["policy:read"] Tenant Active policies::api::show:
        "What was published last under a name" [] {} - => 200 "PolicyVersion";
    GET "/v1/tenants/{tenant_id}/policies/{name}/draft" ["policy:read"] Tenant Active policies::api::show_draft:
        "What is being worked on" [] {} - => 200 "PolicyDraft";
    PUT "/v1/tenants/{tenant_id}/policies/{name}/draft" ["policy:update"] Tenant Active policies::api::put_draft:
        "Write a draft, whole" [] {} "PolicyDraftPut" => 200 "PolicyDraft";
    DELETE "/v1/tenants/{tenant_id}/policies/{name}/draft" ["policy:update"] Tenant Active policies::api::delete_draft:
        "Give a draft up" [] {} - => 204 "";
    POST "/v1/tenants/{tenant_id}/policies/{name}/lint" ["policy:read"] Tenant Active policies::api::lint:
        "What keeps a draft from loading, or what lint says of it" [] {} - => 200 "PolicyLint";
    POST "/v1/tenants/{tenant_id}/policies/{name}/test" ["policy:read"] Tenant Active policies::api::test:
        "Run a draft's tests" [] {} - => 200 "PolicyTest" | PolicyInvalid;
    POST "/v1/tenants/{tenant_id}/policies/{name}/diff" ["policy:read"] Tenant Active policies::api::diff:
        "Who gains and loses by a draft" [] {} - => 200 "PolicyDiff" | PolicyInvalid;
    POST "/v1/tenants/{tenant_id}/policies/{name}/publish" ["policy:publish"] Tenant Active policies::api::publish:
        "Bring a draft into force" [] {} - => 200 "PolicyPublished" | VersionMismatch PolicyInvalid PolicyTestsFailed;
    POST "/v1/tenants/{tenant_id}/policies/{name}/rollback" ["policy:publish"] Tenant Active policies::api::rollback:
        "Bring an earlier version into force again" [] {} "PolicyRollback" => 200 "PolicyPublished" | VersionMismatch PolicyInvalid PolicyTestsFailed;
    GET "/v1/tenants/{tenant_id}/policies/{name}/versions" ["policy:read"] Tenant Active policies::api::versions:
        "What was published under a name" [] {"number"} - => 200 "PolicyVersionEntryList";
    GET "/v1/tenants/{tenant_id}/policies/{name}/versions/{number}" ["policy:read"] Tenant Active policies::api::version:
        "One version, as it was published" [] {} - => 200 "PolicyVersion";
    GET "/v1/tenants/{tenant_id}/limits" ["limit:read"] Tenant Active limits::api::list:
        "All limits" ["search"] {"id"} - => 200 "LimitList";
    GET "/v1/tenants/{tenant_id}/limits/{id}" ["limit:read"] Tenant Active limits::api::show:
        "One limit" [] {} - => 200 "Limit";
    PUT "/v1/tenants/{tenant_id}/limits/{id}" ["limit:update"] Tenant Active limits::api::put:
        "Write a limit, whole; in force at once" [] {} "Limit" => 200 "Limit";
    DELETE "/v1/tenants/{tenant_id}/limits/{id}" ["limit:update"] Tenant Active limits::api::delete:
        "Remove a limit; in force at once" [] {} - => 204 "";
    GET "/v1/tenants/{tenant_id}/bundle" ["bundle:read"] Tenant Active bundle::signed::show:
        "What sidecars decide by, signed" [] {} - => 200 "Bundle" | NotFound;
    GET "/v1/migrations" ["migration:read"] Platform Active fleet::list:
        "Migrations of tenants' databases" [] {"created_at"} - => 200 "MigrationList";
    POST "/v1/migrations" ["migration:update"] Platform Active fleet::create:
        "Bring every tenant's database to this program's schema" [] {} - => 202 "Migration";
    GET "/v1/migrations/{id}" ["migration:read"] Platform Active fleet::show:
        "One migration" [] {} - => 200 "Migration";
    POST "/v1/migrations/{id}/pause" ["migration:update"] Platform Active fleet::pause:
        "Begin no further tenant" [] {} - => 200 "Migration" | InvalidState;
    POST "/v1/migrations/{id}/resume" ["migration:update"] Platform Active fleet::resume:
        "Go on" [] {} - => 200 "Migration" | InvalidState;
    GET "/v1/sidecars" ["sidecar:read"] Platform Active sidecars::list:
        "Sidecars that follow this control plane" [] {"created_at"} - => 200 "SidecarList";
    GET "/v1/users" ["user:read"] Platform Active users::list:
        "People of the platform" ["state" "search"] {"created_at" "display_name"} - => 200 "UserList";
    POST "/v1/users" ["user:create"] Platform Active users::create:
        "Let somebody of the platform sign in" [] {} "NewUser" => 201 "User" | AlreadyExists;
    GET "/v1/users/{id}" ["user:read"] Platform Active users::show:
        "One of them" [] {} - => 200 "User";
    PATCH "/v1/users/{id}" ["user:update"] Platform Active users::update:
        "Change a name or address, disable or enable" [] {} "UserPatch" => 200 "User" | LastAdmin;
    DELETE "/v1/users/{id}" ["user:delete"] Platform Active users::delete:
        "Remove somebody with what is bound to them" [] {} - => 204 "" | LastAdmin;
    POST "/v1/users/{id}/sign-out" ["user:update"] Platform Active users::sign_out_now:
        "End somebody's sessions; tokens issued before are refused" [] {} - => 200 "User";
    GET "/v1/role-bindings" ["role-binding:read"] Platform Active role_bindings::list:
        "Who of the platform has which role" ["subject" "role" "search"] {"created_at"} - => 200 "RoleBindingList";
    POST "/v1/role-bindings" ["role-binding:create"] Platform Active role_bindings::create:
        "Give somebody of the platform a role" [] {} "NewRoleBinding" => 201 "RoleBinding" | AlreadyExists RoleTooWide;
    GET "/v1/role-bindings/{id}" ["role-binding:read"] Platform Active role_bindings::show:
        "One role binding" [] {} - => 200 "RoleBinding";
    PATCH "/v1/role-bindings/{id}" ["role-binding:update"] Platform Active role_bindings::update:
        "Change when a role ends" [] {} "RoleBindingPatch" => 200 "RoleBinding" | RoleTooWide;
    DELETE "/v1/role-bindings/{id}" ["role-binding:delete"] Platform Active role_bindings::delete:
        "Take a role away; at once" [] {} - => 204 "" | LastAdmin;
    GET "/v1/tenants/{tenant_id}/users" ["user:read"] Tenant Active users::list:
        "All users" ["state" "search"] {"created_at" "display_name"} - => 200 "UserList";
    POST "/v1/tenants/{tenant_id}/users" ["user:create"] Tenant Active users::create:
        "Know a user before the first sign-in" [] {} "NewUser" => 201 "User" | AlreadyExists;
    GET "/v1/tenants/{tenant_id}/users/{id}" ["user:read"] Tenant Active users::show:
        "One user" [] {} - => 200 "User";
    GET "/v1/tenants/{tenant_id}/users/{id}/export" ["user:read"] Tenant Active users::export:
        "All that there is of one user" [] {} - => 200 "UserExport";
    PATCH "/v1/tenants/{tenant_id}/users/{id}" ["user:update"] Tenant Active users::update:
        "Change a user's name or address, disable or enable" [] {} "UserPatch" => 200 "User" | LastAdmin;
    DELETE "/v1/tenants/{tenant_id}/users/{id}" ["user:delete"] Tenant Active users::delete:
        "Remove a user with its memberships and roles" [] {} - => 204 "" | LastAdmin;
    POST "/v1/tenants/{tenant_id}/users/{id}/sign-out" ["user:update"] Tenant Active users::sign_out_now:
        "End a user's sessions; tokens issued before are refused" [] {} - => 200 "User";
    GET "/v1/tenants/{tenant_id}/break-glass-grants" ["break-glass:read"] Tenant Active break_glass::list:
        "Who of the platform may see what is the people's own" ["search"] {"created_at"} - => 200 "BreakGlassGrantList";
    POST "/v1/tenants/{tenant_id}/break-glass-grants" ["break-glass:create"] Tenant Active break_glass::create:
        "Ask to see what is the people's own, for some hours" [] {} "NewBreakGlassGrant" => 201 "BreakGlassGrant";
    GET "/v1/tenants/{tenant_id}/break-glass-grants/{id}" ["break-glass:read"] Tenant Active break_glass::show:
        "One grant" [] {} - => 200 "BreakGlassGrant";
    POST "/v1/tenants/{tenant_id}/break-glass-grants/{id}/approve" ["break-glass:update"] Tenant Active break_glass::approve:
        "Let another's grant begin" [] {} - => 200 "BreakGlassGrant" | InvalidState;
    DELETE "/v1/tenants/{tenant_id}/break-glass-grants/{id}" ["break-glass:update"] Tenant Active break_glass::end:
        "End a grant at once" [] {} - => 204 "";
    GET "/v1/kill-switches" ["break-glass:read"] Platform Active kill_switches::list:
        "What stops everything, and what did" ["search"] {"created_at"} - => 200 "KillSwitchList";
    POST "/v1/kill-switches" ["break-glass:create"] Platform Active kill_switches::create:
        "Ask that everything stop; another confirms" [] {} "Reason" => 201 "KillSwitch";
    GET "/v1/kill-switches/{id}" ["break-glass:read"] Platform Active kill_switches::show:
        "One kill switch" [] {} - => 200 "KillSwitch";
    POST "/v1/kill-switches/{id}/confirm" ["break-glass:update"] Platform Active kill_switches::confirm:
        "Stop everything: each request of each tenant is refused" [] {} - => 200 "KillSwitch" | InvalidState;
    DELETE "/v1/kill-switches/{id}" ["break-glass:update"] Platform Active kill_switches::end:
        "Let decisions go on" [] {} - => 204 "";
    GET "/v1/tenants/{tenant_id}/groups" ["group:read"] Tenant Active groups::list:
        "All groups" ["search"] {"created_at" "display_name"} - => 200 "GroupList";
    POST "/v1/tenants/{tenant_id}/groups" ["group:create"] Tenant Active groups::create:
        "Make a group" [] {} "NewGroup" => 201 "Group";
    GET "/v1/tenants/{tenant_id}/groups/{id}" ["group:read"] Tenant Active groups::show:
        "One group" [] {} - => 200 "Group";
    PATCH "/v1/tenants/{tenant_id}/groups/{id}" ["group:update"] Tenant Active groups::update:
        "Change a group's name" [] {} "NewGroup" => 200 "Group";
    DELETE "/v1/tenants/{tenant_id}/groups/{id}" ["group:delete"] Tenant Active groups::delete:
        "Remove a group with its roles; its members stay users" [] {} - => 204 "" | LastAdmin;
    GET "/v1/tenants/{tenant_id}/groups/{id}/members" ["group:read"] Tenant Active groups::members:
        "Who is in a group" ["search"] {"user_id"} - => 200 "GroupMemberList";
    GET "/v1/tenants/{tenant_id}/groups/{id}/members/{user_id}" ["group:read"] Tenant Active groups::member:
        "Whether a user is in a group" [] {} - => 200 "GroupMember";
    PUT "/v1/tenants/{tenant_id}/groups/{id}/members/{user_id}" ["group:update"] Tenant Active groups::add:
        "Add a user to a group" [] {} - => 200 "GroupMember" | RoleTooWide;
    DELETE "/v1/tenants/{tenant_id}/groups/{id}/members/{user_id}" ["group:update"] Tenant Active groups::remove:
        "Take a user out of a group" [] {} - => 204 "" | LastAdmin;
    GET "/v1/tenants/{tenant_id}/role-bindings" ["role-binding:read"] Tenant Active role_bindings::list:
        "Who has which role" ["subject" "role" "search"] {"created_at"} - => 200 "RoleBindingList";
    POST "/v1/tenants/{tenant_id}/role-bindings" ["role-binding:create"] Tenant Active role_bindings::create:
        "Give a user or a group a role" [] {} "NewRoleBinding" => 201 "RoleBinding" | AlreadyExists RoleTooWide;
    GET "/v1/tenants/{tenant_id}/role-bindings/{id}" ["role-binding:read"] Tenant Active role_bindings::show:
        "One role binding" [] {} - => 200 "RoleBinding";
    PATCH "/v1/tenants/{tenant_id}/role-bindings/{id}" ["role-binding:update"] Tenant Active role_bindings::update:
        "Change when a role ends" [] {} "RoleBindingPatch" => 200 "RoleBinding" | RoleTooWide;
    DELETE "/v1/tenants/{tenant_id}/role-bindings/{id}" ["role-binding:delete"] Tenant Active role_bindings::delete:
        "Take a role away; at once" [] {} - => 204 "" | LastAdmin;
    GET "/v1/tenants/{tenant_id}/roles" ["role:read"] Tenant Active roles::list:
        "Built-in roles and the tenant's own" ["search"] {"name"} - => 200 "RoleList";
    GET "/v1/tenants/{tenant_id}/roles/{name}" ["role:read"] Tenant Active roles::show:
        "One role" [] {} - => 200 "Role";
    PUT "/v1/tenants/{tenant_id}/roles/{name}" ["role:update"] Tenant Active roles::put:
        "Write a role of the tenant's own, whole" [] {} "RolePut" => 200 "Role" | RoleTooWide;
    DELETE "/v1/tenants/{tenant_id}/roles/{name}" ["role:update"] Tenant Active roles::delete:
        "Remove a role that nobody has" [] {} - => 204 "" | InUse;
    GET "/v1/tenants/{tenant_id}/access" ["role-binding:read"] Tenant Active access::list:
        "Who may do what, and when they did something last" ["permission" "type" "search"] {"id"} - => 200 "AccessList";
    GET "/v1/identity-providers" ["identity-provider:read"] Platform Active identity_providers::list:
        "Whose tokens are accepted" ["search"] {"created_at"} - => 200 "IdentityProviderList";
    POST "/v1/identity-providers" ["identity-provider:create"] Platform Active identity_providers::create:
        "Accept an identity provider's tokens" [] {} "NewIdentityProvider" => 201 "IdentityProvider" | AlreadyExists;
    GET "/v1/identity-providers/{id}" ["identity-provider:read"] Platform Active identity_providers::show:
        "One identity provider" [] {} - => 200 "IdentityProvider";
    PATCH "/v1/identity-providers/{id}" ["identity-provider:update"] Platform Active identity_providers::update:
        "Change how its tokens are held and read" [] {} "IdentityProviderPatch" => 200 "IdentityProvider";
    DELETE "/v1/identity-providers/{id}" ["identity-provider:delete"] Platform Active identity_providers::delete:
        "Accept its tokens no more" [] {} - => 204 "" | InUse;
    GET "/v1/organisations" ["identity-provider:read"] Platform Active organisations::list:
        "Organisations and their tenants" ["issuer" "tenant_id" "search"] {"created_at"} - => 200 "OrganisationList";
    POST "/v1/organisations" ["identity-provider:create"] Platform Active organisations::create:
        "Link an issuer's organisation to a tenant" [] {} "NewOrganisation" => 201 "Organisation" | AlreadyExists;
    GET "/v1/organisations/{id}" ["identity-provider:read"] Platform Active organisations::show:
        "One link" [] {} - => 200 "Organisation";
    DELETE "/v1/organisations/{id}" ["identity-provider:delete"] Platform Active organisations::delete:
        "Unlink; its people are refused at once" [] {} - => 204 "";
    GET "/v1/roles" ["role:read"] Own Active roles::built_ins:
        "Built-in roles and their permissions" ["search"] {"name"} - => 200 "RoleList";
}

/// The route of a method and a path's decoded segments.
pub fn find(method: &Method, segments: &[String]) -> Found {
    let mut allowed = Vec::new();
    for route in ROUTES {
        let Some(parameters) = matched(route.path, segments) else { continue };
        if route.method == *method {
            return Found::Route(route, parameters);
        }
        allowed.push(route.method.to_string());
    }
    match allowed.is_empty() {
        true => Found::Nothing,
        false => Found::OtherMethods(allowed),
    }
}

fn matched(path: &str, segments: &[String]) -> Option<Vec<String>> {
    let mut parameters = Vec::new();
    let mut given = segments.iter();
    for expected in path.split('/').skip(1) {
        let segment = given.next()?;
        match expected {
            "{tenant_id}" => {}
            name if name.starts_with('{') => parameters.push(segment.clone()),
            literal if literal == segment => {}
            _ => return None,
        }
    }
    given.next().is_none().then_some(parameters)
}
