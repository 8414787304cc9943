//! No text panics the model parser, in either dialect.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tollgate_engine::{Dialect, Source, parse_model};

fuzz_target!(|text: &str| {
    for dialect in [Dialect::Strict, Dialect::CasbinRs, Dialect::CasbinGo] {
        let _ = parse_model(Source { file: "model.conf", text }, dialect);
    }
});
