//! Answers in Arrow's stream format, read by the `arrow` crate and compared with the JSON of the same request.
//!
//! Postgres judges values: it says what number or bytes a text is, and Arrow must hold exactly that.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, RecordBatch, StructArray,
};
use arrow::datatypes::{
    DataType, Date32Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, SchemaRef,
    Time64MicrosecondType, TimestampMicrosecondType, UInt32Type, UInt64Type,
};
use arrow::ipc::reader::StreamReader;
use serde_json::{Map, Value, json};

use super::database::Session;
use super::http::Response;

/// What to accept for an answer in Arrow.
pub const ARROW: &str = "application/vnd.apache.arrow.stream";

/// Schema and batches of an answer, which must be a whole stream.
pub fn read(response: &Response) -> (SchemaRef, Vec<RecordBatch>) {
    assert_eq!(response.header("content-type"), Some(ARROW), "{}", response.shown());
    let end = [0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0];
    assert!(response.body.ends_with(&end), "the stream has no end");
    let reader = StreamReader::try_new(&response.body[..], None).expect("a schema");
    let schema = reader.schema();
    (schema, reader.map(|batch| batch.expect("a batch")).collect())
}

/// Compares answers in both forms along one log.
pub struct Comparison {
    session: Session,
    /// What Postgres calls each column's type.
    types: BTreeMap<String, String>,
    /// Rows by key, replayed from the JSON.
    rows: HashMap<String, Map<String, Value>>,
    /// What Postgres has said.
    known: HashMap<(String, String), String>,
    schema: Option<SchemaRef>,
    /// Messages that were compared, and values of them that Arrow cannot hold.
    pub compared: usize,
    pub unheld: usize,
}

impl Comparison {
    /// Of logs of a table.
    pub async fn of(session: Session, table: &str) -> Comparison {
        let columns = session
            .rows(&format!(
                "SELECT attname AS name, format_type(atttypid, atttypmod) AS type FROM pg_attribute \
                 WHERE attrelid = '{table}'::regclass AND attnum > 0 AND NOT attisdropped"
            ))
            .await;
        let named = |row: &super::Row, name: &str| row[name].clone().unwrap();
        let types = columns.iter().map(|row| (named(row, "name"), named(row, "type"))).collect();
        let (rows, known) = (HashMap::new(), HashMap::new());
        Comparison { session, types, rows, known, schema: None, compared: 0, unheld: 0 }
    }

    /// Both answers of one request say the same.
    pub async fn same(&mut self, json: &Response, arrow: &Response) {
        assert_eq!(json.status, arrow.status);
        for name in [
            "electric-handle",
            "electric-offset",
            "electric-schema",
            "electric-up-to-date",
            "electric-has-data",
            "cache-control",
            "vary",
        ] {
            assert_eq!(json.header(name), arrow.header(name), "{name}");
        }
        let (schema, batches) = read(arrow);
        assert_eq!(*self.schema.get_or_insert_with(|| Arc::clone(&schema)), schema);
        let mut messages =
            batches.iter().flat_map(|batch| (0..batch.num_rows()).map(move |row| (batch, row)));
        for message in json.json().as_array().expect("messages") {
            let (batch, row) = messages.next().unwrap_or_else(|| panic!("missing: {message}"));
            self.message(message, batch, row).await;
            self.compared += 1;
        }
        assert!(messages.next().is_none(), "more than {}", json.text());
    }

    async fn message(&mut self, message: &Value, batch: &RecordBatch, row: usize) {
        check_head(message, batch, row);
        let value = batch.column_by_name("value").unwrap().as_struct();
        let Some(shown) = message.get("value").and_then(Value::as_object) else {
            return assert!(value.is_null(row), "{message}");
        };
        let unheld = text(batch, "unrepresentable", row);
        let unheld: Value = unheld.map_or(json!({}), |text| serde_json::from_str(&text).unwrap());
        let key = message["key"].as_str().unwrap().to_owned();
        let operation = message["headers"]["operation"].as_str().unwrap();
        let before = self.rows.remove(&key);
        let mut whole = before.clone().unwrap_or_default();
        whole.extend(shown.clone());
        assert!(value.is_valid(row), "{message}");
        self.row(&whole, value, row, &unheld["value"]).await;
        if let Some(old) = batch.column_by_name("old_value") {
            let updated = operation == "update";
            assert_eq!(old.is_valid(row), updated, "{message}");
            if let Some(before) = before.filter(|_| updated) {
                self.row(&before, old.as_struct(), row, &unheld["old_value"]).await;
            }
        }
        if operation != "delete" {
            self.rows.insert(key, whole);
        }
    }

    /// A row of Arrow's is one of Postgres' texts, except for what it says it cannot hold.
    async fn row(
        &mut self,
        texts: &Map<String, Value>,
        row: &StructArray,
        at: usize,
        unheld: &Value,
    ) {
        assert_eq!(row.num_columns(), texts.len(), "{texts:?}");
        let mut left = unheld.as_object().map_or(0, Map::len);
        for (name, text) in texts {
            let array = row.column_by_name(name).unwrap_or_else(|| panic!("no column {name}"));
            let Some(text) = text.as_str() else {
                assert!(array.is_null(at) && unheld.get(name).is_none(), "{name} is null");
                continue;
            };
            let kind = self.types[name].clone();
            if let Some(said) = unheld.get(name) {
                assert!(array.is_null(at) && said == text, "{name}: {text} is {said}");
                assert!(is_beyond(&kind, text), "{kind} {text} could be held");
                (self.unheld, left) = (self.unheld + 1, left - 1);
                continue;
            }
            assert!(array.is_valid(at), "{name}: {text} has become null");
            self.value(&kind, text, array, at).await;
        }
        assert_eq!(left, 0, "{unheld}");
    }

    async fn value(&mut self, kind: &str, text: &str, array: &ArrayRef, at: usize) {
        let DataType::List(_) = array.data_type() else {
            let expected = self.expected(kind, text, array.data_type()).await;
            assert_eq!(shown(array, at), expected, "{kind} {text}");
            return;
        };
        let element = kind.strip_suffix("[]").expect("an array").to_owned();
        let quoted = text.replace('\'', "''");
        let query = format!(
            "SELECT item::text FROM unnest('{quoted}'::{kind}) WITH ORDINALITY AS u (item, place) ORDER BY place"
        );
        let items = self.session.rows(&query).await;
        let list = array.as_list::<i32>().value(at);
        assert_eq!(list.len(), items.len(), "{text}");
        for (place, item) in items.iter().enumerate() {
            match &item["item"] {
                None => assert!(list.is_null(place), "{text}"),
                Some(item) => {
                    let expected = self.expected(&element, item, list.data_type()).await;
                    assert_eq!(shown(&list, place), expected, "{kind} {text}");
                }
            }
        }
    }

    /// What Postgres makes of a text, as `shown` shows it.
    async fn expected(&mut self, kind: &str, text: &str, of: &DataType) -> String {
        let scale = match of {
            DataType::Date32 => "/ 86400",
            DataType::Time64(_) | DataType::Timestamp(..) => "* 1000000",
            DataType::Float32 => return format!("{:?}", text.parse::<f32>().unwrap()),
            DataType::Float64 => return format!("{:?}", text.parse::<f64>().unwrap()),
            _ => return text.to_owned(),
        };
        let known = (kind.to_owned(), text.to_owned());
        if !self.known.contains_key(&known) {
            let query = format!("SELECT trunc(extract(epoch FROM '{text}'::{kind}) {scale})");
            let said = self.session.value(&query).await;
            self.known.insert(known.clone(), said);
        }
        self.known[&known].clone()
    }
}

/// Whether a value is one of those that Arrow's type cannot hold, by its looks.
fn is_beyond(kind: &str, text: &str) -> bool {
    let far = ["29424", "29425", "29426", "29427"].iter().any(|year| text.contains(year));
    let odd = ["infinity", "NaN", "24:00:00"].iter().any(|word| text.contains(word));
    let array = kind.ends_with("[]") && (text.starts_with('[') || text.starts_with("{{"));
    array || odd && !kind.starts_with("float") || far && kind.starts_with("timestamp")
}

/// A value as text: Postgres' own where that is canonical, else the number that is stored.
fn shown(array: &ArrayRef, at: usize) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    match array.data_type() {
        DataType::Boolean => if bool_of(array.as_boolean(), at) { "t" } else { "f" }.to_owned(),
        DataType::Int16 => array.as_primitive::<Int16Type>().value(at).to_string(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(at).to_string(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(at).to_string(),
        DataType::Float32 => format!("{:?}", array.as_primitive::<Float32Type>().value(at)),
        DataType::Float64 => format!("{:?}", array.as_primitive::<Float64Type>().value(at)),
        DataType::Decimal128(..) => {
            array.as_any().downcast_ref::<Decimal128Array>().unwrap().value_as_string(at)
        }
        DataType::Utf8 => array.as_string::<i32>().value(at).to_owned(),
        DataType::Binary => format!("\\x{}", hex(array.as_binary::<i32>().value(at))),
        DataType::FixedSizeBinary(16) => {
            let digits = hex(array.as_fixed_size_binary().value(at));
            let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| &digits[part]);
            parts.join("-")
        }
        DataType::Date32 => array.as_primitive::<Date32Type>().value(at).to_string(),
        DataType::Time64(_) => array.as_primitive::<Time64MicrosecondType>().value(at).to_string(),
        DataType::Timestamp(..) => {
            array.as_primitive::<TimestampMicrosecondType>().value(at).to_string()
        }
        other => panic!("no column has the type {other}"),
    }
}

fn bool_of(array: &BooleanArray, at: usize) -> bool {
    array.value(at)
}

/// A message's text in a column, unless it is null.
pub fn text(batch: &RecordBatch, name: &str, row: usize) -> Option<String> {
    let column = batch.column_by_name(name).unwrap_or_else(|| panic!("no column {name}"));
    column.is_valid(row).then(|| column.as_string::<i32>().value(row).to_owned())
}

/// Everything beside the rows.
fn check_head(message: &Value, batch: &RecordBatch, row: usize) {
    let headers = &message["headers"];
    let text = |name: &str| json!(text(batch, name, row));
    let column = |name: &str| batch.column_by_name(name).unwrap();
    let number = |array: &ArrayRef| {
        array.is_valid(row).then(|| array.as_primitive::<UInt64Type>().value(row))
    };
    for name in ["operation", "control", "key_change_to", "key_change_from"] {
        assert_eq!(text(name), headers[name], "{name} of {message}");
    }
    assert_eq!(text("key"), message["key"], "{message}");
    assert_eq!(json!(number(column("op_position"))), headers["op_position"], "{message}");
    let lsn = json!(number(column("lsn")).map(|lsn| lsn.to_string()));
    match headers["global_last_seen_lsn"].as_str() {
        // It rises from one answer to the next, with all that the cluster writes: no two are equal.
        Some(seen) => {
            let seen = [seen, lsn.as_str().expect("a position")].map(|seen| seen.parse::<u64>());
            assert!(seen.iter().all(|seen| seen.is_ok()), "{lsn} of {message}");
        }
        None => assert_eq!(lsn, headers["lsn"], "{message}"),
    }
    let txids = column("txids").as_list::<i32>();
    let txids = txids.is_valid(row).then(|| txids.value(row));
    let txids = txids.map(|list| list.as_primitive::<UInt32Type>().values().to_vec());
    assert_eq!(json!(txids), headers["txids"], "{message}");
    let last = column("last").as_boolean();
    assert_eq!(last.is_valid(row), headers.get("lsn").is_some(), "{message}");
    assert_eq!(last.is_valid(row) && last.value(row), headers["last"] == true, "{message}");
    let snapshot = column("snapshot").as_struct();
    assert_eq!(snapshot.is_valid(row), headers.get("xmin").is_some(), "{message}");
    if snapshot.is_valid(row) {
        let of =
            |name: &str| json!(number(snapshot.column_by_name(name).unwrap()).unwrap().to_string());
        assert_eq!((of("xmin"), of("xmax")), (headers["xmin"].clone(), headers["xmax"].clone()));
        let list = snapshot.column_by_name("xip_list").unwrap().as_list::<i32>().value(row);
        let list = list.as_primitive::<UInt64Type>().values().iter().map(u64::to_string);
        assert_eq!(json!(list.collect::<Vec<_>>()), headers["xip_list"]);
    }
}
