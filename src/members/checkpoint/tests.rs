//! What is kept, written down and brought back: whole, where it belongs, or not at all.

use brooklet_dataflows::Selection;
use brooklet_dataflows::members::Members;
use brooklet_sql::{
    Column, RelationColumn, RelationName, ReplicaIdentity, Row, TableSchema, Tables, compile_with,
};

use super::super::load::all_needs;
use super::*;
use crate::change_log::Writer;
use crate::limits::HELD_CHANGE_BYTES;
use crate::storage::tests::faulty::{Fault, Faulty};
use crate::storage::tests::rng::Rng;
use crate::storage::{Directory, make_dir};

const OUTER: u32 = 7;
const INNER: u32 = 8;

fn table(oid: u32, name: &str) -> Arc<TableSchema> {
    let name = RelationName { schema: "public".into(), table: name.into() };
    let number = Column {
        name: "n".into(),
        type_oid: 23,
        base_type_oid: 23,
        type_name: "int4".into(),
        key_position: Some(0),
        number: 1,
        dropped: false,
        ..Column::gone()
    };
    Arc::new(TableSchema {
        oid,
        name,
        columns: vec![number],
        partitioned: false,
        unique: Vec::new(),
    })
}

fn relation(oid: u32, name: &str) -> Arc<Relation> {
    let column = RelationColumn { name: "n".into(), type_oid: 23, type_modifier: -1 };
    Arc::new(Relation {
        oid,
        name: RelationName { schema: "public".into(), table: name.into() },
        identity: ReplicaIdentity::Full,
        columns: vec![column],
        order: Vec::new(),
    })
}

fn plan(id: u64) -> Arc<ShapePlan> {
    let (outer, inner) = (table(OUTER, "t"), table(INNER, "inside"));
    let tables: Tables = [(inner.name.clone(), inner)].into_iter().collect();
    let predicate = compile_with("n IN (SELECT n FROM inside)", &[], &outer, &tables).unwrap();
    let selection = Selection { table: outer, columns: [0].into(), key: [0].into(), listed: false };
    Arc::new(ShapePlan {
        id: ShapeId(id),
        selection: Arc::new(selection),
        predicate: Some(predicate),
    })
}

fn row(number: u64) -> Row {
    Row::new([Some(number.to_string().as_str())]).unwrap()
}

/// Transaction `n` changes the one outer row from `n` − 1, and brings an inner one.
fn transaction(n: u64) -> Vec<Change> {
    let change = |table, old, new| Change { seq: 0, op_position: 0, table, old, new };
    vec![change(OUTER, Some(row(n - 1)), Some(row(n))), change(INNER, None, Some(row(n)))]
}

/// What is there after transaction `n`, table by table.
fn rows_after(n: u64) -> Vec<(u32, Vec<Row>)> {
    vec![(OUTER, vec![row(n)]), (INNER, (1..=n).map(row).collect())]
}

fn standing(n: u64, shapes: &[u64]) -> Standing {
    let mut members = Members::default();
    for (name, _) in all_needs([&plan(1)]) {
        let mut counts = Counts::new(&name);
        let rows = rows_after(n).into_iter().find(|(table, _)| *table == name.table).unwrap().1;
        rows.iter().for_each(|row| counts.add(row, 1));
        members.keep(name, counts).unwrap();
    }
    let shapes = shapes.iter().map(|id| ShapeId(*id)).collect();
    Standing { position: Lsn(100 * n), shapes, rows: members.freeze() }
}

fn write(writer: &mut Writer, n: u64, changes: &mut [Change], truncated: &[u32]) {
    writer.begin(Lsn(100 * n), n as u32).unwrap();
    writer.append(changes);
    if !truncated.is_empty() {
        writer.append_truncate(truncated);
    }
    writer.commit(Lsn(100 * n + 50), 0).unwrap();
    writer.sync().unwrap();
}

fn found(rows: Vec<(KeptName, Counts)>) -> Vec<(u32, Vec<Row>)> {
    let rows = rows.into_iter().map(|(name, counts)| {
        assert!(counts.rows().all(|(_, count)| count == 1));
        let mut rows: Vec<Row> = counts.rows().map(|(row, _)| row).collect();
        rows.sort_by_key(|row| {
            String::from_utf8_lossy(row.get(0).unwrap()).parse::<u64>().unwrap()
        });
        (name.table, rows)
    });
    rows.collect()
}

type Found = Result<Vec<(u32, Vec<Row>)>, Unfit>;

fn restart(checkpoints: &Checkpoints, log: &ChangeLog, between: (Lsn, Lsn), bytes: usize) -> Found {
    Ok(found(checkpoints.catch_up(log, &[plan(1)], between, bytes)?.read()?))
}

#[test]
fn what_came_after_it_up_to_the_end_of_the_logs_is_added() {
    let dir = tempfile::tempdir().unwrap();
    let storage = Directory::handle();
    let (log, mut writer, _) = ChangeLog::open(&storage, &dir.path().join("changes")).unwrap();
    (1..=9).for_each(|n| write(&mut writer, n, &mut transaction(n), &[]));
    let checkpoints = Checkpoints::new(&storage, dir.path());
    let at = |repaired: u64, after: u64| (Lsn(repaired), Lsn(after));
    let all = usize::MAX;
    assert!(restart(&checkpoints, &log, at(0, 600), all).is_err(), "there is none");
    checkpoints.write(&standing(3, &[5, 1])).unwrap();
    assert_eq!(checkpoints.position(), Lsn(300));
    for n in 3..=9 {
        assert_eq!(restart(&checkpoints, &log, at(0, 100 * n), all).unwrap(), rows_after(n));
        assert_eq!(restart(&checkpoints, &log, at(300, 100 * n + 7), all).unwrap(), rows_after(n));
    }
    for between in [at(301, 600), at(0, 299)] {
        let refused = restart(&checkpoints, &log, between, all);
        assert!(matches!(refused, Err(Unfit::Elsewhere(..))), "{between:?}");
    }
    let refused = restart(&checkpoints, &log, at(0, 600), 1);
    assert!(matches!(refused, Err(Unfit::Redefined(_))), "a transaction is too large");
    let two = |more: usize| restart(&checkpoints, &log, at(0, 600), 2 * HELD_CHANGE_BYTES + more);
    assert!(matches!(two(0), Err(Unfit::Redefined(_))), "rows are not all that it costs");
    assert_eq!(two(100).unwrap(), rows_after(6));
    write(&mut writer, 10, &mut transaction(10), &[INNER]);
    assert_eq!(restart(&checkpoints, &log, at(0, 900), all).unwrap(), rows_after(9));
    let refused = restart(&checkpoints, &log, at(0, 1_000), all);
    assert!(matches!(refused, Err(Unfit::Redefined(INNER))));
    // Rows that are taken away and were never there.
    checkpoints.write(&standing(5, &[1])).unwrap();
    let (log, mut writer, _) = ChangeLog::open(&storage, &dir.path().join("others")).unwrap();
    write(&mut writer, 8, &mut transaction(8), &[]);
    assert!(matches!(restart(&checkpoints, &log, at(0, 800), all), Err(Unfit::Broken)));
    // Of shapes that are there now none was there then.
    checkpoints.write(&standing(3, &[5])).unwrap();
    assert_eq!(restart(&checkpoints, &log, at(0, 300), all).unwrap(), []);
    checkpoints.write(&standing(3, &[])).unwrap();
    assert!(restart(&checkpoints, &log, at(0, 600), all).is_err(), "nothing is kept");
    assert_eq!((checkpoints.bytes(), checkpoints.position()), (0, Lsn::ZERO));
}

#[test]
fn the_change_log_has_to_reach_back() {
    let dir = tempfile::tempdir().unwrap();
    let storage = Directory::handle();
    let (log, mut writer, _) = ChangeLog::open(&storage, &dir.path().join("changes")).unwrap();
    let checkpoints = Checkpoints::new(&storage, dir.path());
    checkpoints.write(&standing(3, &[1])).unwrap();
    let mut n = 0;
    let rolled = loop {
        n += 1;
        for (oid, name) in [(OUTER, "t"), (INNER, "inside")] {
            writer.append_relation(&relation(oid, name));
        }
        writer.begin(Lsn(100 * n), n as u32).unwrap();
        writer.append(&mut transaction(n));
        let (_, rolled) = writer.commit(Lsn(100 * n + 50), 0).unwrap().unwrap();
        writer.sync().unwrap();
        if let Some(rolled) = rolled {
            break rolled;
        }
    };
    assert!(n > 4);
    let between = (Lsn::ZERO, Lsn(100 * n));
    assert_eq!(restart(&checkpoints, &log, between, 1 << 20).unwrap(), rows_after(n));
    log.seal(&rolled).unwrap();
    assert!(matches!(restart(&checkpoints, &log, between, 1 << 20), Err(Unfit::Log(_))));
    checkpoints.write(&standing(n, &[1])).unwrap();
    assert_eq!(restart(&checkpoints, &log, between, 1 << 20).unwrap(), rows_after(n));
}

#[test]
fn killed_at_any_operation_the_old_one_is_there_or_the_new_one() {
    let (mut old, mut new, mut refused) = (0, 0, 0);
    for after in 0..12 {
        for (fault, power_cut) in [
            (Fault::Kill, false),
            (Fault::PowerCut, true),
            (Fault::NoSpace, true),
            (Fault::SyncFails, true),
        ] {
            let disk = Faulty::new(Rng::new(after));
            let dir = Path::new("/storage");
            make_dir(&disk, dir).unwrap();
            let (log, mut writer, _) =
                ChangeLog::open(&disk.handle(), &dir.join("changes")).unwrap();
            (1..=9).for_each(|n| write(&mut writer, n, &mut transaction(n), &[]));
            drop((log, writer));
            Checkpoints::new(&disk.handle(), dir).write(&standing(3, &[1])).unwrap();
            disk.arm(fault, after);
            let written = Checkpoints::new(&disk.handle(), dir).write(&standing(6, &[1]));
            refused += usize::from(written.is_err());
            let disk = disk.restart(power_cut);
            let (log, _writer, _) = ChangeLog::open(&disk.handle(), &dir.join("changes")).unwrap();
            let checkpoints = Checkpoints::new(&disk.handle(), dir);
            let rows = restart(&checkpoints, &log, (Lsn::ZERO, Lsn(900)), 1 << 20).unwrap();
            assert_eq!(rows, rows_after(9));
            match checkpoints.position() {
                Lsn(300) => old += 1,
                Lsn(600) => new += 1,
                other => panic!("at {other}"),
            }
            assert!(
                written.is_err() || checkpoints.position() == Lsn(600),
                "it was said to be there"
            );
            checkpoints.write(&standing(7, &[1])).unwrap();
        }
    }
    assert!(old > 10 && new > 3 && refused > 10, "{old} {new} {refused}");
}

#[test]
fn of_one_that_is_cut_or_has_a_flipped_bit_nothing_is_used() {
    let dir = tempfile::tempdir().unwrap();
    let storage = Directory::handle();
    let (log, mut writer, _) = ChangeLog::open(&storage, &dir.path().join("changes")).unwrap();
    (1..=9).for_each(|n| write(&mut writer, n, &mut transaction(n), &[]));
    let checkpoints = Checkpoints::new(&storage, dir.path());
    checkpoints.write(&standing(3, &[1])).unwrap();
    let path = dir.path().join("kept.rows");
    let whole = std::fs::read(&path).unwrap();
    let refused = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        restart(&checkpoints, &log, (Lsn::ZERO, Lsn(900)), 1 << 20).is_err()
    };
    assert!((0..whole.len()).all(|cut| refused(&whole[..cut])));
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        assert!(refused(&flipped), "at {at}");
    }
    assert!(refused(&[&whole[..], &whole[FILE_HEAD as usize..]].concat()), "twice the same");
    assert!(!refused(&whole));
}
