//! Rows to a layout, once at load.

use crate::policy::facts::{Effect, Facts};
use crate::policy::index::{ANY, Entry, Member, NONE};
use crate::policy::layout::block::tail_of;
use crate::policy::layout::block::{ANY_SECOND, COUNTS_BYTES, DENY, KEY_BYTES, ROW_BYTES};
use crate::policy::layout::{
    BLOCKS_INLINE, Domains, EMPTY, LINE_BYTES, LONG, Layout, Line, NO_DOMAIN, place,
};
use crate::text::Word;
use std::collections::{BTreeSet, HashSet};
use std::hash::BuildHasher;

impl Layout {
    /// Lays out `entries`, sorted; `site` is the pattern that each row brings, if one is matched
    /// from the row's texts.
    pub(crate) fn build(
        facts: &Facts,
        entries: &[Entry],
        member: Option<&Member>,
        site: Option<u16>,
    ) -> Layout {
        let mut layout = Layout {
            hasher: facts.texts.hasher(),
            lines: Vec::new(),
            long_names: Vec::new(),
            long_places: Vec::new(),
            bytes: Vec::new(),
            base: 0,
            domains: Domains::Many,
            any: None,
            has_patterns: site.is_some(),
        };
        let mut blocks: Vec<(u32, u32)> = Vec::new();
        for theirs in entries.chunk_by(|a, b| a.first == b.first) {
            let Some(first) = theirs.first().map(|entry| entry.first) else { continue };
            let place = layout.add_block(facts, theirs, site);
            match first {
                ANY | NONE => layout.any = Some(place),
                _ => blocks.push((first, place)),
            }
        }
        layout.add_names(facts, &blocks, member);
        layout.long_names.shrink_to_fit();
        layout.long_places.shrink_to_fit();
        layout.align();
        layout
    }

    fn add_block(&mut self, facts: &Facts, entries: &[Entry], site: Option<u16>) -> u32 {
        let start = self.bytes.len();
        let hash_of = |second: u32| match second {
            ANY | NONE => ANY_SECOND,
            second => self.second_hash(facts.texts.get(second)),
        };
        let mut rows: Vec<(u32, Entry)> =
            entries.iter().map(|entry| (hash_of(entry.second), *entry)).collect();
        rows.sort_unstable_by_key(|(hash, entry)| (*hash, entry.row));
        let keys = rows.chunk_by(|a, b| a.0 == b.0).count();
        self.bytes.extend([length(rows.len()), length(keys)].concat());
        let mut first_row = 0;
        for theirs in rows.chunk_by(|a, b| a.0 == b.0) {
            let hash = theirs.first().map_or(ANY_SECOND, |(hash, _)| *hash);
            self.bytes.extend([hash.to_le_bytes(), length(first_row)].concat());
            first_row += theirs.len();
        }
        let mut texts = Vec::new();
        let texts_at = COUNTS_BYTES + keys * KEY_BYTES + rows.len() * ROW_BYTES;
        for (hash, entry) in &rows {
            let row = entry.row as usize;
            let pattern = site.and_then(|site| facts.pattern(row, site));
            let prefix = pattern.map_or(&[][..], |pattern| pattern.prefix());
            let deny = if facts.effect(row) == Effect::Deny { DENY } else { 0 };
            self.bytes.extend(tail_of(prefix, prefix.len()).to_le_bytes());
            self.bytes.extend(length(prefix.len()));
            self.bytes.extend(length(texts_at + texts.len()));
            self.bytes.extend((entry.row | deny).to_le_bytes());
            let second = if *hash == ANY_SECOND { "" } else { facts.texts.get(entry.second) };
            for text in [second.as_bytes(), pattern.map_or(&[], |pattern| pattern.steps())] {
                texts.extend(length(text.len()));
                texts.extend_from_slice(text);
            }
        }
        self.bytes.append(&mut texts);
        self.bytes.resize(self.bytes.len().next_multiple_of(LINE_BYTES), 0);
        u32::try_from(start / LINE_BYTES).unwrap_or(u32::MAX)
    }

    fn add_names(&mut self, facts: &Facts, blocks: &[(u32, u32)], member: Option<&Member>) {
        let graph = match member {
            Some(Member::Roles { graph, .. }) => Some(*graph),
            _ => None,
        };
        let place_of = |name: &u32| {
            let at = blocks.binary_search_by_key(name, |(name, _)| *name).ok()?;
            blocks.get(at).map(|(_, place)| *place)
        };
        let linked = graph.into_iter().flat_map(|graph| facts.roles.members(graph));
        let mut domains = BTreeSet::new();
        let mut names: Vec<(u32, u32, Vec<u32>)> = Vec::new();
        for (domain, name, reached) in linked {
            domains.insert(domain);
            let places: Vec<u32> = reached.iter().filter_map(place_of).collect();
            if !places.is_empty() {
                names.push((domain, name, places));
            }
        }
        if let (1, Some(domain)) = (domains.len(), domains.first()) {
            self.domains = Domains::One(Word::new(facts.texts.get(*domain)), *domain);
        }
        // Everybody is themselves, wherever nothing else is said of them.
        let without_domain = names.iter().filter(|(domain, ..)| *domain == NO_DOMAIN);
        let said: HashSet<u32> = without_domain.map(|(_, name, _)| *name).collect();
        let own = blocks.iter().filter(|(name, _)| !said.contains(name));
        names.extend(own.map(|(name, place)| (NO_DOMAIN, *name, vec![*place])));
        self.lines = vec![EMPTY; names.len() + names.len() / 2 + 1];
        for (domain, name, places) in names {
            let line = self.new_line(facts.texts.get(name), domain, &places);
            self.insert(line, facts.texts.get(name));
        }
    }

    fn new_line(&mut self, name: &str, domain: u32, places: &[u32]) -> Line {
        let mut line = Line { domain, count: u16::try_from(places.len()).unwrap_or(0), ..EMPTY };
        match line.name.get_mut(..name.len()) {
            Some(room) => {
                room.copy_from_slice(name.as_bytes());
                line.name_len = u16::try_from(name.len()).unwrap_or(LONG);
            }
            None => {
                let start = self.long_names.len();
                self.long_names.extend_from_slice(name.as_bytes());
                let ends = [length(start), length(self.long_names.len())].concat();
                line.name.iter_mut().zip(ends).for_each(|(room, byte)| *room = byte);
                line.name_len = LONG;
            }
        }
        match line.blocks.get_mut(..places.len()) {
            Some(room) => room.copy_from_slice(places),
            None => {
                line.blocks =
                    [u32::try_from(self.long_places.len()).unwrap_or(u32::MAX); BLOCKS_INLINE];
                self.long_places.extend_from_slice(places);
            }
        }
        line
    }

    fn insert(&mut self, line: Line, name: &str) {
        let len = self.lines.len();
        let home = place(self.hasher.hash_one((line.domain, name)), len);
        let mut places = (home..len).chain(0..home);
        let free = places.find(|at| self.lines.get(*at).is_some_and(|line| line.count == 0));
        if let Some(room) = free.and_then(|at| self.lines.get_mut(at)) {
            *room = line;
        }
    }

    /// Moves the blocks so that the first begins on a line of the cache.
    fn align(&mut self) {
        self.bytes.shrink_to_fit();
        let len = self.bytes.len();
        self.bytes.reserve_exact(LINE_BYTES);
        self.base = self.bytes.as_ptr().align_offset(LINE_BYTES).min(LINE_BYTES);
        self.bytes.resize(len + self.base, 0);
        self.bytes.rotate_right(self.base);
    }
}

fn length(len: usize) -> [u8; 4] {
    u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes()
}
