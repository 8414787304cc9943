//! Drops databases in batches: each `DROP DATABASE` forces a checkpoint of its whole cluster, so whoever comes first drops
//! for all that wait, between two checkpoints that the cluster would make for each.

use super::erase::{erase, is_checkpointed};
use crate::lease::Lease;
use crate::operations::store;
use crate::operations::work::{Job, Step, said};
use crate::placement::{self, Placement};
use serde_json::json;
use std::time::{Duration, Instant};

/// Databases that one batch drops.
const BATCH: i64 = 50;
/// A batch ends by then; what is left is the next one's. Well below what a lease lasts.
const BATCH_TIME: Duration = Duration::from_secs(6);
/// Until whoever drops now has dropped.
const WAIT_SECONDS: f64 = 0.2;

/// The step `drop`: done when the tenant's database is gone, and the log that tells of it.
///
/// # Errors
/// A sentence.
pub(super) async fn drop_all(job: &Job<'_>) -> Result<Step, String> {
    let own = job.operation.id.as_str();
    let now = store::by_id(job.platform, own).await.map_err(said)?;
    if now.is_some_and(|now| now.json["result"]["is_checkpointed"].is_boolean()) {
        return Ok(Step::Done);
    }
    let cluster = job.placement().await?.cluster.id;
    let name = format!("drop/{cluster}");
    let Some(lease) = Lease::take(job.platform, &name, own).await.map_err(said)? else {
        return Ok(Step::Waits(WAIT_SECONDS));
    };
    let dropped = batch(job, &cluster, &lease).await;
    lease.give_back(job.platform).await.map_err(said)?;
    match dropped? {
        true => Ok(Step::Done),
        false => Ok(Step::Waits(WAIT_SECONDS)),
    }
}

/// Drops what waits on a cluster; whether the job's own was among it.
async fn batch(job: &Job<'_>, cluster: &str, lease: &Lease) -> Result<bool, String> {
    let admin = job.admin().await?;
    // What is written now need not be written by the first drop.
    let _ = admin.batch_execute("CHECKPOINT").await;
    let began = Instant::now();
    let mut dropped: Vec<String> = Vec::new();
    let mut failed = Ok(());
    let waiting = placement::to_be_dropped(job.platform, cluster, BATCH).await.map_err(said)?;
    for (operation, placement) in &waiting {
        let placement: &Placement = placement;
        if began.elapsed() > BATCH_TIME || !lease.renew(job.platform).await.map_err(said)? {
            break;
        }
        match erase(&admin, placement).await {
            Ok(()) => dropped.push(operation.clone()),
            Err(error) if *operation == job.operation.id => failed = Err(said(error)),
            // Its own job says so: nobody else's drop fails by it.
            Err(_) => {}
        }
    }
    let members = json!({"is_checkpointed": is_checkpointed(&admin).await});
    for operation in &dropped {
        store::add_result(job.platform, operation, &members).await.map_err(said)?;
    }
    failed.map(|()| dropped.contains(&job.operation.id))
}
