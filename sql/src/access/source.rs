//! What is taken from a row to find the predicates that it may satisfy.
//!
//! *Enters*: a row. *Leaves*: a [`Reading`]: a key, several, NULL, or why there is none.
//! *Invariant*: whatever makes the source fail makes the comparison fail that the source was taken
//! from, so no predicate is true there because of it. What cannot be read, but might be, is
//! [`Found::Unknown`]. Sources of one name read the same of every row of their table.

use std::sync::Arc;

use crate::datum::Datum;
use crate::json::Json;
use crate::key::{self, Key, Reader};
use crate::name::quote;
use crate::scalar::{self, Scalar, Shared};
use crate::sort_key::{self, Keyed};
use crate::sql_type::SqlType;
use crate::value::Value;
use crate::{CaseMap, Row, TableSchema, compute, print};

use super::member_of::member_of;

/// Something that is read of rows, once for each, however many predicates ask about it.
#[derive(Debug, Clone)]
pub struct Source(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Equal names mean equal sources, of one table.
    name: String,
    kind: Kind,
    needs: Option<(Source, Key)>,
}

#[derive(Debug)]
enum Kind {
    /// The values of columns, for equality.
    Columns(Box<[(usize, Reader)]>),
    /// One column's value, in order.
    Column(usize, SqlType),
    /// Whether a column is NULL.
    Presence(usize),
    /// A value that is computed, in order if its type has one.
    Computed(Shared),
    /// Text with its case folded.
    Folded(Source, Fold),
    /// The elements of an array.
    Elements(Shared),
    /// What stands at a path of a `jsonb`.
    Json { json: Shared, path: Box<[String]>, part: JsonPart },
}

/// How case is folded.
#[derive(Debug, Clone)]
pub(super) enum Fold {
    /// As a collation does it, character for character.
    Map(Arc<CaseMap>),
    /// ASCII letters only.
    Ascii,
}

/// Which part of a `jsonb` counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum JsonPart {
    /// The scalar itself.
    Scalar,
    /// The scalars in an array; a lone scalar counts as one.
    Elements,
    /// What the operator `?` finds: keys, strings in an array, a lone string.
    Keys,
}

/// What a row has of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Null,
    /// The keys of the [`Reading`].
    Keys,
    /// An evaluation error: no predicate that asks about it is true.
    Error,
    /// It cannot be said: every predicate that asks about it is a candidate.
    Unknown,
}

/// The keys that a row has of a source; used again from row to row.
#[derive(Debug, Clone)]
pub struct Reading {
    /// Whether there are any.
    pub found: Found,
    /// Whether NULL was among several.
    pub null_element: bool,
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Default for Reading {
    fn default() -> Reading {
        Reading { found: Found::Null, null_element: false, bytes: Vec::new(), ends: Vec::new() }
    }
}

impl PartialEq for Reading {
    fn eq(&self, other: &Reading) -> bool {
        let parts = |one: &Reading| (one.found, one.null_element);
        parts(self) == parts(other) && self.ends == other.ends && self.bytes == other.bytes
    }
}

impl Reading {
    /// All keys.
    pub fn keys(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().map(move |end| {
            let key = &self.bytes[start..*end];
            start = *end;
            key
        })
    }

    fn clear(&mut self) {
        self.found = Found::Keys;
        self.null_element = false;
        self.bytes.clear();
        self.ends.clear();
    }

    fn end_key(&mut self) {
        self.ends.push(self.bytes.len());
    }

    /// One key, if it was written.
    fn only(&mut self, written: bool) {
        if written {
            self.end_key();
        } else {
            self.found = Found::Unknown;
        }
    }
}

impl Source {
    fn new(name: String, kind: Kind) -> Source {
        let needs = match &kind {
            Kind::Computed(scalar) | Kind::Elements(scalar) => member_of(scalar),
            Kind::Json { json, path, .. } => match &json.kind {
                scalar::Kind::Column(_) => path.first().map(|key| (&**json, &**key)),
                _ => None,
            },
            Kind::Folded(text, _) => {
                let needs = text.0.needs.clone();
                return Source(Arc::new(Inner { name, kind, needs }));
            }
            Kind::Columns(_) | Kind::Column(..) | Kind::Presence(_) => None,
        };
        let needs = needs.map(|(json, key)| {
            let mut bytes = Vec::new();
            sort_key::write_json(&Json::Text(key.to_owned()), &mut bytes);
            (Source::json(json, &[], JsonPart::Keys), Key::new(bytes))
        });
        Source(Arc::new(Inner { name, kind, needs }))
    }

    pub(super) fn columns(columns: &[(usize, Reader)]) -> Source {
        let mut name = "=".to_owned();
        columns.iter().for_each(|(column, reader)| name += &format!(" {column}:{reader:?}"));
        Source::new(name, Kind::Columns(columns.into()))
    }

    pub(super) fn column(column: usize, sql_type: SqlType) -> Source {
        Source::new(format!("< {column}:{sql_type:?}"), Kind::Column(column, sql_type))
    }

    pub(super) fn presence(column: usize) -> Source {
        Source::new(format!("? {column}"), Kind::Presence(column))
    }

    /// Of a scalar, which may be a bare column.
    pub(super) fn scalar(scalar: &Scalar) -> Source {
        match (&scalar.kind, SqlType::of(&scalar.data_type)) {
            (scalar::Kind::Column(column), Some(sql_type)) if sql_type != SqlType::Enum => {
                Source::column(*column, sql_type)
            }
            _ => Source::new(
                format!("f {}", identity(scalar)),
                Kind::Computed(Arc::new(scalar.clone())),
            ),
        }
    }

    pub(super) fn folded(text: Source, fold: Fold) -> Source {
        let by = match &fold {
            Fold::Map(map) => format!("{:x}", map.lower_fingerprint()),
            Fold::Ascii => "ascii".to_owned(),
        };
        Source::new(format!("i {by} {}", text.0.name), Kind::Folded(text, fold))
    }

    pub(super) fn elements(array: &Scalar) -> Source {
        Source::new(format!("[] {}", identity(array)), Kind::Elements(Arc::new(array.clone())))
    }

    pub(super) fn json(json: &Scalar, path: &[String], part: JsonPart) -> Source {
        let name = format!("j {part:?} {path:?} {}", identity(json));
        let json = Arc::new(json.clone());
        Source::new(name, Kind::Json { json, path: path.into(), part })
    }

    /// Its identity among the sources of a table.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// What a row must have for there to be a value here: a key of another source. A row that does not have it
    /// reads as [`Found::Null`] or [`Found::Error`], unless the other source does not give keys either.
    #[must_use]
    pub fn needs(&self) -> Option<(&Source, &Key)> {
        self.0.needs.as_ref().map(|(source, key)| (source, key))
    }

    /// The columns whose values, as they are, its keys are.
    pub fn equated(&self) -> impl Iterator<Item = usize> {
        let columns = match &self.0.kind {
            Kind::Columns(columns) => &columns[..],
            _ => &[],
        };
        columns.iter().map(|(at, _)| *at)
    }

    /// Whether each of its keys has eight bytes.
    #[must_use]
    pub fn is_narrow(&self) -> bool {
        matches!(self.0.kind, Kind::Column(_, sql_type) if sort_key::is_narrow(sql_type))
    }

    /// What it reads, in SQL as far as there is some.
    #[must_use]
    pub fn describe(&self, table: &TableSchema) -> String {
        let called = |at: usize| {
            table.columns.get(at).map_or_else(|| "?".to_owned(), |column| quote(&column.name))
        };
        let scalar = |scalar: &Scalar| print::scalar_by_name(scalar, &called);
        match &self.0.kind {
            Kind::Columns(columns) => {
                let names: Vec<String> = columns.iter().map(|(at, _)| called(*at)).collect();
                names.join(", ")
            }
            Kind::Column(at, _) | Kind::Presence(at) => called(*at),
            Kind::Computed(one) => scalar(one),
            Kind::Folded(text, _) => format!("{}, case folded", text.describe(table)),
            Kind::Elements(array) => format!("elements of {}", scalar(array)),
            Kind::Json { json, path, part } => {
                let path = match path.len() {
                    0 => scalar(json),
                    _ => format!("{} #> '{{{}}}'", scalar(json), path.join(",")),
                };
                match part {
                    JsonPart::Scalar => path,
                    JsonPart::Elements => format!("elements of {path}"),
                    JsonPart::Keys => format!("keys of {path}"),
                }
            }
        }
    }

    /// Reads a row.
    pub fn read(&self, row: &Row, reading: &mut Reading) {
        reading.clear();
        match &self.0.kind {
            Kind::Columns(columns) => {
                let written = key::write_columns(columns, row, &mut reading.bytes);
                match written {
                    None => reading.found = Found::Null,
                    Some(written) => reading.only(written),
                }
            }
            Kind::Column(column, sql_type) => {
                let Some(text) = row.get(*column) else {
                    reading.found = Found::Null;
                    return;
                };
                let value = Value::read(*sql_type, text);
                let written = value.map(|one| sort_key::write(one, &mut reading.bytes)).is_some();
                reading.only(written);
            }
            Kind::Presence(column) => {
                if row.get(*column).is_none() {
                    reading.found = Found::Null;
                }
            }
            Kind::Computed(scalar) => {
                let Some(datum) = computed(scalar, row, reading) else { return };
                let keyed = sort_key::write_datum(&datum, &mut reading.bytes);
                reading.only(keyed != Keyed::Not);
            }
            Kind::Folded(text, fold) => {
                text.read(row, reading);
                fold_in_place(fold, reading);
            }
            Kind::Elements(array) => {
                let Some(datum) = computed(array, row, reading) else { return };
                read_elements(&datum, reading);
            }
            Kind::Json { json, path, part } => {
                let Some(datum) = computed(json, row, reading) else { return };
                match datum {
                    Datum::Json(json) => read_json(&json, path, *part, reading),
                    _ => reading.found = Found::Unknown,
                }
            }
        }
    }
}

impl PartialEq for Source {
    fn eq(&self, other: &Source) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.name == other.0.name
    }
}

impl Eq for Source {}

/// The value of a scalar; says in the reading if there is none.
fn computed(scalar: &Scalar, row: &Row, reading: &mut Reading) -> Option<Datum> {
    match compute::value(scalar, row) {
        Ok(Some(datum)) => return Some(datum),
        Ok(None) => reading.found = Found::Null,
        Err(_) => reading.found = Found::Error,
    }
    None
}

fn fold_in_place(fold: &Fold, reading: &mut Reading) {
    if reading.found != Found::Keys {
        return;
    }
    match fold {
        Fold::Ascii => reading.bytes.make_ascii_lowercase(),
        Fold::Map(map) => {
            let folded: String =
                String::from_utf8_lossy(&reading.bytes).chars().map(|c| map.lower(c)).collect();
            reading.bytes = folded.into_bytes();
        }
    }
    reading.ends = vec![reading.bytes.len()];
}

fn read_elements(datum: &Datum, reading: &mut Reading) {
    let Datum::Array(array) = datum else {
        reading.found = Found::Unknown;
        return;
    };
    for element in &array.elements {
        let Some(element) = element else {
            reading.null_element = true;
            continue;
        };
        if sort_key::write_datum(element, &mut reading.bytes) == Keyed::Not {
            reading.found = Found::Unknown;
            return;
        }
        reading.end_key();
    }
}

fn read_json(json: &Json, path: &[String], part: JsonPart, reading: &mut Reading) {
    let found = path.iter().try_fold(json, |json, key| json.member(key));
    let Some(found) = found else {
        reading.found = Found::Null;
        return;
    };
    let mut write = |json: &Json| {
        sort_key::write_json(json, &mut reading.bytes);
        reading.end_key();
    };
    let text = |text: &String| Json::Text(text.clone());
    match (part, found) {
        (JsonPart::Elements, Json::Array(elements)) => {
            elements.iter().filter(|one| is_scalar(one)).for_each(write);
        }
        (JsonPart::Keys, Json::Array(elements)) => {
            elements.iter().filter(|one| matches!(one, Json::Text(_))).for_each(write);
        }
        (JsonPart::Keys, Json::Object(members)) => {
            members.iter().for_each(|(key, _)| write(&text(key)));
        }
        (_, Json::Array(_) | Json::Object(_)) => {}
        (_, scalar) => write(scalar),
    }
}

pub(super) fn is_scalar(json: &Json) -> bool {
    !matches!(json, Json::Array(_) | Json::Object(_))
}

/// The text of a scalar over numbered columns, the labels that its enums had when it was compiled, and the
/// rules that its time zones had: these are a part of its meaning.
pub(crate) fn identity(scalar: &Scalar) -> String {
    let mut text = print::scalar_by_name(scalar, &|column| format!("#{column}"));
    for_each_unsaid(scalar, &mut |part| text += &part);
    text
}

/// What a scalar means besides what its text says.
pub(crate) fn for_each_unsaid(scalar: &Scalar, each: &mut dyn FnMut(String)) {
    let data_type = scalar.data_type.element.as_deref().unwrap_or(&scalar.data_type);
    if let Some(labels) = &data_type.labels {
        each(format!(" {:?}", labels.labels));
    }
    if let scalar::Kind::Call(call, _) = &scalar.kind {
        call.zone.iter().for_each(|zone| each(zone.identity()));
    }
    scalar.for_each_child(&mut |child| for_each_unsaid(child, each));
}
