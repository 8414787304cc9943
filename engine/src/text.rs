//! Interned text: every distinct cell and name of a policy once, with a small id.
//!
//! The hash only finds the place; the text is always compared, so a collision costs time and never
//! an answer. The seed is an argument: nothing here draws random numbers.

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use std::hash::BuildHasher;

/// Text to id and back.
#[derive(Clone)]
pub(crate) struct Texts {
    hasher: FixedState,
    ids: HashTable<u32>,
    arena: String,
    ends: Vec<u32>,
}

impl std::fmt::Debug for Texts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Texts").field("count", &self.ends.len()).finish_non_exhaustive()
    }
}

impl Texts {
    pub(crate) fn new(seed: u64) -> Texts {
        let hasher = FixedState::with_seed(seed);
        Texts { hasher, ids: HashTable::new(), arena: String::new(), ends: Vec::new() }
    }

    /// The id of `text`, made if it is new.
    pub(crate) fn intern(&mut self, text: &str) -> u32 {
        if let Some(id) = self.find(text) {
            return id;
        }
        let id = u32::try_from(self.ends.len()).unwrap_or(u32::MAX);
        self.arena.push_str(text);
        self.ends.push(u32::try_from(self.arena.len()).unwrap_or(u32::MAX));
        let (hasher, arena, ends) = (&self.hasher, &self.arena, &self.ends);
        self.ids.insert_unique(hasher.hash_one(text), id, |id| {
            hasher.hash_one(slice(arena, ends, *id))
        });
        id
    }

    /// The id of `text`, if any row or link holds it.
    pub(crate) fn find(&self, text: &str) -> Option<u32> {
        self.ids.find(self.hasher.hash_one(text), |id| self.get(*id) == text).copied()
    }

    /// The text of an id.
    pub(crate) fn get(&self, id: u32) -> &str {
        slice(&self.arena, &self.ends, id)
    }

    /// Gives back the room that no text took.
    pub(crate) fn shrink(&mut self) {
        self.arena.shrink_to_fit();
        self.ends.shrink_to_fit();
        let (hasher, arena, ends) = (&self.hasher, &self.arena, &self.ends);
        self.ids.shrink_to_fit(|id| hasher.hash_one(slice(arena, ends, *id)));
    }

    pub(crate) fn hasher(&self) -> FixedState {
        self.hasher.clone()
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
    }
}
