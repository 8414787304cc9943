//! A policy of which a few rows changed, without compiling the others again.
//!
//! What was compiled is shared: rows that went are skipped where they are found, rows that came are asked one by one,
//! and of role links the closures that they touch are made again. The answers are those of the new rows compiled whole,
//! which is to follow: each decision asks every row that came.

use crate::bounds::CHANGED_ROWS_MAX;
use crate::builtin::ip::is_network;
use crate::builtin::pattern::Pattern;
use crate::dialect::Dialect;
use crate::expr::code::{Code, Node};
use crate::model::{EffectRule, Model};
use crate::policy::PolicySet;
use crate::policy::facts::{Effect, Facts, RowFacts};
use crate::policy::index::Twin;
use crate::policy::rows::{Row, Rows};
use std::sync::Arc;

/// Lines of policy.csv, one behind the other, that became others.
#[derive(Debug, Clone, Default)]
pub struct Change<'r> {
    /// The rows that stood there, with their lines.
    pub removed: Rows<'r>,
    /// The rows that stand there now, with theirs.
    pub added: Rows<'r>,
    pub moved: Moved,
}

/// How lines moved: `before` of them, from `first` on, became `after`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moved {
    pub first: u32,
    pub before: u32,
    pub after: u32,
}

impl Moved {
    /// Where a line stands now that stood elsewhere.
    pub(crate) fn line(self, line: u32) -> u32 {
        match line < self.first {
            true => line,
            false => line.saturating_sub(self.before).saturating_add(self.after),
        }
    }

    fn holds(self, line: u32) -> bool {
        (self.first..self.first.saturating_add(self.before)).contains(&line)
    }
}

/// Rows that came and went.
#[derive(Debug, Clone)]
pub(crate) struct RowChanges {
    /// Those that came.
    pub(crate) rows: RowFacts,
    /// Of each the loaded row before which it stands.
    before: Vec<u32>,
    /// Those of the loaded ones that went, sorted.
    removed: Vec<u32>,
    loaded: usize,
    pub(crate) moved: Moved,
}

impl RowChanges {
    pub(crate) fn is_removed(&self, row: usize) -> bool {
        u32::try_from(row).is_ok_and(|row| self.removed.binary_search(&row).is_ok())
    }

    /// Where a row stands among all.
    pub(crate) fn rank(&self, row: u32) -> (u32, u32) {
        let added = (row as usize).checked_sub(self.loaded);
        match added.and_then(|at| self.before.get(at)) {
            Some(before) => (*before, row),
            // Behind those that stand before it.
            None => (row, u32::MAX),
        }
    }
}

impl PolicySet {
    /// The same policy with a few rows changed. `None` if it has to be compiled: it is one already, its answers depend
    /// on more than the rows' places, or a row is one that compiling would refuse.
    pub fn changed(&self, model: &Model, change: &Change<'_>) -> Option<PolicySet> {
        let is_plain = self.dialect == Dialect::Strict
            && self.contexts.is_empty()
            && model.contexts.is_empty()
            && self.index.is_some()
            && self.code.evals.is_empty()
            && self.effect_rule != EffectRule::SubjectPriority
            && !self.is_changed;
        let count = change.added.all().count() + change.removed.all().count();
        if !is_plain || count > CHANGED_ROWS_MAX {
            return None;
        }
        let mut facts = (*self.facts).clone();
        facts.roles = facts.roles.changed(change, &model.roles, &mut facts.texts)?;
        let index = &self.index.as_ref()?.alternatives.first()?.twin;
        let sources = (self.code.as_ref(), index.as_ref());
        facts.changes = Some(Box::new(row_changes(&mut facts, sources, model, change)?));
        Some(PolicySet { facts: Box::new(facts), is_changed: true, ..self.clone() })
    }
}

fn row_changes(
    facts: &mut Facts,
    (code, index): (&Code, &Twin),
    model: &Model,
    change: &Change<'_>,
) -> Option<RowChanges> {
    let (moved, loaded) = (change.moved, Arc::clone(&facts.loaded));
    let removed = loaded.lines.iter().zip(0u32..).filter(|(line, _)| moved.holds(**line));
    let removed: Vec<u32> = removed.map(|(_, row)| row).collect();
    let mut changes = RowChanges {
        rows: RowFacts::default(),
        before: Vec::new(),
        removed,
        loaded: loaded.effects.len(),
        moved,
    };
    for row in &change.added.rules {
        changes.before.push(place(facts, model, row, moved)?);
        add(&mut changes.rows, facts, code, model, row)?;
    }
    let is_double = |cells: &[u32]| {
        // No loaded row holds a text that is new.
        if cells.iter().any(|id| facts.texts.is_own(*id)) {
            return false;
        }
        let is_it = |row: usize| {
            let known = loaded.cells.get(row * facts.columns..(row + 1) * facts.columns);
            known == Some(cells) && !changes.is_removed(row)
        };
        match index.rows_like(cells, facts.texts.find("*")) {
            Some(rows) => rows.iter().any(|candidate| is_it(candidate.row as usize)),
            None => (0..loaded.effects.len()).any(is_it),
        }
    };
    let mut added = changes.rows.cells.chunks_exact(facts.columns.max(1));
    let left = loaded.effects.len() + change.added.rules.len() - changes.removed.len();
    (!added.any(is_double) && left > 0).then_some(changes)
}

/// The loaded row before which a new one stands.
fn place(facts: &Facts, model: &Model, row: &Row<'_>, moved: Moved) -> Option<u32> {
    let loaded = &facts.loaded.lines;
    let stands = match model.priority_column() {
        None => loaded.partition_point(|line| *line < moved.first),
        Some(column) => {
            let own = row.cells.get(column)?.parse::<i64>().ok()?;
            let narrow = u16::try_from(column).ok()?;
            let stands_before = |at: usize| {
                let theirs = facts.cell_text(at, narrow).parse().unwrap_or(i64::MIN);
                (theirs, loaded.get(at).copied().unwrap_or(0)) < (own, moved.first)
            };
            let (mut low, mut high) = (0, loaded.len());
            while low < high {
                let middle = low.midpoint(high);
                if stands_before(middle) { low = middle + 1 } else { high = middle }
            }
            low
        }
    };
    u32::try_from(stands).ok()
}

/// Adds a row as loading does; `None` where that would find something wrong with it.
fn add(
    rows: &mut RowFacts,
    facts: &mut Facts,
    code: &Code,
    model: &Model,
    row: &Row<'_>,
) -> Option<()> {
    for (function, column) in &code.sites {
        let pattern = Pattern::compile(*function, row.cells.get(*column)?, model.dialect).ok()?;
        rows.row_patterns.push(u32::try_from(rows.patterns.len()).ok()?);
        rows.patterns.push(pattern);
    }
    let networks = code.nodes.iter().filter_map(|node| match node {
        Node::IpMatch(_, network) => code.nodes.get(*network as usize),
        _ => None,
    });
    for network in networks {
        if let Node::Column(column) = network
            && !is_network(row.cells.get(usize::from(*column))?)
        {
            return None;
        }
    }
    rows.cells.extend(row.cells.iter().map(|cell| facts.texts.intern(cell)));
    let effect = model.effect_column().and_then(|column| row.cells.get(column));
    rows.effects.push(if effect == Some(&"deny") { Effect::Deny } else { Effect::Allow });
    rows.lines.push(row.line);
    rows.faulty.push(false);
    Some(())
}
