//! One shape: its question, its snapshot as far as it is read, its log.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use brooklet_dataflows::ShapeId;
use tokio::sync::watch;

use super::create::CreateError;
use super::definition::{Defined, LogMode};
use super::schema_header::schema_header;
use super::visibility::Visibility;
use crate::shape_log::{BatchPlace, ShapeLog, View};

/// A shape that exists.
pub struct Shape {
    /// Its number.
    pub id: ShapeId,
    /// Its name towards clients; never used again.
    pub handle: String,
    /// Its question.
    pub defined: Defined,
    /// The `electric-schema` header.
    pub schema: String,
    /// How its rows look.
    pub view: View,
    /// What came after the snapshot.
    pub log: Arc<ShapeLog>,
    snapshot: watch::Sender<SnapshotState>,
    /// When it was last asked for, milliseconds of the process' own clock.
    asked: AtomicU64,
    /// Which generation of its table's partitions it was made under.
    generation: AtomicU64,
}

/// How far the snapshot is.
#[derive(Debug, Clone)]
pub struct SnapshotState {
    /// Where it stands.
    pub stage: Stage,
    /// Rows that can be read.
    pub batches: Vec<BatchPlace>,
    /// The chunk that rows are added to; those before it are complete.
    pub chunk: u32,
}

/// Where a snapshot stands.
#[derive(Debug, Clone)]
pub enum Stage {
    /// Not taken yet.
    Starting,
    /// Taken; rows are being read.
    Running(Visibility),
    /// All rows are there and durable, in chunks up to and including `SnapshotState::chunk`.
    Complete(Visibility),
    /// It could not be had; the shape has ended.
    Failed(CreateError),
}

impl Shape {
    /// A shape whose snapshot is at the given state.
    #[must_use]
    pub fn new(
        handle: String,
        defined: Defined,
        log: Arc<ShapeLog>,
        snapshot: SnapshotState,
    ) -> Shape {
        let columns = &defined.definition.columns;
        Shape {
            id: log.shape(),
            handle,
            schema: schema_header(&defined.table, columns),
            view: View::new(&defined.table, columns, &defined.key, defined.definition.replica),
            defined,
            log,
            snapshot: watch::channel(snapshot).0,
            asked: AtomicU64::new(now()),
            generation: AtomicU64::new(0),
        }
    }

    /// Which generation of its table's partitions it was made under; 0 before that is known.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub(crate) fn set_generation(&self, generation: u64) {
        self.generation.store(generation, Ordering::Release);
    }

    /// Somebody asks for it.
    pub fn note_use(&self) {
        self.asked.store(now(), Ordering::Relaxed);
    }

    /// How long nobody has asked for it; nothing while somebody waits for news of it.
    #[must_use]
    pub fn idle(&self) -> Duration {
        if self.log.has_waiters() {
            return Duration::ZERO;
        }
        Duration::from_millis(now().saturating_sub(self.asked.load(Ordering::Relaxed)))
    }

    /// Follows the snapshot.
    #[must_use]
    pub fn snapshot(&self) -> watch::Receiver<SnapshotState> {
        self.snapshot.subscribe()
    }

    /// Waits until the snapshot is taken, so that there is something to answer. One without rows is
    /// complete in a moment, and then its handle survives whatever happens.
    pub async fn started(&self) -> Result<(), CreateError> {
        let mut snapshot = self.snapshot();
        let rows = self.defined.definition.log == LogMode::Full;
        let decided = |state: &SnapshotState| match state.stage {
            Stage::Starting => false,
            Stage::Running(_) => rows,
            Stage::Complete(_) | Stage::Failed(_) => true,
        };
        // The sender is ours, so it cannot be gone.
        let Ok(state) = snapshot.wait_for(decided).await else { return Err(CreateError::ended()) };
        match &state.stage {
            Stage::Failed(error) => Err(error.clone()),
            _ => Ok(()),
        }
    }

    /// Whether it has not ended. Its waiters learn of its end before the registry does: they must
    /// not find it again.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.log.ended().is_none()
    }

    /// Whether the snapshot is complete.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        matches!(self.snapshot.borrow().stage, Stage::Complete(_))
    }

    /// Changes the snapshot's state and wakes its readers.
    pub(super) fn update(&self, change: impl FnOnce(&mut SnapshotState)) {
        self.snapshot.send_modify(change);
    }
}

/// Milliseconds since the first time this was asked.
fn now() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let elapsed = START.get_or_init(Instant::now).elapsed();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

impl SnapshotState {
    /// Nothing yet.
    #[must_use]
    pub fn starting() -> SnapshotState {
        SnapshotState { stage: Stage::Starting, batches: Vec::new(), chunk: 0 }
    }
}
