//! How a shape is found, for people.
//!
//! *Enters*: the look-ups that were chosen for a shape. *Leaves*: words, and a number that tells two paths apart without
//! any: shapes come by the hundred thousand, and hardly one of them is ever looked at.

use std::hash::{DefaultHasher, Hash, Hasher};

use brooklet_sql::{Access, Alternative, TableSchema};

/// Something besides the own values of rows that finds a shape.
pub(crate) struct Otherwise<'a> {
    /// Of shapes that differ in constants only, equal ones are one path: the words of the first stand for it.
    pub(crate) tests: &'a [usize],
    pub(crate) words: &'a dyn Fn() -> String,
}

pub(super) struct Path<'a> {
    pub(super) access: &'a Access,
    /// One of its alternatives.
    pub(super) chosen: Option<&'a Alternative>,
    pub(super) otherwise: Option<&'a Otherwise<'a>>,
}

impl Path<'_> {
    /// Different where the words are, but for a chance of one in 2^64; hardly ever different where they are not.
    pub(super) fn sign(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (*self.access == Access::Nothing).hash(&mut hasher);
        self.otherwise.map(|one| one.tests).hash(&mut hasher);
        let probes = self.chosen.map_or(&[][..], |alternative| &alternative.probes);
        let look_ups = probes.iter().map(|probe| (probe.want.word(), probe.source.name()));
        let mut last = None;
        for look_up in look_ups {
            // A list has one for each of its elements.
            if last != Some(look_up) {
                look_up.hash(&mut hasher);
                last = Some(look_up);
            }
        }
        hasher.finish()
    }

    pub(super) fn words(&self, table: &TableSchema) -> Box<str> {
        let otherwise = || self.otherwise.map(|one| (one.words)());
        let words = match (self.access, self.chosen) {
            (Access::Nothing, _) => otherwise().unwrap_or_else(|| "nothing matches".to_owned()),
            (_, None) => "every row".to_owned(),
            (_, Some(alternative)) => {
                let first = otherwise().map(|path| format!("{path} or ")).unwrap_or_default();
                first + &alternative.describe(table)
            }
        };
        words.into()
    }
}
