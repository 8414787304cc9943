//! The order in which rules are asked where the effect rule has one: a column of priorities, or how far from the top
//! of the roles a rule's subject stands. Both sorts keep the file's order among equals.

use crate::bind::is_tenant;
use crate::bounds::ROLE_DEPTH_MAX;
use crate::dialect::Dialect;
use crate::model::{EffectRule, Model};
use crate::policy::rows::Row;
use std::collections::HashMap;

/// Puts rules of `model` in their order, under its effect rule or, in Go, that of the model whose context it is.
pub(crate) fn order(
    rules: &mut [Row<'_>],
    links: &[Vec<Row<'_>>],
    model: &Model,
    effect: EffectRule,
) {
    if let Some(column) = model.priority_column() {
        rules.sort_by_key(|row| row.cells.get(column).and_then(|cell| cell.parse::<i64>().ok()));
    }
    if effect == EffectRule::SubjectPriority {
        let heights = Heights::of(model, links);
        rules.sort_by_key(|row| std::cmp::Reverse(heights.depth(row, model.dialect)));
    }
}

/// Who is a member of whom, in which tenant.
struct Heights<'r> {
    roles: HashMap<(&'r str, &'r str), Vec<&'r str>>,
    tenant_column: Option<usize>,
}

impl<'r> Heights<'r> {
    fn of(model: &Model, links: &'r [Vec<Row<'_>>]) -> Heights<'r> {
        let is_go = model.dialect == Dialect::CasbinGo;
        let has_tenant = model.roles.first().is_some_and(|definition| definition.arity == 3);
        // Go takes the third cell of a link for its tenant, also where it is a time, and finds nobody there.
        let is_lost = is_go && model.roles.first().is_some_and(|definition| definition.is_timed);
        let mut roles: HashMap<(&str, &str), Vec<&str>> = HashMap::new();
        for link in links.first().into_iter().flatten().filter(|_| !is_lost) {
            let [member, role, rest @ ..] = link.cells.as_slice() else { continue };
            let tenant = rest.first().copied().filter(|_| has_tenant).unwrap_or("");
            roles.entry((tenant, member)).or_default().push(role);
        }
        let is_tenant = |name: &String| if is_go { name == "dom" } else { is_tenant(name) };
        let tenant_column = model.policy.iter().position(is_tenant).filter(|_| has_tenant);
        Heights { roles, tenant_column }
    }

    /// How many levels of roles stand above the row's subject, its first cell. Go counts the longest way up, and 1
    /// where the way goes round.
    fn depth(&self, row: &Row<'_>, dialect: Dialect) -> usize {
        let tenant = self.tenant_column.and_then(|column| row.cells.get(column)).copied();
        let tenant = tenant.unwrap_or("");
        let mut level: Vec<&str> = row.cells.first().copied().into_iter().collect();
        let mut seen = level.clone();
        let (is_go, most) = match dialect {
            Dialect::CasbinGo => (true, self.roles.len()),
            _ => (false, ROLE_DEPTH_MAX),
        };
        for depth in 0..=most {
            let above = level.iter().filter_map(|name| self.roles.get(&(tenant, *name))).flatten();
            let mut next: Vec<&str> =
                above.copied().filter(|name| is_go || !seen.contains(name)).collect();
            next.sort_unstable();
            next.dedup();
            if next.is_empty() {
                return depth;
            }
            seen.extend(&next);
            level = next;
        }
        if is_go { 1 } else { ROLE_DEPTH_MAX }
    }
}
