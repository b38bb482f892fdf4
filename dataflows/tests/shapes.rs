//! The dataflow against a model: every shape evaluated on every change, one after the other.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use brooklet_dataflows::worker::{self, Intake, Most};
use brooklet_dataflows::{
    Change, Collated, EndReason, Event, Posting, Selection, ShapeId, ShapePlan, verdict,
};
use brooklet_sql::{
    Collation, Column, Lsn, Relation, RelationColumn, RelationName, ReplicaIdentity, Row,
    TableSchema, compile,
};

const FILTERS: &[&str] = &[
    "n = 1",
    "n = 2 AND s = 'a'",
    "n IN (1, 2, 3)",
    "n > 2",
    "s LIKE 'a%'",
    "n = 1 OR s = 'b'",
    "n IS NULL",
    "NOT n = 1",
    "n = 3 OR n > 4",
    "false",
];

fn table(oid: u32) -> Arc<TableSchema> {
    let column = |name: &str, oid: u32, key: Option<usize>, text: bool| Column {
        name: name.into(),
        type_oid: oid,
        base_type_oid: oid,
        type_name: "x".into(),
        type_modifier: -1,
        dimensions: 0,
        not_null: name == "n",
        key_position: key,
        generated: false,
        labels: Vec::new(),
        element_type_oid: 0,
        enum_schema: String::new(),
        enum_name: String::new(),
        domain: None,
        parts: Vec::new(),
        rewritten: 0,
        collation: text.then(Collation::c),
        number: 0,
        dropped: false,
    };
    let columns = vec![
        column("id", 23, Some(0), false),
        column("n", 23, None, false),
        column("s", 25, None, true),
    ];
    let name = RelationName { schema: "public".into(), table: format!("t{oid}") };
    Arc::new(TableSchema { oid, name, columns, partitioned: false, unique: Vec::new() })
}

fn plan(id: u64, table: &Arc<TableSchema>, filter: Option<&str>) -> Arc<ShapePlan> {
    let predicate = filter.map(|text| compile(text, &[], table).unwrap());
    let listed = id.is_multiple_of(3);
    let columns = if listed { vec![0, 1] } else { vec![0, 1, 2] };
    let (table, columns, key) = (Arc::clone(table), columns.into(), [0].into());
    let selection = Arc::new(Selection { table, columns, key, listed });
    Arc::new(ShapePlan { id: ShapeId(id), selection, predicate })
}

/// Splitmix: small, good enough, the same everywhere.
struct Rng(u64);

impl Rng {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % limit
    }

    fn row(&mut self) -> Row {
        let (id, n) = (self.below(5).to_string(), self.below(7).to_string());
        let n = (n != "6").then_some(n.as_str());
        let s = [Some("a"), Some("ab"), Some("b"), Some(""), None][self.below(5) as usize];
        Row::new([Some(id.as_str()), n, s]).unwrap()
    }

    fn change(&mut self, seq: u64, op_position: u64) -> Change {
        let (old, new) = match self.below(4) {
            0 => (None, Some(self.row())),
            1 => (Some(self.row()), None),
            _ => (Some(self.row()), Some(self.row())),
        };
        Change { seq, op_position, table: 1 + self.below(2) as u32, old, new }
    }
}

/// Runs events in batches of random size; returns what came out.
fn run(events: Vec<Event>, most: Most, mut rng: Rng) -> Vec<Collated> {
    let found = Arc::new(Mutex::new(Vec::new()));
    let (collected, mut events) = (Arc::clone(&found), events.into_iter());
    let intake = move |batch: &mut Vec<Event>| {
        batch.extend(events.by_ref().take(1 + rng.below(20) as usize));
        if batch.is_empty() { Intake::Closed } else { Intake::Filled }
    };
    worker::run(intake, most, move |collated| collected.lock().unwrap().push(collated));
    Arc::into_inner(found).unwrap().into_inner().unwrap()
}

/// What shapes should get, by asking each about each change.
#[derive(Default)]
struct Model {
    live: BTreeMap<ShapeId, Arc<ShapePlan>>,
    relations: BTreeMap<u32, Arc<Relation>>,
    waiting: Vec<Arc<ShapePlan>>,
    open: BTreeMap<ShapeId, Vec<Posting>>,
    in_transaction: bool,
    closed: Lsn,
    out: Vec<Collated>,
}

impl Model {
    fn take(&mut self, event: &Event) {
        match event {
            Event::Change(change) => {
                self.in_transaction = true;
                for plan in self.live.values().filter(|plan| plan.table().oid == change.table) {
                    if let Some(verdict) = verdict(plan, change) {
                        let postings = self.open.entry(plan.id).or_default();
                        postings.push(Posting::new(plan, change, verdict));
                    }
                }
            }
            Event::Commit { lsn, xid } => {
                self.closed = *lsn;
                let open = std::mem::take(&mut self.open);
                let shapes = open.into_iter().map(|(shape, mut postings)| {
                    postings.last_mut().unwrap().last = true;
                    brooklet_dataflows::ShapePostings { shape, postings }
                });
                let shapes = shapes.collect();
                self.out.push(Collated::Transaction { lsn: *lsn, xid: *xid, shapes });
                self.close();
            }
            Event::Abort => {
                self.open.clear();
                self.close();
            }
            Event::AddShape(plan) if self.in_transaction => self.waiting.push(Arc::clone(plan)),
            Event::AddShape(plan) => self.install(Arc::clone(plan)),
            Event::RemoveShape(gone) => {
                self.waiting.retain(|plan| plan.id != gone.id);
                self.end(|plan| plan.id == gone.id, EndReason::Removed);
            }
            Event::Truncate(tables) => {
                self.in_transaction = true;
                self.end(|plan| tables.contains(&plan.table().oid), EndReason::Truncated);
            }
            Event::Relation(relation) => {
                let other = |plan: &ShapePlan| {
                    let difference = plan.table().difference(relation);
                    plan.table().oid == relation.oid
                        && !plan.selection.survives(&difference, plan.read())
                };
                self.end(other, EndReason::TableChanged);
                self.relations.insert(relation.oid, Arc::clone(relation));
            }
            Event::Position(lsn) => self.out.push(Collated::Position(*lsn)),
            Event::View(_) => {}
        }
    }

    fn close(&mut self) {
        self.in_transaction = false;
        for plan in std::mem::take(&mut self.waiting) {
            self.install(plan);
        }
    }

    fn install(&mut self, plan: Arc<ShapePlan>) {
        let shape = plan.id;
        self.out.push(Collated::Installed { shape, after: self.closed });
        let announced = self.relations.get(&plan.table().oid);
        if announced.is_some_and(|relation| plan.is_misplaced(relation)) {
            self.out.push(Collated::Ended { shapes: vec![shape], why: EndReason::TableChanged });
        } else {
            self.live.insert(shape, plan);
        }
    }

    fn end(&mut self, ends: impl Fn(&ShapePlan) -> bool, why: EndReason) {
        let ended: Vec<ShapeId> =
            self.live.values().filter(|plan| ends(plan)).map(|plan| plan.id).collect();
        for shape in ended {
            self.live.remove(&shape);
            self.open.remove(&shape);
            self.out.push(Collated::Ended { shapes: vec![shape], why });
        }
    }
}

fn relation(table: &TableSchema, renamed: bool) -> Arc<Relation> {
    let column = |column: &Column| RelationColumn {
        name: if renamed { format!("{}2", column.name) } else { column.name.clone() },
        type_oid: column.type_oid,
        type_modifier: -1,
    };
    Arc::new(Relation {
        oid: table.oid,
        name: table.name.clone(),
        identity: ReplicaIdentity::Full,
        columns: table.columns.iter().map(column).collect(),
        order: Vec::new(),
    })
}

fn events(rng: &mut Rng) -> Vec<Event> {
    let tables = [table(1), table(2)];
    let (mut events, mut seq) = (Vec::new(), 0);
    // The first one is not there.
    let mut plans = vec![plan(0, &tables[0], None)];
    for transaction in 1..60u64 {
        for op in 0..rng.below(12) {
            events.push(Event::Change(rng.change(seq, 2 * op)));
            seq += 1;
            match rng.below(12) {
                0..=3 => {
                    let filter = FILTERS.get(rng.below(FILTERS.len() as u64 + 1) as usize).copied();
                    let table = &tables[rng.below(2) as usize];
                    plans.push(plan(plans.len() as u64, table, filter));
                    events.extend(plans.last().cloned().map(Event::AddShape));
                }
                4 => {
                    let gone = &plans[rng.below(plans.len() as u64) as usize];
                    events.push(Event::RemoveShape(Arc::clone(gone)));
                }
                5 if rng.below(8) == 0 => {
                    events.push(Event::Truncate(vec![1 + rng.below(2) as u32]))
                }
                6 => {
                    let table = &tables[rng.below(2) as usize];
                    events.push(Event::Relation(relation(table, rng.below(20) == 0)));
                }
                _ => {}
            }
        }
        events.push(match rng.below(8) {
            0 => Event::Abort,
            _ => Event::Commit { lsn: Lsn(transaction), xid: transaction as u32 },
        });
        if rng.below(4) == 0 {
            events.push(Event::Position(Lsn(transaction)));
        }
    }
    events
}

/// Puts the parts of transactions together; asserts what parts promise.
fn whole(found: Vec<Collated>, most: Most) -> Vec<Collated> {
    let mut open: BTreeMap<ShapeId, Vec<Posting>> = BTreeMap::new();
    let mut out = Vec::new();
    for collated in found {
        match collated {
            Collated::Part(shapes) => {
                let count: usize = shapes.iter().map(|part| part.postings.len()).sum();
                assert!(count >= most.postings && shapes.is_sorted_by_key(|part| part.shape));
                for part in shapes {
                    assert!(part.postings.iter().all(|posting| !posting.last));
                    open.entry(part.shape).or_default().extend(part.postings);
                }
            }
            Collated::CutOff => open.clear(),
            Collated::Transaction { lsn, xid, mut shapes } => {
                for shape in &mut shapes {
                    let mut postings = open.remove(&shape.shape).unwrap_or_default();
                    postings.append(&mut shape.postings);
                    shape.postings = postings;
                }
                assert!(open.is_empty(), "a part is left over");
                out.push(Collated::Transaction { lsn, xid, shapes });
            }
            Collated::Ended { shapes, why } => {
                assert!((1..=most.ends).contains(&shapes.len()) && shapes.is_sorted());
                for shape in shapes {
                    open.remove(&shape);
                    out.push(Collated::Ended { shapes: vec![shape], why });
                }
            }
            other => out.push(other),
        }
    }
    out
}

#[test]
fn the_dataflow_says_what_asking_every_shape_about_every_change_says() {
    for seed in 0..200 {
        let mut rng = Rng(seed);
        let events = events(&mut rng);
        let mut model = Model::default();
        events.iter().for_each(|event| model.take(event));
        let part_postings = [1, 2, 3, 7, usize::MAX][seed as usize % 5];
        let most = Most { postings: part_postings, ends: [1, 2, 5, 1_000][seed as usize % 4] };
        let found = run(events, most, rng);
        let parts = found.iter().filter(|found| matches!(found, Collated::Part(_))).count();
        assert!(parts > 0 || part_postings > 3, "seed {seed}");
        assert!(parts == 0 || part_postings < usize::MAX, "seed {seed}");
        assert_eq!(whole(found, most), model.out, "seed {seed}");
    }
}

#[test]
fn many_ends_leave_in_few_results() {
    let table = table(1);
    for last in [Event::Truncate(vec![1]), Event::Relation(relation(&table, true))] {
        let shapes = (1..=2_500).map(|id| Event::AddShape(plan(id, &table, Some("n = 1"))));
        let events = shapes.chain([last]).collect();
        let most = Most { postings: usize::MAX, ends: 1_000 };
        let found = run(events, most, Rng(1));
        let ended = found.iter().filter_map(|one| match one {
            Collated::Ended { shapes, .. } => Some(shapes),
            _ => None,
        });
        let ended: Vec<&Vec<ShapeId>> = ended.collect();
        let counts: Vec<usize> = ended.iter().map(|shapes| shapes.len()).collect();
        assert!(counts == [1_000, 1_000, 500], "{} results", counts.len());
        assert!(ended.into_iter().flatten().copied().eq((1..=2_500).map(ShapeId)));
    }
}
