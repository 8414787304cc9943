//! One conjunction over all rows: which conjuncts are keys, under which keys each row is filed, what is left to ask.

use crate::builtin::pattern::Pattern;
use crate::expr::ast::{Expr, ExprKind};
use crate::expr::code::{Code, Node, NodeId, Refused, Site};
use crate::policy::alternatives::{Conjunct, Test};
use crate::policy::facts::{Effect, Facts};
use crate::policy::index::{
    ANY, Alternative, Candidate, Domain, Entry, Guard, Keyed, Member, NONE, SAMPLED_MAX,
    SAMPLES_MAX, Second, Twin, distinct,
};
use crate::policy::layout::Layout;
use crate::text::Word;
use foldhash::fast::FixedState;
use std::collections::HashMap;

pub(super) struct Builder<'b> {
    pub(super) conjuncts: &'b [Conjunct<'b>],
    pub(super) code: &'b mut Code,
    pub(super) facts: &'b Facts,
    /// The ids of the finite set that a row's pattern in a column denotes.
    pub(super) regex_text: &'b dyn Fn(usize, usize) -> Option<Vec<u32>>,
}

impl Builder<'_> {
    pub(super) fn finish(
        mut self,
        member: Option<usize>,
        second: Option<usize>,
    ) -> Result<Alternative, Refused> {
        let mut guards = Vec::new();
        let mut rest = Vec::new();
        for (position, conjunct) in self.conjuncts.iter().enumerate() {
            let keyed = Some(position) == member || Some(position) == second;
            if keyed && !self.is_superset(conjunct.test) {
                continue;
            }
            match (self.is_same_for_all_rows(conjunct), conjunct.test) {
                (true, Test::Equal { token, path, column }) => {
                    let slot = self.code.slot(token, path)?;
                    let text = self.facts.cell_text(0, u16::try_from(column).unwrap_or(u16::MAX));
                    guards.push(Guard::Is { slot, text: Word::new(text) });
                }
                (true, _) => guards.push(Guard::Node(self.code.compile(conjunct.expr)?)),
                (false, _) => rest.push(self.code.compile(conjunct.expr)?),
            }
        }
        let star = self.facts.texts.find("*").unwrap_or(ANY);
        let mut entries = Vec::with_capacity(self.facts.rows());
        let mut any = (false, false);
        for row in 0..self.facts.rows() {
            for first in self.keys(member, row, star, &mut any.0) {
                for other in self.keys(second, row, star, &mut any.1) {
                    let row = u32::try_from(row).unwrap_or(0);
                    entries.push(Entry { first, second: other, row });
                }
            }
        }
        entries.sort_unstable();
        let keyed = (self.keyed(member), self.keyed(second));
        let member = match member {
            Some(position) => Some(self.member(position, any.0)?),
            None => None,
        };
        let second = match second {
            Some(position) => {
                let (slot, roles) = (self.slot(position)?, self.roles(position)?);
                Some(Second { slot, any: any.1, roles })
            }
            None => None,
        };
        let mut postings = HashMap::with_hasher(self.facts.texts.hasher());
        let path = rest.iter().find_map(|node| Some((*node, self.row_path(*node)?)));
        let prefix = |row: u32| {
            let pattern = path.and_then(|(_, (_, site))| self.facts.pattern(row as usize, site));
            pattern.map_or(&[][..], |pattern| pattern.prefix())
        };
        let mut candidates = Vec::with_capacity(entries.len());
        for same in entries.chunk_by(|a, b| (a.first, a.second) == (b.first, b.second)) {
            let Some(key) = same.first().map(|entry| (entry.first, entry.second)) else { continue };
            let start = u32::try_from(candidates.len()).unwrap_or(u32::MAX);
            postings.insert(key, (start, u32::try_from(same.len()).unwrap_or(u32::MAX)));
            candidates
                .extend(same.iter().map(|entry| Candidate::new(entry.row, prefix(entry.row))));
        }
        let laid = path.filter(|(_, (_, site))| self.has_steps(*site));
        let site = laid.map(|(_, (_, site))| site);
        let layout = Layout::build(self.facts, &entries, member.as_ref(), site);
        let is_laid = |node: &NodeId| laid.is_some_and(|(laid, _)| laid == *node);
        let unlaid = rest.iter().copied().filter(|node| !is_laid(node)).collect();
        let path = path.map(|(_, (slot, _))| slot);
        postings.shrink_to_fit();
        let samples = samples(&entries, self.facts);
        let keyed = keyed.0.zip(keyed.1).map(|(member, second)| [member, second]);
        let twin = Box::new(Twin { rest, postings, samples, candidates, keyed });
        Ok(Alternative { guards, member, second, unlaid, layout, path, twin })
    }

    /// The key finds rows that the conjunct may still refuse.
    fn is_superset(&self, test: Test<'_>) -> bool {
        match test {
            Test::Regex { .. } => true,
            Test::Role { graph, .. } => {
                u16::try_from(graph).is_ok_and(|graph| self.facts.roles.is_timed(graph))
            }
            _ => false,
        }
    }

    /// Whether all patterns of a site are steps, which a row can carry beside its texts.
    fn has_steps(&self, site: u16) -> bool {
        let is_path = |row| matches!(self.facts.pattern(row, site), Some(Pattern::Path(_)));
        (0..self.facts.rows()).all(is_path)
    }

    /// The keys under which a row is filed for one conjunct.
    fn keys(&self, position: Option<usize>, row: usize, star: u32, any: &mut bool) -> Vec<u32> {
        let conjunct = position.and_then(|position| self.conjuncts.get(position));
        let cell = |column: usize| self.facts.cell(row, u16::try_from(column).unwrap_or(u16::MAX));
        match conjunct.map(|conjunct| conjunct.test) {
            None | Some(Test::Other) => vec![NONE],
            Some(Test::EqualOrAny { column, .. }) if cell(column) == star => {
                *any = true;
                vec![ANY]
            }
            Some(Test::Regex { column, .. }) => match (self.regex_text)(row, column) {
                Some(set) => set,
                None => {
                    *any = true;
                    vec![ANY]
                }
            },
            Some(
                Test::Equal { column, .. }
                | Test::EqualOrAny { column, .. }
                | Test::Role { column, .. }
                | Test::InList { column, .. },
            ) => vec![cell(column)],
        }
    }

    /// Where the key of a row for one conjunct comes from; `None` where `keys` may give several.
    fn keyed(&self, position: Option<usize>) -> Option<Keyed> {
        let conjunct = position.and_then(|position| self.conjuncts.get(position));
        let narrow = |column: usize| u16::try_from(column).ok();
        match conjunct.map(|conjunct| conjunct.test) {
            None | Some(Test::Other) => Some(Keyed::Nothing),
            Some(Test::Regex { .. }) => None,
            Some(Test::EqualOrAny { column, .. }) => narrow(column).map(Keyed::CellOrAny),
            Some(
                Test::Equal { column, .. }
                | Test::Role { column, .. }
                | Test::InList { column, .. },
            ) => narrow(column).map(Keyed::Cell),
        }
    }

    fn slot(&mut self, position: usize) -> Result<u16, Refused> {
        match self.conjuncts.get(position).map(|conjunct| conjunct.test) {
            Some(
                Test::Equal { token, path, .. }
                | Test::EqualOrAny { token, path, .. }
                | Test::Role { token, path, .. }
                | Test::InList { token, path, .. }
                | Test::Regex { token, path, .. },
            ) => self.code.slot(token, path),
            Some(Test::Other) | None => Ok(u16::MAX),
        }
    }

    fn member(&mut self, position: usize, any: bool) -> Result<Member, Refused> {
        let slot = self.slot(position)?;
        Ok(match self.conjuncts.get(position).map(|conjunct| conjunct.test) {
            Some(Test::Role { graph, domain, .. }) => Member::Roles {
                graph: u16::try_from(graph).unwrap_or(u16::MAX),
                slot,
                domain: domain.map(|domain| self.domain(domain)).transpose()?,
            },
            Some(Test::InList { .. }) => Member::Elements { slot },
            _ => Member::Equal { slot, any },
        })
    }

    /// The graph and domain of a role function.
    fn roles(&mut self, position: usize) -> Result<Option<(u16, Option<Domain>)>, Refused> {
        let test = self.conjuncts.get(position).map(|conjunct| conjunct.test);
        let Some(Test::Role { graph, domain, .. }) = test else { return Ok(None) };
        let domain = domain.map(|domain| self.domain(domain)).transpose()?;
        Ok(Some((u16::try_from(graph).unwrap_or(u16::MAX), domain)))
    }

    fn domain(&mut self, domain: &Expr) -> Result<Domain, Refused> {
        Ok(match &domain.kind {
            ExprKind::Request { token, path } => Domain::Slot(self.code.slot(*token, path)?),
            _ => Domain::Node(self.code.compile(domain)?),
        })
    }

    /// The slot and site of a node that matches a request's text with each row's pattern.
    fn row_path(&self, node: NodeId) -> Option<(u16, u16)> {
        let Node::Pattern { text, site: Site::Row(site) } = *self.code.nodes.get(node as usize)?
        else {
            return None;
        };
        match *self.code.nodes.get(text as usize)? {
            Node::Slot(slot) => Some((slot, site)),
            _ => None,
        }
    }

    /// It reads no cell, or only cells that are the same in every row.
    fn is_same_for_all_rows(&self, conjunct: &Conjunct<'_>) -> bool {
        !conjunct.expr.varies(|column| distinct(self.facts, column) <= 1)
    }
}

/// The first rules of each second key that allow.
fn samples(entries: &[Entry], facts: &Facts) -> HashMap<u32, Vec<u32>, FixedState> {
    let mut samples: HashMap<u32, Vec<u32>, FixedState> =
        HashMap::with_hasher(facts.texts.hasher());
    for entry in entries.iter().filter(|entry| facts.effect(entry.row as usize) == Effect::Allow) {
        let has_room = samples.len() < SAMPLED_MAX || samples.contains_key(&entry.second);
        if has_room {
            let rules = samples.entry(entry.second).or_default();
            if rules.len() < SAMPLES_MAX {
                rules.push(entry.row);
            }
        }
    }
    samples
}
