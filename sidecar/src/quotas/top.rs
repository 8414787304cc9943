//! What the kept decisions count by, how much each tenant decides, and who is refused.

use super::COUNTERS_MAX;
use super::counter::body;
use crate::shared::Shared;
use std::collections::{BTreeMap, BTreeSet};
use tollgate_engine::Now;
use tollgate_proto::authzen::mode_name;
use tollgate_proto::frame;
use tollgate_proto::quota::{CounterBody, DeniedBody, QuotaBody, TenantBody};

/// Everything that is said of tenants and counters.
pub(super) fn answer(shared: &Shared, tenant: Option<&str>) -> QuotaBody {
    QuotaBody {
        counters: top(shared, tenant),
        tenants: totals(shared, tenant),
        denied: refused(shared, tenant),
        ..QuotaBody::default()
    }
}

/// The counters of the decisions that are kept, the newest first.
fn top(shared: &Shared, tenant: Option<&str>) -> Vec<CounterBody> {
    let table = shared.table.load_full();
    let (cells, now) = (shared.cells.cells(), shared.clock.now());
    let (mut seen, mut found) = (BTreeSet::new(), Vec::new());
    for request in shared.decisions.recent().requests(tenant) {
        if found.len() >= COUNTERS_MAX {
            break;
        }
        // What a record holds was written by us.
        let _ = frame::check(&request, |request| {
            let Some(state) = table.state(request.tenant) else { return };
            for counter in state.counters(&cells, request, now) {
                let key = (state.name().to_owned(), counter.limit, counter.values.clone());
                if seen.insert(key) {
                    let mode = mode_name(counter.mode);
                    let key = counter.values.iter().map(|value| plain(value)).collect();
                    found.push(body(state, counter.limit, mode, (key, now), counter.standing));
                }
            }
        });
    }
    found
}

/// What each tenant's requests were answered so far.
fn totals(shared: &Shared, tenant: Option<&str>) -> Vec<TenantBody> {
    let table = shared.table.load_full();
    let asked = |name: &&str| tenant.is_none_or(|tenant| tenant == *name);
    let one = |name: &str| {
        let (allowed, denied) = table.answered(name)?;
        let version = table.state(name)?.version();
        let version = format!("{}.{}", version.epoch, version.seq);
        Some(TenantBody { tenant: name.to_owned(), version, allowed, denied })
    };
    let mut tenants: Vec<TenantBody> = table.names().filter(asked).filter_map(one).collect();
    tenants.sort_by(|one, other| one.tenant.cmp(&other.tenant));
    tenants.truncate(COUNTERS_MAX);
    tenants
}

/// Why kept decisions of the last second were refused, the most frequent reason first.
fn refused(shared: &Shared, tenant: Option<&str>) -> Vec<DeniedBody> {
    let since = Now(shared.clock.now().0.saturating_sub(1_000_000_000));
    let mut reasons: BTreeMap<&str, BTreeMap<String, u64>> = BTreeMap::new();
    shared.decisions.recent().refused_since(since, tenant, |reason, binding| {
        *reasons.entry(reason).or_default().entry(binding).or_default() += 1;
    });
    let mut denied: Vec<DeniedBody> = reasons
        .into_iter()
        .map(|(reason, limits)| DeniedBody {
            reason: reason.to_owned(),
            count: limits.values().sum(),
            most: limits.into_iter().max_by_key(|(_, count)| *count).unwrap_or_default().0,
        })
        .collect();
    denied.sort_by_key(|denied| std::cmp::Reverse(denied.count));
    denied
}

/// A text without its quotes.
fn plain(value: &str) -> String {
    serde_json::from_str::<String>(value).unwrap_or_else(|_| value.to_owned())
}
