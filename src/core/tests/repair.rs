//! The slot is lost and what was missed is brought: killed at any operation of that, the next life does
//! it again, and shapes hold what the database has.

use std::sync::{Arc, Mutex};

use brooklet_dataflows::{Posting, ShapeId};
use brooklet_sql::Lsn;
use tokio::sync::{mpsc, oneshot};

use super::check;
use super::life::{Ended, Life, Step, Task};
use super::postgres::{Question, Seen, relation, row};
use super::world::World;
use super::{Plan, live, run, world};
use crate::ingest::{Entry, RepairEntry};
use crate::repair::{Place, bring};
use crate::shapes::Shape;
use crate::shapes::difference::Changes;
use crate::storage::tests::faulty::{Fault, Faulty};
use crate::storage::tests::rng::Rng;

type Slices = mpsc::Sender<Vec<Entry>>;

/// What each shape's log held before the slot was lost.
type Logs = Vec<(ShapeId, Vec<Seen>)>;

const QUIET: Plan = Plan { fault: Fault::Kill, after: u64::MAX / 2, early: false, steps: 250 };

/// The repair as `repair` does it, with rows of the model.
async fn repair(life: Repairing) -> Option<()> {
    let Repairing { shapes, shop, slices, place, .. } = life;
    let (first, answer) = oneshot::channel();
    let lsn = Lsn(place.begin.0 - 1);
    let begin = RepairEntry::Begin { lsn, xid: place.xid, first };
    slices.send(vec![Entry::Cut, Entry::Repair(begin)]).await.ok()?;
    let mut seq = answer.await.ok()?;
    let mut brought: Vec<(ShapeId, Vec<Posting>)> = Vec::new();
    for (shape, question, added, rows) in shapes {
        let relation = relation(question.table, added);
        let entry = RepairEntry::Relation(Arc::clone(&relation));
        slices.send(vec![Entry::Repair(entry)]).await.ok()?;
        let changes = Changes::new(slices.clone(), &shape, &relation, seq);
        let (postings, next) = changes.against(&shop, &shape, rows).await.ok()?;
        seq = next;
        brought.push((shape.id(), postings));
    }
    bring(&shop, &slices, place, brought).await.map(|_| ())
}

struct Repairing {
    shapes: Vec<(Arc<Shape>, Question, usize, Vec<brooklet_sql::Row>)>,
    shop: Arc<crate::shapes::create::Workshop>,
    slices: Slices,
    place: Place,
}

/// A new slot begins here; everything that the old one did not send is missed.
fn begin(life: &mut Life, slices: Slices) -> Repairing {
    let mut postgres = life.postgres().lock().unwrap();
    postgres.wal += 100;
    let end = life.ingest.writer.end();
    let place = Place { begin: Lsn(postgres.wal), end, xid: 5 };
    postgres.commits.iter_mut().for_each(|commit| commit.visible = true);
    let all = vec![true; postgres.commits.len()];
    let mut records = life.records().lock().unwrap();
    let mut shapes = Vec::new();
    let mut alive: Vec<_> = life.shapes.values().filter(|shape| shape.is_alive()).collect();
    alive.sort_by_key(|shape| shape.id());
    for shape in alive {
        let question = records.get_mut(shape.id()).unwrap().question;
        let rows = postgres.rows(question, &all).values().map(row).collect();
        let added = postgres.tables[question.table].added;
        shapes.push((Arc::clone(shape), question, added, rows));
    }
    drop((postgres, records));
    life.world.repairs.push(Lsn(place.begin.0 - 1));
    Repairing { shapes, shop: Arc::clone(&life.shop), slices, place }
}

/// Lets a life settle, then repair; `armed` is the operation at which it dies, counted from there.
fn mend(world: World, disk: &Faulty, armed: Option<(Fault, u64)>) -> (World, bool, Logs) {
    let life = Life::start(world, disk).map_err(|(_, error)| error).unwrap();
    let (slices, mut queued) = mpsc::channel(1000);
    let mut begun = false;
    let (own, before) = (disk.clone(), Arc::new(Mutex::new(Logs::new())));
    let (noted, done) = (Arc::clone(&before), Arc::new(Mutex::new(false)));
    let finished = Arc::clone(&done);
    let turn = move |life: &mut Life| -> Result<Option<Step>, Ended> {
        if life.has_batches() {
            return Ok(Some(life.dataflow()));
        }
        while let Ok(slice) = queued.try_recv() {
            life.hand_on(slice)?;
        }
        life.confirm()?;
        life.append()?;
        life.poll()?;
        if !begun {
            // What was streamed is in the logs by now.
            begun = true;
            for shape in life.shapes.values() {
                let found = check::entries(life, shape)?.map(|(_, found)| found);
                noted.lock().unwrap().push((shape.id(), found.unwrap_or_default()));
            }
            armed.iter().for_each(|(fault, at)| own.arm(*fault, *at));
            let repairing = begin(life, slices.clone());
            let (postgres, finished) = (Arc::clone(life.postgres()), Arc::clone(&finished));
            let begins = repairing.place.begin;
            let task: Task = Box::pin(async move {
                if repair(repairing).await.is_some() {
                    postgres.lock().unwrap().confirmed = begins;
                    *finished.lock().unwrap() = true;
                }
            });
            life.tasks.push(task);
        }
        Ok((life.tasks.len() > 1 || life.has_batches()).then_some(Step::Other))
    };
    let (life, outcome) = run(life, disk, turn);
    let done = *done.lock().unwrap();
    assert!(done || disk.hit().is_some(), "{outcome:?}");
    let before = std::mem::take(&mut *before.lock().unwrap());
    (life.end(), done, before)
}

/// Goes on from the new slot, and compares.
fn go_on(world: World, disk: &Faulty, known: &Logs) -> (World, usize) {
    let life = Life::start(world, disk).map_err(|(_, error)| error).unwrap();
    let mut left = 60;
    let turn = move |life: &mut Life| -> Result<Option<Step>, Ended> {
        if left > 0 {
            left -= 1;
            life.postgres().lock().unwrap().commit();
        }
        let step = life.catch_up()?;
        Ok(step.or((left > 0).then_some(Step::Other)))
    };
    let (life, outcome) = run(life, disk, turn);
    outcome.unwrap();
    let compared = check::repaired(&life, known).unwrap();
    (life.end(), compared)
}

#[test]
fn killed_at_any_operation_of_a_repair_it_is_done_again_and_shapes_hold_what_the_database_has() {
    let (mut killed, mut compared) = (0, 0);
    for seed in 0..2 {
        for at in 0.. {
            let mut rng = Rng::new(seed);
            let (mut world, mut disk) = (world(&mut rng), Faulty::new(rng.fork()));
            let life = Life::start(world, &disk).map_err(|(_, error)| error).unwrap();
            let (life, outcome) = live(life, &disk, QUIET);
            outcome.unwrap();
            world = life.end();
            disk = disk.restart(false);
            for _ in 0..30 {
                world.postgres.lock().unwrap().commit();
            }
            let fault = if at % 2 == 0 { Fault::Kill } else { Fault::PowerCut };
            let (back, done, known) = mend(world, &disk, Some((fault, at / 2)));
            world = back;
            killed += usize::from(!done);
            disk = disk.restart(fault == Fault::PowerCut);
            if !done {
                // More is written before the next try.
                (0..3).for_each(|_| world.postgres.lock().unwrap().commit());
                let (back, done, _) = mend(world, &disk, None);
                assert!(done);
                world = back;
                disk = disk.restart(at % 3 == 0);
            }
            let (back, found) = go_on(world, &disk, &known);
            world = back;
            compared += found;
            drop(world);
            if done {
                assert!(at > 10, "a repair without operations");
                break;
            }
        }
    }
    println!("{killed} kills, {compared} logs compared");
    assert!(killed > 40 && compared > killed);
}
