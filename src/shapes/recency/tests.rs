//! The longest idle is found, whatever happens in between, and costs the same among many.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::maps::tests::shape;
use super::*;
use crate::storage::tests::rng::Rng;

struct All {
    maps: Maps,
    recency: Recency,
}

impl All {
    fn insert(&mut self, shape: &Arc<Shape>) {
        self.maps.insert(shape);
        self.recency.insert(shape);
    }

    fn remove(&mut self, id: ShapeId) {
        let shape = self.maps.remove(id).unwrap();
        self.recency.remove(&shape);
    }

    /// One that was last asked for so many seconds ago.
    fn idle_for(&mut self, id: u64, seconds: u64, complete: bool) -> Arc<Shape> {
        let shape = shape(id, 0, id as usize, complete);
        shape.age(Duration::from_secs(seconds));
        self.insert(&shape);
        shape
    }

    fn search(&mut self, looks: usize, most: usize) -> Vec<u64> {
        let (mut search, mut count) = (Search::new(looks), 0);
        let mut goes = |_: &Shape| {
            count += 1;
            count <= most
        };
        while search.go_on(&mut self.recency, &mut self.maps, &mut goes, 3) {}
        search.found.iter().map(|shape| shape.id().0).collect()
    }
}

fn all() -> All {
    All { maps: Maps::default(), recency: Recency::default() }
}

#[test]
fn the_longest_idle_are_those_that_a_walk_over_all_finds() {
    for seed in 0..20 {
        let (mut rng, mut all) = (Rng::new(seed), all());
        let mut shapes: BTreeMap<ShapeId, Arc<Shape>> = BTreeMap::new();
        for id in 1..400 {
            match rng.below(10) {
                0..6 => {
                    let shape = all.idle_for(id, 10 + rng.below(1_000_000) as u64, true);
                    shapes.insert(shape.id(), shape);
                }
                6..8 if !shapes.is_empty() => {
                    let at = rng.below(shapes.len());
                    let id = *shapes.keys().nth(at).unwrap();
                    all.remove(id);
                    // Somebody holds it still.
                    let gone = shapes.remove(&id).unwrap();
                    all.recency.use_anew(&gone);
                }
                _ => {
                    let at = rng.below(shapes.len().max(1));
                    if let Some(shape) = shapes.values().nth(at)
                        && !shape.note_use_within_second()
                    {
                        all.recency.use_anew(shape);
                    }
                }
            }
            let mut expected: Vec<(u32, u64)> = shapes
                .values()
                .map(|shape| {
                    (this_second().wrapping_sub(shape.asked_second()) << 6 >> 6, shape.id().0)
                })
                .collect();
            expected.sort_unstable_by_key(|(age, id)| (std::cmp::Reverse(*age), *id));
            let expected: Vec<u64> = expected.into_iter().map(|(_, id)| id).take(5).collect();
            assert_eq!(all.search(1_000, 5), expected, "seed {seed}");
        }
    }
}

#[test]
fn those_that_somebody_waits_for_go_last_and_those_being_made_never() {
    let mut all = all();
    let [waited_for, _making, idle, fresh] =
        [(1, 500, true), (2, 400, false), (3, 300, true), (4, 0, true)]
            .map(|(id, seconds, complete)| all.idle_for(id, seconds, complete));
    let waiter = waited_for.log.subscribe();
    assert_eq!(all.search(100, 1), [idle.id().0]);
    assert_eq!(all.search(100, 2), [idle.id().0, fresh.id().0]);
    assert_eq!(all.search(100, 9), [idle.id().0, fresh.id().0, waited_for.id().0]);
    drop(waiter);
    // Waiting is asking, too.
    assert!(waited_for.idle() < Duration::from_secs(100));
    assert_eq!(all.search(100, 1), [idle.id().0]);
}

#[test]
fn a_search_among_many_looks_at_as_few_as_among_few() {
    let looked_at = |shapes: u64| {
        let mut all = all();
        let mut waiters = Vec::new();
        for id in 1..=shapes {
            let shape = all.idle_for(id, 10 + id % 1_000, true);
            // The three oldest are waited for.
            if id % 1_000 == 999 && waiters.len() < 3 {
                waiters.push(shape.log.subscribe());
            }
        }
        let before = all.maps.steps();
        assert_eq!(all.search(1_000, 7).len(), 7);
        all.maps.steps() - before
    };
    let (few, many) = (looked_at(3_000), looked_at(12_000));
    assert!(few == many && many < 20, "{few} among 3,000, {many} among 12,000");
}

#[test]
fn a_search_ends_where_it_may_look_no_further_and_the_next_goes_on_behind() {
    let mut all = all();
    let waiters: Vec<_> =
        (1..=50).map(|id| all.idle_for(id, 1_000 - id, true).log.subscribe()).collect();
    all.idle_for(60, 10, true);
    assert!(all.search(20, 1).is_empty());
    assert!(all.search(20, 1).is_empty());
    assert_eq!(all.search(20, 1), [60]);
    drop(waiters);
}
