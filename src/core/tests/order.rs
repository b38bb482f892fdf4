//! What waits for what: each order that the next start relies on is held up at the place where it would
//! be broken, and the process ends there.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Waker};

use brooklet_dataflows::{Collated, EndReason};

use super::check;
use super::life::{Ended, Life, Step, Task};
use super::upkeep::{reached, settle};
use super::world::World;
use super::{Plan, live, run, world};
use crate::shape_log::ShapeLogs;
use crate::shape_log::posting_rewrite::runs;
use crate::shapes::create::Workshop;
use crate::shapes::retention::clean_postings;
use crate::shapes::{Shape, fold};
use crate::storage::tests::faulty::{Fault, Faulty};
use crate::storage::tests::rng::Rng;

/// Nothing goes wrong, for so many steps.
pub(super) const fn quiet(steps: usize) -> Plan {
    Plan { fault: Fault::Kill, after: u64::MAX / 2, early: false, steps }
}

/// A server that has been restarted after some life, and its disk.
pub(super) fn grown(seed: u64) -> (Life, Faulty) {
    grown_with(seed, false)
}

/// The same, of shapes with subqueries, too.
pub(super) fn grown_with(seed: u64, subqueries: bool) -> (Life, Faulty) {
    let mut rng = Rng::new(seed);
    let (world, disk) = (world(&mut rng), Faulty::new(rng.fork()));
    let world = World { subqueries, ..world };
    let (life, outcome) = live(started(world, &disk), &disk, quiet(300));
    outcome.unwrap();
    let (world, disk) = (life.end(), disk.restart(false));
    (started(world, &disk), disk)
}

fn started(world: World, disk: &Faulty) -> Life {
    Life::start(world, disk).map_err(|(_, error)| error).unwrap()
}

/// The process ends, the next one catches up, and clients are shown what they should be.
pub(super) fn ends(life: Life, disk: &Faulty, power_cut: bool) {
    let (world, disk) = (life.end(), disk.restart(power_cut));
    let life = started(world, &disk);
    check::at_once(&life);
    let (_, outcome) = live(life, &disk, quiet(0));
    outcome.unwrap();
}

/// Something to do, asked again until it says that it is done.
pub(super) type Act = Box<dyn FnMut(&mut Life) -> bool + Send + Sync>;

/// Does one thing after the other; what they bring about comes to an end in between.
pub(super) fn play(life: Life, disk: &Faulty, acts: impl IntoIterator<Item = Act>) -> Life {
    let mut acts: VecDeque<Act> = acts.into_iter().collect();
    let mut idle = 0;
    let turn = move |life: &mut Life| -> Result<Option<Step>, Ended> {
        if life.has_batches() {
            return Ok(Some(life.dataflow()));
        }
        life.append()?;
        life.poll()?;
        idle += 1;
        if idle > 20 && !life.has_batches() {
            let Some(act) = acts.front_mut() else { return Ok(None) };
            if act(life) {
                acts.pop_front();
                idle = 0;
            }
        }
        Ok(Some(Step::Other))
    };
    let (life, outcome) = run(life, disk, turn);
    outcome.unwrap();
    life
}

/// So many transactions commit.
pub(super) fn commit(count: usize) -> Act {
    Box::new(move |life| {
        let mut postgres = life.postgres().lock().unwrap();
        (0..count).for_each(|_| postgres.commit());
        true
    })
}

/// What was committed is streamed, and `confirmed` if it is made durable.
pub(super) fn arrive(confirmed: bool) -> Act {
    Box::new(move |life| {
        life.receive().unwrap();
        if confirmed {
            life.confirm().unwrap();
        }
        life.hear();
        life.stream.is_done(&life.postgres().lock().unwrap())
    })
}

pub(super) fn act(mut act: impl FnMut(&mut Life) + Send + Sync + 'static) -> Act {
    Box::new(move |life| {
        act(life);
        true
    })
}

/// Finished shapes that are alive, by number.
pub(super) fn alive(life: &Life) -> Vec<Arc<Shape>> {
    let living = life.shapes.values().filter(|shape| shape.is_complete() && shape.is_alive());
    let mut living: Vec<_> = living.cloned().collect();
    living.sort_by_key(|shape| shape.id());
    living
}

/// Nothing becomes durable in the catalogue until what is returned says so.
fn hold_catalog(life: &mut Life) -> Arc<AtomicBool> {
    let (shop, free) = (Arc::clone(&life.shop), Arc::new(AtomicBool::new(false)));
    let freed = Arc::clone(&free);
    let task: Task = Box::pin(async move {
        let paused = shop.catalog.pause().await;
        reached(|| freed.load(Ordering::SeqCst)).await;
        drop(paused);
    });
    life.tasks.push(task);
    settle(life);
    free
}

/// Somebody asks for the end of shapes.
pub(super) fn remove(life: &mut Life, shapes: Vec<Arc<Shape>>) {
    let ids: Vec<_> = shapes.iter().map(|shape| shape.id()).collect();
    let (registry, records) = (Arc::clone(&life.registry), Arc::clone(life.records()));
    for id in &ids {
        records.lock().unwrap().change(*id, |known| known.removing = true);
        life.shapes.remove(id);
    }
    life.tasks.push(Box::pin(async move {
        registry.end(&shapes).await;
        ids.iter().for_each(|id| records.lock().unwrap().change(*id, |known| known.removed = true));
    }));
}

/// Files of postings are ended, as many as so many commits make.
pub(super) fn roll(rounds: usize) -> impl Iterator<Item = Act> {
    let round = || [commit(20), arrive(true), act(Life::sync_postings), arrive(true)];
    (0..rounds).flat_map(move |_| round())
}

#[test]
fn a_shape_is_not_noted_before_the_stream_in_front_of_its_entries_is_durable() {
    for seed in 0..20 {
        for confirmed in [true, false] {
            let (life, disk) = grown(seed);
            let made = Arc::new(Mutex::new(None));
            let own = Arc::clone(&made);
            let acts = [
                arrive(true),
                act(|life| {
                    // The snapshot does not show them: their entries are written late.
                    life.postgres().lock().unwrap().hidden = Some(2);
                    let enough = alive(life).split_off(2.min(alive(life).len()));
                    remove(life, enough);
                }),
                commit(1),
                arrive(true),
                commit(1),
                arrive(false),
                act(move |life| *own.lock().unwrap() = life.create()),
            ];
            let mut life = play(life, &disk, acts);
            if confirmed {
                life.confirm().unwrap();
                settle(&mut life);
            }
            let shape: Arc<Shape> = made.lock().unwrap().take().unwrap();
            let complete = shape.is_complete();
            life.postgres().lock().unwrap().hidden = None;
            ends(life, &disk, true);
            assert!(!complete || confirmed, "{seed}: it is noted");
            assert!(complete || !confirmed || !shape.is_alive(), "{seed}: it is not noted");
        }
    }
}

#[test]
fn what_a_slow_snapshot_does_not_show_stays_until_it_was_matched() {
    let (mut made, mut gone) = (0, 0);
    for seed in 0..30 {
        let (life, disk) = grown(seed);
        let (shape, rows_come) = (Arc::new(Mutex::new(None)), Arc::new(AtomicBool::new(false)));
        let (own, come) = (Arc::clone(&shape), Arc::clone(&rows_come));
        let acts = [
            arrive(true),
            act(|life| {
                let all = alive(life);
                remove(life, all);
            }),
            commit(4),
            arrive(true),
            act(move |life| {
                let mut postgres = life.postgres().lock().unwrap();
                (postgres.hidden, postgres.slow) = (Some(4), Some(Arc::clone(&come)));
                drop(postgres);
                *own.lock().unwrap() = life.create();
            }),
            // Everybody sees them by now, and nobody else wants them.
            act(|life| life.postgres().lock().unwrap().hidden = Some(0)),
        ];
        let acts = acts.into_iter().chain(roll(4));
        let mut life = play(life, &disk, acts);
        let give_back = |life: &mut Life| {
            (0..8).for_each(|_| life.seal());
            for _ in 0..4 {
                life.retain();
                settle(life);
            }
            life.log.sealed().len()
        };
        let held = give_back(&mut life);
        rows_come.store(true, Ordering::SeqCst);
        settle(&mut life);
        let shape: Arc<Shape> = shape.lock().unwrap().take().unwrap();
        made += usize::from(shape.is_complete() && shape.is_alive());
        gone += usize::from(give_back(&mut life) < held);
        ends(life, &disk, false);
    }
    assert!(made > 10 && gone > 10, "{made} made, given back behind {gone}");
}

#[test]
fn a_shape_takes_entries_until_its_removal_is_durable() {
    let mut removed = 0;
    for seed in 0..10 {
        for power_cut in [false, true] {
            let (life, disk) = grown(seed);
            let begins = act(move |life| {
                hold_catalog(life);
                let shapes = alive(life);
                remove(life, shapes.into_iter().take(2).collect());
            });
            let acts = [
                arrive(true),
                begins,
                commit(20),
                arrive(true),
                act(Life::sync_postings),
                commit(3),
                arrive(true),
            ];
            let life = play(life, &disk, acts);
            removed += life.records().lock().unwrap().leaving();
            ends(life, &disk, power_cut);
        }
    }
    assert!(removed > 20, "{removed}");
}

/// Tables are emptied while the catalogue is held, which is let go afterwards if it is to be `freed`. With whether it did
/// not know of all ends before that.
fn emptied(
    life: Life,
    disk: &Faulty,
    tables: &'static [usize],
    acts: impl Iterator<Item = Act>,
    freed: bool,
    logs: impl Fn(&Workshop) -> &Arc<ShapeLogs>,
) -> (Life, bool) {
    let free = Arc::new(Mutex::new(None));
    let own = Arc::clone(&free);
    let begins = [
        arrive(true),
        act(move |life| {
            *own.lock().unwrap() = Some(hold_catalog(life));
            let mut postgres = life.postgres().lock().unwrap();
            tables.iter().for_each(|table| postgres.truncate(*table));
        }),
        arrive(true),
    ];
    let mut life = play(life, disk, begins.into_iter().chain(acts));
    let unsettled = logs(&life.shop).ends_told() > logs(&life.shop).ends_settled();
    if freed {
        free.lock().unwrap().take().unwrap().store(true, Ordering::SeqCst);
        settle(&mut life);
    }
    (life, unsettled)
}

#[test]
fn an_end_is_told_by_its_frame_until_the_catalogue_has_it_on_disk() {
    let (mut held_back, mut rewritten) = (0, 0);
    for seed in 0..10 {
        for freed in [false, true] {
            let (life, disk) = grown(seed);
            let acts = roll(6);
            let (mut life, unsettled) = emptied(life, &disk, &[0], acts, freed, |shop| &shop.logs);
            let shop = Arc::clone(&life.shop);
            let before = shop.postings.bytes();
            let cleaned = Arc::clone(&shop);
            life.tasks.push(Box::pin(async move { _ = clean_postings(&cleaned).await.unwrap() }));
            settle(&mut life);
            let shrunk = shop.postings.bytes() < before;
            ends(life, &disk, false);
            if unsettled {
                assert!(freed || !shrunk, "{seed}: the frame has gone");
                held_back += usize::from(!freed);
                rewritten += usize::from(freed && shrunk);
            }
        }
    }
    assert!(held_back > 4 && rewritten > 4, "{held_back} {rewritten}");
}

#[test]
fn a_file_that_tells_of_ends_stays_until_the_catalogue_has_them_on_disk() {
    let (mut held_back, mut deleted) = (0, 0);
    for seed in 0..20 {
        for freed in [false, true] {
            let (life, disk) = grown_with(seed, true);
            let acts = roll(3);
            let (mut life, unsettled) =
                emptied(life, &disk, &[0], acts, freed, |shop| &shop.members.logs);
            let shop = Arc::clone(&life.shop);
            let files = || shop.members.postings.complete().len();
            let before = files();
            for _ in 0..2 {
                let visible = life.postgres().lock().unwrap().look().0;
                let retention = Arc::clone(&life.retention);
                life.tasks.push(Box::pin(async move {
                    _ = retention.lock().await.round(async { Ok(visible) }).await;
                }));
                settle(&mut life);
            }
            let fewer = files() < before;
            ends(life, &disk, false);
            if unsettled {
                assert!(freed || !fewer, "{seed}: the file has gone");
                held_back += usize::from(!freed);
                deleted += usize::from(freed && fewer);
            }
        }
    }
    assert!(held_back > 4 && deleted > 4, "{held_back} {deleted}");
}

#[test]
fn changes_that_an_ended_shape_refers_to_stay_until_the_catalogue_has_its_end_on_disk() {
    let (mut held_back, mut given_back) = (0, 0);
    for seed in 0..20 {
        for freed in [false, true] {
            let (life, disk) = grown(seed);
            life.postgres().lock().unwrap().hidden = Some(0);
            let acts = roll(3);
            let (mut life, unsettled) =
                emptied(life, &disk, &[0, 1], acts, freed, |shop| &shop.logs);
            (0..8).for_each(|_| life.seal());
            let before = life.log.sealed().len();
            for _ in 0..3 {
                life.retain();
                settle(&mut life);
            }
            let fewer = life.log.sealed().len() < before;
            ends(life, &disk, false);
            if unsettled {
                assert!(freed || !fewer, "{seed}: changes have gone");
                held_back += usize::from(!freed);
                given_back += usize::from(freed && fewer);
            }
        }
    }
    assert!(held_back > 4 && given_back > 4, "{held_back} {given_back}");
}

#[test]
fn what_ends_while_postings_are_looked_through_is_not_yet_dead() {
    let mut ended = 0;
    for seed in 0..20 {
        let (life, disk) = grown(seed);
        let leave = act(|life| {
            let mut shapes = alive(life);
            shapes.truncate(shapes.len() / 2);
            remove(life, shapes);
        });
        let acts = std::iter::once(arrive(true)).chain(roll(4)).chain([leave, arrive(true)]);
        let mut life = play(life, &disk, acts);
        let shop = Arc::clone(&life.shop);
        if runs(&shop.postings, &*shop.logs).is_empty() {
            continue;
        }
        let runtime = Arc::clone(&life.world.runtime);
        let _context = runtime.enter();
        let mut context = Context::from_waker(Waker::noop());
        let mut cleaning = Box::pin(clean_postings(&shop));
        let mut go_on = || cleaning.as_mut().poll(&mut context).is_ready();
        let first = life.world.hold();
        assert!(!go_on());
        let (found, is_found) = mpsc::channel();
        runtime.spawn_blocking(move || found.send(()));
        let open = life.world.hold();
        drop(first);
        // Which files are worth it is found, and what is alive in them is about to be.
        is_found.recv().unwrap();
        assert!(!go_on());
        for shape in alive(&life) {
            life.records().lock().unwrap().change(shape.id(), |known| known.removing = true);
            let why = EndReason::Truncated;
            shop.appender.collated(Collated::Ended { shapes: vec![shape.id()], why });
            ended += 1;
        }
        life.append().unwrap();
        drop(open);
        for _ in 0..20 {
            life.world.settle();
            if go_on() {
                break;
            }
            life.append().unwrap();
        }
        // What tells of the ends is lost with the power, or not.
        drop(cleaning);
        ends(life, &disk, true);
    }
    assert!(ended > 10, "{ended}");
}

#[test]
fn whoever_writes_what_has_become_of_a_shape_knows_what_was_written_before() {
    let mut moved = 0;
    for seed in 0..60 {
        let (life, disk) = grown(seed);
        let mut life = play(life, &disk, [arrive(true)]);
        let shop = Arc::clone(&life.shop);
        let Some(shape) = alive(&life).first().cloned() else { continue };
        let others = alive(&life).split_off(1);
        remove(&mut life, others);
        settle(&mut life);
        let rows = shape.newest().batches();
        let sparse = shop.packs.sparse();
        let grown = shape.log.end().is_ok_and(|end| end > shape.newest().after().offset);
        if !grown
            || shape.bases().len() > 1
            || !rows.iter().any(|place| sparse.contains(&place.pack()))
        {
            continue;
        }
        let free = hold_catalog(&mut life);
        let seen = life.postgres().lock().unwrap().look().0;
        let (registry, records) = (Arc::clone(&life.registry), Arc::clone(life.records()));
        let folded = Arc::clone(&shape);
        life.tasks.push(Box::pin(async move {
            fold::fold(&registry, &folded, &seen).await.unwrap();
            records.lock().unwrap().folded(folded.id(), folded.newest().handle);
        }));
        settle(&mut life);
        assert_eq!(shape.bases().len(), 1, "{seed}: a base that is not on disk");
        let retention = Arc::clone(&life.retention);
        life.tasks.push(Box::pin(async move {
            retention.lock().await.clean_packs().await.unwrap();
        }));
        settle(&mut life);
        free.store(true, Ordering::SeqCst);
        settle(&mut life);
        assert_eq!(shape.bases().len(), 2, "{seed}: it was not folded");
        assert_ne!(shape.bases()[0].batches(), rows, "{seed}: they were not moved");
        moved += 1;
        ends(life, &disk, seed % 2 == 0);
    }
    assert!(moved > 5, "{moved}");
}
