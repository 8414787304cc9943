//! Links walked one by one as a question asks: where they hold for a time or write patterns, and for explanations.

use crate::policy::roles::patterned::{Domains, Seen};
use crate::policy::roles::{Asked, Link, Loaded, MATCHES, Roles, UNKNOWN};
use crate::text::Texts;
use std::collections::{HashMap, VecDeque};

impl Loaded {
    /// The links of a name in a graph, whenever they hold.
    pub(super) fn links_at(&self, wanted: (u16, u32, u32)) -> impl Iterator<Item = &Link> {
        let first = self.links.partition_point(|link| link.place() < wanted);
        let theirs = self.links.get(first..).unwrap_or(&[]).iter();
        theirs.take_while(move |link| link.place() == wanted)
    }
}

impl Roles {
    /// The shortest chain of links from the member to the role: each role with the line of its link;
    /// `None` if there is none or both are the same.
    pub(crate) fn path(&self, texts: &Texts, asked: Asked<'_>) -> Option<Vec<(u32, u32)>> {
        let start = texts.find(asked.member).unwrap_or(UNKNOWN);
        let role = texts.find(asked.role)?;
        let domains = self.domains(texts, asked);
        let mut came_from: HashMap<u32, (u32, u32)> = HashMap::new();
        let mut queue = VecDeque::from([start]);
        for (pattern, line) in self.unlinked_patterns(texts, asked) {
            came_from.insert(pattern, (start, line));
            queue.push_back(pattern);
        }
        while let Some(name) = queue.pop_front().filter(|name| *name != role) {
            for link in self.links_of(asked, &domains, name) {
                if link.role != start && !came_from.contains_key(&link.role) {
                    came_from.insert(link.role, (name, link.line));
                    queue.push_back(link.role);
                }
            }
        }
        let mut steps = Vec::new();
        let mut name = role;
        while name != start {
            let (earlier, line) = came_from.get(&name)?;
            steps.push((name, *line));
            name = *earlier;
        }
        steps.reverse();
        (!steps.is_empty()).then_some(steps)
    }

    /// The tenants under which the links of a question stand.
    fn domains(&self, texts: &Texts, asked: Asked<'_>) -> Domains {
        let id = asked.domain.and_then(|text| texts.find(text));
        match (self.patterned(asked.definition), asked.domain) {
            (Some(patterned), Some(text)) => patterned.domains_of(id, text),
            (None, Some(_)) if id.is_none() => Domains::none(),
            _ => Domains::one(self.key(asked.definition, id).1),
        }
    }

    /// The patterns, with their lines, that a member matches of which no link speaks.
    fn unlinked_patterns<'p>(
        &'p self,
        texts: &Texts,
        asked: Asked<'p>,
    ) -> impl Iterator<Item = (u32, u32)> + 'p {
        let id = texts.find(asked.member);
        let patterned = self.patterned(asked.definition);
        let patterned = patterned.filter(|all| !id.is_some_and(|id| all.is_linked(id)));
        patterned.into_iter().flat_map(move |patterned| patterned.patterns_of(asked.member))
    }

    /// The links of a name that hold: its own in these tenants, and the patterns that it matches.
    fn links_of(
        &self,
        asked: Asked<'_>,
        domains: &Domains,
        name: u32,
    ) -> impl Iterator<Item = Link> {
        let definition = self.key(asked.definition, None).0;
        let matches = self.patterned(asked.definition).map(|_| MATCHES);
        domains.all().iter().copied().chain(matches).flat_map(move |domain| {
            let theirs = self.links_at((definition, domain, name));
            theirs.filter(move |link| link.time.holds(asked.now))
        })
    }

    /// The links of a name in a graph, whenever they hold.
    pub(super) fn links_at(&self, wanted: (u16, u32, u32)) -> impl Iterator<Item = Link> {
        let changed = self.changed.as_deref();
        let loaded = self.loaded.links_at(wanted).filter_map(move |link| match changed {
            Some(changed) => changed.kept(*link),
            None => Some(*link),
        });
        loaded.chain(changed.into_iter().flat_map(move |changed| changed.added_at(wanted)))
    }

    /// Walks the links that hold, each name once, until it meets one; `None` if there are more names than the bound.
    pub(crate) fn walk(&self, texts: &Texts, asked: Asked<'_>, until: Option<u32>) -> Option<Seen> {
        let domains = self.domains(texts, asked);
        let mut seen = Seen::none();
        let patterns = self.unlinked_patterns(texts, asked).map(|(pattern, _)| pattern);
        for name in texts.find(asked.member).into_iter().chain(patterns) {
            seen.see(name)?;
        }
        let mut at = 0;
        while let Some(name) = seen.all().get(at).copied().filter(|name| Some(*name) != until) {
            at += 1;
            for link in self.links_of(asked, &domains, name) {
                seen.see(link.role)?;
            }
        }
        Some(seen)
    }

    /// Whether the walk meets a role: apart, for the room that it takes.
    #[cold]
    #[inline(never)]
    pub(super) fn reaches(&self, texts: &Texts, asked: Asked<'_>, role: u32) -> Option<bool> {
        Some(self.walk(texts, asked, Some(role))?.all().contains(&role))
    }

    /// Everything that a member reaches, for explanations.
    pub(crate) fn reached(&self, texts: &Texts, asked: Asked<'_>) -> Vec<u32> {
        let definition = asked.definition;
        if self.is_patterned(definition) || self.is_timed(definition) {
            return self.walk(texts, asked, None).map_or(Vec::new(), |seen| seen.all().to_vec());
        }
        let domain = match asked.domain.map(|text| texts.find(text)) {
            Some(None) => return Vec::new(),
            Some(Some(id)) => Some(id),
            None => None,
        };
        let member = texts.find(asked.member);
        member.map_or(Vec::new(), |member| self.closure(definition, domain, member).to_vec())
    }
}
