//! Shapes that are found by another path than the first of their kind.
//!
//! *Enters*: the path of each such shape. *Leaves*: how many of a kind are found by which.
//! *Invariant*: the counts of a kind are those of its shapes that are here. Most shapes have one way to be found, and
//! cost nothing here.

use std::collections::HashMap;

use super::KindKey;
use crate::plan::ShapeId;

/// So many paths of a kind are told apart; the last stands for all others.
const PATHS_MAX: usize = 32;

#[derive(Default)]
pub(super) struct Elsewhere {
    paths: HashMap<KindKey, Vec<Other>>,
    /// The kind's path, by place.
    of: HashMap<ShapeId, u8>,
}

/// Another path than the first.
struct Other {
    sign: u64,
    words: Box<str>,
    shapes: usize,
}

impl Elsewhere {
    pub(super) fn insert(
        &mut self,
        kind: KindKey,
        shape: ShapeId,
        sign: u64,
        words: impl FnOnce() -> Box<str>,
    ) {
        let paths = self.paths.entry(kind).or_default();
        let known = paths.iter().position(|one| one.sign == sign);
        let at = known.unwrap_or_else(|| {
            let last = PATHS_MAX - 1;
            match paths.len() {
                len if len < last => paths.push(Other { sign, words: words(), shapes: 0 }),
                len if len == last => {
                    paths.push(Other { sign: 0, words: "others".into(), shapes: 0 });
                }
                _ => {}
            }
            paths.len() - 1
        });
        paths[at].shapes += 1;
        self.of.insert(shape, at as u8);
    }

    pub(super) fn remove(&mut self, kind: KindKey, shape: ShapeId) {
        let Some(at) = self.of.remove(&shape) else { return };
        let Some(paths) = self.paths.get_mut(&kind) else { return };
        paths[usize::from(at)].shapes -= 1;
        if paths.iter().all(|path| path.shapes == 0) {
            self.paths.remove(&kind);
        }
    }

    /// Paths of a kind that shapes of it are found by.
    pub(super) fn paths(&self, kind: KindKey) -> impl Iterator<Item = (&str, usize)> {
        let paths = self.paths.get(&kind).into_iter().flatten();
        paths.filter(|path| path.shapes > 0).map(|path| (&*path.words, path.shapes))
    }
}
