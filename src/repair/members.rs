//! What is kept for subqueries, after the slot was lost.
//!
//! *Enters*: the snapshot that stands where the new slot begins. *Leaves*: the rows of their tables as they are there, for
//! the thread that goes on from them. *Invariant*: it forgets what it has before logs are compared, so that nothing
//! comes to them any more, and goes on only when they hold what the rows say.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use brooklet_dataflows::ShapeId;
use brooklet_dataflows::members::{Counts, KeptName, inner_needs, needs};
use brooklet_sql::{Lsn, TableSchema};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::{Begun, Failure, Stream, Unrepaired};
use crate::ingest::Entry;
use crate::members::load::{self, Need};
use crate::members::loading::Held;
use crate::members::{Input, Repaired, concerns};
use crate::replication::snapshot::{Snapshot, SnapshotError};
use crate::shapes::Shape;
use crate::shapes::create::{CreateError, Workshop, make_durable};

/// How often the thread of subqueries is told again that it is waited for.
const POKE_INTERVAL: Duration = Duration::from_millis(100);

/// The tables of a shape's subqueries, but for its own.
pub(super) fn inner_tables(shape: &Shape) -> Vec<Arc<TableSchema>> {
    let mut tables = load::tables(&inner_needs(&shape.plan));
    tables.retain(|table| table.oid != shape.table().oid);
    tables
}

/// Whether the rows of all of these tables lie where the snapshot has them.
pub(super) async fn have_their_files(
    snapshot: &Snapshot,
    tables: &[&TableSchema],
) -> Result<bool, SnapshotError> {
    for table in tables {
        if !snapshot.has_files_of(table.oid).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether the tables of a shape's subqueries are what they were when the question was asked.
pub(super) async fn keeps(shop: &Workshop, shape: &Arc<Shape>) -> Result<bool, CreateError> {
    if !concerns(&shape.plan) {
        return Ok(true);
    }
    Ok(load::changed(shop, std::slice::from_ref(shape), |_| true).await?.is_empty())
}

impl Stream {
    /// What was streamed is in the logs of shapes with subqueries, and nothing more comes.
    pub(super) async fn forget_members(&self) -> Result<(), Failure> {
        let shop = self.registry.workshop();
        let (done, mut forgotten) = oneshot::channel();
        // What was found at a start is not restored any more.
        shop.members.forgotten.store(true, Ordering::Release);
        // By way of the change log's thread: behind all that it has handed on.
        self.send(vec![Entry::Watch(Vec::new(), Box::new(Input::Forget(done)))]).await?;
        // While their thread is behind by more than may wait for it, it is told with the next thing that comes; and
        // nothing comes.
        let told = loop {
            match timeout(POKE_INTERVAL, &mut forgotten).await {
                Ok(told) => break told,
                Err(_) => self.send(vec![Entry::Settle(oneshot::channel().0)]).await?,
            }
        };
        told.map_err(|_| Failure::Stopped)?;
        make_durable(shop, &shop.members.appender).await?;
        Ok(())
    }

    /// The rows that shapes with subqueries need, where the new slot begins. Shapes end whose tables are others now, or
    /// cannot be read; where there is more than may be kept, the youngest.
    pub(super) async fn kept(&self, begun: &Begun) -> Result<Vec<(KeptName, Counts)>, Failure> {
        let shop = self.registry.workshop();
        let mut shapes = self.registry.finished_with_subqueries();
        shapes.retain(|shape| shape.is_alive());
        let changed = load::changed(shop, &shapes, |_| true).await?;
        let gone: HashSet<ShapeId> = changed.iter().map(|shape| shape.id()).collect();
        shapes.retain(|shape| !gone.contains(&shape.id()));
        self.registry.remove(changed).await;
        shapes.sort_unstable_by_key(|shape| shape.id());
        let (mut rows, mut unread) = (HashMap::new(), HashSet::new());
        let mut room = shop.members.loading.begin();
        for shape in &shapes {
            for need in needs(&shape.plan) {
                if unread.contains(&need.0) {
                    break;
                }
                if rows.contains_key(&need.0) {
                    continue;
                }
                // Of one snapshot, whatever the transaction: one table's error is not another's.
                match read(shop, &need, &mut room, begun).await {
                    Ok(counts) => {
                        rows.insert(need.0, counts);
                    }
                    Err(Unrepaired::Later(error)) => return Err(Failure::Later(error)),
                    Err(Unrepaired::Unfit(reason)) => {
                        tracing::warn!(table = %need.1.name, reason, "shapes with subqueries end with the slot");
                        unread.insert(need.0);
                    }
                }
            }
        }
        shapes.retain(|shape| needs(&shape.plan).iter().any(|(name, _)| !rows.contains_key(name)));
        self.registry.remove(shapes).await;
        Ok(rows.into_iter().collect())
    }

    /// Logs hold what the database had at `at`: the thread goes on from there.
    pub(super) async fn remember_members(
        &self,
        rows: Vec<(KeptName, Counts)>,
        at: Lsn,
    ) -> Result<(), Failure> {
        let shapes = self.registry.finished_with_subqueries();
        let alive = shapes.iter().filter(|shape| shape.is_alive());
        let plans = alive.map(|shape| Arc::clone(&shape.plan)).collect();
        let repaired = Input::Repaired(Box::new(Repaired { plans, rows, at }));
        let sent = self.registry.workshop().members.inputs.send(repaired).await;
        sent.map_err(|_| Failure::Stopped)
    }
}

/// Rows of one table, as far as there is room for them beside those that were read before.
async fn read(
    shop: &Workshop,
    need: &Need,
    room: &mut Held,
    begun: &Begun,
) -> Result<Counts, Unrepaired> {
    let snapshot = Snapshot::exported(&shop.database, &[&*need.1], &begun.slot.snapshot).await?;
    let rows = load::rows(&snapshot, std::slice::from_ref(need), room).await;
    let mut rows = rows.map_err(|error| match error {
        CreateError::Unavailable { .. } => Unrepaired::Later(error.into()),
        error => Unrepaired::Unfit(error.to_string()),
    })?;
    snapshot.end().await?;
    let counts = rows.pop().map(|(_, counts)| counts);
    counts.ok_or_else(|| Unrepaired::Unfit("its rows were not read".to_owned()))
}
