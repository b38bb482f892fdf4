//! Which forms the file has already: their numbers, by template and text.
//!
//! There may be as many as shapes. *Invariant*: a form is looked up, put in or forgotten among a million at the cost of
//! one piece at most, since whoever does holds the catalogue.

use std::collections::HashSet;
use std::hash::BuildHasher;

use hashbrown::DefaultHashBuilder;

use brooklet_dataflows::pieces::Pieces;

/// See the module.
#[derive(Default)]
pub(super) struct Forms {
    forms: Pieces<(u32, String, u32)>,
    hasher: DefaultHashBuilder,
}

impl Forms {
    pub(super) fn number(&self, template: u32, text: &str) -> Option<u32> {
        let is_it = |form: &(u32, String, u32)| form.0 == template && form.1 == text;
        let found = self.forms.find(self.hasher.hash_one((template, text)), is_it);
        found.map(|(.., number)| *number)
    }

    pub(super) fn insert(&mut self, template: u32, text: String, number: u32) {
        let Forms { forms, hasher } = self;
        let hash = |(template, text, _): &(u32, String, u32)| hasher.hash_one((template, text));
        let form = (template, text, number);
        forms.insert(hash(&form), form, hash);
    }

    /// Forgets those of a piece that are unused. Says how many were looked at; `None` behind the last piece.
    pub(super) fn forget_in(&mut self, piece: usize, unused: &HashSet<u32>) -> Option<usize> {
        let mut looked_at = 0;
        let there = self.forms.retain_in(piece, |(.., number)| {
            looked_at += 1;
            !unused.contains(number)
        });
        there.then_some(looked_at)
    }
}
