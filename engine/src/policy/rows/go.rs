//! policy.csv as Casbin for Go loads it: what it refuses is refused, the first of two equal rows stays.

use crate::diagnostic::Code;
use crate::policy::go_text::csv_cells;
use crate::policy::rows::{Reader, Row};

impl<'a> Reader<'a, '_> {
    pub(super) fn go(&mut self, line: &'a str, number: u32) {
        let text = line.trim();
        let mut cells = match csv_cells(text) {
            Ok(Some(cells)) => cells,
            Ok(None) => return,
            Err(message) => return self.error(text, Code::MalformedRow, message.to_owned()),
        };
        let is_new = self.go_seen.insert(cells.join(","));
        let ptype = cells.remove(0);
        let row = Row { cells, line: number };
        match (self.role_index(ptype), self.context_index(ptype)) {
            _ if ptype == "p" => self.go_rule(None, row, text, is_new),
            (Some(index), _) => self.go_link(index, row, text, is_new),
            (None, Some(index)) => self.go_rule(Some(index), row, text, is_new),
            (None, None) => self.unknown(ptype),
        }
    }

    fn go_rule(&mut self, context: Option<usize>, row: Row<'a>, text: &str, is_new: bool) {
        let found = context.and_then(|index| self.model.contexts.get(index));
        let model = found.map_or(self.model, |context| &context.model);
        if self.has_columns(model, &row, text) && is_new {
            match context.and_then(|index| self.rows.contexts.get_mut(index)) {
                Some(rules) => rules.push(row),
                None => self.rows.rules.push(row),
            }
        }
    }

    /// Cells behind the last are cut; of two links that hold for a time, the times of the later one count.
    fn go_link(&mut self, index: usize, mut row: Row<'a>, text: &str, is_new: bool) {
        let Some(role) = self.model.roles.get(index) else { return };
        if row.cells.len() < role.cells() {
            let message = format!("this link has fewer than {} fields", role.cells());
            return self.error(text, Code::FieldCount, message);
        }
        row.cells.truncate(role.cells());
        let Some(links) = self.rows.links.get_mut(index).filter(|_| is_new) else { return };
        let names = row.cells.get(..role.arity);
        match links.iter_mut().find(|known| role.is_timed && known.cells.get(..role.arity) == names)
        {
            Some(known) => *known = row,
            None => links.push(row),
        }
    }
}
