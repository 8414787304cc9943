//! What an expression may ask about a policy: cells, compiled patterns, roles.
//!
//! Made once at load, never changed: a policy of which a few rows changed shares what was made and keeps the rest
//! beside it. Limits, which have no rows, use `Facts::none`.

use crate::builtin::pattern::Pattern;
use crate::expr::code::NodeId;
use crate::policy::change::RowChanges;
use crate::policy::roles::Roles;
use crate::text::Texts;
use std::sync::Arc;

/// Whether a matching row lets pass or refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    Allow,
    Deny,
    /// Casbin's dialects only: an effect cell that is neither word.
    Indeterminate,
}

/// Rows and role links in the form that evaluation reads.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    pub(crate) texts: Texts,
    pub(crate) roles: Roles,
    pub(crate) columns: usize,
    pub(crate) sites: usize,
    pub(crate) fixed: Arc<Vec<Pattern>>,
    pub(crate) evals: usize,
    pub(crate) loaded: Arc<RowFacts>,
    /// Rows that came and went since; those that came are counted on behind the loaded ones.
    pub(crate) changes: Option<Box<RowChanges>>,
}

/// What rows say.
#[derive(Debug, Clone, Default)]
pub(crate) struct RowFacts {
    /// A text id per row and column.
    pub(crate) cells: Vec<u32>,
    /// One position in `patterns` per row and site.
    pub(crate) row_patterns: Vec<u32>,
    pub(crate) patterns: Vec<Pattern>,
    /// The roots of the rows' own expressions, one per row and column of them; `NodeId::MAX` does not parse.
    pub(crate) row_evals: Vec<NodeId>,
    pub(crate) effects: Vec<Effect>,
    pub(crate) lines: Vec<u32>,
    /// casbin-rs: rows of the wrong length, an error when evaluation reaches them.
    pub(crate) faulty: Vec<bool>,
}

impl Facts {
    /// No rows, no roles.
    pub(crate) fn none() -> Facts {
        let texts = Texts::new(0);
        Facts {
            roles: Roles::empty(&texts),
            texts,
            columns: 0,
            sites: 0,
            fixed: Arc::default(),
            evals: 0,
            loaded: Arc::default(),
            changes: None,
        }
    }

    /// How many rows there are, those that went included: one more than the last ordinal.
    pub(crate) fn rows(&self) -> usize {
        self.loaded.effects.len()
            + self.changes.as_ref().map_or(0, |changes| changes.rows.effects.len())
    }

    /// Where a row stands.
    fn place(&self, row: usize) -> (&RowFacts, usize) {
        match &self.changes {
            Some(changes) if row >= self.loaded.effects.len() => {
                (&changes.rows, row - self.loaded.effects.len())
            }
            _ => (&self.loaded, row),
        }
    }

    /// The text id of a cell.
    pub(crate) fn cell(&self, row: usize, column: u16) -> u32 {
        let (rows, row) = self.place(row);
        rows.cells.get(row * self.columns + usize::from(column)).copied().unwrap_or(u32::MAX)
    }

    pub(crate) fn cell_text(&self, row: usize, column: u16) -> &str {
        self.texts.get(self.cell(row, column))
    }

    /// The text ids of a row.
    pub(crate) fn cells(&self, row: usize) -> &[u32] {
        let (rows, row) = self.place(row);
        let start = row * self.columns;
        rows.cells.get(start..start + self.columns).unwrap_or(&[])
    }

    /// The pattern that a row brings for a site.
    pub(crate) fn pattern(&self, row: usize, site: u16) -> Option<&Pattern> {
        let (rows, row) = self.place(row);
        let index = rows.row_patterns.get(row * self.sites + usize::from(site))?;
        rows.patterns.get(*index as usize)
    }

    /// The expression that a row brings.
    pub(crate) fn eval(&self, row: usize, eval: u16) -> Option<NodeId> {
        let (rows, row) = self.place(row);
        let node = rows.row_evals.get(row * self.evals + usize::from(eval)).copied();
        node.filter(|node| *node != NodeId::MAX)
    }

    pub(crate) fn effect(&self, row: usize) -> Effect {
        let (rows, row) = self.place(row);
        rows.effects.get(row).copied().unwrap_or(Effect::Deny)
    }

    /// The line of policy.csv that a row came from.
    pub(crate) fn line(&self, row: usize) -> u32 {
        let (rows, at) = self.place(row);
        let line = rows.lines.get(at).copied().unwrap_or(0);
        match &self.changes {
            Some(changes) if row < self.loaded.effects.len() => changes.moved.line(line),
            _ => line,
        }
    }

    pub(crate) fn is_faulty(&self, row: usize) -> bool {
        let (rows, row) = self.place(row);
        rows.faulty.get(row).copied().unwrap_or(true)
    }

    /// Whether a row is none of the policy's any more.
    pub(crate) fn is_removed(&self, row: usize) -> bool {
        self.changes.as_ref().is_some_and(|changes| changes.is_removed(row))
    }
}
