//! What the file has already: the numbers of forms, by template and text, and of templates, by table and definition.
//!
//! There may be as many as shapes. *Invariant*: one is looked up, put in or forgotten among a million at the cost of
//! one piece at most, since whoever does holds the catalogue.

use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher, Hash};

use hashbrown::DefaultHashBuilder;

use brooklet_dataflows::pieces::Pieces;

use crate::shapes::definition::Definition;

/// So many of what is in order are looked at together, which is about a piece of the others.
const AT_ONCE: usize = 1024;

/// Numbers by what they stand for.
pub(super) struct Numbers<K> {
    known: Pieces<(K, u32)>,
    hasher: DefaultHashBuilder,
}

impl<K> Default for Numbers<K> {
    fn default() -> Numbers<K> {
        Numbers { known: Pieces::default(), hasher: DefaultHashBuilder::default() }
    }
}

impl<K: Hash> Numbers<K> {
    pub(super) fn insert(&mut self, key: K, number: u32) {
        let Numbers { known, hasher } = self;
        let hash = |(key, _): &(K, u32)| hasher.hash_one(key);
        let entry = (key, number);
        known.insert(hash(&entry), entry, hash);
    }

    /// `asked` has the hash of what it is.
    fn find(&self, asked: impl Hash, is_it: impl Fn(&K) -> bool) -> Option<u32> {
        let found = self.known.find(self.hasher.hash_one(asked), |(key, _)| is_it(key));
        found.map(|(_, number)| *number)
    }

    /// Forgets those of a piece that are unused. Says how many were looked at, and which piece is next; `None` behind
    /// the last piece.
    pub(super) fn forget(&mut self, piece: u32, unused: &HashSet<u32>) -> Option<(usize, u32)> {
        let mut looked_at = 0;
        let there = self.known.retain_in(usize::try_from(piece).ok()?, |(_, number)| {
            looked_at += 1;
            !unused.contains(number)
        });
        there.then_some((looked_at, piece + 1))
    }
}

impl Numbers<(u32, String)> {
    pub(super) fn number(&self, template: u32, text: &str) -> Option<u32> {
        self.find((template, text), |known| known.0 == template && known.1 == text)
    }
}

impl Numbers<(u32, Definition)> {
    pub(super) fn number(&self, table: u32, definition: &Definition) -> Option<u32> {
        self.find((table, definition), |known| known.0 == table && known.1 == *definition)
    }
}

/// As [`Numbers::forget`], of what is kept by its number, from that on.
pub(super) fn forget<T>(
    all: &mut BTreeMap<u32, T>,
    from: u32,
    unused: &HashSet<u32>,
) -> Option<(usize, u32)> {
    let some: Vec<u32> = all.range(from..).take(AT_ONCE).map(|(number, _)| *number).collect();
    some.iter().filter(|number| unused.contains(number)).for_each(|number| _ = all.remove(number));
    Some((some.len(), some.last()? + 1))
}
