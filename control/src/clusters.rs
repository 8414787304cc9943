//! Clusters: where tenants' databases can be. Read only, until there is more than the first.

use crate::call::{Call, Reply};
use crate::page::Page;
use crate::sql::Queries;
use crate::write::Stop;
use serde_json::json;

/// `GET /v1/clusters`.
pub async fn list(call: &Call) -> Result<Reply, Stop> {
    let page = Page::read(call)?;
    let statement = "SELECT c.id, c.region, c.jurisdiction, c.state, c.tenants_max, c.version, rfc3339(c.created_at), \
        (SELECT count(*) FROM placements p WHERE p.cluster_id = c.id) FROM clusters c";
    let rows = call.platform().await?.rows(statement, &[]).await?;
    let items = rows.iter().map(|row| {
        let text = |at: usize| row.get::<_, String>(at);
        let item = json!({
            "id": text(0), "region": text(1), "jurisdiction": text(2), "state": text(3),
            "tenants_max": row.get::<_, i32>(4), "version": row.get::<_, i64>(5), "created_at": text(6),
            "tenants": row.get::<_, i64>(7),
        });
        (text(0), item)
    });
    Ok(page.reply_of(items))
}
