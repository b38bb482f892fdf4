//! Plans by what a text must begin with, and by what must be somewhere in it.
//!
//! *Invariant*: a text finds every plan whose prefix it begins with, or whose fragment it has. A plan
//! stands under one piece of its fragment, the one that fewest others stand under then; so it may be
//! found for texts that have the piece and not the fragment.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::buckets::Buckets;
use crate::plan::{ShapeId, ShapePlan};

/// Bytes of a prefix that are looked up: more would cost every row a look-up for each length, and
/// the predicate reads the rest.
const PREFIX_BYTES_MAX: usize = 64;

/// Lengths of pieces, bytes: the longest that a fragment has is taken.
const PIECES: [usize; 5] = [8, 4, 3, 2, 1];

/// By prefix: one look-up for each length that there is. A map for each, since a prefix of one length must not be taken
/// for one of another that has its hash: nobody would look for its length.
#[derive(Default)]
pub(crate) struct Prefixes {
    by_length: BTreeMap<usize, Buckets>,
}

impl Prefixes {
    fn cut(prefix: &[u8]) -> &[u8] {
        &prefix[..prefix.len().min(PREFIX_BYTES_MAX)]
    }

    pub(crate) fn insert(&mut self, prefix: &[u8], plan: &Arc<ShapePlan>) {
        let prefix = Prefixes::cut(prefix);
        self.by_length.entry(prefix.len()).or_default().insert(prefix, plan);
    }

    pub(crate) fn remove(&mut self, prefix: &[u8], shape: ShapeId) {
        let prefix = Prefixes::cut(prefix);
        let Some(plans) = self.by_length.get_mut(&prefix.len()) else { return };
        plans.remove(prefix, shape);
        if plans.is_empty() {
            self.by_length.remove(&prefix.len());
        }
    }

    pub(crate) fn crowd(&self, prefix: &[u8]) -> usize {
        let prefix = Prefixes::cut(prefix);
        self.by_length.get(&prefix.len()).map_or(0, |plans| plans.get(prefix).len())
    }

    pub(crate) fn find<'a>(&'a self, text: &[u8]) -> impl Iterator<Item = &'a [Arc<ShapePlan>]> {
        let lengths = self.by_length.iter().take_while(|(length, _)| **length <= text.len());
        lengths.map(move |(length, plans)| plans.get(&text[..*length]))
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<ShapePlan>> {
        self.by_length.values().flat_map(Buckets::all)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_length.is_empty()
    }
}

/// By fragment: every piece of a row's text is looked up.
#[derive(Default)]
pub(crate) struct Fragments {
    by_piece: [Buckets; PIECES.len()],
}

impl Fragments {
    /// Which pieces a fragment has.
    fn pieces(fragment: &[u8]) -> Option<(usize, impl Iterator<Item = &[u8]>)> {
        let at = PIECES.iter().position(|length| *length <= fragment.len())?;
        Some((at, fragment.windows(PIECES[at])))
    }

    pub(crate) fn insert(&mut self, fragment: &[u8], plan: &Arc<ShapePlan>) {
        let Some((at, pieces)) = Fragments::pieces(fragment) else { return };
        let buckets = &mut self.by_piece[at];
        if let Some(piece) = pieces.min_by_key(|piece| buckets.get(piece).len()) {
            buckets.insert(piece, plan);
        }
    }

    pub(crate) fn remove(&mut self, fragment: &[u8], shape: ShapeId) {
        let Some((at, pieces)) = Fragments::pieces(fragment) else { return };
        // Which one it was is not remembered.
        pieces.for_each(|piece| self.by_piece[at].remove(piece, shape));
    }

    pub(crate) fn crowd(&self, fragment: &[u8]) -> usize {
        let Some((at, pieces)) = Fragments::pieces(fragment) else { return usize::MAX };
        pieces.map(|piece| self.by_piece[at].get(piece).len()).min().unwrap_or(0)
    }

    pub(crate) fn find<'a>(&'a self, text: &'a [u8]) -> impl Iterator<Item = &'a [Arc<ShapePlan>]> {
        let kinds = PIECES.iter().zip(&self.by_piece).filter(|(_, buckets)| !buckets.is_empty());
        kinds.flat_map(|(length, buckets)| text.windows(*length).map(|piece| buckets.get(piece)))
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<ShapePlan>> {
        self.by_piece.iter().flat_map(Buckets::all)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_piece.iter().all(Buckets::is_empty)
    }
}
