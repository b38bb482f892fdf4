//! The storage limit: shapes end for what is there for their sake, and for nothing else.

use std::collections::HashMap;
use std::sync::Arc;

use super::life::Life;
use super::order::{act, alive, arrive, ends, grown, grown_with, play, remove};
use super::upkeep::{rounds, settle};
use crate::shapes::retention::{Retention, bytes};

/// What is there for the sake of shapes, where no changes are sealed and no rows have been copied.
fn counted(life: &Life) -> u64 {
    bytes(&life.shop) - life.log.bytes() - life.shop.members.checkpoints.bytes()
}

/// From now on no more than so much is to be stored.
fn limit(life: &mut Life, max: u64) {
    let retention = Retention::new(Arc::clone(&life.registry), Some(max));
    life.retention = Arc::new(tokio::sync::Mutex::new(retention));
}

/// A round of giving back; how many shapes are left.
fn round(life: &mut Life) -> usize {
    let before = alive(life);
    rounds(life, 1);
    assert!(life.retention.try_lock().is_ok(), "the round has not come to its end");
    let left = alive(life);
    for shape in before.iter().filter(|shape| !shape.is_alive()) {
        life.records().lock().unwrap().change(shape.id(), |known| known.removing = true);
    }
    left.len()
}

#[test]
fn a_checkpoint_ends_no_shape_in_vain_and_what_shapes_take_ends_some_of_them() {
    let (mut tried, mut some_left) = (0, 0);
    for seed in 0..20 {
        let (life, disk) = grown_with(seed, true);
        let synced = || [act(Life::sync_postings), arrive(true)];
        let acts = [arrive(true)].into_iter().chain(synced());
        let mut life = play(life, &disk, acts.chain([act(Life::checkpoint), arrive(true)]));
        rounds(&mut life, 4);
        let (shapes, packs) = (alive(&life).len(), life.shop.packs.bytes());
        let checkpoint = life.shop.members.checkpoints.bytes();
        if checkpoint == 0 || shapes < 2 || packs == 0 || !life.log.sealed().is_empty() {
            continue;
        }
        tried += 1;
        let counts = counted(&life);
        limit(&mut life, counts);
        for _ in 0..6 {
            assert_eq!(round(&mut life), shapes, "{seed}: ended for {checkpoint} bytes");
        }
        let max = counts - packs / 3;
        limit(&mut life, max);
        let first = round(&mut life);
        assert!(first < shapes, "{seed}: {counts} bytes of {max}");
        let mut left = first;
        for _ in 0..30 {
            let enough = counted(&life) <= max;
            let now = round(&mut life);
            assert!(now == left || !enough, "{seed}: ended although there is room");
            left = now;
        }
        assert!(left == 0 || counted(&life) <= max, "{seed}: nothing ends any more");
        some_left += usize::from(left > 0);
        println!("{seed}: {shapes} shapes, {first}, {left}; {counts} with {packs} in packs");
        ends(life, &disk, false);
    }
    println!("{tried}, {some_left} with shapes left");
    assert!(tried > 5 && some_left > 5, "{tried} {some_left}");
}

#[test]
fn rows_that_were_copied_do_not_count_where_they_were_before() {
    let (mut tried, mut shared) = (0, 0);
    for seed in 0..60 {
        let (life, disk) = grown(seed);
        let mut life = play(life, &disk, [arrive(true)]);
        let mut kept = alive(&life);
        let gone = kept.split_off(kept.len().div_ceil(2));
        remove(&mut life, gone);
        settle(&mut life);
        // What else is given back in a round would make room.
        let retention = Arc::clone(&life.retention);
        life.tasks.push(Box::pin(async move {
            retention.lock().await.clean_postings().await.unwrap();
        }));
        settle(&mut life);
        let sparse = life.shop.packs.sparse();
        let rows = kept.iter().flat_map(|shape| shape.bases()).flat_map(|base| base.batches());
        let rows: Vec<_> = rows.filter(|place| sparse.contains(&place.pack())).collect();
        let once = rows.iter().map(|place| ((place.pack(), place.at()), place.bytes()));
        let once: HashMap<_, _> = once.collect();
        let (copied, before) = (once.values().sum::<u64>(), counted(&life));
        if copied < 2_000 || !life.log.sealed().is_empty() {
            continue;
        }
        tried += 1;
        shared += usize::from(once.len() < rows.len());
        // Entries of the catalogue are added, too.
        let max = before + copied - 1;
        limit(&mut life, max);
        assert_eq!(round(&mut life), kept.len(), "{seed}: ended for {copied} bytes twice");
        assert!(counted(&life) > max, "{seed}: there was room for both");
        for _ in 0..6 {
            assert_eq!(round(&mut life), kept.len(), "{seed}: ended a round later");
        }
        assert!(counted(&life) < before, "{seed}: where they were is not given back");
        ends(life, &disk, false);
    }
    println!("{tried}, {shared} shared");
    assert!(tried > 5 && shared > 0, "{tried} {shared}");
}
