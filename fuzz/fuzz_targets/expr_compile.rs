//! No expression panics the parser, the compiler or the evaluators.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tollgate_engine::{Dialect, PolicySet, Source, Value};

fuzz_target!(|text: &str| {
    if text.contains(['\n', '\\', '#']) {
        return;
    }
    let model = format!(
        "[request_definition]\nr = sub, obj, act\n[policy_definition]\np = sub, obj, act\n\
         [role_definition]\ng = _, _\n[policy_effect]\ne = some(where (p.eft == allow))\n\
         [matchers]\nm = {text}\n"
    );
    for dialect in [Dialect::Strict, Dialect::CasbinRs, Dialect::CasbinGo] {
        let model = Source { file: "model.conf", text: &model };
        let rows = Source { file: "policy.csv", text: "p, a, /b, c\np, 1, *, d\ng, a, b\n" };
        let Ok(set) = PolicySet::from_texts(model, rows, dialect, 1) else { continue };
        for value in [Value::Str("a"), Value::Int(1), Value::Missing] {
            let tuple: Vec<Value<'_>> = set.slots().iter().map(|_| value).collect();
            assert_eq!(set.evaluate(&tuple, tollgate_engine::Now(0)), set.evaluate_by_scan(&tuple, tollgate_engine::Now(0)));
            assert_eq!(set.evaluate(&tuple, tollgate_engine::Now(0)), set.evaluate_by_index(&tuple, tollgate_engine::Now(0)));
        }
    }
});
