//! What happens to the tables of a shape with subqueries while it is made.
//!
//! *Enters*: transactions and definitions since the shape was asked for. *Leaves*: the same, to be brought to the rows that
//! were read meanwhile. *Invariant*: all of it, or it is known that it is not.

use std::sync::Arc;

use brooklet_dataflows::Change;
use brooklet_dataflows::members::KeptName;
use brooklet_sql::Relation;

use super::Loaded;
use crate::limits::HELD_CHANGE_BYTES;

/// A shape in creation.
pub(super) struct Load {
    pub needs: Vec<KeptName>,
    /// Transactions since it was asked for that concern it; `None` once they were more than may be kept.
    pub collected: Option<Vec<(u32, Vec<Change>)>>,
    /// Definitions since then.
    pub relations: Vec<Arc<Relation>>,
    pub loaded: Option<Box<Loaded>>,
    bytes: usize,
}

impl Load {
    /// Nothing has happened yet to what is needed.
    pub fn new(needs: Vec<KeptName>) -> Load {
        Load { needs, collected: Some(Vec::new()), relations: Vec::new(), loaded: None, bytes: 0 }
    }

    /// Takes what concerns it of a transaction.
    pub fn collect(&mut self, xid: u32, changes: &[Change]) {
        let Some(collected) = &mut self.collected else { return };
        let needed = |change: &&Change| self.needs.iter().any(|name| name.table == change.table);
        let changes: Vec<Change> = changes.iter().filter(needed).cloned().collect();
        if !changes.is_empty() {
            self.bytes += changes.iter().map(bytes).sum::<usize>();
            collected.push((xid, changes));
        }
    }

    /// Bytes of what was collected; loads of one table count the same rows once more each.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// It will not be made: no more is collected.
    pub fn give_up(&mut self) {
        (self.collected, self.bytes) = (None, 0);
    }
}

/// What a change takes in memory while it is held, by estimate: what everything that holds changes is bounded by.
pub(super) fn bytes(change: &Change) -> usize {
    let rows = [&change.old, &change.new].into_iter().flatten();
    HELD_CHANGE_BYTES + rows.map(|row| row.as_bytes().len()).sum::<usize>()
}
