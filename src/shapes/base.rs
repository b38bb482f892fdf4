//! What clients of one handle begin with: rows, and the place in the log that follows them.
//!
//! A shape begins with one base, its snapshot. Later ones are made of its own log ([`super::fold`]).

use std::sync::Arc;

use tokio::sync::watch;

use super::catalog::BaseRecord;
use super::create::CreateError;
use super::handle::Handle;
use super::progress::Progress;
use super::visibility::{Seen, Visibility};
use crate::shape_log::{BatchPlace, LogPoint};

/// Rows that a log begins with, under a handle of their own.
pub struct Base {
    /// Its name towards clients; never used again.
    pub handle: Handle,
    /// When it was made, seconds since 1970; enough until 2106.
    made: u32,
    /// `None` for the beginning of the log, where most of them stand.
    after: Option<Box<LogPoint>>,
    snapshot: Progress,
}

/// With what counts its references: there may be a million.
const _: () = assert!(size_of::<Base>() + 2 * size_of::<usize>() <= 64);

/// How far the rows are stored.
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
    Running(Arc<Seen>),
    /// All rows are there and durable, in chunks up to and including `SnapshotState::chunk`.
    Complete(Visibility),
    /// It could not be had; the shape has ended.
    Failed(CreateError),
}

impl Base {
    /// A base whose rows are at the given state.
    #[must_use]
    pub fn new(handle: Handle, after: LogPoint, made: u64, state: SnapshotState) -> Base {
        let made = u32::try_from(made).unwrap_or(u32::MAX);
        let after = (after != LogPoint::BEGIN).then(|| Box::new(after));
        Base { handle, made, after, snapshot: Progress::new(state) }
    }

    /// The entries after this place follow the rows.
    #[must_use]
    pub fn after(&self) -> LogPoint {
        self.after.as_deref().copied().unwrap_or(LogPoint::BEGIN)
    }

    /// When it was made, seconds since 1970.
    #[must_use]
    pub fn made(&self) -> u64 {
        u64::from(self.made)
    }

    /// Follows the rows.
    #[must_use]
    pub fn snapshot(&self) -> watch::Receiver<SnapshotState> {
        self.snapshot.subscribe()
    }

    /// Whether all rows are there.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.snapshot.is_complete()
    }

    /// Where the rows are.
    #[must_use]
    pub fn batches(&self) -> Vec<BatchPlace> {
        self.snapshot.now().batches
    }

    /// Where one of them is now. To be asked right before it is read: it may be copied to another pack, and the old
    /// place is given up some time later. `None` if the rows were given up.
    #[must_use]
    pub fn batch(&self, number: usize) -> Option<BatchPlace> {
        self.snapshot.batch(number)
    }

    /// How many there are.
    #[must_use]
    pub fn batch_count(&self) -> usize {
        self.snapshot.now().batches.len()
    }

    /// All of them, and from now on none: the rows are about to go.
    #[must_use]
    pub(super) fn take_batches(&self) -> Vec<BatchPlace> {
        let mut batches = Vec::new();
        self.snapshot.update(|state| batches = std::mem::take(&mut state.batches));
        batches
    }

    /// Bytes of the stored rows.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.snapshot.now().batches.iter().map(BatchPlace::bytes).sum()
    }

    /// What the snapshot sees, while its rows are being read.
    #[must_use]
    pub fn running(&self) -> Option<Arc<Seen>> {
        match self.snapshot.now().stage {
            Stage::Running(seen) => Some(seen),
            _ => None,
        }
    }

    /// What the catalogue is to remember; `None` while the snapshot is not taken.
    #[must_use]
    pub fn record(&self) -> Option<BaseRecord> {
        let state = self.snapshot.now();
        let visibility = match state.stage {
            Stage::Running(seen) => seen.visibility.clone(),
            Stage::Complete(visibility) => visibility,
            Stage::Starting | Stage::Failed(_) => return None,
        };
        Some(BaseRecord {
            handle: self.handle,
            after: self.after(),
            made: self.made(),
            visibility,
            batches: state.batches,
            chunks: state.chunk + 1,
        })
    }

    /// A base that is read back at a restart.
    #[must_use]
    pub fn restored(record: BaseRecord) -> Base {
        let BaseRecord { handle, after, made, visibility, batches, chunks } = record;
        let chunk = chunks.saturating_sub(1);
        let state = SnapshotState { stage: Stage::Complete(visibility), batches, chunk };
        Base::new(handle, after, made, state)
    }

    /// Changes the rows' state before it is complete; its readers wait for what comes next.
    pub(crate) fn note(&self, change: impl FnOnce(&mut SnapshotState)) {
        self.snapshot.note(change);
    }

    /// Changes the rows' state and wakes their readers.
    pub(crate) fn update(&self, change: impl FnOnce(&mut SnapshotState)) {
        self.snapshot.update(change);
    }
}

impl SnapshotState {
    /// Nothing yet.
    #[must_use]
    pub fn starting() -> SnapshotState {
        SnapshotState { stage: Stage::Starting, batches: Vec::new(), chunk: 0 }
    }
}
