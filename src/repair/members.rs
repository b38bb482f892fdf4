//! What is kept for subqueries, after the slot was lost.
//!
//! *Enters*: the snapshot that stands where the new slot begins. *Leaves*: the rows of their tables as they are there, for
//! the thread that goes on from them. *Invariant*: it forgets what it has before logs are compared, so that nothing
//! comes to them any more, and goes on only when they hold what the rows say.

use std::sync::Arc;

use brooklet_dataflows::members::{Counts, KeptName, inner_needs};
use brooklet_sql::{Lsn, TableSchema};
use tokio::sync::oneshot;

use super::{Begun, Failure, Stream};
use crate::ingest::Entry;
use crate::members::{Input, Repaired, concerns, load};
use crate::replication::snapshot::Snapshot;
use crate::shapes::Shape;
use crate::shapes::create::{CreateError, Workshop, make_durable};

/// The tables of a shape's subqueries, but for its own.
pub(super) fn inner_tables(shape: &Shape) -> Vec<Arc<TableSchema>> {
    let mut tables = load::tables(&inner_needs(&shape.plan));
    tables.retain(|table| table.oid != shape.table().oid);
    tables
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
        let (done, forgotten) = oneshot::channel();
        // By way of the change log's thread: behind all that it has handed on.
        self.send(vec![Entry::Watch(Vec::new(), Box::new(Input::Forget(done)))]).await?;
        forgotten.await.map_err(|_| Failure::Stopped)?;
        make_durable(shop, &shop.members.appender).await?;
        Ok(())
    }

    /// The rows that shapes with subqueries need, where the new slot begins. Those whose tables are others now end.
    pub(super) async fn kept(&self, begun: &Begun) -> Result<Vec<(KeptName, Counts)>, Failure> {
        let shop = self.registry.workshop();
        let mut shapes = self.registry.finished_with_subqueries();
        shapes.retain(|shape| shape.is_alive());
        if shapes.is_empty() {
            return Ok(Vec::new());
        }
        let changed = load::changed(shop, &shapes, |_| true).await?;
        shapes.retain(|shape| changed.iter().all(|changed| changed.id() != shape.id()));
        self.registry.remove(changed).await;
        match read(shop, &shapes, begun).await {
            Ok(rows) => Ok(rows),
            Err(error @ CreateError::Unavailable { .. }) => Err(error.into()),
            // What they are made of cannot be read, or no longer fits.
            Err(error) => {
                tracing::warn!(%error, shapes = shapes.len(), "shapes with subqueries end with the slot");
                self.registry.remove(shapes).await;
                Ok(Vec::new())
            }
        }
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

async fn read(
    shop: &Workshop,
    shapes: &[Arc<Shape>],
    begun: &Begun,
) -> Result<Vec<(KeptName, Counts)>, CreateError> {
    let needs = load::all_needs(shapes.iter().map(|shape| &shape.plan));
    let tables = load::tables(&needs);
    let tables: Vec<&TableSchema> = tables.iter().map(|table| &**table).collect();
    let snapshot = Snapshot::exported(&shop.database, &tables, &begun.slot.snapshot).await?;
    let rows = load::rows(&snapshot, &needs, shop.members.bytes_max).await?;
    snapshot.end().await?;
    Ok(rows)
}
