//! Refused calls in the audit log: counted in memory per caller, code, permission and minute, and written once.
//!
//! They are written outside of any change, where the refused caller belongs: to the tenant's log or the
//! platform's. A crash loses at most one interval of counts.

use crate::audit::{Actor, denied};
use crate::code::Code;
use crate::credential::Caller;
use crate::placement::KnownTenant;
use crate::service::Service;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Between two writes.
const WRITE_INTERVAL: Duration = Duration::from_secs(5);
const MINUTE_MS: u64 = 60_000;
/// Callers and addresses that are told apart between two writes; the rest is counted as one.
const SERIES_MAX: usize = 10_000;

/// What is counted as one event.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Series {
    actor: (&'static str, String),
    /// The tenant whose log it belongs to.
    tenant: Option<String>,
    code: &'static str,
    permission: Option<&'static str>,
    source_address: String,
    minute: u64,
}

/// Counts since the last write.
#[derive(Debug, Default)]
pub struct Denials(Mutex<HashMap<Series, (u64, Option<KnownTenant>)>>);

impl Denials {
    /// A caller that is known was refused.
    pub fn of_caller(
        &self,
        caller: &Caller,
        own_tenant: Option<&KnownTenant>,
        permission: Option<&'static str>,
        code: Code,
        source_address: &str,
        now_ms: u64,
    ) {
        let series = Series {
            actor: (caller.kind.name(), caller.id.clone()),
            tenant: caller.tenant().map(str::to_owned),
            code: code.name(),
            permission,
            source_address: source_address.to_owned(),
            minute: now_ms / MINUTE_MS,
        };
        self.count(series, own_tenant);
    }

    /// A credential was refused.
    pub fn of_address(&self, code: Code, source_address: &str, now_ms: u64) {
        let series = Series {
            actor: ("system", "unknown".to_owned()),
            tenant: None,
            code: code.name(),
            permission: None,
            source_address: source_address.to_owned(),
            minute: now_ms / MINUTE_MS,
        };
        self.count(series, None);
    }

    fn count(&self, mut series: Series, tenant: Option<&KnownTenant>) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= SERIES_MAX && !counts.contains_key(&series) {
            series = Series {
                actor: ("system", "many".to_owned()),
                tenant: None,
                source_address: String::new(),
                ..series
            };
        }
        counts.entry(series).or_insert_with(|| (0, tenant.cloned())).0 += 1;
    }

    /// Writes what was counted; what cannot be written is kept for the next time.
    pub async fn write(&self, service: &Service) {
        let counts = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        for (series, (count, tenant)) in counts {
            if let Err(cause) = put(service, &series, count, tenant.as_ref()).await {
                tracing::warn!(cause, "refused calls could not be written to the audit log");
                let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                kept.entry(series).or_insert((0, tenant)).0 += count;
            }
        }
    }
}

async fn put(
    service: &Service,
    series: &Series,
    count: u64,
    tenant: Option<&KnownTenant>,
) -> Result<(), String> {
    let actor = Actor::new(series.actor.0, &series.actor.1);
    let what = (series.code, series.permission.unwrap_or("credential"));
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let said = |refusal: crate::code::Refusal| refusal.cause.unwrap_or(refusal.message);
    let verified = tenant.and_then(KnownTenant::for_key);
    let written = match verified {
        Some(verified) => {
            let conn = service.pools.tenant(&verified).await.map_err(said)?;
            denied(&*conn, &actor, series.tenant.as_deref(), what, &series.source_address, count)
                .await
        }
        None => {
            let conn = service.pools.platform().await.map_err(said)?;
            denied(&conn, &actor, series.tenant.as_deref(), what, &series.source_address, count)
                .await
        }
    };
    service.noted.note(tenant.map(|tenant| tenant.id.as_str()));
    written.map_err(|error| crate::said(&error))
}

/// Writes until the service ends.
pub async fn work(service: Arc<Service>) {
    loop {
        tokio::time::sleep(WRITE_INTERVAL).await;
        service.denials.write(&service).await;
    }
}
