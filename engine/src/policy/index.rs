//! The way around the scan: per alternative a table from keys of the request to candidate rows,
//! and the same rows laid out as decisions read them (`layout`). The table is its twin in tests.
//!
//! An alternative has up to two keys: a *member* key (the roles of a subject, or the elements of a
//! list: several probes) and a *second* key (an equality: one probe, two with `*`; or the roles of another value). Rows that no
//! probe finds are false by the very conjunct that was the key; the rest of the conjuncts is
//! evaluated per candidate. Where a key's value is no string the caller scans instead.

mod build;

use crate::builtin::finite_set::finite_set;
use crate::expr::code::{Code, NodeId, Refused};
use crate::policy::alternatives::{Conjunct, Test};
use crate::policy::facts::Facts;
use crate::policy::index::build::Builder;
use crate::policy::layout::Layout;
use crate::policy::layout::block::tail_of;
use crate::text::Word;
use foldhash::fast::FixedState;
use std::collections::HashMap;
use std::sync::Arc;

/// The key of rows that match whatever the request says (`*`, or a pattern that is no small set).
pub(crate) const ANY: u32 = u32::MAX;
/// The key of an alternative without this key.
pub(crate) const NONE: u32 = u32::MAX - 1;

/// The index of one policy.
#[derive(Debug, Clone)]
pub(crate) struct Index {
    pub(crate) alternatives: Arc<[Alternative]>,
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
    /// Some rules of each second key, whoever they are for: for explanations.
    samples: HashMap<u32, Vec<u32>, FixedState>,
    candidates: Vec<Candidate>,
    /// How a row's cells give its two keys; `None` where a cell may give several.
    keyed: Option<[Keyed; 2]>,
}

/// Where a key of a row comes from.
#[derive(Debug, Clone, Copy)]
enum Keyed {
    Nothing,
    Cell(u16),
    /// A cell, of which `*` is any.
    CellOrAny(u16),
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

/// Rules that are kept of one second key, and second keys of which some are.
const SAMPLES_MAX: usize = 16;
const SAMPLED_MAX: usize = 4_096;

impl Twin {
    /// Some rules with a second key.
    pub(crate) fn samples(&self, second: u32) -> &[u32] {
        self.samples.get(&second).map_or(&[], Vec::as_slice)
    }

    /// The rows that may have these cells; `None` if the tables do not know.
    pub(crate) fn rows_like(&self, cells: &[u32], star: Option<u32>) -> Option<&[Candidate]> {
        let cell = |column: u16| cells.get(usize::from(column)).copied().unwrap_or(NONE);
        let [member, second] = self.keyed?.map(|keyed| match keyed {
            Keyed::Nothing => NONE,
            Keyed::Cell(column) => cell(column),
            Keyed::CellOrAny(column) if Some(cell(column)) == star => ANY,
            Keyed::CellOrAny(column) => cell(column),
        });
        Some(self.candidates(member, second))
    }

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
                Test::Role { domain, graph, .. }
                    if member.is_none() && !is_patterned(facts, graph) =>
                {
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
            let roles = second.filter(|p| is_role(conjuncts, *p));
            // Two equalities: the one with the most values is the first key, the next or the roles the second.
            let best = second.filter(|p| Some(*p) != roles);
            let best = best.or_else(|| next_best(conjuncts, facts, roles));
            member = best.filter(|p| !is_regex(conjuncts, *p));
            second = match (roles, member) {
                (None, None) => best,
                (None, Some(_)) => next_best(conjuncts, facts, member),
                (roles, _) => roles,
            };
        }
        Builder { conjuncts, code, facts, regex_text }.finish(member, second)
    }
}

fn is_patterned(facts: &Facts, graph: usize) -> bool {
    u16::try_from(graph).is_ok_and(|graph| facts.roles.is_patterned(graph))
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

/// The interned ids of a finite expression; `None` if it is not finite. A member that no other
/// text has is interned too, so that a probe finds it.
pub(crate) fn finite_ids(text: &str, intern: &mut dyn FnMut(&str) -> u32) -> Option<Vec<u32>> {
    finite_set(text).map(|set| set.iter().map(|member| intern(member)).collect())
}
