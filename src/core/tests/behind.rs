//! The thread of subqueries is too far behind: its shapes end, and those that are made then have every row.

use std::sync::Arc;

use super::life::Life;
use super::order::{act, alive, arrive, commit, ends, grown_with, play};
use crate::members::concerns;
use crate::shapes::Shape;

/// Those that ask subqueries, and the others.
fn both(life: &Life) -> (Vec<Arc<Shape>>, Vec<Arc<Shape>>) {
    alive(life).into_iter().partition(|shape| concerns(&shape.plan))
}

/// The stream goes on without the thread.
fn fall_behind(life: &mut Life) {
    let asking = life.shapes.values().filter(|shape| concerns(&shape.plan));
    for shape in asking {
        life.records().lock().unwrap().change(shape.id(), |known| known.removing = true);
    }
    life.ingest.watch.fall_behind();
}

/// Some are asked for, of both kinds.
fn create(life: &mut Life) {
    (0..8).for_each(|_| _ = life.create());
}

#[test]
fn what_the_thread_of_subqueries_has_missed_ends_its_shapes_and_no_others() {
    let (mut tried, mut made) = (0, 0);
    for seed in 0..20 {
        let (life, disk) = grown_with(seed, true);
        let life = play(life, &disk, [arrive(true)]);
        let (asking, others) = both(&life);
        if asking.is_empty() {
            continue;
        }
        tried += 1;
        let ended = asking.clone();
        let all_ended = act(move |_| {
            assert!(ended.iter().all(|shape| !shape.is_alive()), "without what it missed");
        });
        let acts = [act(fall_behind), commit(4), arrive(true), commit(2), arrive(true), all_ended];
        // The same process makes new ones.
        let more = [act(create), commit(3), arrive(true), commit(3), arrive(true)];
        let life = play(life, &disk, acts.into_iter().chain(more));
        // A TRUNCATE may be among what came.
        let left = others.iter().filter(|shape| shape.is_alive()).count();
        assert!(left > 0 || others.len() < 2, "{seed}: others have ended");
        made += both(&life).0.len();
        ends(life, &disk, seed % 2 == 0);
    }
    println!("{tried}, {made} made after it");
    assert!(tried > 5 && made > 5, "{tried} {made}");
}
