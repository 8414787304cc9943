//! The way around the scan: per alternative a table from keys of the request to candidate rows,
//! and the same rows laid out as decisions read them (`layout`). The table is its twin in tests.
//!
//! An alternative has up to two keys: a *member* key (the roles of a subject, or the elements of a
//! list: several probes) and a *second* key (an equality: one probe, two with `*`; or the roles of another value). Rows that no
//! probe finds are false by the very conjunct that was the key; the rest of the conjuncts is
//! evaluated per candidate. Where a key's value is no string the caller scans instead.

use crate::builtin::finite_set::finite_set;
use crate::builtin::pattern::Pattern;
use crate::expr::ast::{Expr, ExprKind};
use crate::expr::code::{Code, Node, NodeId, Refused, Site};
use crate::policy::alternatives::{Conjunct, Test};
use crate::policy::facts::Facts;
use crate::policy::layout::Layout;
use crate::policy::layout::block::tail_of;
use crate::text::Word;
use foldhash::fast::FixedState;
use std::collections::HashMap;

/// The key of rows that match whatever the request says (`*`, or a pattern that is no small set).
pub(crate) const ANY: u32 = u32::MAX;
/// The key of an alternative without this key.
pub(crate) const NONE: u32 = u32::MAX - 1;

/// The index of one policy.
#[derive(Debug, Clone)]
pub(crate) struct Index {
    pub(crate) alternatives: Vec<Alternative>,
}

/// One conjunction.
#[derive(Debug, Clone)]
pub(crate) struct Alternative {
    /// Conjuncts that say the same for every row.
    pub(crate) guards: Vec<Guard>,
    pub(crate) member: Option<Member>,
    pub(crate) second: Option<Second>,
    /// Conjuncts that the layout does not answer.
    pub(crate) unlaid: Vec<NodeId>,
    pub(crate) layout: Layout,
    /// The slot whose text the first pattern of `rest` matches: its candidates carry tails.
    pub(crate) path: Option<u16>,
    pub(crate) twin: Box<Twin>,
}

/// The same rows in hash tables.
#[derive(Debug, Clone)]
pub(crate) struct Twin {
    /// Conjuncts that each candidate row must still pass.
    pub(crate) rest: Vec<NodeId>,
    postings: HashMap<(u32, u32), (u32, u32), FixedState>,
    candidates: Vec<Candidate>,
}

/// A row that a probe found, with what decides most of them without another look at memory: the
/// last bytes of the text that its pattern begins with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate {
    pub(crate) row: u32,
    prefix_len: u32,
    tail: u64,
}

impl Candidate {
    fn new(row: u32, prefix: &[u8]) -> Candidate {
        let prefix_len = u32::try_from(prefix.len()).unwrap_or(0);
        Candidate { row, prefix_len, tail: tail_of(prefix, prefix.len()) }
    }

    /// Whether the row's pattern may match: false only if it cannot.
    pub(crate) fn may_match(&self, text: &[u8]) -> bool {
        let len = self.prefix_len as usize;
        len <= text.len() && tail_of(text, len) == self.tail
    }
}

/// A row under its two keys: text ids, `ANY` or `NONE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    pub(crate) first: u32,
    pub(crate) second: u32,
    pub(crate) row: u32,
}

/// A conjunct that says the same for every row.
#[derive(Debug, Clone)]
pub(crate) enum Guard {
    /// The value of a slot equals a text.
    Is { slot: u16, text: Word },
    /// Evaluated with row 0.
    Node(NodeId),
}

/// The domain of a role function.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Domain {
    Slot(u16),
    Node(NodeId),
}

/// Where the probes of the first key come from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Member {
    Roles { graph: u16, slot: u16, domain: Option<Domain> },
    Elements { slot: u16 },
    Equal { slot: u16, any: bool },
}

/// The second key: the value of a slot, and `ANY` if some row has it; or every role of that value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Second {
    pub(crate) slot: u16,
    pub(crate) any: bool,
    pub(crate) roles: Option<(u16, Option<Domain>)>,
}

impl Twin {
    /// Candidate rows of two keys, in the order of their ordinals.
    pub(crate) fn candidates(&self, member: u32, second: u32) -> &[Candidate] {
        let Some((start, len)) = self.postings.get(&(member, second)) else { return &[] };
        self.candidates.get(*start as usize..(*start + *len) as usize).unwrap_or(&[])
    }
}

impl Alternative {
    /// Builds the table of one conjunction over all rows.
    pub(crate) fn build(
        conjuncts: &[Conjunct<'_>],
        code: &mut Code,
        facts: &Facts,
        regex_text: &dyn Fn(usize, usize) -> Option<Vec<u32>>,
    ) -> Result<Alternative, Refused> {
        let mut member = None;
        let mut second: Option<(usize, usize)> = None;
        for (position, conjunct) in conjuncts.iter().enumerate() {
            let constant = |column: usize| distinct(facts, column) <= 1;
            match conjunct.test {
                Test::Role { domain, .. } if member.is_none() => {
                    let per_row = domain.is_some_and(|domain| domain.varies(constant));
                    member = (!per_row).then_some(position);
                }
                Test::InList { .. } if member.is_none() => member = Some(position),
                Test::Role { domain, .. }
                    if domain.is_some_and(|domain| domain.varies(constant)) => {}
                Test::Equal { column, .. }
                | Test::EqualOrAny { column, .. }
                | Test::Regex { column, .. }
                | Test::Role { column, .. } => {
                    let count = distinct(facts, column);
                    if count > 1 && second.is_none_or(|(_, best)| count > best) {
                        second = Some((position, count));
                    }
                }
                _ => {}
            }
        }
        let mut second = second.map(|(position, _)| position);
        if member.is_none() {
            second = second.filter(|p| !is_role(conjuncts, *p));
            // Two equalities: the one with the most values is the first key, the next the second.
            member = second.filter(|p| !is_regex(conjuncts, *p));
            if member.is_some() {
                second = next_best(conjuncts, facts, member);
            }
        }
        Builder { conjuncts, code, facts, regex_text }.finish(member, second)
    }
}

fn is_role(conjuncts: &[Conjunct<'_>], position: usize) -> bool {
    conjuncts.get(position).is_some_and(|c| matches!(c.test, Test::Role { .. }))
}

fn is_regex(conjuncts: &[Conjunct<'_>], position: usize) -> bool {
    conjuncts.get(position).is_some_and(|c| matches!(c.test, Test::Regex { .. }))
}

fn next_best(conjuncts: &[Conjunct<'_>], facts: &Facts, taken: Option<usize>) -> Option<usize> {
    let counted = conjuncts.iter().enumerate().filter_map(|(position, conjunct)| {
        let (Test::Equal { column, .. }
        | Test::EqualOrAny { column, .. }
        | Test::Regex { column, .. }) = conjunct.test
        else {
            return None;
        };
        let count = distinct(facts, column);
        (Some(position) != taken && count > 1).then_some((count, position))
    });
    counted.max().map(|(_, position)| position)
}

/// How many different cells a column has, counted up to 64.
fn distinct(facts: &Facts, column: usize) -> usize {
    let column = u16::try_from(column).unwrap_or(u16::MAX);
    let mut seen = Vec::new();
    for row in 0..facts.rows() {
        let cell = facts.cell(row, column);
        if !seen.contains(&cell) {
            seen.push(cell);
            if seen.len() >= 64 {
                break;
            }
        }
    }
    seen.len()
}

struct Builder<'b> {
    conjuncts: &'b [Conjunct<'b>],
    code: &'b mut Code,
    facts: &'b Facts,
    /// The ids of the finite set that a row's pattern in a column denotes.
    regex_text: &'b dyn Fn(usize, usize) -> Option<Vec<u32>>,
}

impl Builder<'_> {
    fn finish(
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
        let twin = Box::new(Twin { rest, postings, candidates });
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

/// The interned ids of a finite expression; `None` if it is not finite. A member that no other
/// text has is interned too, so that a probe finds it.
pub(crate) fn finite_ids(text: &str, intern: &mut dyn FnMut(&str) -> u32) -> Option<Vec<u32>> {
    finite_set(text).map(|set| set.iter().map(|member| intern(member)).collect())
}
