//! Every route, its permission and its handler: a route without a permission does not compile.

use crate::authority::Permission;
use crate::call::{Call, Reply};
use crate::write::Stop;
use crate::{api_keys, audit_events, clusters, me, operations, settings, tenants};
use http::Method;
use std::pin::Pin;

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

/// One method of one path.
pub struct Route {
    pub method: Method,
    /// `{tenant_id}` and other values stand in braces.
    pub path: &'static str,
    pub permission: Permission,
    pub scope: Scope,
    /// A suspended tenant's administrators and auditors may still call it.
    pub while_suspended: bool,
    pub handler: for<'c> fn(&'c Call) -> Answered<'c>,
}

impl std::fmt::Debug for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} [{}]", self.method, self.path, self.permission)
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
    ($($method:ident $path:literal [$permission:literal] $scope:ident $suspended:literal $handler:path;)*) => {
        /// All of them.
        pub static ROUTES: &[Route] = &[$(Route {
            method: Method::$method,
            path: $path,
            permission: $permission,
            scope: Scope::$scope,
            while_suspended: $suspended,
            handler: |call| Box::pin($handler(call)),
        },)*];
    };
}

routes! {
    GET "/v1/me" ["me"] Own true me::show;
    POST "/v1/tenants" ["tenant:create"] Platform false tenants::api::create;
    GET "/v1/tenants" ["tenant:list"] Own false tenants::api::list;
    GET "/v1/tenants/{tenant_id}" ["tenant:read"] Tenant true tenants::api::show;
    PATCH "/v1/tenants/{tenant_id}" ["tenant:update"] Tenant false tenants::api::update;
    POST "/v1/tenants/{tenant_id}/suspend" ["tenant:suspend"] Tenant false tenants::api::suspend;
    POST "/v1/tenants/{tenant_id}/resume" ["tenant:suspend"] Tenant false tenants::api::resume;
    GET "/v1/operations" ["operation:read"] Own false operations::api::list;
    GET "/v1/operations/{id}" ["operation:read"] Own false operations::api::show;
    POST "/v1/operations/{id}/retry" ["operation:update"] Platform false operations::api::retry;
    POST "/v1/operations/{id}/cancel" ["operation:update"] Platform false operations::api::cancel;
    GET "/v1/clusters" ["cluster:read"] Platform false clusters::list;
    GET "/v1/settings" ["setting:read"] Platform false settings::list;
    GET "/v1/settings/{key}" ["setting:read"] Platform false settings::show;
    PUT "/v1/settings/{key}" ["setting:update"] Platform false settings::put;
    DELETE "/v1/settings/{key}" ["setting:update"] Platform false settings::delete;
    GET "/v1/tenants/{tenant_id}/settings" ["setting:read"] Tenant false settings::list;
    GET "/v1/tenants/{tenant_id}/settings/{key}" ["setting:read"] Tenant false settings::show;
    PUT "/v1/tenants/{tenant_id}/settings/{key}" ["setting:update"] Tenant false settings::put;
    DELETE "/v1/tenants/{tenant_id}/settings/{key}" ["setting:update"] Tenant false settings::delete;
    POST "/v1/api-keys" ["api-key:create"] Platform false api_keys::api::create;
    GET "/v1/api-keys" ["api-key:read"] Platform false api_keys::api::list;
    GET "/v1/api-keys/{id}" ["api-key:read"] Platform false api_keys::api::show;
    PATCH "/v1/api-keys/{id}" ["api-key:update"] Platform false api_keys::api::update;
    DELETE "/v1/api-keys/{id}" ["api-key:revoke"] Platform false api_keys::api::revoke;
    POST "/v1/api-keys/{id}/rotate" ["api-key:update"] Platform false api_keys::api::rotate;
    POST "/v1/tenants/{tenant_id}/api-keys" ["api-key:create"] Tenant false api_keys::api::create;
    GET "/v1/tenants/{tenant_id}/api-keys" ["api-key:read"] Tenant false api_keys::api::list;
    GET "/v1/tenants/{tenant_id}/api-keys/{id}" ["api-key:read"] Tenant false api_keys::api::show;
    PATCH "/v1/tenants/{tenant_id}/api-keys/{id}" ["api-key:update"] Tenant false api_keys::api::update;
    DELETE "/v1/tenants/{tenant_id}/api-keys/{id}" ["api-key:revoke"] Tenant false api_keys::api::revoke;
    POST "/v1/tenants/{tenant_id}/api-keys/{id}/rotate" ["api-key:update"] Tenant false api_keys::api::rotate;
    GET "/v1/audit-events" ["audit:read"] Platform false audit_events::list;
    GET "/v1/tenants/{tenant_id}/audit-events" ["audit:read"] Tenant true audit_events::list;
    GET "/v1/roles" ["role:read"] Own false me::roles;
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
