//! regorus: rules and memberships as data, found by tenant and role; one rule of Rego. The input is
//! made before, the evaluation alone is timed.

use super::{Peer, timed};
use crate::workload::{Ask, Workload};
use regorus::{Engine, Value};
use serde_json::{Map, json};

pub(super) const RULES_MAX: usize = 10_000;

const POLICY: &str = r#"
package w
import rego.v1
default allow := false
effects contains rule.effect if {
    some role in data.members[input.tenant][input.subject]
    some rule in data.rules[input.tenant][role]
    rule.action == input.action
    startswith(input.path, rule.prefix)
}
allow if {
    "allow" in effects
    not "deny" in effects
}
"#;

pub(super) struct Regorus(Engine);

impl Regorus {
    pub(super) fn load(workload: &Workload) -> Regorus {
        let mut rules = json!({});
        for rule in workload.rules_of_all() {
            let list = rules
                .as_object_mut()
                .and_then(|all| {
                    let tenant =
                        all.entry(format!("t{}", rule.tenant)).or_insert_with(|| json!({}));
                    let roles = tenant.as_object_mut()?;
                    let role = roles.entry(format!("role{}", rule.role));
                    role.or_insert_with(|| json!([])).as_array_mut()
                })
                .expect("an object");
            list.push(json!({
                "action": rule.action,
                "prefix": format!("/api/s{}/r{}/", rule.role, rule.number),
                "effect": if rule.allow { "allow" } else { "deny" },
            }));
        }
        let mut members: Map<String, serde_json::Value> = Map::new();
        for (tenant, subject, roles) in workload.members() {
            let roles: Vec<String> = roles.map(|role| format!("role{role}")).collect();
            let tenant = members.entry(format!("t{tenant}")).or_insert_with(|| json!({}));
            if let Some(tenant) = tenant.as_object_mut() {
                tenant.insert(format!("user{subject}"), json!(roles));
            }
        }
        let mut engine = Engine::new();
        engine
            .add_policy("w.rego".to_owned(), POLICY.to_owned())
            .expect("regorus reads the policy");
        let data = json!({"rules": rules, "members": members}).to_string();
        engine.add_data_json(&data).expect("regorus reads the data");
        Regorus(engine)
    }
}

impl Peer for Regorus {
    fn name(&self) -> &'static str {
        "regorus"
    }

    fn ask(&mut self, ask: &Ask) -> (bool, f64) {
        let input = json!({
            "tenant": ask.tenant, "subject": ask.subject, "path": ask.resource,
            "action": ask.action,
        });
        self.0.set_input(Value::from_json_str(&input.to_string()).expect("an input"));
        let (answer, ns) = timed(|| self.0.eval_rule("data.w.allow".to_owned()));
        (answer.expect("regorus answers") == Value::from(true), ns)
    }
}
