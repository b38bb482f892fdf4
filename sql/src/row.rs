//! One row of a table: column values as Postgres prints them.
//!
//! A row is a single reference-counted byte string, so that the decoder, the dataflow and the log
//! share it and a column is looked at only where somebody asks for it:
//!
//! ```text
//! ┌────────────┬──────────────────────────────┬───────────────────────────┐
//! │ columns u16│ per column: end u32 | NULL bit│ the values, back to back  │
//! └────────────┴──────────────────────────────┴───────────────────────────┘
//! ```
//!
//! Numbers are little-endian; `end` counts from the first value byte; bit 31 marks SQL NULL. The
//! same bytes are what the change log stores.

use bytes::{BufMut, Bytes, BytesMut};

const NULL: u32 = 1 << 31;
const HEAD: usize = 2;

/// A row; cheap to clone. Values are UTF-8, checked when the row is made.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct Row(Bytes);

/// Bytes that are not a row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a row: {0}")]
pub struct RowError(&'static str);

impl Row {
    /// A row of the given values, `None` being SQL NULL.
    ///
    /// # Errors
    /// More than 65,535 columns or 2 GiB of values: more than Postgres can hold.
    pub fn new<'a>(
        values: impl IntoIterator<Item = Option<&'a str>, IntoIter: ExactSizeIterator>,
    ) -> Result<Row, RowError> {
        let values = values.into_iter();
        let mut row = RowBuilder::new(values.len())?;
        for value in values {
            row.push(value.map(str::as_bytes))?;
        }
        row.finish()
    }

    /// Takes bytes that came from [`Row::as_bytes`], checking every length and the text.
    pub fn from_bytes(bytes: Bytes) -> Result<Row, RowError> {
        let head: [u8; 2] = bytes
            .get(..HEAD)
            .and_then(|b| b.try_into().ok())
            .ok_or(RowError("shorter than its head"))?;
        let columns = usize::from(u16::from_le_bytes(head));
        let values = HEAD + 4 * columns;
        let ends = bytes.get(HEAD..values).ok_or(RowError("shorter than its head"))?;
        let mut start = 0;
        for end in ends.chunks_exact(4) {
            let end = (u32::from_le_bytes([end[0], end[1], end[2], end[3]]) & !NULL) as usize;
            if end < start || values + end > bytes.len() {
                return Err(RowError("a value lies outside"));
            }
            std::str::from_utf8(&bytes[values + start..values + end])
                .map_err(|_| RowError("a value is not UTF-8"))?;
            start = end;
        }
        if values + start != bytes.len() {
            return Err(RowError("longer than its values"));
        }
        Ok(Row(bytes))
    }

    /// The stored form.
    #[must_use]
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// How many columns the row has.
    #[must_use]
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        usize::from(u16::from_le_bytes([self.0[0], self.0[1]]))
    }

    #[inline]
    fn end(&self, column: usize) -> u32 {
        let at = HEAD + 4 * column;
        u32::from_le_bytes([self.0[at], self.0[at + 1], self.0[at + 2], self.0[at + 3]])
    }

    /// The text of a column as bytes; `None` for SQL NULL and for a column the row does not have
    /// (a row from before `ADD COLUMN`).
    #[must_use]
    #[inline]
    pub fn get(&self, column: usize) -> Option<&[u8]> {
        let columns = self.len();
        if column >= columns {
            return None;
        }
        let end = self.end(column);
        if end & NULL != 0 {
            return None;
        }
        let start = if column == 0 { 0 } else { self.end(column - 1) & !NULL };
        let values = HEAD + 4 * columns;
        Some(&self.0[values + start as usize..values + end as usize])
    }

    /// The text of a column; `None` as in [`Row::get`].
    #[must_use]
    pub fn text(&self, column: usize) -> Option<&str> {
        self.get(column).map(|value| std::str::from_utf8(value).unwrap_or_default())
    }

    /// All columns in order.
    pub fn iter(&self) -> impl Iterator<Item = Option<&str>> {
        (0..self.len()).map(|column| self.text(column))
    }
}

impl std::fmt::Debug for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Builds a [`Row`] column by column.
pub struct RowBuilder {
    bytes: BytesMut,
    columns: usize,
    filled: usize,
}

impl RowBuilder {
    /// Room for `columns` columns.
    pub fn new(columns: usize) -> Result<RowBuilder, RowError> {
        RowBuilder::with_room(columns, columns * 12)
    }

    /// Room for `columns` columns and so many bytes of their values, about.
    pub fn with_room(columns: usize, values: usize) -> Result<RowBuilder, RowError> {
        let count = u16::try_from(columns).map_err(|_| RowError("more than 65,535 columns"))?;
        let mut bytes = BytesMut::with_capacity(HEAD + columns * 4 + values);
        bytes.put_u16_le(count);
        bytes.put_bytes(0, 4 * columns);
        Ok(RowBuilder { bytes, columns, filled: 0 })
    }

    /// The next column's text, `None` being SQL NULL.
    pub fn push(&mut self, value: Option<&[u8]>) -> Result<(), RowError> {
        if self.filled == self.columns {
            return Err(RowError("more values than columns"));
        }
        let mut mark = NULL;
        if let Some(value) = value {
            std::str::from_utf8(value).map_err(|_| RowError("a value is not UTF-8"))?;
            self.bytes.put_slice(value);
            mark = 0;
        }
        let end = self.bytes.len() - HEAD - 4 * self.columns;
        let end = u32::try_from(end).ok().filter(|end| end & NULL == 0);
        let end = end.ok_or(RowError("more than 2 GiB of values"))?;
        let at = HEAD + 4 * self.filled;
        self.bytes[at..at + 4].copy_from_slice(&(end | mark).to_le_bytes());
        self.filled += 1;
        Ok(())
    }

    /// The row, once every column has been given.
    pub fn finish(self) -> Result<Row, RowError> {
        if self.filled != self.columns {
            return Err(RowError("fewer values than columns"));
        }
        Ok(Row(self.bytes.freeze()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_values_nulls_and_empty_text_apart() {
        let row = Row::new([Some("a"), None, Some(""), Some("süd")]).unwrap();
        assert_eq!(row.len(), 4);
        assert_eq!(row.text(0), Some("a"));
        assert_eq!(row.text(1), None);
        assert_eq!(row.text(2), Some(""));
        assert_eq!(row.text(3), Some("süd"));
        assert_eq!(row.text(4), None);
        assert_eq!(Row::from_bytes(row.as_bytes().clone()).unwrap(), row);
    }

    #[test]
    fn refuses_bytes_that_are_not_a_row() {
        let good = Row::new([Some("ab"), None]).unwrap().as_bytes().to_vec();
        for cut in 0..good.len() {
            assert!(Row::from_bytes(Bytes::copy_from_slice(&good[..cut])).is_err());
        }
        let mut long = good.clone();
        long.push(0);
        assert!(Row::from_bytes(long.into()).is_err());
        let mut broken = good;
        let last = broken.len() - 1;
        broken[last] = 0xFF;
        assert!(Row::from_bytes(broken.into()).is_err());
    }
}
