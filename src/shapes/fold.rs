//! Folding: a log that is large against its rows gets a new base, so that new clients load rows, not
//! history.
//!
//! *Enters*: shapes whose log has become large. *Leaves*: a base under a new handle, made of the old
//! base and the log. *Invariant*: every handle of a shape stands for the same rows at the same place
//! of the log, so readers of older handles go on as if nothing had happened, until the log no longer
//! reaches back to them; then they are told to fetch anew, under the newest handle.

mod waiting;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use brooklet_dataflows::ShapeId;
use brooklet_sql::Lsn;
use tokio::sync::mpsc;
use tokio::time::timeout;
use waiting::Waiting;

use super::base::{Base, SnapshotState, Stage};
use super::catalog::Finished;
use super::chunks::Chunks;
use super::create::{CreateError, Workshop, make_durable};
use super::definition::LogMode;
use super::registry::Registry;
use super::shape::Shape;
use super::visibility::{Seen, Visibility};
use crate::frame::FrameError;
use crate::limits::{
    FOLD_BYTES_MIN, FOLD_GRACE, FOLD_INTERVAL, FOLD_PAUSE, FOLD_SNAPSHOT_WAIT, FOLD_XIDS_MAX,
};
use crate::replication::snapshot::Snapshot;
use crate::shape_log::{Block, Held};

/// The weight of a log that is worth a new base: twice its rows, and not less than a minimum.
#[must_use]
pub fn large_at(shape: &Shape) -> u64 {
    let newest = shape.newest();
    newest.after().weight.saturating_add(FOLD_BYTES_MIN.max(2 * newest.bytes()))
}

/// Seconds since 1970.
#[must_use]
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Folds logs that have become large and retires what nobody can need any more, as long as it runs.
pub struct Folder {
    registry: Arc<Registry>,
    large: mpsc::UnboundedReceiver<ShapeId>,
    /// For how long a client that was away can go on, although its log was folded meanwhile.
    window: Duration,
    /// To be folded.
    waiting: Waiting,
    /// Shapes with more than one base.
    folded: BTreeMap<ShapeId, Arc<Shape>>,
    /// Bases that are no longer offered; their rows go once nobody reads them.
    retired: Vec<Arc<Base>>,
}

impl Folder {
    /// A folder for all shapes of the registry; `large` tells of those that have become so.
    #[must_use]
    pub fn new(
        registry: Arc<Registry>,
        large: mpsc::UnboundedReceiver<ShapeId>,
        window: Duration,
    ) -> Folder {
        let (mut waiting, mut folded) = (Waiting::default(), BTreeMap::new());
        for shape in registry.finished() {
            if shape.log.large_beyond(large_at(&shape)) {
                waiting.add(shape.id());
            }
            if shape.bases().len() > 1 {
                folded.insert(shape.id(), shape);
            }
        }
        Folder { registry, large, window, waiting, folded, retired: Vec::new() }
    }

    /// Runs until the server stops.
    pub async fn run(mut self) {
        let mut interval = tokio::time::interval(FOLD_INTERVAL);
        loop {
            tokio::select! {
                _ = interval.tick() => {}
                more = self.large.recv() => match more {
                    Some(id) => {
                        self.note_large(id);
                        continue;
                    }
                    None => return,
                }
            }
            if let Err(error) = self.round().await {
                tracing::warn!(%error, "logs are not folded; tried again");
            }
            self.retire().await;
        }
    }

    /// Folds what waits, after one look at what Postgres shows.
    async fn round(&mut self) -> Result<(), CreateError> {
        let shapes = self.due(Instant::now());
        if shapes.is_empty() {
            return Ok(());
        }
        let shop = Arc::clone(self.registry.workshop());
        let snapshot = Snapshot::take(&shop.database).await?;
        let Seen { visibility, until, .. } = &*Arc::clone(&snapshot.seen);
        snapshot.end().await?;
        reach(&shop, *until).await?;
        if self.registry.is_halted() {
            // What Postgres shows may be missing from the logs.
            return Ok(());
        }
        for shape in shapes {
            // Those of shapes with subqueries may be behind.
            let processed = shop.logs_of(&shape).processed();
            if processed.0 + 1 >= until.0 && shape.log.is_past_snapshot(processed) {
                self.fold(&shape, visibility, Instant::now()).await;
            }
        }
        Ok(())
    }

    /// A log has become large.
    pub(crate) fn note_large(&mut self, id: ShapeId) {
        self.waiting.add(id);
    }

    /// Those of the waiting that are to be folded now.
    pub(crate) fn due(&mut self, at: Instant) -> Vec<Arc<Shape>> {
        let now = now();
        let rested = |shape: &Arc<Shape>| {
            // Not again and again: a busy shape of few rows would do nothing else.
            let newest = shape.newest();
            let rested = newest.made() + FOLD_PAUSE.as_secs() <= now || shape.bases().len() == 1;
            newest.is_complete() && rested
        };
        let mut shapes = Vec::new();
        for id in self.waiting.due(at) {
            match self.registry.by_id(id) {
                Some(shape) if rested(&shape) => shapes.push(shape),
                Some(_) => {}
                None => self.waiting.remove(id),
            }
        }
        shapes
    }

    /// Folds one of them; one that cannot be folded waits on.
    pub(crate) async fn fold(&mut self, shape: &Arc<Shape>, seen: &Visibility, at: Instant) {
        match fold(&self.registry, shape, seen).await {
            Ok(()) => _ = self.folded.insert(shape.id(), Arc::clone(shape)),
            Err(CreateError::Ended) => {}
            Err(error) => {
                let handle = shape.handle();
                match self.waiting.failed(shape.id(), at) {
                    true => {
                        tracing::warn!(handle, %error, "a log cannot be folded; tried again, less and less often");
                    }
                    false => tracing::debug!(handle, %error, "a log cannot be folded still"),
                }
                return;
            }
        }
        self.waiting.remove(shape.id());
    }

    /// Gives up bases and entries that are too old, and deletes the rows of those nobody reads.
    async fn retire(&mut self) {
        let mut done = Vec::new();
        for (id, shape) in &self.folded {
            match retire(&self.registry, shape, self.window).await {
                Ok(Retired { gone, finished }) => {
                    self.retired.extend(gone);
                    if finished {
                        done.push(*id);
                    }
                }
                Err(CreateError::Ended) => done.push(*id),
                Err(error) => {
                    let handle = shape.handle();
                    tracing::error!(handle, %error, "bases are not retired; tried again");
                }
            }
        }
        done.iter().for_each(|id| _ = self.folded.remove(id));
        let packs = &self.registry.workshop().packs;
        self.retired.retain(|base| {
            let read = Arc::strong_count(base) > 1;
            if !read {
                packs.release(&base.batches());
            }
            read
        });
    }
}

/// What a shape has given up.
pub(crate) struct Retired {
    /// Bases that are no longer offered.
    pub gone: Vec<Arc<Base>>,
    /// Whether the newest one is all that is left.
    pub finished: bool,
}

/// Gives up a shape's bases, and the entries before the next one, that nobody can need after `window`.
pub(crate) async fn retire(
    registry: &Registry,
    shape: &Shape,
    window: Duration,
) -> Result<Retired, CreateError> {
    if !shape.log.stays() {
        return Err(CreateError::Ended);
    }
    let (now, grace) = (now(), FOLD_GRACE.min(window));
    let bases = shape.bases();
    let old = |newer: &Base, patience: Duration| newer.made() + patience.as_secs() <= now;
    let last = bases.len() - 1;
    // Base `at` was given up by its readers' caches and clients so long ago.
    let patience = |at: usize| if at == last { window } else { grace };
    let keep = (1..=last).take_while(|at| old(&bases[*at], patience(*at))).last();
    let Some(keep) = keep else { return Ok(Retired { gone: Vec::new(), finished: last == 0 }) };
    let after = bases[keep].after().offset;
    let _turn = registry.workshop().catalog.turn().await;
    let record = shape.record_after(after).ok_or(CreateError::Ended)?;
    // Remembered first: what follows goes from disk, and a restart must not look for it.
    remember(registry, shape, record).await?;
    let gone = shape.retire_before(after);
    registry.workshop().logs_of(shape).note_given_up();
    registry.forget_handles(&shape.forget_retired(window));
    Ok(Retired { gone, finished: keep == last })
}

/// Waits until the stream has brought everything up to `until`.
async fn reach(shop: &Workshop, until: Lsn) -> Result<(), CreateError> {
    let reached = async {
        // A commit record begins before the position that was read after it became visible.
        while shop.logs.processed().0 + 1 < until.0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(FOLD_SNAPSHOT_WAIT, reached).await.map_err(|_| CreateError::Unavailable {
        reason: "the stream is behind".to_owned(),
        retry_after: 1,
    })
}

/// Gives a shape a new base, which stands where its log ends now. Everything that `seen` shows must
/// have reached the log.
pub async fn fold(
    registry: &Registry,
    shape: &Arc<Shape>,
    seen: &Visibility,
) -> Result<(), CreateError> {
    let shop = Arc::clone(registry.workshop());
    let (blocks, after) = shape.log.all().map_err(|_| CreateError::Ended)?;
    let old = shape.newest();
    let log_bytes = after.weight - old.after().weight;
    let handle = registry.new_handle(shape);
    let xids: Vec<u32> = blocks.iter().map(|block| block.xid).collect();
    let visibility = claimed(seen, &xids);
    let base = Arc::new(Base::new(handle, after, now(), SnapshotState::starting()));
    let (workshop, reader, filled) = (Arc::clone(&shop), Arc::clone(shape), Arc::clone(&base));
    let stored =
        tokio::task::spawn_blocking(move || store(&workshop, &reader, &old, &filled, &blocks));
    let stored = stored.await.map_err(std::io::Error::other).and_then(|stored| stored);
    let stored = match stored {
        Ok(()) => make_durable(&shop, shop.appender_of(shape)).await,
        Err(error) => Err(CreateError::Internal(error.to_string())),
    };
    base.update(|state| state.stage = Stage::Complete(visibility));
    if stored.is_err() || shape.log.ended().is_some() {
        shop.packs.release(&base.batches());
        return Err(stored.err().unwrap_or(CreateError::Ended));
    }
    let _turn = shop.catalog.turn().await;
    // Remembered first: a handle that clients have seen must survive.
    let Some(record) = shape.record_with(&base) else { return Err(CreateError::Ended) };
    let remembered = remember(registry, shape, record).await;
    if matches!(remembered, Err(CreateError::Ended)) {
        shop.packs.release(&base.batches());
    }
    remembered?;
    registry.add_handle(shape, base.handle);
    tracing::info!(
        handle = %base.handle, table = %shape.table().name, rows_bytes = base.bytes(),
        log_bytes, "log folded: new clients begin with its rows"
    );
    let handle = base.handle;
    shape.add_base(Arc::clone(&base));
    if registry.by_id(shape.id()).is_none() {
        // It is ending, and did not know of its newest handle.
        registry.forget_handles(&[handle]);
    }
    if shape.log.ended().is_some() {
        // And not of its newest rows. While it is only about to, the catalogue still names them, and whoever ends it gives
        // them up behind that.
        shop.packs.release(&base.take_batches());
    }
    if shape.log.large_beyond(large_at(shape)) {
        // Fails only when the process is ending.
        _ = shop.large.send(shape.id());
    }
    Ok(())
}

/// Notes in the catalogue what has become of a shape, unless it has ended. Whoever does this has the
/// catalogue's turn: of two records the later one has to be the newer one.
pub(super) async fn remember(
    registry: &Registry,
    shape: &Shape,
    record: Finished,
) -> Result<(), CreateError> {
    let catalog = &registry.workshop().catalog;
    let known = catalog.finish(record, &shape.log).await;
    let known = known.map_err(|error: FrameError| CreateError::Internal(error.to_string()))?;
    if known && shape.log.stays() {
        return Ok(());
    }
    // Whoever is told so gives rows up at once: no restart may find a record of them.
    let gone = catalog.remove(shape.id()).await;
    gone.map_err(|error: FrameError| CreateError::Internal(error.to_string()))?;
    Err(CreateError::Ended)
}

/// Stores what the shape holds at the end of `blocks` as the rows of `base`. Blocks on files.
fn store(
    shop: &Workshop,
    shape: &Shape,
    old: &Base,
    base: &Arc<Base>,
    blocks: &[Block],
) -> io::Result<()> {
    let mut chunks = Chunks::new(&shop.packs, shape.log.chunk_bytes(), shape, base);
    if shape.template.definition.log == LogMode::ChangesOnly {
        return Ok(());
    }
    let held = Held {
        changes: &shop.change_log,
        packs: &shop.packs,
        view: shape.view(),
        table: shape.table().oid,
        keyless: shape.table().primary_key().is_empty(),
    };
    let (after, end) = (old.after().offset, base.after().offset);
    let batches = (old.batch_count(), |number| old.batch(number));
    held.rows(batches, blocks, (after, end), |row| {
        if shape.log.ended().is_some() {
            return Err(io::Error::other("the shape has ended"));
        }
        chunks.push(|place| row.get(place)).map_err(io::Error::other)
    })?;
    chunks.flush().map_err(io::Error::other)
}

/// Which transactions a base says it contains: those that `seen` shows, and those of its log that are
/// not shown yet. That may be less than is true, never more.
pub(crate) fn claimed(seen: &Visibility, log: &[u32]) -> Visibility {
    let later: BTreeSet<u64> = (log.iter().filter(|xid| !seen.contains(**xid)))
        .filter_map(|xid| seen.full_id(*xid))
        .collect();
    let Some(last) = later.last() else { return seen.clone() };
    let xmax = seen.xmax().max(last + 1);
    if xmax - seen.xmax() > FOLD_XIDS_MAX {
        return seen.clone();
    }
    let unknown = seen.in_progress().iter().copied().chain(seen.xmax()..xmax);
    let in_progress: Vec<u64> = unknown.filter(|id| !later.contains(id)).collect();
    let xmin = in_progress.first().map_or(xmax, |first| *first);
    Visibility::new(xmin, xmax, in_progress.into())
}

#[cfg(test)]
mod tests;
