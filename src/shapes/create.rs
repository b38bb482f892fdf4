//! How a shape comes to be.
//!
//! 1. The table is prepared: from here on every change of it is in the stream, with its old row.
//! 2. The shape is added to the dataflow at an exact position of the stream; its postings are held.
//! 3. A snapshot is taken, then the insert position read. Transactions up to that position are taken
//!    or dropped by whether the snapshot contains them; commit order is not id order, so nothing less
//!    will do.
//! 4. Transactions from before 2. that the snapshot does not contain (streamed, but not yet visible)
//!    are matched from the change log.
//! 5. Readers may read; rows are copied into packs while they do.
//! 6. Rows and late postings are made durable, then the catalogue says so: the handle survives restarts.

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use brooklet_dataflows::{Event, Posting, ShapeId, verdict};
use brooklet_sql::{Lsn, TableSchema};
use futures_util::poll;
use tokio::sync::{mpsc, watch};

use super::base::Stage;
use super::catalog::Catalog;
use super::chunks::Chunks;
use super::fold;
use super::partitions::Partitions;
use super::recent::RecentCommits;
use super::shape::Shape;
use super::together::Turn;
use super::visibility::{Seen, Visibility};
use crate::change_log::{ChangeLog, StoredCommit};
use crate::engine::Engine;
use crate::limits::RECENT_COMMITS_MAX;
use crate::members::{self, MembersHandle};
use crate::replication::partitions::Partition;
use crate::replication::publication::{PreparedTable, Publication};
use crate::replication::schema::Schemas;
use crate::replication::snapshot::{Rows, Snapshot, SnapshotError, SnapshotTurn};
use crate::replication::{self, Database, DatabaseError};
use crate::shape_log::posting_files::PostingFiles;
use crate::shape_log::{AppenderHandle, Encoded, HeldTransaction, PackStore, ShapeLogs};

pub use error::CreateError;

mod error;

/// What shapes are made with.
pub struct Workshop {
    /// Where snapshots come from.
    pub database: Database,
    /// Prepares tables.
    pub publication: Publication,
    /// Knows tables.
    pub schemas: Schemas,
    /// Maintains shapes.
    pub engine: Engine,
    /// Holds the stream.
    pub change_log: ChangeLog,
    /// Transactions that may not be visible yet.
    pub recent: Arc<RecentCommits>,
    /// The logs of all shapes.
    pub logs: Arc<ShapeLogs>,
    /// Appends to them.
    pub appender: AppenderHandle,
    /// Holds entries.
    pub postings: PostingFiles,
    /// Holds snapshot rows.
    pub packs: PackStore,
    /// Keeps what readers share.
    pub encoded: Encoded,
    /// Remembers finished shapes.
    pub catalog: Arc<Catalog>,
    /// Knows whose rows the shapes of partitioned tables hold.
    pub partitions: Arc<Partitions>,
    /// The durable end of the change log.
    pub durable: watch::Receiver<Lsn>,
    /// The last transaction from before this process: no new shape sees it or an earlier one from
    /// the dataflow.
    pub begun_after: Lsn,
    /// Keeps shapes with subqueries.
    pub members: MembersHandle,
    /// Told of shapes whose log is large against their rows. Unbounded: each is told of once.
    pub large: mpsc::UnboundedSender<ShapeId>,
    /// Bytes of a chunk of new shapes.
    pub chunk_bytes: u64,
}

impl Workshop {
    /// The logs that a shape's is one of, and how far they are.
    #[must_use]
    pub fn logs_of(&self, shape: &Shape) -> &Arc<ShapeLogs> {
        if members::concerns(&shape.plan) { &self.members.logs } else { &self.logs }
    }

    /// What writes a shape's log.
    #[must_use]
    pub fn appender_of(&self, shape: &Shape) -> &AppenderHandle {
        if members::concerns(&shape.plan) { &self.members.appender } else { &self.appender }
    }

    /// Every transaction up to here is durable in the logs of all shapes.
    #[must_use]
    pub fn durable(&self) -> Lsn {
        self.logs.durable().min(self.members.logs.durable())
    }

    /// Those of shapes with subqueries, and of others.
    #[must_use]
    pub fn both_logs(&self) -> [Arc<ShapeLogs>; 2] {
        [Arc::clone(&self.logs), Arc::clone(&self.members.logs)]
    }
}

/// Tells a shape's readers that it could not be made.
pub(super) fn fail(shape: &Shape, error: CreateError) {
    shape.newest().update(|state| state.stage = Stage::Failed(error));
}

/// A shape that is in the dataflow: no transaction after this one will be missed.
pub(super) struct Installed {
    pub(super) shape: Arc<Shape>,
    /// The last one that does not reach it.
    pub(super) after: Lsn,
    /// Its table's in the publication.
    pub(super) membership: u32,
}

/// Makes a shape whose handle is known already. The turn, which is another's to wait for, ends once its rows
/// begin to come.
pub(super) async fn create(
    shop: &Workshop,
    shape: &Arc<Shape>,
    turn: Option<Turn>,
) -> Result<(), CreateError> {
    if members::concerns(&shape.plan) {
        return members::create::create(shop, shape).await;
    }
    let membership = shop.publication.prepare(shape.table()).await?;
    // First: what waits for it longer than the stream goes on would hold postings without a bound.
    let leave = shop.database.snapshot_turn().await;
    let after = install(shop, shape).await?;
    let shape = Arc::clone(shape);
    create_installed(shop, &Installed { shape, after, membership }, leave, turn).await
}

/// The rest of it.
pub(super) async fn create_installed(
    shop: &Workshop,
    installed: &Installed,
    leave: SnapshotTurn,
    turn: Option<Turn>,
) -> Result<(), CreateError> {
    let Installed { shape, after, .. } = installed;
    let table = shape.table();
    let streamed = shop.recent.up_to(*after);
    // Before the snapshot: rows of a partition that is attached later may be in neither.
    let before = partitions(shop, table).await?;
    let (definition, predicate) = (&shape.template.definition, shape.plan.predicate.as_ref());
    let (snapshot, copy) =
        Snapshot::for_shape(&shop.database, leave, table, definition, predicate).await?;
    let asked = Instant::now();
    // Before it is checked whose rows these are: the table's name is looked up by then.
    let rows = snapshot.prepared(&copy).await?;
    let waited = asked.elapsed();
    drop(turn);
    let now = shop.publication.inspect_one(table.oid).await;
    let now = now.map_err(|error| CreateError::from(&error))?;
    if !is_kept(now.as_deref(), installed) {
        return Err(changed(shop, table));
    }
    let partitions = partitions(shop, table).await?;
    let generation = check(shop, table, before, partitions).await?;
    let seen = snapshot.seen.born(shop.logs.processed());
    let visibility = &seen.visibility;
    shape.set_generation(generation);
    let early = early(shop, shape, visibility, streamed.to_vec()).await?;
    let begun = shop.appender.begin(vec![(shape.id(), early)], Arc::clone(&seen)).await;
    let late = begun.map_err(CreateError::internal)? || is_shown_again(shop, *after);
    // What it needs of them its log refers to now.
    drop(streamed);
    shop.recent.forget_visible(visibility);
    let base = shape.newest();
    base.update(|state| state.stage = Stage::Running(Arc::clone(&seen)));
    let chunks = Chunks::new(&shop.packs, shop.chunk_bytes, shape, &base);
    let begun = Instant::now();
    let count = store(&mut chunks.shared(&shop.encoded), shape, rows).await?;
    shape.template.together.learn(count, waited + begun.elapsed());
    snapshot.end_for_good().await?;
    let still_right = || {
        shop.partitions.generation(table.oid) == generation
            && shop.publication.is_still(table.oid, installed.membership)
    };
    finish(shop, shape, &seen, late, still_right).await?;
    tell_if_large(shop, shape);
    Ok(())
}

/// Its log may be large already.
pub(super) fn tell_if_large(shop: &Workshop, shape: &Shape) {
    // Fails only when the process is ending.
    if shape.log.large_beyond(fold::large_at(shape)) {
        _ = shop.large.send(shape.id());
    }
}

/// Whether a restart would show a shape transactions from before it was installed: what comes after what is durable. It
/// does not ask when the shape began, and a TRUNCATE would end it.
pub(super) fn is_shown_again(shop: &Workshop, after: Lsn) -> bool {
    shop.logs.durable() < after
}

/// Whether a shape's table is what it was when the question was asked. The snapshot holds its lock, so a
/// later change of the table comes after it in the stream. An earlier one may have been announced
/// before the shape was there to hear it.
pub(super) fn is_kept(now: Option<&PreparedTable>, installed: &Installed) -> bool {
    let Installed { shape, membership, .. } = installed;
    now.is_some_and(|now| {
        now.membership == Some(*membership) && now.keeps(&shape.template, shape.plan.read())
    })
}

/// Whether the partitions of a table are what they were before a snapshot that holds its lock by now. Returns their
/// generation.
pub(super) async fn check(
    shop: &Workshop,
    table: &TableSchema,
    before: Vec<Partition>,
    partitions: Vec<Partition>,
) -> Result<u64, CreateError> {
    // A partition that came in between may be in the snapshot or not.
    let streamed = partitions.iter().all(|partition| partition.streamed);
    if partitions != before || !streamed {
        return Err(changed(shop, table));
    }
    if !table.partitioned {
        return Ok(0);
    }
    shop.partitions.agree(table.oid, &partitions).await.map_err(CreateError::internal)
}

/// A table is not what is known of it.
pub(super) fn changed(shop: &Workshop, table: &TableSchema) -> CreateError {
    shop.schemas.forget(&table.name);
    shop.publication.forget(table.oid);
    CreateError::Ended
}

pub(super) async fn partitions(
    shop: &Workshop,
    table: &TableSchema,
) -> Result<Vec<Partition>, CreateError> {
    if !table.partitioned {
        return Ok(Vec::new());
    }
    let client = shop.database.pooled().await.map_err(|error| CreateError::from(&error))?;
    let found = replication::partitions::partitions(&client, &[table.oid]).await;
    found.map_err(|error| CreateError::from(&DatabaseError::from(error)))
}

/// Adds the shape to the dataflow; returns the last transaction that does not reach it.
pub(crate) async fn install(shop: &Workshop, shape: &Arc<Shape>) -> Result<Lsn, CreateError> {
    let mut installed = install_all(shop, std::slice::from_ref(shape)).await?;
    installed.pop().unwrap_or(Err(CreateError::Ended))
}

/// The same of several shapes at once.
pub(super) async fn install_all(
    shop: &Workshop,
    shapes: &[Arc<Shape>],
) -> Result<Vec<Result<Lsn, CreateError>>, CreateError> {
    let mut changes: Vec<_> = shapes.iter().map(|shape| shape.log.subscribe()).collect();
    shapes.iter().for_each(|shape| shop.logs.insert(&shape.log));
    let plans = shapes.iter().map(|shape| Event::AddShape(Arc::clone(&shape.plan)));
    shop.engine.send(plans.collect()).await.map_err(CreateError::internal)?;
    let mut installed = Vec::with_capacity(shapes.len());
    for (shape, changed) in shapes.iter().zip(&mut changes) {
        installed.push(loop {
            if let Some(after) = shape.log.installed_after() {
                break Ok(after.max(shop.begun_after));
            }
            if shape.log.ended().is_some() || changed.changed().await.is_err() {
                break Err(CreateError::Ended);
            }
        });
    }
    Ok(installed)
}

/// What transactions from before the shape was installed bring to it, if the snapshot does not
/// contain them.
pub(crate) async fn early(
    shop: &Workshop,
    shape: &Arc<Shape>,
    visibility: &Visibility,
    mut missing: Vec<StoredCommit>,
) -> Result<Vec<HeldTransaction>, CreateError> {
    missing.retain(|commit| !visibility.contains(commit.xid));
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    if missing.iter().any(|commit| commit.truncates) {
        // The snapshot still has the rows, and the stream will not say again that they are gone.
        let reason = "a TRUNCATE has been streamed that is not visible yet".to_owned();
        return Err(CreateError::Unavailable { reason, retry_after: 1 });
    }
    let (log, plan) = (shop.change_log.clone(), Arc::clone(&shape.plan));
    let matched = tokio::task::spawn_blocking(move || {
        let one = |commit: &StoredCommit| {
            let mut postings = Vec::new();
            log.read_range(commit.first_seq..commit.next_seq, plan.table().oid, |change| {
                let verdict = verdict(&plan, &change);
                postings.extend(verdict.map(|verdict| Posting::new(&plan, &change, verdict)));
            })?;
            if let Some(last) = postings.last_mut() {
                last.last = true;
            }
            Ok(HeldTransaction { lsn: commit.lsn, xid: commit.xid, brought: postings.into() })
        };
        missing.iter().map(one).collect::<Result<Vec<_>, crate::change_log::ChangeLogError>>()
    });
    let mut matched =
        matched.await.map_err(CreateError::internal)?.map_err(CreateError::internal)?;
    matched.retain(|transaction| !transaction.brought.postings.is_empty());
    Ok(matched)
}

/// Makes durable what a shape's record will refer to, in this order: rows, postings, the rows of the
/// postings.
pub(crate) async fn make_durable(
    shop: &Workshop,
    appender: &AppenderHandle,
) -> Result<(), CreateError> {
    shop.packs.sync().await.map_err(CreateError::internal)?;
    let reached = appender.sync().await.map_err(CreateError::internal)?;
    let mut durable = shop.durable.clone();
    // Beyond it: a commit record may begin exactly where the durable part ends.
    let covers = |durable: &Lsn| *durable > reached || reached == Lsn::ZERO;
    let covered = durable.wait_for(covers).await;
    covered.map_err(CreateError::internal)?;
    Ok(())
}

/// Everything is stored: durable first, then in the catalogue. Entries that came with their transactions
/// are durable with them, or made again by a restart; those that were written `late` are not.
pub(crate) async fn finish(
    shop: &Workshop,
    shape: &Arc<Shape>,
    seen: &Arc<Seen>,
    late: bool,
    still_right: impl Fn() -> bool,
) -> Result<(), CreateError> {
    let finished = finish_all(shop, std::slice::from_ref(shape), seen, late, still_right).await?;
    finished.into_iter().collect()
}

/// The same of several shapes of one template. An error is one of all of them.
pub(super) async fn finish_all(
    shop: &Workshop,
    shapes: &[Arc<Shape>],
    seen: &Arc<Seen>,
    late: bool,
    still_right: impl Fn() -> bool,
) -> Result<Vec<Result<(), CreateError>>, CreateError> {
    let Some(first) = shapes.first() else { return Ok(Vec::new()) };
    if !still_right() {
        return Ok(shapes.iter().map(|_| Err(CreateError::Ended)).collect());
    }
    if late {
        make_durable(shop, shop.appender_of(first)).await?;
    } else if shapes.iter().any(|shape| !shape.newest().batches().is_empty()) {
        shop.packs.sync().await.map_err(CreateError::internal)?;
    }
    for shape in shapes.iter().filter(|shape| shape.log.ended().is_none()) {
        shape.set_seen(Arc::clone(seen));
        if let Some(record) = shape.record() {
            shop.catalog.note_finished(record, &shape.log);
        }
    }
    shop.catalog.sync().await.map_err(CreateError::internal)?;
    let one = |shape: &Arc<Shape>| {
        if !shape.log.stays() || !still_right() {
            return Err(CreateError::Ended);
        }
        let visibility = seen.visibility.clone();
        shape.newest().update(|state| state.stage = Stage::Complete(visibility));
        Ok(())
    };
    Ok(shapes.iter().map(one).collect())
}

/// How long rows may wait for a batch to fill while Postgres is slow to find more.
const BATCH_WAIT: Duration = Duration::from_millis(100);

/// Stores all rows; readers may follow. Returns how many there are.
async fn store(
    chunks: &mut Chunks<'_>,
    shape: &Shape,
    mut rows: Rows,
) -> Result<usize, CreateError> {
    let mut count = 0;
    loop {
        let mut next = pin!(rows.values());
        // Most are there already, and a timer takes as long as a row.
        let next = match poll!(next.as_mut()) {
            Poll::Ready(next) => next,
            Poll::Pending if chunks.is_flushed() => next.await,
            Poll::Pending => match tokio::time::timeout(BATCH_WAIT, next).await {
                Ok(next) => next,
                Err(_) => {
                    chunks.flush().map_err(CreateError::internal)?;
                    continue;
                }
            },
        };
        match next? {
            Some(row) => chunks.push(|place| row.get(place)).map_err(CreateError::internal)?,
            None => {
                chunks.flush().map_err(CreateError::internal)?;
                return Ok(count);
            }
        }
        count += 1;
        if chunks.is_flushed() {
            if shape.log.ended().is_some() {
                return Err(CreateError::Ended);
            }
            chunks.sync_early();
            // Readers were woken, and may be waiting for this very thread.
            tokio::task::yield_now().await;
        }
    }
}

/// Forgets remembered commits that have become visible, when they grow many.
pub async fn prune_recent(shop: &Workshop) -> Result<(), SnapshotError> {
    if shop.recent.len() > RECENT_COMMITS_MAX {
        let snapshot = Snapshot::take(&shop.database).await?;
        shop.recent.forget_visible(&snapshot.seen.visibility);
        snapshot.end().await?;
    }
    Ok(())
}
