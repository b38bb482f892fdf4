//! The slot is lost: what is kept for subqueries is no longer what Postgres has, and nobody says how it came about.
//!
//! *Enters*: that it is so; then the rows as they are where a new slot begins. *Leaves*: nothing to shapes, whose logs are
//! brought there by the repair. *Invariant*: nothing is told of the stream from before; shapes that end meanwhile stay
//! ended. The same where a part of the stream is missed, but that shapes end by it.

use std::collections::HashSet;

use brooklet_dataflows::members::{Members, needs};
use brooklet_dataflows::{EndReason, ShapeId};
use brooklet_sql::Lsn;
use tokio::sync::oneshot;

use super::Lane;
use crate::members::{Input, Repaired};

/// What happens while nothing is known.
#[derive(Default)]
pub(super) struct Lost {
    /// They were found fit to be repaired, perhaps, and have ended since.
    ended: HashSet<ShapeId>,
}

impl Lane {
    /// Everything that was streamed before is told; what is kept is of no use any more.
    pub(super) fn forget(&mut self, done: oneshot::Sender<()>) {
        self.restoring = None;
        self.loads.clear();
        self.take_open();
        self.too_large.clear();
        self.members = Members::default();
        self.keeps(0);
        self.lost.get_or_insert_default();
        // Whoever asked may have given up.
        _ = done.send(());
    }

    /// What is kept is not what Postgres has any more, and what would be collected is not whole.
    pub(super) fn missed(&mut self, reached: Lsn) {
        self.take_open();
        self.too_large.clear();
        // Said by dropping the answers.
        self.loads.clear();
        let all = self.members.all();
        self.end(&all, EndReason::Removed);
        self.keeps(self.members.bytes());
        self.position = self.position.max(reached);
    }

    /// Takes an input before there is a new slot. Who waits for something is told by a dropped answer.
    pub(super) fn while_lost(&mut self, input: Input) {
        match input {
            Input::Remove(shapes) => self.lost.get_or_insert_default().ended.extend(shapes),
            Input::Repaired(repaired) => self.repaired(*repaired),
            _ => {}
        }
    }

    fn repaired(&mut self, repaired: Repaired) {
        let Repaired { mut plans, rows, at } = repaired;
        let Lost { ended } = self.lost.take().unwrap_or_default();
        plans.retain(|plan| !ended.contains(&plan.id));
        self.position = at;
        let wanted: HashSet<_> =
            plans.iter().flat_map(|plan| needs(plan)).map(|(name, _)| name).collect();
        for (name, counts) in rows {
            // Of rows that are counted from nothing none can be missing.
            if wanted.contains(&name) && self.members.keep(name, counts).is_err() {
                tracing::error!("rows for subqueries are there less than never");
            }
        }
        plans.into_iter().for_each(|plan| self.members.add(plan));
        self.keep_within_budget();
    }
}
