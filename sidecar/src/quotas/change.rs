//! Changes of one counter: each is a line of the audit, on the disk before it is made.

use super::counter::{At, one};
use crate::overrides::Override;
use crate::shared::Shared;
use serde_json::{Value as Json, json};
use std::fs::OpenOptions;
use std::io::Write;
use tollgate_engine::Standing;
use tollgate_proto::quota::CounterBody;

/// The file in the data folder that every change is written to.
const AUDIT_FILE: &str = "quota-audit.ndjson";

/// Whose counter is changed, by whom and why.
pub(super) struct Change<'a> {
    pub(super) shared: &'a Shared,
    pub(super) uid: u32,
    pub(super) tenant: &'a str,
    pub(super) limit: &'a str,
    pub(super) key: &'a [String],
    pub(super) reason: &'a str,
}

impl Change<'_> {
    /// Gives back what was used, or so much of it.
    pub(super) fn give_back(&self, amount: Option<u64>) -> Result<CounterBody, String> {
        self.make(|at, before| {
            let amount = amount.unwrap_or(before.used).min(before.used);
            let said = json!({"amount": amount, "used_before": before.used});
            self.audit("quota-given-back", said)?;
            at.give_back(self.shared, amount)
        })
    }

    /// Grants so many units more in the present window.
    pub(super) fn top_up(&self, amount: u64) -> Result<CounterBody, String> {
        self.make(|at, before| {
            if self.overridden().is_some() {
                return Err("an override holds for this counter; change it instead".to_owned());
            }
            at.is_budget()?;
            self.audit("quota-topped-up", json!({"amount": amount, "of_before": before.of}))?;
            at.grant(self.shared, before.of.saturating_add(amount), self.shared.clock.now())
        })
    }

    /// Gives it this amount for so long.
    pub(super) fn set(&self, amount: u64, for_ms: u64) -> Result<CounterBody, String> {
        self.make(|at, before| {
            at.is_budget()?;
            let until_ms = (self.shared.clock.now().0 / 1_000_000).saturating_add(for_ms);
            let said = json!({"amount": amount, "until_ms": until_ms, "of_before": before.of});
            self.audit("quota-overridden", said)?;
            let (tenant, limit) = (self.tenant.to_owned(), self.limit.to_owned());
            let one = Override { tenant, limit, key: self.key.to_vec(), amount, until_ms };
            let overrides = &self.shared.overrides;
            overrides.set(one).map_err(|error| format!("not changed: {error}"))?;
            overrides.apply(self.shared);
            at.standing(self.shared)
        })
    }

    /// Ends its override.
    pub(super) fn end(&self) -> Result<CounterBody, String> {
        self.make(|at, _| {
            let known = self.overridden();
            let known = known.ok_or_else(|| "this counter has no override".to_owned())?;
            self.audit("quota-override-ended", json!({"amount": known.amount}))?;
            let ended = self.shared.overrides.end(self.shared, &known);
            ended.map_err(|error| format!("not changed: {error}"))?;
            at.standing(self.shared)
        })
    }

    fn make(
        &self,
        change: impl FnOnce(&At<'_>, Standing) -> Result<Standing, String>,
    ) -> Result<CounterBody, String> {
        one(self.shared, self.tenant, self.limit, self.key, |at| {
            change(at, at.standing(self.shared)?)
        })
    }

    fn overridden(&self) -> Option<Override> {
        self.shared.overrides.of(self.tenant, self.limit, self.key)
    }

    fn audit(&self, event: &str, mut said: Json) -> Result<(), String> {
        if let Some(said) = said.as_object_mut() {
            for (name, value) in [
                ("event", json!(event)),
                ("uid", json!(self.uid)),
                ("tenant", json!(self.tenant)),
                ("limit", json!(self.limit)),
                ("key", json!(self.key)),
                ("reason", json!(self.reason)),
            ] {
                said.insert(name.to_owned(), value);
            }
        }
        audit(self.shared, said)
    }
}

/// Writes a line to the audit file, to the disk before anything is changed.
pub(super) fn audit(shared: &Shared, mut line: Json) -> Result<(), String> {
    if let Some(members) = line.as_object_mut() {
        members.insert("at_ms".to_owned(), (shared.clock.now().0 / 1_000_000).into());
    }
    let line = line.to_string();
    let path = shared.config.data.join(AUDIT_FILE);
    let file = OpenOptions::new().create(true).append(true).open(&path);
    let written = file.and_then(|mut file| {
        file.write_all(format!("{line}\n").as_bytes())?;
        file.sync_data()
    });
    tracing::warn!(audit = line.as_str(), "a counter is changed");
    written.map_err(|error| format!("not changed: {}: {error}", path.display()))
}
