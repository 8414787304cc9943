//! Cedar: a policy per rule, roles as parents of users, the path in the context. Only
//! `is_authorized` is timed; its request is made before.

use super::{Peer, timed};
use crate::workload::{Ask, Workload};
use cedar_policy::{
    Authorizer, Context, Decision, Entities, Entity, EntityUid, PolicySet, Request,
    RestrictedExpression,
};
use std::str::FromStr;

pub(super) const RULES_MAX: usize = 10_000;

pub(super) struct Cedar {
    authorizer: Authorizer,
    policies: PolicySet,
    entities: Entities,
}

fn uid(kind: &str, tenant: &str, name: &str) -> EntityUid {
    EntityUid::from_str(&format!("{kind}::\"{tenant}/{name}\"")).expect("an entity id")
}

impl Cedar {
    pub(super) fn load(workload: &Workload) -> Cedar {
        let mut text = String::new();
        for rule in workload.rules_of_all() {
            let effect = if rule.allow { "permit" } else { "forbid" };
            let (tenant, role) = (rule.tenant, rule.role);
            text.push_str(&format!(
                "{effect}(principal in Role::\"t{tenant}/role{role}\", action == Action::\"{}\", resource) \
                 when {{ context.path like \"/api/s{role}/r{}/*\" }};\n",
                rule.action, rule.number
            ));
        }
        let entities = workload.members().map(|(tenant, subject, roles)| {
            let tenant = format!("t{tenant}");
            let parents = roles.map(|role| uid("Role", &tenant, &format!("role{role}"))).collect();
            Entity::new_no_attrs(uid("User", &tenant, &format!("user{subject}")), parents)
        });
        Cedar {
            authorizer: Authorizer::new(),
            policies: PolicySet::from_str(&text).expect("Cedar reads the policies"),
            entities: Entities::from_entities(entities, None).expect("Cedar reads the entities"),
        }
    }
}

impl Peer for Cedar {
    fn name(&self) -> &'static str {
        "cedar"
    }

    fn ask(&mut self, ask: &Ask) -> (bool, f64) {
        let path = RestrictedExpression::new_string(ask.resource.clone());
        let context = Context::from_pairs([("path".to_owned(), path)]).expect("a context");
        let action =
            EntityUid::from_str(&format!("Action::\"{}\"", ask.action)).expect("an action");
        let resource = EntityUid::from_str("Path::\"any\"").expect("a resource");
        let user = uid("User", &ask.tenant, &ask.subject);
        let request = Request::new(user, action, resource, context, None).expect("a request");
        let (answer, ns) =
            timed(|| self.authorizer.is_authorized(&request, &self.policies, &self.entities));
        (answer.decision() == Decision::Allow, ns)
    }
}
