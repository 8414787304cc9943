//! What makes a tenant what its folder says: found by comparing, then done in an order in which each step loads.

use super::tenant::{Draft, InForce, Limit, delete_limit, put_limit};
use super::{Declared, Done};
use crate::api::Api;
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeMap;

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
    /// Compares; `first_policy` is what a tenant without one gets.
    ///
    /// # Errors
    /// Those of the API, and a draft that somebody else works on.
    pub(super) fn make(
        api: &Api,
        (tenant, declared): (String, Declared),
        (is_prune, first_policy): (bool, &str),
    ) -> Done<Plan> {
        let found = InForce::read(api, &tenant)?;
        let mut plan = Plan { tenant, steps: Vec::new(), declared, found, draft: None };
        plan.policy(api, first_policy)?;
        plan.limits(is_prune);
        Ok(plan)
    }

    fn policy(&mut self, api: &Api, first: &str) -> Done<()> {
        let Some(wanted) = &self.declared.policy else { return Ok(()) };
        let in_force = self.found.policy.as_ref();
        if in_force.is_some_and(|(_, files)| files == wanted) {
            return Ok(());
        }
        let name = in_force.map_or(first, |(name, _)| name);
        let files = in_force.map(|(_, files)| files);
        self.draft = Some(Draft::read(api, &self.tenant, name, (wanted, files))?);
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
    pub(super) fn apply(mut self, api: &Api) -> Done<()> {
        let named = |change: &[Change], kind| {
            let wanted =
                self.steps.iter().filter(|step| step.kind == kind && change.contains(&step.change));
            wanted.map(|step| step.name.clone()).collect::<Vec<_>>()
        };
        let (gone, written) =
            (named(&[Change::Delete], "limit"), named(&[Change::Create, Change::Update], "limit"));
        for id in gone {
            if let Some(was) = self.found.limits.get(&id) {
                delete_limit(api, &self.tenant, &id, was)?;
            }
        }
        let policy = self.steps.iter().find(|step| step.kind == "policy");
        if let (Some(step), Some(draft), Some(files)) =
            (policy, self.draft.take(), &self.declared.policy)
        {
            draft.publish(api, &self.tenant, &step.name, files)?;
        }
        let none = Map::new();
        for id in written {
            let members =
                self.declared.limits.as_ref().and_then(|limits| limits.get(&id)).unwrap_or(&none);
            let was: Option<&Limit> = self.found.limits.get(&id);
            put_limit(api, &self.tenant, &id, (members, was))?;
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
