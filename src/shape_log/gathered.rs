//! Rows on their way to disk, gathered column by column.
//!
//! *Enters*: values, row by row. *Leaves*: record batches of one nullable text column each. *Invariant*: a batch
//! holds UTF-8 only; that is looked at once for a column of a batch, not for each value.

use std::sync::Arc;

use arrow::array::{ArrayRef, NullBufferBuilder, RecordBatch, RecordBatchOptions, StringArray};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;

/// Rows that are not stored yet.
pub struct Gathered {
    schema: SchemaRef,
    columns: Vec<Column>,
    rows: usize,
    bytes: usize,
}

struct Column {
    /// Where values begin and end, the first one at 0.
    ends: Vec<i32>,
    values: Vec<u8>,
    nulls: NullBufferBuilder,
}

impl Gathered {
    /// No rows yet, of columns of these names.
    #[must_use]
    pub fn new<'a>(names: impl Iterator<Item = &'a str>) -> Gathered {
        let fields: Vec<Field> = names.map(|name| Field::new(name, DataType::Utf8, true)).collect();
        let columns = fields.iter().map(|_| Column::with_room(0, 0)).collect();
        Gathered { schema: Arc::new(Schema::new(fields)), columns, rows: 0, bytes: 0 }
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Bytes of all values, and of where they end.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes a row by its values at the columns' places.
    ///
    /// # Errors
    /// More than 2 GiB of values in one column.
    pub fn push<'a>(
        &mut self,
        value: impl Fn(usize) -> Option<&'a [u8]>,
    ) -> Result<(), ArrowError> {
        for (place, column) in self.columns.iter_mut().enumerate() {
            let value = value(place);
            column.push(value)?;
            self.bytes += value.map_or(0, <[u8]>::len) + size_of::<i32>();
        }
        self.rows += 1;
        Ok(())
    }

    /// The rows so far, which are not kept.
    ///
    /// # Errors
    /// A value is not UTF-8.
    pub fn take(&mut self) -> Result<RecordBatch, ArrowError> {
        let columns: Vec<Result<ArrayRef, ArrowError>> =
            self.columns.iter_mut().map(Column::take).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        (self.rows, self.bytes) = (0, 0);
        let columns = columns.into_iter().collect::<Result<_, _>>()?;
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
    }
}

impl Column {
    fn with_room(values: usize, bytes: usize) -> Column {
        let mut ends = Vec::with_capacity(values + 1);
        ends.push(0);
        Column { ends, values: Vec::with_capacity(bytes), nulls: NullBufferBuilder::new(values) }
    }

    fn push(&mut self, value: Option<&[u8]>) -> Result<(), ArrowError> {
        self.values.extend_from_slice(value.unwrap_or_default());
        self.nulls.append(value.is_some());
        let end = i32::try_from(self.values.len());
        let end = end.map_err(|_| ArrowError::OffsetOverflowError(self.values.len()))?;
        self.ends.push(end);
        Ok(())
    }

    /// The next batch will be about as large.
    fn take(&mut self) -> Result<ArrayRef, ArrowError> {
        let next = Column::with_room(self.ends.len(), self.values.len());
        let Column { ends, values, mut nulls } = std::mem::replace(self, next);
        let ends = OffsetBuffer::new(ScalarBuffer::from(ends));
        let column = StringArray::try_new(ends, Buffer::from_vec(values), nulls.finish())?;
        Ok(Arc::new(column))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_columns_once_and_only_text_does() {
        let mut rows = Gathered::new(["a", "b"].into_iter());
        let texts = [[Some("1"), None], [Some(""), Some("s\u{fc}d")]];
        for _ in 0..2 {
            assert!(rows.is_empty());
            for row in texts {
                rows.push(|place| row[place].map(str::as_bytes)).unwrap();
            }
            let expected: Vec<ArrayRef> = (0..2)
                .map(|at| Arc::new(StringArray::from_iter(texts.map(|row| row[at]))) as ArrayRef)
                .collect();
            assert_eq!(rows.take().unwrap().columns(), expected);
        }
        // Each half of a character by itself, which are text together.
        for half in [&b"\xC3"[..], b"\xBC"] {
            rows.push(|_| Some(half)).unwrap();
        }
        assert!(rows.take().is_err());
        assert!(rows.is_empty(), "what is no text does not come back");
        let mut none = Gathered::new(std::iter::empty());
        none.push(|_| None).unwrap();
        assert_eq!(none.take().unwrap().num_rows(), 1);
    }
}
