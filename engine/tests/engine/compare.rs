//! Comparisons: what they count, and that an exact one misses nothing.

use crate::table::Table;
use std::sync::Arc;
use tollgate_engine::compare::{Comparison, compare};
use tollgate_engine::universe::{Choice, Universe};
use tollgate_engine::{
    Dialect, Entity, Now, Part, PolicySet, Quotas, Reason, Request, Scratch, Source, TenantState,
    Version, bind, parse_model,
};

pub(crate) fn state(model: &str, rows: &str) -> TenantState {
    let model_source = Source { file: "model.conf", text: model };
    let rows_source = Source { file: "policy.csv", text: rows };
    let parsed = parse_model(model_source, Dialect::Strict).unwrap_or_else(|e| panic!("{e:?}"));
    let binding = bind(&parsed, &[], model_source).unwrap();
    let set = PolicySet::from_texts(model_source, rows_source, Dialect::Strict, 1)
        .unwrap_or_else(|e| panic!("{rows}: {e:?}"));
    TenantState::link("t", Version::default(), Arc::new(set), &binding, Quotas::none())
}

pub(crate) fn model(effect: &str, matcher: &str) -> String {
    format!(
        "[request_definition]\nr = sub, obj, act\n[policy_definition]\np = sub, obj, act, eft\n\
         [role_definition]\ng = _, _\n[policy_effect]\ne = {effect}\n[matchers]\nm = {matcher}\n"
    )
}

pub(crate) const BOTH: &str = "some(where (p.eft == allow)) && !some(where (p.eft == deny))";
pub(crate) const ROLES: &str =
    "g(r.sub, p.sub) && (r.obj == p.obj || p.obj == \"*\") && r.act == p.act";

fn counts(comparison: &Comparison) -> (u64, u64, u64, bool) {
    let Comparison { gain, lose, change, is_exact, .. } = comparison;
    (gain.count, lose.count, change.count, *is_exact)
}

#[test]
fn gains_losses_and_changes_are_counted() {
    let one = "p, staff, x, read, allow\ng, alice, staff\n";
    for (before, after, expected) in [
        (one, one, (0, 0, 0, true)),
        // bob and nobody else.
        (one, "p, staff, x, read, allow\ng, alice, staff\ng, bob, staff\n", (1, 0, 0, true)),
        ("p, staff, x, read, allow\ng, alice, staff\ng, bob, staff\n", one, (0, 1, 0, true)),
        // alice and staff itself are denied where nothing allowed them.
        ("p, staff, y, write, deny\n", "p, staff, y, write, allow\n", (1, 0, 0, true)),
        (
            one,
            "p, staff, x, read, allow\np, staff, x, write, deny\ng, alice, staff\n",
            (0, 0, 2, true),
        ),
        // Everything is open to the two: x, y and whatever has another name.
        (
            one,
            "p, staff, *, read, allow\np, staff, y, write, deny\ng, alice, staff\n",
            (6, 0, 2, true),
        ),
    ] {
        let (before, after) =
            (state(&model(BOTH, ROLES), before), state(&model(BOTH, ROLES), after));
        let found = compare("t", Some(&before), Some(&after), Now(0));
        assert_eq!(counts(&found), expected, "{found:?}");
    }
    let only = state(&model(BOTH, ROLES), one);
    let found = compare("t", None, Some(&only), Now(0));
    assert_eq!((found.gain.count, found.lose.count), (2, 0));
    assert_eq!(found.gain.examples[0].subject, "alice", "people before roles");
    assert_eq!(found.gain.examples[0].before.reason, Reason::UnknownTenant);
    assert_eq!(found.gain.examples[0].after.line, Some(1));
}

#[test]
fn what_is_not_known_whole_is_a_sample() {
    let rows = "p, a, /x/:id, read, allow\n";
    for (matcher, is_whole) in [
        ("r.sub == p.sub && r.obj == p.obj && r.act == p.act", true),
        ("r.sub == p.sub && r.act in [\"read\", \"write\"]", true),
        ("!(r.sub == p.sub) || r.obj.kind == \"doc\"", true),
        ("r.sub == p.sub && r.obj.open == true", true),
        ("r.sub == p.sub && keyMatch2(r.obj, p.obj)", false),
        ("r.sub == p.sub && r.obj < p.obj", false),
        ("r.sub == p.sub && r.sub.age > 17", false),
        ("r.sub == r.obj && r.act == p.act", false),
        ("p.sub in r.sub.roles", false),
        ("regexMatch(r.sub, p.sub)", false),
    ] {
        let universe = Universe::of(&state(&model(BOTH, matcher), rows));
        assert_eq!(universe.is_whole(), is_whole, "{matcher}");
    }
    let pattern =
        Universe::of(&state(&model(BOTH, "r.sub == p.sub && keyMatch2(r.obj, p.obj)"), rows));
    let objects = &pattern.places[&(Part::Resource, String::new())];
    assert!(objects.contains(&Choice::Text("/x/one".to_owned())), "{objects:?}");
}

/// A random policy of the fragment that a comparison knows whole.
pub(crate) fn random_rows(random: &mut fastrand::Rng) -> String {
    let names = ["alice", "bob", "staff", "lead", "*"];
    let mut rows = std::collections::BTreeSet::new();
    for _ in 0..random.usize(1..5) {
        let pick =
            |random: &mut fastrand::Rng, from: &[&'static str]| from[random.usize(..from.len())];
        let effect = pick(random, &["allow", "allow", "deny"]);
        let row = [
            pick(random, &names),
            pick(random, &["x", "y", "*"]),
            pick(random, &["read", "write"]),
        ];
        rows.insert(format!("p, {}, {effect}", row.join(", ")));
        if random.bool() {
            rows.insert(format!(
                "g, {}, {}",
                pick(random, &names[..4]),
                pick(random, &["staff", "lead"])
            ));
        }
    }
    rows.into_iter().map(|row| row + "\n").collect()
}

#[test]
fn an_exact_comparison_misses_nothing() {
    let mut random = fastrand::Rng::with_seed(11);
    let table = Table::new(1);
    let effects = [
        BOTH,
        "some(where (p.eft == allow))",
        "priority(p.eft) || deny",
        "!some(where (p.eft == deny))",
    ];
    let (mut differing, mut same) = (0, 0);
    for _ in 0..3_000 {
        let effect = effects[random.usize(..effects.len())];
        let one = state(&model(effect, ROLES), &random_rows(&mut random));
        let other = state(&model(effect, ROLES), &random_rows(&mut random));
        let found = compare("t", Some(&one), Some(&other), Now(0));
        assert!(found.is_exact);
        let mut differs = false;
        for subject in ["alice", "bob", "staff", "lead", "*", "zoe"] {
            for object in ["x", "y", "*", "z"] {
                for action in ["read", "write", "delete"] {
                    let entity = |id| Entity { id, kind: "" };
                    let request = Request {
                        tenant: "t",
                        subject: entity(subject),
                        resource: entity(object),
                        action,
                        attributes: &[],
                        amounts: None,
                        reserve: None,
                    };
                    let ask = |state: &TenantState| {
                        state
                            .decide(&table.cells(), &request, Now(0), &mut Scratch::default())
                            .reason
                    };
                    differs |= ask(&one) != ask(&other);
                }
            }
        }
        assert_eq!(found.differs(), differs, "{found:?}");
        differing += usize::from(differs);
        same += usize::from(!differs);
    }
    assert!(differing > 300 && same > 30, "{differing} {same}");
}
