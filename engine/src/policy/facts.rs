//! What an expression may ask about a policy: cells, compiled patterns, roles.
//!
//! Made once at load, never changed. Limits, which have no rows, use `Facts::none`.

use crate::builtin::pattern::Pattern;
use crate::expr::code::NodeId;
use crate::policy::roles::Roles;
use crate::text::Texts;

/// Whether a matching row lets pass or refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    Allow,
    Deny,
    /// casbin-rs only: an effect cell that is neither word.
    Indeterminate,
}

/// Rows and role links in the form that evaluation reads.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    pub(crate) texts: Texts,
    pub(crate) roles: Roles,
    pub(crate) columns: usize,
    /// `columns` text ids per row.
    pub(crate) cells: Vec<u32>,
    /// One position in `patterns` per row and site.
    pub(crate) row_patterns: Vec<u32>,
    pub(crate) sites: usize,
    pub(crate) patterns: Vec<Pattern>,
    pub(crate) fixed: Vec<Pattern>,
    /// The roots of the rows' own expressions, one per row and column of them; `NodeId::MAX` does not parse.
    pub(crate) row_evals: Vec<NodeId>,
    pub(crate) evals: usize,
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
            cells: Vec::new(),
            row_patterns: Vec::new(),
            sites: 0,
            patterns: Vec::new(),
            fixed: Vec::new(),
            row_evals: Vec::new(),
            evals: 0,
            effects: Vec::new(),
            lines: Vec::new(),
            faulty: Vec::new(),
        }
    }

    pub(crate) fn rows(&self) -> usize {
        self.effects.len()
    }

    /// The text id of a cell.
    pub(crate) fn cell(&self, row: usize, column: u16) -> u32 {
        self.cells.get(row * self.columns + usize::from(column)).copied().unwrap_or(u32::MAX)
    }

    pub(crate) fn cell_text(&self, row: usize, column: u16) -> &str {
        self.texts.get(self.cell(row, column))
    }

    /// The pattern that a row brings for a site.
    pub(crate) fn pattern(&self, row: usize, site: u16) -> Option<&Pattern> {
        let index = self.row_patterns.get(row * self.sites + usize::from(site))?;
        self.patterns.get(*index as usize)
    }

    /// The expression that a row brings.
    pub(crate) fn eval(&self, row: usize, eval: u16) -> Option<NodeId> {
        let node = self.row_evals.get(row * self.evals + usize::from(eval)).copied();
        node.filter(|node| *node != NodeId::MAX)
    }

    pub(crate) fn effect(&self, row: usize) -> Effect {
        self.effects.get(row).copied().unwrap_or(Effect::Deny)
    }
}
