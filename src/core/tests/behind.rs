//! The thread of subqueries is too far behind: its shapes end, and those that are made then have every row.

use std::sync::{Arc, Mutex};

use brooklet_dataflows::ShapeId;

use super::life::Life;
use super::order::{alive, ends, grown_with, quiet};
use super::{Phase, run, turn};
use crate::members::backlog::Share;
use crate::members::concerns;
use crate::shapes::Shape;

/// Those that ask subqueries, and the others.
fn both(life: &Life) -> (Vec<Arc<Shape>>, Vec<Arc<Shape>>) {
    alive(life).into_iter().partition(|shape| concerns(&shape.plan))
}

/// The stream goes on without the thread until what is returned is dropped; the shapes that end by that.
fn fall_behind(life: &mut Life) -> (Vec<Arc<Shape>>, Option<Share>) {
    let asking = both(life).0;
    for shape in life.shapes.values().filter(|shape| concerns(&shape.plan)) {
        life.records().lock().unwrap().change(shape.id(), |known| known.removing = true);
    }
    (asking, life.ingest.watch.fall_behind())
}

#[test]
fn what_the_thread_of_subqueries_has_missed_ends_its_shapes_and_those_made_then_are_right() {
    let (mut ended, mut made) = (0, 0);
    for seed in 0..40 {
        let (life, disk) = grown_with(seed, true);
        let (own, mut phase, mut turns) = (disk.clone(), Phase::First, 0);
        let asking = Arc::new(Mutex::new(Vec::new()));
        let (asked, mut busy) = (Arc::clone(&asking), Vec::new());
        let (life, outcome) = run(life, &disk, move |life| {
            turns += 1;
            match turns {
                200 => {
                    let (asking, share) = fall_behind(life);
                    *asked.lock().unwrap() = asking;
                    busy.extend(share);
                }
                250 => {
                    // Others have ended for other reasons.
                    asked.lock().unwrap().retain(|shape| shape.is_alive());
                    busy.clear();
                }
                _ => {}
            }
            let missing = life.ingest.watch.is_missing();
            let step = turn(life, &own, quiet(300), &mut phase)?;
            if missing && !life.ingest.watch.is_missing() {
                life.append()?;
                let left = asked.lock().unwrap().iter().filter(|shape| shape.is_alive()).count();
                assert_eq!(left, 0, "{seed}: without what it missed");
            }
            Ok(step)
        });
        outcome.unwrap();
        let asking = std::mem::take(&mut *asking.lock().unwrap());
        let last = asking.iter().map(|shape| shape.id()).max().unwrap_or(ShapeId(0));
        ended += asking.len();
        made += both(&life).0.iter().filter(|shape| shape.id() > last).count();
        ends(life, &disk, seed % 2 == 0);
    }
    println!("{ended} ended, {made} made after it");
    assert!(ended > 20 && made > 20, "{ended} {made}");
}
