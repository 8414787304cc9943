//! gdrive: documents in folders, shared with users and groups, public or owned.

use super::{Family, REQUESTS, World, named, one_of};
use std::collections::BTreeSet;

const MODEL: &str = "[request_definition]
r = sub, obj, act
[policy_definition]
p = sub, obj, act, reach
[role_definition]
g = _, _
g2 = _, _
[policy_effect]
e = some(where (p.eft == allow))
[matchers]
m = g(r.sub, p.sub) && r.act == p.act && (p.reach == \"below\" && g2(r.obj, p.obj) || r.obj == p.obj)
";

const CEDAR: &str = r#"
permit(principal, action == Action::"read", resource) when { resource in principal.view };
permit(principal, action == Action::"read", resource) when { resource.public };
permit(principal, action in [Action::"read", Action::"write", Action::"share"], resource)
    when { resource in principal.documents || resource in principal.folders };
permit(principal, action == Action::"changeOwner", resource) when { principal.documents.contains(resource) };
permit(principal, action == Action::"createDocument", resource) when { principal.folders.contains(resource) };
"#;

const ACTIONS: &[&str] = &["read", "write", "share", "changeOwner", "createDocument"];

pub(super) fn world(random: &mut fastrand::Rng) -> World {
    let (users, groups) = (named("User"), named("Group"));
    let (documents, folders) = (named("Document"), named("Folder"));
    let (mut rows, mut entities) = (BTreeSet::new(), Family::default());
    let view = |who: &str| format!("View-{who}");
    for (at, folder) in folders.iter().enumerate() {
        entities.parents.entry(folder.clone()).or_default();
        entities.flags.entry(folder.clone()).or_default().insert("public", false);
        if at > 0 && random.bool() {
            let above = folders[random.usize(..at)].clone();
            entities.parent(folder, &above);
            rows.insert(format!("g2, {folder}, {above}"));
        }
    }
    for document in &documents {
        let folder = one_of(random, &folders).to_owned();
        entities.parent(document, &folder);
        rows.insert(format!("g2, {document}, {folder}"));
        let is_public = random.u8(..10) == 0;
        entities.flags.entry(document.clone()).or_default().insert("public", is_public);
        if is_public {
            rows.insert(format!("p, everyone, {document}, read, below"));
        }
    }
    for group in &groups {
        entities.parents.entry(group.clone()).or_default();
        entities.parents.entry(view(group)).or_default();
    }
    for user in &users {
        entities.parents.entry(user.clone()).or_default();
        entities.parents.entry(view(user)).or_default();
        entities.references.entry(user.clone()).or_default().insert("view", view(user));
        rows.insert(format!("g, {user}, everyone"));
        let mut owned = [BTreeSet::new(), BTreeSet::new()];
        for _ in 0..random.usize(..4) {
            let group = one_of(random, &groups).to_owned();
            entities.parent(&view(&group), &view(user));
            rows.insert(format!("g, {user}, {group}"));
        }
        for (set, from, alone) in [(0, &documents, "changeOwner"), (1, &folders, "createDocument")]
        {
            for _ in 0..random.usize(..3) {
                let thing = one_of(random, from).to_owned();
                for action in ["read", "write", "share"] {
                    rows.insert(format!("p, {user}, {thing}, {action}, below"));
                }
                rows.insert(format!("p, {user}, {thing}, {alone}, only"));
                owned[set].insert(thing);
            }
        }
        let sets = entities.sets.entry(user.clone()).or_default();
        let [documents, folders] = owned;
        sets.insert("documents", documents);
        sets.insert("folders", folders);
    }
    for who in users.iter().chain(&groups) {
        for _ in 0..random.usize(..4) {
            let from = if random.bool() { &documents } else { &folders };
            let thing = one_of(random, from).to_owned();
            entities.parent(&thing, &view(who));
            rows.insert(format!("p, {who}, {thing}, read, below"));
        }
    }
    let requests = (0..REQUESTS).map(|_| {
        let things = if random.u8(..4) == 0 { &folders } else { &documents };
        let action = ACTIONS[random.usize(..ACTIONS.len())];
        [one_of(random, &users).to_owned(), action.to_owned(), one_of(random, things).to_owned()]
    });
    let requests = requests.collect();
    World { model: MODEL, rows, cedar: CEDAR, entities, requests }
}
