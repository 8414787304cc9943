//! A candidate beside what is served: each noted decision is made again with the candidate's policy, on the log's thread,
//! and counted by what it would change.

use crate::log;
use crate::watch::{Seen, look};
use metrics::Counter;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tollgate_engine::{Decision, Now, Reason, Request, Scratch, TenantState, Version};
use tollgate_proto::bundle::{self, FILES, File, Options};

/// What a candidate would change for one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Same,
    Gain,
    Lose,
    /// Refused for another reason.
    Change,
}

impl Outcome {
    pub(crate) const ALL: [Outcome; 4] =
        [Outcome::Same, Outcome::Gain, Outcome::Lose, Outcome::Change];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Outcome::Same => "same",
            Outcome::Gain => "gain",
            Outcome::Lose => "lose",
            Outcome::Change => "change",
        }
    }
}

/// The candidate's answer.
#[derive(Debug, Clone)]
pub(crate) struct ShadowAnswer {
    pub(crate) outcome: Outcome,
    pub(crate) reason: Reason,
    /// Line of the candidate's policy.csv.
    pub(crate) line: Option<u32>,
}

/// The candidate's folder, watched.
pub(super) struct Shadow {
    root: PathBuf,
    interval: Duration,
    looked: Option<Instant>,
    seen: Seen,
    seed: u64,
    tenants: HashMap<String, TenantState>,
    counters: [Counter; 4],
    scratch: Scratch,
}

impl Shadow {
    pub(super) fn new(
        root: &Path,
        interval: Duration,
        seed: u64,
        counters: [Counter; 4],
    ) -> Shadow {
        Shadow {
            root: root.to_owned(),
            interval,
            looked: None,
            seen: Seen::default(),
            seed,
            tenants: HashMap::new(),
            counters,
            scratch: Scratch::default(),
        }
    }

    /// Takes in an edit of the candidate. What does not load is told, and asks nothing.
    pub(super) fn update(&mut self) {
        if self.looked.is_some_and(|at| at.elapsed() < self.interval) {
            return;
        }
        self.looked = Some(Instant::now());
        let seen = look(&self.root);
        if seen == self.seen {
            return;
        }
        self.tenants.clear();
        for folder in seen.keys() {
            self.load(folder);
        }
        let tenants = self.tenants.len();
        tracing::info!(folder = %self.root.display(), tenants, "shadow policies loaded");
        self.seen = seen;
    }

    fn load(&mut self, folder: &Path) {
        let name = folder.file_name().map_or("default".into(), |name| name.to_string_lossy());
        let read = |name: &&str| {
            let path = folder.join(name);
            std::fs::read(&path).ok().map(|bytes| (path.display().to_string(), bytes))
        };
        // Limits are not asked.
        let files: Vec<_> =
            FILES.iter().filter(|name| **name != "limits.toml").filter_map(read).collect();
        let files: Vec<File<'_>> = files.iter().map(|(path, bytes)| File { path, bytes }).collect();
        match bundle::from_files(&name, &files, Options::new(self.seed, Version::default())) {
            Ok(compiled) => {
                let states = compiled.tenants.into_iter();
                self.tenants.extend(states.map(|state| (state.name().to_owned(), state)));
            }
            Err(found) => log::diagnostics(&found),
        }
    }

    /// What the candidate says of a decision that was made; `None` if the policy did not make it, or the candidate has
    /// no such tenant.
    pub(super) fn ask(
        &mut self,
        request: &Request<'_>,
        served: &Decision,
        at: Now,
    ) -> Option<ShadowAnswer> {
        let policy = [Reason::PolicyDenied, Reason::PolicyError, Reason::NoRule];
        let is_asked = served.is_allow() || policy.contains(&served.reason);
        let state = self.tenants.get(request.tenant).filter(|_| is_asked)?;
        let decision = state.decide_policy(request, at, &mut self.scratch);
        let outcome = match (served.is_allow(), decision.is_allow()) {
            (false, true) => Outcome::Gain,
            (true, false) => Outcome::Lose,
            (true, true) => Outcome::Same,
            (false, false) if served.reason == decision.reason => Outcome::Same,
            (false, false) => Outcome::Change,
        };
        if let Some(counter) = self.counters.get(outcome as usize) {
            counter.increment(1);
        }
        let line = decision.rule.map(|rule| state.policy().rule_line(rule));
        Some(ShadowAnswer { outcome, reason: decision.reason, line })
    }
}
