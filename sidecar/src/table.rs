//! The tenants being served: an immutable table, swapped whole.
//!
//! Serving threads never free a table: whoever swaps keeps the old one on a retire list and drops
//! it as its last owner. A table that a serving thread did free would be counted.

use crate::metrics::{DoorMetrics, Metrics, TenantCounters};
use arc_swap::ArcSwap;
use metrics::Counter;
use std::collections::HashMap;
use std::sync::Arc;

use tollgate_engine::{Cells, Decision, Now, Reason, Request, Scratch, TenantState, Version};

/// Tenants by name.
pub(crate) type Tenants<T> = HashMap<String, T, foldhash::fast::RandomState>;

/// One tenant as it is served.
#[derive(Debug)]
pub(crate) struct Tenant {
    /// `None`: known, but no configuration of it ever loaded.
    pub(crate) state: Option<Arc<TenantState>>,
    counters: TenantCounters,
}

/// What one look at the table sees.
#[derive(Debug, Default)]
pub(crate) struct Table {
    tenants: Tenants<Tenant>,
    /// Counts a table that somebody but the publisher freed.
    serving_drops: Option<Counter>,
}

impl Drop for Table {
    fn drop(&mut self) {
        if let Some(drops) = &self.serving_drops {
            drops.increment(1);
        }
    }
}

impl Table {
    /// Decides a request with its tenant's state, and says which tenant that was.
    pub(crate) fn decide(
        &self,
        cells: &Cells<'_>,
        request: &Request<'_>,
        now: Now,
        scratch: &mut Scratch,
    ) -> (Option<&Tenant>, Decision) {
        let tenant = self.tenants.get(request.tenant);
        let refuse = |reason| (tenant, Decision::refuse(reason, Version::default()));
        match tenant.map(|tenant| &tenant.state) {
            _ if request.tenant.is_empty() => refuse(Reason::BadRequest),
            Some(Some(state)) => (tenant, state.decide(cells, request, now, scratch)),
            Some(None) => refuse(Reason::NoBundle),
            None => refuse(Reason::UnknownTenant),
        }
    }
}

impl Table {
    /// A tenant's state by its name.
    pub(crate) fn shared_state(&self, tenant: &str) -> Option<Arc<TenantState>> {
        self.tenants.get(tenant)?.state.clone()
    }

    /// Names of those that are served.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.tenants.keys().map(String::as_str)
    }

    /// How many of a tenant's requests were allowed and denied so far.
    pub(crate) fn answered(&self, tenant: &str) -> Option<(u64, u64)> {
        self.tenants.get(tenant).map(|tenant| tenant.counters.answered())
    }

    pub(crate) fn state(&self, tenant: &str) -> Option<&TenantState> {
        self.tenants.get(tenant)?.state.as_deref()
    }
}

/// Counts the decisions of one read: the counters are shared, so each is touched once.
pub(crate) struct Tally<'d> {
    door: &'d DoorMetrics,
    reason: Reason,
    times: u64,
    tenant: Option<TenantTally>,
}

struct TenantTally {
    counters: TenantCounters,
    allow: u64,
    deny: u64,
}

impl<'d> Tally<'d> {
    pub(crate) fn new(door: &'d DoorMetrics) -> Tally<'d> {
        Tally { door, reason: Reason::Allow, times: 0, tenant: None }
    }

    pub(crate) fn count(&mut self, tenant: Option<&Tenant>, decision: &Decision) {
        if decision.reason != self.reason {
            self.flush_reason();
            self.reason = decision.reason;
        }
        self.times += 1;
        let Some(tenant) = tenant else { return };
        let (allow, deny) = if decision.is_allow() { (1, 0) } else { (0, 1) };
        match &mut self.tenant {
            Some(tally) if tally.counters.is(&tenant.counters) => {
                tally.allow += allow;
                tally.deny += deny;
            }
            _ => {
                self.flush_tenant();
                self.tenant = Some(TenantTally { counters: tenant.counters.clone(), allow, deny });
            }
        }
    }

    fn flush_reason(&mut self) {
        if self.times > 0 {
            self.door.count(self.reason, self.times);
        }
        self.times = 0;
    }

    fn flush_tenant(&mut self) {
        if let Some(tally) = self.tenant.take() {
            tally.counters.add(tally.allow, tally.deny);
        }
    }
}

impl Drop for Tally<'_> {
    fn drop(&mut self) {
        self.flush_reason();
        self.flush_tenant();
    }
}

/// Swaps tables and frees the old ones.
#[derive(Debug)]
pub(crate) struct Publisher {
    table: Arc<ArcSwap<Table>>,
    retired: Vec<Arc<Table>>,
    counters: HashMap<String, TenantCounters>,
    tenants_max: usize,
}

impl Publisher {
    /// `tenants_max` tenants get counters of their own.
    pub(crate) fn new(tenants_max: usize) -> Publisher {
        Publisher {
            table: Arc::new(ArcSwap::default()),
            retired: Vec::new(),
            counters: HashMap::new(),
            tenants_max,
        }
    }

    /// What serving threads read.
    pub(crate) fn table(&self) -> Arc<ArcSwap<Table>> {
        Arc::clone(&self.table)
    }

    /// Serves these tenants from now on. Only the thread that publishes frees tables.
    pub(crate) fn publish(
        &mut self,
        tenants: Tenants<Option<Arc<TenantState>>>,
        metrics: &Metrics,
    ) {
        let mut names: Vec<&String> = tenants.keys().collect();
        names.sort();
        for name in names {
            if !self.counters.contains_key(name) && self.counters.len() < self.tenants_max {
                self.counters.insert(name.clone(), metrics.tenant(name));
            }
        }
        let mut others = None;
        let mut counters = |name: &String| match self.counters.get(name) {
            Some(own) => own.clone(),
            None => others.get_or_insert_with(|| metrics.tenant("_other")).clone(),
        };
        let served = tenants.into_iter().map(|(name, state)| {
            let counters = counters(&name);
            (name, Tenant { state, counters })
        });
        let serving_drops = Some(metrics.serving_drops.clone());
        let table = Table { tenants: served.collect(), serving_drops };
        self.retired.push(self.table.swap(Arc::new(table)));
    }

    /// Frees the tables that nobody reads any more.
    pub(crate) fn sweep(&mut self) {
        let unread = |table: &mut Arc<Table>| Arc::strong_count(table) == 1;
        for table in self.retired.extract_if(.., unread) {
            if let Some(mut table) = Arc::into_inner(table) {
                table.serving_drops = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Door;

    #[test]
    fn a_table_in_use_is_freed_by_the_publisher_only() {
        let metrics = Metrics::new(Now(0), 16);
        let mut publisher = Publisher::new(1);
        publisher.publish(Tenants::default(), &metrics);
        let reader = publisher.table().load_full();
        publisher.publish(Tenants::default(), &metrics);
        publisher.sweep();
        assert_eq!(publisher.retired.len(), 1);
        drop(reader);
        publisher.sweep();
        assert_eq!(publisher.retired.len(), 0);
        assert!(metrics.render().contains("serving_drops_total 0"), "{}", metrics.render());
    }

    #[test]
    fn a_table_that_a_reader_frees_is_counted() {
        let metrics = Metrics::new(Now(0), 16);
        let mut publisher = Publisher::new(1);
        publisher.publish(Tenants::default(), &metrics);
        let reader = publisher.table().load_full();
        publisher.publish(Tenants::default(), &metrics);
        publisher.retired.clear();
        drop(reader);
        assert!(metrics.render().contains("serving_drops_total 1"), "{}", metrics.render());
    }

    #[test]
    fn decisions_are_counted_per_tenant_up_to_the_cap() {
        let metrics = Metrics::new(Now(0), 16);
        let mut publisher = Publisher::new(1);
        let names = ["a", "b", "c"].map(|name| (name.to_owned(), None));
        publisher.publish(names.into_iter().collect(), &metrics);
        let table = publisher.table().load_full();
        let mut tally = Tally::new(metrics.door(Door::Http));
        let deny = Decision::refuse(Reason::NoBundle, Version::default());
        for name in ["a", "a", "b", "c"] {
            tally.count(table.tenants.get(name), &deny);
        }
        drop(tally);
        let text = metrics.render();
        for line in [
            r#"tenant_decisions_total{tenant="a",effect="deny"} 2"#,
            r#"tenant_decisions_total{tenant="_other",effect="deny"} 2"#,
            r#"decisions_total{door="http",reason="no-bundle"} 4"#,
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        assert!(!text.contains(r#"tenant="b""#), "{text}");
    }
}
