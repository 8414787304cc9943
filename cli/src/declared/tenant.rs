//! The tenant's side: what is in force, read over the API, and the calls that change it.

use super::{Done, Limits, OWNER};
use crate::api::calls::{self, Call};
use crate::api::{Answer, Api};
use crate::exit::Exit;
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeMap;

/// A limit in force.
#[derive(Debug)]
pub(super) struct Limit {
    pub(super) members: Map<String, Json>,
    pub(super) is_ours: bool,
    version: i64,
}

/// What a tenant decides by.
#[derive(Debug)]
pub(super) struct InForce {
    /// Its policy's name and files, once one is published.
    pub(super) policy: Option<(String, BTreeMap<String, String>)>,
    pub(super) limits: BTreeMap<String, Limit>,
}

fn files(json: &Json) -> BTreeMap<String, String> {
    let file = |(name, text): (&String, &Json)| Some((name.clone(), text.as_str()?.to_owned()));
    json["files"].as_object().into_iter().flatten().filter_map(file).collect()
}

impl InForce {
    pub(super) fn read(api: &Api, tenant: &str) -> Done<InForce> {
        let all =
            calls::get_tenants_tenant_id_policies(tenant, &calls::PolicyEntryQuery::default());
        let all = api.list(&all)?;
        let in_force = all.iter().find(|policy| policy["in_force"] == true);
        let policy = match in_force.and_then(|policy| policy["name"].as_str()) {
            Some(name) => {
                let found =
                    api.ask(&calls::get_tenants_tenant_id_policies_name(tenant, name), None)?;
                Some((name.to_owned(), files(&found.json)))
            }
            None => None,
        };
        let limits = calls::get_tenants_tenant_id_limits(tenant, &calls::LimitQuery::default());
        let limits = api.list(&limits)?.into_iter().filter_map(Limit::of).collect();
        Ok(InForce { policy, limits })
    }

    /// The limits without whose they are.
    pub(super) fn members(&self) -> Limits {
        self.limits.iter().map(|(id, limit)| (id.clone(), limit.members.clone())).collect()
    }
}

impl Limit {
    fn of(json: Json) -> Option<(String, Limit)> {
        let Json::Object(mut members) = json else { return None };
        let id = members.remove("id")?.as_str()?.to_owned();
        let version = members.remove("version")?.as_i64()?;
        let is_ours = members.remove("managed_by").is_some_and(|owner| owner == OWNER);
        Some((id, Limit { members, is_ours, version }))
    }
}

/// Writes a limit, if it is still what it was when the plan was made.
pub(super) fn put_limit(
    api: &Api,
    tenant: &str,
    id: &str,
    (members, was): (&Map<String, Json>, Option<&Limit>),
) -> Done<()> {
    let mut body = members.clone();
    body.insert("managed_by".to_owned(), json!(OWNER));
    let call = calls::get_tenants_tenant_id_limits_id(tenant, id);
    let call = Call { method: "PUT", body: Some(Json::Object(body)), ..call };
    let etag = etag(api, tenant, id, was)?;
    api.ask(&call, Some(&etag)).map(drop)
}

/// Removes a limit, if it is still what it was when the plan was made.
pub(super) fn delete_limit(api: &Api, tenant: &str, id: &str, was: &Limit) -> Done<()> {
    let call = calls::delete_tenants_tenant_id_limits_id(tenant, id);
    let etag = etag(api, tenant, id, Some(was))?;
    api.ask(&call, Some(&etag)).map(drop)
}

/// The ETag of what the plan was made from. Limits from before a tenant's first bundle get a version with it.
fn etag(api: &Api, tenant: &str, id: &str, was: Option<&Limit>) -> Done<String> {
    let version = was.map_or(0, |limit| limit.version);
    if let Some(was) = was.filter(|limit| limit.version == 0) {
        let found = api.ask(&calls::get_tenants_tenant_id_limits_id(tenant, id), None)?;
        let now = Limit::of(found.json).filter(|(_, limit)| limit.members == was.members);
        if let (Some(_), Some(etag)) = (now, found.etag) {
            return Ok(etag);
        }
    }
    Ok(format!("\"{version}\""))
}

/// A policy's draft, and what keeps it from being written over.
#[derive(Debug)]
pub(super) struct Draft {
    etag: Option<String>,
    is_wanted: bool,
}

impl Draft {
    /// # Errors
    /// Somebody else works on a draft that is neither in force nor what is wanted: it is not written over.
    pub(super) fn read(
        api: &Api,
        tenant: &str,
        name: &str,
        (wanted, in_force): (&BTreeMap<String, String>, Option<&BTreeMap<String, String>>),
    ) -> Done<Draft> {
        let call = calls::get_tenants_tenant_id_policies_name_draft(tenant, name);
        let found: Answer = api
            .call(call.method, &call.path, None, None)
            .map_err(|message| (Exit::Unreachable, message))?;
        if found.status == 404 && found.json["error"]["code"] == "not-found" {
            return Ok(Draft { etag: Some("\"0\"".to_owned()), is_wanted: false });
        }
        if !found.is_ok() {
            return Err(found.refusal());
        }
        let (files, by) =
            (files(&found.json), found.json["updated_by"].as_str().unwrap_or_default());
        let is_mine = || api.ask(&calls::get_me(), None).map(|me| me.json["subject"]["id"] == by);
        if &files == wanted || Some(&files) == in_force || is_mine()? {
            return Ok(Draft { is_wanted: &files == wanted, etag: found.etag });
        }
        let message = format!(
            "{tenant}: {by} works on a draft of the policy {name}; publish or remove it first"
        );
        Err((Exit::No, message))
    }

    /// The files come into force; those that do not load, or whose tests fail, do not.
    pub(super) fn publish(
        self,
        api: &Api,
        tenant: &str,
        name: &str,
        wanted: &BTreeMap<String, String>,
    ) -> Done<()> {
        if !self.is_wanted {
            let files = wanted.iter().map(|(name, text)| (name.clone(), json!(text))).collect();
            let body = calls::PolicyDraftPut { files: &files };
            let call = calls::put_tenants_tenant_id_policies_name_draft(tenant, name, &body);
            api.ask(&call, self.etag.as_deref())?;
        }
        api.ask(&calls::post_tenants_tenant_id_policies_name_publish(tenant, name), None).map(drop)
    }
}
