//! What a catalogue says after restarts.

use brooklet_sql::RelationName;

use super::super::definition::{LogMode, Replica};
use super::*;
use crate::storage::Directory;

fn finished(id: u64, table: &Arc<TableSchema>) -> Finished {
    let name = table.name.clone();
    let columns = vec![0];
    Finished {
        id: ShapeId(id),
        definition: Definition {
            table: 7,
            name,
            filter: None,
            columns,
            listed: false,
            replica: Replica::Full,
            log: LogMode::ChangesOnly,
        },
        source: None,
        table: Arc::clone(table),
        chunk_bytes: 10,
        visibility: "3:5:4".parse().unwrap(),
        until: Lsn(9),
        bases: vec![BaseRecord {
            handle: format!("1-{id}"),
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
    Arc::new(TableSchema { oid: 7, name, columns: Vec::new(), partitioned: false })
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
        recovered.shapes.iter().map(|(shape, _)| shape.id.0).collect()
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
        assert_eq!(recovered.shapes[0].0.visibility, "3:5:4".parse().unwrap());
        assert_eq!(*recovered.shapes[0].1, *table);
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
        let ids: Vec<u64> = recovered.shapes.iter().map(|(shape, _)| shape.id.0).collect();
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
        let ids: Vec<u64> = recovered.shapes.iter().map(|(shape, _)| shape.id.0).collect();
        assert_eq!(ids, [2]);
        assert_eq!(recovered.partitions[&7].generation, 1);
    }
}
