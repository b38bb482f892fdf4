//! Plans by the range that a row's key must lie in.
//!
//! *Enters*: ranges, bounds included, of plans that come and go. *Leaves*: the plans whose range a key
//! lies in. *Invariant*: a B-tree in the order of (low, high); beside each page stands the highest end in
//! it, so pages in which nothing can be found are not looked at. Coming and going costs the logarithm of
//! the number of ranges, finding that and what is found.
//!
//! Pages and not a binary tree: a key is looked for in every change, and what that costs is waiting for
//! memory. A page's bounds lie side by side, and three or four pages lead to one of 100,000 ranges; each
//! counts as a step. A range of eight-byte keys takes 32 bytes; two neighbours are never less than
//! half a page together.

use std::cmp::Ordering;
use std::sync::Arc;

use super::held::Held;
use crate::plan::{ShapeId, ShapePlan};

/// A bound.
pub(crate) trait Edge: Ord + Clone {
    /// What rows have.
    type Key: ?Sized;

    fn compare(&self, key: &Self::Key) -> Ordering;
    fn bottom() -> Self;
    fn top() -> Self;
    fn at(bytes: &[u8]) -> Self;
}

impl Edge for u64 {
    type Key = u64;

    fn compare(&self, key: &u64) -> Ordering {
        self.cmp(key)
    }

    fn bottom() -> u64 {
        u64::MIN
    }

    fn top() -> u64 {
        u64::MAX
    }

    fn at(bytes: &[u8]) -> u64 {
        narrow(bytes)
    }
}

/// Eight bytes as the number in the same order.
pub(crate) fn narrow(bytes: &[u8]) -> u64 {
    let mut number = [0; 8];
    let length = bytes.len().min(8);
    number[..length].copy_from_slice(&bytes[..length]);
    u64::from_be_bytes(number)
}

/// Bytes of any length, or what is above all.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wide {
    /// The first eight bytes, in the order of numbers, say mostly what all of them say.
    At(u64, Box<[u8]>),
    Top,
}

impl Edge for Wide {
    type Key = [u8];

    fn compare(&self, key: &[u8]) -> Ordering {
        match self {
            Wide::At(head, bytes) => head.cmp(&narrow(key)).then_with(|| (**bytes).cmp(key)),
            Wide::Top => Ordering::Greater,
        }
    }

    fn bottom() -> Wide {
        Wide::at(&[])
    }

    fn top() -> Wide {
        Wide::Top
    }

    fn at(bytes: &[u8]) -> Wide {
        Wide::At(narrow(bytes), bytes.into())
    }
}

/// Entries at which a page is split: bounds of eight bytes fill eight lines of a processor's cache.
const FULL: usize = 32;

/// The ranges.
pub(crate) struct Intervals<E> {
    root: Page<E>,
}

/// A part of the order.
struct Page<E> {
    /// Of plans their ranges, of pages the first range in each.
    ranges: Vec<(E, E)>,
    below: Below<E>,
}

enum Below<E> {
    Plans(Vec<Held>),
    Pages {
        /// The highest end in each.
        tops: Vec<E>,
        pages: Vec<Page<E>>,
    },
}

impl<E> Default for Intervals<E> {
    fn default() -> Intervals<E> {
        Intervals { root: Page { ranges: Vec::new(), below: Below::Plans(Vec::new()) } }
    }
}

impl<E: Edge> Intervals<E> {
    pub(crate) fn is_empty(&self) -> bool {
        self.root.ranges.is_empty()
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<ShapePlan>> {
        self.root.all()
    }

    pub(crate) fn insert(&mut self, low: E, high: E, plan: &Arc<ShapePlan>, steps: &mut u64) {
        let Some(right) = self.root.insert((low, high), plan, steps) else { return };
        let left = std::mem::replace(&mut self.root, Intervals::default().root);
        let both = [left, right];
        self.root = Page {
            ranges: both.iter().filter_map(Page::first).collect(),
            below: Below::Pages {
                tops: both.iter().filter_map(Page::top).collect(),
                pages: both.into(),
            },
        };
    }

    pub(crate) fn remove(&mut self, low: &E, high: &E, shape: ShapeId, steps: &mut u64) {
        self.root.remove(&(low.clone(), high.clone()), shape, steps);
        while let Below::Pages { pages, .. } = &mut self.root.below
            && pages.len() < 2
        {
            self.root = pages.pop().unwrap_or_else(|| Intervals::default().root);
        }
    }

    /// Shows the plans whose range holds a key, until `visit` says that it is enough.
    pub(crate) fn find<'a>(
        &'a self,
        key: &E::Key,
        steps: &mut u64,
        visit: &mut impl FnMut(&'a [Arc<ShapePlan>]) -> bool,
    ) {
        // Most have none, and a row may bring a hundred thousand keys.
        if !self.is_empty() {
            self.root.find(key, steps, visit);
        }
    }
}

impl<E: Edge> Page<E> {
    fn all(&self) -> Box<dyn Iterator<Item = &Arc<ShapePlan>> + '_> {
        match &self.below {
            Below::Plans(plans) => Box::new(plans.iter().flat_map(Held::as_slice)),
            Below::Pages { pages, .. } => Box::new(pages.iter().flat_map(Page::all)),
        }
    }

    /// Says whether to go on.
    fn find<'a>(
        &'a self,
        key: &E::Key,
        steps: &mut u64,
        visit: &mut impl FnMut(&'a [Arc<ShapePlan>]) -> bool,
    ) -> bool {
        *steps += 1;
        // One after another: a search by halves would wait for memory at each step, this does not.
        let reached = self.ranges.iter().take_while(|(low, _)| low.compare(key).is_le());
        match &self.below {
            Below::Plans(plans) => {
                let mut held =
                    reached.zip(plans).filter(|((_, high), _)| high.compare(key).is_ge());
                held.all(|(_, plans)| visit(plans.as_slice()))
            }
            Below::Pages { tops, pages } => {
                let below = reached.zip(tops).zip(pages);
                let mut held = below.filter(|((_, top), _)| top.compare(key).is_ge());
                held.all(|(_, page)| page.find(key, steps, visit))
            }
        }
    }

    /// Gives what comes behind this page from now on, if it was full.
    fn insert(&mut self, range: (E, E), plan: &Arc<ShapePlan>, steps: &mut u64) -> Option<Page<E>> {
        *steps += 1;
        let at = match &mut self.below {
            Below::Plans(plans) => match self.ranges.binary_search(&range) {
                Ok(at) => {
                    plans[at].insert(plan);
                    return None;
                }
                Err(at) => {
                    self.ranges.insert(at, range);
                    plans.insert(at, Held::new(plan));
                    at
                }
            },
            Below::Pages { tops, pages } => {
                let at = self.ranges.partition_point(|first| *first <= range).saturating_sub(1);
                let new = pages[at].insert(range, plan, steps);
                match new.and_then(|page| Some((page.first()?, page.top()?, page))) {
                    None => self.refresh(at),
                    Some((first, top, page)) => {
                        self.ranges.insert(at + 1, first);
                        tops.insert(at + 1, top);
                        pages.insert(at + 1, page);
                        self.refresh(at);
                        self.settle(at + 1);
                        self.settle(at);
                    }
                }
                at + 1
            }
        };
        let entries = self.ranges.len();
        // What comes in order leaves full pages behind it.
        (entries == FULL).then(|| match at {
            0 => self.split(1),
            at if at + 1 == entries => self.split(at),
            _ => self.split(entries / 2),
        })
    }

    fn remove(&mut self, range: &(E, E), shape: ShapeId, steps: &mut u64) {
        *steps += 1;
        match &mut self.below {
            Below::Plans(plans) => {
                if let Ok(at) = self.ranges.binary_search(range)
                    && plans[at].remove(shape)
                {
                    self.ranges.remove(at);
                    plans.remove(at);
                }
            }
            Below::Pages { pages, .. } => {
                let behind = self.ranges.partition_point(|first| first <= range);
                let Some(at) = behind.checked_sub(1) else { return };
                pages[at].remove(range, shape, steps);
                self.settle(at);
            }
        }
    }

    /// After a page has become smaller: it goes if it is empty, and what two together fill by half at
    /// most becomes one.
    fn settle(&mut self, at: usize) {
        self.refresh(at);
        let Below::Pages { tops, pages } = &mut self.below else { return };
        let fits = |left: &usize| match pages.get(*left..left + 2) {
            Some([left, right]) => left.ranges.len() + right.ranges.len() <= FULL / 2,
            _ => false,
        };
        let gone = match [Some(at), at.checked_sub(1)].into_iter().flatten().find(fits) {
            _ if pages[at].ranges.is_empty() => at,
            None => return,
            Some(left) => {
                let right = pages[left + 1].take();
                pages[left].absorb(right);
                left + 1
            }
        };
        self.ranges.remove(gone);
        tops.remove(gone);
        pages.remove(gone);
        if let Some(left) = gone.checked_sub(1) {
            self.refresh(left);
        }
    }

    /// Notes a page's first range and highest end anew, after it has changed.
    fn refresh(&mut self, at: usize) {
        let Below::Pages { tops, pages } = &mut self.below else { return };
        let page = &pages[at];
        if let (Some(first), Some(top)) = (page.first(), page.top()) {
            self.ranges[at] = first;
            tops[at] = top;
        }
    }

    fn first(&self) -> Option<(E, E)> {
        self.ranges.first().cloned()
    }

    /// The highest end.
    fn top(&self) -> Option<E> {
        match &self.below {
            Below::Plans(_) => self.ranges.iter().map(|(_, high)| high).max().cloned(),
            Below::Pages { tops, .. } => tops.iter().max().cloned(),
        }
    }

    /// Keeps what comes before an entry, gives the rest.
    fn split(&mut self, at: usize) -> Page<E> {
        let below = match &mut self.below {
            Below::Plans(plans) => Below::Plans(plans.split_off(at)),
            Below::Pages { tops, pages } => {
                Below::Pages { tops: tops.split_off(at), pages: pages.split_off(at) }
            }
        };
        Page { ranges: self.ranges.split_off(at), below }
    }

    fn take(&mut self) -> Page<E> {
        self.split(0)
    }

    /// Adds what comes behind this page; it is as deep.
    fn absorb(&mut self, right: Page<E>) {
        self.ranges.extend(right.ranges);
        match (&mut self.below, right.below) {
            (Below::Plans(own), Below::Plans(plans)) => own.extend(plans),
            (Below::Pages { tops, pages }, Below::Pages { tops: more_tops, pages: more_pages }) => {
                tops.extend(more_tops);
                pages.extend(more_pages);
            }
            _ => unreachable!("pages of one depth"),
        }
    }
}

#[cfg(test)]
mod tests {
    use brooklet_sql::{RelationName, TableSchema};

    use super::*;
    use crate::plan::Selection;

    fn plans(count: u64) -> Vec<Arc<ShapePlan>> {
        let name = RelationName { schema: "public".into(), table: "t".into() };
        let (columns, unique) = (Vec::new(), Vec::new());
        let table = Arc::new(TableSchema { oid: 1, name, columns, partitioned: false, unique });
        let (columns, key) = ([].into(), [].into());
        let selection = Arc::new(Selection { table, columns, key, listed: true });
        let plan = |id| {
            let selection = Arc::clone(&selection);
            Arc::new(ShapePlan { id: ShapeId(id), selection, predicate: None })
        };
        (0..count).map(plan).collect()
    }

    /// Everything that must hold of a page besides; gives its depth and the pages in all.
    fn check<E: Edge>(page: &Page<E>, is_root: bool) -> (usize, usize) {
        assert!(page.ranges.is_sorted() && page.ranges.len() < FULL);
        assert!(is_root || !page.ranges.is_empty());
        let Below::Pages { tops, pages } = &page.below else { return (0, 1) };
        assert!(!is_root || pages.len() > 1);
        for (at, below) in pages.iter().enumerate() {
            assert!(below.first().as_ref() == Some(&page.ranges[at]), "the first range");
            assert!(below.top().as_ref() == Some(&tops[at]), "the highest end");
        }
        for two in pages.windows(2) {
            assert!(two[0].ranges.len() + two[1].ranges.len() > 1 + FULL / 4, "sparse neighbours");
        }
        let below: Vec<_> = pages.iter().map(|page| check(page, false)).collect();
        assert!(below.iter().all(|(depth, _)| *depth == below[0].0), "pages of one depth");
        (below[0].0 + 1, 1 + below.iter().map(|(_, pages)| pages).sum::<usize>())
    }

    /// Ranges that come and go, against a list of them; gives the most that coming, going and finding
    /// nothing looked at.
    fn agrees<E: Edge>(
        range: impl Fn(u64) -> (u64, u64),
        find: impl Fn(&Intervals<E>, u64, &mut u64) -> Vec<u64>,
    ) -> u64 {
        let edge = |end: u64| E::at(&end.to_be_bytes());
        let (plans, mut ranges, mut worst) = (plans(3_000), Intervals::<E>::default(), 0);
        let mut live: Vec<(u64, u64, usize)> = Vec::new();
        let mut order: Vec<usize> = (0..plans.len()).collect();
        for round in 0..3 {
            for (at, plan) in plans.iter().enumerate() {
                let (low, high) = range(at as u64);
                live.push((low, high, at));
                let mut steps = 0;
                ranges.insert(edge(low), edge(high), plan, &mut steps);
                worst = worst.max(steps);
                ranges.insert(edge(low), edge(high), plan, &mut steps);
            }
            check(&ranges.root, true);
            assert_eq!(ranges.all().count(), plans.len());
            // They go in their order, against it, and in none.
            match round {
                0 => {}
                1 => order.reverse(),
                _ => order.sort_by_key(|at| (*at as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)),
            }
            for (gone, at) in order.iter().enumerate() {
                if gone % 400 == 0 {
                    check(&ranges.root, true);
                    for key in (0..60).map(|at| at * 60).chain([u64::MAX]) {
                        let mut steps = 0;
                        let found = find(&ranges, key, &mut steps);
                        let holds =
                            live.iter().filter(|(low, high, _)| (*low..=*high).contains(&key));
                        let mut expected: Vec<u64> = holds.map(|(.., at)| *at as u64).collect();
                        expected.sort_unstable();
                        assert_eq!(found, expected, "{key} in round {round}, {gone} gone");
                        worst = worst.max(steps.saturating_sub(found.len() as u64));
                    }
                }
                let (low, high) = range(*at as u64);
                let mut steps = 0;
                ranges.remove(&edge(low), &edge(high), ShapeId(u64::MAX), &mut steps);
                ranges.remove(&edge(low), &edge(high), plans[*at].id, &mut steps);
                worst = worst.max(steps / 2);
                live.retain(|(.., other)| other != at);
            }
            assert!(ranges.is_empty() && ranges.all().next().is_none());
        }
        worst
    }

    #[test]
    fn whatever_comes_and_goes_keys_find_the_ranges_they_lie_in() {
        let scattered = |at: u64| at.wrapping_mul(2_654_435_761) % 3_000;
        let shapes: [&dyn Fn(u64) -> (u64, u64); 7] = [
            &|at| (at, at),
            &|at| (3_000 - at, 3_004 - at),
            // Behind one that is before all.
            &|at| if at < 40 { (0, at) } else { (3_000 - at, 3_020 - at) },
            &|at| (scattered(at), scattered(at) + at % 7),
            // All from one place, and all to one.
            &|at| (5, scattered(at)),
            &|at| (scattered(at), 3_000),
            // Few that many want; one holds almost everything.
            &|at| if at == 77 { (1, u64::MAX) } else { (at % 20, at % 20 + 100) },
        ];
        for range in shapes {
            let ids = |plans: &[Arc<ShapePlan>], found: &mut Vec<u64>| {
                found.extend(plans.iter().map(|plan| plan.id.0));
                true
            };
            let narrow = agrees::<u64>(range, |ranges, key, steps| {
                let mut found = Vec::new();
                ranges.find(&key, steps, &mut |plans| ids(plans, &mut found));
                found.sort_unstable();
                found
            });
            let wide = agrees::<Wide>(range, |ranges, key, steps| {
                let mut found = Vec::new();
                ranges.find(&key.to_be_bytes(), steps, &mut |plans| ids(plans, &mut found));
                found.sort_unstable();
                found
            });
            assert_eq!(narrow, wide);
            assert!(narrow <= 8, "{narrow} pages on the way to one of 3,000 ranges");
        }
    }

    #[test]
    fn two_neighbours_fill_half_a_page_whatever_the_order() {
        for backwards in [false, true] {
            let (plans, mut ranges, mut steps) = (plans(20_000), Intervals::<u64>::default(), 0);
            ranges.insert(0, 0, &plans[0], &mut steps);
            for at in 1..plans.len() as u64 {
                let low = if backwards { 1_000_000 - at } else { at };
                ranges.insert(low, low + 5, &plans[at as usize], &mut steps);
            }
            let (depth, pages) = check(&ranges.root, true);
            assert!(depth <= 3 && pages <= 20_000 / 8, "{pages} pages, {depth} deep");
        }
    }
}
