//! The strict client itself: each rule of the log is broken once, and it must notice.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::{Value, json};

use crate::harness::log::{Log, Schema};

fn schema() -> Schema {
    let header = r#"{"id":{"type":"int4","pk_index":0,"not_null":true},"n":{"type":"text"}}"#;
    Schema::parse(header)
}

fn row(id: &str, n: &str) -> Value {
    json!({"key": format!("\"public\".\"t\"/\"{id}\""), "value": {"id": id, "n": n},
        "headers": {"operation": "insert", "relation": ["public", "t"]}})
}

fn change(operation: &str, id: &str, value: Value, lsn: &str, op: u64, last: bool) -> Value {
    let mut headers = json!({"operation": operation, "relation": ["public", "t"], "lsn": lsn, "op_position": op, "txids": [7]});
    if last {
        headers["last"] = json!(true);
    }
    json!({"key": format!("\"public\".\"t\"/\"{id}\""), "value": value, "headers": headers})
}

fn snapshot_end() -> Value {
    json!({"headers": {"control": "snapshot-end", "xmin": "5", "xmax": "9", "xip_list": ["6"]}})
}

fn up_to_date(seen: &str) -> Value {
    json!({"headers": {"control": "up-to-date", "global_last_seen_lsn": seen}})
}

/// Replays a snapshot with row 1, then the messages of further answers.
fn replays(answers: &[Vec<Value>]) -> bool {
    catch_unwind(AssertUnwindSafe(|| {
        let mut log = Log::default();
        log.replay(&json!([row("1", "a"), snapshot_end()]), &schema(), false);
        for answer in answers {
            let ends =
                answer.last().is_some_and(|message| message["headers"]["control"] == "up-to-date");
            log.replay(&json!(answer), &schema(), ends);
        }
    }))
    .is_ok()
}

#[test]
fn a_correct_log_is_replayed() {
    let first = vec![
        change("insert", "2", json!({"id": "2", "n": "b"}), "100", 0, false),
        change("update", "1", json!({"id": "1", "n": "c"}), "100", 2, false),
    ];
    let second = vec![change("delete", "2", json!({"id": "2"}), "100", 4, true), up_to_date("100")];
    assert!(replays(&[first, second, vec![up_to_date("200")]]));
}

#[test]
fn every_broken_rule_is_noticed() {
    let insert = |id: &str, lsn: &str, op: u64, last: bool| {
        change("insert", id, json!({"id": id, "n": "b"}), lsn, op, last)
    };
    let mut wrong_key = insert("2", "100", 0, true);
    wrong_key["key"] = json!("\"public\".\"t\"/\"3\"");
    let mut number = insert("2", "100", 0, true);
    number["value"]["n"] = json!(5);
    let broken: Vec<(&str, Vec<Vec<Value>>)> = vec![
        ("a second insert", vec![vec![insert("1", "100", 0, true)]]),
        (
            "an unknown row",
            vec![vec![change("update", "9", json!({"id": "9", "n": "x"}), "100", 0, true)]],
        ),
        (
            "a delete of nothing",
            vec![vec![change("delete", "9", json!({"id": "9"}), "100", 0, true)]],
        ),
        (
            "an update that changes nothing",
            vec![vec![change("update", "1", json!({"id": "1", "n": "a"}), "100", 0, true)]],
        ),
        ("a falling position", vec![vec![insert("2", "100", 0, true), insert("3", "99", 0, true)]]),
        (
            "a repeated operation",
            vec![vec![insert("2", "100", 0, false), insert("3", "100", 0, true)]],
        ),
        ("a missing last", vec![vec![insert("2", "100", 0, false), insert("3", "101", 0, true)]]),
        ("a last too early", vec![vec![insert("2", "100", 0, true), insert("3", "100", 2, true)]]),
        (
            "up to date in a transaction",
            vec![vec![insert("2", "100", 0, false), up_to_date("100")]],
        ),
        (
            "news below what was seen",
            vec![vec![up_to_date("150")], vec![insert("2", "100", 0, true)]],
        ),
        ("a partial insert", vec![vec![change("insert", "2", json!({"id": "2"}), "100", 0, true)]]),
        (
            "a delete with more than its key",
            vec![vec![change("delete", "1", json!({"id": "1", "n": "a"}), "100", 0, true)]],
        ),
        ("a key that does not follow", vec![vec![wrong_key]]),
        ("a number as value", vec![vec![number]]),
        ("a snapshot row after the snapshot", vec![vec![row("2", "b")]]),
        ("two ends of the snapshot", vec![vec![snapshot_end()]]),
        (
            "messages after up-to-date",
            vec![vec![up_to_date("1"), insert("2", "100", 0, true), up_to_date("100")]],
        ),
        (
            "NULL in a key",
            vec![vec![change("insert", "2", json!({"id": null, "n": "b"}), "100", 0, true)]],
        ),
    ];
    for (rule, answers) in broken {
        assert!(!replays(&answers), "not noticed: {rule}");
    }
}
