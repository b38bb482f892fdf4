//! What a catalogue says after restarts.

use std::panic::AssertUnwindSafe;

use brooklet_sql::{Column, RelationName, Tables, compile, compile_with};
use futures_util::FutureExt;

use super::super::definition::{LogMode, Replica};
use super::super::stored::Stored;
use super::super::template::Templates;
use super::*;
use crate::storage::tests::faulty::{Fault, Faulty};
use crate::storage::tests::rng::Rng;
use crate::storage::{Directory, make_dir};

/// The log of a shape that stays.
fn log() -> ShapeLog {
    ShapeLog::new(ShapeId(1), 10)
}

pub(super) fn finished(id: u64, table: &Arc<TableSchema>) -> Finished {
    let name = table.name.clone();
    let definition = Definition {
        table: 7,
        name,
        columns: vec![0],
        listed: false,
        replica: Replica::Full,
        log: LogMode::ChangesOnly,
    };
    Finished {
        id: ShapeId(id),
        template: Arc::new(Template::new(definition, Arc::clone(table), [0].into())),
        predicate: None,
        chunk_bytes: 10,
        visibility: "3:5:4".parse().unwrap(),
        until: Lsn(9),
        bases: vec![BaseRecord {
            handle: Handle::new(1, id),
            after: LogPoint::BEGIN,
            made: 1,
            visibility: "3:5:4".parse().unwrap(),
            batches: Vec::new(),
            chunks: 1,
        }],
        retired: Vec::new(),
        generation: 0,
    }
}

pub(super) fn table() -> Arc<TableSchema> {
    let name = RelationName { schema: "public".into(), table: "t".into() };
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
        oid: 7,
        name,
        columns: vec![number],
        partitioned: false,
        unique: Vec::new(),
    })
}

#[tokio::test]
async fn finished_shapes_survive_and_no_number_is_given_twice() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalog.log");
    let open = |ended: &[u64]| {
        let ended = ended.iter().map(|id| ShapeId(*id)).collect();
        Catalog::open(&Directory::handle(), &path, &ended).unwrap()
    };
    let ids = |recovered: &Recovered| -> Vec<u64> {
        recovered.shapes.iter().map(|shape| shape.id.0).collect()
    };
    let table = table();
    let (catalog, recovered) = open(&[]);
    assert_eq!((ids(&recovered), recovered.next_id), (vec![], 1));
    for id in [3, 4, 5] {
        catalog.finish(finished(id, &table), &log()).await.unwrap();
    }
    // The highest one is alive: it must stay.
    for _ in 0..2 {
        let (_, recovered) = open(&[]);
        assert_eq!((ids(&recovered), recovered.next_id), (vec![3, 4, 5], 6));
        assert_eq!(recovered.shapes[0].visibility, "3:5:4".parse().unwrap());
        assert_eq!(*recovered.templates[&recovered.shapes[0].template].table, *table);
    }
    let (catalog, _) = open(&[4]);
    catalog.remove(ShapeId(5)).await.unwrap();
    for _ in 0..2 {
        let (_, recovered) = open(&[]);
        assert_eq!((ids(&recovered), recovered.next_id), (vec![3], 6));
    }
}

#[tokio::test]
async fn a_cut_anywhere_leaves_whole_records() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalog.log");
    let (catalog, _) = Catalog::open(&Directory::handle(), &path, &HashSet::new()).unwrap();
    for id in [1, 2] {
        catalog.finish(finished(id, &table()), &log()).await.unwrap();
    }
    let (bytes, end) = (std::fs::read(&path).unwrap(), catalog.bytes() as usize);
    assert!(bytes.len() > end && bytes[end..].iter().all(|byte| *byte == 0));
    for cut in (0..=end + 20).chain([bytes.len()]) {
        std::fs::write(&path, &bytes[..cut]).unwrap();
        let (_, recovered) = Catalog::open(&Directory::handle(), &path, &HashSet::new()).unwrap();
        let ids: Vec<u64> = recovered.shapes.iter().map(|shape| shape.id.0).collect();
        assert!([1, 2].starts_with(&ids), "{ids:?}");
    }
}

#[tokio::test]
async fn a_shape_of_an_earlier_generation_of_partitions_does_not_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalog.log");
    let (catalog, _) = Catalog::open(&Directory::handle(), &path, &HashSet::new()).unwrap();
    catalog.finish(finished(1, &table()), &log()).await.unwrap();
    catalog.finish(Finished { generation: 1, ..finished(2, &table()) }, &log()).await.unwrap();
    let leaves = [(9, "5.".to_owned())].into();
    catalog.note_partitions(7, &KnownPartitions { leaves, generation: 1 });
    catalog.sync().await.unwrap();
    drop(catalog);
    for _ in 0..2 {
        let (_, recovered) = Catalog::open(&Directory::handle(), &path, &HashSet::new()).unwrap();
        let ids: Vec<u64> = recovered.shapes.iter().map(|shape| shape.id.0).collect();
        assert_eq!(ids, [2]);
        assert_eq!(recovered.partitions[&7].generation, 1);
    }
}

#[tokio::test]
async fn a_restart_compiles_a_filter_once_however_many_shapes_have_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalog.log");
    let (catalog, _) = Catalog::open(&Directory::handle(), &path, &HashSet::new()).unwrap();
    let table = table();
    let filters = ["n = 1", "n = 1 AND n <> 0", "n IN (1, 2)"];
    let shape = |id: u64| {
        let filter = filters[id as usize % 3].replace('1', &id.to_string());
        let filter = if id % 3 == 2 { filters[2].to_owned() } else { filter };
        let predicate = Some(compile(&filter, &[], &table).unwrap());
        Finished { predicate, ..finished(id, &table) }
    };
    let shapes = 3_000;
    let log = log();
    let finishing = (1..=shapes).map(|id| catalog.finish(shape(id), &log));
    futures_util::future::try_join_all(finishing).await.unwrap();
    drop(catalog);
    for _ in 0..2 {
        let (_, recovered) = Catalog::open(&Directory::handle(), &path, &HashSet::new()).unwrap();
        assert_eq!((recovered.templates.len(), recovered.forms.len()), (1, 3));
        let shared = Templates::default();
        let stored = Stored::compile(&recovered.templates, &recovered.forms, &shared);
        assert_eq!(stored.compiled(), 3, "a filter is compiled for its form, not for its shapes");
        let mut forms = HashSet::new();
        for record in &recovered.shapes {
            let (question, was) = (stored.question(record).unwrap(), shape(record.id.0));
            assert_eq!(question.predicate, was.predicate);
            assert_eq!(question.template.definition, was.template.definition);
            forms.insert(Arc::as_ptr(question.predicate.unwrap().form()));
        }
        assert_eq!((recovered.shapes.len(), forms.len()), (shapes as usize, 3));
    }
    // What nobody has any more goes, and numbers are not given to something else.
    let gone: HashSet<ShapeId> = (1..=shapes).filter(|id| id % 3 != 1).map(ShapeId).collect();
    let (catalog, recovered) = Catalog::open(&Directory::handle(), &path, &gone).unwrap();
    assert_eq!((recovered.shapes.len(), recovered.forms.len()), (1_000, 1));
    let other = Some(compile("n <> 5", &[], &table).unwrap());
    catalog
        .finish(Finished { predicate: other, ..finished(shapes + 1, &table) }, &log)
        .await
        .unwrap();
    drop(catalog);
    let (_, recovered) = Catalog::open(&Directory::handle(), &path, &HashSet::new()).unwrap();
    let stored = Stored::compile(&recovered.templates, &recovered.forms, &Templates::default());
    let last = stored.question(recovered.shapes.last().unwrap()).unwrap();
    assert_eq!(last.predicate.unwrap().sql(), "(\"n\" <> '5'::int4)");
    let first = stored.question(&recovered.shapes[0]).unwrap();
    assert_eq!(first.predicate.unwrap().sql(), "((\"n\" <> '0'::int4) AND (\"n\" = '1'::int4))");
}

#[tokio::test]
async fn how_tables_were_found_last_is_kept_as_long_as_shapes_are_about_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalog.log");
    let open = || Catalog::open(&Directory::handle(), &path, &HashSet::new()).unwrap();
    let (catalog, table, log) = (Arc::new(open().0), table(), log());
    let note = |files: u32| {
        let json = format!(r#"{{"files":"{files}","columns":{{"1":{{"xmin":7,"rewritten":1}}}}}}"#);
        serde_json::from_str::<crate::replication::rewrites::Note>(&json).unwrap()
    };
    catalog.finish(finished(1, &table), &log).await.unwrap();
    let mut rewritten = 0;
    for round in 0..2_000 {
        catalog.note_found(table.oid, &note(round));
        catalog.note_found(99, &note(round));
        rewritten += usize::from(round % 100 == 0 && catalog.compact().await.unwrap());
    }
    catalog.note_found(table.oid, &note(7));
    catalog.sync().await.unwrap();
    assert!(rewritten > 0, "never written again");
    for _ in 0..2 {
        let (_, recovered) = open();
        assert_eq!(recovered.notes, [(table.oid, note(7))].into());
    }
}

/// What a restart would find.
fn found(path: &Path) -> (Vec<ShapeRecord>, Vec<u32>, Vec<u32>, u64) {
    // A copy: reading cuts a torn end, and the file is being written.
    let copy = tempfile::NamedTempFile::new().unwrap();
    std::fs::copy(path, copy.path()).unwrap();
    let recovered = Catalog::read(&Directory::handle(), copy.path()).unwrap();
    let (forms, partitions) = (recovered.forms, recovered.partitions);
    let numbers = (forms.into_keys().collect(), partitions.into_keys().collect());
    (recovered.shapes, numbers.0, numbers.1, recovered.next_id)
}

#[tokio::test]
async fn written_again_while_it_is_in_use_it_says_the_same_and_what_comes_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalog.log");
    let (catalog, _) = Catalog::open(&Directory::handle(), &path, &HashSet::new()).unwrap();
    let (catalog, table, log) = (Arc::new(catalog), table(), log());
    let filtered = |id: u64, filter: &str| {
        let predicate = Some(compile(filter, &[], &table).unwrap());
        Finished { predicate, ..finished(id, &table) }
    };
    assert!(!catalog.compact().await.unwrap(), "nothing to do");
    let (mut rewritten, mut bytes) = (0, 0);
    catalog.note_partitions(7, &KnownPartitions::default());
    catalog.note_partitions(8, &KnownPartitions::default());
    for round in 0..60_u64 {
        catalog.finish(filtered(1, "n = 1"), &log).await.unwrap();
        catalog.finish(filtered(2 + round, "n < 5"), &log).await.unwrap();
        catalog.remove(ShapeId(2 + round)).await.unwrap();
        if round == 30 {
            catalog.forget_partitions(8);
        }
        if round % 7 == 0 {
            // Gathered, and nobody waits for it.
            let leaves = [(round as u32, "5.".to_owned())].into();
            catalog.note_partitions(7, &KnownPartitions { leaves, generation: 0 });
        }
        let before = found(&path);
        let begun = catalog.begin().unwrap();
        // What is written by others while it is copied, with a form that was just left out.
        catalog.finish(filtered(1000 + round, "n < 7"), &log).await.unwrap();
        catalog.note_partitions(9, &KnownPartitions::default());
        catalog.forget_partitions(9);
        if let Some(begun) = begun {
            catalog.replace(begun).map_err(|_| "failed").unwrap();
            (rewritten, bytes) = (rewritten + 1, catalog.bytes());
        }
        catalog.sync().await.unwrap();
        let after = found(&path);
        let mut shapes: Vec<u64> = before.0.iter().map(|shape| shape.id.0).collect();
        shapes.push(1000 + round);
        assert_eq!(after.0.iter().map(|shape| shape.id.0).collect::<Vec<_>>(), shapes);
        assert_eq!(after.0[..before.0.len()], before.0);
        assert!(after.0.iter().all(|shape| after.1.contains(&shape.filter.as_ref().unwrap().form)));
        // No shape is about the other table.
        assert_eq!((after.2, after.3), (vec![7], 1001 + round));
        catalog.remove(ShapeId(1000 + round)).await.unwrap();
    }
    assert!(rewritten > 10 && bytes < 2000, "{rewritten} {bytes}");
    // Nobody has them, and still no number is given twice.
    catalog.remove(ShapeId(1)).await.unwrap();
    assert_eq!((found(&path).0.len(), found(&path).3), (0, 1060));
}

/// Constants of a subquery are a part of the form: one of its own for each user.
#[tokio::test]
async fn a_table_of_thousands_of_forms_and_a_zone_are_written_once() {
    const NAME: &str = "a_name_that_is_found_easily";
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalog.log");
    let (catalog, _) = Catalog::open(&Directory::handle(), &path, &HashSet::new()).unwrap();
    let (catalog, outer, log) = (Arc::new(catalog), table(), log());
    let mut inner = TableSchema::clone(&outer);
    inner.name.table = "inside".into();
    (inner.oid, inner.columns[0].enum_name) = (8, NAME.into());
    let mut tables: Tables = [(inner.name.clone(), Arc::new(inner))].into_iter().collect();
    let zone = Zone::new("Europe/Berlin".into(), 3_600, &[(1_234_567, 3_600, 7_200)]).unwrap();
    tables.zones.insert(zone.key(), Arc::new(zone));
    let shape = |id: u64| {
        let local = "to_timestamp(n) AT TIME ZONE 'Europe/Berlin' > timestamp '2020-01-01'";
        let filter = format!("n IN (SELECT n FROM inside WHERE n = {id} AND {local})");
        let predicate = Some(compile_with(&filter, &[], &outer, &tables).unwrap());
        Finished { predicate, ..finished(id, &outer) }
    };
    for id in 1..=100 {
        catalog.finish(shape(id), &log).await.unwrap();
    }
    for id in 1..=80 {
        catalog.remove(ShapeId(id)).await.unwrap();
    }
    let begun = catalog.begin().unwrap().expect("there is much that is dead");
    catalog.replace(begun).map_err(|_| "failed").unwrap();
    // Written once more only by what comes after nobody had it.
    catalog.finish(shape(101), &log).await.unwrap();
    let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
    assert_eq!((text.matches(NAME).count(), text.matches("1234567").count()), (1, 1));
    drop(catalog);
    for _ in 0..2 {
        let (_, recovered) = Catalog::open(&Directory::handle(), &path, &HashSet::new()).unwrap();
        assert_eq!(recovered.forms.len(), 21);
        let shared = Templates::default();
        let stored = Stored::compile(&recovered.templates, &recovered.forms, &shared);
        for record in &recovered.shapes {
            assert_eq!(stored.question(record).unwrap().predicate, shape(record.id.0).predicate);
        }
        let tables: Vec<_> = recovered.forms.values().map(|form| &form.tables[0]).collect();
        assert!(tables.iter().all(|table| Arc::ptr_eq(table, tables[0])), "one in memory as well");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_was_told_that_a_record_is_durable_finds_it_however_often_the_file_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalog.log");
    let (catalog, _) = Catalog::open(&Directory::handle(), &path, &HashSet::new()).unwrap();
    let (catalog, table) = (Arc::new(catalog), table());
    let writers = (0..4u64).map(|writer| {
        let (catalog, table, path) = (Arc::clone(&catalog), Arc::clone(&table), path.clone());
        tokio::spawn(async move {
            let log = log();
            for number in 0..100 {
                let id = 1 + writer + 4 * number;
                catalog.finish(finished(id, &table), &log).await.unwrap();
                if number % 10 == 0 {
                    let shapes = found(&path).0;
                    assert!(shapes.iter().any(|shape| shape.id.0 == id), "{id} is not there");
                }
                catalog.remove(ShapeId(id)).await.unwrap();
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    let mut rewritten = 0;
    while writers.iter().any(|writer| !writer.is_finished()) {
        rewritten += usize::from(catalog.compact().await.unwrap());
        tokio::task::yield_now().await;
    }
    futures_util::future::try_join_all(writers).await.unwrap();
    assert!(rewritten > 10, "{rewritten}");
    assert_eq!((found(&path).0.len(), found(&path).3), (0, 401));
}

#[tokio::test]
async fn no_record_comes_after_a_removal_that_is_under_way() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalog.log");
    let (catalog, _) = Catalog::open(&Directory::handle(), &path, &HashSet::new()).unwrap();
    let log = log();
    assert!(catalog.finish(finished(1, &table()), &log).await.unwrap());
    log.leave();
    catalog.remove(ShapeId(1)).await.unwrap();
    assert!(!catalog.finish(finished(1, &table()), &log).await.unwrap());
    assert_eq!(found(&path).0, []);
}

/// What somebody was told of shapes: durable, or gone for good.
#[derive(Default)]
struct Told {
    finished: HashSet<u64>,
    removed: HashSet<u64>,
}

/// Two lives of a catalogue, each of which writes it again while it is in use. Says how often that was.
async fn two_lives(storage: &StorageHandle, path: &Path, told: &Mutex<Told>) -> Option<usize> {
    let (table, log, mut rewritten) = (table(), log(), 0);
    for life in 0..2_u64 {
        let (catalog, _) = Catalog::open(storage, path, &HashSet::new()).ok()?;
        for id in (1..=12).map(|id| 20 * life + id) {
            catalog.finish(finished(id, &table), &log).await.ok()?;
            told.lock().unwrap().finished.insert(id);
            if id % 3 != 0 {
                told.lock().unwrap().finished.remove(&id);
                catalog.remove(ShapeId(id)).await.ok()?;
                told.lock().unwrap().removed.insert(id);
            }
        }
        if let Some(begun) = catalog.begin().ok()? {
            catalog.replace(begun).ok()?;
            rewritten += 1;
        }
        catalog.finish(finished(20 * life + 13, &table), &log).await.ok()?;
        told.lock().unwrap().finished.insert(20 * life + 13);
    }
    Some(rewritten)
}

#[tokio::test]
async fn what_was_waited_for_is_there_wherever_the_power_goes() {
    let (dir, path) = (Path::new("/storage"), Path::new("/storage/catalog.log"));
    let (mut cuts, mut missed) = (0, Vec::new());
    for seed in 0..10 {
        for after in 0.. {
            let disk = Faulty::new(Rng::new(1000 * seed + after));
            make_dir(&disk, dir).unwrap();
            disk.arm(Fault::PowerCut, after);
            let told = Mutex::new(Told::default());
            // A sync that fails ends the process, which is played by a panic.
            let storage = disk.handle();
            let writing = AssertUnwindSafe(two_lives(&storage, path, &told));
            let written = writing.catch_unwind().await.unwrap_or(None);
            let whole = disk.hit().is_none();
            assert_eq!(written.is_some_and(|times| times > 0), whole, "it was not written again");
            cuts += usize::from(!whole);
            let told = told.into_inner().unwrap();
            let recovered = Catalog::open(&disk.restart(true).handle(), path, &HashSet::new());
            let found: HashSet<u64> = recovered.unwrap().1.shapes.iter().map(|s| s.id.0).collect();
            if !told.finished.is_subset(&found) || !told.removed.is_disjoint(&found) {
                missed.push((seed, after));
            }
            if whole {
                break;
            }
        }
    }
    assert_eq!(missed, [], "of {cuts} cuts");
    assert!(cuts > 500, "{cuts}");
}
