//! What a first draft of an evaluator does: walks a tree and makes a value of every operand.
//!
//! It gives the right answers for the rows of the bench and no more: it knows neither NULL's logic
//! nor errors, holds decimals in floats, and compares instants, dates and uuids as text. All of that
//! makes it faster than it could be if it had to be right.

use brooklet_sql::Row;

use super::COLUMNS;

#[derive(Clone, PartialEq, PartialOrd)]
pub enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<String>),
}

pub enum Naive {
    Column(usize),
    Constant(Value),
    Equal(Box<Naive>, Box<Naive>),
    Greater(Box<Naive>, Box<Naive>),
    GreaterOrEqual(Box<Naive>, Box<Naive>),
    Remainder(Box<Naive>, i64),
    And(Vec<Naive>),
    In(Box<Naive>, Vec<Value>),
    StartsWith(Box<Naive>, String),
    Contains(Box<Naive>, String),
    Lower(Box<Naive>),
    Has(Box<Naive>, Vec<String>),
    JsonContains(usize, serde_json::Value),
    JsonMember(usize, String),
    Case(Box<Naive>, Box<Naive>, Box<Naive>),
}

impl Naive {
    pub fn value(&self, row: &Row) -> Value {
        match self {
            Naive::Column(at) => match row.text(*at) {
                None => Value::Null,
                Some(text) => match COLUMNS[*at].1 {
                    16 => Value::Bool(text == "t"),
                    20 | 23 => Value::Int(text.parse().unwrap()),
                    1700 => Value::Float(text.parse().unwrap()),
                    1009 => {
                        let list = text.trim_matches(['{', '}']);
                        Value::List(list.split(',').map(str::to_owned).collect())
                    }
                    _ => Value::Text(text.to_owned()),
                },
            },
            Naive::Constant(value) => value.clone(),
            Naive::Equal(left, right) => Value::Bool(left.value(row) == right.value(row)),
            Naive::Greater(left, right) => Value::Bool(left.value(row) > right.value(row)),
            Naive::GreaterOrEqual(left, right) => Value::Bool(left.value(row) >= right.value(row)),
            Naive::Remainder(left, by) => match left.value(row) {
                Value::Int(int) => Value::Int(int % by),
                _ => Value::Null,
            },
            Naive::And(list) => {
                Value::Bool(list.iter().all(|one| one.value(row) == Value::Bool(true)))
            }
            Naive::In(operand, list) => Value::Bool(list.contains(&operand.value(row))),
            Naive::StartsWith(text, prefix) => match text.value(row) {
                Value::Text(text) => Value::Bool(text.starts_with(prefix)),
                _ => Value::Null,
            },
            Naive::Contains(text, part) => match text.value(row) {
                Value::Text(text) => Value::Bool(text.contains(part)),
                _ => Value::Null,
            },
            Naive::Lower(text) => match text.value(row) {
                Value::Text(text) => Value::Text(text.to_lowercase()),
                _ => Value::Null,
            },
            Naive::Has(list, parts) => match list.value(row) {
                Value::List(list) => Value::Bool(parts.iter().all(|part| list.contains(part))),
                _ => Value::Null,
            },
            Naive::JsonContains(at, part) => match json(row, *at) {
                Some(json) => Value::Bool(json_contains(&json, part)),
                None => Value::Null,
            },
            Naive::JsonMember(at, key) => {
                match json(row, *at).as_ref().and_then(|json| json.get(key)) {
                    Some(serde_json::Value::String(text)) => Value::Text(text.clone()),
                    _ => Value::Null,
                }
            }
            Naive::Case(when, then, otherwise) => match when.value(row) {
                Value::Bool(true) => then.value(row),
                _ => otherwise.value(row),
            },
        }
    }
}

fn json(row: &Row, at: usize) -> Option<serde_json::Value> {
    serde_json::from_str(row.text(at)?).ok()
}

fn json_contains(whole: &serde_json::Value, part: &serde_json::Value) -> bool {
    match (whole.as_object(), part.as_object()) {
        (Some(whole), Some(part)) => part
            .iter()
            .all(|(key, part)| whole.get(key).is_some_and(|found| json_contains(found, part))),
        _ => whole == part,
    }
}

pub fn column(name: &str) -> Box<Naive> {
    Box::new(Naive::Column(COLUMNS.iter().position(|column| column.0 == name).unwrap()))
}

pub fn int(int: i64) -> Box<Naive> {
    Box::new(Naive::Constant(Value::Int(int)))
}

pub fn float(float: f64) -> Box<Naive> {
    Box::new(Naive::Constant(Value::Float(float)))
}

pub fn text(text: &str) -> Box<Naive> {
    Box::new(Naive::Constant(Value::Text(text.to_owned())))
}
