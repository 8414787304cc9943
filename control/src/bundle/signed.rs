//! A tenant's bundle as sidecars take it: its sections under one signature of the control plane's.

use super::{apart, contents};
use crate::call::{Call, Reply};
use crate::code::Refusal;
use crate::publish::{new_policy, with_settings};
use crate::settings;
use crate::signing;
use crate::write::Stop;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use tollgate_engine::Version;
use tollgate_proto::bundle::{
    File, Manifest, Options, SigningSecret, from_files, hex, seal, sections,
};

/// `GET T/bundle`.
pub async fn show(call: &Call) -> Result<Reply, Stop> {
    let mut platform = call.platform().await?;
    let limits = settings::default_limits(&platform).await?;
    let secret = signing::current(&call.service.pools, &mut platform).await?;
    drop(platform);
    let tenant = call.tenant()?;
    let (version, mut files) = contents(&*call.tenant_conn().await?, &limits).await?;
    if version.seq == 0 {
        return Err(Refusal::not_found("bundle", &tenant.id).into());
    }
    // A bundle of limits alone stands beside the policy of a new tenant.
    for (name, text) in new_policy().into_map() {
        if !files.contains_key("model.conf") || name == "policy.csv" {
            files.entry(name).or_insert(text);
        }
    }
    with_settings(&mut files, &tenant.id, "active");
    let id = tenant.id.clone();
    let number = Version {
        epoch: u32::try_from(version.epoch).map_err(Refusal::internal)?,
        seq: u64::try_from(version.seq).map_err(Refusal::internal)?,
    };
    let body = apart(move || signed(&id, &files, number, &secret)).await?;
    let reply = Reply::ok(body.map_err(Refusal::internal)?).etag(version.seq);
    match version.epoch {
        1 => Ok(reply),
        // The same numbers were others before.
        epoch => Ok(Reply { etag: Some(format!("\"{epoch}.{}\"", version.seq)), ..reply }),
    }
}

/// The bundle of files that load, and what verifies it.
fn signed(
    tenant: &str,
    files: &BTreeMap<String, String>,
    version: Version,
    secret: &SigningSecret,
) -> Result<Json, String> {
    let files: Vec<File<'_>> =
        files.iter().map(|(path, text)| File { path, bytes: text.as_bytes() }).collect();
    let folder = from_files(tenant, &files, Options::new(0, version));
    let folder = folder.map_err(|_| "a bundle that was published does not load")?;
    let sections = sections(&folder, &files).into_iter().next().unwrap_or_default();
    let manifest = Manifest {
        tenant: tenant.to_owned(),
        epoch: version.epoch,
        seq: version.seq,
        parent: [0; 32],
        key_id: Default::default(),
        sections: Vec::new(),
    };
    let sealed = seal(manifest, &sections, secret);
    let (manifest, bytes) = sealed.ok_or("the tenant's name is too long for a bundle")?;
    let entries: Vec<Json> = manifest
        .sections
        .iter()
        .map(|entry| json!({"name": entry.kind.name(), "bytes": entry.length, "blake3": hex(&entry.blake3)}))
        .collect();
    Ok(json!({
        "tenant_id": tenant, "version": {"epoch": version.epoch, "seq": version.seq}, "sections": entries,
        "key_id": hex(&manifest.key_id), "public_key": secret.public().to_pem(), "bundle": STANDARD.encode(&bytes),
    }))
}
