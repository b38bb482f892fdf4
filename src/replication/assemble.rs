//! From messages to slices of the stream; pure.

use std::sync::Arc;

use brooklet_dataflows::Change;
use brooklet_sql::Row;

use crate::decode::pgoutput::OldTuple;
use crate::decode::{DecodeError, Message, pgoutput};
use crate::ingest::Entry;
use crate::limits::{SLICE_BYTES_MAX, TRANSACTIONS_PER_SLICE_MAX};

/// Gathers messages into slices of bounded size, and numbers the operations of each transaction.
#[derive(Default)]
pub struct Assembler {
    entries: Vec<Entry>,
    changes: Vec<Change>,
    bytes: usize,
    transactions: usize,
    op_position: u64,
    open: bool,
}

impl Assembler {
    /// Whether a transaction has begun and not ended.
    #[must_use]
    pub fn in_transaction(&self) -> bool {
        self.open
    }

    /// Whether there is nothing to take.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.changes.is_empty()
    }

    /// Whether what is gathered should be handed on now.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.bytes >= SLICE_BYTES_MAX || self.transactions >= TRANSACTIONS_PER_SLICE_MAX
    }

    /// Takes what is gathered.
    pub fn take(&mut self) -> Vec<Entry> {
        self.end_changes();
        (self.bytes, self.transactions) = (0, 0);
        std::mem::take(&mut self.entries)
    }

    /// Adds an entry that is not a message.
    pub fn push(&mut self, entry: Entry) {
        if matches!(entry, Entry::Cut) {
            self.open = false;
        }
        self.end_changes();
        self.entries.push(entry);
    }

    /// Adds a message.
    pub fn message(&mut self, message: Message) -> Result<(), DecodeError> {
        match message {
            Message::Begin { final_lsn, xid, .. } => {
                self.open = true;
                self.op_position = 0;
                self.push(Entry::Begin { lsn: final_lsn, xid });
            }
            Message::Commit { end_lsn, time, .. } => {
                self.open = false;
                self.transactions += 1;
                self.push(Entry::Commit { end_lsn, time });
            }
            Message::Relation(relation) => self.push(Entry::Relation(Arc::new(relation))),
            Message::Truncate { tables } => {
                self.next_position();
                self.push(Entry::Truncate(tables));
            }
            Message::Insert { table, new } => {
                let new = pgoutput::row(&new, None)?;
                self.change(table, None, Some(new));
            }
            Message::Update { table, old: Some(OldTuple::Full(old)), new } => {
                let old = pgoutput::row(&old, None)?;
                let new = pgoutput::row(&new, Some(&old))?;
                self.change(table, Some(old), Some(new));
            }
            Message::Delete { table, old: OldTuple::Full(old) } => {
                let old = pgoutput::row(&old, None)?;
                self.change(table, Some(old), None);
            }
            // Without the whole old row no shape can be served. The Relation message before it has
            // said so and ended the table's shapes; its operations still count.
            Message::Update { .. } | Message::Delete { .. } => _ = self.next_position(),
            Message::Type | Message::Origin | Message::Logical => {}
        }
        Ok(())
    }

    fn change(&mut self, table: u32, old: Option<Row>, new: Option<Row>) {
        let op_position = self.next_position();
        let rows = [&old, &new].into_iter().flatten();
        self.bytes += 64 + rows.map(|row| row.as_bytes().len()).sum::<usize>();
        self.changes.push(Change { seq: 0, op_position, table, old, new });
    }

    /// Two numbers an operation: a key change needs both.
    fn next_position(&mut self) -> u64 {
        let position = self.op_position;
        self.op_position += 2;
        position
    }

    fn end_changes(&mut self) {
        if !self.changes.is_empty() {
            self.entries.push(Entry::Changes(std::mem::take(&mut self.changes)));
        }
    }
}

#[cfg(test)]
mod tests {
    use brooklet_sql::Lsn;

    use super::*;
    use crate::decode::TupleColumn;

    #[test]
    fn operations_are_numbered_by_two_also_those_we_cannot_use() {
        let text = |text: &'static str| vec![TupleColumn::Text(text.into())];
        let mut assembler = Assembler::default();
        let messages = [
            Message::Begin { final_lsn: Lsn(7), xid: 1, time: 0 },
            Message::Insert { table: 1, new: text("a") },
            Message::Delete { table: 2, old: OldTuple::Key(text("a")) },
            Message::Truncate { tables: vec![3] },
            Message::Update { table: 1, old: Some(OldTuple::Full(text("a"))), new: text("b") },
            Message::Commit { lsn: Lsn(7), end_lsn: Lsn(8), time: 0 },
            Message::Begin { final_lsn: Lsn(9), xid: 2, time: 0 },
            Message::Insert { table: 1, new: text("c") },
        ];
        for message in messages {
            assembler.message(message).unwrap();
        }
        assert!(assembler.in_transaction());
        let entries = assembler.take();
        let positions = |entry: &Entry| match entry {
            Entry::Changes(changes) => changes.iter().map(|change| change.op_position).collect(),
            _ => Vec::new(),
        };
        let found: Vec<Vec<u64>> =
            entries.iter().map(positions).filter(|positions| !positions.is_empty()).collect();
        assert_eq!(found, [vec![0], vec![6], vec![0]]);
        assert!(assembler.is_empty());
    }
}
