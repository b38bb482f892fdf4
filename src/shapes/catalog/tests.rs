//! What a catalogue says after restarts.

use brooklet_sql::{Column, RelationName, compile};

use super::super::definition::{LogMode, Replica};
use super::super::stored::Stored;
use super::super::template::Templates;
use super::*;
use crate::storage::Directory;

fn finished(id: u64, table: &Arc<TableSchema>) -> Finished {
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

fn table() -> Arc<TableSchema> {
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
    Arc::new(TableSchema { oid: 7, name, columns: vec![number], partitioned: false })
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
        catalog.finish(finished(id, &table)).await.unwrap();
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
        catalog.finish(finished(id, &table())).await.unwrap();
    }
    let bytes = std::fs::read(&path).unwrap();
    for cut in 0..bytes.len() {
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
    catalog.finish(finished(1, &table())).await.unwrap();
    catalog.finish(Finished { generation: 1, ..finished(2, &table()) }).await.unwrap();
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
    let finishing = (1..=shapes).map(|id| catalog.finish(shape(id)));
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
    catalog.finish(Finished { predicate: other, ..finished(shapes + 1, &table) }).await.unwrap();
    drop(catalog);
    let (_, recovered) = Catalog::open(&Directory::handle(), &path, &HashSet::new()).unwrap();
    let stored = Stored::compile(&recovered.templates, &recovered.forms, &Templates::default());
    let last = stored.question(recovered.shapes.last().unwrap()).unwrap();
    assert_eq!(last.predicate.unwrap().sql(), "(\"n\" <> '5'::int4)");
    let first = stored.question(&recovered.shapes[0]).unwrap();
    assert_eq!(first.predicate.unwrap().sql(), "((\"n\" <> '0'::int4) AND (\"n\" = '1'::int4))");
}
