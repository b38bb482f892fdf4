//! A client's copy of a shape, replayed from the log as strictly as the protocol allows.
//!
//! Enters: responses in order. Leaves: the rows. Every message is checked against the contract: positions rise,
//! nothing is inserted twice, nothing unknown is changed, transactions are closed, keys follow from the values.
//! A table without a key is a bag of rows: its keys are counted.

use std::collections::BTreeMap;

use serde_json::Value;

use super::database::Row;

/// Rows and where the log stands.
#[derive(Clone, Default)]
pub struct Log {
    /// From key to (how often, row); a keyed row is there once.
    rows: BTreeMap<String, (usize, Row)>,
    /// (lsn, op) of the last change.
    position: Option<(u64, u64)>,
    /// Whether the last change closed its transaction.
    closed: bool,
    /// Everything up to this position has been delivered, so the server said.
    pub seen: u64,
    /// Whether the end of the snapshot has been read.
    pub snapshot_read: bool,
    /// Every change after the snapshot, in order.
    pub changes: Vec<Change>,
}

/// One change as it was delivered.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    pub operation: String,
    pub key: String,
    pub value: Row,
    pub transaction: u64,
    pub lsn: u64,
    pub headers: Value,
}

/// What a schema header says that replaying needs.
#[derive(Clone)]
pub struct Schema {
    /// Column to its description.
    pub columns: BTreeMap<String, Value>,
}

impl Schema {
    /// Reads the header.
    pub fn parse(header: &str) -> Schema {
        let columns: BTreeMap<String, Value> = serde_json::from_str(header)
            .unwrap_or_else(|error| panic!("electric-schema: {error}: {header}"));
        for (name, column) in &columns {
            assert!(column["type"].is_string(), "column {name} has no type: {header}");
        }
        Schema { columns }
    }

    /// The key columns in key order; none for a table without a key.
    fn key(&self) -> Vec<&str> {
        let indexed = self
            .columns
            .iter()
            .filter_map(|(name, column)| Some((column["pk_index"].as_u64()?, name)));
        let mut key: Vec<(u64, &str)> = indexed.map(|(at, name)| (at, name.as_str())).collect();
        key.sort();
        key.into_iter().map(|(_, name)| name).collect()
    }
}

impl Log {
    /// The rows, repeated as often as they are there.
    pub fn rows(&self) -> Vec<Row> {
        let mut rows: Vec<Row> = self
            .rows
            .values()
            .flat_map(|(count, row)| std::iter::repeat_n(row.clone(), *count))
            .collect();
        rows.sort();
        rows
    }

    /// How many rows there are.
    pub fn has_key(&self, key: &str) -> bool {
        self.rows.contains_key(key)
    }

    /// How many rows there are.
    pub fn count(&self) -> usize {
        self.rows.values().map(|(count, _)| count).sum()
    }

    /// Replays one body; `up_to_date` is what the headers claim. Returns the offset of its last change.
    pub fn replay(&mut self, body: &Value, schema: &Schema, up_to_date: bool) -> Option<String> {
        let messages = body.as_array().unwrap_or_else(|| panic!("the body is no array: {body}"));
        let mut last = None;
        for (at, message) in messages.iter().enumerate() {
            match message["headers"]["control"].as_str() {
                None => last = self.change(message, schema).or(last),
                Some("snapshot-end") => self.snapshot_end(message),
                Some("up-to-date") => {
                    assert_eq!(at + 1, messages.len(), "up-to-date is not the last message");
                    assert!(up_to_date, "an up-to-date message without electric-up-to-date");
                    self.up_to_date(message);
                }
                Some(other) => panic!("unknown control message {other}: {message}"),
            }
        }
        let ended =
            messages.last().is_some_and(|message| message["headers"]["control"] == "up-to-date");
        assert_eq!(ended, up_to_date, "electric-up-to-date and the last message disagree: {body}");
        last
    }

    /// Behind the rows of the snapshot, and behind what was missed while the slot was lost.
    fn snapshot_end(&mut self, message: &Value) {
        assert!(
            if self.snapshot_read { self.closed } else { self.position.is_none() },
            "a snapshot-end out of place: {message}"
        );
        let headers = &message["headers"];
        let (low, high) = (decimal(&headers["xmin"]), decimal(&headers["xmax"]));
        let open = headers["xip_list"].as_array().expect("xip_list is a list");
        assert!(
            low <= high && open.iter().map(decimal).all(|xid| (low..high).contains(&xid)),
            "{message}"
        );
        self.snapshot_read = true;
    }

    fn up_to_date(&mut self, message: &Value) {
        assert!(self.snapshot_read, "up to date before the snapshot's end");
        assert!(
            self.position.is_none() || self.closed,
            "up to date inside a transaction after {:?}",
            self.position
        );
        // pglite-sync drops whatever comes at or below a position once reported: it may never be too high.
        self.seen = self.seen.max(decimal(&message["headers"]["global_last_seen_lsn"]));
    }

    /// Applies a change; returns its offset unless it is a row of the snapshot.
    fn change(&mut self, message: &Value, schema: &Schema) -> Option<String> {
        let headers = &message["headers"];
        let key = message["key"].as_str().unwrap_or_else(|| panic!("no key: {message}")).to_owned();
        let value = row(&message["value"]);
        let operation =
            headers["operation"].as_str().unwrap_or_else(|| panic!("no operation: {message}"));
        let relation =
            headers["relation"].as_array().unwrap_or_else(|| panic!("no relation: {message}"));
        assert_eq!(relation.len(), 2, "{message}");
        for (name, text) in &value {
            let column = schema
                .columns
                .get(name)
                .unwrap_or_else(|| panic!("unknown column {name}: {message}"));
            assert!(
                text.is_some() || column["not_null"] != true,
                "NULL in a NOT NULL column: {message}"
            );
        }
        check_key(&key, relation, &value, schema);
        if headers["lsn"].is_null() {
            assert!(!self.snapshot_read, "a row without a position after the snapshot: {message}");
            assert_eq!(operation, "insert", "{message}");
            self.insert(&key, value, schema, message);
            return None;
        }
        let offset = self.advance(headers, message);
        match operation {
            "insert" => self.insert(&key, value.clone(), schema, message),
            "update" => self.update(&key, value.clone(), schema, message),
            "delete" => self.delete(&key, &value, schema, message),
            other => panic!("unknown operation {other}: {message}"),
        }
        let transaction = headers["txids"][0].as_u64().expect("checked above");
        let (operation, headers, lsn) =
            (operation.to_owned(), headers.clone(), decimal(&headers["lsn"]));
        self.changes.push(Change { operation, key, value, transaction, lsn, headers });
        Some(offset)
    }

    /// Checks a change's position against the one before it.
    fn advance(&mut self, headers: &Value, message: &Value) -> String {
        assert!(self.snapshot_read, "a change before the snapshot's end: {message}");
        let lsn = decimal(&headers["lsn"]);
        let op = headers["op_position"]
            .as_u64()
            .unwrap_or_else(|| panic!("op_position is no number: {message}"));
        let xids =
            headers["txids"].as_array().unwrap_or_else(|| panic!("txids is no list: {message}"));
        assert!(
            xids.len() == 1 && xids[0].as_u64().is_some_and(|xid| xid <= u32::MAX.into()),
            "{message}"
        );
        if let Some((before, op_before)) = self.position {
            assert!(
                (lsn, op) > (before, op_before),
                "{lsn}_{op} after {before}_{op_before}: {message}"
            );
            assert_eq!(
                self.closed,
                lsn != before,
                "`last` was wrong at {before}_{op_before}, next: {message}"
            );
        }
        assert!(
            lsn > self.seen,
            "everything up to {} was reported as seen, yet: {message}",
            self.seen
        );
        self.closed = match &headers["last"] {
            Value::Null => false,
            Value::Bool(true) => true,
            other => panic!("last is {other}: {message}"),
        };
        self.position = Some((lsn, op));
        format!("{lsn}_{op}")
    }

    fn insert(&mut self, key: &str, value: Row, schema: &Schema, message: &Value) {
        assert!(
            value.keys().eq(schema.columns.keys()),
            "an insert carries every selected column: {message}"
        );
        let keyed = !schema.key().is_empty();
        let entry = self.rows.entry(key.to_owned()).or_insert((0, value));
        entry.0 += 1;
        assert!(!keyed || entry.0 == 1, "inserted twice: {message}");
    }

    fn update(&mut self, key: &str, value: Row, schema: &Schema, message: &Value) {
        let key_columns = schema.key();
        let (_, row) =
            self.rows.get_mut(key).unwrap_or_else(|| panic!("update of an unknown row: {message}"));
        assert!(!key_columns.is_empty(), "an update without a key to find the row by: {message}");
        assert!(
            key_columns.iter().all(|column| value.contains_key(*column)),
            "no key in an update: {message}"
        );
        assert!(value.len() > key_columns.len(), "an update that changes nothing: {message}");
        for (column, text) in value {
            let before = row.insert(column.clone(), text.clone());
            let is_key = key_columns.contains(&column.as_str());
            let changed = before.as_ref() != Some(&text);
            assert!(
                changed != is_key,
                "{column} is in an update without need, was {before:?}: {message}"
            );
        }
    }

    fn delete(&mut self, key: &str, value: &Row, schema: &Schema, message: &Value) {
        let mut columns = schema.key();
        if columns.is_empty() {
            columns = schema.columns.keys().map(String::as_str).collect();
        }
        assert!(
            value.len() == columns.len() && columns.iter().all(|name| value.contains_key(*name)),
            "{message}"
        );
        let entry =
            self.rows.get_mut(key).unwrap_or_else(|| panic!("delete of an unknown row: {message}"));
        entry.0 -= 1;
        if entry.0 == 0 {
            self.rows.remove(key);
        }
    }
}

/// A key is a function of the table's name and the key's text, quotes unescaped, slashes doubled.
fn check_key(key: &str, relation: &[Value], value: &Row, schema: &Schema) {
    let name = |part: &Value| part.as_str().expect("a name").replace('/', "//").replace('.', "..");
    let mut columns = schema.key();
    if columns.is_empty() {
        columns = schema.columns.keys().map(String::as_str).collect();
    }
    let parts = columns.iter().map(|column| match value.get(*column) {
        Some(Some(text)) => format!("/\"{}\"", text.replace('/', "//")),
        Some(None) => "/_".to_owned(),
        None => panic!("key column {column} is missing beside key {key}: {value:?}"),
    });
    let expected = format!(
        "\"{}\".\"{}\"{}",
        name(&relation[0]),
        name(&relation[1]),
        parts.collect::<String>()
    );
    assert_eq!(key, expected, "the key does not follow from the row");
}

/// Values are text or null, never numbers, booleans or objects.
fn row(value: &Value) -> Row {
    let columns = value.as_object().unwrap_or_else(|| panic!("no object of columns: {value}"));
    let text = |(name, value): (&String, &Value)| match value {
        Value::Null => (name.clone(), None),
        Value::String(text) => (name.clone(), Some(text.clone())),
        other => panic!("{name} is neither text nor null: {other}"),
    };
    columns.iter().map(text).collect()
}

fn decimal(value: &Value) -> u64 {
    let text = value.as_str().unwrap_or_else(|| panic!("no decimal text: {value}"));
    text.parse().unwrap_or_else(|_| panic!("no decimal text: {text}"))
}
