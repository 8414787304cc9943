//! Each command as a call of the API.

use super::commands::{Audit, Key, Limit, Operation, Policy, Setting, Tenant};
use crate::api::calls::{self, Call};
use crate::exit::Exit;
use crate::folder::FolderFiles;
use serde_json::{Map, Value as Json, json};
use std::path::Path;

/// As long as the API lets one wait.
const WAIT_MS: i64 = 30_000;

/// One call, and what of its answer is shown.
pub(crate) struct Ask {
    pub(super) call: Call,
    pub(super) columns: &'static [&'static str],
}

const TENANTS: &[&str] = &["id", "display_name", "state", "created_at"];
const OPERATIONS: &[&str] = &["id", "kind", "tenant_id", "state", "created_at"];
const KEYS: &[&str] = &["id", "name", "roles", "scopes", "expires_at", "revoked_at"];
const SETTINGS: &[&str] = &["key", "value", "origin", "unit"];
const POLICIES: &[&str] = &["name", "draft_version", "published_number", "in_force"];
const DRAFT: &[&str] = &["name", "version", "updated_by", "updated_at"];
const VERSIONS: &[&str] = &["name", "number", "bundle_seq", "published_by", "published_at"];
const LIMITS: &[&str] = &["id", "meter", "bucket", "budget", "dimensions", "version"];
const VERIFIED: &[&str] = &["whole", "sequenced", "waiting", "tampered", "head.seq", "findings"];
const EVENTS: &[&str] = &["at", "actor.id", "action", "resource.type", "resource.id", "outcome"];

/// A noun's commands as calls, of a tenant or of the platform.
pub(crate) trait Asks {
    /// # Errors
    /// What was typed is no call.
    fn ask(&self, tenant: Option<&str>) -> Result<Ask, (Exit, String)>;
}

/// The tenant's operation, or the platform's with the same arguments.
macro_rules! at {
    ($tenant:expr, $own:ident or $platform:ident, ($($argument:expr),*)) => {
        match $tenant {
            Some(tenant) => calls::$own(tenant, $($argument),*),
            None => calls::$platform($($argument),*),
        }
    };
}
pub(super) use at;

impl Asks for Tenant {
    fn ask(&self, _tenant: Option<&str>) -> Result<Ask, (Exit, String)> {
        let call = match self {
            Tenant::Create { id, display_name, labels } => {
                let display_name = display_name.as_ref().unwrap_or(id);
                let labels = pairs(labels);
                calls::post_tenants(&calls::NewTenant {
                    id,
                    display_name,
                    labels: Some(&labels),
                    jurisdictions: None,
                })
            }
            Tenant::List { state, wanted } => calls::get_tenants(&calls::TenantQuery {
                state: state.as_deref(),
                search: wanted.search.as_deref(),
                sort: wanted.sort.as_deref(),
                ..Default::default()
            }),
            Tenant::Show { id } => calls::get_tenants_tenant_id(id),
            Tenant::Update { id, display_name, labels } => {
                let (display_name, labels) = (display_name.as_deref(), pairs(labels));
                let body = calls::TenantPatch { display_name, labels: Some(&labels) };
                calls::patch_tenants_tenant_id(id, &body)
            }
            Tenant::Suspend { id, reason } => {
                calls::post_tenants_tenant_id_suspend(id, &calls::Reason { reason })
            }
            Tenant::Resume { id, reason } => {
                calls::post_tenants_tenant_id_resume(id, &calls::Reason { reason })
            }
            Tenant::Offboard { id, reason, grace_days } => {
                let grace_days = grace_days.map(i64::from);
                calls::post_tenants_tenant_id_offboard(id, &calls::Offboard { reason, grace_days })
            }
            Tenant::Reinstate { id, reason } => {
                calls::post_tenants_tenant_id_reinstate(id, &calls::Reason { reason })
            }
        };
        Ok(Ask { call, columns: TENANTS })
    }
}

impl Asks for Operation {
    fn ask(&self, tenant: Option<&str>) -> Result<Ask, (Exit, String)> {
        let wait = |wait_ms| calls::GetOperationsIdQuery { wait_ms };
        let call = match self {
            Operation::List { state, wanted } => calls::get_operations(&calls::OperationQuery {
                state: state.as_deref(),
                tenant_id: tenant,
                search: wanted.search.as_deref(),
                sort: wanted.sort.as_deref(),
                ..Default::default()
            }),
            Operation::Show { id } => calls::get_operations_id(id, &wait(None)),
            Operation::Wait { id } => calls::get_operations_id(id, &wait(Some(WAIT_MS))),
            Operation::Retry { id } => calls::post_operations_id_retry(id),
            Operation::Cancel { id } => calls::post_operations_id_cancel(id),
        };
        Ok(Ask { call, columns: OPERATIONS })
    }
}

impl Asks for Key {
    fn ask(&self, tenant: Option<&str>) -> Result<Ask, (Exit, String)> {
        let call = match self {
            Key::Create { name, roles, scopes, expires_at } => {
                let expires_at = expires_at.as_deref();
                let body = calls::NewApiKey { name, roles, scopes: Some(scopes), expires_at };
                at!(tenant, post_tenants_tenant_id_api_keys or post_api_keys, (&body))
            }
            Key::List { wanted } => {
                let query = calls::ApiKeyQuery {
                    search: wanted.search.as_deref(),
                    sort: wanted.sort.as_deref(),
                    ..Default::default()
                };
                at!(tenant, get_tenants_tenant_id_api_keys or get_api_keys, (&query))
            }
            Key::Show { id } => {
                at!(tenant, get_tenants_tenant_id_api_keys_id or get_api_keys_id, (id))
            }
            Key::Rotate { id, overlap_seconds } => {
                let body = calls::Rotate { overlap_seconds: i64::from(*overlap_seconds) };
                at!(tenant, post_tenants_tenant_id_api_keys_id_rotate or post_api_keys_id_rotate, (id, &body))
            }
            Key::Revoke { id } => {
                at!(tenant, delete_tenants_tenant_id_api_keys_id or delete_api_keys_id, (id))
            }
        };
        Ok(Ask { call, columns: KEYS })
    }
}

impl Asks for Setting {
    fn ask(&self, tenant: Option<&str>) -> Result<Ask, (Exit, String)> {
        let call = match self {
            Setting::List { wanted } => {
                let query = calls::SettingQuery {
                    search: wanted.search.as_deref(),
                    sort: wanted.sort.as_deref(),
                    ..Default::default()
                };
                at!(tenant, get_tenants_tenant_id_settings or get_settings, (&query))
            }
            Setting::Get { key } => {
                at!(tenant, get_tenants_tenant_id_settings_key or get_settings_key, (key))
            }
            Setting::Set { key, value } => {
                let value = serde_json::from_str(value).unwrap_or_else(|_| json!(value));
                let body = calls::SettingPut { value: &value };
                at!(tenant, put_tenants_tenant_id_settings_key or put_settings_key, (key, &body))
            }
            Setting::Unset { key } => {
                at!(tenant, delete_tenants_tenant_id_settings_key or delete_settings_key, (key))
            }
        };
        Ok(Ask { call, columns: SETTINGS })
    }
}

impl Asks for Audit {
    fn ask(&self, tenant: Option<&str>) -> Result<Ask, (Exit, String)> {
        let Audit::List { action, actor, resource, outcome, from, to, log, sort } = self else {
            let call = at!(tenant, post_tenants_tenant_id_audit_events_verify or post_audit_events_verify, ());
            return Ok(Ask { call, columns: VERIFIED });
        };
        let query = calls::AuditEventQuery {
            action: action.as_deref(),
            actor: actor.as_deref(),
            resource: resource.as_deref(),
            outcome: outcome.as_deref(),
            from: from.as_deref(),
            to: to.as_deref(),
            log: log.as_deref(),
            sort: sort.as_deref(),
            ..Default::default()
        };
        let call = at!(tenant, get_tenants_tenant_id_audit_events or get_audit_events, (&query));
        Ok(Ask { call, columns: EVENTS })
    }
}

/// Policies and limits are a tenant's.
pub(super) fn own(tenant: Option<&str>) -> Result<&str, (Exit, String)> {
    tenant.ok_or_else(|| (Exit::Usage, "whose? name the tenant with --tenant".to_owned()))
}

impl Asks for Policy {
    fn ask(&self, tenant: Option<&str>) -> Result<Ask, (Exit, String)> {
        let tenant = own(tenant)?;
        let query = || calls::PolicyEntryQuery::default();
        let (call, columns) = match self {
            Policy::List { .. } => {
                (calls::get_tenants_tenant_id_policies(tenant, &query()), POLICIES)
            }
            Policy::Show { name, .. } => {
                (calls::get_tenants_tenant_id_policies_name(tenant, name), VERSIONS)
            }
            Policy::Draft { name, dir, .. } => {
                let files = files(dir)?;
                let body = calls::PolicyDraftPut { files: &files };
                (calls::put_tenants_tenant_id_policies_name_draft(tenant, name, &body), DRAFT)
            }
            Policy::Publish { name, .. } => {
                (calls::post_tenants_tenant_id_policies_name_publish(tenant, name), VERSIONS)
            }
            Policy::Rollback { name, number, .. } => {
                let body = calls::PolicyRollback { number: *number };
                (
                    calls::post_tenants_tenant_id_policies_name_rollback(tenant, name, &body),
                    VERSIONS,
                )
            }
            Policy::Versions { name, .. } => {
                let query = calls::PolicyVersionEntryQuery::default();
                (
                    calls::get_tenants_tenant_id_policies_name_versions(tenant, name, &query),
                    VERSIONS,
                )
            }
        };
        Ok(Ask { call, columns })
    }
}

/// The files of a policy folder as a draft has them; limits stand on their own.
fn files(dir: &Path) -> Result<Map<String, Json>, (Exit, String)> {
    let shown = dir.display();
    let folder = FolderFiles::read(dir);
    let folder = folder.map_err(|error| (Exit::Usage, format!("{shown}: {error}")))?;
    let mut files = Map::new();
    for file in folder.files().iter().filter(|file| !file.path.ends_with("limits.toml")) {
        let name = file.path.rsplit('/').next().unwrap_or(file.path);
        let text = std::str::from_utf8(file.bytes);
        let text = text.map_err(|error| (Exit::DoesNotLoad, format!("{}: {error}", file.path)))?;
        files.insert(name.to_owned(), json!(text));
    }
    match files.is_empty() {
        true => Err((Exit::DoesNotLoad, format!("{shown}: no file of a policy"))),
        false => Ok(files),
    }
}

impl Asks for Limit {
    fn ask(&self, tenant: Option<&str>) -> Result<Ask, (Exit, String)> {
        let tenant = own(tenant)?;
        let call = match self {
            Limit::List { wanted } => {
                let query = calls::LimitQuery {
                    search: wanted.search.as_deref(),
                    sort: wanted.sort.as_deref(),
                    ..Default::default()
                };
                calls::get_tenants_tenant_id_limits(tenant, &query)
            }
            Limit::Show { id } => calls::get_tenants_tenant_id_limits_id(tenant, id),
            Limit::Set { id, document } => {
                let document: Map<String, Json> = serde_json::from_str(document)
                    .map_err(|error| (Exit::Usage, format!("a limit is a JSON object: {error}")))?;
                let mut call = calls::get_tenants_tenant_id_limits_id(tenant, id);
                call.body = Some(Json::Object(document));
                Call { method: "PUT", needs_etag: true, ..call }
            }
            Limit::Unset { id } => calls::delete_tenants_tenant_id_limits_id(tenant, id),
        };
        Ok(Ask { call, columns: LIMITS })
    }
}

/// KEY=VALUE as members; KEY= is null, which removes.
fn pairs(texts: &[String]) -> Map<String, Json> {
    let pair = |text: &String| {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        (name.to_owned(), if value.is_empty() { Json::Null } else { json!(value) })
    };
    texts.iter().map(pair).collect()
}
