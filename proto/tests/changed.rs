//! A folder of which rows changed: whose states are made anew, what they answer, and what is left to compiling.

use std::sync::Arc;
use tollgate_cells::HeapTable;
use tollgate_engine::cell::TableSecret;
use tollgate_engine::{Entity, Now, Request, Scratch, TenantState, Version};
use tollgate_proto::bundle::{File, Options, changed, from_files};

const MODEL: &str = "[request_definition]\nr = sub, dom, obj, act\n[policy_definition]\n\
    p = sub, dom, obj, act, eft\n[role_definition]\ng = _, _, _\n[policy_effect]\n\
    e = some(where (p.eft == allow)) && !some(where (p.eft == deny))\n[matchers]\n\
    m = r.dom == p.dom && g(r.sub, p.sub, r.dom) && keyMatch2(r.obj, p.obj) && r.act == p.act\n";
const ROWS: &str = "# rules\n\
    p, staff, acme, /v1/:x, read, allow\n\
    p, lead,  acme, /v1/:x, write, allow\n\
    p, staff, beta, /v1/:x, read, allow\n\
    p, staff, *,    /help,  read, allow\n\
    g, alice, staff, acme\n\
    g, lead,  staff, acme\n\
    g, bob,   staff, beta\n";

fn files<'f>(model: &'f str, rows: &'f str, tenant: &'f str) -> [File<'f>; 3] {
    [("model.conf", model), ("policy.csv", rows), ("tenant.toml", tenant)]
        .map(|(path, text)| File { path, bytes: text.as_bytes() })
}

fn compiled(files: &[File<'_>]) -> Vec<Arc<TenantState>> {
    let options = Options::new(1, Version { epoch: 1, seq: 1 });
    from_files("folder", files, options)
        .expect("it loads")
        .tenants
        .into_iter()
        .map(Arc::new)
        .collect()
}

/// Every answer of a tenant, with the line of its rule.
fn answers(state: &TenantState) -> Vec<(bool, Option<u32>)> {
    let table = HeapTable::new(1 << 10, TableSecret::new([1, 2]));
    let (cells, mut scratch, mut found) = (table.cells(), Scratch::default(), Vec::new());
    for subject in ["alice", "bob", "carol", "lead", "staff"] {
        for resource in ["/v1/x", "/help", "/v2/x"] {
            for action in ["read", "write"] {
                let request = Request {
                    tenant: state.name(),
                    subject: Entity { id: subject, ..Entity::default() },
                    resource: Entity { id: resource, ..Entity::default() },
                    action,
                    ..Request::default()
                };
                let decision = state.decide(&cells, &request, Now(1), &mut scratch);
                let line = decision.rule.map(|rule| state.policy().rule_line(rule));
                found.push((decision.is_allow(), line));
            }
        }
    }
    found
}

#[test]
fn changed_rows_are_served_as_if_the_folder_were_compiled() {
    // What is replaced by what, and the tenants whose states are made anew.
    for (from, to, anew) in [
        ("/v1/:x, write, allow", "/v1/:x, write, deny", &["acme"][..]),
        ("p, lead,  acme, /v1/:x, write, allow\n", "", &["acme", "beta"]),
        (
            "p, staff, *,    /help,  read, allow",
            "p, lead, *, /help, read, allow",
            &["acme", "beta"],
        ),
        (
            "g, lead,  staff, acme\n",
            "g, lead, staff, acme\ng, carol, lead, acme\n",
            &["acme", "beta"],
        ),
        ("g, alice, staff, acme", "g, carol, staff, acme", &["acme"]),
        ("g, bob,   staff, beta\n", "", &["acme", "beta"]),
        ("# rules", "# a comment, and one more\n#", &["acme", "beta"]),
        ("/help", "/help/:page", &["acme", "beta"]),
        ("p, staff, beta, /v1/:x, read, allow", "p, bob, beta, /v1/:x, write, allow", &["beta"]),
    ] {
        let after = ROWS.replace(from, to);
        let (old, new) = (files(MODEL, ROWS, ""), files(MODEL, &after, ""));
        let tenants = compiled(&old);
        let states = changed("folder", &old, &new, &tenants).unwrap_or_else(|| panic!("{to}"));
        for ((state, before), whole) in states.iter().zip(&tenants).zip(compiled(&new)) {
            assert_eq!(state.is_some(), anew.contains(&before.name()), "{} {to}", before.name());
            let served = state.as_ref().unwrap_or(before);
            assert_eq!(answers(served), answers(&whole), "{} {to}", before.name());
        }
    }
}

#[test]
fn what_is_not_plain_is_left_to_compiling() {
    let context = format!("{MODEL}m2 = r.dom == p.dom && r.sub == p.sub\n");
    let eval = MODEL.replace("r.act == p.act", "eval(p.act)");
    let pattern =
        MODEL.replace("[policy_effect]", "[role_patterns]\ng = keyMatch\n[policy_effect]");
    let row = ("/v1/:x, write, allow", "/v1/:x, write, deny");
    for (what, model, rows, (from, to), tenant) in [
        ("a new tenant", MODEL, ROWS, ("staff, beta, /v1", "staff, gamma, /v1"), ""),
        (
            "a tenant's last rule",
            MODEL,
            "p, a, acme, /x, read, allow\np, a, beta, /x, read, allow\n",
            ("p, a, beta, /x, read, allow\n", ""),
            "",
        ),
        (
            "a row that stands already",
            MODEL,
            ROWS,
            ("p, lead,  acme, /v1/:x, write", "p, staff, acme, /v1/:x, read"),
            "",
        ),
        (
            "a link that stands already",
            MODEL,
            ROWS,
            ("g, lead,  staff, acme", "g, alice, staff, acme"),
            "",
        ),
        ("a row that does not load", MODEL, ROWS, ("write, allow", "write, perhaps"), ""),
        ("a pattern that does not compile", MODEL, ROWS, ("/v1/:x, write", "/v1/(x, write"), ""),
        ("a context", context.as_str(), ROWS, row, ""),
        (
            "a row's own expression",
            eval.as_str(),
            "p, a, acme, /x, true, allow\np, b, acme, /x, true, allow\n",
            ("p, b", "p, c"),
            "",
        ),
        ("a pattern in a link", pattern.as_str(), ROWS, ("g, alice,", "g, al*,"), ""),
        ("casbin's dialect", MODEL, ROWS, row, "dialect = \"casbin-rs\"\n"),
        (
            "a foreign row",
            MODEL,
            "p, a, acme, /x, read, allow\np, b, acme, /x, read, allow\n",
            ("p, b, acme", "p, b, beta"),
            "tenant = \"acme\"\n",
        ),
    ] {
        let after = rows.replacen(from, to, 1);
        assert_ne!(after, rows, "{what}");
        let (old, new) = (files(model, rows, tenant), files(model, &after, tenant));
        assert!(changed("folder", &old, &new, &compiled(&old)).is_none(), "{what}");
    }
    let old = files(MODEL, ROWS, "");
    let tenants = compiled(&old);
    let many = format!(
        "{ROWS}{}",
        (0..65).map(|n| format!("p, a{n}, acme, /x, read, allow\n")).collect::<String>()
    );
    assert!(changed("folder", &old, &files(MODEL, &many, ""), &tenants).is_none());
    assert!(
        changed("folder", &old, &files(MODEL, ROWS, "state = \"suspended\"\n"), &tenants).is_none()
    );
    let once = files(MODEL, &ROWS.replace("alice", "anna"), "")
        .map(|file| (file.path.to_owned(), file.bytes.to_vec()));
    let once: Vec<File<'_>> = once.iter().map(|(path, bytes)| File { path, bytes }).collect();
    let states = changed("folder", &old, &once, &tenants).expect("one row");
    let changed_once: Vec<Arc<TenantState>> = states
        .into_iter()
        .zip(&tenants)
        .map(|(state, before)| state.map_or_else(|| Arc::clone(before), Arc::new))
        .collect();
    assert!(
        changed("folder", &once, &files(MODEL, &ROWS.replace("alice", "eve"), ""), &changed_once)
            .is_none(),
        "one before the other is compiled"
    );
}
