//! Snapshots that new shapes of one template share while many come at a time.
//!
//! *Enters*: shapes whose table is prepared and that are in the dataflow. *Leaves*: for each a snapshot that was taken
//! after that, and its rows; or word that it takes one alone. *Invariant*: nobody waits for another's many rows or slow
//! filter longer than [`SHARED_SNAPSHOT_TIME_MAX`].
//!
//! One snapshot of a template is taken at a time; who comes meanwhile takes part in the next one. Whatever goes wrong
//! with a shared one is nobody's error: each shape goes on alone and finds its own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use brooklet_sql::Row;
use futures_util::future::try_join;
use tokio::sync::oneshot::{self, error::TryRecvError};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::create::Workshop;
use super::shape::Shape;
use crate::limits::{
    SHARED_SNAPSHOT_BYTES_MAX, SHARED_SNAPSHOT_FILTER_BYTES_MAX, SHARED_SNAPSHOT_QUICK,
    SHARED_SNAPSHOT_ROWS_MAX, SHARED_SNAPSHOT_SHAPES_MAX, SHARED_SNAPSHOT_TIME_MAX,
};
use crate::replication::publication::PreparedTable;
use crate::replication::snapshot::{Rows, Snapshot, SnapshotError};

/// How the shapes of one template come by their snapshots.
pub struct Together {
    /// Whether the last one alone was quick.
    quick: AtomicBool,
    waiting: Mutex<Vec<Waiting>>,
    turn: Semaphore,
}

struct Waiting {
    shape: Arc<Shape>,
    answer: oneshot::Sender<Share>,
}

/// A shape's part of a shared snapshot.
pub struct Share {
    /// Ended by the last who has it, see [`leave`].
    pub snapshot: Arc<Snapshot>,
    /// All rows of the shape.
    pub rows: Vec<Row>,
    /// What the catalogue says of the table while the snapshot holds its lock.
    pub table: Option<Arc<PreparedTable>>,
}

/// What a shape takes its rows from.
pub enum Turn<'a> {
    /// A snapshot that others have, too.
    Shared(Share),
    /// One of its own. Who comes while it holds the permit, if it has one, shares the next.
    Alone(Option<SemaphorePermit<'a>>),
}

impl Default for Together {
    fn default() -> Together {
        let (quick, waiting) = (AtomicBool::new(false), Mutex::default());
        Together { quick, waiting, turn: Semaphore::new(1) }
    }
}

impl Together {
    /// Waits until the shape has its part of a snapshot, or is to take one alone.
    pub async fn turn(&self, shop: &Workshop, shape: &Arc<Shape>) -> Turn<'_> {
        let filter = || shape.plan.predicate.as_ref().map_or(0, |predicate| predicate.sql().len());
        if !self.quick.load(Ordering::Relaxed) || filter() > SHARED_SNAPSHOT_FILTER_BYTES_MAX {
            return Turn::Alone(None);
        }
        let (answer, mut share) = oneshot::channel();
        self.waiting().push(Waiting { shape: Arc::clone(shape), answer });
        let turn = tokio::select! {
            biased;
            share = &mut share => return share.map_or(Turn::Alone(None), Turn::Shared),
            // Fails only if it were closed.
            turn = self.turn.acquire() => turn.ok(),
        };
        loop {
            match share.try_recv() {
                Ok(share) => return Turn::Shared(share),
                Err(TryRecvError::Closed) => return Turn::Alone(None),
                Err(TryRecvError::Empty) => {}
            }
            let batch = self.next();
            if batch.len() <= 1 {
                return Turn::Alone(turn);
            }
            if let Err(error) = take(shop, batch).await {
                tracing::debug!(%error, "a shared snapshot came to nothing");
                self.quick.store(false, Ordering::Relaxed);
            }
        }
    }

    /// A shape has taken a snapshot alone, and so many rows of it in this time.
    pub fn learn(&self, rows: usize, time: Duration) {
        if rows <= SHARED_SNAPSHOT_ROWS_MAX {
            self.quick.store(time <= SHARED_SNAPSHOT_QUICK, Ordering::Relaxed);
        }
    }

    /// Those who have waited longest.
    fn next(&self) -> Vec<Waiting> {
        let mut waiting = self.waiting();
        let count = waiting.len().min(SHARED_SNAPSHOT_SHAPES_MAX);
        waiting.drain(..count).collect()
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nothing more is asked of a snapshot by one of those who share it: the last one ends it.
pub async fn leave(snapshot: Arc<Snapshot>) -> Result<(), SnapshotError> {
    match Arc::into_inner(snapshot) {
        Some(last) => last.end().await,
        None => Ok(()),
    }
}

/// Takes one snapshot for several shapes of a template. Who is not answered goes alone.
async fn take(shop: &Workshop, batch: Vec<Waiting>) -> Result<(), SnapshotError> {
    let Some(Waiting { shape, .. }) = batch.first() else { return Ok(()) };
    let (table, definition) = (Arc::clone(shape.table()), shape.template.definition.clone());
    let predicates: Vec<_> =
        batch.iter().map(|waiting| waiting.shape.plan.predicate.as_ref()).collect();
    // One more, to know of those that have more.
    let limit = SHARED_SNAPSHOT_ROWS_MAX as u64 + 1;
    let (snapshot, copy) = Snapshot::for_shapes(
        &shop.database,
        &table,
        &definition,
        &predicates,
        limit,
        SHARED_SNAPSHOT_TIME_MAX,
    )
    .await?;
    let mut reading = snapshot.prepared(&copy).await?;
    let looked = async { Ok(shop.publication.inspect_one(table.oid).await?) };
    let (rows, table) = try_join(dealt(&mut reading, batch.len()), looked).await?;
    drop(reading);
    let snapshot = Arc::new(snapshot);
    for (Waiting { answer, .. }, rows) in batch.into_iter().zip(rows) {
        if rows.len() <= SHARED_SNAPSHOT_ROWS_MAX {
            // Nobody takes it if the process is ending.
            let (snapshot, table) = (Arc::clone(&snapshot), table.clone());
            _ = answer.send(Share { snapshot, rows, table });
        }
    }
    leave(snapshot).await
}

/// The rows of each of so many shapes.
async fn dealt(reading: &mut Rows, shapes: usize) -> Result<Vec<Vec<Row>>, SnapshotError> {
    let (mut rows, mut bytes) = (vec![Vec::new(); shapes], 0);
    while let Some((place, row)) = reading.next_placed().await? {
        bytes += row.as_bytes().len();
        if bytes > SHARED_SNAPSHOT_BYTES_MAX {
            return Err(SnapshotError::Description("its rows are too large to share it".into()));
        }
        let unknown = || SnapshotError::Description(format!("it has rows of a shape {place}"));
        rows.get_mut(place).ok_or_else(unknown)?.push(row);
    }
    Ok(rows)
}
