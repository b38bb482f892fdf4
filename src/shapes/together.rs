//! New shapes of one template that come at one time are made together.
//!
//! *Enters*: shapes that nobody has begun to make. *Leaves*: each made, of a snapshot that was taken after all of them were
//! in the dataflow, or alone. *Invariant*: nobody waits for another's many rows or slow filter longer than
//! [`SHARED_SNAPSHOT_TIME_MAX`], and an error of one is not an error of another.
//!
//! One snapshot of a template is taken at a time; who comes meanwhile takes part in the next one, and so does whose request
//! has come by then and was not looked at yet. What shapes have in
//! common is done once for all of them: a change of threads and back, or an fsync, costs as much as all that is left to
//! do for one. Whatever goes wrong while a shared snapshot is taken is nobody's error: each shape goes on alone and finds
//! its own.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use brooklet_sql::{Lsn, Row};
use futures_util::FutureExt;
use futures_util::future::try_join;
use tokio::sync::oneshot;

use super::base::Stage;
use super::chunks::Chunks;
use super::create::{self, CreateError, Installed, Workshop};
use super::recent::Streamed;
use super::registry::Registry;
use super::shape::Shape;
use super::template::Template;
use super::visibility::Seen;
use crate::limits::{
    SHARED_SNAPSHOT_BYTES_MAX, SHARED_SNAPSHOT_FILTER_BYTES_MAX, SHARED_SNAPSHOT_PAUSE,
    SHARED_SNAPSHOT_QUICK, SHARED_SNAPSHOT_ROWS_MAX, SHARED_SNAPSHOT_SHAPES_MAX,
    SHARED_SNAPSHOT_TIME_MAX, SHARED_SNAPSHOT_TURNS,
};
use crate::members;
use crate::replication::partitions::Partition;
use crate::replication::publication::PreparedTable;
use crate::replication::snapshot::{Rows, Snapshot, SnapshotError, SnapshotTurn};

/// How the shapes of one template come by their snapshots.
#[derive(Default)]
pub struct Together {
    /// Whether the last one alone was quick.
    quick: AtomicBool,
    /// Whether Postgres is asked for each one's rows with its constants in sight, because it was slow without.
    apart: AtomicBool,
    /// Until when each takes one alone, since a shared one came to nothing: what is quick for one need not be for many.
    alone_until: Mutex<Option<Instant>>,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    shapes: Vec<Arc<Shape>>,
    /// Whether somebody takes snapshots for them.
    is_led: bool,
}

/// Held by who takes a snapshot alone; who comes until it is dropped shares the next one.
pub type Turn = oneshot::Sender<Infallible>;

impl Together {
    /// A shape has taken a snapshot alone, and so many rows of it in this time.
    pub fn learn(&self, rows: usize, time: Duration) {
        if rows <= SHARED_SNAPSHOT_ROWS_MAX {
            let alone_until = *self.alone_until.lock().unwrap_or_else(PoisonError::into_inner);
            let rests = alone_until.is_some_and(|until| Instant::now() < until);
            self.quick.store(time <= SHARED_SNAPSHOT_QUICK && !rests, Ordering::Relaxed);
        }
    }

    /// A shared one came to nothing, after so long.
    fn failed(&self, time: Duration) {
        let until = Instant::now() + SHARED_SNAPSHOT_PAUSE;
        *self.alone_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
        self.quick.store(false, Ordering::Relaxed);
        if time >= SHARED_SNAPSHOT_TIME_MAX {
            self.ask_otherwise();
        }
    }

    /// One way to ask for the rows of several was slow: maybe the other one is not.
    fn ask_otherwise(&self) {
        self.apart.fetch_not(Ordering::Relaxed);
    }

    fn suits(&self, shape: &Shape) -> bool {
        let filter = shape.plan.predicate.as_ref().map_or(0, |predicate| predicate.sql().len());
        self.quick.load(Ordering::Relaxed) && filter <= SHARED_SNAPSHOT_FILTER_BYTES_MAX
    }

    /// Those who have waited longest; if there is nobody, whoever comes has to lead.
    fn next(&self) -> Vec<Arc<Shape>> {
        let mut waiting = self.waiting();
        let count = waiting.shapes.len().min(SHARED_SNAPSHOT_SHAPES_MAX);
        waiting.is_led = count > 0;
        waiting.shapes.drain(..count).collect()
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Has a shape made, which goes on when the asker leaves.
pub(super) fn make(registry: &Arc<Registry>, shape: Arc<Shape>) {
    let (registry, template) = (Arc::clone(registry), Arc::clone(&shape.template));
    if members::concerns(&shape.plan) || !template.together.suits(&shape) {
        _ = tokio::spawn(alone(registry, shape, None));
        return;
    }
    let led = {
        let mut waiting = template.together.waiting();
        waiting.shapes.push(shape);
        std::mem::replace(&mut waiting.is_led, true)
    };
    if !led {
        _ = tokio::spawn(lead(registry, template));
    }
}

async fn alone(registry: Arc<Registry>, shape: Arc<Shape>, turn: Option<Turn>) {
    let made = survived(create::create(registry.workshop(), &shape, turn)).await;
    tell(&registry, shape, made);
}

/// A bug ends the making of one shape: who waits for it must hear of that.
async fn survived(made: impl Future<Output = Result<(), CreateError>>) -> Result<(), CreateError> {
    let made = AssertUnwindSafe(made).catch_unwind().await;
    made.unwrap_or_else(|_| Err(CreateError::Internal("it panicked, see the log".to_owned())))
}

/// Whoever comes after a leader that was a bug's victim has to lead.
struct Led<'a>(&'a Together);

impl Drop for Led<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.waiting().is_led = false;
        }
    }
}

/// Takes snapshots as long as shapes wait for them.
async fn lead(registry: Arc<Registry>, template: Arc<Template>) {
    let together = &template.together;
    let _led = Led(together);
    loop {
        for _ in 0..SHARED_SNAPSHOT_TURNS {
            tokio::task::yield_now().await;
        }
        let mut batch = together.next();
        if !together.quick.load(Ordering::Relaxed) {
            if batch.is_empty() {
                return;
            }
            batch.drain(..).for_each(|one| _ = tokio::spawn(alone(registry.clone(), one, None)));
        } else if batch.len() > 1 {
            several(&registry, &template, batch).await;
        } else {
            let Some(shape) = batch.pop() else { return };
            let (turn, over) = oneshot::channel();
            tokio::spawn(alone(Arc::clone(&registry), shape, Some(turn)));
            // Never anything else than that it was dropped.
            _ = over.await;
        }
    }
}

/// Makes several shapes; returns once the next ones may take their snapshot.
async fn several(registry: &Arc<Registry>, template: &Arc<Template>, batch: Vec<Arc<Shape>>) {
    let shop = registry.workshop();
    // First, as for one alone.
    let leave = shop.database.snapshot_turn().await;
    let installed = match install(shop, template, &batch).await {
        Ok(installed) => installed,
        Err(error) => batch.iter().map(|_| Err(error.clone())).collect(),
    };
    let mut ready = Vec::with_capacity(batch.len());
    for (shape, installed) in batch.into_iter().zip(installed) {
        match installed {
            Ok((membership, after)) => ready.push(Installed { shape, after, membership }),
            Err(error) => tell(registry, shape, Err(error)),
        }
    }
    if ready.is_empty() {
        return;
    }
    let begun = Instant::now();
    match take(shop, template, leave, &ready).await {
        Ok(taken) => {
            tokio::spawn(finish(Arc::clone(registry), Arc::clone(template), ready, taken));
        }
        Err(error) => {
            tracing::debug!(%error, "a shared snapshot came to nothing");
            template.together.failed(begun.elapsed());
            ready.into_iter().for_each(|one| go_on_alone(registry, one));
        }
    }
}

fn go_on_alone(registry: &Arc<Registry>, installed: Installed) {
    let registry = Arc::clone(registry);
    tokio::spawn(async move {
        let shop = registry.workshop();
        let leave = shop.database.snapshot_turn().await;
        let made = survived(create::create_installed(shop, &installed, leave, None)).await;
        tell(&registry, installed.shape, made);
    });
}

/// What became of a shape; nobody else waits until that is done.
fn tell(registry: &Arc<Registry>, shape: Arc<Shape>, made: Result<(), CreateError>) {
    match made {
        Ok(()) => registry.is_made(&shape),
        Err(error) => {
            let registry = Arc::clone(registry);
            tokio::spawn(async move { registry.is_not_made(&shape, error).await });
        }
    }
}

/// For each shape its table's membership and the last transaction that does not reach it.
async fn install(
    shop: &Workshop,
    template: &Template,
    batch: &[Arc<Shape>],
) -> Result<Vec<Result<(u32, Lsn), CreateError>>, CreateError> {
    let membership = shop.publication.prepare(template.table()).await?;
    let installed = create::install_all(shop, batch).await?.into_iter();
    Ok(installed.map(|after| after.map(|after| (membership, after))).collect())
}

/// What shapes have in common.
struct Taken {
    snapshot: Snapshot,
    /// Of each shape, more than it may have if there are too many.
    rows: Vec<Vec<Row>>,
    /// Transactions from before the shapes were installed.
    streamed: Streamed,
    /// What the catalogue says of the table while the snapshot holds its lock.
    now: Option<Arc<PreparedTable>>,
    /// Its partitions before the snapshot, and under its lock.
    partitions: [Vec<Partition>; 2],
}

/// Takes one snapshot for several shapes of a template.
async fn take(
    shop: &Workshop,
    template: &Template,
    leave: SnapshotTurn,
    batch: &[Installed],
) -> Result<Taken, CreateError> {
    let table = template.table();
    let last = batch.iter().map(|one| one.after).max().unwrap_or_default();
    let streamed = shop.recent.up_to(last);
    // Before the snapshot: rows of a partition that is attached later may be in neither.
    let before = create::partitions(shop, table).await?;
    let predicates: Vec<_> = batch.iter().map(|one| one.shape.plan.predicate.as_ref()).collect();
    // One more, to know of those that have more.
    let limit = SHARED_SNAPSHOT_ROWS_MAX as u64 + 1;
    let (snapshot, copy) = Snapshot::for_shapes(
        &shop.database,
        leave,
        table,
        &template.definition,
        &predicates,
        (limit, SHARED_SNAPSHOT_TIME_MAX),
        !template.together.apart.load(Ordering::Relaxed),
    )
    .await?;
    let asked = Instant::now();
    let mut reading = snapshot.prepared(&copy).await?;
    let looked = async { Ok(shop.publication.inspect_one(table.oid).await?) };
    let timed = async {
        let rows = dealt(&mut reading, batch.len()).await?;
        Ok::<_, SnapshotError>((rows, asked.elapsed()))
    };
    let ((rows, time), now) = try_join(timed, looked).await?;
    drop(reading);
    if time > SHARED_SNAPSHOT_QUICK {
        template.together.ask_otherwise();
    }
    let partitions = [before, create::partitions(shop, table).await?];
    Ok(Taken { snapshot, rows, streamed, now, partitions })
}

/// Makes shapes of what was taken; who has too many rows goes on alone.
async fn finish(
    registry: Arc<Registry>,
    template: Arc<Template>,
    batch: Vec<Installed>,
    mut taken: Taken,
) {
    let shop = registry.workshop();
    let (mut few, mut rows) = (Vec::with_capacity(batch.len()), Vec::with_capacity(batch.len()));
    for (one, found) in batch.into_iter().zip(taken.rows) {
        if found.len() > SHARED_SNAPSHOT_ROWS_MAX {
            go_on_alone(&registry, one);
        } else if create::is_kept(taken.now.as_deref(), &one) {
            few.push(one);
            rows.push(found);
        } else {
            let error = create::changed(shop, template.table());
            tell(&registry, one.shape, Err(error));
        }
    }
    taken.rows = rows;
    let made = match made(shop, &template, &few, taken).await {
        Ok(made) => made,
        Err(error) => few.iter().map(|_| Err(error.clone())).collect(),
    };
    for (one, made) in few.into_iter().zip(made) {
        if made.is_ok() {
            create::tell_if_large(shop, &one.shape);
        }
        tell(&registry, one.shape, made);
    }
}

/// What became of each shape. An error is one of all of them.
async fn made(
    shop: &Workshop,
    template: &Template,
    batch: &[Installed],
    taken: Taken,
) -> Result<Vec<Result<(), CreateError>>, CreateError> {
    let Taken { snapshot, rows, streamed, partitions: [before, partitions], .. } = taken;
    let (table, seen) = (template.table(), snapshot.seen.born(shop.logs.processed()));
    let generation = create::check(shop, table, before, partitions).await?;
    // All was read and looked at: its end may take its time.
    let ended = tokio::spawn(snapshot.end_for_good());
    let (mut results, mut begun) = (Vec::with_capacity(batch.len()), Vec::new());
    for Installed { shape, after, .. } in batch {
        shape.set_generation(generation);
        let missing = streamed.iter().filter(|commit| commit.lsn <= *after).copied().collect();
        let early = create::early(shop, shape, &seen.visibility, missing).await;
        results.push(early.map(|early| begun.push((shape.id(), early))));
    }
    let begun = shop.appender.begin(begun, Arc::clone(&seen)).await;
    let late = begun.map_err(CreateError::internal)?
        || batch.iter().any(|one| create::is_shown_again(shop, one.after));
    // What shapes need of them their logs refer to now.
    drop(streamed);
    shop.recent.forget_visible(&seen.visibility);
    let mut good = Vec::with_capacity(batch.len());
    for ((Installed { shape, .. }, rows), result) in batch.iter().zip(rows).zip(&mut results) {
        if result.is_ok() {
            *result = store(shop, shape, &seen, &rows);
            // Others may want the thread.
            tokio::task::yield_now().await;
        }
        good.extend(result.is_ok().then(|| Arc::clone(shape)));
    }
    let still_right = || {
        let published = |one: &Installed| shop.publication.is_still(table.oid, one.membership);
        shop.partitions.generation(table.oid) == generation && batch.iter().all(published)
    };
    ended.await.map_err(CreateError::internal)??;
    let finished = create::finish_all(shop, &good, &seen, late, still_right).await?;
    let mut finished = finished.into_iter();
    let mut finish = |()| finished.next().unwrap_or(Err(CreateError::Ended));
    Ok(results.into_iter().map(|result| result.and_then(&mut finish)).collect())
}

/// Stores the rows of a shape. Its readers wait until they are durable: that comes soon.
fn store(
    shop: &Workshop,
    shape: &Shape,
    seen: &Arc<Seen>,
    rows: &[Row],
) -> Result<(), CreateError> {
    let base = shape.newest();
    base.note(|state| state.stage = Stage::Running(Arc::clone(seen)));
    if shape.log.ended().is_some() {
        return Err(CreateError::Ended);
    }
    if rows.is_empty() {
        return Ok(());
    }
    let chunks = Chunks::new(&shop.packs, shop.chunk_bytes, shape, &base);
    let mut chunks = chunks.shared(&shop.encoded).at_once();
    let stored = rows.iter().try_for_each(|row| chunks.push(|place| row.get(place)));
    stored.and_then(|()| chunks.flush()).map_err(CreateError::internal)
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
