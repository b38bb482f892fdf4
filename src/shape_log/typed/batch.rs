//! One record batch in the making.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanBuilder, ListBuilder, NullBufferBuilder, RecordBatch, StringBuilder,
    StructArray, UInt32Builder, UInt64Builder,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{Field, Fields};
use arrow::error::ArrowError;
use brooklet_sql::{Lsn, Row};
use serde_json::{Map, Value, json};

use super::column::{Taken, Values, push_bytes};
use super::{TypedColumn, TypedView};
use crate::shape_log::encode::{Entry, KeyChange, Operation, Places};
use crate::shapes::visibility::Visibility;

/// Where the column of former rows stands, if there is one.
pub(super) const OLD_VALUE: usize = 3;

/// Messages that become one record batch.
pub struct Batch<'a> {
    of: &'a TypedView,
    length: usize,
    operation: StringBuilder,
    key: StringBuilder,
    value: Rows<'a>,
    old_value: Rows<'a>,
    unrepresentable: StringBuilder,
    lsn: UInt64Builder,
    op_position: UInt64Builder,
    txids: ListBuilder<UInt32Builder>,
    last: BooleanBuilder,
    key_change_to: StringBuilder,
    key_change_from: StringBuilder,
    control: StringBuilder,
    xmin: UInt64Builder,
    xmax: UInt64Builder,
    xip_list: ListBuilder<UInt64Builder>,
    snapshot: NullBufferBuilder,
}

/// What all messages have but few use; nulls unless said otherwise.
#[derive(Default)]
struct Head<'a> {
    operation: Option<Operation>,
    key: Option<&'a str>,
    unrepresentable: Option<&'a str>,
    lsn: Option<Lsn>,
    place: Option<(u64, u32, bool)>,
    other: Option<(KeyChange, &'a str)>,
    control: Option<&'a str>,
    snapshot: Option<&'a Visibility>,
}

impl<'a> Batch<'a> {
    pub(super) fn new(of: &'a TypedView) -> Batch<'a> {
        Batch {
            of,
            length: 0,
            operation: StringBuilder::new(),
            key: StringBuilder::new(),
            value: Rows::new(&of.columns),
            old_value: Rows::new(&of.columns),
            unrepresentable: StringBuilder::new(),
            lsn: UInt64Builder::new(),
            op_position: UInt64Builder::new(),
            txids: ListBuilder::new(UInt32Builder::new()),
            last: BooleanBuilder::new(),
            key_change_to: StringBuilder::new(),
            key_change_from: StringBuilder::new(),
            control: StringBuilder::new(),
            xmin: UInt64Builder::new(),
            xmax: UInt64Builder::new(),
            xip_list: ListBuilder::new(UInt64Builder::new()),
            snapshot: NullBufferBuilder::new(0),
        }
    }

    /// An entry of the log, with whole rows: what the replica mode says is for JSON, where a column
    /// can be left out.
    pub fn entry(&mut self, entry: &Entry<'_>) -> Result<(), ArrowError> {
        let key = self.of.view.row_key(entry.row, Places::Table);
        let other =
            (entry.other).map(|(member, row)| (member, self.of.view.row_key(row, Places::Table)));
        let mut unheld = Map::new();
        self.value.push(entry.row, Places::Table, ("value", &mut unheld))?;
        match entry.old.filter(|_| self.has_old_values()) {
            Some(old) => self.old_value.push(old, Places::Table, ("old_value", &mut unheld))?,
            None => self.old_value.push_null()?,
        }
        let unheld = (!unheld.is_empty()).then(|| Value::Object(unheld).to_string());
        self.head(&Head {
            operation: Some(entry.operation),
            key: Some(&key),
            unrepresentable: unheld.as_deref(),
            lsn: Some(entry.lsn),
            place: Some((entry.op, entry.xid, entry.last)),
            other: other.as_ref().map(|(member, key)| (*member, key.as_str())),
            ..Head::default()
        })
    }

    /// A row of the snapshot.
    pub fn snapshot_row(&mut self, row: &Row) -> Result<(), ArrowError> {
        let key = self.of.view.row_key(row, Places::View);
        let mut unheld = Map::new();
        self.value.push(row, Places::View, ("value", &mut unheld))?;
        self.old_value.push_null()?;
        let unheld = (!unheld.is_empty()).then(|| Value::Object(unheld).to_string());
        self.head(&Head {
            operation: Some(Operation::Insert),
            key: Some(&key),
            unrepresentable: unheld.as_deref(),
            ..Head::default()
        })
    }

    /// The snapshot's end.
    pub fn snapshot_end(&mut self, seen: &Visibility) -> Result<(), ArrowError> {
        self.control(&Head {
            control: Some("snapshot-end"),
            snapshot: Some(seen),
            ..Head::default()
        })
    }

    /// The end of the log, and how far the stream has come.
    pub fn up_to_date(&mut self, lsn: Lsn) -> Result<(), ArrowError> {
        self.control(&Head { control: Some("up-to-date"), lsn: Some(lsn), ..Head::default() })
    }

    fn control(&mut self, head: &Head<'_>) -> Result<(), ArrowError> {
        self.value.push_null()?;
        self.old_value.push_null()?;
        self.head(head)
    }

    fn has_old_values(&self) -> bool {
        self.of.schema.field(OLD_VALUE).name() == "old_value"
    }

    fn head(&mut self, head: &Head<'_>) -> Result<(), ArrowError> {
        self.length += 1;
        push_bytes(&mut self.operation, head.operation.map(Operation::name))?;
        push_bytes(&mut self.key, head.key)?;
        push_bytes(&mut self.unrepresentable, head.unrepresentable)?;
        self.lsn.append_option(head.lsn.map(|lsn| lsn.0));
        self.op_position.append_option(head.place.map(|(op, ..)| op));
        self.txids.append_option(head.place.map(|(_, xid, _)| [Some(xid)]));
        self.last.append_option(head.place.map(|(.., last)| last));
        let other = |member| head.other.filter(|(is, _)| *is == member).map(|(_, key)| key);
        push_bytes(&mut self.key_change_to, other(KeyChange::To))?;
        push_bytes(&mut self.key_change_from, other(KeyChange::From))?;
        push_bytes(&mut self.control, head.control)?;
        self.xmin.append_option(head.snapshot.map(Visibility::xmin));
        self.xmax.append_option(head.snapshot.map(Visibility::xmax));
        let in_progress = head.snapshot.map(Visibility::in_progress);
        self.xip_list.append_option(in_progress.map(|ids| ids.iter().copied().map(Some)));
        self.snapshot.append(head.snapshot.is_some());
        Ok(())
    }

    /// The batch as an IPC message; nothing if it is empty.
    pub fn finish(mut self) -> Result<Vec<u8>, ArrowError> {
        if self.length == 0 {
            return Ok(Vec::new());
        }
        let schema = Arc::clone(&self.of.schema);
        let mut arrays: Vec<ArrayRef> = vec![
            Arc::new(self.operation.finish()),
            Arc::new(self.key.finish()),
            self.value.finish()?,
            Arc::new(self.unrepresentable.finish()),
            Arc::new(self.lsn.finish()),
            Arc::new(self.op_position.finish()),
            Arc::new(self.txids.finish()),
            Arc::new(self.last.finish()),
            Arc::new(self.key_change_to.finish()),
            Arc::new(self.key_change_from.finish()),
            Arc::new(self.control.finish()),
        ];
        let seen: Vec<ArrayRef> = vec![
            Arc::new(self.xmin.finish()),
            Arc::new(self.xmax.finish()),
            Arc::new(self.xip_list.finish()),
        ];
        let names = ["xmin", "xmax", "xip_list"];
        let fields = names.iter().zip(&seen);
        let fields: Fields = fields
            .map(|(name, array)| Field::new(*name, array.data_type().clone(), true))
            .collect();
        arrays.push(Arc::new(StructArray::try_new(fields, seen, self.snapshot.finish())?));
        if self.has_old_values() {
            arrays.insert(OLD_VALUE, self.old_value.finish()?);
        }
        self.of.encode(&RecordBatch::try_new(schema, arrays)?)
    }
}

/// A column of rows.
struct Rows<'a> {
    columns: &'a [TypedColumn],
    values: Vec<Values>,
    nulls: NullBufferBuilder,
}

impl<'a> Rows<'a> {
    fn new(columns: &'a [TypedColumn]) -> Rows<'a> {
        let values = columns.iter().map(|column| Values::new(&column.kind)).collect();
        Rows { columns, values, nulls: NullBufferBuilder::new(0) }
    }

    /// A row; the text of what cannot be held goes into the member of that name.
    fn push(
        &mut self,
        row: &Row,
        places: Places,
        (member, unheld): (&str, &mut Map<String, Value>),
    ) -> Result<(), ArrowError> {
        for (place, (column, values)) in self.columns.iter().zip(&mut self.values).enumerate() {
            let text = row.text(places.of(place, column.at));
            if values.append(text)? == Taken::Unheld {
                let texts = unheld.entry(member).or_insert_with(|| json!({}));
                texts[&column.name] = json!(text);
            }
        }
        self.nulls.append_non_null();
        Ok(())
    }

    fn push_null(&mut self) -> Result<(), ArrowError> {
        self.values.iter_mut().try_for_each(|values| values.append(None).map(|_| ()))?;
        self.nulls.append_null();
        Ok(())
    }

    fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        let fields: Fields = self.columns.iter().map(|column| Arc::clone(&column.field)).collect();
        let arrays = self.values.iter_mut().map(Values::finish).collect::<Result<_, _>>()?;
        let length = self.nulls.len();
        let nulls: Option<NullBuffer> = self.nulls.finish();
        // A table may have no columns at all.
        Ok(Arc::new(StructArray::try_new_with_length(fields, arrays, nulls, length)?))
    }
}
