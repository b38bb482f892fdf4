//! What happens at intervals: folding, and giving disk back.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use brooklet_sql::Lsn;

use super::life::{Life, Task};
use super::{Plan, live, order, world};
use crate::limits::PACK_DEAD_BYTES_MIN;
use crate::shape_log::Logs;
use crate::shape_log::posting_files::Numbers;
use crate::shapes::{Shape, fold};
use crate::storage::tests::faulty::{Fault, Faulty};
use crate::storage::tests::rng::Rng;

impl Life {
    /// A log gets a new base. What is too old goes at once, and nobody reads it any more.
    pub(super) fn fold(&mut self) {
        let mut shapes: Vec<_> =
            self.shapes.values().filter(|shape| shape.is_complete() && shape.is_alive()).collect();
        shapes.sort_by_key(|shape| shape.id());
        if shapes.is_empty() {
            return;
        }
        let shape = Arc::clone(shapes[self.world.rng.below(shapes.len())]);
        let retires = self.world.rng.percent(60);
        let (seen, until) = self.postgres().lock().unwrap().look();
        let (registry, records) = (Arc::clone(&self.registry), Arc::clone(self.records()));
        let folding = Arc::clone(&self.folding);
        let task: Task = Box::pin(async move {
            let _one = folding.lock().await;
            let shop = Arc::clone(registry.workshop());
            let logs = Arc::clone(shop.logs_of(&shape));
            reached(|| logs.processed() >= until).await;
            if !shape.log.is_past_snapshot(logs.processed()) {
                return;
            }
            if fold::fold(&registry, &shape, &seen).await.is_ok() {
                let newest = shape.newest().handle;
                records.lock().unwrap().folded(shape.id(), newest);
            }
            if !retires {
                return;
            }
            if let Ok(retired) = fold::retire(&registry, &shape, Duration::ZERO).await {
                retired.gone.iter().for_each(|base| shop.packs.release(&base.batches()));
                records.lock().unwrap().retired += retired.gone.len();
            }
        });
        self.tasks.push(task);
    }

    /// For a while nothing becomes durable in the catalogue.
    pub(super) fn slow_catalog(&mut self) {
        let mut polls = 1 + self.world.rng.below(4);
        let (shop, later) = (Arc::clone(&self.shop), self.tasks.len());
        let slow: Task = Box::pin(async move {
            let paused = shop.catalog.pause().await;
            reached(|| {
                polls -= 1;
                polls == 0
            })
            .await;
            drop(paused);
        });
        self.tasks.insert(self.world.rng.below(later + 1), slow);
    }

    /// Disk is given back.
    pub(super) fn retain(&mut self) {
        let (retention, postgres) = (Arc::clone(&self.retention), Arc::clone(self.postgres()));
        let (shop, records) = (Arc::clone(&self.shop), Arc::clone(self.records()));
        let due = self.world.rng.percent(10);
        self.tasks.push(Box::pin(async move {
            let Ok(mut retention) = retention.try_lock() else { return };
            // Lives are too short for a catalogue that is mostly dead: this is what nobody needs.
            (0..if due { 400 } else { 0 }).for_each(|_| shop.catalog.forget_partitions(u32::MAX));
            let before = (shop.postings.bytes(), shop.catalog.bytes());
            let visible = async { Ok(postgres.lock().unwrap().look().0) };
            // What cannot be had now is had later.
            if retention.round(visible).await.is_ok() {
                let mut records = records.lock().unwrap();
                records.rewritten += usize::from(before.0 > shop.postings.bytes());
                records.compacted += usize::from(before.1 > shop.catalog.bytes());
            }
        }));
    }
}

/// Whoever waits is asked again and again.
pub(super) async fn reached(mut is: impl FnMut() -> bool) {
    std::future::poll_fn(|_| match is() {
        true => std::task::Poll::Ready(()),
        false => std::task::Poll::Pending,
    })
    .await;
}

/// What has been asked for is done, as far as it goes.
pub(super) fn settle(life: &mut Life) {
    for _ in 0..60 {
        life.confirm().unwrap();
        life.append().unwrap();
        life.poll().unwrap();
    }
}

#[test]
fn rows_of_a_snapshot_that_breaks_off_do_not_stay() {
    let mut broken = 0;
    for seed in 0..10 {
        let (life, disk) = order::grown(seed);
        let mut life = order::play(life, &disk, [order::arrive(true)]);
        let mut shapes = order::alive(&life);
        let kept = shapes.split_off(shapes.len().saturating_sub(1));
        order::remove(&mut life, shapes);
        settle(&mut life);
        life.postgres().lock().unwrap().breaks = true;
        let create = || order::act(|life| _ = life.create());
        let mut life = order::play(life, &disk, (0..6).map(|_| create()));
        broken += life.shapes.values().filter(|shape| !shape.is_alive()).count();
        for _ in 0..4 {
            life.retain();
            settle(&mut life);
        }
        let living = order::alive(&life);
        assert!(kept.iter().all(|kept| living.iter().any(|shape| shape.id() == kept.id())));
        let bases = living.iter().flat_map(|shape| shape.bases());
        let used: u64 = bases.map(|base| base.bytes()).sum();
        let stored = life.shop.packs.bytes();
        assert!(stored <= 2 * used + PACK_DEAD_BYTES_MIN, "{seed}: {stored} for {used} bytes");
    }
    assert!(broken > 5, "{broken}");
}

#[test]
fn nothing_is_forgotten_before_the_catalogue_has_it_on_disk() {
    let mut rng = Rng::new(5);
    let (world, disk) = (world(&mut rng), Faulty::new(rng.fork()));
    let quiet = Plan { fault: Fault::Kill, after: u64::MAX / 2, early: false, steps: 300 };
    let life = Life::start(world, &disk).map_err(|(_, error)| error).unwrap();
    let (mut life, outcome) = live(life, &disk, quiet);
    outcome.unwrap();
    let grown = |shape: &&Arc<Shape>| {
        let end = shape.log.end();
        shape.is_complete() && end.is_ok_and(|end| end > shape.newest().after().offset)
    };
    let shape = Arc::clone(life.shapes.values().filter(grown).min_by_key(|s| s.id()).unwrap());
    let seen = life.postgres().lock().unwrap().look().0;
    let (registry, folded) = (Arc::clone(&life.registry), Arc::clone(&shape));
    life.tasks.push(Box::pin(async move {
        fold::fold(&registry, &folded, &seen).await.unwrap();
    }));
    settle(&mut life);
    let (bases, begin) = (shape.bases().len(), shape.log.begin_offset());
    assert!(bases > 1, "it was not folded");
    let shop = Arc::clone(&life.shop);
    let paused = life.world.runtime.block_on(shop.catalog.pause());
    let (registry, retired) = (Arc::clone(&life.registry), Arc::clone(&shape));
    life.tasks.push(Box::pin(async move {
        fold::retire(&registry, &retired, Duration::ZERO).await.map(|_| ()).unwrap();
    }));
    settle(&mut life);
    assert_eq!((shape.bases().len(), shape.log.begin_offset()), (bases, begin));
    drop(paused);
    settle(&mut life);
    assert_eq!(shape.bases().len(), 1);
    assert!(shape.log.begin_offset() > begin);
}

/// Rounds of giving disk back.
pub(super) fn rounds(life: &mut Life, count: usize) {
    for _ in 0..count {
        let visible = life.postgres().lock().unwrap().look().0;
        let retention = Arc::clone(&life.retention);
        life.tasks.push(Box::pin(async move {
            retention.lock().await.round(async { Ok(visible) }).await.unwrap();
        }));
        settle(life);
    }
}

#[test]
fn who_begins_to_read_after_a_round_finds_the_changes_in_the_rounds_after_it() {
    let mut read = 0;
    for seed in 0..20 {
        let (life, disk) = order::grown(seed);
        let shown = order::act(|life| life.postgres().lock().unwrap().hidden = Some(0));
        let seal = order::act(|life| (0..50).for_each(|_| life.seal()));
        let acts = [order::arrive(true), shown].into_iter().chain(order::roll(6)).chain([seal]);
        let mut life = order::play(life, &disk, acts);
        // Nobody reads: all that is sealed is free to go once no shape refers to it.
        rounds(&mut life, 1);
        let sealed = life.log.sealed();
        let Some(end) = sealed.last().map(|file| file.last_lsn) else { continue };
        let shapes = order::alive(&life);
        let blocks = |shape: &Arc<Shape>| {
            let blocks = shape.log.slice(shape.log.begin_offset()).unwrap().blocks;
            blocks.into_iter().map(|block| (shape.table().oid, block)).collect::<Vec<_>>()
        };
        let mut blocks: Vec<_> = shapes.iter().flat_map(blocks).collect();
        blocks.retain(|(_, block)| block.lsn <= end);
        let Some(first) = blocks.iter().map(|(_, block)| block.lsn).min() else { continue };
        let held = sealed.partition_point(|file| file.last_lsn < first);
        let changes = |life: &Life| -> Vec<_> {
            let postings = blocks.iter().flat_map(|(table, block)| {
                let postings = block.read().unwrap();
                postings.into_iter().map(move |posting| block.change(&posting, &life.log, *table))
            });
            postings.collect::<Result<_, _>>().unwrap()
        };
        let before = format!("{:?}", changes(&life));
        let pin = life.shop.logs.pin(first);
        order::remove(&mut life, shapes);
        for round in 0..4 {
            rounds(&mut life, 1);
            let left = life.log.sealed();
            assert!(left.ends_with(&sealed[held..]), "{seed}: {round}: {left:?}");
            assert_eq!(format!("{:?}", changes(&life)), before, "{seed}: {round}");
            read += blocks.len();
        }
        drop(pin);
        rounds(&mut life, 2);
        assert_eq!(life.log.sealed(), [], "{seed}: nobody needs them");
    }
    assert!(read > 100, "{read}");
}

/// A server with complete files of changes and postings, of which some are not needed since a moment ago: of the shapes,
/// those with the fewest entries stay, one of so many.
fn with_dead_files(seed: u64, share: usize) -> (Life, Faulty) {
    let (life, disk) = order::grown(seed);
    let shown = order::act(|life| life.postgres().lock().unwrap().hidden = Some(0));
    let acts = [order::arrive(true), shown].into_iter().chain(order::roll(6));
    let mut life = order::play(life, &disk, acts);
    // What was there before this round may go in the next one.
    rounds(&mut life, 1);
    (0..50).for_each(|_| life.seal());
    let mut shapes = order::alive(&life);
    let entries = |shape: &Arc<Shape>| {
        let mut count = 0;
        shape.log.each_block(|block| count += block.count);
        count
    };
    shapes.sort_by_cached_key(|shape| (entries(shape) == 0, entries(shape)));
    let gone = shapes.split_off(shapes.len().div_ceil(share));
    order::remove(&mut life, gone);
    settle(&mut life);
    (life, disk)
}

/// One round, whatever becomes of it.
fn one_round(life: &mut Life) -> Result<(), String> {
    let visible = life.postgres().lock().unwrap().look().0;
    let (retention, outcome) = (Arc::clone(&life.retention), Arc::new(Mutex::new(None)));
    let told = Arc::clone(&outcome);
    life.tasks.push(Box::pin(async move {
        let done = retention.lock().await.round(async { Ok(visible) }).await;
        *told.lock().unwrap() = Some(done.map_err(|error| error.to_string()));
    }));
    (0..60).for_each(|_| life.poll().unwrap());
    outcome.lock().unwrap().take().unwrap()
}

/// Files of changes that no shape refers to, and the numbers of such files of postings.
fn dead(life: &Life) -> (Vec<u64>, Vec<Numbers>) {
    let mut lsns = Vec::new();
    life.shop.logs.each(&mut |log| log.each_block(|block| lsns.push(block.lsn)));
    let (mut changes, mut after) = (Vec::new(), Lsn::ZERO);
    for file in life.log.sealed() {
        if !lsns.iter().any(|lsn| after < *lsn && *lsn <= file.last_lsn) {
            changes.push(file.first_seq);
        }
        after = file.last_lsn;
    }
    (changes, life.shop.postings.unused())
}

#[test]
fn a_full_disk_keeps_nothing_from_going_that_needs_no_room() {
    let (mut changes, mut postings) = (0, 0);
    for seed in 0..40 {
        let (mut life, disk) = with_dead_files(seed, 5);
        let before = dead(&life);
        disk.arm(Fault::NoSpace, 0);
        let done = one_round(&mut life);
        if disk.hit().is_none() {
            continue;
        }
        assert!(done.is_err(), "{seed}: nobody is told");
        assert_eq!(dead(&life), Default::default(), "{seed}");
        changes += before.0.len();
        postings += before.1.len();
        order::ends(life, &disk, false);
    }
    println!("{changes} {postings}");
    assert!(changes > 50 && postings > 2, "{changes} {postings}");
}

#[test]
fn a_damaged_file_keeps_no_other_from_being_written_again() {
    let (mut failed, mut changes, mut postings) = (0, 0, 0);
    for seed in 0..40 {
        let (mut life, disk) = with_dead_files(seed, 2);
        let dead = dead(&life);
        for (dir, extension) in [("/changes/", "arrow"), ("/postings/", "log")] {
            let is_one = |path: &&PathBuf| {
                let name = path.to_str().unwrap();
                let numbers = name.rsplit('/').next().unwrap().split(['.', '-']).next();
                let number: u64 = numbers.unwrap().parse().unwrap_or_default();
                name.contains(dir)
                    && path.extension().is_some_and(|found| found == extension)
                    && !dead.0.contains(&number)
                    && !dead.1.iter().any(|dead| u64::from(dead.0) == number)
            };
            // In its first block or frame.
            if let Some(path) = disk.files().iter().find(is_one) {
                disk.flip(path, 40, 1);
            }
        }
        let held = |life: &Life| (life.log.sealed(), life.shop.postings.bytes());
        let before = held(&life);
        let done = one_round(&mut life);
        let after = held(&life);
        failed += usize::from(done.is_err());
        let mut left = before.0.iter().filter(|file| !dead.0.contains(&file.first_seq));
        changes += usize::from(left.any(|file| !after.0.contains(file)));
        postings += usize::from(dead.1.is_empty() && after.1 < before.1);
    }
    println!("{failed}: {changes} {postings}");
    assert!(failed > 20 && changes > 12 && postings > 15, "{failed}: {changes} {postings}");
}
