//! What a shape's rows lack against a snapshot.
//!
//! *Enters*: a finished shape of a table with a key, and a snapshot to read the table from. *Leaves*: changes for
//! the change log, and their postings. *Invariant*: they turn the rows that a client at the end of the
//! shape's log has into those of the snapshot, and where the two agree there is no change; so doing it
//! again does nothing. Memory is bounded: what does not fit is compared in parts, by the hash of the
//! key, the snapshot being read once for each.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::Arc;

use brooklet_dataflows::{Change, Posting, ShapePlan, Verdict};
use brooklet_sql::{Relation, Row, RowBuilder};
use tokio::sync::mpsc;

use super::create::Workshop;
use super::shape::Shape;
use crate::ingest::{Entry, RepairEntry};
use crate::limits::{REPAIR_BYTES_MAX, ROW_OVERHEAD_BYTES, SLICE_BYTES_MAX};
use crate::replication::snapshot::{Snapshot, SnapshotError};
use crate::shape_log::Held;

/// Why a shape cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum DifferenceError {
    /// What Postgres has cannot be read.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// What the shape holds cannot be read, or the difference not be handed on.
    #[error("what the shape holds cannot be read: {0}")]
    Held(#[from] io::Error),
    /// It has ended.
    #[error("the shape has ended")]
    Ended,
}

/// The rows of a snapshot by key.
type Truth = HashMap<String, Row>;

/// A part of all keys.
#[derive(Debug, Clone)]
struct Part {
    hasher: RandomState,
    number: u64,
    of: u64,
}

impl Part {
    fn has(&self, key: &str) -> bool {
        self.of == 1 || self.hasher.hash_one(key) % self.of == self.number
    }

    /// Keeps one half; returns the other.
    fn halve(&mut self) -> Part {
        let other = Part { number: self.number + self.of, of: 2 * self.of, ..self.clone() };
        self.of *= 2;
        other
    }
}

/// Where the changes go: those of one shape.
pub struct Changes {
    slices: mpsc::Sender<Vec<Entry>>,
    plan: Arc<ShapePlan>,
    /// Columns of the stored rows.
    width: usize,
    seq: u64,
    op_position: u64,
    slice: Vec<Change>,
    slice_bytes: usize,
    postings: Vec<Posting>,
}

impl Changes {
    /// Changes of a shape whose table has this definition; the first one gets this seq.
    #[must_use]
    pub fn new(
        slices: mpsc::Sender<Vec<Entry>>,
        shape: &Shape,
        relation: &Relation,
        first_seq: u64,
    ) -> Changes {
        Changes {
            slices,
            plan: Arc::clone(&shape.plan),
            width: relation.columns.len(),
            seq: first_seq,
            op_position: 0,
            slice: Vec::new(),
            slice_bytes: 0,
            postings: Vec::new(),
        }
    }

    /// Compares; returns the postings, and the seq after the last change.
    pub async fn compare(
        mut self,
        shop: &Arc<Workshop>,
        shape: &Arc<Shape>,
        snapshot: &Snapshot,
    ) -> Result<(Vec<Posting>, u64), DifferenceError> {
        let mut parts = vec![Part { hasher: RandomState::new(), number: 0, of: 1 }];
        while let Some(part) = parts.pop() {
            let (part, truth) = read(shape, snapshot, part, &mut parts).await?;
            let (shop, shape) = (Arc::clone(shop), Arc::clone(shape));
            let compared = tokio::task::spawn_blocking(move || {
                let compared = self.part(&shop, &shape, &part, truth);
                compared.map(|()| self)
            });
            self = compared.await.map_err(io::Error::other)??;
        }
        self.finish().await
    }

    /// As [`Changes::compare`], with rows that are known, in the table's key order or any other.
    #[cfg(test)]
    pub(crate) async fn against(
        mut self,
        shop: &Arc<Workshop>,
        shape: &Arc<Shape>,
        rows: Vec<Row>,
    ) -> Result<(Vec<Posting>, u64), DifferenceError> {
        let part = Part { hasher: RandomState::new(), number: 0, of: 1 };
        let truth = rows.into_iter().map(|row| (shape.view().stored_key(&row), row)).collect();
        self.part(shop, shape, &part, truth)?;
        self.finish().await
    }

    async fn finish(mut self) -> Result<(Vec<Posting>, u64), DifferenceError> {
        let handed_on = tokio::task::spawn_blocking(move || self.hand_on().map(|()| self));
        self = handed_on.await.map_err(io::Error::other)??;
        Ok((self.postings, self.seq))
    }

    /// Compares what the shape holds with a part of the snapshot's rows. Blocks on files.
    fn part(
        &mut self,
        shop: &Workshop,
        shape: &Shape,
        part: &Part,
        mut truth: Truth,
    ) -> Result<(), DifferenceError> {
        let (blocks, end) = shape.log.all().map_err(|_| DifferenceError::Ended)?;
        let base = shape.newest();
        let held = Held {
            changes: &shop.change_log,
            packs: &shop.packs,
            view: shape.view(),
            table: shape.table().oid,
            keyless: shape.table().primary_key().is_empty(),
        };
        let batches = (base.batch_count(), |number| base.batch(number));
        held.rows(batches, &blocks, (base.after().offset, end.offset), |row| {
            let key = shape.view().stored_key(&row);
            if !part.has(&key) {
                return Ok(());
            }
            match truth.remove(&key) {
                Some(now) if now == row => Ok(()),
                now => self.push(Some(&row), now.as_ref()),
            }
        })?;
        for row in truth.into_values() {
            self.push(None, Some(&row))?;
        }
        Ok(())
    }

    /// A change of a row of the shape.
    fn push(&mut self, old: Option<&Row>, new: Option<&Row>) -> io::Result<()> {
        let verdict = match (old, new) {
            (Some(_), Some(_)) => Verdict::Update,
            (Some(_), None) => Verdict::Delete,
            (None, _) => Verdict::Insert,
        };
        let old = old.map(|row| self.placed(row)).transpose()?;
        let new = new.map(|row| self.placed(row)).transpose()?;
        let bytes = |row: &Option<Row>| row.as_ref().map_or(0, |row| row.as_bytes().len());
        self.slice_bytes += bytes(&old) + bytes(&new);
        let (seq, op_position, table) = (self.seq, self.op_position, self.plan.selection.table.oid);
        let change = Change { seq, op_position, table, old, new };
        self.postings.push(Posting::new(&self.plan, &change, verdict));
        self.slice.push(change);
        // By two, as everywhere.
        (self.seq, self.op_position) = (self.seq + 1, self.op_position + 2);
        if self.slice_bytes >= SLICE_BYTES_MAX { self.hand_on() } else { Ok(()) }
    }

    /// A row as the change log has it: what the shape does not show is left empty, nobody else reads
    /// it.
    fn placed(&self, row: &Row) -> io::Result<Row> {
        let mut values = vec![None; self.width];
        for (value, at) in row.iter().zip(&*self.plan.selection.columns) {
            *values.get_mut(*at).ok_or_else(|| io::Error::other("a column has no place"))? = value;
        }
        let mut placed = RowBuilder::new(self.width).map_err(io::Error::other)?;
        for value in values {
            placed.push(value.map(str::as_bytes)).map_err(io::Error::other)?;
        }
        placed.finish().map_err(io::Error::other)
    }

    fn hand_on(&mut self) -> io::Result<()> {
        self.slice_bytes = 0;
        let changes = std::mem::take(&mut self.slice);
        if changes.is_empty() {
            return Ok(());
        }
        let slice = vec![Entry::Repair(RepairEntry::Changes(changes))];
        self.slices.blocking_send(slice).map_err(|_| io::Error::other("the change log has stopped"))
    }
}

/// Reads a part of the snapshot's rows. One that is too large is halved, as often as it has to be.
async fn read(
    shape: &Shape,
    snapshot: &Snapshot,
    mut part: Part,
    parts: &mut Vec<Part>,
) -> Result<(Part, Truth), SnapshotError> {
    let mut rows = snapshot
        .copy(shape.table(), &shape.template.definition, shape.plan.predicate.as_ref())
        .await?;
    let (mut truth, mut bytes) = (Truth::new(), 0);
    let size = |key: &str, row: &Row| key.len() + row.as_bytes().len() + ROW_OVERHEAD_BYTES;
    while let Some(row) = rows.next().await? {
        let key = shape.view().stored_key(&row);
        if !part.has(&key) {
            continue;
        }
        bytes += size(&key, &row);
        truth.insert(key, row);
        if bytes > REPAIR_BYTES_MAX && truth.len() > 1 {
            parts.push(part.halve());
            truth.retain(|key, _| part.has(key));
            bytes = truth.iter().map(|(key, row)| size(key, row)).sum();
        }
    }
    Ok((part, truth))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_have_every_key_once() {
        let mut parts = vec![Part { hasher: RandomState::new(), number: 0, of: 1 }];
        for _ in 0..5 {
            let mut halved = parts.swap_remove(0);
            parts.push(halved.halve());
            parts.push(halved);
        }
        assert_eq!(parts.len(), 6);
        for key in (0..1000).map(|n| n.to_string()) {
            assert_eq!(parts.iter().filter(|part| part.has(&key)).count(), 1, "{key}");
        }
    }
}
