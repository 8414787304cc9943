//! github: repositories of organisations, five levels of access for users and teams.

use super::{Family, REQUESTS, World, named, one_of, put_teams_below_teams};
use std::collections::BTreeSet;

const MODEL: &str = "[request_definition]
r = sub, obj, act
[policy_definition]
p = sub, obj, act
[role_definition]
g = _, _
g2 = _, _
[policy_effect]
e = some(where (p.eft == allow))
[matchers]
m = g(r.sub, p.sub) && g2(r.obj, p.obj) && r.act == p.act
";

const CEDAR: &str = r#"
permit(principal, action == Action::"read", resource) when { principal in resource.readers };
permit(principal, action == Action::"triage", resource) when { principal in resource.triagers };
permit(principal, action == Action::"write", resource) when { principal in resource.writers };
permit(principal, action == Action::"maintain", resource) when { principal in resource.maintainers };
permit(principal, action == Action::"admin", resource) when { principal in resource.admins };
permit(principal, action == Action::"read", resource) when { principal in resource.owner.readers };
permit(principal, action in [Action::"read", Action::"triage", Action::"write"], resource)
    when { principal in resource.owner.writers };
permit(principal, action in [Action::"read", Action::"triage", Action::"write", Action::"maintain", Action::"admin"], resource)
    when { principal in resource.owner.admins };
"#;

/// From the least to the most; who may more may the less.
const LEVELS: &[(&str, &str)] = &[
    ("read", "readers"),
    ("triage", "triagers"),
    ("write", "writers"),
    ("maintain", "maintainers"),
    ("admin", "admins"),
];
/// Of an owner's groups, how many levels each may.
const OWNERS: &[(&str, usize)] = &[("readers", 1), ("writers", 3), ("admins", 5)];

pub(super) fn world(random: &mut fastrand::Rng) -> World {
    let (users, teams) = (named("User"), named("Team"));
    let (repositories, owners) = (named("Repository"), named("Owner"));
    let (mut rows, mut entities) = (BTreeSet::new(), Family::default());
    let group = |of: &str, level: &str| format!("Access-{of}-{level}");
    put_teams_below_teams(random, &teams, &mut rows, &mut entities);
    for user in &users {
        entities.parents.entry(user.clone()).or_default();
        for _ in 0..random.usize(..3) {
            let team = one_of(random, &teams).to_owned();
            entities.parent(user, &team);
            rows.insert(format!("g, {user}, {team}"));
        }
    }
    for owner in &owners {
        entities.parents.entry(owner.clone()).or_default();
        for (name, levels) in OWNERS {
            let access = group(owner, name);
            entities.parents.entry(access.clone()).or_default();
            entities.references.entry(owner.clone()).or_default().insert(name, access.clone());
            for _ in 0..random.usize(..2) {
                let from = if random.bool() { &users } else { &teams };
                let who = one_of(random, from).to_owned();
                entities.parent(&who, &access);
                for (action, _) in LEVELS.iter().take(*levels) {
                    rows.insert(format!("p, {who}, {owner}, {action}"));
                }
            }
        }
    }
    for repository in &repositories {
        entities.parents.entry(repository.clone()).or_default();
        let owner = one_of(random, &owners).to_owned();
        rows.insert(format!("g2, {repository}, {owner}"));
        for (at, (_, level)) in LEVELS.iter().enumerate() {
            let access = group(repository, level);
            entities.parents.entry(access.clone()).or_default();
            entities
                .references
                .entry(repository.clone())
                .or_default()
                .insert(level, access.clone());
            if let Some((_, less)) = at.checked_sub(1).and_then(|less| LEVELS.get(less)) {
                entities.parent(&access, &group(repository, less));
            }
        }
        entities.references.entry(repository.clone()).or_default().insert("owner", owner);
        for _ in 0..random.usize(1..6) {
            let from = if random.bool() { &users } else { &teams };
            let (who, most) = (one_of(random, from).to_owned(), random.usize(..LEVELS.len()));
            entities.parent(&who, &group(repository, LEVELS[most].1));
            for (action, _) in LEVELS.iter().take(most + 1) {
                rows.insert(format!("p, {who}, {repository}, {action}"));
            }
        }
    }
    let requests = (0..REQUESTS).map(|_| {
        let (action, _) = LEVELS[random.usize(..LEVELS.len())];
        let (user, repository) = (one_of(random, &users), one_of(random, &repositories));
        [user.to_owned(), action.to_owned(), repository.to_owned()]
    });
    let requests = requests.collect();
    World { model: MODEL, rows, cedar: CEDAR, entities, requests }
}
