//! One counter, found by tenant, limit and the values that it counts by.

use crate::overrides::Override;
use crate::shared::Shared;
use tollgate_engine::{Capacity, Now, Standing, TenantState, Value};
use tollgate_proto::authzen::mode_name;
use tollgate_proto::quota::CounterBody;

/// One counter of a tenant.
pub(super) struct At<'a> {
    state: &'a TenantState,
    limit: u16,
    values: Vec<Value<'a>>,
}

impl At<'_> {
    pub(super) fn standing(&self, shared: &Shared) -> Result<Standing, String> {
        let (cells, now) = (shared.cells.cells(), shared.clock.now());
        let quotas = self.state.quotas();
        quotas.standing(&cells, self.limit, &self.values, now).ok_or_else(|| self.off())
    }

    pub(super) fn give_back(&self, shared: &Shared, amount: u64) -> Result<Standing, String> {
        let (cells, now) = (shared.cells.cells(), shared.clock.now());
        let given = (self.values.as_slice(), amount);
        let standing = self.state.quotas().give_back_to(&cells, self.limit, given, now);
        standing.ok_or_else(|| self.off())
    }

    /// The amount that its limit says.
    pub(super) fn base(&self) -> u64 {
        self.state.quotas().of(self.limit)
    }

    /// Gives its counter this amount in the window of a moment.
    pub(super) fn grant(&self, shared: &Shared, amount: u64, at: Now) -> Result<Standing, String> {
        let granted = i128::from(amount) - i128::from(self.base());
        let granted =
            i64::try_from(granted).unwrap_or(if granted < 0 { i64::MIN } else { i64::MAX });
        let given = (self.values.as_slice(), granted);
        let standing = self.state.quotas().grant(&shared.cells.cells(), self.limit, given, at);
        standing.ok_or_else(|| self.off())
    }

    pub(super) fn is_budget(&self) -> Result<(), String> {
        match self.state.quotas().terms(self.limit).map(|terms| &terms.capacity) {
            Some(Capacity::Budget(_)) => Ok(()),
            _ => {
                Err("this limit is a bucket, which fills by itself: change limits.toml".to_owned())
            }
        }
    }

    fn off(&self) -> String {
        let scope = self.state.quotas().terms(self.limit).map_or("", |terms| &terms.scope);
        format!("this limit counts by {scope}; name a value of each, got {}", self.values.len())
    }
}

/// Asks one counter, and says how it stands then.
pub(super) fn one(
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
    let known = shared.overrides.of(tenant, limit, &key.0);
    let body = body(state, position, mode_name(mode), key, standing);
    Ok(CounterBody { override_until_ms: known.map(|known| known.until_ms), ..body })
}

pub(super) fn body(
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
    let override_until_ms = None;
    CounterBody {
        tenant,
        limit,
        meter,
        mode,
        key,
        used,
        of,
        remaining,
        held,
        reset_ms,
        resets,
        override_until_ms,
    }
}

/// Grants a counter the amount of an override in the window of a moment, or its limit's again.
pub(crate) fn grant(
    shared: &Shared,
    found: &Override,
    amount: Option<u64>,
    at: Now,
) -> Result<CounterBody, String> {
    one(shared, &found.tenant, &found.limit, &found.key, |counter| {
        counter.grant(shared, amount.unwrap_or_else(|| counter.base()), at)
    })
}
