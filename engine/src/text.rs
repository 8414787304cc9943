//! Interned text: every distinct cell and name of a policy once, with a small id.
//!
//! The hash only finds the place; the text is always compared, so a collision costs time and never
//! an answer. The seed is an argument: nothing here draws random numbers. A copy shares what it was copied from, and
//! keeps what it interns later beside it.

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use std::hash::BuildHasher;
use std::sync::Arc;

/// Text to id and back.
#[derive(Clone)]
pub(crate) struct Texts {
    hasher: FixedState,
    shared: Arc<Layer>,
    /// What was interned after the rest was shared; its ids follow.
    own: Layer,
}

#[derive(Clone, Default)]
struct Layer {
    ids: HashTable<u32>,
    arena: String,
    ends: Vec<u32>,
}

impl std::fmt::Debug for Texts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let count = self.shared.ends.len() + self.own.ends.len();
        f.debug_struct("Texts").field("count", &count).finish_non_exhaustive()
    }
}

impl Texts {
    pub(crate) fn new(seed: u64) -> Texts {
        let hasher = FixedState::with_seed(seed);
        Texts { hasher, shared: Arc::default(), own: Layer::default() }
    }

    /// The id of `text`, made if it is new.
    pub(crate) fn intern(&mut self, text: &str) -> u32 {
        let hash = self.hasher.hash_one(text);
        if let Some(id) = self.find_hashed(hash, text) {
            return id;
        }
        let first_own = self.first_own();
        match Arc::get_mut(&mut self.shared).filter(|_| self.own.ends.is_empty()) {
            Some(layer) => layer.put(&self.hasher, hash, text),
            None => first_own.saturating_add(self.own.put(&self.hasher, hash, text)),
        }
    }

    /// The id of `text`, if any row or link holds it.
    pub(crate) fn find(&self, text: &str) -> Option<u32> {
        self.find_hashed(self.hasher.hash_one(text), text)
    }

    fn find_hashed(&self, hash: u64, text: &str) -> Option<u32> {
        let found = self.shared.find(hash, text);
        if found.is_some() || self.own.ends.is_empty() {
            return found;
        }
        self.own.find(hash, text).map(|id| id.saturating_add(self.first_own()))
    }

    /// The text of an id.
    pub(crate) fn get(&self, id: u32) -> &str {
        match id.checked_sub(self.first_own()) {
            None => self.shared.get(id),
            Some(id) => self.own.get(id),
        }
    }

    /// Whether an id is one of those that were interned after the rest was shared.
    pub(crate) fn is_own(&self, id: u32) -> bool {
        id >= self.first_own()
    }

    fn first_own(&self) -> u32 {
        u32::try_from(self.shared.ends.len()).unwrap_or(u32::MAX)
    }

    /// Gives back the room that no text took.
    pub(crate) fn shrink(&mut self) {
        if let Some(layer) = Arc::get_mut(&mut self.shared) {
            layer.arena.shrink_to_fit();
            layer.ends.shrink_to_fit();
            let (hasher, arena, ends) = (&self.hasher, &layer.arena, &layer.ends);
            layer.ids.shrink_to_fit(|id| hasher.hash_one(slice(arena, ends, *id)));
        }
    }

    pub(crate) fn hasher(&self) -> FixedState {
        self.hasher.clone()
    }
}

impl Layer {
    fn put(&mut self, hasher: &FixedState, hash: u64, text: &str) -> u32 {
        let id = u32::try_from(self.ends.len()).unwrap_or(u32::MAX);
        self.arena.push_str(text);
        self.ends.push(u32::try_from(self.arena.len()).unwrap_or(u32::MAX));
        let (arena, ends) = (&self.arena, &self.ends);
        self.ids.insert_unique(hash, id, |id| hasher.hash_one(slice(arena, ends, *id)));
        id
    }

    fn find(&self, hash: u64, text: &str) -> Option<u32> {
        self.ids.find(hash, |id| self.get(*id) == text).copied()
    }

    fn get(&self, id: u32) -> &str {
        slice(&self.arena, &self.ends, id)
    }
}

fn slice<'a>(arena: &'a str, ends: &[u32], id: u32) -> &'a str {
    let end_of = |index: u32| ends.get(index as usize).map_or(0, |end| *end as usize);
    let start = if id == 0 { 0 } else { end_of(id - 1) };
    arena.get(start..end_of(id)).unwrap_or("")
}

/// Bytes of a word that stand in place.
const WORD_BYTES: usize = 23;

/// A text that is only compared; a short one is compared without looking elsewhere.
#[derive(Debug, Clone)]
pub(crate) struct Word {
    first: [u8; WORD_BYTES],
    len: u8,
    long: Box<str>,
}

impl Word {
    pub(crate) fn new(text: &str) -> Word {
        let mut first = [0; WORD_BYTES];
        match first.get_mut(..text.len()) {
            Some(place) => {
                place.copy_from_slice(text.as_bytes());
                Word { first, len: u8::try_from(text.len()).unwrap_or(u8::MAX), long: "".into() }
            }
            None => Word { first, len: u8::MAX, long: text.into() },
        }
    }

    pub(crate) fn is(&self, text: &str) -> bool {
        match self.first.get(..usize::from(self.len)) {
            Some(short) => short == text.as_bytes(),
            None => self.long.as_ref() == text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Texts, Word};

    #[test]
    fn a_word_is_its_text_and_no_other() {
        for text in ["", "a", &"b".repeat(23), &"b".repeat(24), &"c".repeat(300)] {
            let word = Word::new(text);
            assert!(word.is(text));
            assert!(!word.is(&format!("{text}x")) && !word.is("other"), "{text}");
        }
    }

    #[test]
    fn a_text_has_one_id_and_an_unknown_one_none() {
        let mut texts = Texts::new(7);
        let ids: Vec<u32> = ["", "a", "bc", "a", ""].iter().map(|t| texts.intern(t)).collect();
        assert_eq!(ids, [0, 1, 2, 1, 0]);
        assert_eq!((texts.get(2), texts.get(0)), ("bc", ""));
        assert_eq!(texts.find("b"), None);
        let mut copy = texts.clone();
        let ids: Vec<u32> = ["d", "bc", "e", "d"].iter().map(|t| copy.intern(t)).collect();
        assert_eq!(ids, [3, 2, 4, 3], "new texts follow those that are shared");
        assert_eq!((copy.get(3), copy.get(4), copy.find("e")), ("d", "e", Some(4)));
        drop(texts);
        assert_eq!((copy.intern("f"), copy.get(5), copy.find("x")), (5, "f", None));
    }
}
