//! From messages to slices of the stream; pure.

use std::collections::HashMap;
use std::sync::Arc;

use brooklet_dataflows::Change;
use brooklet_sql::{Relation, ReplicaIdentity, Row};

use super::layouts::Layouts;
use super::ways::Target;
use crate::decode::pgoutput::{OldTuple, TupleColumn};
use crate::decode::{DecodeError, Message, pgoutput};
use crate::ingest::Entry;
use crate::limits::{SLICE_BYTES_MAX, TRANSACTIONS_PER_SLICE_MAX};

/// Gathers messages into slices of bounded size, numbers the operations of each transaction, and
/// sends each change where it has to go.
pub struct Assembler {
    layouts: Arc<Layouts>,
    ways: HashMap<u32, Vec<Way>>,
    entries: Vec<Entry>,
    changes: Vec<Change>,
    bytes: usize,
    transactions: usize,
    op_position: u64,
    open: bool,
    /// The open transaction, until it brings something.
    begun: Option<Entry>,
    xid: u32,
}

/// Where changes of a table go, and in which columns.
struct Way {
    relation: Arc<Relation>,
    /// For each place, the column of the message; `None` where they are the same.
    places: Option<Vec<Option<usize>>>,
}

impl Assembler {
    /// Knows no table yet, but where columns stand.
    #[must_use]
    pub fn new(layouts: Arc<Layouts>) -> Assembler {
        Assembler {
            layouts,
            ways: HashMap::new(),
            entries: Vec::new(),
            changes: Vec::new(),
            bytes: 0,
            transactions: 0,
            op_position: 0,
            open: false,
            begun: None,
            xid: 0,
        }
    }

    /// Whether a transaction has begun and not ended.
    #[must_use]
    pub fn in_transaction(&self) -> bool {
        self.open
    }

    /// Whether a transaction has begun that has brought nothing yet.
    #[must_use]
    pub fn has_only_begun(&self) -> bool {
        self.begun.is_some()
    }

    /// The transaction that began last.
    #[must_use]
    pub fn xid(&self) -> u32 {
        self.xid
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

    /// Adds an entry; the beginning of its transaction before it.
    pub fn push(&mut self, entry: Entry) {
        self.end_changes();
        self.entries.extend(self.begun.take());
        self.entries.push(entry);
    }

    /// Adds a message.
    pub fn message(&mut self, message: Message) -> Result<(), DecodeError> {
        match message {
            Message::Begin { final_lsn, xid, .. } => {
                self.open = true;
                self.xid = xid;
                self.op_position = 0;
                self.begun = Some(Entry::Begin { lsn: final_lsn, xid });
            }
            Message::Commit { end_lsn, time, .. } => {
                self.open = false;
                // One that brought nothing is no more than a position, see `has_only_begun`.
                if self.begun.take().is_none() {
                    self.transactions += 1;
                    self.push(Entry::Commit { end_lsn, time });
                }
            }
            Message::Truncate { tables } => {
                self.next_position();
                let ways = tables.iter().filter_map(|table| self.ways.get(table)).flatten();
                let mut emptied: Vec<u32> = ways.map(|way| way.relation.oid).collect();
                emptied.sort_unstable();
                emptied.dedup();
                self.push(Entry::Truncate(emptied));
            }
            Message::Insert { table, new } => self.change(table, None, Some(&new))?,
            Message::Update { table, old: Some(OldTuple::Full(old)), mut new } => {
                pgoutput::complete(&mut new, &old)?;
                self.change(table, Some(&old), Some(&new))?;
            }
            Message::Delete { table, old: OldTuple::Full(old) } => {
                self.change(table, Some(&old), None)?;
            }
            Message::Update { table, .. } | Message::Delete { table, .. } => {
                self.next_position();
                self.incomplete(table);
            }
            // Where its changes go must be asked first: see `relation`.
            Message::Relation(_) | Message::Type | Message::Origin | Message::Logical => {}
        }
        Ok(())
    }

    /// Adds a table's definition, with where its changes go. Whether the table was known before.
    pub fn relation(&mut self, announced: &Relation, targets: Vec<Target>) -> bool {
        let mut ways = Vec::with_capacity(targets.len());
        for target in targets {
            let relation = self.layouts.announced(target.relation);
            let place = |column: &brooklet_sql::RelationColumn| {
                (!column.is_dropped()).then(|| announced.place(&column.name)).flatten()
            };
            let places: Vec<Option<usize>> = relation.columns.iter().map(place).collect();
            let same = places.len() == announced.columns.len()
                && places.iter().enumerate().all(|(at, place)| *place == Some(at));
            self.push(Entry::Relation(Arc::clone(&relation)));
            ways.push(Way { relation, places: (!same).then_some(places) });
        }
        self.ways.insert(announced.oid, ways).is_some()
    }

    fn change(
        &mut self,
        table: u32,
        old: Option<&[TupleColumn]>,
        new: Option<&[TupleColumn]>,
    ) -> Result<(), DecodeError> {
        let op_position = self.next_position();
        if self.ways.get(&table).is_some_and(|ways| !ways.is_empty()) {
            self.entries.extend(self.begun.take());
        }
        for way in self.ways.get(&table).into_iter().flatten() {
            let old = old.map(|old| way.row(old)).transpose()?;
            let new = new.map(|new| way.row(new)).transpose()?;
            let rows = [&old, &new].into_iter().flatten();
            self.bytes += 64 + rows.map(|row| row.as_bytes().len()).sum::<usize>();
            let table = way.relation.oid;
            self.changes.push(Change { seq: 0, op_position, table, old, new });
        }
        Ok(())
    }

    /// An old row that is not whole. No shape can be served right from here on: those of the table
    /// itself have been ended by its definition before, those of its partitioned tables end now.
    fn incomplete(&mut self, table: u32) {
        let mut ended = Vec::new();
        for way in self.ways.get_mut(&table).into_iter().flatten() {
            if way.relation.identity == ReplicaIdentity::Full {
                let identity = ReplicaIdentity::Partial;
                way.relation = Arc::new(Relation { identity, ..Relation::clone(&way.relation) });
                ended.push(Arc::clone(&way.relation));
            }
        }
        ended.into_iter().for_each(|relation| self.push(Entry::Relation(relation)));
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

impl Way {
    fn row(&self, tuple: &[TupleColumn]) -> Result<Row, DecodeError> {
        const NOTHING: &TupleColumn = &TupleColumn::Null;
        match &self.places {
            None => pgoutput::row(tuple.iter()),
            Some(places) => {
                let column = |place: &Option<usize>| {
                    place.and_then(|place| tuple.get(place)).unwrap_or(NOTHING)
                };
                pgoutput::row(places.iter().map(column))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use brooklet_sql::{Lsn, RelationColumn, RelationName};

    use super::*;
    use crate::decode::TupleColumn;

    fn relation(oid: u32, columns: &[&str]) -> Relation {
        let column =
            |name: &&str| RelationColumn { name: (*name).into(), type_oid: 25, type_modifier: -1 };
        let name = RelationName { schema: "public".into(), table: format!("t{oid}") };
        let columns = columns.iter().map(column).collect();
        Relation { oid, name, identity: ReplicaIdentity::Full, columns, order: Vec::new() }
    }

    #[test]
    fn a_partitions_rows_are_stored_in_the_columns_of_every_target() {
        let text = |text: &'static str| TupleColumn::Text(text.into());
        let mut assembler = Assembler::new(Arc::default());
        let part = relation(1, &["b", "a"]);
        let targets = [part.clone(), relation(2, &["a", "b"])];
        let targets =
            targets.map(|relation| Target { relation, created: true, link: String::new() });
        assembler.relation(&part, targets.into());
        // The root loses a column and gets another: its places stay.
        let part = relation(1, &["b", "c"]);
        let target =
            Target { relation: relation(2, &["b", "c"]), created: true, link: String::new() };
        assembler.relation(&part, vec![target]);
        let new = vec![text("B"), text("C")];
        assembler.message(Message::Insert { table: 1, new }).unwrap();
        let entries = assembler.take();
        let Some(Entry::Changes(changes)) = entries.last() else { panic!("changes") };
        assert_eq!(changes.len(), 1);
        assert_eq!(changes[0].table, 2);
        let row = changes[0].new.as_ref().unwrap();
        assert_eq!(row.iter().collect::<Vec<_>>(), [None, Some("B"), Some("C")]);
    }

    #[test]
    fn operations_are_numbered_by_two_also_those_we_cannot_use() {
        let text = |text: &'static str| vec![TupleColumn::Text(text.into())];
        let mut assembler = Assembler::new(Arc::default());
        for oid in [1, 2] {
            let relation = relation(oid, &["a"]);
            let target = Target { relation: relation.clone(), created: true, link: String::new() };
            assembler.relation(&relation, vec![target]);
        }
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
