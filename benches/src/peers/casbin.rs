//! casbin: the same model and policy.

use super::{Peer, timed};
use crate::workload::{Ask, MODEL, Workload};
use casbin::{CoreApi, DefaultModel, Enforcer, StringAdapter};

/// Each request walks every row.
pub(super) const RULES_MAX: usize = 10_000;

pub(super) struct Casbin(Enforcer);

impl Casbin {
    pub(super) fn load(workload: &Workload) -> Casbin {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let policy = workload.policy();
        Casbin(runtime.block_on(async {
            let model = DefaultModel::from_str(MODEL).await.expect("casbin reads the model");
            Enforcer::new(model, StringAdapter::new(&policy))
                .await
                .expect("casbin reads the policy")
        }))
    }
}

impl Peer for Casbin {
    fn name(&self) -> &'static str {
        "casbin"
    }

    fn ask(&mut self, ask: &Ask) -> (bool, f64) {
        let tuple = (ask.subject.as_str(), ask.tenant.as_str(), ask.resource.as_str(), ask.action);
        timed(|| self.0.enforce(tuple).expect("casbin answers"))
    }
}
