//! Columns of values: Arrow's types for Postgres' kinds, and builders that read Postgres' text.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    ArrayBuilder, ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder,
    FixedSizeBinaryBuilder, Float32Builder, Float64Builder, GenericByteBuilder, Int16Builder,
    Int32Builder, Int64Builder, ListArray, NullBufferBuilder, StringBuilder,
    Time64MicrosecondBuilder, TimestampMicrosecondBuilder,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{ByteArrayType, DataType, Field, FieldRef, TimeUnit};
use arrow::error::ArrowError;
use brooklet_sql::{Column, Kind, printed};

const UTC: &str = "UTC";

/// Arrow's type for a kind.
fn data_type(kind: &Kind) -> DataType {
    match kind {
        Kind::Bool => DataType::Boolean,
        Kind::Int2 => DataType::Int16,
        Kind::Int4 => DataType::Int32,
        Kind::Int8 => DataType::Int64,
        Kind::Float4 => DataType::Float32,
        Kind::Float8 => DataType::Float64,
        Kind::Decimal { precision, scale } => decimal(*precision, *scale),
        Kind::Bytes => DataType::Binary,
        Kind::Uuid => DataType::FixedSizeBinary(16),
        Kind::Date => DataType::Date32,
        Kind::Time => DataType::Time64(TimeUnit::Microsecond),
        Kind::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
        Kind::Timestamptz => DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())),
        Kind::Json | Kind::Text => DataType::Utf8,
        Kind::List(item) => DataType::List(item_field(item)),
    }
}

fn decimal(precision: u8, scale: u8) -> DataType {
    // A scale is at most 38.
    DataType::Decimal128(precision, scale as i8)
}

/// Names of extension types that every implementation knows or passes by.
fn extension(kind: &Kind) -> HashMap<String, String> {
    let name = match kind {
        Kind::Uuid => "arrow.uuid",
        Kind::Json => "arrow.json",
        _ => return HashMap::new(),
    };
    let pair = |key: &str, value: &str| (format!("ARROW:extension:{key}"), value.to_owned());
    HashMap::from([pair("name", name), pair("metadata", "")])
}

fn item_field(kind: &Kind) -> FieldRef {
    Arc::new(Field::new("item", data_type(kind), true).with_metadata(extension(kind)))
}

/// A column's field. Any may be null, whatever the table says: `pg_not_null` says that.
pub(super) fn described(column: &Column, kind: &Kind) -> Field {
    let mut metadata = extension(kind);
    let mut note = |name: &str, value: String| _ = metadata.insert(format!("pg_{name}"), value);
    note("type", column.type_name.clone());
    if column.type_modifier >= 0 {
        note("type_modifier", column.type_modifier.to_string());
    }
    if column.dimensions > 0 {
        note("dimensions", column.dimensions.to_string());
    }
    if column.not_null {
        note("not_null", "true".to_owned());
    }
    if let Some(position) = column.key_position {
        note("key_position", position.to_string());
    }
    Field::new(&column.name, data_type(kind), true).with_metadata(metadata)
}

/// Values of one column.
pub(super) enum Values {
    Bool(BooleanBuilder),
    Int2(Int16Builder),
    Int4(Int32Builder),
    Int8(Int64Builder),
    Float4(Float32Builder),
    Float8(Float64Builder),
    Decimal { precision: u8, scale: u8, builder: Decimal128Builder },
    Bytes(BinaryBuilder),
    Uuid(FixedSizeBinaryBuilder),
    Date(Date32Builder),
    Time(Time64MicrosecondBuilder),
    Timestamp(TimestampMicrosecondBuilder),
    Timestamptz(TimestampMicrosecondBuilder),
    Text(StringBuilder),
    List(Box<Lists>),
}

/// Values that are lists.
pub(super) struct Lists {
    kind: Kind,
    field: FieldRef,
    items: Values,
    ends: Vec<i32>,
    nulls: NullBufferBuilder,
}

/// What became of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is there.
    Exact,
    /// The type cannot hold it: there is a null.
    Unheld,
}

impl Values {
    pub(super) fn new(kind: &Kind) -> Values {
        match kind {
            Kind::Bool => Values::Bool(BooleanBuilder::new()),
            Kind::Int2 => Values::Int2(Int16Builder::new()),
            Kind::Int4 => Values::Int4(Int32Builder::new()),
            Kind::Int8 => Values::Int8(Int64Builder::new()),
            Kind::Float4 => Values::Float4(Float32Builder::new()),
            Kind::Float8 => Values::Float8(Float64Builder::new()),
            Kind::Decimal { precision, scale } => {
                let (precision, scale) = (*precision, *scale);
                let builder = Decimal128Builder::new().with_data_type(decimal(precision, scale));
                Values::Decimal { precision, scale, builder }
            }
            Kind::Bytes => Values::Bytes(BinaryBuilder::new()),
            Kind::Uuid => Values::Uuid(FixedSizeBinaryBuilder::new(16)),
            Kind::Date => Values::Date(Date32Builder::new()),
            Kind::Time => Values::Time(Time64MicrosecondBuilder::new()),
            Kind::Timestamp => Values::Timestamp(TimestampMicrosecondBuilder::new()),
            Kind::Timestamptz => {
                Values::Timestamptz(TimestampMicrosecondBuilder::new().with_timezone(UTC))
            }
            Kind::Json | Kind::Text => Values::Text(StringBuilder::new()),
            Kind::List(item) => Values::List(Box::new(Lists {
                kind: (**item).clone(),
                field: item_field(item),
                items: Values::new(item),
                ends: vec![0],
                nulls: NullBufferBuilder::new(0),
            })),
        }
    }

    /// Adds Postgres' text of a value, or null. An error: the batch would be larger than Arrow allows.
    pub(super) fn append(&mut self, text: Option<&str>) -> Result<Taken, ArrowError> {
        let held = match self {
            Values::Bool(builder) => option(text, printed::boolean, |v| builder.append_option(v)),
            Values::Int2(builder) => option(text, printed::number, |v| builder.append_option(v)),
            Values::Int4(builder) => option(text, printed::number, |v| builder.append_option(v)),
            Values::Int8(builder) => option(text, printed::number, |v| builder.append_option(v)),
            Values::Float4(builder) => option(text, printed::number, |v| builder.append_option(v)),
            Values::Float8(builder) => option(text, printed::number, |v| builder.append_option(v)),
            Values::Decimal { precision, scale, builder } => {
                let read = |text: &str| printed::decimal(text, *precision, *scale);
                option(text, read, |v| builder.append_option(v))
            }
            Values::Bytes(builder) => {
                let bytes = text.and_then(printed::bytes);
                push_bytes(builder, bytes.as_deref())?;
                bytes.is_some()
            }
            Values::Uuid(builder) => match text.and_then(printed::uuid) {
                Some(uuid) => builder.append_value(uuid).map(|()| true)?,
                None => {
                    builder.append_null();
                    false
                }
            },
            Values::Date(builder) => option(text, printed::date, |v| builder.append_option(v)),
            Values::Time(builder) => option(text, printed::time, |v| builder.append_option(v)),
            Values::Timestamp(builder) => {
                option(text, printed::timestamp, |v| builder.append_option(v))
            }
            Values::Timestamptz(builder) => {
                option(text, printed::timestamptz, |v| builder.append_option(v))
            }
            Values::Text(builder) => {
                push_bytes(builder, text)?;
                text.is_some()
            }
            Values::List(lists) => lists.append(text)?,
        };
        Ok(if held || text.is_none() { Taken::Exact } else { Taken::Unheld })
    }

    pub(super) fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        let builder: &mut dyn ArrayBuilder = match self {
            Values::Bool(builder) => builder,
            Values::Int2(builder) => builder,
            Values::Int4(builder) => builder,
            Values::Int8(builder) => builder,
            Values::Float4(builder) => builder,
            Values::Float8(builder) => builder,
            Values::Decimal { builder, .. } => builder,
            Values::Bytes(builder) => builder,
            Values::Uuid(builder) => builder,
            Values::Date(builder) => builder,
            Values::Time(builder) => builder,
            Values::Timestamp(builder) | Values::Timestamptz(builder) => builder,
            Values::Text(builder) => builder,
            Values::List(lists) => return lists.finish(),
        };
        Ok(builder.finish())
    }
}

impl Lists {
    /// Whether the list is there: it has one dimension that begins at 1, and all items are held.
    fn append(&mut self, text: Option<&str>) -> Result<bool, ArrowError> {
        let holds =
            |item: &Option<String>| item.as_deref().is_none_or(|text| self.kind.holds(text));
        let items = text.and_then(printed::items).filter(|items| items.iter().all(holds));
        let held = items.is_some();
        let mut end = self.ends.last().copied().unwrap_or(0);
        for item in items.unwrap_or_default() {
            self.items.append(item.as_deref())?;
            end = end.checked_add(1).ok_or_else(too_large)?;
        }
        self.ends.push(end);
        self.nulls.append(held);
        Ok(held)
    }

    fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        let ends = std::mem::replace(&mut self.ends, vec![0]);
        // They begin at 0 and rise: made above.
        let offsets = OffsetBuffer::new(ScalarBuffer::from(ends));
        let (field, items) = (Arc::clone(&self.field), self.items.finish()?);
        Ok(Arc::new(ListArray::try_new(field, offsets, items, self.nulls.finish())?))
    }
}

/// Appends a value, or null if it is null or cannot be read; whether it could.
fn option<T: Copy>(
    text: Option<&str>,
    read: impl FnOnce(&str) -> Option<T>,
    append: impl FnOnce(Option<T>),
) -> bool {
    let value = text.and_then(read);
    append(value);
    value.is_some()
}

fn too_large() -> ArrowError {
    ArrowError::OffsetOverflowError(i32::MAX as usize)
}

/// Appends bytes or text; the builder itself would panic beyond its offsets.
pub(super) fn push_bytes<T: ByteArrayType<Offset = i32>>(
    builder: &mut GenericByteBuilder<T>,
    value: Option<impl AsRef<T::Native>>,
) -> Result<(), ArrowError> {
    let length = value.as_ref().map_or(0, |value| {
        let native: &[u8] = value.as_ref().as_ref();
        native.len()
    });
    if builder.values_slice().len().saturating_add(length) > i32::MAX as usize {
        return Err(too_large());
    }
    builder.append_option(value);
    Ok(())
}
