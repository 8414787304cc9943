//! What the platform did to a tenant, in the tenant's own audit log too: within some seconds, each event once.
//!
//! A trigger notes every such event in `audit_copies`, in the transaction that writes it; this job visits the
//! tenants that lack some, at most `pools.chores_max` at once, and strikes off what it has copied. An event keeps
//! its id, so that a copy that is made twice is one.

use crate::code::Refusal;
use crate::lease::Lease;
use crate::placement::KnownTenant;
use crate::random::base32;
use crate::service::Service;
use crate::sql::{self, Queries, jsonb, text, texts};
use serde_json::Value as Json;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

const LOOK_INTERVAL: Duration = Duration::from_secs(2);
const NAME_CHARS: usize = 16;

/// Copies until the service ends.
pub async fn work(service: Arc<Service>) {
    let holder = base32(NAME_CHARS);
    loop {
        tokio::time::sleep(LOOK_INTERVAL).await;
        if let Err(refusal) = look(&service, &holder).await {
            let cause = refusal.cause.unwrap_or(refusal.message);
            tracing::warn!(cause, "audit events wait to be copied");
        }
    }
}

async fn look(service: &Arc<Service>, holder: &str) -> Result<(), Refusal> {
    let platform = service.pools.platform().await?;
    let gone = "DELETE FROM audit_copies c USING tenants t WHERE t.id = c.tenant_id AND t.state = 'destroyed'";
    sql::run(&platform, gone, &[]).await?;
    let waiting = "SELECT DISTINCT c.tenant_id FROM audit_copies c JOIN tenants t ON t.id = c.tenant_id \
        WHERE t.state IN ('active', 'suspended', 'offboarding') LIMIT 1000";
    let waiting = platform.rows(waiting, &[]).await?;
    drop(platform);
    let places = Arc::new(Semaphore::new(service.config.pools.chores_max.max(1)));
    let mut visits = JoinSet::new();
    for row in waiting {
        let (service, holder, places) =
            (Arc::clone(service), holder.to_owned(), Arc::clone(&places));
        let tenant: String = row.get(0);
        visits.spawn(async move {
            let _place = places.acquire_owned().await;
            let visited = visit(&service, &holder, &tenant).await;
            if let Err(refusal) = visited {
                let cause = refusal.cause.unwrap_or(refusal.message);
                tracing::warn!(tenant, cause, "audit events of a tenant wait to be copied");
            }
        });
    }
    while visits.join_next().await.is_some() {}
    Ok(())
}

/// Copies what one tenant lacks.
async fn visit(service: &Service, holder: &str, id: &str) -> Result<(), Refusal> {
    let platform = service.pools.platform().await?;
    let Some(lease) = Lease::take(&platform, &format!("copy/{id}"), holder).await? else {
        return Ok(());
    };
    let tenant = KnownTenant::by_id(&platform, id).await?;
    let statement = "SELECT array_agg(id), jsonb_agg(to_jsonb(e)) FROM (SELECT a.* FROM audit_copies c \
        JOIN audit_events a ON a.id = c.event_id WHERE c.tenant_id = $1 ORDER BY a.id LIMIT 200) e";
    let row = sql::first(&platform, statement, &[text(&id)]).await?;
    let found = row.and_then(|row| {
        Some((row.get::<_, Option<Vec<String>>>(0)?, row.get::<_, Option<Json>>(1)?))
    });
    let verified = tenant.and_then(|tenant| tenant.for_job(&lease));
    if let (Some((ids, events)), Some(verified)) = (found, verified) {
        let conn = service.pools.tenant(&verified).await?;
        let columns = "id, at, actor_type, actor_id, on_behalf_of, tenant_id, action, resource_type, resource_id, outcome, \
            count, request_id, trace_id, source_address, changed, salt, before_digest, after_digest";
        let copy = format!(
            "INSERT INTO audit_events ({columns}) SELECT {columns} \
             FROM jsonb_populate_recordset(NULL::audit_events, $1) ON CONFLICT (id) DO NOTHING"
        );
        sql::run(&*conn, &copy, &[jsonb(&events)]).await?;
        let done = "DELETE FROM audit_copies WHERE event_id = ANY ($1)";
        sql::run(&platform, done, &[texts(&ids)]).await?;
        service.noted.note(Some(id));
    }
    Ok(lease.give_back(&platform).await?)
}
