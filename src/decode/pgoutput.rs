//! Messages of `pgoutput`, protocol version 1 (Postgres manual, "Logical Replication Message
//! Formats").

use brooklet_sql::{Lsn, Relation, RelationColumn, RelationName, ReplicaIdentity, Row, RowBuilder};
use bytes::{Buf, Bytes};

/// Bytes that are not a `pgoutput` message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("pgoutput message of kind {kind:?} cannot be read at byte {at}: {reason}")]
pub struct DecodeError {
    /// The message's first byte.
    pub kind: char,
    /// How far reading came.
    pub at: usize,
    /// What was wrong there.
    pub reason: &'static str,
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A transaction begins. Protocol 1 sends it once it has committed, so its position is known.
    Begin {
        /// Where its commit record begins.
        final_lsn: Lsn,
        /// Its 32-bit id.
        xid: u32,
        /// When it committed, microseconds since 2000-01-01.
        time: i64,
    },
    /// The transaction is complete.
    Commit {
        /// Where its commit record begins.
        lsn: Lsn,
        /// Where it ends.
        end_lsn: Lsn,
        /// When, microseconds since 2000-01-01.
        time: i64,
    },
    /// A table's definition, before its first change in a session and after every change of it.
    Relation(Relation),
    /// A row was inserted.
    Insert {
        /// The table.
        table: u32,
        /// The row.
        new: Vec<TupleColumn>,
    },
    /// A row was updated.
    Update {
        /// The table.
        table: u32,
        /// The old row. Postgres sends it whole under replica identity FULL, its key columns alone
        /// where the key changed under another identity, and nothing otherwise.
        old: Option<OldTuple>,
        /// The new row; values out of line that did not change are [`TupleColumn::Unchanged`].
        new: Vec<TupleColumn>,
    },
    /// A row was deleted.
    Delete {
        /// The table.
        table: u32,
        /// The old row, or its key.
        old: OldTuple,
    },
    /// Tables were emptied.
    Truncate {
        /// Which.
        tables: Vec<u32>,
    },
    /// A type that is not built in; names alone, of no use to us.
    Type,
    /// Where a replicated transaction came from; of no use to us.
    Origin,
    /// Bytes of `pg_logical_emit_message`; we do not ask for them.
    Logical,
}

/// An old row as far as the replica identity gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OldTuple {
    /// The whole row.
    Full(Vec<TupleColumn>),
    /// Key columns; the others are null.
    Key(Vec<TupleColumn>),
}

/// A column of a row message; values share the message's memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TupleColumn {
    /// SQL NULL.
    Null,
    /// A value stored out of line that the update did not touch: it is in the old row.
    Unchanged,
    /// The value as its type's output function prints it.
    Text(Bytes),
}

/// Reads one message; all of `bytes` must be used.
pub fn decode(bytes: Bytes) -> Result<Message, DecodeError> {
    let mut reader = Reader { whole: bytes.len(), kind: '?', bytes };
    let kind = reader.u8()?;
    reader.kind = char::from(kind);
    let message = match kind {
        b'B' => {
            Message::Begin { final_lsn: reader.lsn()?, time: reader.i64()?, xid: reader.u32()? }
        }
        b'C' => {
            reader.u8()?;
            Message::Commit { lsn: reader.lsn()?, end_lsn: reader.lsn()?, time: reader.i64()? }
        }
        b'R' => reader.relation()?,
        b'I' => {
            let table = reader.u32()?;
            reader.expect(b'N')?;
            Message::Insert { table, new: reader.tuple()? }
        }
        b'U' => reader.update()?,
        b'D' => {
            let table = reader.u32()?;
            let mark = reader.u8()?;
            Message::Delete { table, old: reader.old(mark)? }
        }
        b'T' => reader.truncate()?,
        b'Y' => {
            reader.u32()?;
            reader.text()?;
            reader.text()?;
            Message::Type
        }
        b'O' => {
            reader.lsn()?;
            reader.text()?;
            Message::Origin
        }
        b'M' => {
            reader.u8()?;
            reader.lsn()?;
            reader.text()?;
            let length = reader.u32()?;
            reader.take(length as usize)?;
            Message::Logical
        }
        _ => return Err(reader.error("unknown kind")),
    };
    if reader.bytes.is_empty() { Ok(message) } else { Err(reader.error("bytes are left over")) }
}

/// Fills in what an update did not touch from the old row.
pub fn complete(new: &mut [TupleColumn], old: &[TupleColumn]) -> Result<(), DecodeError> {
    for (number, column) in new.iter_mut().enumerate() {
        if matches!(column, TupleColumn::Unchanged) {
            *column = match old.get(number) {
                Some(TupleColumn::Text(text)) => TupleColumn::Text(text.clone()),
                _ => return Err(refused("an unchanged value is not in the old row")),
            };
        }
    }
    Ok(())
}

/// Makes a row of a complete tuple.
pub fn row<'a>(tuple: impl ExactSizeIterator<Item = &'a TupleColumn>) -> Result<Row, DecodeError> {
    let mut row = RowBuilder::new(tuple.len()).map_err(|_| refused("too many columns"))?;
    for column in tuple {
        let value = match column {
            TupleColumn::Null => None,
            TupleColumn::Text(text) => Some(text.as_ref()),
            TupleColumn::Unchanged => return Err(refused("a value is missing")),
        };
        row.push(value).map_err(|_| refused("a value is not UTF-8 or too long"))?;
    }
    row.finish().map_err(|_| refused("a column is missing"))
}

fn refused(reason: &'static str) -> DecodeError {
    DecodeError { kind: 'U', at: 0, reason }
}

struct Reader {
    bytes: Bytes,
    whole: usize,
    kind: char,
}

impl Reader {
    fn error(&self, reason: &'static str) -> DecodeError {
        DecodeError { kind: self.kind, at: self.whole - self.bytes.len(), reason }
    }

    fn u8(&mut self) -> Result<u8, DecodeError> {
        self.bytes.try_get_u8().map_err(|_| self.error("cut short"))
    }

    fn u16(&mut self) -> Result<u16, DecodeError> {
        self.bytes.try_get_u16().map_err(|_| self.error("cut short"))
    }

    fn u32(&mut self) -> Result<u32, DecodeError> {
        self.bytes.try_get_u32().map_err(|_| self.error("cut short"))
    }

    fn i64(&mut self) -> Result<i64, DecodeError> {
        self.bytes.try_get_i64().map_err(|_| self.error("cut short"))
    }

    fn lsn(&mut self) -> Result<Lsn, DecodeError> {
        self.bytes.try_get_u64().map(Lsn).map_err(|_| self.error("cut short"))
    }

    fn take(&mut self, length: usize) -> Result<Bytes, DecodeError> {
        if length > self.bytes.len() {
            return Err(self.error("cut short"));
        }
        Ok(self.bytes.split_to(length))
    }

    fn text(&mut self) -> Result<String, DecodeError> {
        let end = self.bytes.iter().position(|byte| *byte == 0);
        let end = end.ok_or_else(|| self.error("a name has no end"))?;
        let name = self.take(end)?;
        self.bytes.advance(1);
        String::from_utf8(name.into()).map_err(|_| self.error("a name is not UTF-8"))
    }

    fn expect(&mut self, mark: u8) -> Result<(), DecodeError> {
        if self.u8()? == mark { Ok(()) } else { Err(self.error("unexpected mark")) }
    }

    fn relation(&mut self) -> Result<Message, DecodeError> {
        let oid = self.u32()?;
        let name = RelationName { schema: self.text()?, table: self.text()? };
        // An empty namespace stands for pg_catalog.
        let schema = if name.schema.is_empty() { "pg_catalog".to_owned() } else { name.schema };
        let name = RelationName { schema, table: name.table };
        let full = self.u8()? == b'f';
        let identity = if full { ReplicaIdentity::Full } else { ReplicaIdentity::Partial };
        let count = self.u16()?;
        let mut columns = Vec::new();
        for _ in 0..count {
            self.u8()?;
            let name = self.text()?;
            let type_oid = self.u32()?;
            let type_modifier = self.u32()? as i32;
            columns.push(RelationColumn { name, type_oid, type_modifier });
        }
        Ok(Message::Relation(Relation { oid, name, identity, columns, order: Vec::new() }))
    }

    fn update(&mut self) -> Result<Message, DecodeError> {
        let table = self.u32()?;
        let mark = self.u8()?;
        let old = if mark == b'N' {
            None
        } else {
            let old = self.old(mark)?;
            self.expect(b'N')?;
            Some(old)
        };
        Ok(Message::Update { table, old, new: self.tuple()? })
    }

    fn old(&mut self, mark: u8) -> Result<OldTuple, DecodeError> {
        match mark {
            b'O' => Ok(OldTuple::Full(self.tuple()?)),
            b'K' => Ok(OldTuple::Key(self.tuple()?)),
            _ => Err(self.error("unexpected mark")),
        }
    }

    fn truncate(&mut self) -> Result<Message, DecodeError> {
        let count = self.u32()?;
        self.u8()?;
        let mut tables = Vec::new();
        for _ in 0..count {
            tables.push(self.u32()?);
        }
        Ok(Message::Truncate { tables })
    }

    fn tuple(&mut self) -> Result<Vec<TupleColumn>, DecodeError> {
        let count = self.u16()?;
        let mut columns = Vec::with_capacity(usize::from(count).min(self.bytes.len()));
        for _ in 0..count {
            columns.push(match self.u8()? {
                b'n' => TupleColumn::Null,
                b'u' => TupleColumn::Unchanged,
                b't' => {
                    let length = self.u32()?;
                    TupleColumn::Text(self.take(length as usize)?)
                }
                _ => return Err(self.error("unknown kind of column")),
            });
        }
        Ok(columns)
    }
}

#[cfg(test)]
mod tests;
