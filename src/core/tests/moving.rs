//! Rows are copied to another pack, and given up where they were, while somebody reads all of a shape's; and logs
//! whose rows cannot be read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use brooklet_dataflows::Verdict;
use tokio::sync::mpsc;

use super::life::Life;
use super::order::{alive, arrive, ends, grown, play, remove};
use super::postgres::{relation, row};
use super::upkeep::settle;
use crate::limits::{FOLD_INTERVAL, FOLD_RETRY_MAX};
use crate::shape_log::BatchPlace;
use crate::shapes::Shape;
use crate::shapes::difference::Changes;
use crate::shapes::fold::{Folder, fold};
use crate::shapes::retention::Retention;
use crate::storage::tests::faulty::Faulty;

/// A shape is left alone, with rows in several batches, all in packs that are mostly unused, and entries.
fn lonely(seed: u64) -> Option<(Life, Faulty, Arc<Shape>)> {
    let (life, disk) = grown(seed);
    let mut life = play(life, &disk, [arrive(true)]);
    let mut others = alive(&life);
    let many = |shape: &Arc<Shape>| shape.newest().batch_count() > 1 && shape.bases().len() == 1;
    let shape = others.remove(others.iter().position(many)?);
    remove(&mut life, others);
    settle(&mut life);
    let sparse = life.shop.packs.sparse();
    let all = shape.newest().batches().iter().all(|place| sparse.contains(&place.pack()));
    let grown = shape.log.end().is_ok_and(|end| end > shape.newest().after().offset);
    (all && grown).then_some((life, disk, shape))
}

/// Whoever reads rows next waits until they are elsewhere, and gone from where they were.
fn move_meanwhile(life: &Life, disk: &Faulty) -> Arc<AtomicBool> {
    let (registry, moved) = (Arc::clone(&life.registry), Arc::new(AtomicBool::new(false)));
    let (visible, done) = (life.postgres().lock().unwrap().look().0, Arc::clone(&moved));
    let rounds = move || {
        let mut retention = Retention::new(registry, None);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for _ in 0..3 {
            let visible = visible.clone();
            runtime.block_on(retention.round(async { Ok(visible) })).unwrap();
        }
        done.store(true, Ordering::SeqCst);
    };
    // Not where a task is being run.
    disk.before_read("pack", move || std::thread::spawn(rounds).join().unwrap());
    moved
}

/// The rows of the shape's first base are elsewhere.
fn check_moved(life: &Life, shape: &Shape, before: &[BatchPlace], seed: u64) {
    let now = shape.bases()[0].batches();
    assert!(now.iter().all(|place| !before.contains(place)), "{seed}: not moved: {now:?}");
    let gone = before.iter().all(|place| life.shop.packs.read(place).is_err());
    assert!(gone, "{seed}: still there");
}

#[test]
fn a_fold_finds_rows_that_are_moved_while_it_reads() {
    let mut folded = 0;
    for (mut life, disk, shape) in (0..80).filter_map(lonely) {
        let seed = folded;
        let before = shape.newest().batches();
        let seen = life.postgres().lock().unwrap().look().0;
        let moved = move_meanwhile(&life, &disk);
        let (registry, records) = (Arc::clone(&life.registry), Arc::clone(life.records()));
        let reader = Arc::clone(&shape);
        life.tasks.push(Box::pin(async move {
            fold(&registry, &reader, &seen).await.unwrap();
            records.lock().unwrap().folded(reader.id(), reader.newest().handle);
        }));
        settle(&mut life);
        assert!(moved.load(Ordering::SeqCst), "{seed}: nobody has read");
        assert!(shape.is_alive() && shape.bases().len() == 2, "{seed}: it was not folded");
        check_moved(&life, &shape, &before, seed);
        ends(life, &disk, seed % 2 == 0);
        folded += 1;
    }
    println!("{folded}");
    assert!(folded > 5, "{folded}");
}

#[test]
fn a_repair_finds_rows_that_are_moved_while_it_compares() {
    let mut compared = 0;
    for (life, disk, shape) in (0..80).filter_map(lonely) {
        let before = shape.newest().batches();
        let question = life.records().lock().unwrap().get_mut(shape.id()).unwrap().question;
        let (rows, relation) = {
            let postgres = life.postgres().lock().unwrap();
            let rows = postgres.rows(question, &vec![true; postgres.commits.len()]);
            let rows: Vec<_> = rows.values().map(row).collect();
            (rows, relation(question.table, postgres.tables[question.table].added))
        };
        let moved = move_meanwhile(&life, &disk);
        let (slices, _handed_on) = mpsc::channel(10);
        let changes = Changes::new(slices, &shape, &relation, 1);
        // The last row is gone.
        let truth = rows[..rows.len().saturating_sub(1)].to_vec();
        let lacks = rows.len() - truth.len();
        let found = life.world.runtime.block_on(changes.against(&life.shop, &shape, truth));
        let (postings, _) = found.unwrap();
        assert!(moved.load(Ordering::SeqCst), "{compared}: nobody has read");
        let deletes = postings.iter().filter(|posting| posting.verdict == Verdict::Delete).count();
        assert_eq!((postings.len(), deletes), (lacks, lacks), "{compared}");
        assert!(shape.is_alive(), "{compared}: it has ended");
        check_moved(&life, &shape, &before, compared);
        ends(life, &disk, false);
        compared += 1;
    }
    println!("{compared}");
    assert!(compared > 5, "{compared}");
}

#[test]
fn a_log_whose_rows_are_damaged_is_folded_ever_more_seldom_until_it_can_be() {
    let (mut life, disk, shape) = (0..80).find_map(lonely).unwrap();
    let (seen, place) = (life.postgres().lock().unwrap().look().0, shape.newest().batches()[0]);
    let files = disk.files();
    let name = format!("{:06}.pack", place.pack());
    let pack = files.iter().find(|path| path.ends_with(&name)).unwrap();
    let (large, is_large) = mpsc::unbounded_channel();
    let folder = Folder::new(Arc::clone(&life.registry), is_large, Duration::from_secs(60));
    let folder = Arc::new(tokio::sync::Mutex::new(folder));
    let mut round = |at: Instant| {
        let mut now = folder.try_lock().unwrap();
        // It is said again and again.
        now.note_large(shape.id());
        let due = now.due(at);
        drop(now);
        let (folder, seen, tried) = (Arc::clone(&folder), seen.clone(), !due.is_empty());
        life.tasks.push(Box::pin(async move {
            for shape in due {
                folder.lock().await.fold(&shape, &seen, at).await;
            }
        }));
        settle(&mut life);
        tried
    };
    let begun = Instant::now();
    disk.flip(pack, place.at() as usize + 40, 3);
    // Every round of an hour.
    let rounds = (0..720).map(|round| begun + FOLD_INTERVAL * round);
    let tries: Vec<Instant> = rounds.filter(|at| round(*at)).collect();
    let pauses: Vec<Duration> = tries.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(pauses[..3], [1, 2, 4].map(|times| FOLD_INTERVAL * times));
    assert!(pauses.iter().all(|pause| *pause <= FOLD_RETRY_MAX), "{pauses:?}");
    assert_eq!(pauses.last(), Some(&FOLD_RETRY_MAX));
    assert!(shape.is_alive() && shape.bases().len() == 1);
    disk.flip(pack, place.at() as usize + 40, 3);
    assert!(round(tries[tries.len() - 1] + FOLD_RETRY_MAX), "it is not tried again");
    assert_eq!(shape.bases().len(), 2, "it is not folded");
    drop(large);
}
