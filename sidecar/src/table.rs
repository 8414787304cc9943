//! The tenants being served: an immutable table, swapped whole.
//!
//! Serving threads never free a table: whoever swaps keeps the old one on a retire list and drops
//! it as its last owner.

use arc_swap::ArcSwap;
use std::collections::HashMap;
use std::sync::Arc;
use tollgate_engine::{Cells, Decision, Now, Reason, Request, Scratch, TenantState, Version};

/// Tenants by name. `None`: known, but no configuration of it ever loaded.
pub(crate) type Tenants = HashMap<String, Option<Arc<TenantState>>, foldhash::fast::RandomState>;

/// What one look at the table sees.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) tenants: Tenants,
}

impl Table {
    /// Decides a request with its tenant's state, and says which state that was.
    pub(crate) fn decide(
        &self,
        cells: &Cells<'_>,
        request: &Request<'_>,
        now: Now,
        scratch: &mut Scratch,
    ) -> (Option<&TenantState>, Decision) {
        match self.tenants.get(request.tenant) {
            Some(Some(state)) => (Some(state), state.decide(cells, request, now, scratch)),
            Some(None) => (None, Decision::refuse(Reason::NoBundle, Version::default())),
            None => (None, Decision::refuse(Reason::UnknownTenant, Version::default())),
        }
    }
}

/// Swaps tables and frees the old ones.
#[derive(Debug)]
pub(crate) struct Publisher {
    table: Arc<ArcSwap<Table>>,
    retired: Vec<Arc<Table>>,
}

impl Publisher {
    pub(crate) fn new() -> Publisher {
        Publisher { table: Arc::new(ArcSwap::default()), retired: Vec::new() }
    }

    /// What serving threads read.
    pub(crate) fn table(&self) -> Arc<ArcSwap<Table>> {
        Arc::clone(&self.table)
    }

    pub(crate) fn publish(&mut self, table: Table) {
        self.retired.push(self.table.swap(Arc::new(table)));
    }

    /// Frees the tables that nobody reads any more.
    pub(crate) fn sweep(&mut self) {
        self.retired.retain(|table| Arc::strong_count(table) > 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_in_use_is_freed_by_the_publisher_only() {
        let mut publisher = Publisher::new();
        let reader = publisher.table().load_full();
        publisher.publish(Table::default());
        publisher.sweep();
        assert_eq!(publisher.retired.len(), 1);
        drop(reader);
        publisher.sweep();
        assert_eq!(publisher.retired.len(), 0);
    }
}
