//! policy.csv: rows of rules and role links, each with the line it came from.
//!
//! `strict` refuses what Casbin passes over in silence (see docs/reference/casbin-differences.md);
//! Casbin's dialects read as Casbin does (`go` below is that of Go). Cells are slices of the file.

mod go;
mod seen;

use crate::bounds::{FILE_BYTES_MAX, RULES_MAX};
use crate::diagnostic::{Code, Diagnostic, Diagnostics, Source};
use crate::dialect::Dialect;
use crate::model::Model;
use crate::policy::casbin_text::csv_cells;
use crate::policy::order::order;
use crate::policy::rows::seen::Seen;
use std::collections::HashSet;

/// One row: its cells without the ptype, and its line, counted from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row<'a> {
    pub cells: Vec<&'a str>,
    pub line: u32,
}

/// All rows of a policy in their order.
#[derive(Debug, Clone, Default)]
pub struct Rows<'a> {
    pub rules: Vec<Row<'a>>,
    /// One list per role definition of the model.
    pub links: Vec<Vec<Row<'a>>>,
    /// The rules of each context of the model that has its own: rows of `p2`, `p3`, ….
    pub contexts: Vec<Vec<Row<'a>>>,
}

impl<'a> Rows<'a> {
    /// No rows of a model.
    pub(crate) fn none(model: &Model) -> Rows<'a> {
        Rows {
            rules: Vec::new(),
            links: vec![Vec::new(); model.roles.len()],
            contexts: vec![Vec::new(); model.contexts.len()],
        }
    }

    /// The rows that the context of this position asks.
    pub fn of_context(&self, model: &Model, position: usize) -> Rows<'a> {
        let own = self.contexts.get(position);
        let shares = |context: &crate::model::Context| context.model.prefixes.1 == model.prefixes.1;
        let rules = match model.contexts.get(position).is_some_and(shares) {
            true => &self.rules,
            false => own.unwrap_or(&self.rules),
        };
        Rows { rules: rules.clone(), links: self.links.clone(), contexts: Vec::new() }
    }

    /// Every row with its line.
    pub fn all(&self) -> impl Iterator<Item = &Row<'a>> {
        let others = self.links.iter().chain(&self.contexts).flatten();
        self.rules.iter().chain(others)
    }

    /// The same, to change them.
    pub fn all_mut(&mut self) -> impl Iterator<Item = &mut Row<'a>> {
        let others = self.links.iter_mut().chain(&mut self.contexts).flatten();
        self.rules.iter_mut().chain(others)
    }
}

/// Parses policy.csv against a model.
///
/// # Errors
/// Every row that is malformed, unknown, doubled or of the wrong length.
pub fn parse_rows<'a>(source: Source<'a>, model: &Model) -> Result<Rows<'a>, Diagnostics> {
    parse_at_most(RULES_MAX, source, model)
}

fn parse_at_most<'a>(
    rules_max: usize,
    source: Source<'a>,
    model: &Model,
) -> Result<Rows<'a>, Diagnostics> {
    let mut reader = Reader {
        source,
        model,
        rows: Rows::none(model),
        seen: Seen::default(),
        casbin_seen: HashSet::new(),
        go_seen: HashSet::new(),
        diagnostics: Diagnostics::default(),
    };
    if source.text.len() > FILE_BYTES_MAX {
        let message = format!("the file has more than {FILE_BYTES_MAX} bytes");
        reader.error("", Code::BoundExceeded, message);
        return Err(reader.diagnostics);
    }
    for (index, line) in source.text.split('\n').enumerate() {
        let number = u32::try_from(index + 1).unwrap_or(u32::MAX);
        match model.dialect {
            Dialect::Strict => reader.strict(line, number),
            Dialect::CasbinRs => reader.casbin(line, number),
            Dialect::CasbinGo => reader.go(line, number),
        }
        if reader.diagnostics.is_full() {
            break;
        }
    }
    if reader.rows.all().count() > rules_max {
        reader.error("", Code::BoundExceeded, format!("more than {rules_max} rows"));
    }
    reader.check_priorities();
    let rows = &mut reader.rows;
    order(&mut rows.rules, &rows.links, model, model.effect);
    for (rules, context) in rows.contexts.iter_mut().zip(&model.contexts) {
        let effect = match model.dialect {
            Dialect::CasbinGo => model.effect,
            _ => context.model.effect,
        };
        order(rules, &rows.links, &context.model, effect);
    }
    match reader.diagnostics.has_errors() {
        true => Err(reader.diagnostics),
        false => Ok(reader.rows),
    }
}

struct Reader<'a, 'm> {
    source: Source<'a>,
    model: &'m Model,
    rows: Rows<'a>,
    seen: Seen,
    casbin_seen: HashSet<(&'a str, Vec<&'a str>)>,
    /// Rows as Go compares them: their cells joined by commas.
    go_seen: HashSet<String>,
    diagnostics: Diagnostics,
}

impl<'a> Reader<'a, '_> {
    fn error(&mut self, part: &str, code: Code, message: String) {
        let span = self.source.span_of(part);
        self.diagnostics.push(Diagnostic::error(self.source, span, code, message));
    }

    /// A column that orders the rows holds whole numbers.
    fn check_priorities(&mut self) {
        let mut wrong = Vec::new();
        let models = self.model.contexts.iter().map(|context| &context.model);
        let lists = self.rows.contexts.iter().zip(models);
        for (rules, model) in std::iter::once((&self.rows.rules, self.model)).chain(lists) {
            let Some(column) = model.priority_column() else { continue };
            let cells = rules.iter().map(|row| row.cells.get(column).copied().unwrap_or(""));
            wrong.extend(cells.filter(|cell| cell.parse::<i64>().is_err()));
        }
        for cell in wrong {
            let message = format!("expected a whole number as priority, got `{cell}`");
            self.error(cell, Code::BadPriority, message);
        }
    }

    fn strict(&mut self, line: &'a str, number: u32) {
        let text = line.trim();
        if text.is_empty() || text.starts_with('#') {
            return;
        }
        let Some(mut cells) = self.cells(text) else { return };
        let ptype = cells.remove(0);
        let list = match (self.role_index(ptype), self.context_index(ptype)) {
            _ if ptype == "p" => 0,
            (Some(index), _) => index + 1,
            (None, Some(index)) => self.rows.links.len() + index + 1,
            (None, None) => return self.unknown(ptype),
        };
        if let Some(first) = self.seen.line_of(&self.rows, list, &cells) {
            let message = format!("this row stands already in line {first}");
            return self.error(text, Code::DuplicateRow, message);
        }
        let row = Row { cells, line: number };
        let kept = match list.checked_sub(1) {
            None => self.rule(None, row, text),
            Some(index) if index >= self.rows.links.len() => {
                self.rule(Some(index - self.rows.links.len()), row, text)
            }
            Some(index) => self.link(index, row, text),
        };
        if kept {
            self.seen.note(&self.rows, list);
        }
    }

    fn unknown(&mut self, ptype: &str) {
        let roles = self.model.roles.iter().map(|role| role.name.as_str());
        let message = format!("the model defines no `{ptype}`");
        let span = self.source.span_of(ptype);
        let found = Diagnostic::error(self.source, span, Code::UnknownPtype, message)
            .did_you_mean(ptype, std::iter::once("p").chain(roles));
        self.diagnostics.push(found);
    }

    /// Cells of a strict line: trimmed, optionally quoted as a whole, nothing after the quote.
    fn cells(&mut self, line: &'a str) -> Option<Vec<&'a str>> {
        let mut cells = Vec::new();
        let mut rest = line;
        loop {
            let start = rest.trim_start();
            let (cell, tail) = match start.strip_prefix('"') {
                Some(quoted) => {
                    let Some((cell, tail)) = quoted.split_once('"') else {
                        self.error(
                            start,
                            Code::MalformedRow,
                            "this quote is not closed".to_owned(),
                        );
                        return None;
                    };
                    if !(tail.is_empty() || tail.starts_with(',')) {
                        let message = "a comma must follow the closing quote".to_owned();
                        self.error(start, Code::MalformedRow, message);
                        return None;
                    }
                    (cell, tail)
                }
                None => {
                    let end = start.find(',').unwrap_or(start.len());
                    let (cell, tail) = start.split_at_checked(end)?;
                    if cell.contains('"') {
                        let message = "a quote may only begin and end a cell".to_owned();
                        self.error(cell, Code::MalformedRow, message);
                        return None;
                    }
                    (cell.trim_end(), tail)
                }
            };
            cells.push(cell);
            match tail.strip_prefix(',') {
                Some(next) => rest = next,
                None => return Some(cells),
            }
        }
    }

    /// Keeps a rule of the model or of a context, unless something is wrong with it.
    fn rule(&mut self, context: Option<usize>, row: Row<'a>, text: &str) -> bool {
        let found = context.and_then(|index| self.model.contexts.get(index));
        let model = found.map_or(self.model, |context| &context.model);
        if !self.has_columns(model, &row, text) {
            return false;
        }
        let effect = model.effect_column().and_then(|column| row.cells.get(column));
        if let Some(effect) = effect.filter(|effect| !matches!(**effect, "allow" | "deny")) {
            let message = format!("expected allow or deny, got `{effect}`");
            self.error(effect, Code::UnknownEffectValue, message);
            return false;
        }
        match context.and_then(|index| self.rows.contexts.get_mut(index)) {
            Some(rules) => rules.push(row),
            None => self.rows.rules.push(row),
        }
        true
    }

    /// Whether a rule has a cell for each column.
    fn has_columns(&mut self, model: &Model, row: &Row<'_>, text: &str) -> bool {
        let columns = &model.policy;
        if row.cells.len() != columns.len() {
            let message = format!(
                "this rule has {} fields, `{}` has {} ({})",
                row.cells.len(),
                model.prefixes.1,
                columns.len(),
                columns.join(", ")
            );
            self.error(text, Code::FieldCount, message);
            return false;
        }
        true
    }

    /// Keeps a role link, unless something is wrong with it.
    fn link(&mut self, index: usize, row: Row<'a>, text: &str) -> bool {
        let Some(role) = self.model.roles.get(index) else { return false };
        if row.cells.len() != role.cells() {
            let (given, name, expected) = (row.cells.len(), &role.name, role.cells());
            let message = format!("this link has {given} fields, `{name}` has {expected}");
            self.error(text, Code::FieldCount, message);
            return false;
        }
        let is_pattern = role.domain_pattern.is_some();
        if role.arity == 3 && row.cells.get(2) == Some(&"*") && !is_pattern {
            let message = "`*` is no tenant: a role link belongs to one tenant".to_owned();
            let found = Diagnostic::error(
                self.source,
                self.source.span_of(text),
                Code::WildcardLink,
                message,
            );
            let help = format!(
                "write a link per tenant, or `{} = keyMatch` under [domain_patterns] of model.conf",
                role.name
            );
            self.diagnostics.push(found.help(help));
            return false;
        }
        let Some(list) = self.rows.links.get_mut(index) else { return false };
        list.push(row);
        true
    }

    fn role_index(&self, ptype: &str) -> Option<usize> {
        self.model.roles.iter().position(|role| role.name == ptype)
    }

    /// The context whose own rules these are.
    fn context_index(&self, ptype: &str) -> Option<usize> {
        self.model.contexts.iter().position(|context| context.model.prefixes.1 == ptype)
    }

    /// As the `casbin` crate: unknown rows vanish, a doubled row moves to the end.
    fn casbin(&mut self, line: &'a str, number: u32) {
        let Some(cells) = csv_cells(line) else { return };
        let Some((&ptype, cells)) = cells.split_first() else { return };
        let row = Row { cells: cells.to_vec(), line: number };
        if ptype == "p" {
            push_or_move(&mut self.rows.rules, &mut self.casbin_seen, ptype, row);
        } else if let Some(index) = self.role_index(ptype) {
            let arity = self.model.roles.get(index).map_or(2, |role| role.arity);
            if row.cells.len() < arity {
                let message = format!("this link has fewer than {arity} fields");
                return self.error(line.trim(), Code::FieldCount, message);
            }
            if let Some(list) = self.rows.links.get_mut(index) {
                push_or_move(list, &mut self.casbin_seen, ptype, row);
            }
        } else if let Some(index) = self.context_index(ptype)
            && let Some(list) = self.rows.contexts.get_mut(index)
        {
            push_or_move(list, &mut self.casbin_seen, ptype, row);
        }
    }
}

fn push_or_move<'a>(
    list: &mut Vec<Row<'a>>,
    seen: &mut HashSet<(&'a str, Vec<&'a str>)>,
    ptype: &'a str,
    row: Row<'a>,
) {
    if !seen.insert((ptype, row.cells.clone())) {
        list.retain(|earlier| earlier.cells != row.cells);
    }
    list.push(row);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::parse_model;

    const MODEL: &str = "[request_definition]\nr = sub, obj\n[policy_definition]\n\
        p = sub, obj, eft\n[role_definition]\ng = _, _, _\n[policy_effect]\n\
        e = priority(p.eft) || deny\n[matchers]\nm = r.sub == p.sub && r.obj == p.obj\n";

    fn read(text: &str, dialect: Dialect) -> Result<Vec<String>, Vec<(Code, usize)>> {
        let model = parse_model(Source { file: "model.conf", text: MODEL }, dialect).unwrap();
        match parse_rows(Source { file: "policy.csv", text }, &model) {
            Ok(rows) => Ok(rows.rules.iter().map(|row| row.cells.join("|")).collect()),
            Err(found) => Err(found.iter().map(|d| (d.code, d.span.line)).collect()),
        }
    }

    #[test]
    fn rows_of_every_kind_count_toward_the_bound() {
        let model =
            parse_model(Source { file: "model.conf", text: MODEL }, Dialect::Strict).unwrap();
        let text = "p, a, b, allow\np, a, c, deny\ng, a, b, d\n";
        let read = |most| parse_at_most(most, Source { file: "policy.csv", text }, &model);
        assert_eq!(read(3).unwrap().rules.len(), 2);
        let found = read(2).err().unwrap();
        assert_eq!(found.iter().next().unwrap().code, Code::BoundExceeded);
    }

    #[test]
    fn strict_refuses_what_casbin_passes_over() {
        for (text, code) in [
            ("p, a, b", Code::FieldCount),
            ("p, a, b, maybe", Code::UnknownEffectValue),
            ("p2, a, b, allow", Code::UnknownPtype),
            ("p, \"a, b, allow", Code::MalformedRow),
            ("p, \"a\" , b, allow", Code::MalformedRow),
            ("p, a\"x, b, allow", Code::MalformedRow),
            ("p, a, b, allow\np, a, b, allow", Code::DuplicateRow),
            ("g, alice, admin", Code::FieldCount),
            ("g, alice, admin, *", Code::WildcardLink),
        ] {
            let found = read(text, Dialect::Strict).unwrap_err();
            assert_eq!(found[0].0, code, "{text}");
        }
        let rows = read("# c\n\np, \"a, x\", b, allow\r\np,a,,deny\n", Dialect::Strict);
        assert_eq!(rows, Ok(vec!["a, x|b|allow".to_owned(), "a||deny".to_owned()]));
    }

    #[test]
    fn casbin_drops_unknown_rows_and_moves_doubled_ones() {
        let text = "p, a, b, allow\nx, 1\np, c, d, deny\np, a, b, allow\np, short";
        let rows = read(text, Dialect::CasbinRs).unwrap();
        assert_eq!(rows, ["c|d|deny", "a|b|allow", "short"]);
        assert_eq!(read("g, alice, admin", Dialect::CasbinRs), Err(vec![(Code::FieldCount, 1)]));
    }
}
