//! Shapes that are found by another path than the first of their kind.
//!
//! *Enters*: the path that each shape was given. *Leaves*: how many of a kind are found by which.
//! *Invariant*: the counts of a kind are those of its shapes that are here. Most shapes have one way to be found, and
//! cost nothing here.

use std::collections::HashMap;

use super::KindKey;
use crate::plan::ShapeId;

/// So many paths of a kind are told apart; the last stands for all others.
const PATHS_MAX: usize = 32;

#[derive(Default)]
pub(super) struct Elsewhere {
    /// In words, and how many shapes.
    paths: HashMap<KindKey, Vec<(Box<str>, usize)>>,
    /// The kind's path, by place.
    of: HashMap<ShapeId, u8>,
}

impl Elsewhere {
    pub(super) fn insert(&mut self, kind: KindKey, shape: ShapeId, path: Box<str>) {
        let paths = self.paths.entry(kind).or_default();
        let known = paths.iter().position(|(one, _)| *one == path);
        let at = known.unwrap_or_else(|| {
            let last = PATHS_MAX - 1;
            match paths.len() {
                len if len < last => paths.push((path, 0)),
                len if len == last => paths.push(("others".into(), 0)),
                _ => {}
            }
            paths.len() - 1
        });
        paths[at].1 += 1;
        self.of.insert(shape, at as u8);
    }

    pub(super) fn remove(&mut self, kind: KindKey, shape: ShapeId) {
        let Some(at) = self.of.remove(&shape) else { return };
        let Some(paths) = self.paths.get_mut(&kind) else { return };
        paths[usize::from(at)].1 -= 1;
        if paths.iter().all(|(_, shapes)| *shapes == 0) {
            self.paths.remove(&kind);
        }
    }

    /// Paths of a kind that shapes of it are found by.
    pub(super) fn paths(&self, kind: KindKey) -> impl Iterator<Item = (&str, usize)> {
        let paths = self.paths.get(&kind).into_iter().flatten();
        paths.map(|(path, shapes)| (&**path, *shapes)).filter(|(_, shapes)| *shapes > 0)
    }
}
