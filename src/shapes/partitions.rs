//! Which partitions' rows the shapes of a partitioned table hold.
//!
//! The stream says nothing of partitions that come and go. One that was created as such is empty,
//! and all its rows come through the stream. One that is attached may bring rows, one that is
//! detached or dropped takes rows away, and no change says so: the shapes of the whole table end.
//!
//! *Invariant*: what is remembered, on disk, contains every partition whose rows a living shape may
//! hold, so that one that is gone is missed, also when it went while nobody looked.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use super::catalog::Catalog;
use crate::frame::FrameError;
use crate::replication::partitions::Partition;
use crate::replication::ways::Target;

/// The partitions of all partitioned tables that shapes are about.
pub struct Partitions {
    /// Held for look-ups and changes only.
    known: Mutex<HashMap<u32, Known>>,
    catalog: Arc<Catalog>,
    stale: mpsc::UnboundedSender<Stale>,
}

#[derive(Default)]
struct Known {
    /// Each with which attachment it is.
    leaves: Leaves,
    /// Rises whenever shapes had to end.
    generation: u64,
}

/// Partitions by number, each with its link.
pub type Leaves = BTreeMap<u32, String>;

/// A table whose shapes of earlier generations must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stale {
    /// Which table.
    pub table: u32,
    /// Which generation may live.
    pub generation: u64,
}

impl Partitions {
    /// What the catalogue on disk remembers; `stale` is told of tables whose shapes must end.
    #[must_use]
    pub fn new(
        found: BTreeMap<u32, Leaves>,
        catalog: Arc<Catalog>,
        stale: mpsc::UnboundedSender<Stale>,
    ) -> Partitions {
        let known = found.into_iter().map(|(root, leaves)| (root, Known { leaves, generation: 0 }));
        Partitions { known: Mutex::new(known.collect()), catalog, stale }
    }

    /// The stream brings rows of `leaf` for `root`. Remembered when it returns.
    pub async fn joined(&self, leaf: u32, target: &Target) -> Result<(), FrameError> {
        let root = target.relation.oid;
        {
            let mut all = self.known();
            let Some(known) = all.get_mut(&root) else { return Ok(()) };
            let before = known.leaves.insert(leaf, target.link.clone());
            match before {
                Some(link) if link == target.link => return Ok(()),
                None if target.created => {}
                // Attached, or away for a while: its rows were not all in the stream.
                _ => self.end(root, known),
            }
            self.catalog.note_partitions(root, &known.leaves);
        }
        self.catalog.sync().await
    }

    /// Rows that belong to `root` were not brought to it.
    pub fn missed(&self, root: u32) {
        if let Some(known) = self.known().get_mut(&root) {
            self.end(root, known);
        }
    }

    /// Compares what the database has now with what shapes hold. Where it does not go together they
    /// end, and what is there now counts from here on. Says which generation of shapes that is.
    pub async fn agree(&self, root: u32, now: &[Partition]) -> Result<u64, FrameError> {
        let leaves: Leaves = now.iter().map(|leaf| (leaf.oid, leaf.link.clone())).collect();
        let generation = {
            let mut all = self.known();
            let first = !all.contains_key(&root);
            let known = all.entry(root).or_default();
            let unstreamed = now.iter().any(|partition| !partition.streamed);
            if known.leaves == leaves && !first && !unstreamed {
                return Ok(known.generation);
            }
            let gone = known.leaves.iter().any(|(leaf, link)| leaves.get(leaf) != Some(link));
            let added = |partition: &&Partition| !known.leaves.contains_key(&partition.oid);
            let attached = now.iter().filter(added).any(|partition| !partition.created);
            if !first && (gone || attached || unstreamed) {
                self.end(root, known);
            }
            self.catalog.note_partitions(root, &leaves);
            known.leaves = leaves;
            known.generation
        };
        self.catalog.sync().await?;
        Ok(generation)
    }

    fn end(&self, table: u32, known: &mut Known) {
        known.generation += 1;
        // Nobody listening means that the process is ending.
        _ = self.stale.send(Stale { table, generation: known.generation });
    }

    /// Whether shapes have been made of this partitioned table.
    #[must_use]
    pub fn knows(&self, root: u32) -> bool {
        self.known().contains_key(&root)
    }

    /// The generation of shapes that may live now.
    #[must_use]
    pub fn generation(&self, root: u32) -> u64 {
        self.known().get(&root).map_or(0, |known| known.generation)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<u32, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
