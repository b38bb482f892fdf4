//! What happens to the tables of a shape with subqueries while it is made.
//!
//! *Enters*: transactions and definitions since the shape was asked for. *Leaves*: the same, to be brought to the rows that
//! were read meanwhile. *Invariant*: all of it, or it is known that it is not.

use std::collections::HashMap;
use std::sync::Arc;

use brooklet_dataflows::members::KeptName;
use brooklet_dataflows::{Change, ShapeId};
use brooklet_sql::Relation;

use super::{Loaded, TooLarge, Unkept};
use crate::limits::HELD_CHANGE_BYTES;

/// A shape in creation.
pub(super) struct Load {
    pub needs: Vec<KeptName>,
    /// Transactions since it was asked for that concern it; not once they were more than may be kept.
    pub collected: Result<Vec<(u32, Vec<Change>)>, Unkept>,
    /// Definitions since then.
    pub relations: Vec<Arc<Relation>>,
    pub loaded: Option<Box<Loaded>>,
    bytes: usize,
}

impl Load {
    /// Nothing has happened yet to what is needed.
    pub fn new(needs: Vec<KeptName>) -> Load {
        Load { needs, collected: Ok(Vec::new()), relations: Vec::new(), loaded: None, bytes: 0 }
    }

    /// Takes what concerns it of a transaction.
    fn collect(&mut self, xid: u32, changes: &[Change]) {
        let Ok(collected) = &mut self.collected else { return };
        let needed = |change: &&Change| self.needs.iter().any(|name| name.table == change.table);
        let changes: Vec<Change> = changes.iter().filter(needed).cloned().collect();
        if !changes.is_empty() {
            self.bytes += changes.iter().map(bytes).sum::<usize>();
            collected.push((xid, changes));
        }
    }

    /// It will not be made: no more is collected.
    fn give_up(&mut self, why: Unkept) {
        (self.collected, self.bytes) = (Err(why), 0);
    }
}

/// Takes a transaction for all shapes in creation, of which `left` bytes may be kept. Loads of one table count the same rows
/// once more each; so where there is too much of them, that is not yet too much of one.
pub(super) fn collect(
    loads: &mut HashMap<ShapeId, Load>,
    (xid, changes): (u32, &[Change]),
    left: usize,
    bytes_max: usize,
) {
    loads.values_mut().for_each(|load| load.collect(xid, changes));
    while loads.values().map(|load| load.bytes).sum::<usize>() > left {
        let largest = loads.iter_mut().max_by_key(|(_, load)| load.bytes);
        let Some((shape, load)) = largest else { return };
        let bytes = load.bytes;
        let alone = bytes > left;
        load.give_up(if alone { TooLarge(bytes_max).into() } else { Unkept::Crowded });
        tracing::warn!(
            shape = shape.0,
            bytes,
            alone,
            "more changes while shapes with subqueries are made than may be kept"
        );
    }
}

/// What a change takes in memory while it is held, by estimate: what everything that holds changes is bounded by.
pub(super) fn bytes(change: &Change) -> usize {
    let rows = [&change.old, &change.new].into_iter().flatten();
    HELD_CHANGE_BYTES + rows.map(|row| row.as_bytes().len()).sum::<usize>()
}
