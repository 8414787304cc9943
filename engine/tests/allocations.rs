//! A decision on known keys allocates nothing and takes no lock. Counted, not believed.

#![allow(unsafe_code, reason = "a global allocator is unsafe to implement")]

#[path = "engine/table.rs"]
mod table;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use table::{MODEL, Table, tenant};
use tollgate_engine::{
    Amount, Attribute, Bucket, Capacity, Dimension, Entity, FailureMode, Limit, Mode, Now, Part,
    Request, Scratch, Stage, Value, quota::limit::parse_condition,
};

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `alloc` above with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn limit(id: &str, meter: &str, when: Option<&str>) -> Limit {
    let tokens = ["sub", "dom", "obj", "act", "env"].map(String::from);
    Limit {
        id: id.to_owned(),
        meter: meter.to_owned(),
        capacity: Capacity::Bucket(Bucket {
            count: 1_000,
            period_ns: 1_000_000_000,
            burst: 1_000_000,
        }),
        dimensions: vec![Dimension { part: Part::Subject, path: String::new() }],
        when: when.map(|text| parse_condition(text, &tokens).unwrap()),
        mode: Mode::Hard,
        stage: Stage::AfterPolicy,
        default_amount: Some(1),
        overdraft: 0,
        warn_at: Vec::new(),
        failure_mode: FailureMode::default(),
        estimate: None,
    }
}

#[test]
fn a_decision_on_known_keys_allocates_and_locks_nothing() {
    let attributes_model = MODEL.replace(
        "keyMatch2(r.obj, p.obj)",
        "keyMatch2(r.obj, p.obj) && r.sub.age > 17 && \"a\" in r.sub.tags && regexMatch(r.sub.name, \"^[a-z]+$\")",
    );
    let mut rows = String::new();
    for n in 0..200 {
        rows.push_str(&format!("p, role{n}, /v1/x{n}/:id, read, allow\np, role{n}, /v1/*/y, read, deny\ng, user{n}, role{n}\n"));
    }
    let limits = [
        limit("a", "requests", None),
        limit("b", "tokens", Some("keyMatch2(r.obj, \"/v1/:a/:b\") && r.act == \"read\"")),
        limit("c", "requests", Some("r.sub.age > 100")),
    ];
    let state = tenant(&attributes_model, &rows, &limits, 1);
    let (table, mut scratch) = (Table::new(64), Scratch::default());
    let tags = [Value::Str("a"), Value::Int(1)];
    let attribute = |path, value| Attribute { part: Part::Subject, path, value };
    let attributes = [
        attribute("age", Value::Int(30)),
        attribute("tags", Value::List(&tags)),
        attribute("name", Value::Str("alice")),
        attribute("other", Value::Null),
    ];
    let amounts = [Amount { meter: "tokens", amount: 7 }];
    let mut now = 1_800_000_000_000_000_000;
    let mut decide = |subject, resource, attributes: &[Attribute<'_>]| {
        now += 1_000_000;
        let request = Request {
            tenant: "acme",
            subject: Entity { kind: "", id: subject },
            resource: Entity { kind: "", id: resource },
            action: "read",
            attributes,
            amounts: Some(&amounts),
            reserve: None,
        };
        state.decide(&table.cells(), &request, Now(now), &mut scratch).reason.name()
    };
    let known = [
        ("user7", "/v1/x7/1", "allow"),
        ("user7", "/v1/caf%C3%A9/1", "no-rule"),
        ("user7", "/v1/x7/y", "policy-denied"),
        ("stranger", "/v1/x7/1", "no-rule"),
        ("user7", "/v1//", "ambiguous-path"),
    ];
    for (subject, resource, expected) in known {
        assert_eq!(decide(subject, resource, &attributes), expected);
    }
    let locks = table.locks_taken();
    let before = COUNT.get();
    for _ in 0..100 {
        for (subject, resource, expected) in known {
            let reason = decide(subject, resource, &attributes);
            assert!(reason == expected);
            // Without its attributes every deny rule is unknown: the scan allocates nothing either.
            decide(subject, resource, &[]);
        }
    }
    assert_eq!(COUNT.get() - before, 0, "allocations");
    assert_eq!(table.locks_taken() - locks, 0, "locks");
}
