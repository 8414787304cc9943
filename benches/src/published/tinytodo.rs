//! tinytodo: lists with an owner, readers and editors, who are users or teams.

use super::{Family, REQUESTS, World, named, one_of, put_teams_below_teams};
use std::collections::BTreeSet;

const MODEL: &str = "[request_definition]
r = sub, obj, act
[policy_definition]
p = sub, obj, act
[role_definition]
g = _, _
[policy_effect]
e = some(where (p.eft == allow))
[matchers]
m = g(r.sub, p.sub) && r.obj == p.obj && (r.act == p.act || p.act == \"*\")
";

const CEDAR: &str = r#"
permit(principal, action in [Action::"CreateList", Action::"GetLists"], resource == Application::"Application-0");
permit(principal, action, resource) when { resource has owner && resource.owner == principal };
permit(principal, action == Action::"GetList", resource)
    when { resource has readers && (principal in resource.readers || principal in resource.editors) };
permit(principal, action in [Action::"UpdateList", Action::"CreateTask", Action::"UpdateTask", Action::"DeleteTask"], resource)
    when { resource has editors && principal in resource.editors };
"#;

const EDITS: &[&str] = &["GetList", "UpdateList", "CreateTask", "UpdateTask", "DeleteTask"];
const ACTIONS: &[&str] = &[
    "CreateList",
    "GetLists",
    "GetList",
    "UpdateList",
    "CreateTask",
    "UpdateTask",
    "DeleteTask",
    "EditShares",
    "DeleteList",
];

pub(super) fn world(random: &mut fastrand::Rng) -> World {
    let (users, teams, lists) = (named("User"), named("Team"), named("List"));
    let application = "Application-0".to_owned();
    let (mut rows, mut entities) = (BTreeSet::new(), Family::default());
    entities.parents.entry(application.clone()).or_default();
    for action in ["CreateList", "GetLists"] {
        rows.insert(format!("p, everyone, {application}, {action}"));
    }
    put_teams_below_teams(random, &teams, &mut rows, &mut entities);
    for user in &users {
        entities.parents.entry(user.clone()).or_default();
        rows.insert(format!("g, {user}, everyone"));
        for _ in 0..random.usize(..4) {
            let team = one_of(random, &teams).to_owned();
            entities.parent(user, &team);
            rows.insert(format!("g, {user}, {team}"));
        }
    }
    for list in &lists {
        entities.parents.entry(list.clone()).or_default();
        let owner = one_of(random, &users).to_owned();
        rows.insert(format!("p, {owner}, {list}, *"));
        let (readers, editors) =
            (one_of(random, &teams).to_owned(), one_of(random, &teams).to_owned());
        rows.insert(format!("p, {readers}, {list}, GetList"));
        for action in EDITS {
            rows.insert(format!("p, {editors}, {list}, {action}"));
        }
        let attributes = entities.references.entry(list.clone()).or_default();
        attributes.insert("owner", owner);
        attributes.insert("readers", readers);
        attributes.insert("editors", editors);
    }
    let requests = (0..REQUESTS).map(|_| {
        let action = ACTIONS[random.usize(..ACTIONS.len())];
        let is_global = matches!(action, "CreateList" | "GetLists");
        let resource = if is_global { application.as_str() } else { one_of(random, &lists) };
        [one_of(random, &users).to_owned(), action.to_owned(), resource.to_owned()]
    });
    let requests = requests.collect();
    World { model: MODEL, rows, cedar: CEDAR, entities, requests }
}
