//! Searches: everybody who may and nobody else, page by page, and no more certainty than there is.

use crate::compare::{BOTH, ROLES, model, random_rows, state};
use tollgate_engine::search::{Found, Names, Sought};
use tollgate_engine::{Entity, Now, Request, Scratch, TenantState};

fn request<'r>(subject: &'r str, resource: &'r str, action: &'r str) -> Request<'r> {
    let entity = |id| Entity { id, kind: "" };
    Request {
        tenant: "t",
        subject: entity(subject),
        resource: entity(resource),
        action,
        attributes: &[],
        amounts: None,
        reserve: None,
    }
}

fn page(
    state: &TenantState,
    sought: Sought,
    asked: &Request<'_>,
    page: (Option<&str>, usize),
) -> Found {
    Names::of(state, sought).search(state, asked, page, Now(0), &mut Scratch::default())
}

const ROWS: &str = "p, staff, x, read, allow\np, staff, y, read, allow\np, bob, x, read, deny\n\
    p, root, *, write, allow\ng, alice, staff\ng, bob, staff\ng, carol, staff\n";

#[test]
fn each_part_is_found() {
    let state = state(&model(BOTH, ROLES), ROWS);
    for (sought, asked, names, is_exact) in [
        (Sought::Subject, ("", "x", "read"), vec!["alice", "carol"], true),
        (Sought::Subject, ("ignored", "y", "read"), vec!["alice", "bob", "carol"], true),
        (Sought::Subject, ("", "z", "write"), vec!["root"], true),
        (Sought::Subject, ("", "z", "read"), vec![], true),
        (Sought::Resource, ("alice", "", "read"), vec!["x", "y"], true),
        // A resource with a name that no rule knows, too.
        (Sought::Resource, ("root", "", "write"), vec!["x", "y"], false),
        (Sought::Action, ("alice", "x", ""), vec!["read"], true),
        (Sought::Action, ("nobody", "x", ""), vec![], true),
    ] {
        let (subject, resource, action) = asked;
        let found = page(&state, sought, &request(subject, resource, action), (None, 10));
        let expected = Found {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            next: None,
            is_exact,
        };
        assert_eq!(found, expected, "{sought:?} {asked:?}");
    }
    let paths = state_of_paths();
    let asked = request("alice", "", "read");
    let found = page(&paths, Sought::Resource, &asked, (None, 10));
    assert!(!found.is_exact, "a pattern matches more than is named");
    assert_eq!(found.names, ["/docs/one"]);
    let found = page(&paths, Sought::Subject, &request("", "/docs/7", "read"), (None, 10));
    assert_eq!((found.names, found.is_exact), (vec!["alice".to_owned()], true));
}

fn state_of_paths() -> TenantState {
    let matcher = "g(r.sub, p.sub) && keyMatch2(r.obj, p.obj) && r.act == p.act";
    state(&model(BOTH, matcher), "p, staff, /docs/:id, read, allow\ng, alice, staff\n")
}

#[test]
fn pages_follow_one_another() {
    let state = state(&model(BOTH, ROLES), ROWS);
    let asked = request("", "y", "read");
    let mut after: Option<String> = None;
    let mut all = Vec::new();
    let mut pages = 0;
    loop {
        let found = page(&state, Sought::Subject, &asked, (after.as_deref(), 1));
        assert!(found.names.len() <= 1);
        all.extend(found.names);
        pages += 1;
        match found.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert_eq!(all, ["alice", "bob", "carol"]);
    assert!((3..=4).contains(&pages), "{pages}");
    let none = page(&state, Sought::Subject, &asked, (None, 0));
    assert_eq!((none.names.len(), none.next.as_deref()), (0, Some("")));
}

#[test]
fn what_is_found_is_what_is_allowed() {
    let mut random = fastrand::Rng::with_seed(5);
    let effects = [BOTH, "priority(p.eft) || deny", "!some(where (p.eft == deny))"];
    let mut found_some = 0;
    for _ in 0..3_000 {
        let rows = random_rows(&mut random);
        let state = state(&model(effects[random.usize(..3)], ROLES), &rows);
        let (resource, action) =
            (["x", "y", "z"][random.usize(..3)], ["read", "write"][random.usize(..2)]);
        let found = page(&state, Sought::Subject, &request("", resource, action), (None, 100));
        let roles: Vec<&str> = rows
            .lines()
            .filter(|line| line.starts_with('g'))
            .filter_map(|line| line.rsplit(", ").next())
            .collect();
        for subject in ["alice", "bob", "staff", "lead", "zoe"] {
            let asked = request(subject, resource, action);
            let allowed = state.decide_policy(&asked, Now(0), &mut Scratch::default()).is_allow();
            let is_found = found.names.iter().any(|name| name == subject);
            let is_role = roles.contains(&subject);
            assert!(allowed || !is_found, "{subject} is found\n{rows}");
            assert!(
                is_found || !allowed || is_role || !found.is_exact,
                "{subject} is missing\n{rows}"
            );
        }
        found_some += usize::from(!found.names.is_empty());
    }
    assert!(found_some > 500, "{found_some}");
}

#[test]
fn a_refusal_of_a_large_policy_is_explained_by_what_comes_close() {
    use crate::table::Table;
    let mut rows: String =
        (0..5_000).map(|i| format!("p, role{}, /s{i}/:id, read, allow\n", i / 10)).collect();
    rows.push_str(
        "p, lead, /orders/:id, delete, allow\np, lead, /orders/:id, read, allow\ng, ann, lead\n",
    );
    let matcher = "g(r.sub, p.sub) && keyMatch2(r.obj, p.obj) && r.act == p.act";
    let state = state(&model(BOTH, matcher), &rows);
    let table = Table::new(1);
    for (subject, resource, action, line, would) in [
        // Her own rule, for another action.
        ("ann", "/orders/7", "write", 5_001, "r.act = delete"),
        // Somebody without a role: the rule for that action.
        ("bob", "/orders/7", "delete", 5_001, "g, bob, lead"),
    ] {
        let asked = request(subject, resource, action);
        let explained = state.explain(&table.cells(), &asked, Now(0), &mut Scratch::default());
        let nearest = &explained.rules[0];
        assert_eq!(state.policy().rule_line(nearest.rule), line, "{subject}");
        let found: Vec<&str> =
            nearest.conjuncts.iter().filter_map(|one| one.would_match.as_deref()).collect();
        assert_eq!(found, [would], "{subject}");
    }
}
