//! Batches, as the `arrow` crate reads them back.

use arrow::array::{Array, AsArray};
use arrow::datatypes::Date32Type;
use arrow::ipc::reader::StreamReader;
use brooklet_sql::{Column, Lsn, RelationName, Row};

use super::*;
use crate::shape_log::encode::{Entry, Operation};
use crate::shapes::visibility::Visibility;

fn table(columns: &[(&str, u32)]) -> TableSchema {
    let column = |(name, oid): &(&str, u32)| Column {
        name: (*name).into(),
        type_oid: *oid,
        base_type_oid: *oid,
        dropped: false,
        ..Column::gone()
    };
    let name = RelationName { schema: "public".into(), table: "t".into() };
    TableSchema {
        oid: 1,
        name,
        columns: columns.iter().map(column).collect(),
        partitioned: false,
        unique: Vec::new(),
    }
}

fn read(parts: &[&[u8]]) -> Vec<RecordBatch> {
    let bytes = parts.concat();
    StreamReader::try_new(&bytes[..], None).unwrap().map(Result::unwrap).collect()
}

fn typed(columns: &[(&str, u32)], replica: Replica) -> TypedView {
    let table = table(columns);
    let all: Vec<usize> = (0..columns.len()).collect();
    let view = View::new(&table, &all, &[0], replica);
    TypedView::new(&view, &table, &all, replica).unwrap()
}

#[test]
fn messages_made_apart_are_one_stream() {
    let typed = typed(&[("id", 23), ("day", 1082)], Replica::Full);
    let row = |id, day| Row::new([Some(id), day]).unwrap();
    let mut rows = typed.batch();
    rows.snapshot_row(&row("1", Some("1970-01-02"))).unwrap();
    rows.snapshot_row(&row("2", Some("infinity"))).unwrap();
    let mut end = typed.batch();
    end.snapshot_end(&Visibility::new(1, 3, [2].into())).unwrap();
    let (old, new) = (row("1", None), row("1", Some("-infinity")));
    let entry = Entry {
        operation: Operation::Update,
        row: &new,
        old: Some(&old),
        other: None,
        lsn: Lsn(u64::MAX),
        xid: 7,
        op: 4,
        last: true,
    };
    let mut log = typed.batch();
    log.entry(&entry).unwrap();
    log.up_to_date(Lsn(9)).unwrap();
    assert!(typed.batch().finish().unwrap().is_empty());
    let parts = [rows, end, log].map(|batch| batch.finish().unwrap());
    let batches = read(&[&typed.open(), &parts[0], &parts[1], &parts[2], CLOSE]);
    assert_eq!(batches.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [2, 1, 2]);
    let column = |batch: usize, name: &str| batches[batch].column_by_name(name).unwrap().clone();
    let days = column(0, "value").as_struct().column(1).clone();
    assert_eq!(days.as_primitive::<Date32Type>().iter().collect::<Vec<_>>(), [Some(1), None]);
    let unheld = column(0, "unrepresentable");
    assert!(unheld.is_null(0));
    assert_eq!(unheld.as_string::<i32>().value(1), r#"{"value":{"day":"infinity"}}"#);
    assert_eq!(column(1, "control").as_string::<i32>().value(0), "snapshot-end");
    assert!(column(1, "value").is_null(0) && column(2, "old_value").is_valid(0));
    let unheld = column(2, "unrepresentable");
    assert_eq!(unheld.as_string::<i32>().value(0), r#"{"value":{"day":"-infinity"}}"#);
}

#[test]
fn no_text_panics_in_any_column() {
    let oids = [
        16, 17, 20, 21, 23, 25, 114, 700, 701, 1082, 1083, 1114, 1184, 1700, 2950, 1007, 1182, 2951,
    ];
    let names: Vec<String> = oids.iter().map(|oid| format!("c{oid}")).collect();
    let columns: Vec<(&str, u32)> = names.iter().map(String::as_str).zip(oids).collect();
    let typed = typed(&columns, Replica::Default);
    let mut batch = typed.batch();
    for text in
        ["", "{", "{}", "x", "\\x", "{\"", "[1:1]={", "-", "1e999", "\u{1F980}", "9999-99-99"]
    {
        batch.snapshot_row(&Row::new(vec![Some(text); oids.len()]).unwrap()).unwrap();
    }
    // A row from before a column was added is shorter.
    batch.snapshot_row(&Row::new([None]).unwrap()).unwrap();
    let batch = batch.finish().unwrap();
    assert_eq!(read(&[&typed.open(), &batch, CLOSE])[0].num_rows(), 12);
}
