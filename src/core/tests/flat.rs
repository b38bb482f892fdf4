//! What is done for one shape, for one table, and at intervals, counted in shapes that are looked at: it is the same
//! among ten times as many shapes. And what is said of many at once.

use std::io;
use std::sync::{Arc, Mutex, mpsc as threads};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use brooklet_dataflows::{EndReason, ShapeId};
use brooklet_sql::{RelationName, Tables};
use tokio::sync::mpsc;

use super::life::Life;
use super::postgres::schema;
use super::world;
use crate::shape_log::{LogPoint, ShapeLog};
use crate::shapes::base::{Base, SnapshotState, Stage};
use crate::shapes::definition::{FilterSource, Question};
use crate::shapes::evict::{ShapeLimits, evict, free};
use crate::shapes::handle::Handle;
use crate::shapes::partitions::Stale;
use crate::shapes::reconcile::{wrong, wrong_inside};
use crate::shapes::registry::Registry;
use crate::shapes::template::Template;
use crate::shapes::visibility::Visibility;
use crate::shapes::{Defined, Shape};
use crate::storage::tests::faulty::Faulty;
use crate::storage::tests::rng::Rng;

/// Shapes of the other table.
const FEW: u64 = 10;

/// The table of the subqueries that shapes of a table have.
fn inner_of(table: usize) -> usize {
    table + 2
}

struct Many {
    life: Life,
    next: u64,
}

impl Many {
    /// So many shapes of one table and a few of another. Each has a filter of its own, as those with ranges have; half of
    /// them have a subquery.
    fn new(shapes: u64) -> Many {
        let disk = Faulty::new(Rng::new(1));
        let life = Life::start(world(&mut Rng::new(2)), &disk).map_err(|(_, error)| error).unwrap();
        let mut many = Many { life, next: 1 };
        (0..shapes).for_each(|_| _ = many.add(0, true));
        (0..FEW).for_each(|_| _ = many.add(1, true));
        many
    }

    /// What a shape would be, so many columns having been added to its subquery's table.
    fn defined(&self, table: usize, id: u64, added: usize) -> Defined {
        let name = RelationName { schema: "public".into(), table: format!("t{table}") };
        let inner = schema(inner_of(table), added);
        let text = match id % 2 {
            0 => format!("n > {id}"),
            _ => format!("n IN (SELECT id FROM {} WHERE n > {id})", inner.name.table),
        };
        let filter = FilterSource { text, params: Vec::new() };
        let asked = Question::all(name, Some(filter));
        let tables = Tables::from([(inner.name.clone(), inner)]);
        let mut defined = Defined::new(schema(table, 0), &tables, asked).unwrap();
        self.life.registry.templates().share(&mut defined);
        defined
    }

    fn add(&mut self, table: usize, complete: bool) -> Arc<Shape> {
        let id = self.next;
        self.next += 1;
        let defined = self.defined(table, id, 0);
        let log = Arc::new(ShapeLog::new(ShapeId(id), 300));
        self.life.shop.logs.insert(&log);
        let stage = match complete {
            true => Stage::Complete(Visibility::new(1, 1, Box::default())),
            false => Stage::Starting,
        };
        let state = SnapshotState { stage, ..SnapshotState::starting() };
        let base = Base::new(Handle::new(7, id), LogPoint::BEGIN, 0, state);
        let shape = Arc::new(Shape::new(defined, log, base));
        // The first ones were asked for the longest ago.
        shape.age(Duration::from_secs(10_000_000 - 1_000 * id));
        self.life.registry.adopt(&shape);
        shape
    }

    fn steps(&mut self, act: impl FnOnce(&mut Many)) -> u64 {
        let before = self.life.registry.steps();
        act(self);
        self.life.registry.steps() - before
    }

    fn run<T>(&self, task: impl Future<Output = T>) -> T {
        self.life.world.runtime.block_on(task)
    }

    /// Shapes of a table are wrong, or `all` are right.
    fn reconcile(&self, table: u32, all: bool) -> usize {
        let registry = &self.life.registry;
        let mut templates = registry.templates().all();
        templates.retain(|template| template.table().oid == table);
        let right = |_: &Template, read: &[usize]| all || read.is_empty();
        self.run(wrong(registry, table, &templates, right)).len()
    }

    /// The table of the subqueries that shapes of a table have is wrong.
    fn reconcile_inner(&self, table: usize) -> Vec<Arc<Shape>> {
        let inner = schema(inner_of(table), 0).oid;
        self.run(wrong_inside(&self.life.registry, |known, _| known.oid != inner))
    }
}

/// What it costs to look after tables.
fn looks(many: &mut Many) -> Vec<(&'static str, u64)> {
    let [large, small] = [0, 1].map(|table| schema(table, 0).oid);
    let unchanged = many.steps(|many| {
        assert_eq!(many.reconcile(large, true) + many.reconcile(small, true), 0);
    });
    let changed = many.steps(|many| assert_eq!(many.reconcile(small, false), FEW as usize));
    // Nobody's subqueries are about it.
    let inner_unchanged = many.steps(|many| assert!(many.reconcile_inner(7).is_empty()));
    let inner_changed = many.steps(|many| {
        let wrong = many.reconcile_inner(1);
        assert_eq!(wrong.len(), FEW as usize / 2);
        assert!(wrong.iter().all(|shape| shape.table().oid == small));
    });
    vec![
        ("an unchanged table", unchanged),
        ("another table's definition", changed),
        ("unchanged tables of subqueries", inner_unchanged),
        ("the table of another table's subqueries", inner_changed),
    ]
}

fn costs(shapes: u64) -> Vec<(&'static str, u64)> {
    let mut many = Many::new(shapes);
    let registry = Arc::clone(&many.life.registry);
    let small = schema(1, 0).oid;
    let mut costs = looks(&mut many);
    let mut counted = |what, many: &mut Many, act: &mut dyn FnMut(&mut Many)| {
        let steps = many.steps(act);
        costs.push((what, steps));
    };
    // A piece of the maps is divided now and then: that is counted elsewhere.
    let mut added = Vec::new();
    let least = (0..3).map(|_| many.steps(|many| added.push(many.add(0, true)))).min().unwrap();
    counted("nothing", &mut many, &mut |_| {});
    let removed = added.pop().unwrap();
    counted("remove one", &mut many, &mut |many| {
        many.run(registry.end(std::slice::from_ref(&removed)));
    });
    counted("another table's partitions", &mut many, &mut |many| {
        let (stale, tables) = mpsc::unbounded_channel();
        stale.send(Stale { table: small, generation: 0 }).unwrap();
        drop(stale);
        many.run(Arc::clone(&registry).follow_stale(tables));
    });
    counted("another table's TRUNCATE", &mut many, &mut |many| {
        let (ended, ends) = mpsc::unbounded_channel();
        let gone = many.run(registry.of_table(small, |_| true));
        let logs = &registry.workshop().logs;
        let end = |some: &[Arc<Shape>]| {
            let ids = some.iter().map(|one| one.id()).collect();
            (ids, EndReason::Truncated, Arc::clone(logs))
        };
        gone.chunks(4).for_each(|some| ended.send(end(some)).unwrap());
        drop(ended);
        many.run(Arc::clone(&registry).follow(ends));
        assert!(many.run(registry.of_table(small, |_| true)).is_empty());
        assert_eq!(registry.workshop().logs.ends_settled(), FEW);
        assert!(many.reconcile_inner(1).is_empty());
    });
    counted("eviction of what is too many", &mut many, &mut |many| {
        let limits = ShapeLimits { max: Some(registry.count() - 3), idle: None };
        many.run(evict(&registry, limits));
        assert!(registry.by_id(ShapeId(3)).is_none() && registry.by_id(ShapeId(4)).is_some());
    });
    counted("eviction of what is idle", &mut many, &mut |many| {
        let idle = Some(Duration::from_secs(10_000_000 - 5_500));
        many.run(evict(&registry, ShapeLimits { max: None, idle }));
        assert!(registry.by_id(ShapeId(4)).is_none() && registry.by_id(ShapeId(6)).is_some());
    });
    counted("a full disk", &mut many, &mut |many| many.run(free(&registry, 0)));
    counted("a halt", &mut many, &mut |many| {
        let making = many.add(0, false);
        let unfit = registry.halt(Some("a test".to_owned()));
        assert!(unfit.len() == 1 && unfit[0].id() == making.id());
        registry.halt(None);
    });
    counted("a page of the list", &mut many, &mut |_| {
        let page = registry.page(shapes / 2, 100);
        assert!(page.len() == 100 && page[0].id() == ShapeId(shapes / 2 + 1));
    });
    counted("a round of retention", &mut many, &mut |many| {
        let retention = Arc::clone(&many.life.retention);
        many.run(async {
            let visible = async { Ok(Visibility::new(1, 1, Box::default())) };
            retention.lock().await.round(visible).await.unwrap();
        });
    });
    costs.push(("add one", least));
    costs
}

#[test]
fn among_ten_times_as_many_shapes_as_few_are_looked_at() {
    let (few, many) = (costs(400), costs(4_000));
    println!("{many:?}");
    assert_eq!(few, many);
    assert!(many.iter().all(|(_, steps)| *steps <= 120), "{many:?}");
}

#[test]
fn definitions_of_a_subquerys_table_that_no_shape_knows_any_more_are_forgotten() {
    let many = Many::new(4);
    let definitions = || {
        let all = many.life.registry.templates().all();
        let known = all.iter().flat_map(|template| template.uses().inner.into_values());
        known.map(|known| known.len()).max().unwrap()
    };
    let mut most = 0;
    for added in 1..100 {
        // After each ALTER a shape of another filter comes and goes.
        drop(many.defined(0, 2 * added as u64 + 5, added));
        assert!(definitions() > 1, "it is known, until there was a look");
        assert!(many.reconcile_inner(7).is_empty());
        most = most.max(definitions());
    }
    assert!((5..30).contains(&most), "{most}");
}

#[test]
fn a_walk_over_a_tables_shapes_lets_other_tasks_and_other_callers_in() {
    let many = Many::new(4_000);
    let registry = &many.life.registry;
    let _context = many.life.world.runtime.enter();
    let mut context = Context::from_waker(Waker::noop());
    let mut walk = std::pin::pin!(registry.of_table(schema(0, 0).oid, |shape| shape.is_complete()));
    let (mut polls, mut looks) = (0, registry.steps());
    let found = loop {
        polls += 1;
        if let Poll::Ready(found) = walk.as_mut().poll(&mut context) {
            break found;
        }
        // Nobody holds it, and a piece was looked at.
        let now = registry.steps();
        assert!(registry.count() > 4_000 && now - looks <= 2_048, "{}", now - looks);
        looks = now;
    };
    assert!(polls > 3, "{polls}");
    assert!(found.into_iter().map(|shape| shape.id()).eq((1..=4_000).map(ShapeId)));
}

/// A reader of the log who looks at something else first.
struct Slow {
    registry: Arc<Registry>,
    shape: Arc<Shape>,
    lines: Arc<Mutex<Vec<String>>>,
}

impl io::Write for Slow {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let (registry, shape) = (Arc::clone(&self.registry), Arc::clone(&self.shape));
        let (done, is_done) = threads::channel();
        std::thread::spawn(move || {
            shape.age(Duration::from_secs(5));
            registry.note_use(&shape);
            done.send(registry.count())
        });
        let others = is_done.recv_timeout(Duration::from_secs(20));
        others.expect("nobody can ask for a shape while this is said");
        self.lines.lock().unwrap().push(String::from_utf8_lossy(line).into_owned());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn evictions_are_said_in_few_lines_and_not_while_requests_wait() {
    let many = Many::new(400);
    let (registry, lines) = (Arc::clone(&many.life.registry), Arc::default());
    let shape = registry.by_id(ShapeId(400)).unwrap();
    let slow = {
        let (registry, lines) = (Arc::clone(&registry), Arc::clone(&lines));
        move || Slow {
            registry: Arc::clone(&registry),
            shape: Arc::clone(&shape),
            lines: Arc::clone(&lines),
        }
    };
    let log = tracing_subscriber::fmt().with_writer(slow).with_ansi(false).without_time();
    let limits = |max: usize| ShapeLimits { max: Some(max), idle: None };
    tracing::subscriber::with_default(log.finish(), || {
        many.run(evict(&registry, limits(registry.count() - 3)));
        many.run(free(&registry, 0));
        many.run(evict(&registry, limits(100)));
        let idle = Some(Duration::from_secs(10_000_000 - 392_500));
        many.run(evict(&registry, ShapeLimits { max: Some(99), idle }));
        many.run(free(&registry, 1));
    });
    let lines: &[String] = &lines.lock().unwrap();
    println!("{lines:?}");
    let ones = lines[..3].iter().all(|line| line.contains("shape evicted handle="));
    assert!(ones && lines.len() == 6, "each of a few, all of many at once");
    assert!(lines[3].contains("shapes evicted shapes=307 expired=0 first=\"7-4 7-5 "));
    assert!(lines[4].contains("shapes evicted shapes=82 expired=82 first="));
}

#[test]
fn who_shares_packs_is_looked_for_once_however_many_packs_there_are() {
    let many = Many::new(400);
    let registry = &many.life.registry;
    let (packs, gone) = (&many.life.shop.packs, ShapeId(u64::MAX));
    let rows = |name: &str| {
        let values: ArrayRef = Arc::new(StringArray::from(vec![name.repeat(200)]));
        RecordBatch::try_from_iter([("body", values)]).unwrap()
    };
    let sharing = [100, 200, 300].map(|id| registry.by_id(ShapeId(id)).unwrap());
    for shape in &sharing {
        let shared = rows(&shape.handle());
        let first = packs.append(gone, 0, 0, &shared).unwrap();
        let place = packs.append(shape.id(), 0, 0, &shared).unwrap();
        assert_eq!(first, place, "it is stored once");
        shape.newest().update(|state| state.batches.push(place));
        // Whoever stored it has ended, and what fills the pack up has gone as well.
        let rest = |n: u32| packs.append(gone, 0, 0, &rows(&format!("{n} {place:?}"))).unwrap();
        let rest: Vec<_> = (0..).map(rest).take_while(|one| one.pack() == place.pack()).collect();
        packs.release(&[rest, vec![first]].concat());
    }
    let before = packs.sparse();
    assert_eq!(before.len(), 3);
    let steps = registry.steps();
    many.run(async { many.life.retention.lock().await.clean_packs().await.unwrap() });
    let steps = registry.steps() - steps;
    for shape in &sharing {
        assert!(shape.newest().batches().iter().all(|place| !before.contains(&place.pack())));
    }
    assert!(steps <= registry.count() as u64 + 3, "{steps} among {}", registry.count());
}
