//! What of the stream concerns shapes with subqueries.
//!
//! *Enters*: the stream, entry by entry. *Leaves*: changes of watched tables, and how far the stream is.
//! *Invariant*: what is told is complete from a transaction's beginning: a table that is asked for inside of a
//! transaction is watched from its end on. What is not told, since the thread is too far behind, is said to be missing.

use std::collections::HashSet;
use std::sync::Arc;

use brooklet_dataflows::Change;
use brooklet_sql::{Lsn, Relation};
use tokio::sync::mpsc;

use super::backlog::Backlog;
use super::collected::bytes;
use super::{Input, Streamed};
use crate::limits::MEMBERS_PART_BYTES;

/// The stream's side.
pub struct Watch {
    inputs: mpsc::Sender<Input>,
    /// Tables, for as long as the process lives: that somebody is told too much costs little.
    tables: HashSet<u32>,
    batch: Vec<Streamed>,
    open: bool,
    concerned: bool,
    last_op: u64,
    waiting: Vec<(Vec<u32>, Input)>,
    backlog: Arc<Backlog>,
    /// Every transaction up to here was seen.
    reached: Lsn,
    /// The thread was too far behind: nothing is told before it has nothing to do.
    missing: bool,
}

impl Watch {
    /// Watches these tables.
    #[must_use]
    pub fn new(inputs: mpsc::Sender<Input>, tables: HashSet<u32>) -> Watch {
        Watch::with(inputs, tables, Backlog::default())
    }

    fn with(inputs: mpsc::Sender<Input>, tables: HashSet<u32>, backlog: Backlog) -> Watch {
        Watch {
            inputs,
            tables,
            batch: Vec::new(),
            open: false,
            concerned: false,
            last_op: 0,
            waiting: Vec::new(),
            backlog: Arc::new(backlog),
            reached: Lsn::ZERO,
            missing: false,
        }
    }

    /// A row operation.
    pub fn change(&mut self, change: &Change) {
        self.open = true;
        self.last_op = self.last_op.max(change.op_position);
        if self.tables.contains(&change.table) {
            self.concerned = true;
            self.batch.push(Streamed::Change(change.clone()));
        }
    }

    /// A table's definition.
    pub fn relation(&mut self, relation: &Arc<Relation>) {
        if self.tables.contains(&relation.oid) {
            self.batch.push(Streamed::Relation(Arc::clone(relation)));
        }
    }

    /// Tables were emptied.
    pub fn truncate(&mut self, tables: &[u32]) {
        self.open = true;
        let watched = tables.iter().copied().filter(|table| self.tables.contains(table));
        let watched: Vec<u32> = watched.collect();
        if !watched.is_empty() {
            self.concerned = true;
            self.batch.push(Streamed::Truncate(watched));
        }
    }

    /// The open transaction is complete.
    pub fn commit(&mut self, lsn: Lsn, xid: u32) {
        match self.concerned {
            true => self.batch.push(Streamed::Commit { lsn, xid, last_op: self.last_op }),
            false => self.pass(lsn),
        }
        self.reached = self.reached.max(lsn);
        self.close();
    }

    /// The open transaction was cut off.
    pub fn abort(&mut self) {
        if self.concerned {
            self.batch.push(Streamed::Abort);
        }
        self.close();
    }

    /// No transaction that commits before `lsn` is still to come.
    pub fn position(&mut self, lsn: Lsn) {
        // A commit record may begin exactly there.
        let before = Lsn(lsn.0.saturating_sub(1));
        self.pass(before);
        if !self.open {
            self.reached = self.reached.max(before);
            self.resume();
        }
    }

    fn pass(&mut self, lsn: Lsn) {
        match self.batch.last_mut() {
            Some(Streamed::Passed(passed)) => *passed = lsn.max(*passed),
            _ => self.batch.push(Streamed::Passed(lsn)),
        }
    }

    /// From here on, or from the end of the open transaction, these tables are watched; `input` is handed
    /// on at that place.
    pub fn watch(&mut self, tables: Vec<u32>, input: Input) {
        self.waiting.push((tables, input));
        if !self.open {
            self.close();
        }
    }

    fn close(&mut self) {
        (self.open, self.concerned, self.last_op) = (false, false, 0);
        self.resume();
    }

    /// Between two transactions: tells who waits for that, and what is missing once the thread can hear it.
    fn resume(&mut self) {
        if self.missing {
            // It may have been a part of what is missing.
            self.batch.clear();
            if !self.backlog.is_empty() {
                return;
            }
            self.missing = false;
            self.send(Input::Missed(self.reached));
        }
        for (tables, input) in std::mem::take(&mut self.waiting) {
            self.tables.extend(tables);
            self.flush();
            self.send(input);
        }
    }

    /// Hands on what has gathered; waits while the thread is far behind and gets on.
    pub fn flush(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        if batch.is_empty() || self.missing {
            return;
        }
        match self.backlog.enter(weight(&batch)) {
            Some(share) => self.send(Input::Stream(batch, share)),
            None => {
                tracing::error!(
                    "the thread of subqueries does not get on, and the stream goes on without it: shapes with subqueries end"
                );
                self.missing = true;
            }
        }
    }

    /// The same if it is more than how far the stream is, which can wait a little.
    pub fn flush_news(&mut self) {
        if !matches!(self.batch[..], [] | [Streamed::Passed(_)]) {
            self.flush();
        }
    }

    /// As if nothing got done for too long, and until what is returned is dropped.
    #[cfg(test)]
    pub(crate) fn fall_behind(&mut self) -> Option<super::backlog::Share> {
        self.missing = true;
        self.backlog.enter(1)
    }

    /// Whether it has not been told yet what is missing.
    #[cfg(test)]
    pub(crate) fn is_missing(&self) -> bool {
        self.missing
    }

    fn send(&self, input: Input) {
        // Closed means that the process is ending. There is room for more than may wait.
        _ = self.inputs.blocking_send(input);
    }
}

/// Bytes of a part of the stream while it waits.
fn weight(batch: &[Streamed]) -> usize {
    let of = |streamed: &Streamed| match streamed {
        Streamed::Change(change) => bytes(change),
        _ => size_of::<Streamed>(),
    };
    MEMBERS_PART_BYTES + batch.iter().map(of).sum::<usize>()
}

#[cfg(test)]
mod tests;
