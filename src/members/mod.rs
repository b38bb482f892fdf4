//! Shapes whose filter has subqueries, from the stream to their logs.
//!
//! *Enters*: the changes of the tables behind them ([`watch`], on the change log's thread), and snapshots of
//! these tables ([`load`]). *Leaves*: what each transaction brings to each shape, to an appender of their own.
//! *Invariant*: what is kept of the tables is exactly what Postgres had after some transaction of the stream,
//! and what was told of it goes exactly as far; so a restart that begins where the logs end makes the same
//! entries again, at the same offsets.
//!
//! A snapshot sees a set of transactions, which is no prefix of the stream. It is made one by adding the
//! transactions up to that place that it does not show, and taking away those after it that it does. Rows are
//! counted, so the order of these sums does not matter. A new shape begins where the stream is once it has
//! passed the snapshot; after a restart the place is where the logs end, and rows that a [`checkpoint`] has are brought there by
//! the change log.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use brooklet_dataflows::members::{Counts, KeptName};
use brooklet_dataflows::{Change, ShapeId, ShapePlan, View};
use brooklet_sql::{Lsn, Relation, Row};
use tokio::sync::{mpsc, oneshot};

use self::backlog::Share;
use self::checkpoint::{Checkpoints, Standing};
use self::loading::Loading;
use crate::shape_log::posting_files::PostingFiles;
use crate::shape_log::{AppenderHandle, ShapeLog, ShapeLogs};
use crate::shapes::create::CreateError;
use crate::shapes::visibility::{Seen, Visibility};

pub mod backlog;
pub mod checkpoint;
mod collected;
pub mod create;
pub mod lane;
pub mod load;
pub mod loading;
mod unreadable;
pub mod watch;

/// What the thread is told, in order.
pub enum Input {
    /// A part of the stream, and its share of what waits.
    Stream(Vec<Streamed>, Share),
    /// The stream went on without the thread, which was too far behind: of what came since the last part up to this
    /// transaction nothing is told, and of an open one nothing more comes.
    Missed(Lsn),
    /// From here on the changes of these rows' tables come with the stream: they are to be collected for
    /// a new shape.
    Collect(Collect),
    /// A new shape's snapshot.
    Loaded(Box<Loaded>),
    /// The rows of the shapes that were found, see [`Restored`].
    Restored(Box<Restored>),
    /// The slot is lost, and everything that was streamed came before this: what is kept is to be forgotten.
    Forget(oneshot::Sender<()>),
    /// The rows where a new slot begins.
    Repaired(Box<Repaired>),
    /// These shapes have ended.
    Remove(Vec<ShapeId>),
    /// Somebody wants to know how shapes are found.
    View(oneshot::Sender<View>),
    /// Somebody wants to write down what is kept; nothing is said while it is not known.
    Checkpoint(oneshot::Sender<Standing>),
}

impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Input::Stream(..) => "Stream",
            Input::Missed(_) => "Missed",
            Input::Collect(_) => "Collect",
            Input::Loaded(_) => "Loaded",
            Input::Restored(_) => "Restored",
            Input::Forget(_) => "Forget",
            Input::Repaired(_) => "Repaired",
            Input::Remove(_) => "Remove",
            Input::View(_) => "View",
            Input::Checkpoint(_) => "Checkpoint",
        })
    }
}

/// A part of the stream.
#[derive(Debug, Clone)]
pub enum Streamed {
    /// A row operation of the open transaction, on a table that is watched.
    Change(Change),
    /// The definition of a watched table from here on.
    Relation(Arc<Relation>),
    /// The open transaction emptied these tables.
    Truncate(Vec<u32>),
    /// The open transaction was cut off.
    Abort,
    /// The open transaction, which has changes of watched tables, is complete.
    Commit {
        /// Where its commit record begins.
        lsn: Lsn,
        /// Its 32-bit id.
        xid: u32,
        /// The place of its last operation, on whatever table.
        last_op: u64,
    },
    /// Every transaction up to here is complete.
    Passed(Lsn),
}

/// What a new shape needs.
pub struct Collect {
    /// Which shape.
    pub shape: ShapeId,
    /// Which rows.
    pub needs: Vec<KeptName>,
    /// Told the last transaction that the stream does not bring any more, and which of the rows are not
    /// kept yet.
    pub answer: oneshot::Sender<(Lsn, Vec<KeptName>)>,
}

/// What a new shape's snapshot shows.
pub struct Loaded {
    /// The shape.
    pub plan: Arc<ShapePlan>,
    /// Its log.
    pub log: Arc<ShapeLog>,
    /// The rows that were not kept yet, with the transactions from before [`Collect`] that the snapshot
    /// does not show.
    pub rows: Vec<(KeptName, Counts)>,
    /// What the snapshot shows.
    pub seen: Arc<Seen>,
    /// Told where the shape begins. Nothing is said if it has to be asked for anew.
    pub answer: oneshot::Sender<Result<Beginning, Unkept>>,
}

/// Where a shape begins.
pub struct Beginning {
    /// What the snapshot shows, and the last transaction that its rows hold: of the position, not of what the
    /// snapshot may show, since they stand exactly there.
    pub seen: Arc<Seen>,
    /// The transactions that its rows hold beside those that the snapshot shows, as far as they concern its tables.
    pub since: Vec<u32>,
    /// Its rows, in the table's places.
    pub rows: Vec<Row>,
}

/// More would be kept in memory than is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the tables of this filter's subqueries need more memory than is allowed ({0} bytes, --subquery-memory)"
)]
pub struct TooLarge(pub usize);

/// Why there is no room for what a new shape needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unkept {
    /// By itself it is too much.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// Others that are made at the same time take what it would need.
    #[error(
        "more happens than may be kept to the tables of the shapes with subqueries that are being made"
    )]
    Crowded,
}

impl From<Unkept> for CreateError {
    fn from(why: Unkept) -> CreateError {
        match why {
            Unkept::TooLarge(error) => CreateError::Refused(error.to_string()),
            Unkept::Crowded => CreateError::Unavailable { reason: why.to_string(), retry_after: 1 },
        }
    }
}

/// The rows of shapes that were found at a start.
pub struct Restored {
    /// What the snapshot shows, with the transactions up to the logs' end that it does not.
    pub rows: Vec<(KeptName, Counts)>,
    /// Rows as they stand where the logs end, from the last checkpoint.
    pub standing: Vec<(KeptName, Counts)>,
    /// What the snapshot shows.
    pub visibility: Visibility,
    /// No transaction after this position is in it.
    pub until: Lsn,
}

/// What is to be kept from where a new slot begins.
pub struct Repaired {
    /// Of the shapes whose logs were brought there.
    pub plans: Vec<Arc<ShapePlan>>,
    /// All rows that they need.
    pub rows: Vec<(KeptName, Counts)>,
    /// No transaction that commits up to here is still to come.
    pub at: Lsn,
}

/// To talk to the thread, and to its appender.
pub struct MembersHandle {
    /// To the thread.
    pub inputs: mpsc::Sender<Input>,
    /// The logs of its shapes, and how far they are.
    pub logs: Arc<ShapeLogs>,
    /// What writes them.
    pub appender: AppenderHandle,
    /// Their entries.
    pub postings: PostingFiles,
    /// What is kept, on disk.
    pub checkpoints: Arc<Checkpoints>,
    /// To the change log's thread, in the stream's order.
    pub slices: mpsc::Sender<Vec<crate::ingest::Entry>>,
    /// Bytes that may be kept.
    pub bytes_max: usize,
    /// Rows that are read and not kept yet.
    pub loading: Loading,
    /// Where the logs of the shapes that were found at the start ended.
    pub begun_after: Lsn,
    /// The slot was lost since the start: the rows of those shapes are read by the repair.
    pub forgotten: AtomicBool,
}

impl MembersHandle {
    /// These shapes have ended, if they are any of ours.
    pub async fn remove(&self, shapes: Vec<ShapeId>) {
        // Fails only when the process is ending.
        _ = self.inputs.send(Input::Remove(shapes)).await;
    }

    /// How shapes are found, and how often; of none if the process is ending.
    pub async fn view(&self) -> View {
        let (answer, view) = oneshot::channel();
        match self.inputs.send(Input::View(answer)).await {
            Ok(()) => view.await.unwrap_or_default(),
            Err(_) => View::default(),
        }
    }
}

/// Whether a plan is one of ours.
#[must_use]
pub fn concerns(plan: &ShapePlan) -> bool {
    plan.predicate.as_ref().is_some_and(|predicate| !predicate.memberships().is_empty())
}

/// The tables that plans need.
#[must_use]
pub fn tables<'a>(plans: impl IntoIterator<Item = &'a Arc<ShapePlan>>) -> HashSet<u32> {
    let needs = |plan: &'a Arc<ShapePlan>| brooklet_dataflows::members::needs(plan);
    plans.into_iter().flat_map(needs).map(|(name, _)| name.table).collect()
}

/// Bytes kept in memory, for metrics.
static BYTES: AtomicU64 = AtomicU64::new(0);

/// Bytes that are kept for subqueries.
#[must_use]
pub fn bytes() -> u64 {
    BYTES.load(Ordering::Relaxed)
}
