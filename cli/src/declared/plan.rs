//! What makes a tenant what its folder says: found by comparing, then done in an order in which each step loads.

use super::tenant::{Draft, InForce, delete_limit, put_limit};
use super::{Declared, Done};
use crate::api::Api;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

/// What a plan is for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'w> {
    /// Only to be looked at.
    pub(super) is_diff: bool,
    pub(super) is_prune: bool,
    /// The name of a tenant's first policy.
    pub(super) first: &'w str,
}

/// What is to be done to one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Create,
    Update,
    Delete,
    /// It would be removed with --prune.
    Keep,
    /// It is somebody else's.
    Leave,
}

impl Change {
    pub(super) fn sign(self) -> char {
        match self {
            Change::Create => '+',
            Change::Update => '~',
            Change::Delete => '-',
            Change::Keep | Change::Leave => '=',
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Change::Create => "create",
            Change::Update => "update",
            Change::Delete => "delete",
            Change::Keep => "keep",
            Change::Leave => "leave",
        }
    }
}

/// One thing that differs.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) change: Change,
    pub(super) kind: &'static str,
    pub(super) name: String,
    /// The files or members that differ.
    pub(super) what: Vec<String>,
}

/// What differs between a tenant and its folder.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) tenant: String,
    pub(super) steps: Vec<Step>,
    declared: Declared,
    found: InForce,
    draft: Option<Draft>,
}

/// The names whose values differ.
fn differing<V: PartialEq>(
    one: impl IntoIterator<Item = (String, V)>,
    other: impl IntoIterator<Item = (String, V)>,
) -> Vec<String> {
    let (one, other): (BTreeMap<String, V>, BTreeMap<String, V>) =
        (one.into_iter().collect(), other.into_iter().collect());
    let mut names: Vec<&String> = one.keys().chain(other.keys()).collect();
    names.sort();
    names.dedup();
    names.into_iter().filter(|name| one.get(*name) != other.get(*name)).cloned().collect()
}

impl Plan {
    /// Compares.
    ///
    /// # Errors
    /// Those of the API; where it is to be applied, a draft that somebody else works on.
    pub(super) fn make(
        api: &Api,
        (tenant, declared): (String, Declared),
        wanted: Wanted<'_>,
    ) -> Done<Plan> {
        let found = InForce::read(api, &tenant)?;
        let mut plan = Plan { tenant, steps: Vec::new(), declared, found, draft: None };
        plan.policy(api, wanted)?;
        plan.limits(wanted.is_prune);
        Ok(plan)
    }

    fn policy(&mut self, api: &Api, Wanted { is_diff, first, .. }: Wanted<'_>) -> Done<()> {
        let Some(wanted) = &self.declared.policy else { return Ok(()) };
        let in_force = self.found.policy.as_ref();
        if in_force.is_some_and(|(_, files)| files == wanted) {
            return Ok(());
        }
        let name = in_force.map_or(first, |(name, _)| name);
        let files = in_force.map(|(_, files)| files);
        if !is_diff {
            self.draft = Some(Draft::read(api, &self.tenant, name, (wanted, files))?);
        }
        self.steps.push(Step {
            change: if in_force.is_some() { Change::Update } else { Change::Create },
            kind: "policy",
            name: name.to_owned(),
            what: differing(wanted.clone(), files.cloned().unwrap_or_default()),
        });
        Ok(())
    }

    fn limits(&mut self, is_prune: bool) {
        let Some(wanted) = &self.declared.limits else { return };
        let step =
            |change, name: &str, what| Step { change, kind: "limit", name: name.to_owned(), what };
        for (id, limit) in &self.found.limits {
            let change = match (wanted.contains_key(id), limit.is_ours, is_prune) {
                (true, ..) => continue,
                (false, false, _) => Change::Leave,
                (false, true, false) => Change::Keep,
                (false, true, true) => Change::Delete,
            };
            self.steps.push(step(change, id, Vec::new()));
        }
        for (id, members) in wanted {
            match self.found.limits.get(id) {
                None => self.steps.push(step(Change::Create, id, Vec::new())),
                Some(limit) if &limit.members == members => {}
                Some(limit) => {
                    let what = differing(members.clone(), limit.members.clone());
                    self.steps.push(step(Change::Update, id, what));
                }
            }
        }
    }

    /// How many things are to be created, updated and deleted.
    pub(super) fn counts(&self) -> [usize; 3] {
        [Change::Create, Change::Update, Change::Delete]
            .map(|change| self.steps.iter().filter(|step| step.change == change).count())
    }

    /// Removes before the policy, so that it need not load beside what goes; writes behind it.
    ///
    /// # Errors
    /// The first refusal; what was done before it stays done, and the next plan has the rest.
    pub(super) fn apply(self, api: &Api) -> Done<()> {
        let Plan { tenant, steps, declared, found, draft } = self;
        let of = |wanted: &'static [Change]| {
            steps.iter().filter(move |step| step.kind == "limit" && wanted.contains(&step.change))
        };
        for step in of(&[Change::Delete]) {
            if let Some(was) = found.limits.get(&step.name) {
                delete_limit(api, &tenant, &step.name, was)?;
            }
        }
        let policy = steps.iter().find(|step| step.kind == "policy");
        if let (Some(step), Some(draft), Some(files)) = (policy, draft, &declared.policy) {
            draft.publish(api, &tenant, &step.name, files)?;
        }
        let wanted = declared.limits.unwrap_or_default();
        for step in of(&[Change::Create, Change::Update]) {
            if let Some(members) = wanted.get(&step.name) {
                put_limit(api, &tenant, &step.name, (members, found.limits.get(&step.name)))?;
            }
        }
        Ok(())
    }

    pub(super) fn json(&self) -> impl Iterator<Item = Json> {
        self.steps.iter().map(|step| {
            json!({
                "tenant": self.tenant, "change": step.change.name(), "kind": step.kind, "name": step.name,
                "differs": step.what,
            })
        })
    }

    pub(super) fn show(&self) {
        for step in &self.steps {
            let why = match step.change {
                Change::Keep => " (kept: --prune removes it)".to_owned(),
                Change::Leave => " (left alone: not written by apply)".to_owned(),
                _ if step.what.is_empty() => String::new(),
                _ => format!(" ({})", step.what.join(", ")),
            };
            println!("{} {} {} {}{why}", step.change.sign(), self.tenant, step.kind, step.name);
        }
    }
}
