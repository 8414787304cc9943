//! The order in which rules are asked where the effect rule has one: a column of priorities, or how far from the top
//! of the roles a rule's subject stands. Both sorts keep the file's order among equals.

use crate::bind::is_tenant;
use crate::bounds::ROLE_DEPTH_MAX;
use crate::dialect::Dialect;
use crate::model::{EffectRule, Model};
use crate::policy::rows::Row;
use std::collections::HashMap;

/// Puts rules of `model` in their order.
pub(crate) fn order(rules: &mut [Row<'_>], links: &[Vec<Row<'_>>], model: &Model) {
    if let Some(column) = model.priority_column() {
        rules.sort_by_key(|row| row.cells.get(column).and_then(|cell| cell.parse::<i64>().ok()));
    }
    if model.effect == EffectRule::SubjectPriority && model.dialect == Dialect::Strict {
        let heights = Heights::of(model, links);
        rules.sort_by_key(|row| std::cmp::Reverse(heights.depth(row)));
    }
}

/// Who is a member of whom, in which tenant.
struct Heights<'r> {
    roles: HashMap<(&'r str, &'r str), Vec<&'r str>>,
    tenant_column: Option<usize>,
}

impl<'r> Heights<'r> {
    fn of(model: &Model, links: &'r [Vec<Row<'_>>]) -> Heights<'r> {
        let has_tenant = model.roles.first().is_some_and(|definition| definition.arity == 3);
        let mut roles: HashMap<(&str, &str), Vec<&str>> = HashMap::new();
        for link in links.first().into_iter().flatten() {
            let [member, role, rest @ ..] = link.cells.as_slice() else { continue };
            let tenant = rest.first().copied().filter(|_| has_tenant).unwrap_or("");
            roles.entry((tenant, member)).or_default().push(role);
        }
        let tenant_column =
            model.policy.iter().position(|name| is_tenant(name)).filter(|_| has_tenant);
        Heights { roles, tenant_column }
    }

    /// How many levels of roles stand above the row's subject, its first cell.
    fn depth(&self, row: &Row<'_>) -> usize {
        let tenant = self.tenant_column.and_then(|column| row.cells.get(column)).copied();
        let tenant = tenant.unwrap_or("");
        let mut level: Vec<&str> = row.cells.first().copied().into_iter().collect();
        let mut seen = level.clone();
        for depth in 0..=ROLE_DEPTH_MAX {
            let above = level.iter().filter_map(|name| self.roles.get(&(tenant, *name))).flatten();
            let mut next: Vec<&str> = above.copied().filter(|name| !seen.contains(name)).collect();
            next.sort_unstable();
            next.dedup();
            if next.is_empty() {
                return depth;
            }
            seen.extend(&next);
            level = next;
        }
        ROLE_DEPTH_MAX
    }
}
