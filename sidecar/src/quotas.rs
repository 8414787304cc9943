//! Counters for people: what the kept decisions count by, how one stands, and giving back, which is audited before it is done.

use crate::shared::Shared;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io::Write;
use tollgate_engine::bounds::FRAME_BYTES_MAX;
use tollgate_engine::{Now, Standing, TenantState, Value};
use tollgate_proto::authzen::mode_name;
use tollgate_proto::frame;
use tollgate_proto::quota::{
    CounterBody, DeniedBody, QuotaAsked, QuotaBody, RegionBody, TenantBody,
};

/// The file in the data folder that every change is written to.
const AUDIT_FILE: &str = "quota-audit.ndjson";
/// Counters of one answer.
const COUNTERS_MAX: usize = 200;

/// Answers a question or makes a change, for the user with this id.
pub(crate) fn answer(shared: &Shared, asked: &QuotaAsked, uid: u32) -> Vec<u8> {
    let (mut tenants, mut denied) = (Vec::new(), Vec::new());
    let answered = match asked {
        QuotaAsked::Top { tenant } => {
            tenants = totals(shared, tenant.as_deref());
            denied = refused(shared, tenant.as_deref());
            Ok(top(shared, tenant.as_deref()))
        }
        QuotaAsked::Show { tenant, limit, key } => {
            one(shared, tenant, limit, key, |at| at.standing(shared)).map(|one| vec![one])
        }
        QuotaAsked::GiveBack { tenant, limit, key, amount, reason } => {
            let give_back = |at: &At<'_>| {
                let before = at.standing(shared)?;
                let amount = amount.unwrap_or(before.used).min(before.used);
                let line = serde_json::json!({
                    "event": "quota-given-back", "at_ms": shared.clock.now().0 / 1_000_000,
                    "uid": uid, "tenant": tenant, "limit": limit, "key": key,
                    "amount": amount, "used_before": before.used, "reason": reason,
                });
                audit(shared, &line.to_string())?;
                at.give_back(shared, amount)
            };
            one(shared, tenant, limit, key, give_back).map(|one| vec![one])
        }
        QuotaAsked::Doctor { repair } => return doctor(shared, *repair, uid),
    };
    let mut body = match answered {
        Ok(counters) => QuotaBody { counters, tenants, denied, ..QuotaBody::default() },
        Err(error) => QuotaBody { error, ..QuotaBody::default() },
    };
    body.at_ms = shared.clock.now().0 / 1_000_000;
    loop {
        // Writing plain values into memory cannot fail.
        let bytes = serde_json::to_vec(&body).unwrap_or_default();
        if bytes.len() < FRAME_BYTES_MAX - 64 || body.counters.pop().is_none() {
            return bytes;
        }
    }
}

/// Looks at the region while decisions go on, and puts right what is wrong once that is audited.
fn doctor(shared: &Shared, repair: bool, uid: u32) -> Vec<u8> {
    let audited = match repair {
        true => {
            let at_ms = shared.clock.now().0 / 1_000_000;
            let line = serde_json::json!({"event": "region-repaired", "at_ms": at_ms, "uid": uid});
            audit(shared, &line.to_string())
        }
        false => Ok(()),
    };
    let cells = shared.cells.cells();
    let body = audited.map(|()| {
        let found = cells.examine(repair);
        RegionBody {
            path: shared.config.region.display().to_string(),
            members: shared.cells.members() as u64,
            cells: shared.cells.capacity() as u64,
            occupied: cells.occupied() as u64,
            reservations: shared.config.reservations as u64,
            held: cells.held() as u64,
            unkept: cells.unkept().len() as u64,
            half_evicted: found.half_evicted,
            doubled: found.doubled,
            misplaced: found.misplaced,
            abandoned: if repair { cells.recover() } else { cells.abandoned() },
            repaired: repair,
        }
    });
    let body = match body {
        Ok(region) => QuotaBody { region: Some(region), ..QuotaBody::default() },
        Err(error) => QuotaBody { error, ..QuotaBody::default() },
    };
    // Writing plain values into memory cannot fail.
    serde_json::to_vec(&body).unwrap_or_default()
}

/// One counter of a tenant.
struct At<'a> {
    state: &'a TenantState,
    limit: u16,
    values: Vec<Value<'a>>,
}

impl At<'_> {
    fn standing(&self, shared: &Shared) -> Result<Standing, String> {
        let (cells, now) = (shared.cells.cells(), shared.clock.now());
        let quotas = self.state.quotas();
        quotas.standing(&cells, self.limit, &self.values, now).ok_or_else(|| self.off())
    }

    fn give_back(&self, shared: &Shared, amount: u64) -> Result<Standing, String> {
        let (cells, now) = (shared.cells.cells(), shared.clock.now());
        let given = (self.values.as_slice(), amount);
        let standing = self.state.quotas().give_back_to(&cells, self.limit, given, now);
        standing.ok_or_else(|| self.off())
    }

    fn off(&self) -> String {
        let scope = self.state.quotas().terms(self.limit).map_or("", |terms| &terms.scope);
        format!("this limit counts by {scope}; name a value of each, got {}", self.values.len())
    }
}

fn one(
    shared: &Shared,
    tenant: &str,
    limit: &str,
    key: &[String],
    ask: impl FnOnce(&At<'_>) -> Result<Standing, String>,
) -> Result<CounterBody, String> {
    let table = shared.table.load_full();
    let state = table.state(tenant).ok_or_else(|| format!("there is no tenant `{tenant}`"))?;
    let position = state.quotas().position(limit);
    let position = position.ok_or_else(|| format!("`{tenant}` has no limit `{limit}`"))?;
    let values = key.iter().map(|value| Value::Str(value)).collect();
    let standing = ask(&At { state, limit: position, values })?;
    let mode = state.quotas().mode(position);
    let key = (key.to_vec(), shared.clock.now());
    Ok(body(state, position, mode_name(mode), key, standing))
}

fn body(
    state: &TenantState,
    limit: u16,
    mode: &str,
    (key, now): (Vec<String>, Now),
    standing: Standing,
) -> CounterBody {
    let Standing { used, of, remaining, held, reset_ms } = standing;
    let resets = state.quotas().resets_shown(limit, now);
    let (tenant, quotas) = (state.name().to_owned(), state.quotas());
    let (limit, meter) = (quotas.id(limit).to_owned(), quotas.meter(limit).to_owned());
    let mode = mode.to_owned();
    CounterBody { tenant, limit, meter, mode, key, used, of, remaining, held, reset_ms, resets }
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

/// Writes a line to the audit file, to the disk before anything is changed.
fn audit(shared: &Shared, line: &str) -> Result<(), String> {
    let path = shared.config.data.join(AUDIT_FILE);
    let file = OpenOptions::new().create(true).append(true).open(&path);
    let written = file.and_then(|mut file| {
        file.write_all(format!("{line}\n").as_bytes())?;
        file.sync_data()
    });
    tracing::warn!(audit = line, "a counter is changed");
    written.map_err(|error| format!("not changed: {}: {error}", path.display()))
}
