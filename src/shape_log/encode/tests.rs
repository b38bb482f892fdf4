//! Messages as the protocol shows them.

use brooklet_sql::Column;
use serde_json::{Value, json};

use super::super::postings::PostingWriter;
use super::*;

fn table(name: &str, columns: &[(&str, Option<usize>)]) -> TableSchema {
    let column = |(name, key_position): &(&str, Option<usize>)| Column {
        name: (*name).into(),
        type_oid: 25,
        base_type_oid: 25,
        type_name: "text".into(),
        type_modifier: -1,
        dimensions: 0,
        not_null: false,
        key_position: *key_position,
        generated: false,
        collation: None,
        number: 0,
        dropped: false,
        labels: Vec::new(),
        element_type_oid: 0,
        enum_schema: String::new(),
        enum_name: String::new(),
        domain: None,
        parts: Vec::new(),
        rewritten: 0,
    };
    let name = RelationName { schema: "my.schema".into(), table: name.into() };
    TableSchema {
        oid: 1,
        name,
        columns: columns.iter().map(column).collect(),
        partitioned: false,
        unique: Vec::new(),
    }
}

fn new_posting(change: &Change, verdict: Verdict) -> Posting {
    let Change { seq, op_position, .. } = *change;
    Posting { seq, op_position, verdict, last: false, weight: 10, breaks_promise: false }
}

fn messages(view: &View, posting: Posting, change: &Change, after: Offset) -> Vec<Value> {
    let dir = tempfile::tempdir().unwrap();
    let mut file = PostingWriter::open(
        &crate::storage::Directory::handle(),
        dir.path(),
        Lsn(u64::MAX),
        |_| Ok(()),
    )
    .unwrap();
    let shape = brooklet_dataflows::ShapeId(1);
    let blocks = file.append(Lsn(790), 7, &[(shape, &[posting])]);
    let mut found = Vec::new();
    view.entries(&blocks[0][0], &posting, change, after, |json| {
        found.push(serde_json::from_slice(json).unwrap());
    });
    found
}

fn row<const N: usize>(values: [Option<&str>; N]) -> Row {
    Row::new(values).unwrap()
}

#[test]
fn an_update_shows_the_key_and_what_changed() {
    let table = table("t", &[("id", Some(0)), ("a", None), ("b\"x", None)]);
    let view = View::new(&table, &[0, 1, 2], &[0], Replica::Default);
    let change = Change {
        seq: 0,
        op_position: 4,
        table: 1,
        old: Some(row([Some("1"), Some("x"), Some("y")])),
        new: Some(row([Some("1"), Some("x"), None])),
    };
    let posting = Posting { last: true, ..new_posting(&change, Verdict::Update) };
    let expected = json!({
        "key": "\"my..schema\".\"t\"/\"1\"",
        "value": {"id": "1", "b\"x": null},
        "headers": {"last": true, "operation": "update", "relation": ["my.schema", "t"],
            "txids": [7], "lsn": "790", "op_position": 4}
    });
    assert_eq!(messages(&view, posting, &change, Offset::SNAPSHOT_END), [expected]);
    let posting = new_posting(&change, Verdict::Delete);
    let found = messages(&view, posting, &change, Offset::SNAPSHOT_END);
    assert_eq!(found[0]["value"], json!({"id": "1"}));
    assert!(found[0]["headers"].get("last").is_none());
}

#[test]
fn a_key_change_is_a_delete_and_an_insert_that_name_each_other() {
    let table = table("t", &[("a", Some(1)), ("b", Some(0)), ("c", None)]);
    let view = View::new(&table, &[0, 1, 2], &[1, 0], Replica::Default);
    let old = row([Some("A/B"), Some("1"), Some("c")]);
    let new = row([Some("A/B"), Some("2"), Some("c")]);
    let change = Change { seq: 0, op_position: 4, table: 1, old: Some(old), new: Some(new) };
    let posting = Posting { last: true, ..new_posting(&change, Verdict::Rekey) };
    let found = messages(&view, posting, &change, Offset::SNAPSHOT_END);
    let (from, to) = ("\"my..schema\".\"t\"/\"1\"/\"A//B\"", "\"my..schema\".\"t\"/\"2\"/\"A//B\"");
    assert_eq!(found[0]["key"], from);
    assert_eq!(found[0]["value"], json!({"a": "A/B", "b": "1"}));
    assert_eq!(found[0]["headers"]["key_change_to"], to);
    assert_eq!(found[0]["headers"]["op_position"], 4);
    assert!(found[0]["headers"].get("last").is_none());
    assert_eq!(found[1]["key"], to);
    assert_eq!(found[1]["value"], json!({"a": "A/B", "b": "2", "c": "c"}));
    assert_eq!(found[1]["headers"]["key_change_from"], from);
    assert_eq!(found[1]["headers"]["op_position"], 5);
    assert_eq!(found[1]["headers"]["last"], true);
    assert_eq!(messages(&view, posting, &change, Offset { tx: 790, op: 4 }), found[1..]);
}

#[test]
fn snapshot_rows_have_the_same_keys_as_log_rows() {
    let table = table("t", &[("a", None), ("b", None)]);
    let view = View::new(&table, &[1, 0], &[0, 1], Replica::Default);
    let mut out = Vec::new();
    view.snapshot_row(&row([None, Some("x")]), &mut out);
    let found: Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(found["key"], "\"my..schema\".\"t\"/\"x\"/_");
    assert_eq!(found["value"], json!({"a": "x", "b": null}));
    assert_eq!(found["headers"]["operation"], "insert");
}
