//! Sidecars that follow this control plane, as they have made themselves known.

use crate::call::{Call, Reply};
use crate::listing::{Key, Order};
use crate::noun::Noun;
use crate::write::Stop;

const SIDECAR: Noun = Noun {
    name: "sidecar",
    columns: "id, version, jsonb_build_object('id', id, 'name', name, 'version', version, \
        'created_at', rfc3339(created_at)) AS object",
    from: "FROM sidecars",
    id: "id",
    orders: &[Order { name: "created_at", key: Key::Unique("id") }],
    searched: &[],
};

/// `GET /v1/sidecars`.
pub async fn list(call: &Call) -> Result<Reply, Stop> {
    SIDECAR.list(call, &call.platform().await?, Vec::new()).await
}
