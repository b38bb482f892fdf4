//! Multiranges: sets of ranges.

use std::cmp::Ordering;

use super::{Range, Span};
use crate::datum::Datum;

/// Ranges in order, none empty, none touching the next.
#[derive(Debug, Clone)]
pub(crate) struct Multirange(Vec<Span>);

impl Multirange {
    /// Of any ranges.
    pub(crate) fn new(ranges: impl IntoIterator<Item = Range>) -> Multirange {
        Multirange::of(ranges.into_iter().filter_map(|range| range.0).collect())
    }

    fn of(mut spans: Vec<Span>) -> Multirange {
        spans.sort_by(Span::compare);
        let mut kept: Vec<Span> = Vec::with_capacity(spans.len());
        for span in spans {
            match kept.last_mut() {
                Some(last) if last.overlaps(&span) || last.adjacent(&span) => {
                    *last = last.hull(&span);
                }
                _ => kept.push(span),
            }
        }
        Multirange(kept)
    }

    pub(crate) fn spans(&self) -> &[Span] {
        &self.0
    }

    /// From the first start to the last end.
    pub(crate) fn hull(&self) -> Option<Span> {
        let (first, last) = (self.0.first()?, self.0.last()?);
        Some(Span { lower: first.lower.clone(), upper: last.upper.clone() })
    }

    /// As if the shorter one had empty ranges at its end.
    pub(crate) fn compare(&self, other: &Multirange) -> Ordering {
        let orders = self.0.iter().zip(&other.0).map(|(left, right)| left.compare(right));
        orders.fold(Ordering::Equal, Ordering::then).then(self.0.len().cmp(&other.0.len()))
    }

    pub(crate) fn has(&self, value: &Datum) -> bool {
        self.0.iter().any(|span| span.has(value))
    }

    pub(crate) fn union(&self, other: &Multirange) -> Multirange {
        Multirange::of(self.0.iter().chain(&other.0).cloned().collect())
    }

    pub(crate) fn intersection(&self, other: &Multirange) -> Multirange {
        let pairs = self.0.iter().flat_map(|left| other.0.iter().map(move |right| (left, right)));
        let common = pairs.filter(|(left, right)| left.overlaps(right));
        Multirange::of(common.map(|(left, right)| left.common(right)).collect())
    }

    pub(crate) fn difference(&self, other: &Multirange) -> Multirange {
        let mut left = self.0.clone();
        for taken in &other.0 {
            left = left.iter().flat_map(|span| span.without(taken)).flatten().collect();
        }
        Multirange::of(left)
    }
}
