//! No rows panic the parser or the compiler, and index and scan answer alike.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tollgate_engine::{Dialect, PolicySet, Source, Value};

const MODEL: &str = include_str!("../../policies/break-glass/model.conf");

fuzz_target!(|text: &str| {
    for dialect in [Dialect::Strict, Dialect::CasbinRs, Dialect::CasbinGo] {
        let model = Source { file: "model.conf", text: MODEL };
        let rows = Source { file: "policy.csv", text };
        if let Ok(set) = PolicySet::from_texts(model, rows, dialect, 1) {
            let word = text.split([',', '\n', ' ']).find(|w| w.len() > 1).unwrap_or("x");
            let tuple: Vec<Value<'_>> = set.slots().iter().map(|_| Value::Str(word)).collect();
            assert_eq!(set.evaluate(&tuple, tollgate_engine::Now(0)), set.evaluate_by_scan(&tuple, tollgate_engine::Now(0)));
            assert_eq!(set.evaluate(&tuple, tollgate_engine::Now(0)), set.evaluate_by_index(&tuple, tollgate_engine::Now(0)));
        }
    }
});
