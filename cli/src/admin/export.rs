//! `tollgate audit export`: asks for an export, waits for it, writes its lines into a file and holds them against the digest.

use super::Flags;
use crate::api::Api;
use crate::api::calls;
use crate::exit::{Exit, fail};
use crate::places::Places;
use serde_json::Value as Json;
use std::path::Path;

/// As long as the API lets one wait.
const WAIT_MS: i64 = 30_000;

/// What of the log, and where to.
pub(super) struct Wanted<'w> {
    pub(super) out: &'w Path,
    pub(super) from: Option<&'w str>,
    pub(super) to: Option<&'w str>,
}

/// Exit 1 if the log is not what was written.
pub(super) fn run(places: &Places, flags: &Flags, wanted: &Wanted<'_>) -> Exit {
    let exported = flags.profile.api(places).and_then(|api| export(&api, flags, wanted));
    let export = match exported {
        Ok(export) => export,
        Err((exit, message)) => return fail(exit, message),
    };
    match flags.json {
        true => println!("{export}"),
        false => println!(
            "{}: {} events, sha256 {}, the log {}",
            wanted.out.display(),
            export["events"],
            export["sha256"].as_str().unwrap_or_default(),
            if export["whole"] == true { "is whole" } else { "was changed: tollgate audit verify" },
        ),
    }
    if export["whole"] == true { Exit::Yes } else { Exit::No }
}

fn export(api: &Api, flags: &Flags, wanted: &Wanted<'_>) -> Result<Json, (Exit, String)> {
    let range = calls::NewAuditExport { from: wanted.from, to: wanted.to };
    let tenant = flags.tenant.as_deref();
    let made = match tenant {
        Some(tenant) => calls::post_tenants_tenant_id_audit_events_exports(tenant, &range),
        None => calls::post_audit_events_exports(&range),
    };
    let mut operation = api.ask(&made, None)?.json;
    let id = operation["id"].as_str().unwrap_or_default().to_owned();
    while matches!(operation["state"].as_str(), Some("pending" | "running")) {
        let wait = calls::GetOperationsIdQuery { wait_ms: Some(WAIT_MS) };
        operation = api.ask(&calls::get_operations_id(&id, &wait), None)?.json;
    }
    let export = operation["result"]["export"].clone();
    if export.is_null() {
        return Err((
            Exit::No,
            format!("the export {}: {}", operation["state"], operation["error"]),
        ));
    }
    let lines = match tenant {
        Some(tenant) => calls::get_tenants_tenant_id_audit_events_exports_id(tenant, &id),
        None => calls::get_audit_events_exports_id(&id),
    };
    let digest = api.download(&lines.path, wanted.out)?;
    match export["sha256"] == digest {
        true => Ok(export),
        false => {
            let shown = wanted.out.display();
            Err((
                Exit::No,
                format!(
                    "{shown}: expected sha256 {}, got {digest}; export again",
                    export["sha256"]
                ),
            ))
        }
    }
}
