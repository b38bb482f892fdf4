//! The thread's state by itself, told of a stream by hand.

use brooklet_dataflows::Selection;
use brooklet_dataflows::members::Counts;
use brooklet_sql::{Column, RelationName, TableSchema, Tables, compile_with};

use super::*;
use crate::members::backlog::Share;
use crate::shape_log::postings::PostingWriter;
use crate::shape_log::{Appender, ShapeLog};
use crate::storage::Directory;

const OUTER: u32 = 7;
/// Inner tables of shapes 1 and 2.
const INNER: [u32; 2] = [8, 9];

fn column(name: &str, place: u16) -> Column {
    Column {
        name: name.into(),
        type_oid: 23,
        base_type_oid: 23,
        type_name: "int4".into(),
        key_position: (place == 0).then_some(0),
        number: 1 + place as i16,
        dropped: false,
        ..Column::gone()
    }
}

fn table(oid: u32, name: &str) -> Arc<TableSchema> {
    let name = RelationName { schema: "public".into(), table: name.into() };
    let (columns, unique) = (vec![column("n", 0), column("m", 1)], Vec::new());
    Arc::new(TableSchema { oid, name, columns, partitioned: false, unique })
}

fn plan(id: u64, filter: &str) -> Arc<ShapePlan> {
    let inner = [table(INNER[0], "one"), table(INNER[1], "two")];
    let outer = table(OUTER, "t");
    let tables: Tables = inner.map(|table| (table.name.clone(), table)).into_iter().collect();
    let predicate = Some(compile_with(filter, &[], &outer, &tables).unwrap());
    let (columns, key) = ([0].into(), [0].into());
    let selection = Arc::new(Selection { table: outer, columns, key, listed: true });
    Arc::new(ShapePlan { id: ShapeId(id), selection, predicate })
}

fn row(n: u64) -> Row {
    let n = n.to_string();
    Row::new([Some(n.as_str()), Some("0")]).unwrap()
}

fn change(table: u32, old: Option<u64>, new: Option<u64>) -> Change {
    Change { seq: 0, op_position: 0, table, old: old.map(row), new: new.map(row) }
}

struct World {
    lane: Lane,
    appender: Appender,
    logs: Arc<ShapeLogs>,
    all: Vec<Arc<ShapeLog>>,
    lsn: u64,
    _dir: tempfile::TempDir,
}

impl World {
    /// Rows 0 to `rows` of each table, and shapes with these filters.
    fn new(bytes_max: usize, rows: u64, filters: &[&str]) -> World {
        let dir = tempfile::tempdir().unwrap();
        let file = PostingWriter::open(&Directory::handle(), dir.path(), Lsn(u64::MAX), |_| Ok(()));
        let logs = Arc::new(ShapeLogs::default());
        let (ended, large) = (mpsc::unbounded_channel().0, mpsc::unbounded_channel().0);
        let (appender, handle) = Appender::new(file.unwrap(), Arc::clone(&logs), ended, large);
        let (_, inputs) = mpsc::channel(1);
        let (shared, at) = (Arc::clone(&logs), Lsn(0));
        let mut lane = Lane::new(inputs, handle, shared, Vec::new(), at, bytes_max);
        let mut all = Vec::new();
        for (id, filter) in (1..).zip(filters) {
            let plan = plan(id, filter);
            for (name, _) in needs(&plan) {
                let mut counts = Counts::new(&name);
                (0..rows).for_each(|n| counts.add(&name.project(&row(n)).unwrap(), 1));
                if !lane.members.keeps(&name) {
                    lane.members.keep(name, counts).unwrap();
                }
            }
            lane.members.add(plan);
            let log = Arc::new(ShapeLog::new(ShapeId(id), 1500));
            log.begins_exactly();
            log.begins_after(Seen::new("1:1:".parse().unwrap(), Lsn(0)));
            logs.insert(&log);
            all.push(log);
        }
        lane.keep_within_budget();
        World { lane, appender, logs, all, lsn: 0, _dir: dir }
    }

    fn commit(&mut self, changes: Vec<Change>) {
        self.lsn += 10;
        let mut stream: Vec<_> = changes.into_iter().map(Streamed::Change).collect();
        let xid = self.lsn as u32;
        stream.push(Streamed::Commit { lsn: Lsn(self.lsn), xid, last_op: 0 });
        self.lane.take(Input::Stream(stream, Share::default()));
        self.appender.turn().unwrap();
    }

    fn alive(&self) -> Vec<u64> {
        let mut alive: Vec<u64> = self.lane.members.all().iter().map(|shape| shape.0).collect();
        alive.retain(|shape| self.logs.has(ShapeId(*shape)));
        alive
    }
}

const OF_ONE: &str = "n IN (SELECT n FROM one)";
const OF_TWO: &str = "n IN (SELECT n FROM two)";

/// So many changes of which nothing is left.
fn comes_and_goes(table: u32, changes: u64) -> Vec<Change> {
    let pair = |n| [change(table, None, Some(n)), change(table, Some(n), None)];
    (1_000_000..).flat_map(pair).take(changes as usize).collect()
}

#[test]
fn a_transaction_takes_what_it_costs_of_what_is_left() {
    let mut world = World::new(1 << 20, 10, &[OF_ONE, OF_TWO]);
    world.commit(comes_and_goes(INNER[0], 1_800));
    assert_eq!(world.alive(), [1, 2]);
    world.commit(comes_and_goes(INNER[0], 2_200));
    assert_eq!(world.alive(), [2], "with 50 KB of rows");
    // Most is taken.
    let mut world = World::new(1 << 20, 10_000, &[OF_ONE, OF_TWO]);
    assert!(world.lane.kept > (1 << 20) / 2, "{}", world.lane.kept);
    assert_eq!(world.alive(), [1, 2]);
    world.commit(comes_and_goes(INNER[0], 1_800));
    assert_eq!(world.alive(), [2]);
    // Nearly all is, and a few changes go on.
    let mut world = World::new(1 << 20, 10, &[OF_ONE, OF_TWO]);
    world.lane.kept = 1 << 20;
    world.commit(comes_and_goes(INNER[0], 100));
    assert_eq!(world.alive(), [1, 2]);
}

#[test]
fn of_many_shapes_that_are_made_at_once_none_is_too_large_for_it() {
    for (changes, loads, expected) in [
        (900, 3, Some(Unkept::Crowded)),
        (2_200, 1, Some(TooLarge(1 << 20).into())),
        (500, 3, None),
    ] {
        let mut world = World::new(1 << 20, 10, &[OF_ONE]);
        for shape in 100..100 + loads {
            let needs = needs(&plan(shape, OF_TWO)).into_iter().map(|(name, _)| name).collect();
            let (answer, _asked) = tokio::sync::oneshot::channel();
            world.lane.take(Input::Collect(Collect { shape: ShapeId(shape), needs, answer }));
        }
        assert_eq!(world.lane.loads.len() as u64, loads);
        for n in 0..changes / 100 {
            let mut some = comes_and_goes(INNER[1], 100);
            some[0].seq = n;
            world.commit(some);
        }
        let refused = world.lane.loads.values().filter_map(|load| load.collected.as_ref().err());
        let refused: Vec<Unkept> = refused.copied().collect();
        assert_eq!(refused.first().copied(), expected, "{changes}");
        assert!(refused.len() < 2, "one is enough");
    }
}

#[test]
fn rows_that_are_not_as_kept_end_the_shapes_that_need_them_and_no_others() {
    let mut world = World::new(1 << 20, 10, &[OF_ONE, OF_TWO, "n IN (SELECT m FROM one)"]);
    let needs = needs(&plan(100, OF_ONE)).into_iter().map(|(name, _)| name).collect();
    let (answer, _asked) = tokio::sync::oneshot::channel();
    world.lane.take(Input::Collect(Collect { shape: ShapeId(100), needs, answer }));
    let seen = world.all[1].end().unwrap();
    // Of one table a row goes that nobody knows; of `m` it is one of those that there are.
    world.commit(vec![
        change(OUTER, Some(4), Some(400)),
        change(INNER[0], Some(77), None),
        change(INNER[1], None, Some(400)),
        change(INNER[1], Some(5), None),
    ]);
    assert_eq!(world.alive(), [2, 3]);
    assert!(world.lane.loads.is_empty(), "it needs them, too");
    let rows = |world: &World, shape| {
        let rows = world.lane.members.rows(ShapeId(shape));
        let mut rows: Vec<Row> = rows.collect();
        rows.sort_by(|one, other| one.as_bytes().cmp(other.as_bytes()));
        rows.iter().map(|row| String::from_utf8_lossy(row.get(0).unwrap()).into_owned()).collect()
    };
    let found: Vec<String> = rows(&world, 2);
    assert_eq!(found, ["0", "1", "2", "3", "6", "7", "8", "9", "400"]);
    assert!(world.all[1].end().unwrap() > seen, "it is told");
    let found: Vec<String> = rows(&world, 3);
    assert_eq!(found, ["0"]);
    // And goes on.
    world.commit(vec![change(INNER[1], Some(400), None)]);
    let found: Vec<String> = rows(&world, 2);
    assert_eq!(found.len(), 8);
}

#[test]
fn a_stream_that_only_passes_takes_no_room_while_rows_are_awaited() {
    let mut restoring = Restoring {
        plans: Vec::new(),
        reached: Lsn::ZERO,
        deferred: VecDeque::new(),
        bytes: 0,
        missed: false,
        restored: None,
    };
    let mut stream =
        |parts: Vec<Streamed>| restoring.put_off(Input::Stream(parts, Share::default()));
    stream(vec![Streamed::Change(change(OUTER, None, Some(1)))]);
    stream(vec![Streamed::Commit { lsn: Lsn(10), xid: 7, last_op: 0 }]);
    (11..1000).for_each(|lsn| stream(vec![Streamed::Passed(Lsn(lsn))]));
    stream(vec![Streamed::Truncate(vec![OUTER])]);
    stream(vec![Streamed::Commit { lsn: Lsn(1000), xid: 8, last_op: 0 }]);
    assert_eq!(restoring.reached, Lsn(1000));
    assert_eq!(restoring.deferred.len(), 1);
    let kinds: Vec<String> = restoring.stream().map(|one| format!("{one:?}")).collect();
    assert_eq!(kinds.len(), 5, "{kinds:?}");
    assert!(kinds[2].contains("Passed") && kinds[3].contains("Truncate"), "{kinds:?}");
    let mut seen = Vec::new();
    restoring.each_transaction(|xid, changes| seen.push((xid, changes.len())));
    assert_eq!(seen, [(7, 1), (8, 0)]);
}
