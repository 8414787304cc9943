//! No bytes panic the AuthZEN reader, and what it takes another JSON reader reads alike.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tollgate_proto::authzen::{TenantHeader, evaluation, evaluations};

fuzz_target!(|bytes: &[u8]| {
    let _ = evaluations(bytes, TenantHeader::Named("acme"));
    let Ok(request) = evaluation(bytes, TenantHeader::Missing) else { return };
    let other: serde_json::Value = serde_json::from_slice(bytes).expect("JSON for others too");
    assert_eq!(other["subject"]["id"], *request.subject.id);
    assert_eq!(other["resource"]["id"], *request.resource.id);
    assert_eq!(other["action"]["name"], *request.action);
});
