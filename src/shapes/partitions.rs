//! Which partitions' rows the shapes of a partitioned table hold.
//!
//! The stream says nothing of partitions that come and go. One that was created as such is empty,
//! and all its rows come through the stream. One that is attached may bring rows, one that is
//! detached or dropped takes rows away, and no change says so: the shapes of the whole table end.
//!
//! *Invariant*: what is remembered, on disk, contains every partition whose rows a living shape may
//! hold, so that one that is gone is missed, also when it went while nobody looked.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::catalog::Catalog;
use crate::frame::FrameError;
use crate::replication::layouts::Layouts;
use crate::replication::partitions::Partition;
use crate::replication::ways::Target;

/// The partitions of all partitioned tables that shapes are about.
pub struct Partitions {
    /// Held for look-ups and changes only.
    known: Mutex<HashMap<u32, KnownPartitions>>,
    catalog: Arc<Catalog>,
    stale: mpsc::UnboundedSender<Stale>,
    layouts: Arc<Layouts>,
}

/// Which partitions' rows the shapes of a table may hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownPartitions {
    /// Each with which attachment it is.
    pub leaves: Leaves,
    /// Rises whenever shapes had to end. On disk together with the partitions, so that shapes of
    /// earlier generations end even if the process does first.
    pub generation: u64,
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
        found: BTreeMap<u32, KnownPartitions>,
        catalog: Arc<Catalog>,
        stale: mpsc::UnboundedSender<Stale>,
        layouts: Arc<Layouts>,
    ) -> Partitions {
        Partitions { known: Mutex::new(found.into_iter().collect()), catalog, stale, layouts }
    }

    /// The stream brings rows of `leaf` for `root`. Remembered when it returns.
    pub async fn joined(&self, leaf: u32, target: &Target) -> Result<(), FrameError> {
        let root = target.relation.oid;
        {
            let mut all = self.known();
            let Some(known) = all.get_mut(&root) else { return Ok(()) };
            let before = known.leaves.insert(leaf, target.link.clone());
            let is_known = before.as_ref() == Some(&target.link);
            if !is_known {
                // Attached, or away for a while, or announced before, and not for this table: whoever did so did not
                // see its commit yet, and did not come to ask again. Its rows did not all come to the shapes.
                let announced = self.layouts.has_announced(leaf);
                if before.is_some() || !target.created || announced {
                    self.end(root, known);
                }
                self.catalog.note_partitions(root, known);
            }
        }
        // Also if it is known: whoever noted it may not have waited yet.
        self.catalog.sync().await
    }

    /// Rows that belong to `root` were not brought to it.
    pub async fn missed(&self, root: u32) -> Result<(), FrameError> {
        if let Some(known) = self.known().get_mut(&root) {
            self.end(root, known);
            self.catalog.note_partitions(root, known);
        }
        self.catalog.sync().await
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
            // One that the stream has announced already, and not for this table: its rows so far have
            // gone past the shapes, because its commit was not visible then.
            let apart = |leaf: &Partition| !leaf.created || self.layouts.has_announced(leaf.oid);
            let attached = now.iter().filter(added).any(apart);
            if !first && (gone || attached || unstreamed) {
                self.end(root, known);
            }
            known.leaves = leaves;
            self.catalog.note_partitions(root, known);
            known.generation
        };
        self.catalog.sync().await?;
        Ok(generation)
    }

    /// Forgets the tables that no shape is about; durable once somebody waits for the catalogue. `used` is
    /// asked while nothing is added: a shape in creation is known by then.
    pub fn forget_unused(&self, used: impl FnOnce() -> HashSet<u32>) {
        let mut all = self.known();
        if all.is_empty() {
            return;
        }
        let used = used();
        for (root, _) in all.extract_if(|root, _| !used.contains(root)) {
            self.catalog.forget_partitions(root);
        }
    }

    fn end(&self, table: u32, known: &mut KnownPartitions) {
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

    fn known(&self) -> MutexGuard<'_, HashMap<u32, KnownPartitions>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::pin::pin;

    use brooklet_sql::{Relation, RelationName, ReplicaIdentity};
    use futures_util::poll;

    use super::*;
    use crate::storage::Directory;

    #[tokio::test]
    async fn a_partition_is_on_disk_before_its_rows_whoever_noted_it() {
        let (dir, name) = (tempfile::tempdir().unwrap(), |table: &str| RelationName {
            schema: "public".into(),
            table: table.into(),
        });
        let path = dir.path().join(Path::new("catalog.log"));
        let opened = Catalog::open(&Directory::handle(), &path, &HashSet::new());
        let catalog = Arc::new(opened.unwrap().0);
        let layouts = Arc::new(Layouts::new(HashMap::new(), std::iter::empty()));
        let (stale, _) = mpsc::unbounded_channel();
        let partitions = Partitions::new(BTreeMap::new(), Arc::clone(&catalog), stale, layouts);
        let leaf = Partition {
            root: 1,
            oid: 2,
            name: name("leaf"),
            created: true,
            link: "l".into(),
            streamed: true,
            full_identity: true,
        };
        let relation = Relation {
            oid: 1,
            name: name("root"),
            identity: ReplicaIdentity::Full,
            columns: Vec::new(),
            order: Vec::new(),
        };
        let target = Target { relation, created: true, link: "l".into() };
        let paused = catalog.pause().await;
        let now = [leaf];
        let mut looked = pin!(partitions.agree(1, &now));
        assert!(poll!(looked.as_mut()).is_pending());
        let mut streamed = pin!(partitions.joined(2, &target));
        assert!(poll!(streamed.as_mut()).is_pending(), "nobody knows of it after a crash");
        drop(paused);
        looked.await.unwrap();
        streamed.await.unwrap();
    }
}
