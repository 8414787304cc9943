//! Role membership: who reaches which role, answered from closures made at load.
//!
//! `strict` has a graph per role definition and tenant and refuses chains beyond `ROLE_DEPTH_MAX`;
//! `casbin-go` too, and cuts them; `casbin-rs` has one graph for all definitions and its own way of counting levels.
//! All become the same table: (graph, name) → sorted ids of everything reached, the name itself included.

mod changed;
mod graph;
pub(crate) mod patterned;
mod walk;

use crate::diagnostic::{Code, Diagnostic, Diagnostics, Source};
use crate::dialect::Dialect;
use crate::model::RoleDefinition;
use crate::now::Now;
use crate::policy::link_time::LinkTime;
use crate::policy::roles::changed::ChangedLinks;
use crate::policy::roles::graph::Graph;
use crate::policy::roles::patterned::Patterned;
use crate::policy::rows::Row;
use crate::text::Texts;
use foldhash::fast::FixedState;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// The tenant under which casbin-rs keeps links without a tenant.
const CASBIN_DEFAULT: &str = "DEFAULT";
/// The tenant text of definitions without tenants.
const NO_DOMAIN: u32 = u32::MAX;
/// Where a name's patterns stand among its links, whatever the tenant.
const MATCHES: u32 = u32::MAX - 1;
/// A member that no text of the policy is.
const UNKNOWN: u32 = u32::MAX;

/// Closures of all role graphs of a policy.
#[derive(Debug, Clone)]
pub(crate) struct Roles {
    loaded: Arc<Loaded>,
    /// Links that came and went since.
    changed: Option<Box<ChangedLinks>>,
}

/// What loading made.
#[derive(Debug)]
struct Loaded {
    /// (role definition, domain text or `NO_DOMAIN`, member) → a range of `reached`.
    closures: HashMap<(u16, u32, u32), (u32, u32), FixedState>,
    reached: Vec<u32>,
    shared: Option<u32>,
    /// Every link, sorted by graph and member: for explanations and for links that hold for a time.
    links: Vec<Link>,
    /// By role definition: its links hold for a time, and closures are what they may reach at all.
    timed: Vec<bool>,
    /// By role definition: the patterns that its links write; closures leave out what these add.
    patterned: Vec<Option<Patterned>>,
}

/// Whether one is, or reaches, the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) definition: u16,
    pub(crate) domain: Option<&'a str>,
    pub(crate) member: &'a str,
    pub(crate) role: &'a str,
    pub(crate) now: Now,
}

/// One row of role links.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Link {
    definition: u16,
    domain: u32,
    member: u32,
    line: u32,
    role: u32,
    time: LinkTime,
}

impl Link {
    /// The graph and the name whose link it is.
    fn place(&self) -> (u16, u32, u32) {
        (self.definition, self.domain, self.member)
    }
}

impl Roles {
    pub(crate) fn empty(texts: &Texts) -> Roles {
        Roles { loaded: Arc::new(Loaded::empty(texts)), changed: None }
    }

    /// Builds the closures of `links`, one list per role definition.
    pub(crate) fn build(
        links: &[Vec<Row<'_>>],
        definitions: &[RoleDefinition],
        dialect: Dialect,
        texts: &mut Texts,
        source: Source<'_>,
        diagnostics: &mut Diagnostics,
    ) -> Roles {
        let mut roles = Loaded::empty(texts);
        if dialect == Dialect::CasbinRs {
            roles.shared = Some(texts.intern(CASBIN_DEFAULT));
        }
        roles.timed = definitions.iter().map(|role| role.is_timed).collect();
        let mut graphs: BTreeMap<(u16, u32), Graph> = BTreeMap::new();
        for (definition, (rows, role)) in links.iter().zip(definitions).enumerate() {
            let definition = u16::try_from(definition).unwrap_or(u16::MAX);
            for row in rows {
                match roles.link(definition, role, row, texts) {
                    Some(Ok(link)) => {
                        let graph = graphs.entry((link.definition, link.domain)).or_default();
                        graph.add(link.member, link.role, link.line);
                        roles.links.push(link);
                    }
                    Some(Err(text)) => {
                        let message =
                            format!("expected `YYYY-MM-DD HH:MM:SS` or `_`, got `{text}`");
                        let span = source.span_of(text);
                        diagnostics.push(Diagnostic::error(source, span, Code::BadTime, message));
                    }
                    None => {}
                }
            }
            let patterned = Patterned::build(role, rows, texts, source, diagnostics);
            roles.add_matches(definition, patterned, texts);
        }
        roles.links.sort_unstable();
        roles.links.shrink_to_fit();
        for (key, graph) in &graphs {
            let mut names: Vec<u32> = graph.links.keys().copied().collect();
            names.sort_unstable();
            for name in names {
                let reached = match dialect {
                    Dialect::Strict => graph.reach(name),
                    Dialect::CasbinRs => Ok(graph.casbin_reach(name)),
                    Dialect::CasbinGo => graph.reach_at_most(name),
                };
                match reached {
                    Ok(reached) => roles.keep(*key, name, reached),
                    Err(message) => {
                        let line = graph.first_line.get(&name).copied().unwrap_or(1);
                        let part = nth_line(source.text, line);
                        let message = format!("`{}` {message}", texts.get(name));
                        let span = source.span_of(part);
                        diagnostics.push(
                            Diagnostic::error(source, span, Code::RoleDepth, message)
                                .help("shorten the chain of roles"),
                        );
                    }
                }
            }
        }
        roles.reached.shrink_to_fit();
        roles.closures.shrink_to_fit();
        Roles { loaded: Arc::new(roles), changed: None }
    }
}

impl Loaded {
    fn empty(texts: &Texts) -> Loaded {
        Loaded {
            closures: HashMap::with_hasher(texts.hasher()),
            reached: Vec::new(),
            shared: None,
            links: Vec::new(),
            timed: Vec::new(),
            patterned: Vec::new(),
        }
    }

    /// Adds what the patterns of a definition match as links of their own.
    fn add_matches(&mut self, definition: u16, patterned: Option<Patterned>, texts: &Texts) {
        let matches = patterned.iter().flat_map(|patterned| patterned.matches(texts));
        self.links.extend(matches.map(|(member, role, line)| Link {
            definition,
            domain: MATCHES,
            member,
            line,
            role,
            time: LinkTime::ALWAYS,
        }));
        self.patterned.push(patterned);
    }

    /// The link that a row writes, or the text in it that is no time. `None` if a name is left out.
    fn link<'r>(
        &self,
        definition: u16,
        role: &RoleDefinition,
        row: &Row<'r>,
        texts: &mut Texts,
    ) -> Option<Result<Link, &'r str>> {
        let [member, name, rest @ ..] = row.cells.as_slice() else { return None };
        let domain = rest.first().filter(|_| role.arity == 3).map(|text| texts.intern(text));
        let time = match row.cells.get(role.arity..) {
            Some([start, end, ..]) if role.is_timed => LinkTime::parse(start, end),
            _ => Ok(LinkTime::ALWAYS),
        };
        let (definition, domain) = self.key(definition, domain);
        let (member, role) = (texts.intern(member), texts.intern(name));
        let line = row.line;
        Some(time.map(|time| Link { definition, domain, member, line, role, time }))
    }

    fn key(&self, definition: u16, domain: Option<u32>) -> (u16, u32) {
        match self.shared {
            Some(default) => (0, domain.unwrap_or(default)),
            None => (definition, domain.unwrap_or(NO_DOMAIN)),
        }
    }

    fn keep(&mut self, (definition, domain): (u16, u32), name: u32, mut reached: Vec<u32>) {
        reached.sort_unstable();
        let start = u32::try_from(self.reached.len()).unwrap_or(u32::MAX);
        let len = u32::try_from(reached.len()).unwrap_or(u32::MAX);
        self.reached.extend(reached);
        self.closures.insert((definition, domain, name), (start, len));
    }

    fn range(&self, (start, len): (u32, u32)) -> &[u32] {
        self.reached.get(start as usize..(start + len) as usize).unwrap_or(&[])
    }

    fn closure(&self, key: (u16, u32, u32)) -> Option<&[u32]> {
        self.closures.get(&key).map(|range| self.range(*range))
    }
}

impl Roles {
    /// Everybody with links of a definition: domain, name, everything reached.
    pub(crate) fn members(&self, definition: u16) -> impl Iterator<Item = (u32, u32, &[u32])> {
        let loaded = self.loaded.closures.keys().filter(|key| !self.is_changed(key));
        let loaded = loaded.filter_map(|key| Some((*key, self.loaded.closure(*key)?)));
        let changed = self.changed.iter().flat_map(|changed| changed.closures());
        let all = loaded.chain(changed).filter(move |((of, ..), _)| *of == definition);
        all.map(|((_, domain, name), reached)| (domain, name, reached))
    }

    fn is_changed(&self, key: &(u16, u32, u32)) -> bool {
        self.changed.as_ref().is_some_and(|changed| changed.closure(key).is_some())
    }

    fn key(&self, definition: u16, domain: Option<u32>) -> (u16, u32) {
        self.loaded.key(definition, domain)
    }

    /// Everything that `member` reaches, itself left out when it has no link of its own.
    pub(crate) fn closure(&self, definition: u16, domain: Option<u32>, member: u32) -> &[u32] {
        let (definition, domain) = self.key(definition, domain);
        let key = (definition, domain, member);
        let changed = self.changed.as_ref().and_then(|changed| changed.closure(&key));
        changed.or_else(|| self.loaded.closure(key)).unwrap_or(&[])
    }

    fn patterned(&self, definition: u16) -> Option<&Patterned> {
        self.loaded.patterned.get(usize::from(definition)).and_then(Option::as_ref)
    }

    /// Whether links of a definition write patterns.
    pub(crate) fn is_patterned(&self, definition: u16) -> bool {
        self.patterned(definition).is_some()
    }

    /// Whether links of a definition hold for a time only.
    pub(crate) fn is_timed(&self, definition: u16) -> bool {
        self.loaded.timed.get(usize::from(definition)).copied().unwrap_or(false)
    }

    /// Whether `member` is `role` or reaches it; `None` if it reaches more than `ROLES_PER_SUBJECT_MAX` names, of
    /// which patterns know only when they are asked.
    pub(crate) fn has(&self, texts: &Texts, asked: Asked<'_>) -> Option<bool> {
        let Asked { definition, domain, member, role, .. } = asked;
        if member == role {
            return Some(true);
        }
        let Some(role) = texts.find(role) else { return Some(false) };
        if !self.is_patterned(definition) {
            let domain = match domain.map(|text| texts.find(text)) {
                Some(None) => return Some(false),
                Some(Some(id)) => Some(id),
                None => None,
            };
            let Some(member) = texts.find(member) else { return Some(false) };
            let may = self.closure(definition, domain, member).binary_search(&role).is_ok();
            if !may || !self.is_timed(definition) {
                return Some(may);
            }
        }
        self.reaches(texts, asked, role)
    }
}

/// The text of line `number`, counted from 1.
pub(crate) fn nth_line(text: &str, number: u32) -> &str {
    text.split('\n').nth(number.saturating_sub(1) as usize).unwrap_or("").trim()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bounds::ROLE_DEPTH_MAX;

    fn roles(text: &str, dialect: Dialect) -> (Texts, Roles, bool) {
        let rows = text
            .lines()
            .zip(1..)
            .map(|(line, number)| Row { cells: line.split(' ').collect(), line: number })
            .collect();
        let mut texts = Texts::new(1);
        let mut found = Diagnostics::default();
        let source = Source { file: "policy.csv", text };
        let arity = if text.contains(" t") { 3 } else { 2 };
        let definitions = [RoleDefinition::new("g", arity)];
        let roles = Roles::build(&[rows], &definitions, dialect, &mut texts, source, &mut found);
        (texts, roles, found.has_errors())
    }

    #[test]
    fn membership_is_transitive_and_stays_in_its_tenant() {
        let (texts, roles, _) = roles("alice lead t1\nlead staff t1\nbob lead t2", Dialect::Strict);
        for (domain, member, role, expected) in [
            ("t1", "alice", "staff", true),
            ("t1", "alice", "alice", true),
            ("t1", "nobody", "nobody", true),
            ("t2", "bob", "lead", true),
            ("t2", "bob", "staff", false),
            ("t2", "alice", "lead", false),
            ("t3", "alice", "lead", false),
        ] {
            let now = Now(0);
            let asked = Asked { definition: 0, domain: Some(domain), member, role, now };
            let has = roles.has(&texts, asked);
            assert_eq!(has, Some(expected), "{domain} {member} {role}");
        }
    }

    #[test]
    fn a_chain_is_refused_beyond_the_bound_and_a_cycle_is_not() {
        let chain = |n: usize| (0..n).map(|i| format!("r{i} r{}\n", i + 1)).collect::<String>();
        assert!(!roles(&chain(ROLE_DEPTH_MAX), Dialect::Strict).2);
        assert!(roles(&chain(ROLE_DEPTH_MAX + 1), Dialect::Strict).2);
        assert!(!roles("a b\nb a", Dialect::Strict).2);
    }

    #[test]
    fn casbin_walks_nine_hops_of_a_pure_chain() {
        let chain: String = (0..12).map(|i| format!("r{i} r{}\n", i + 1)).collect();
        let (texts, roles, _) = roles(&chain, Dialect::CasbinRs);
        let has = |role| {
            let asked = Asked { definition: 0, domain: None, member: "r0", role, now: Now(0) };
            roles.has(&texts, asked)
        };
        assert_eq!(has("r9"), Some(true));
        assert_eq!(has("r10"), Some(false));
    }
}
