//! The requests that a policy can tell apart, as far as its text says.
//!
//! A policy whose matcher only compares request values with texts and asks for roles answers by which of those texts a
//! value equals: the texts that it names and one that it does not name stand for all there are. Then the universe is
//! *whole*. Patterns, order and arithmetic know more values than can be named; for them the universe holds examples.

use crate::bind::Part;
use crate::decide::{ENFORCE_CONTEXT, TenantState};
use crate::expr::ast::{Function, Operator};
use crate::expr::code::{Constant, Node, NodeId, Site};
use crate::policy::PolicySet;
use crate::value::Value;
use std::collections::{BTreeMap, BTreeSet};

/// A value of a request that owns its text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Choice {
    Missing,
    Bool(bool),
    Int(i64),
    Text(String),
    List(Vec<String>),
}

/// A request value that a policy reads: a part of the request and a dotted path below it; empty for the id itself.
pub type Place = (Part, String);

/// The values that a policy tells apart, by the place that they stand in.
#[derive(Debug, Clone, Default)]
pub struct Universe {
    pub places: BTreeMap<Place, BTreeSet<Choice>>,
    /// Names that roles have: no subject is meant by them.
    pub roles: BTreeSet<String>,
    /// Places of which more values are told apart than are named.
    pub partial: BTreeSet<Place>,
    /// Links that hold for a time are asked: it is the universe of a moment.
    pub is_timed: bool,
}

impl Universe {
    /// The universe of a tenant's policy, its contexts included.
    pub fn of(state: &TenantState) -> Universe {
        let mut universe = Universe::default();
        let names = state.policy().contexts.iter().map(|(name, _)| Choice::Text(name.clone()));
        let mut contexts: BTreeSet<Choice> = names.collect();
        if !contexts.is_empty() {
            contexts.insert(Choice::Missing);
            universe.places.insert((Part::Context, ENFORCE_CONTEXT.to_owned()), contexts);
        }
        for (policy, parts) in state.policies() {
            Reader { policy, parts, universe: &mut universe }.read();
        }
        universe
    }

    /// What both tell apart.
    #[must_use]
    pub fn and(mut self, other: Universe) -> Universe {
        for (place, choices) in other.places {
            self.places.entry(place).or_default().extend(choices);
        }
        self.roles.extend(other.roles);
        self.partial.extend(other.partial);
        self.is_timed |= other.is_timed;
        self
    }

    /// Whether every request is like one of the universe's, where each place has one more value that nobody names.
    pub fn is_whole(&self) -> bool {
        self.partial.is_empty() && !self.is_timed
    }

    /// A text that no place of the universe holds.
    pub fn unnamed(&self, part: Part) -> String {
        let name = match part {
            Part::Subject => "anybody-else",
            Part::Tenant => "any-other-tenant",
            Part::Resource => "anything-else",
            Part::Action => "any-other-action",
            Part::Context => "any-other-value",
        };
        let mut name = name.to_owned();
        while self.places.values().flatten().any(|choice| *choice == Choice::Text(name.clone())) {
            name.push('-');
        }
        name
    }
}

/// Reads the expressions of one policy.
struct Reader<'r> {
    policy: &'r PolicySet,
    parts: &'r [Part],
    universe: &'r mut Universe,
}

impl Reader<'_> {
    fn read(&mut self) {
        for slot in 0..self.policy.code.slots.len() {
            self.put(slot, []);
        }
        self.node(self.policy.matcher);
        for root in self.policy.facts.loaded.row_evals.iter().filter(|root| **root != NodeId::MAX) {
            self.node(*root);
        }
    }

    fn place(&self, slot: usize) -> Option<Place> {
        let slot = self.policy.code.slots.get(slot)?;
        let part = self.parts.get(slot.token).copied()?;
        let path = match (part, slot.path.as_str()) {
            (Part::Subject | Part::Resource | Part::Tenant, "id") | (Part::Action, "name") => "",
            (_, path) => path,
        };
        Some((part, path.to_owned()))
    }

    fn put(&mut self, slot: usize, choices: impl IntoIterator<Item = Choice>) {
        let Some(place) = self.place(slot) else { return };
        let has_path = !place.1.is_empty();
        let known = self.universe.places.entry(place).or_default();
        known.extend(choices);
        if has_path {
            known.insert(Choice::Missing);
        }
    }

    fn at(&self, node: NodeId) -> Option<Node> {
        self.policy.code.nodes.get(node as usize).copied()
    }

    fn slot(&self, node: NodeId) -> Option<usize> {
        match self.at(node)? {
            Node::Slot(slot) => Some(usize::from(slot)),
            _ => None,
        }
    }

    /// The texts that a node may be, whatever the request: a constant, or the cells of a column.
    fn texts(&self, node: NodeId) -> Option<Vec<String>> {
        match self.at(node)? {
            Node::Constant(index) => match self.policy.code.constants.get(index as usize)? {
                Constant::Str(text) => Some(vec![text.to_string()]),
                Constant::Value(_) => None,
            },
            Node::Column(column) => Some(self.cells(column)),
            _ => None,
        }
    }

    fn cells(&self, column: u16) -> Vec<String> {
        let facts = &self.policy.facts;
        let ids: BTreeSet<u32> = (0..facts.rows()).map(|row| facts.cell(row, column)).collect();
        ids.into_iter().map(|id| facts.texts.get(id).to_owned()).collect()
    }

    /// More values of what a node reads are told apart than are named.
    fn partial(&mut self, id: NodeId) {
        let Some(node) = self.at(id) else { return };
        if let Node::Slot(slot) = node {
            let place = self.place(usize::from(slot));
            self.universe.partial.extend(place);
        }
        for below in self.policy.code.below(&node) {
            self.partial(below);
        }
    }

    fn node(&mut self, id: NodeId) {
        match self.at(id) {
            None | Some(Node::Constant(_) | Node::Column(_)) => {}
            // A value that is the truth itself.
            Some(Node::Slot(slot)) => {
                self.put(usize::from(slot), [true, false].map(Choice::Bool));
            }
            Some(Node::Not(inner)) => self.node(inner),
            Some(Node::And(left, right) | Node::Or(left, right)) => {
                self.node(left);
                self.node(right);
            }
            Some(Node::Compare(operator, left, right)) => self.compare(operator, left, right),
            Some(Node::InItems { needle, first, len }) => {
                let items = self.policy.code.items.get(first as usize..(first + len) as usize);
                for item in items.unwrap_or(&[]) {
                    self.compare(Operator::Equal, needle, *item);
                }
            }
            Some(Node::In(needle, list)) => self.list(needle, list),
            Some(Node::Role { member, role, domain, graph }) => {
                self.role(graph, member, role, domain)
            }
            Some(Node::Pattern { text, site }) => self.pattern(text, site),
            Some(Node::KeyMatch(text, pattern) | Node::KeyGet(text, pattern)) => {
                self.patterns(text, Function::KeyMatch, pattern);
            }
            Some(Node::IpMatch(text, network)) => self.patterns(text, Function::IpMatch, network),
            Some(Node::Get { text, site, name }) => {
                self.pattern(text, site);
                self.partial(name);
            }
            // The rows' own expressions are read for themselves.
            Some(Node::Eval(_)) => {}
            Some(Node::Negate(_) | Node::Arithmetic(..) | Node::Custom { .. }) => self.partial(id),
        }
    }

    fn compare(&mut self, operator: Operator, left: NodeId, right: NodeId) {
        let is_equality = matches!(operator, Operator::Equal | Operator::NotEqual);
        if !is_equality {
            self.partial(left);
            self.partial(right);
        }
        for (one, other) in [(left, right), (right, left)] {
            match (self.slot(one), self.texts(other), self.constant(other)) {
                (Some(slot), Some(texts), _) => {
                    self.put(slot, texts.into_iter().map(Choice::Text));
                    return;
                }
                (Some(slot), None, Some(Value::Bool(_))) if is_equality => {
                    return self.put(slot, [true, false].map(Choice::Bool));
                }
                (Some(slot), None, Some(Value::Int(int))) => {
                    self.partial(one);
                    let around = [int.saturating_sub(1), int, int.saturating_add(1)];
                    return self.put(slot, around.map(Choice::Int));
                }
                _ => {}
            }
        }
        if self.texts(left).is_none() || self.texts(right).is_none() {
            for side in [left, right] {
                self.partial(side);
                if self.slot(side).is_none() {
                    self.node(side);
                }
            }
        }
    }

    fn constant(&self, node: NodeId) -> Option<Value<'_>> {
        match self.at(node)? {
            Node::Constant(index) => {
                self.policy.code.constants.get(index as usize).map(|constant| constant.value())
            }
            _ => None,
        }
    }

    fn list(&mut self, needle: NodeId, list: NodeId) {
        self.partial(needle);
        self.partial(list);
        let (Some(slot), Some(texts)) = (self.slot(list), self.texts(needle)) else { return };
        let one = |text: String| Choice::List(vec![text]);
        self.put(slot, std::iter::once(Choice::List(Vec::new())).chain(texts.into_iter().map(one)));
    }

    fn role(&mut self, graph: u16, member: NodeId, role: NodeId, domain: Option<NodeId>) {
        let roles = &self.policy.facts.roles;
        self.universe.is_timed |= roles.is_timed(graph);
        if roles.is_patterned(graph) {
            self.partial(member);
            domain.into_iter().for_each(|domain| self.partial(domain));
        }
        let roles = &self.policy.facts.roles;
        let texts = &self.policy.facts.texts;
        let name = |id: u32| texts.get(id).to_owned();
        let mut members: BTreeSet<String> = BTreeSet::new();
        let mut domains: BTreeSet<String> = BTreeSet::new();
        for (domain, member, reached) in roles.members(graph) {
            members.insert(name(member));
            domains.extend((domain != u32::MAX).then(|| name(domain)));
            self.universe
                .roles
                .extend(reached.iter().filter(|id| **id != member).map(|id| name(*id)));
        }
        match (self.slot(member), self.texts(role)) {
            (Some(slot), Some(roles)) => {
                members.extend(roles);
                self.put(slot, members.into_iter().map(Choice::Text));
            }
            _ => {
                self.partial(member);
                self.partial(role);
            }
        }
        if let Some(node) = domain {
            match (self.slot(node), self.texts(node)) {
                (Some(slot), _) => self.put(slot, domains.into_iter().map(Choice::Text)),
                (None, Some(_)) => {}
                (None, None) => self.partial(node),
            }
        }
    }

    /// A pattern that was compiled at load.
    fn pattern(&mut self, text: NodeId, site: Site) {
        self.partial(text);
        let code = &self.policy.code;
        let (function, patterns) = match site {
            Site::Fixed(at) => match code.fixed.get(usize::from(at)) {
                Some((function, text)) => (*function, vec![text.clone()]),
                None => return,
            },
            Site::Row(at) => match code.sites.get(usize::from(at)) {
                Some((function, column)) => {
                    (*function, self.cells(u16::try_from(*column).unwrap_or(u16::MAX)))
                }
                None => return,
            },
        };
        let Some(slot) = self.slot(text) else { return };
        let examples = patterns.iter().flat_map(|pattern| examples(function, pattern));
        let examples: Vec<Choice> = examples.map(Choice::Text).collect();
        self.put(slot, examples);
    }

    fn patterns(&mut self, text: NodeId, function: Function, pattern: NodeId) {
        self.partial(text);
        self.partial(pattern);
        let (Some(slot), Some(patterns)) = (self.slot(text), self.texts(pattern)) else { return };
        let examples = patterns.iter().flat_map(|pattern| examples(function, pattern));
        let examples: Vec<Choice> = examples.map(Choice::Text).collect();
        self.put(slot, examples);
    }
}

/// Texts that a pattern is likely to match, and one beside it.
fn examples(function: Function, pattern: &str) -> Vec<String> {
    match function {
        Function::RegexMatch => {
            crate::builtin::finite_set::finite_set(pattern).unwrap_or_else(|| {
                let plain: String = pattern.chars().filter(|c| c.is_alphanumeric()).collect();
                vec![plain]
            })
        }
        Function::IpMatch => vec![pattern.split('/').next().unwrap_or("").to_owned()],
        _ => {
            let filled = filled(pattern);
            let below = format!("{filled}/below");
            vec![filled, below]
        }
    }
}

/// The pattern with something in the place of each name and star.
fn filled(pattern: &str) -> String {
    let segment = |segment: &str| match segment {
        segment if segment.starts_with(':') => "one".to_owned(),
        segment => {
            let mut text = String::new();
            let mut is_name = false;
            for c in segment.chars() {
                match c {
                    '{' => is_name = true,
                    '}' => {
                        is_name = false;
                        text.push_str("one");
                    }
                    '*' | '?' => text.push('x'),
                    c if !is_name => text.push(c),
                    _ => {}
                }
            }
            text
        }
    };
    pattern.split('/').map(segment).collect::<Vec<_>>().join("/")
}
