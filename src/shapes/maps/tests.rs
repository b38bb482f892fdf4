//! The maps are what plain maps are, also where hashes are no help.

use std::collections::HashMap;
use std::hash::Hasher;

use brooklet_sql::{RelationName, Tables};

use super::super::base::{Base, SnapshotState, Stage};
use super::super::definition::{Defined, FilterSource, Question};
use super::super::handle::Handle;
use super::super::visibility::Visibility;
use super::*;
use crate::core::tests::postgres::schema;
use crate::shape_log::{LogPoint, ShapeLog};
use crate::storage::tests::rng::Rng;

mod identity;

/// A shape of a table, with so many rows' filter; complete or not.
pub(in super::super) fn shape(id: u64, table: usize, above: usize, complete: bool) -> Arc<Shape> {
    let name = RelationName { schema: "public".into(), table: format!("t{table}") };
    let filter = FilterSource { text: "n > $1".into(), params: vec![above.to_string()] };
    let asked = Question::all(name, Some(filter));
    let defined = Defined::new(schema(table, 0), &Tables::new(), asked).unwrap();
    let log = Arc::new(ShapeLog::new(ShapeId(id), 300));
    let base = Base::new(Handle::new(above as u32, id), LogPoint::BEGIN, 0, state(complete));
    Arc::new(Shape::new(defined, log, base))
}

fn state(complete: bool) -> SnapshotState {
    let stage = match complete {
        true => Stage::Complete(Visibility::new(1, 1, Box::default())),
        false => Stage::Starting,
    };
    SnapshotState { stage, ..SnapshotState::starting() }
}

/// Hashes of two bits, where the maps look at them: the lowest, the middle or the highest.
#[derive(Clone, Copy)]
struct Narrow(u32);

struct Few(u64, u32);

impl BuildHasher for Narrow {
    type Hasher = Few;

    fn build_hasher(&self) -> Few {
        Few(0, self.0)
    }
}

impl Hasher for Few {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        ((self.0 >> 13) & 3) << self.1
    }
}

impl Maps<Narrow> {
    fn narrow(shift: u32) -> Maps<Narrow> {
        Maps {
            by_question: HashMap::new(),
            by_handle: Pieces::default(),
            by_id: Sorted::default(),
            with_subqueries: BTreeMap::new(),
            making: BTreeMap::new(),
            hasher: Narrow(shift),
            last_micros: 0,
            steps: 0,
        }
    }
}

/// What plain maps say.
#[derive(Default)]
struct Model {
    ids: BTreeMap<ShapeId, Arc<Shape>>,
    /// By table and filter.
    questions: HashMap<(u32, String), Arc<Shape>>,
    handles: HashMap<Handle, Arc<Shape>>,
}

fn question(shape: &Shape) -> (u32, String) {
    (shape.table().oid, shape.plan.predicate.as_ref().unwrap().sql())
}

impl Model {
    fn insert(&mut self, shape: &Arc<Shape>) {
        self.ids.insert(shape.id(), Arc::clone(shape));
        self.questions.insert(question(shape), Arc::clone(shape));
        shape.handles().into_iter().for_each(|handle| self.add_handle(shape, handle));
    }

    fn add_handle(&mut self, shape: &Arc<Shape>, handle: Handle) {
        if self.ids.contains_key(&shape.id()) {
            self.handles.insert(handle, Arc::clone(shape));
        }
    }

    fn remove(&mut self, id: ShapeId) {
        let Some(shape) = self.ids.remove(&id) else { return };
        self.handles.retain(|handle, _| !shape.handles().contains(handle));
        self.questions.retain(|_, one| one.id() != id);
    }
}

fn same(found: Option<&Arc<Shape>>, expected: Option<&Arc<Shape>>) {
    assert_eq!(found.map(|shape| shape.id()), expected.map(|shape| shape.id()));
    assert!(found.zip(expected).is_none_or(|(found, expected)| Arc::ptr_eq(found, expected)));
}

fn check<S: BuildHasher>(maps: &mut Maps<S>, model: &Model, gone: &[Arc<Shape>]) {
    assert_eq!(maps.len(), model.ids.len());
    let all = maps.after(None, usize::MAX);
    assert!(all.iter().map(|shape| shape.id()).eq(model.ids.keys().copied()));
    for shape in model.ids.values().chain(gone) {
        same(maps.by_id(shape.id()), model.ids.get(&shape.id()));
        same(maps.by_question(shape.asked_for()), model.questions.get(&question(shape)));
        for handle in shape.handles() {
            same(maps.by_handle(handle), model.handles.get(&handle));
        }
    }
    for table in 0..3 {
        let mut found = Vec::new();
        let oid = schema(table, 0).oid;
        (0..).map_while(|piece| maps.of_table(oid, piece)).for_each(|piece| found.extend(piece));
        let mut found: Vec<ShapeId> = found.iter().map(|shape| shape.id()).collect();
        found.sort_unstable();
        let of_table = model.questions.values().filter(|shape| shape.table().oid == oid);
        let mut expected: Vec<ShapeId> = of_table.map(|shape| shape.id()).collect();
        expected.sort_unstable();
        assert_eq!(found, expected, "table {table}");
    }
    let making: Vec<ShapeId> = maps.making().map(|shape| shape.id()).collect();
    let incomplete = model.ids.values().filter(|shape| !shape.is_complete());
    assert!(making.into_iter().eq(incomplete.map(|shape| shape.id())));
}

fn compare<S: BuildHasher>(mut maps: Maps<S>, seed: u64, steps: usize) {
    let (mut rng, mut model, mut gone) = (Rng::new(seed), Model::default(), Vec::new());
    for step in 0..steps {
        let any = |model: &Model, rng: &mut Rng| {
            let at = rng.below(model.ids.len().max(1));
            model.ids.values().nth(at).cloned()
        };
        // It grows, then it shrinks.
        let grows = if step < steps / 2 { 60 } else { 20 };
        match rng.below(100) {
            chance if chance < grows => {
                // Few questions: many are asked again while another shape answers them, or after it ended.
                let (table, above) = (rng.below(3), rng.below(150));
                let new = shape(step as u64 + 1, table, above, rng.percent(80));
                maps.insert(&new);
                model.insert(&new);
            }
            60..70 => {
                // Again, and of one that is gone.
                if let Some(shape) = any(&model, &mut rng) {
                    maps.insert(&shape);
                }
                if let Some(shape) = gone.last() {
                    let handle = Handle::new(1 << 20, step as u64);
                    maps.add_handle(shape, handle);
                    assert!(maps.by_handle(handle).is_none());
                }
            }
            70..75 => {
                // A new base, under one more handle.
                let complete = any(&model, &mut rng).filter(|shape| shape.is_complete());
                let Some(shape) = complete else { continue };
                let handle = Handle::new(2 << 20, step as u64);
                shape.add_base(Arc::new(Base::new(handle, LogPoint::BEGIN, 0, state(true))));
                maps.add_handle(&shape, handle);
                maps.add_handle(&shape, handle);
                model.add_handle(&shape, handle);
            }
            75..78 => {
                let Some(shape) = any(&model, &mut rng) else { continue };
                let handle = shape.handles()[0];
                maps.forget_handle(handle);
                model.handles.remove(&handle);
            }
            _ => {
                let Some(shape) = any(&model, &mut rng) else { continue };
                let removed = maps.remove(shape.id()).unwrap();
                assert!(Arc::ptr_eq(&removed, &shape) && maps.remove(shape.id()).is_none());
                model.remove(shape.id());
                gone.push(shape);
            }
        }
        if step % 100 == 0 {
            check(&mut maps, &model, &gone);
        }
    }
    check(&mut maps, &model, &gone);
    let ids: Vec<ShapeId> = model.ids.keys().copied().collect();
    ids.into_iter().for_each(|id| {
        maps.remove(id).unwrap();
        model.remove(id);
    });
    check(&mut maps, &model, &gone);
    assert!(maps.by_question.is_empty(), "a table without shapes costs nothing");
    let forgotten = |shape: &Arc<Shape>| Arc::strong_count(shape) == 1;
    assert!(gone.iter().all(forgotten), "a shape that is gone is still held");
}

#[test]
fn the_maps_are_what_plain_maps_are() {
    for seed in 0..4 {
        compare(Maps::<DefaultHashBuilder>::default(), seed, 1_500);
    }
}

#[test]
fn the_maps_do_not_rest_on_hashes_being_different() {
    for shift in [0, 24, 62] {
        for seed in 0..4 {
            compare(Maps::narrow(shift), seed, 1_500);
        }
    }
}

#[test]
fn more_than_a_piece_of_one_hash_is_found_and_forgotten() {
    let mut maps = Maps::narrow(24);
    let shapes: Vec<Arc<Shape>> = (0..2_500).map(|n| shape(n + 1, 0, n as usize, true)).collect();
    shapes.iter().for_each(|shape| maps.insert(shape));
    let found = |maps: &Maps<Narrow>, shape: &Arc<Shape>| {
        let by_question = maps.by_question(shape.asked_for()).is_some();
        assert_eq!(maps.by_handle(shape.handles()[0]).is_some(), by_question);
        by_question
    };
    assert!(shapes.iter().step_by(50).all(|shape| found(&maps, shape)));
    shapes.iter().for_each(|shape| _ = maps.remove(shape.id()).unwrap());
    assert!(!shapes.iter().step_by(50).any(|shape| found(&maps, shape)));
}
