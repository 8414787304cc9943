//! `tollgate export, diff, apply DIR`: a tenant's policy and limits as a folder, and a folder as them.
//!
//! A folder has the files of a policy folder (`policies/`): it is tested, linted and served by a sidecar as it is. What is
//! in force is compared with it as a whole; what differs is a plan; applying it again finds nothing to do.

mod folder;
mod plan;
mod tenant;

use crate::api::Api;
use crate::api::calls;
use crate::exit::{Exit, fail};
use crate::places::Places;
use crate::profile::Profile;
use folder::Declared;
use plan::{Plan, Wanted};
use serde_json::{Value as Json, json};
use std::path::{Path, PathBuf};
use tenant::InForce;

/// What all three take.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// One tenant's policy folder, or a folder of them, each named as its tenant
    dir: PathBuf,
    #[command(flatten)]
    profile: Profile,
    /// The tenant; left out: the login's own, or all that DIR (for export: the platform) has
    #[arg(long)]
    tenant: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Apply {
    #[command(flatten)]
    arguments: Arguments,
    /// Remove limits that an earlier apply wrote and DIR has no more; nobody else's
    #[arg(long)]
    prune: bool,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
    /// What a tenant's first policy is called
    #[arg(long, default_value = FIRST)]
    policy: String,
}

/// What a tenant's first policy is called.
const FIRST: &str = "main";

type Done<T> = Result<T, (Exit, String)>;
/// The members of limits by their ids.
type Limits = std::collections::BTreeMap<String, serde_json::Map<String, Json>>;

/// The owner mark of what apply writes.
const OWNER: &str = "tollgate-apply";

impl Arguments {
    /// The tenant that was named, or the login's own.
    fn tenant(&self, api: &Api) -> Done<Option<String>> {
        if let Some(tenant) = &self.tenant {
            return Ok(Some(tenant.clone()));
        }
        let me = api.ask(&calls::get_me(), None)?.json;
        Ok(me["tenant"].as_str().map(str::to_owned))
    }

    fn plans(&self, api: &Api, wanted: Wanted<'_>) -> Done<Vec<Plan>> {
        let folders = folder::folders(&self.dir, self.tenant(api)?.as_deref())?;
        // All is read before anything is asked, all is asked before anything is done.
        let declared = folders.into_iter().map(|(tenant, path)| {
            let declared = Declared::read(&tenant, &path)?;
            Ok((tenant, declared))
        });
        let declared: Vec<(String, Declared)> = declared.collect::<Done<_>>()?;
        declared.into_iter().map(|one| Plan::make(api, one, wanted)).collect()
    }

    fn show(&self, plans: &[Plan]) {
        let [created, updated, deleted] = counts(plans);
        if self.json {
            let changes: Vec<Json> = plans.iter().flat_map(Plan::json).collect();
            println!(
                "{}",
                json!({"created": created, "updated": updated, "deleted": deleted, "changes": changes})
            );
            return;
        }
        plans.iter().for_each(Plan::show);
        println!("plan: {created} created, {updated} updated, {deleted} deleted");
    }
}

fn counts(plans: &[Plan]) -> [usize; 3] {
    plans.iter().fold([0; 3], |[a, b, c], plan| {
        let [created, updated, deleted] = plan.counts();
        [a + created, b + updated, c + deleted]
    })
}

fn ended(done: Done<Exit>) -> Exit {
    done.unwrap_or_else(|(exit, message)| fail(exit, message))
}

/// `tollgate export DIR`.
pub(crate) fn export(places: &Places, arguments: &Arguments) -> Exit {
    ended(arguments.profile.api(places).and_then(|api| exported(&api, arguments)))
}

fn exported(api: &Api, arguments: &Arguments) -> Done<Exit> {
    let dir = &arguments.dir;
    let tenants: Vec<(String, PathBuf)> = match arguments.tenant(api)? {
        Some(tenant) => vec![(tenant, dir.clone())],
        None => {
            let query = calls::TenantQuery { state: Some("active"), ..Default::default() };
            let all = api.list(&calls::get_tenants(&query))?;
            let id = |tenant: &Json| tenant["id"].as_str().map(str::to_owned);
            all.iter().filter_map(id).map(|id| (id.clone(), dir.join(id))).collect()
        }
    };
    let mut written = Vec::new();
    for (tenant, dir) in tenants {
        let found = InForce::read(api, &tenant)?;
        let limits = found.members();
        let policy = found.policy.as_ref().map(|(name, _)| name.clone());
        let declared =
            Declared { policy: found.policy.map(|(_, files)| files), limits: Some(limits) };
        let count = declared.limits.as_ref().map_or(0, Limits::len);
        for other in declared.write(&dir)? {
            let file = dir.join(other);
            eprintln!("note: {} is there, {tenant} has none; it was left", file.display());
        }
        written.push(
            json!({"tenant": tenant, "folder": shown(&dir), "policy": policy, "limits": count}),
        );
    }
    if arguments.json {
        println!("{}", json!({ "exported": written }));
        return Ok(Exit::Yes);
    }
    for one in &written {
        let folder = one["folder"].as_str().unwrap_or_default();
        let policy = one["policy"].as_str().unwrap_or("none published");
        println!("{folder}: policy {policy}, {} limits", one["limits"]);
    }
    Ok(Exit::Yes)
}

fn shown(dir: &Path) -> String {
    dir.display().to_string()
}

/// `tollgate diff DIR`: exit 1 if anything differs.
pub(crate) fn diff(places: &Places, arguments: &Arguments) -> Exit {
    let differ = |api: Api| {
        let plans =
            arguments.plans(&api, Wanted { is_diff: true, is_prune: true, first: FIRST })?;
        arguments.show(&plans);
        Ok(if counts(&plans) == [0; 3] { Exit::Yes } else { Exit::No })
    };
    ended(arguments.profile.api(places).and_then(differ))
}

/// `tollgate apply DIR`.
pub(crate) fn apply(places: &Places, apply: &Apply) -> Exit {
    let arguments = &apply.arguments;
    let run = |api: Api| {
        let wanted = Wanted { is_diff: apply.dry_run, is_prune: apply.prune, first: &apply.policy };
        let plans = arguments.plans(&api, wanted)?;
        arguments.show(&plans);
        if !apply.dry_run {
            plans.into_iter().try_for_each(|plan| plan.apply(&api))?;
        }
        Ok(Exit::Yes)
    };
    ended(arguments.profile.api(places).and_then(run))
}
