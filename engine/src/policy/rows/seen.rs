//! Which rows were read before, without a copy of any.

use crate::policy::rows::{Row, Rows};
use hashbrown::HashTable;
use std::hash::BuildHasher;

/// Where each row stands, by its hash. A million rows are not copied to find a doubled one.
#[derive(Default)]
pub(super) struct Seen {
    rows: HashTable<Stand>,
    hasher: foldhash::fast::RandomState,
}

#[derive(Clone, Copy)]
struct Stand {
    hash: u64,
    /// 0 for rules, the number of its definition from 1 for a role link, contexts behind them.
    list: u32,
    position: u32,
}

impl Seen {
    /// The line of the row in `list` that has these cells.
    pub(super) fn line_of(&self, rows: &Rows<'_>, list: usize, cells: &[&str]) -> Option<u32> {
        let at = |stand: &Stand| rows.list(list).get(stand.position as usize);
        let same = |stand: &Stand| {
            stand.list as usize == list && at(stand).is_some_and(|row| row.cells == cells)
        };
        let found = self.rows.find(self.hasher.hash_one((list, cells)), same)?;
        at(found).map(|row| row.line)
    }

    /// Notes the last row of a list.
    pub(super) fn note(&mut self, rows: &Rows<'_>, list: usize) {
        let theirs = rows.list(list);
        let Some(cells) = theirs.last().map(|row| row.cells.as_slice()) else { return };
        let hash = self.hasher.hash_one((list, cells));
        let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let stand = Stand { hash, list: narrow(list), position: narrow(theirs.len() - 1) };
        self.rows.insert_unique(hash, stand, |stand| stand.hash);
    }
}

impl<'a> Rows<'a> {
    /// The rules, the links of a role definition counted from 1, or behind them the rules of a context.
    fn list(&self, list: usize) -> &[Row<'a>] {
        match list.checked_sub(1) {
            None => &self.rules,
            Some(index) => {
                let mut lists = self.links.iter().chain(&self.contexts);
                lists.nth(index).map_or(&[], Vec::as_slice)
            }
        }
    }
}
