//! The Arrow form of one shape's messages: the rows' columns with types, one record batch a piece.
//!
//! *Enters*: entries, rows of the snapshot, control messages. *Leaves*: IPC messages that can be put
//! one behind another after [`TypedView::open`] and before [`CLOSE`]. *Invariant*: the schema follows
//! from the shape's definition and its table alone, so it is the same for all answers of a handle; a
//! value is exact, or null and named in `unrepresentable`. *Must not know*: HTTP.
//!
//! `docs/arrow.md` describes the columns to users.

mod batch;
mod column;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::MetadataVersion;
use arrow::ipc::writer::{
    DictionaryTracker, EncodedData, IpcDataGenerator, IpcWriteContext, IpcWriteOptions,
    write_message,
};
use brooklet_sql::{Kind, TableSchema};
use bytes::Bytes;

use super::View;
use crate::shapes::definition::Replica;
pub use batch::Batch;

/// The end of a stream: no message follows.
pub const CLOSE: &[u8] = &[0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0];

/// How a shape's messages look as Arrow.
#[derive(Debug)]
pub struct TypedView {
    view: View,
    schema: SchemaRef,
    open: Bytes,
    columns: Vec<TypedColumn>,
}

#[derive(Debug)]
struct TypedColumn {
    /// Its place in rows of the table.
    at: usize,
    name: String,
    kind: Kind,
    field: FieldRef,
}

impl TypedView {
    /// The form of `view`, which shows `columns` of `table`.
    pub fn new(
        view: &View,
        table: &TableSchema,
        columns: &[usize],
        replica: Replica,
    ) -> Result<TypedView, ArrowError> {
        let columns: Vec<TypedColumn> = (columns.iter())
            .map(|at| {
                let column = &table.columns[*at];
                let kind = Kind::of(column);
                let field = Arc::new(column::described(column, &kind));
                TypedColumn { at: *at, name: column.name.clone(), kind, field }
            })
            .collect();
        let row =
            DataType::Struct(columns.iter().map(|column| Arc::clone(&column.field)).collect());
        let mut fields = head_fields(&row);
        if replica == Replica::Full {
            fields.insert(batch::OLD_VALUE, Field::new("old_value", row, true));
        }
        let table = [("pg_schema", &table.name.schema), ("pg_table", &table.name.table)];
        let metadata = table.map(|(name, value)| (name.to_owned(), value.clone()));
        let schema = Schema::new(fields).with_metadata(HashMap::from(metadata));
        let mut tracker = DictionaryTracker::new(false);
        let open = IpcDataGenerator::default().schema_to_bytes_with_dictionary_tracker(
            &schema,
            &mut tracker,
            &options()?,
        );
        let open = written(open)?.into();
        Ok(TypedView { view: view.clone(), schema: Arc::new(schema), open, columns })
    }

    /// What a stream begins with: its schema.
    #[must_use]
    pub fn open(&self) -> Bytes {
        self.open.clone()
    }

    /// A batch to be filled.
    #[must_use]
    pub fn batch(&self) -> Batch<'_> {
        Batch::new(self)
    }

    fn encode(&self, batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
        // No column has a dictionary.
        let mut tracker = DictionaryTracker::new(false);
        let mut context = IpcWriteContext::default();
        let generator = IpcDataGenerator::default();
        let (_, data) = generator.encode(batch, &mut tracker, &options()?, &mut context)?;
        written(data)
    }
}

/// Columns before and after the rows'; see `docs/arrow.md`.
fn head_fields(row: &DataType) -> Vec<Field> {
    let list = |item| DataType::List(Arc::new(Field::new("item", item, true)));
    let snapshot = Fields::from(vec![
        Field::new("xmin", DataType::UInt64, true),
        Field::new("xmax", DataType::UInt64, true),
        Field::new("xip_list", list(DataType::UInt64), true),
    ]);
    vec![
        Field::new("operation", DataType::Utf8, true),
        Field::new("key", DataType::Utf8, true),
        Field::new("value", row.clone(), true),
        Field::new("unrepresentable", DataType::Utf8, true),
        Field::new("lsn", DataType::UInt64, true),
        Field::new("op_position", DataType::UInt64, true),
        Field::new("txids", list(DataType::UInt32), true),
        Field::new("last", DataType::Boolean, true),
        Field::new("key_change_to", DataType::Utf8, true),
        Field::new("key_change_from", DataType::Utf8, true),
        Field::new("control", DataType::Utf8, true),
        Field::new("snapshot", DataType::Struct(snapshot), true),
    ]
}

/// Buffers are aligned to 8 bytes, the least the format allows: most answers are small.
fn options() -> Result<IpcWriteOptions, ArrowError> {
    IpcWriteOptions::try_new(8, false, MetadataVersion::V5)
}

fn written(data: EncodedData) -> Result<Vec<u8>, ArrowError> {
    let mut out = Vec::with_capacity(data.ipc_message.len() + data.arrow_data.len() + 64);
    write_message(&mut out, data, &options()?)?;
    Ok(out)
}

#[cfg(test)]
mod tests;
